// The entries of open(), close(), dup() and their like.
#include "preload/opening.h"

#include <sys/syscall.h>

#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <limits>

#include "preload/descriptions.h"
#include "preload/locks.h"
#include "preload/mappings.h"
#include "preload/places.h"
#include "preload/real.h"
#include "preload/settings.h"
#include "preload/streams.h"
#include "preload/together.h"

namespace benchfs::preload {

namespace {

// What the C API is told; the others concern the descriptor or have no effect.
constexpr int kApiFlags =
    O_ACCMODE | O_CREAT | O_EXCL | O_TRUNC | O_APPEND | O_NOFOLLOW | O_TMPFILE | O_SYNC | O_DSYNC;
static_assert((kApiFlags & O_DIRECTORY) != 0);

BENCHFS_TOGETHER std::atomic<mode_t> known_umask{022};

// The descriptor of a file that open() may make or truncate. It is taken before that, as nothing
// may have happened when there is none. A program that another thread starts meanwhile does not get
// it.
class EarlyDescriptor {
 public:
  explicit EarlyDescriptor(int flags)
      : is_wanted_((flags & (O_CREAT | O_TRUNC)) != 0),
        is_inherited_((flags & O_CLOEXEC) == 0),
        is_missing_(is_wanted_ && !reserve(O_CLOEXEC, reserved_)) {}
  EarlyDescriptor(const EarlyDescriptor&) = delete;
  EarlyDescriptor& operator=(const EarlyDescriptor&) = delete;
  ~EarlyDescriptor() {
    if (is_wanted_ && !is_missing_) {
      give_back(reserved_);
    }
  }
  [[nodiscard]] bool is_missing() const { return is_missing_; }
  // As the function of that name.
  int install(const Cluster& cluster,
              benchfs_file_t* file,
              Kind kind,
              std::uint64_t inode,
              int flags,
              const char* path) {
    if (!is_wanted_) {
      return preload::install(cluster, file, kind, inode, flags, path);
    }
    is_wanted_ = false;
    int fd = preload::install(reserved_, file, kind, inode, flags, path);
    if (is_inherited_) {
      real().fcntl(fd, F_SETFD, 0);
    }
    return fd;
  }

