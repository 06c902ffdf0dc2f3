// The entries of fts_open() and its like: glibc's reach the kernel without passing any entry.
//
// A walk with a path of ours is walked here, with the library's own entries, which take paths of
// both kinds. The working directory is never changed: the path to use is the whole path.
#include <cstdlib>
#include <cstring>

#include "preload/descriptions.h"
#include "preload/entry.h"
#include "preload/places.h"
#include "preload/real.h"

namespace benchfs::preload {
namespace {

constexpr int kOurs = -0xbf5;  // in the place of a descriptor: this walk is not glibc's

using Compare = int (*)(const FTSENT**, const FTSENT**);

struct Walk {
  FTS fts;      // what the program has
  FTSENT* top;  // above the paths that were given
  Compare compare;

  [[nodiscard]] bool has(int option) const { return (fts.fts_options & option) != 0; }
};

Walk* ours(FTS* fts) {
  return fts != nullptr && fts->fts_rfd == kOurs ? reinterpret_cast<Walk*>(fts) : nullptr;
}

// An entry with its attributes before it and its name behind.
struct Block {
  struct stat info;
  FTSENT entry;
};

FTSENT* make_entry(FTSENT* parent, const char* path, const char* name) {
  std::size_t name_bytes = std::strlen(name);
  auto* block = static_cast<Block*>(std::calloc(1, sizeof(Block) + name_bytes + 1));
  char* copy = strdup(path);
  if (block == nullptr || copy == nullptr) {
    std::free(block);
    std::free(copy);
    errno = ENOMEM;
    return nullptr;
  }
  FTSENT& entry = block->entry;
  entry.fts_parent = parent;
  entry.fts_statp = &block->info;
  entry.fts_path = entry.fts_accpath = copy;
  entry.fts_pathlen = static_cast<unsigned short>(std::strlen(path));
  entry.fts_namelen = static_cast<unsigned short>(name_bytes);
  entry.fts_level =
      static_cast<short>(parent != nullptr ? parent->fts_level + 1 : FTS_ROOTPARENTLEVEL);
  entry.fts_info = FTS_INIT;
  entry.fts_instr = FTS_NOINSTR;
  std::memcpy(static_cast<char*>(entry.fts_name), name, name_bytes + 1);
  return &entry;
}

void free_entry(FTSENT* entry) {
  std::free(entry->fts_path);
  std::free(entry->fts_statp);  // the block
}

void free_list(FTSENT* entry) {
  while (entry != nullptr) {
    FTSENT* next = entry->fts_link;
    free_entry(entry);
    entry = next;
  }
}

bool is_dot_or_dot_dot(const char* name) {
  return std::strcmp(name, ".") == 0 || std::strcmp(name, "..") == 0;
}

unsigned short type_of_directory(FTSENT& entry) {
  if (entry.fts_level > FTS_ROOTLEVEL && is_dot_or_dot_dot(entry.fts_name)) {
    return FTS_DOT;
  }
  for (FTSENT* above = entry.fts_parent; above->fts_level >= FTS_ROOTLEVEL;
       above = above->fts_parent) {
    if (above->fts_ino == entry.fts_ino && above->fts_dev == entry.fts_dev) {
      entry.fts_cycle = above;
      return FTS_DC;
    }
  }
  return FTS_D;
}

// Fills in what the entry is.
void look(FTSENT& entry, bool follows) {
  struct stat& info = *entry.fts_statp;
  entry.fts_errno = 0;
  if ((follows ? stat(entry.fts_path, &info) : lstat(entry.fts_path, &info)) != 0) {
    int error = errno;
    if (follows && lstat(entry.fts_path, &info) == 0) {
      entry.fts_info = FTS_SLNONE;
      return;
    }
    info = {};
    entry.fts_errno = error;
    entry.fts_info = FTS_NS;
    return;
  }
  entry.fts_ino = info.st_ino;
  entry.fts_dev = info.st_dev;
  entry.fts_nlink = info.st_nlink;
  entry.fts_info = S_ISDIR(info.st_mode)   ? type_of_directory(entry)
                   : S_ISLNK(info.st_mode) ? static_cast<unsigned short>(FTS_SL)
                   : S_ISREG(info.st_mode) ? static_cast<unsigned short>(FTS_F)
                                           : static_cast<unsigned short>(FTS_DEFAULT);
}

// As the program wants them; entries as they come if there is no memory.
FTSENT* sort(const Walk& walk, FTSENT* list, std::size_t count) {
  auto** all = walk.compare != nullptr && count > 1
                   ? static_cast<FTSENT**>(std::malloc(count * sizeof(FTSENT*)))
                   : nullptr;
  if (all == nullptr) {
    return list;
  }
  for (std::size_t i = 0; i < count; ++i, list = list->fts_link) {
    all[i] = list;
  }
  std::qsort(all,
             count,
             sizeof(FTSENT*),
             reinterpret_cast<int (*)(const void*, const void*)>(walk.compare));
  for (std::size_t i = 0; i < count; ++i) {
    all[i]->fts_link = i + 1 < count ? all[i + 1] : nullptr;
  }
  FTSENT* first = all[0];
  std::free(all);
  return first;
}

FTSENT* make_child(const Walk& walk, FTSENT& directory, const dirent& entry) {
  char path[kPathRoom];
  std::size_t bytes = directory.fts_pathlen;
  if (bytes + std::strlen(entry.d_name) + 2 > PATH_MAX) {
    errno = ENAMETOOLONG;
    return nullptr;
  }
  std::memcpy(path, directory.fts_path, bytes + 1);
  if (bytes == 0 || path[bytes - 1] != '/') {
    path[bytes++] = '/';
  }
  std::strcpy(path + bytes, entry.d_name);
  FTSENT* child = make_entry(&directory, path, entry.d_name);
  if (child == nullptr) {
    return nullptr;
  }
  bool may_be_directory = entry.d_type == DT_DIR || entry.d_type == DT_UNKNOWN;
  if (walk.has(FTS_NOSTAT) && !walk.has(FTS_LOGICAL) && !may_be_directory) {
    child->fts_info = FTS_NSOK;
  } else {
    look(*child, walk.has(FTS_LOGICAL));
  }
  return child;
}

// What the directory holds; nullptr with `fts_errno` set: it cannot be read.
FTSENT* list(const Walk& walk, FTSENT& directory) {
  DIR* stream = opendir(directory.fts_path);
  if (stream == nullptr) {
    directory.fts_errno = errno;
    return nullptr;
  }
  FTSENT* first = nullptr;
  FTSENT** end = &first;
  std::size_t count = 0;
  while (const dirent* entry = readdir(stream)) {
    if (!walk.has(FTS_SEEDOT) && is_dot_or_dot_dot(entry->d_name)) {
      continue;
    }
    *end = make_child(walk, directory, *entry);
    if (*end == nullptr) {
      directory.fts_errno = errno;
      break;
    }
    end = &(*end)->fts_link;
    ++count;
  }
  closedir(stream);
  if (directory.fts_errno != 0) {
    free_list(first);
    return nullptr;
  }
  return sort(walk, first, count);
}

// The entry, if the program has not said that it be skipped.
bool enter(Walk& walk, FTSENT& entry) {
  walk.fts.fts_cur = &entry;
  unsigned short wish = entry.fts_instr;
  entry.fts_instr = FTS_NOINSTR;
  if (wish == FTS_FOLLOW) {
    look(entry, true);
  }
  if (entry.fts_level == FTS_ROOTLEVEL) {
    walk.fts.fts_dev = entry.fts_dev;
  }
  return wish != FTS_SKIP;
}

// The one behind the current entry, or the directory above when there is none.
FTSENT* go_on(Walk& walk) {
  for (;;) {
    FTSENT* done = walk.fts.fts_cur;
    FTSENT* next = done->fts_link;
    FTSENT* above = done->fts_parent;
    if (done == walk.top) {
      done->fts_link = nullptr;
    } else {
      free_entry(done);
    }
    if (next == nullptr && (done == walk.top || above == walk.top)) {
      walk.fts.fts_cur = nullptr;
      errno = 0;
      return nullptr;
    }
    if (next == nullptr) {
      above->fts_info = above->fts_errno != 0 ? FTS_ERR : FTS_DP;
      return walk.fts.fts_cur = above;
    }
    if (enter(walk, *next)) {
      return next;
    }
  }
}

FTSENT* read_next(Walk& walk) {
  FTSENT* at = walk.fts.fts_cur;
  if (at == nullptr) {
    return nullptr;
  }
  unsigned short wish = at->fts_instr;
  at->fts_instr = FTS_NOINSTR;
  bool is_link = at->fts_info == FTS_SL || at->fts_info == FTS_SLNONE;
  if (wish == FTS_AGAIN || (wish == FTS_FOLLOW && is_link)) {
    look(*at, wish == FTS_FOLLOW || walk.has(FTS_LOGICAL));
    return at;
  }
  if (at->fts_info != FTS_D) {
    return go_on(walk);
  }
  FTSENT* children = walk.fts.fts_child;
  walk.fts.fts_child = nullptr;
  bool is_elsewhere = walk.has(FTS_XDEV) && at->fts_dev != walk.fts.fts_dev;
  if (wish == FTS_SKIP || is_elsewhere) {
    free_list(children);
    at->fts_info = FTS_DP;
    return at;
  }
  children = children != nullptr ? children : list(walk, *at);
  if (children == nullptr) {
    at->fts_info = at->fts_errno != 0 ? FTS_DNR : FTS_DP;
    return at;
  }
  return enter(walk, *children) ? children : go_on(walk);
}

FTS* open_walk(char* const* paths, int options, Compare compare) {
  auto* walk = static_cast<Walk*>(std::calloc(1, sizeof(Walk)));
  FTSENT* top = walk != nullptr ? make_entry(nullptr, "", "") : nullptr;
  if (top == nullptr) {
    std::free(walk);
    errno = ENOMEM;
    return nullptr;
  }
  walk->fts.fts_rfd = kOurs;
  walk->fts.fts_options = options;
  walk->compare = compare;
  walk->top = walk->fts.fts_cur = top;
  FTSENT** end = &top->fts_link;
  std::size_t count = 0;
  for (; *paths != nullptr; ++paths) {
    const char* slash = std::strrchr(*paths, '/');
    bool has_name = slash != nullptr && (slash != *paths || slash[1] != '\0');
    *end = make_entry(top, *paths, has_name ? slash + 1 : *paths);
    if (*end == nullptr) {
      free_list(top->fts_link);
      free_entry(top);
      std::free(walk);
      errno = ENOMEM;
      return nullptr;
    }
    look(**end, (options & (FTS_LOGICAL | FTS_COMFOLLOW)) != 0);
    end = &(*end)->fts_link;
    ++count;
  }
  top->fts_link = sort(*walk, top->fts_link, count);
  return &walk->fts;
}

FTSENT* children_of(Walk& walk, int wish) {
  if (wish != 0 && wish != FTS_NAMEONLY) {
    errno = EINVAL;
    return nullptr;
  }
  FTSENT* at = walk.fts.fts_cur;
  errno = 0;
  if (at == walk.top) {
    return at->fts_link;
  }
  if (at == nullptr || at->fts_info != FTS_D) {
    return nullptr;
  }
  free_list(walk.fts.fts_child);
  walk.fts.fts_child = list(walk, *at);
  errno = at->fts_errno;
  return walk.fts.fts_child;
}

int close_walk(Walk& walk) {
  free_list(walk.fts.fts_child);
  for (FTSENT* at = walk.fts.fts_cur; at != nullptr && at != walk.top;) {
    FTSENT* next = at->fts_link != nullptr ? at->fts_link : at->fts_parent;
    free_entry(at);
    at = next;
  }
  free_list(walk.top->fts_link);
  free_entry(walk.top);
  std::free(&walk);
  return 0;
}

bool has_ours(char* const* paths) {
  for (; *paths != nullptr; ++paths) {
    if (is_ours_path(*paths)) {
      return true;
    }
  }
  return false;
}

}  // namespace

// The structures of both kinds are the same.
#define FTS_ENTRIES(suffix)                                                             \
  ENTRY(FTS*, fts##suffix##_open, char* const* paths, int options, Compare compare) {   \
    COUNTER(fts##suffix##_open);                                                        \
    if (!has_ours(paths)) {                                                             \
      counter.passed();                                                                 \
      return real().fts_open(paths, options, compare);                                  \
    }                                                                                   \
    counter.served();                                                                   \
    return open_walk(paths, options, compare);                                          \
  }                                                                                     \
  ENTRY(FTSENT*, fts##suffix##_read, FTS* fts) {                                        \
    Walk* walk = ours(fts);                                                             \
    return walk != nullptr ? read_next(*walk) : real().fts_read(fts);                   \
  }                                                                                     \
  ENTRY(FTSENT*, fts##suffix##_children, FTS* fts, int wish) {                          \
    Walk* walk = ours(fts);                                                             \
    return walk != nullptr ? children_of(*walk, wish) : real().fts_children(fts, wish); \
  }                                                                                     \
  ENTRY(int, fts##suffix##_close, FTS* fts) {                                           \
    Walk* walk = ours(fts);                                                             \
    return walk != nullptr ? close_walk(*walk) : real().fts_close(fts);                 \
  }
FTS_ENTRIES()
FTS_ENTRIES(64)

}  // namespace benchfs::preload
