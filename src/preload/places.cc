#include "preload/places.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "preload/addresses.h"
#include "preload/real.h"
#include "preload/settings.h"
#include "preload/text.h"
#include "preload/together.h"

namespace benchfs::preload {

namespace {

constexpr int kMaxLinks = 40;

// The working directory below the prefix; replaced as a whole, old ones are never freed. "" when it
// is elsewhere.
BENCHFS_TOGETHER std::atomic<const char*> own_directory{""};
// The kernel's working directory is a directory above the prefix.
BENCHFS_TOGETHER std::atomic<bool> is_above_prefix{false};

bool is_dot(const char* component, std::size_t bytes) {
  return bytes == 1 && component[0] == '.';
}
bool is_dot_dot(const char* component, std::size_t bytes) {
  return bytes == 2 && component[0] == '.' && component[1] == '.';
}

const char* skip_slashes(const char* text) {
  while (*text == '/') {
    ++text;
  }
  return text;
}

// These see each path that a program uses, and after a fork libc's functions cost a fault each.
std::size_t component_bytes(const char* text) {
  std::size_t bytes = 0;
  while (text[bytes] != '/' && text[bytes] != '\0') {
    ++bytes;
  }
  return bytes;
}
bool is_equal(const char* one, const char* other, std::size_t bytes) {
  std::size_t equal = 0;
  while (equal < bytes && one[equal] == other[equal]) {
    ++equal;
  }
  return equal == bytes;
}

// What is left of an absolute path behind the prefix, or nullptr. `needs_walk`: it cannot be said
// by the text, because ".." comes first and the prefix's last component later.
const char* behind_prefix(const char* path, bool& needs_walk) {
  const char* prefix = skip_slashes(settings().prefix);
  const char* at = skip_slashes(path);
  while (*at != '\0') {
    std::size_t bytes = component_bytes(at);
    if (is_dot_dot(at, bytes)) {
      needs_walk = std::strstr(at, settings().prefix_name) != nullptr;
      return nullptr;
    }
    if (!is_dot(at, bytes)) {
      std::size_t wanted = component_bytes(prefix);
      if (bytes != wanted || !is_equal(at, prefix, bytes)) {
        needs_walk = contains(at, "..") && std::strstr(at, settings().prefix_name) != nullptr;
        return nullptr;
      }
      prefix = skip_slashes(prefix + wanted);
      if (*prefix == '\0') {
        return at + bytes;
      }
    }
    at = skip_slashes(at + bytes);
  }
  return nullptr;
}

bool is_above(const char* directory) {
  std::size_t bytes = std::strlen(directory);
  while (bytes > 0 && directory[bytes - 1] == '/') {
    --bytes;
  }
  return std::memcmp(settings().prefix, directory, bytes) == 0 && settings().prefix[bytes] == '/';
}

bool join(const char* base, const char* path, char* text) {
  std::size_t base_bytes = std::strlen(base);
  std::size_t path_bytes = std::strlen(path);
  if (base_bytes + path_bytes + 2 > kPathRoom || path_bytes >= PATH_MAX) {
    return false;
  }
  std::memmove(text, base, base_bytes);
  text[base_bytes] = '/';
  std::memcpy(text + base_bytes + 1, path, path_bytes + 1);
  return true;
}

bool path_of_descriptor(int fd, char* text, std::size_t room) {
  char link[64];
  std::snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t bytes = real().readlink(link, text, room - 1);
  if (bytes <= 0 || text[0] != '/') {
    return false;
  }
  text[bytes] = '\0';
  return true;
}

// The absolute path as the program means it. False with `place.error` set, or when it cannot be
// known.
bool to_absolute(int directory, const char* path, char* text, Place& place) {
  char base[kPathRoom];
  if (path[0] == '/') {
    base[0] = '\0';
    ++path;
  } else if (directory == AT_FDCWD) {
    if (*own_working_directory() != '\0') {
      to_program_path(own_working_directory(), base);
    } else if (real().getcwd(base, sizeof base) == nullptr) {
      return false;
    }
  } else if (OpenRef open{directory}) {
    char now[PATH_MAX];
    bool is_known = open->is_directory() && path_now(*open, now);
    to_program_path(is_known ? now : open->shared->path, base);
  } else if (!path_of_descriptor(directory, base, sizeof base)) {
    return false;
  }
  if (std::strcmp(base, "/") == 0) {
    base[0] = '\0';
  }
  if (!join(base, path, text)) {
    place.error = ENAMETOOLONG;
    return false;
  }
  return true;
}

// Decides for an absolute path, or leaves the place as it is.
void decide(const char* absolute, int directory, const char* path, Place& place) {
  bool needs_walk = false;
  const char* rest = behind_prefix(absolute, needs_walk);
  if (rest != nullptr) {
    place.is_ours = true;
    place.path = *rest != '\0' ? rest : "/";
  } else if (needs_walk) {
    resolve_by_walk(directory, path, Follow::kNo, place);
  }
}

void set_ours(Place& place, const char* base, const char* path) {
  place.is_ours = true;
  if (*path == '\0') {
    place.path = path;  // ENOENT
  } else if (join(std::strcmp(base, "/") == 0 ? "" : base, path, place.text)) {
    place.path = place.text;
  } else {
    place.error = ENAMETOOLONG;
  }
}

// The target of a symbolic link at an absolute path of the program's. -1 when it is none or cannot
// be read.
ssize_t read_link(const char* path, char* target) {
  bool needs_walk = false;
  const char* rest = behind_prefix(path, needs_walk);
  if (rest == nullptr) {
    return real().readlink(path, target, PATH_MAX - 1);
  }
  Deferral deferral;
  Cluster here = cluster();
  if (!here || *rest == '\0') {
    return -1;
  }
  return here.api->readlink(here.context, rest, target, PATH_MAX - 1);
}

}  // namespace

void to_program_path(const char* path, char* text) {
  std::strcpy(text, settings().prefix);
  if (std::strcmp(path, "/") != 0) {
    std::strcat(text, path);
  }
}

bool is_elsewhere(int directory, const char* path) {
  if (!is_address(path) || !settings().is_active) {
    return true;
  }
  if (path[0] == '/') {
    bool needs_walk = false;
    return behind_prefix(path, needs_walk) == nullptr && !needs_walk;
  }
  if (directory == AT_FDCWD) {
    bool may_be_ours = is_above_prefix || contains(path, "..");
    return *own_working_directory() == '\0' &&
           (!may_be_ours || std::strstr(path, settings().prefix_name) == nullptr);
  }
  return !is_ours(directory) && std::strstr(path, settings().prefix_name) == nullptr;
}

void find_place(int directory, const char* path, Place& place) {
  place.directory = directory;
  place.path = path;
  if (is_elsewhere(directory, path)) {
    return;
  }
  if (path[0] == '/') {
    decide(path, directory, path, place);
    return;
  }
  if (directory == AT_FDCWD) {
    const char* own = own_directory.load(std::memory_order_acquire);
    if (*own != '\0') {
      set_ours(place, own, path);
      return;
    }
  } else if (OpenRef open{directory}) {
    if (open->shared->kind == Kind::kFile) {
      place.error = ENOTDIR;
      return;
    }
    set_ours(place, open->shared->path, path);
    place.base = *path != '\0' ? directory : -1;
    place.below_base = path;
    return;
  }
  char absolute[kPathRoom];
  if (to_absolute(directory, path, absolute, place)) {
    decide(absolute, directory, path, place);
    if (place.is_ours && place.path != place.text) {
      std::strcpy(place.text, place.path);
      place.path = place.text;
    }
  }
}

namespace {

// The number at the end of a path in that directory; -1: it is not in there.
int number_in(const char* path, const char* directory) {
  const char* digits = behind(path, directory);
  if (digits == nullptr || *digits == '\0') {
    return -1;
  }
  std::size_t count = std::strspn(digits, "0123456789");
  return digits[count] == '\0' && count < 9 ? std::atoi(digits) : -1;
}

}  // namespace

int own_descriptor(const char* path) {
  if (!is_address(path) || path[0] != '/' || !settings().is_active) {
    return -1;
  }
  if (const char* name = behind(path, "/dev/")) {
    return std::strcmp(name, "stdin") == 0    ? 0
           : std::strcmp(name, "stdout") == 0 ? 1
           : std::strcmp(name, "stderr") == 0 ? 2
                                              : number_in(name, "fd/");
  }
  const char* name = behind(path, "/proc/");
  if (name == nullptr) {
    return -1;
  }
  for (const char* directory : {"self/fd/", "thread-self/fd/"}) {
    if (int fd = number_in(name, directory); fd >= 0) {
      return fd;
    }
  }
  char own[32];
  std::snprintf(own, sizeof own, "%d/fd/", static_cast<int>(real().getpid()));
  return number_in(name, own);
}

bool is_ours_path(const char* path) {
  Place place;
  find_place(AT_FDCWD, path, place);
  return place.is_ours;
}

void resolve_by_walk(int directory, const char* path, Follow follow, Place& place) {
  char pending[kPathRoom];  // what is left to walk
  char reached[kPathRoom];  // without symbolic links, "" for "/"
  char target[PATH_MAX];
  if (!to_absolute(directory, path, pending, place)) {
    return;
  }
  std::size_t bytes = 0;
  int links = 0;
  const char* at = skip_slashes(pending);
  while (*at != '\0') {
    std::size_t component = component_bytes(at);
    const char* rest = skip_slashes(at + component);
    if (is_dot(at, component)) {
      at = rest;
      continue;
    }
    if (is_dot_dot(at, component)) {
      while (bytes > 0 && reached[--bytes] != '/') {
      }
      at = rest;
      continue;
    }
    if (bytes + component + 2 > PATH_MAX) {
      place.error = ENAMETOOLONG;
      return;
    }
    reached[bytes] = '/';
    std::memcpy(reached + bytes + 1, at, component);
    reached[bytes + 1 + component] = '\0';
    bool is_last = *rest == '\0';
    bool ends_in_slash = is_last && at[component] == '/';
    ssize_t length =
        is_last && follow == Follow::kNo && !ends_in_slash ? -1 : read_link(reached, target);
    if (length <= 0) {
      bytes += component + 1;
      at = rest;
      continue;
    }
    if (++links > kMaxLinks) {
      place.error = ELOOP;
      return;
    }
    target[length] = '\0';
    char next[kPathRoom];
    if (!join(target, rest, next)) {
      place.error = ENAMETOOLONG;
      return;
    }
    if (target[0] == '/') {
      bytes = 0;
    }
    std::strcpy(pending, next);
    at = skip_slashes(pending);
  }
  reached[bytes] = '\0';
  bool needs_walk = false;
  const char* inside = behind_prefix(reached, needs_walk);
  place.base = -1;
  place.is_ours = inside != nullptr;
  place.directory = AT_FDCWD;
  std::strcpy(place.text, inside != nullptr ? inside : reached);
  if (place.text[0] == '\0') {
    std::strcpy(place.text, "/");
  }
  place.path = place.text;
}

namespace {

struct NameOfInode {
  std::uint64_t inode;
  char name[NAME_MAX + 1];
  bool is_found;
};

int compare_inode(void* wanted, const char* name, std::uint32_t, std::uint64_t inode) {
  auto& found = *static_cast<NameOfInode*>(wanted);
  if (inode != found.inode || std::strlen(name) > NAME_MAX) {
    return 0;
  }
  std::strcpy(found.name, name);
  found.is_found = true;
  return 1;
}

// From the directory up to the root, by the names that lead down again.
bool climb(const Handle& handle, std::uint64_t inode, std::uint64_t root, char* path) {
  char* begin = path + PATH_MAX - 1;
  *begin = '\0';
  benchfs_file_t* at = handle.file;
  int error = 0;
  while (inode != root && error == 0) {
    benchfs_file_t* above = handle->openat(at, "..", O_RDONLY | O_DIRECTORY, 0);
    error = above != nullptr ? 0 : errno;
    if (at != handle.file) {
      handle->close(at);
    }
    at = above;
    NameOfInode child{.inode = inode, .name = {}, .is_found = false};
    benchfs_stat_t stat{};
    if (error == 0) {
      ssize_t listed = handle->freaddir(above, compare_inode, &child);
      error = listed < 0 ? static_cast<int>(-listed) : 0;
      handle->last_stat(above, &stat);
    }
    auto bytes = static_cast<long>(std::strlen(child.name));
    error = error == 0 && !child.is_found ? ENOENT : error;
    error = error == 0 && begin - path <= bytes ? ENAMETOOLONG : error;
    if (error == 0) {
      begin -= bytes;
      std::memcpy(begin, child.name, static_cast<std::size_t>(bytes));
      *--begin = '/';
      inode = stat.st_ino;
    }
  }
  if (at != handle.file && at != nullptr) {
    handle->close(at);
  }
  begin = *begin != '\0' ? begin : std::strcpy(path, "/");
  std::memmove(path, begin, std::strlen(begin) + 1);
  errno = error;
  return error == 0;
}

}  // namespace

bool path_now(Description& directory, char* path) {
  Handle handle = handle_of(directory);
  if (!handle) {
    return false;
  }
  const SharedState& shared = *directory.shared;
  benchfs_stat_t stat;
  if (handle->stat(handle.cluster.context, shared.path, &stat) == 0 &&
      stat.st_ino == shared.inode) {
    std::strcpy(path, shared.path);
    return true;
  }
  int error = handle->stat(handle.cluster.context, "/", &stat);
  errno = -error;
  return error == 0 && climb(handle, shared.inode, stat.st_ino, path);
}

int Target::stat(Follow follow, benchfs_stat_t* out) const {
  if (directory != nullptr) {
    return here.api->fstatat(directory, path, out, follow == Follow::kNo ? AT_SYMLINK_NOFOLLOW : 0);
  }
  return follow == Follow::kYes ? here.api->stat(here.context, path, out)
                                : here.api->lstat(here.context, path, out);
}

bool leads_inside(int directory, const char* path, Follow follow, Place& place) {
  if (!settings().is_active || path == nullptr || *path == '\0') {
    return false;
  }
  int before = errno;
  Place walked;
  resolve_by_walk(directory, path, follow, walked);
  errno = before;
  if (!walked.is_ours || walked.error != 0) {
    return false;
  }
  std::strcpy(place.text, walked.text);
  place.path = place.text;
  return true;
}

// --- The working directory -----------------------------------------------------------------------

const char* own_working_directory() {
  return own_directory.load(std::memory_order_acquire);
}

namespace {

// The kernel's working directory is a removed one while ours is below the prefix, so that a
// relative path in a system call that the library misses fails.
constexpr char kVoid[] = ".benchfs-cwd-";

int enter_void() {
  for (const char* parent : {"/tmp", "/dev/shm", "/var/tmp"}) {
    char path[64];
    std::snprintf(path, sizeof path, "%s/%sXXXXXX", parent, kVoid);
    if (mkdtemp(path) != nullptr) {
      int result = real().chdir(path);
      real().rmdir(path);
      return result;
    }
  }
  return -1;
}

void set_own(const char* path) {
  own_directory.store(path, std::memory_order_release);
  if (*path != '\0') {
    setenv(kDirectoryVariable, path, 1);
  } else {
    unsetenv(kDirectoryVariable);
  }
}

}  // namespace

int change_directory(const char* path) {
  char* copy = strdup(path);
  if (copy == nullptr) {
    return fail_with(ENOMEM);
  }
  TableChange change;  // the kernel's directory and ours are of one fork
  if (*own_working_directory() == '\0' && enter_void() != 0) {
    free(copy);
    return -1;
  }
  set_own(copy);
  return 0;
}

void leave_working_directory() {
  if (*own_working_directory() != '\0') {
    set_own("");
  }
  char directory[PATH_MAX];
  int before = errno;
  is_above_prefix = real().getcwd(directory, sizeof directory) != nullptr && is_above(directory);
  errno = before;
}

void adopt_working_directory(const char* given) {
  char kernel[PATH_MAX];
  ssize_t bytes =
      given != nullptr ? real().readlink("/proc/self/cwd", kernel, sizeof kernel - 1) : 0;
  if (bytes > 0) {
    kernel[bytes] = '\0';
    char* copy = std::strstr(kernel, kVoid) != nullptr ? strdup(given) : nullptr;
    if (copy != nullptr) {
      own_directory = copy;
      return;
    }
  }
  leave_working_directory();
}

}  // namespace benchfs::preload