 private:
  bool is_wanted_;
  bool is_inherited_;
  Reserved reserved_;
  bool is_missing_;
};

// An O_PATH descriptor: only the name is looked up.
long open_name(const Target& at, int flags) {
  benchfs_stat_t stat;
  int error = at.stat((flags & O_NOFOLLOW) == 0 ? Follow::kYes : Follow::kNo, &stat);
  if (error == 0 && (flags & O_DIRECTORY) != 0 && !S_ISDIR(stat.st_mode)) {
    error = -ENOTDIR;
  }
  if (error != 0) {
    return error;
  }
  int fd = install(at.here, nullptr, Kind::kPath, stat.st_ino, flags, at.text);
  return fd < 0 ? -errno : fd;
}

// After the file was opened with O_TRUNC.
void cut_mappings(std::uint64_t inode) {
  MappedFile file(inode);
  file.zero(0, std::numeric_limits<off_t>::max());
}

}  // namespace

long open_ours(const char* path, int flags, mode_t mode) {
  Deferral deferral;
  Cluster here = cluster();
  return here ? open_ours(Target{here, nullptr, path, path}, flags, mode) : -errno;
}

long open_ours(const Target& at, int flags, mode_t mode) {
  Deferral deferral;
  const char* path = at.text;
  if (std::strlen(path) >= PATH_MAX) {
    return -ENAMETOOLONG;
  }
  const Cluster& here = at.here;
  if ((flags & O_PATH) != 0) {
    return open_name(at, flags);
  }
  EarlyDescriptor early(flags);
  if (early.is_missing()) {
    return -errno;
  }
  mode &= ~current_umask();
  benchfs_file_t* file = at.directory != nullptr
                             ? at->openat(at.directory, at.path, flags & kApiFlags, mode)
                             : at->open(here.context, at.path, flags & kApiFlags, mode);
  if (file == nullptr) {
    return -errno;
  }
  benchfs_stat_t stat{};
  here.api->last_stat(file, &stat);
  Kind kind = S_ISDIR(stat.st_mode) ? Kind::kDirectory : Kind::kFile;
  if ((flags & O_TRUNC) != 0) {
    cut_mappings(stat.st_ino);
  }
  char unnamed[PATH_MAX];
  if ((flags & O_TMPFILE) == O_TMPFILE) {  // shown as on other file systems
    unsigned long long number = stat.st_ino;
    std::snprintf(unnamed, sizeof unnamed, "%s/#%llu (deleted)", path, number);
    path = unnamed;
  }
  int fd = early.install(here, file, kind, stat.st_ino, flags, path);
  if (fd < 0) {
    return -errno;
  }
  sync_streams(fd);
  return fd;
}

long open_again(Description& description, int flags) {
  Deferral deferral;
  if ((flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL)) {
    return -EEXIST;
  }
  const SharedState& shared = *description.shared;
  Cluster here = cluster();
  if (!here) {
    return -errno;
  }
  if ((flags & O_PATH) != 0) {
    int fd = install(here, nullptr, Kind::kPath, shared.inode, flags, shared.path);
    return fd < 0 ? -errno : fd;
  }
  EarlyDescriptor early(flags);
  if (early.is_missing()) {
    return -errno;
  }
  constexpr int kForNames = O_CREAT | O_EXCL | O_NOFOLLOW | (O_TMPFILE & ~O_DIRECTORY);
  benchfs_file_t* file =
      here.api->open_inode(here.context, shared.inode, flags & kApiFlags & ~kForNames);
  if (file == nullptr) {
    return -errno;
  }
  benchfs_stat_t stat{};
  here.api->last_stat(file, &stat);
  Kind kind = S_ISDIR(stat.st_mode) ? Kind::kDirectory : Kind::kFile;
  if ((flags & O_TRUNC) != 0) {
    cut_mappings(shared.inode);
  }
  int fd = early.install(here, file, kind, shared.inode, flags & ~(O_CREAT | O_EXCL), shared.path);
  if (fd < 0) {
    return -errno;
  }
  sync_streams(fd);
  return fd;
}

// These end a thread that is cancelled before they begin, as libc's do; in the middle nothing may.
int open_any(Counter& counter, int directory, const char* path, int flags, mode_t mode) {
  pthread_testcancel();
  if ((flags & O_NOFOLLOW) == 0) {
    if (OpenRef open{own_descriptor(path)}) {
      Errno keep;
      counter.served();
      return static_cast<int>(keep.finish(open_again(*open, flags)));
    }
  }
  Follow follow = (flags & O_NOFOLLOW) != 0 || (flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL)
                      ? Follow::kNo
                      : Follow::kYes;
  int fd = at_place(
      counter,
      directory,
      path,
      follow,
      [&](const Target& at) { return open_ours(at, flags, mode); },
      [&](int from, const char* theirs) { return real().openat(from, theirs, flags, mode); });
  if (fd >= 0 && fd <= 2 && !is_ours(fd)) {
    sync_streams(fd);
  }
  return fd;
}

int close_any(int fd) {
  if (is_internal(fd)) {
    return fail_with(EBADF);
  }
  if (!is_ours(fd)) {
    return close_own(fd);
  }
  Deferral deferral;
  Description* description = nullptr;
  int result = 0;
  {
    TableChange change;
    description = take_away(fd);
    result = close_own(fd);
  }
  if (description != nullptr) {
    drop(description);
    sync_streams(fd);
  }
  return result;
}

mode_t current_umask() {
  return known_umask.load(std::memory_order_relaxed);
}

void read_umask() {
  mode_t mask = real().umask(0);
  real().umask(mask);
  known_umask = mask;
}

namespace {

mode_t mode_of(int flags, va_list arguments) {
  bool has_mode = (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE;
  return has_mode ? va_arg(arguments, mode_t) : 0;
}

// `make` duplicates the descriptor of the kernel.
template <typename Make>
int duplicate(Counter& counter, int from, int known_target, Make make) {
  if (!is_ours(from) && !is_ours(known_target)) {
    if (is_internal(known_target)) {
      return fail_with(EBADF);
    }
    int made = make();
    if (made >= 0 && made <= 2) {
      sync_streams(made);
    }
    return made;
  }
  counter.served();
  Deferral deferral;
  OpenRef source(from);
  if (known_target != from && is_ours(known_target)) {
    flush_stream_of(known_target);
  }
  Description* replaced = nullptr;
  int made = -1;
  int before = 0;
  {
    TableChange change;
    replaced = known_target != from ? take_away(known_target) : nullptr;
    made = make();
    if (made >= kMaxDescriptors) {
      close_own(made);
      made = fail_with(EMFILE);
    }
    if (made >= 0 && source && made != from) {
      put(made, &*source);
    }
    before = errno;
    if (replaced != nullptr && made < 0) {
      put(known_target, replaced);
    }
  }
  drop(replaced);
  if (made >= 0) {
    sync_streams(made);
  }
  errno = before;
  return made;
}

}  // namespace

#define OPEN_ENTRY(name)                                   \
  ENTRY(int, name, const char* path, int flags, ...) {     \
    COUNTER(name);                                         \
    va_list arguments;                                     \
    va_start(arguments, flags);                            \
    mode_t mode = mode_of(flags, arguments);               \
    va_end(arguments);                                     \
    return open_any(counter, AT_FDCWD, path, flags, mode); \
  }
#define OPENAT_ENTRY(name)                                            \
  ENTRY(int, name, int directory, const char* path, int flags, ...) { \
    COUNTER(name);                                                    \
    va_list arguments;                                                \
    va_start(arguments, flags);                                       \
    mode_t mode = mode_of(flags, arguments);                          \
    va_end(arguments);                                                \
    return open_any(counter, directory, path, flags, mode);           \
  }

OPEN_ENTRY(open)
OPEN_ENTRY(open64)
OPENAT_ENTRY(openat)
OPENAT_ENTRY(openat64)

ENTRY(int, __open_2, const char* path, int flags) {
  COUNTER(__open_2);
  return open_any(counter, AT_FDCWD, path, flags, 0);
}
ENTRY(int, __open64_2, const char* path, int flags) {
  COUNTER(__open64_2);
  return open_any(counter, AT_FDCWD, path, flags, 0);
}
ENTRY(int, __openat_2, int directory, const char* path, int flags) {
  COUNTER(__openat_2);
  return open_any(counter, directory, path, flags, 0);
}
ENTRY(int, __openat64_2, int directory, const char* path, int flags) {
  COUNTER(__openat64_2);
  return open_any(counter, directory, path, flags, 0);
}
ENTRY(int, creat, const char* path, mode_t mode) {
  COUNTER(creat);
  return open_any(counter, AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}
ENTRY(int, creat64, const char* path, mode_t mode) {
  COUNTER(creat64);
  return open_any(counter, AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

ENTRY(int, close, int fd) {
  if (!is_ours(fd)) [[likely]] {
    if (is_internal(fd)) {
      return fail_with(EBADF);
    }
    return real().close(fd);
  }
  COUNTER(close);
  pthread_testcancel();
  counter.served();
  return close_any(fd);
}

ENTRY(int, close_range, unsigned first, unsigned last, int flags) {
  COUNTER(close_range);
  constexpr int kCloexec = CLOSE_RANGE_CLOEXEC;
  if (first > last) {
    return fail_with(EINVAL);
  }
  if ((flags & ~kCloexec) != 0) {
    return counter.refuse(EINVAL);  // CLOSE_RANGE_UNSHARE: a table of descriptors of its own
  }
  // Around the descriptors that the library needs.
  unsigned from = first;
  for (unsigned fd = first; fd <= last && fd < unsigned{kMaxDescriptors}; ++fd) {
    bool is_kept = is_internal(static_cast<int>(fd));
    if (!is_kept && !is_ours(static_cast<int>(fd))) {
      continue;
    }
    counter.served();
    if (fd > from && real().close_range(from, fd - 1, flags) != 0) {
      return -1;
    }
    from = fd + 1;
    if (is_kept) {
      continue;
    }
    if ((flags & kCloexec) != 0) {
      real().fcntl(static_cast<int>(fd), F_SETFD, FD_CLOEXEC);
    } else {
      close_any(static_cast<int>(fd));
    }
  }
  return from <= last ? real().close_range(from, last, flags) : 0;
}

ENTRY(void, closefrom, int first) {
  entry_close_range(first < 0 ? 0U : static_cast<unsigned>(first), ~0U, 0);
}

ENTRY(int, dup, int fd) {
  COUNTER(dup);
  return duplicate(counter, fd, -1, [&] { return real().dup(fd); });
}
ENTRY(int, dup2, int fd, int target) {
  COUNTER(dup2);
  return duplicate(counter, fd, target, [&] { return real().dup2(fd, target); });
}
ENTRY(int, __dup2, int fd, int target) {
  return entry_dup2(fd, target);
}
ENTRY(int, dup3, int fd, int target, int flags) {
  COUNTER(dup3);
  if (fd == target) {
    return fail_with(EINVAL);
  }
  return duplicate(counter, fd, target, [&] { return real().dup3(fd, target, flags); });
}

namespace {

int set_flags(Description& description, int flags) {
  constexpr int kChangeable = O_APPEND | O_ASYNC | O_DIRECT | O_NOATIME | O_NONBLOCK;
  PositionLock lock(description);
  if (!lock) {
    return -1;
  }
  int before = description.shared->flags;
  description.shared->flags = (before & ~kChangeable) | (flags & kChangeable);
  return 0;
}

}  // namespace

#define FCNTL_ENTRY(name)                             \
  ENTRY(int, name, int fd, int command, ...) {        \
    COUNTER(name);                                    \
    va_list arguments;                                \
    va_start(arguments, command);                     \
    void* argument = va_arg(arguments, void*);        \
    va_end(arguments);                                \
    return fcntl_any(counter, fd, command, argument); \
  }

namespace {

// O_LARGEFILE as the kernel shows it for each open file; libc's constant of that name is 0.
constexpr int kernel_large_file() {
#ifdef __aarch64__
  return 0400000;
#else
  return 0100000;
#endif
}

bool is_of_locks(int command) {
  return command == F_SETLK || command == F_SETLKW || command == F_GETLK ||
         command == F_OFD_SETLK || command == F_OFD_SETLKW || command == F_OFD_GETLK;
}

int fcntl_any(Counter& counter, int fd, int command, void* argument) {
  if (is_of_locks(command) && is_ours(fd)) {
    return lock_by_fcntl(counter, fd, command, static_cast<struct flock*>(argument));
  }
  OpenRef open(fd);
  if (!open) {
    return real().fcntl(fd, command, argument);
  }
  switch (command) {
    case F_DUPFD:
    case F_DUPFD_CLOEXEC:
      return duplicate(counter, fd, -1, [&] { return real().fcntl(fd, command, argument); });
    case F_GETFD:
    case F_SETFD:
      counter.served();
      return real().fcntl(fd, command, argument);
    case F_GETFL:
      counter.served();
      return open->shared->flags | (open->shared->kind != Kind::kPath ? kernel_large_file() : 0);
    case F_SETFL:
      counter.served();
      return set_flags(*open, static_cast<int>(reinterpret_cast<long>(argument)));
    default:
      return counter.refuse(EINVAL);
  }
}

}  // namespace

FCNTL_ENTRY(fcntl)
FCNTL_ENTRY(fcntl64)

ENTRY(mode_t, umask, mode_t mask) {
  known_umask = mask & 0777;
  return real().umask(mask);
}

}  // namespace benchfs::preload
