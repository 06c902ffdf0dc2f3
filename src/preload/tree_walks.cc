// The entries of ftw(), nftw(), glob() and wordexp(): glibc's reach the kernel without passing any
// entry.
#include <cstdlib>
#include <cstring>

#include "preload/attributes.h"
#include "preload/descriptions.h"
#include "preload/entry.h"
#include "preload/places.h"
#include "preload/real.h"
#include "preload/settings.h"

namespace benchfs::preload {
namespace {

constexpr int kMaxDepth = 1024;

using Visit = int (*)(const char*, const struct stat*, int, FTW*);
using PlainVisit = int (*)(const char*, const struct stat*, int);

struct Walk {
  Visit visit = nullptr;
  PlainVisit plain_visit = nullptr;  // of ftw()
  int flags = 0;
  char path[kPathRoom];
  // Of FTW_CHDIR with a relative path: the working directory when the walk began; else "".
  char origin[PATH_MAX] = "";
  char whole[kPathRoom + PATH_MAX];

  [[nodiscard]] bool has(int flag) const { return (flags & flag) != 0; }
};

// walk.path wherever the working directory is now, until the next call.
char* reach(Walk& walk) {
  bool is_relative = walk.origin[0] != '\0';
  std::strcpy(walk.whole, walk.origin);
  std::strcat(walk.whole, is_relative ? "/" : "");
  return std::strcat(walk.whole, walk.path);
}

// FTW_CHDIR: the working directory becomes that of the file at walk.path. With glibc it is still
// the directory itself when that is visited after its entries.
int enter_directory_of(Walk& walk, int type) {
  char* path = reach(walk);
  char* slash = std::strrchr(path, '/');
  if (type != FTW_DP) {
    slash[slash == path ? 1 : 0] = '\0';
  }
  return chdir(path);
}

// The type of the file at walk.path, and its attributes.
int look(Walk& walk, struct stat& info) {
  const char* path = reach(walk);
  bool is_physical = walk.has(FTW_PHYS);
  if ((is_physical ? lstat(path, &info) : stat(path, &info)) == 0) {
    return S_ISDIR(info.st_mode) ? FTW_D : S_ISLNK(info.st_mode) ? FTW_SL : FTW_F;
  }
  if (!is_physical && lstat(path, &info) == 0 && S_ISLNK(info.st_mode)) {
    return walk.visit != nullptr ? FTW_SLN : FTW_NS;
  }
  return FTW_NS;
}

int call(Walk& walk, const struct stat& info, int type, std::size_t base, int depth) {
  if (walk.plain_visit != nullptr) {
    return walk.plain_visit(walk.path, &info, type);
  }
  if (walk.has(FTW_CHDIR) && enter_directory_of(walk, type) != 0) {
    return -1;
  }
  FTW position{.base = static_cast<int>(base), .level = depth};
  return walk.visit(walk.path, &info, type, &position);
}

int walk_tree(Walk& walk, std::size_t base, int depth);

int walk_entries(Walk& walk, DIR* directory, int depth) {
  std::size_t bytes = std::strlen(walk.path);
  int result = 0;
  while (dirent* entry = readdir(directory)) {
    const char* name = entry->d_name;
    if (std::strcmp(name, ".") == 0 || std::strcmp(name, "..") == 0) {
      continue;
    }
    bool has_slash = bytes > 0 && walk.path[bytes - 1] == '/';
    if (bytes + std::strlen(name) + 2 > PATH_MAX) {
      return fail_with(ENAMETOOLONG);
    }
    walk.path[bytes] = '/';
    std::strcpy(walk.path + bytes + (has_slash ? 0 : 1), name);
    result = walk_tree(walk, bytes + (has_slash ? 0 : 1), depth + 1);
    walk.path[bytes] = '\0';
    bool goes_on = result == 0 || (walk.has(FTW_ACTIONRETVAL) && result == FTW_SKIP_SUBTREE);
    if (!goes_on) {
      break;
    }
    result = 0;
  }
  return walk.has(FTW_ACTIONRETVAL) && result == FTW_SKIP_SIBLINGS ? 0 : result;
}

// Visits walk.path and what is below it.
int walk_tree(Walk& walk, std::size_t base, int depth) {
  struct stat info{};
  int type = look(walk, info);
  if (type == FTW_NS && depth == 0) {
    return -1;
  }
  if (type != FTW_D) {
    return call(walk, info, type, base, depth);
  }
  if (depth >= kMaxDepth) {
    return fail_with(ELOOP);
  }
  DIR* directory = opendir(reach(walk));
  if (directory == nullptr) {
    return call(walk, info, FTW_DNR, base, depth);
  }
  int result = walk.has(FTW_DEPTH) ? 0 : call(walk, info, FTW_D, base, depth);
  if (result == 0) {
    result = walk_entries(walk, directory, depth);
  }
  closedir(directory);
  if (result == 0 && walk.has(FTW_DEPTH)) {
    result = call(walk, info, FTW_DP, base, depth);
  }
  return result;
}

// With FTW_CHDIR: the working directory is afterwards what it was.
int walk_and_return(Walk& walk, std::size_t base) {
  int before = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (before < 0 || (walk.path[0] != '/' && getcwd(walk.origin, sizeof walk.origin) == nullptr)) {
    int error = errno;
    if (before >= 0) {
      close(before);
    }
    return fail_with(error);
  }
  int result = walk_tree(walk, base, 0);
  int error = errno;
  if (fchdir(before) != 0) {
    error = errno;
    result = -1;
  }
  close(before);
  errno = error;
  return result;
}

int start_walk(Counter& counter, const char* path, Visit visit, PlainVisit plain_visit, int flags) {
  if (std::strlen(path) >= PATH_MAX) {
    return fail_with(ENAMETOOLONG);
  }
  counter.served();
  Walk walk;
  walk.visit = visit;
  walk.plain_visit = plain_visit;
  walk.flags = flags;
  std::strcpy(walk.path, path);
  std::size_t bytes = std::strlen(walk.path);
  while (bytes > 1 && walk.path[bytes - 1] == '/') {
    walk.path[--bytes] = '\0';
  }
  const char* slash = std::strrchr(walk.path, '/');
  std::size_t base = slash != nullptr ? static_cast<std::size_t>(slash - walk.path) + 1 : 0;
  return walk.has(FTW_CHDIR) ? walk_and_return(walk, base) : walk_tree(walk, base, 0);
}

// --- glob ----------------------------------------------------------------------------------------

// glibc calls these instead of its own. The entries take names of both kinds.
void* glob_opendir(const char* path) {
  return opendir(path);
}
dirent* glob_readdir(void* directory) {
  return readdir(static_cast<DIR*>(directory));
}
void glob_closedir(void* directory) {
  closedir(static_cast<DIR*>(directory));
}
int glob_stat(const char* path, struct stat* out) {
  return stat(path, out);
}
int glob_lstat(const char* path, struct stat* out) {
  return lstat(path, out);
}

int glob_any(const char* pattern, int flags, int (*on_error)(const char*, int), glob_t* out) {
  bool may_be_ours =
      settings().is_active &&
      (*own_working_directory() != '\0' || std::strstr(pattern, settings().prefix_name) != nullptr);
  if (!may_be_ours || (flags & GLOB_ALTDIRFUNC) != 0) {
    return real().glob(pattern, flags, on_error, out);
  }
  out->gl_opendir = glob_opendir;
  out->gl_readdir = glob_readdir;
  out->gl_closedir = glob_closedir;
  out->gl_stat = glob_stat;
  out->gl_lstat = glob_lstat;
  int result = real().glob(pattern, flags | GLOB_ALTDIRFUNC, on_error, out);
  out->gl_flags &= ~GLOB_ALTDIRFUNC;
  return result;
}

// --- wordexp -------------------------------------------------------------------------------------

// Puts what a pattern of ours leads to in the place of the word, which stays if that is nothing.
// False: no memory.
bool expand(wordexp_t& words, std::size_t index) {
  char** at = words.we_wordv + words.we_offs + index;
  glob_t found{};
  if (glob(*at, 0, nullptr, &found) != 0) {
    return true;
  }
  std::size_t before = words.we_offs + index;
  std::size_t behind = words.we_wordc - index;  // with the nullptr at the end
  std::size_t count = found.gl_pathc;
  auto** all = static_cast<char**>(std::malloc((before + count + behind) * sizeof(char*)));
  bool is_complete = all != nullptr;
  for (std::size_t i = 0; i < count && is_complete; ++i) {
    all[before + i] = strdup(found.gl_pathv[i]);
    is_complete = all[before + i] != nullptr;
  }
  globfree(&found);
  if (!is_complete) {
    return false;
  }
  std::memcpy(all, words.we_wordv, before * sizeof(char*));
  std::memcpy(all + before + count, at + 1, behind * sizeof(char*));
  std::free(*at);
  std::free(words.we_wordv);
  words.we_wordv = all;
  words.we_wordc += count - 1;
  return true;
}

bool is_pattern(const char* word) {
  return std::strpbrk(word, "*?[") != nullptr;
}

int expand_words(Counter& counter, const char* text, wordexp_t* out, int flags) {
  int result = real().wordexp(text, out, flags);
  // What was quoted is no pattern, and cannot be told from what was not.
  if (result != 0 || !settings().is_active || std::strpbrk(text, "\\'\"") != nullptr) {
    return result;
  }
  for (std::size_t i = out->we_wordc; i-- > 0;) {
    const char* word = out->we_wordv[out->we_offs + i];
    if (is_pattern(word) && is_ours_path(word)) {
      counter.served();
      if (!expand(*out, i)) {
        return WRDE_NOSPACE;
      }
    }
  }
  return result;
}

}  // namespace

ENTRY(int, wordexp, const char* text, wordexp_t* out, int flags) {
  COUNTER(wordexp);
  return expand_words(counter, text, out, flags);
}

#define FTW_ENTRY(name)                                                      \
  ENTRY(int,                                                                 \
        name,                                                                \
        const char* path,                                                    \
        int (*visit)(const char*, const struct stat*, int),                  \
        int count) {                                                         \
    COUNTER(name);                                                           \
    return is_ours_path(path) ? start_walk(counter, path, nullptr, visit, 0) \
                              : real().ftw(path, visit, count);              \
  }
FTW_ENTRY(ftw)
FTW_ENTRY(ftw64)
#define NFTW_ENTRY(name)                                                         \
  ENTRY(int,                                                                     \
        name,                                                                    \
        const char* path,                                                        \
        int (*visit)(const char*, const struct stat*, int, FTW*),                \
        int count,                                                               \
        int flags) {                                                             \
    COUNTER(name);                                                               \
    return is_ours_path(path) ? start_walk(counter, path, visit, nullptr, flags) \
                              : real().nftw(path, visit, count, flags);          \
  }
NFTW_ENTRY(nftw)
NFTW_ENTRY(nftw64)

ENTRY(int, glob, const char* pattern, int flags, int (*on_error)(const char*, int), glob_t* out) {
  return glob_any(pattern, flags, on_error, out);
}
ENTRY(int, glob64, const char* pattern, int flags, int (*on_error)(const char*, int), glob_t* out) {
  return glob_any(pattern, flags, on_error, out);
}

}  // namespace benchfs::preload
