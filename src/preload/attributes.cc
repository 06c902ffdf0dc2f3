// The entries of stat() and its like, access(), and what changes attributes.
#include "preload/attributes.h"

#include <sys/sysmacros.h>

#include <algorithm>
#include <cstring>

#include "preload/addresses.h"
#include "preload/descriptions.h"
#include "preload/entry.h"
#include "preload/places.h"
#include "preload/real.h"

namespace benchfs::preload {

namespace {

// No device of the kernel has this number: major 0 counts up from 1.
constexpr unsigned kDeviceMajor = 0;
constexpr unsigned kDeviceMinor = 0xbf5f5;
// The buffer that cat and cp take at least.
constexpr std::int64_t kShortFile = 128 << 10;

int stat_path(const char* path, Follow follow, benchfs_stat_t& stat) {
  Cluster here = cluster();
  return here ? Target{here, nullptr, path, path}.stat(follow, &stat) : -errno;
}

}  // namespace

dev_t our_device() {
  return makedev(kDeviceMajor, kDeviceMinor);
}

void fill_stat(const benchfs_stat_t& from, struct stat& into) {
  std::memset(&into, 0, sizeof into);
  into.st_dev = our_device();
  into.st_ino = from.st_ino;
  into.st_mode = from.st_mode;
  into.st_nlink = from.st_nlink;
  into.st_uid = from.st_uid;
  into.st_gid = from.st_gid;
  into.st_size = from.st_size;
  into.st_blksize = from.st_blksize;
  into.st_blocks = from.st_blocks;
  into.st_atim = from.st_atim;
  into.st_mtim = from.st_mtim;
  into.st_ctim = from.st_ctim;
}

int stat_open(Description& description, benchfs_stat_t& stat) {
  if (description.shared->kind == Kind::kPath) {
    Follow follow = (description.shared->flags & O_NOFOLLOW) != 0 ? Follow::kNo : Follow::kYes;
    return stat_path(description.shared->path, follow, stat);
  }
  Handle handle = handle_of(description);
  if (!handle) {
    return -errno;
  }
  int error = handle->fstat(handle.file, &stat);
  // Programs take so large a buffer as this says. The chunk size would be 4 MiB for the few bytes
  // of a file that nobody writes through this descriptor.
  if (error == 0 && description.shared->kind == Kind::kFile &&
      (description.shared->flags & O_ACCMODE) == O_RDONLY && stat.st_size <= kShortFile) {
    stat.st_blksize = std::min<decltype(stat.st_blksize)>(stat.st_blksize, kShortFile);
  }
  return error;
}

namespace {

statx_timestamp to_statx(const timespec& time) {
  statx_timestamp out{};
  out.tv_sec = time.tv_sec;
  out.tv_nsec = static_cast<std::uint32_t>(time.tv_nsec);
  return out;
}

void fill_statx(const benchfs_stat_t& from, struct statx& into) {
  std::memset(&into, 0, sizeof into);
  into.stx_mask = STATX_BASIC_STATS;
  into.stx_blksize = from.st_blksize;
  into.stx_nlink = static_cast<std::uint32_t>(from.st_nlink);
  into.stx_uid = from.st_uid;
  into.stx_gid = from.st_gid;
  into.stx_mode = static_cast<std::uint16_t>(from.st_mode);
  into.stx_ino = from.st_ino;
  into.stx_size = static_cast<std::uint64_t>(from.st_size);
  into.stx_blocks = static_cast<std::uint64_t>(from.st_blocks);
  into.stx_atime = to_statx(from.st_atim);
  into.stx_mtime = to_statx(from.st_mtim);
  into.stx_ctime = to_statx(from.st_ctim);
  into.stx_dev_major = kDeviceMajor;
  into.stx_dev_minor = kDeviceMinor;
}

// The answer of a call that has succeeded but for its result.
template <typename From, typename Out, typename Fill>
int fill_out(const From& from, Out* out, Fill fill) {
  if (!is_address(out)) {
    return -EFAULT;
  }
  fill(from, *out);
  return 0;
}

// Nothing follows the path: the call is about the descriptor itself.
bool is_about_descriptor(const char* path, int flags) {
  return is_address(path) && *path == '\0' && (flags & AT_EMPTY_PATH) != 0;
}

int api_flags(Follow follow) {
  return follow == Follow::kNo ? AT_SYMLINK_NOFOLLOW : 0;
}

Follow follow_of(int flags) {
  return (flags & AT_SYMLINK_NOFOLLOW) != 0 ? Follow::kNo : Follow::kYes;
}

bool are_stat_flags(int flags) {
  constexpr int kKnown = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | AT_STATX_SYNC_TYPE;
  return (flags & ~kKnown) == 0 && (flags & AT_STATX_SYNC_TYPE) != AT_STATX_SYNC_TYPE;
}

// stat of `path` into `out`, which `fill` fills.
template <typename Out, typename Fill, typename Theirs>
int stat_any(Counter& counter,
             int directory,
             const char* path,
             int flags,
             Out* out,
             Fill fill,
             Theirs theirs) {
  Errno keep;
  benchfs_stat_t stat;
  if (!are_stat_flags(flags)) {
    return is_address(path) ? fail_with(EINVAL) : theirs(directory, path);
  }
  auto filled = [&](int error) { return error == 0 ? fill_out(stat, out, fill) : error; };
  if (is_about_descriptor(path, flags)) {
    if (OpenRef open{directory}) {
      counter.served();
      return keep.finish(filled(stat_open(*open, stat)));
    }
    if (directory == AT_FDCWD && *own_working_directory() != '\0') {
      return keep.finish(filled(stat_path(own_working_directory(), Follow::kYes, stat)));
    }
    return theirs(directory, path);
  }
  Follow follow = follow_of(flags);
  if (OpenRef open{follow == Follow::kYes ? own_descriptor(path) : -1}) {
    counter.served();
    return keep.finish(filled(stat_open(*open, stat)));
  }
  return at_place(
      counter,
      directory,
      path,
      follow,
      [&](const Target& at) { return filled(at.stat(follow, &stat)); },
      theirs);
}

int stat_any(Counter& counter, int directory, const char* path, struct stat* out, int flags) {
  return stat_any(
      counter, directory, path, flags, out, fill_stat, [&](int from, const char* theirs) {
        return real().fstatat(from, theirs, out, flags);
      });
}

int fstat_any(Counter& counter, int fd, struct stat* out) {
  OpenRef open(fd);
  if (!open) {
    return real().fstat(fd, out);
  }
  counter.served();
  Errno keep;
  benchfs_stat_t stat;
  int error = stat_open(*open, stat);
  return keep.finish(error == 0 ? fill_out(stat, out, fill_stat) : error);
}

// A change by path, or of the open file when the path is empty and the flags say so.
template <typename OfPath, typename OfOpen, typename Theirs>
int change(Counter& counter,
           int directory,
           const char* path,
           int flags,
           OfPath of_path,
           OfOpen of_open,
           Theirs theirs) {
  Errno keep;
  if (path == nullptr || is_about_descriptor(path, flags)) {
    if (OpenRef open{directory}) {
      counter.served();
      Handle handle = handle_of(*open);
      return keep.finish(handle ? of_open(handle) : -errno);
    }
    return theirs(directory, path);
  }
  Follow follow = follow_of(flags);
  OpenRef meant(follow == Follow::kYes ? own_descriptor(path) : -1);
  if (meant && meant->shared->kind != Kind::kPath) {
    counter.served();
    Handle handle = handle_of(*meant);
    return keep.finish(handle ? of_open(handle) : -errno);
  }
  return at_place(
      counter,
      directory,
      path,
      follow,
      [&](const Target& at) { return of_path(at, follow); },
      theirs);
}

int set_times(Counter& counter, int directory, const char* path, const timespec* times, int flags) {
  if (times != nullptr && !is_address(times)) {
    return fail_with(EFAULT);
  }
  return change(
      counter,
      directory,
      path,
      flags,
      [&](const Target& at, Follow follow) {
        if (at.directory != nullptr) {
          return at->utimensat(at.directory, at.path, times, api_flags(follow));
        }
        return follow == Follow::kYes ? at->utimens(at.here.context, at.path, times)
                                      : at->lutimens(at.here.context, at.path, times);
      },
      [&](const Handle& handle) { return handle->futimens(handle.file, times); },
      [&](int from, const char* theirs) { return real().utimensat(from, theirs, times, flags); });
}

// The times of utimes(); nullptr stays nullptr. False: not within a second.
bool to_timespecs(const timeval* times, timespec* out) {
  for (int i = 0; times != nullptr && i < 2; ++i) {
    if (times[i].tv_usec < 0 || times[i].tv_usec >= 1000000) {
      return false;
    }
    out[i] = {.tv_sec = times[i].tv_sec, .tv_nsec = times[i].tv_usec * 1000};
  }
  return true;
}

int set_times(Counter& counter, int directory, const char* path, const timeval* times, int flags) {
  timespec converted[2];
  if (times != nullptr && !is_address(times)) {
    return fail_with(EFAULT);
  }
  if (!to_timespecs(times, converted)) {
    return fail_with(EINVAL);
  }
  return set_times(counter, directory, path, times != nullptr ? converted : nullptr, flags);
}

int change_mode(Counter& counter, int directory, const char* path, mode_t mode, int flags) {
  return change(
      counter,
      directory,
      path,
      flags,
      [&](const Target& at, Follow follow) {
        if (follow == Follow::kNo) {
          return -EOPNOTSUPP;
        }
        return at.directory != nullptr ? at->fchmodat(at.directory, at.path, mode, 0)
                                       : at->chmod(at.here.context, at.path, mode);
      },
      [&](const Handle& handle) { return handle->fchmod(handle.file, mode); },
      [&](int from, const char* theirs) { return real().fchmodat(from, theirs, mode, flags); });
}

int change_owner(
    Counter& counter, int directory, const char* path, uid_t uid, gid_t gid, int flags) {
  return change(
      counter,
      directory,
      path,
      flags,
      [&](const Target& at, Follow follow) {
        if (at.directory != nullptr) {
          return at->fchownat(at.directory, at.path, uid, gid, api_flags(follow));
        }
        return follow == Follow::kYes ? at->chown(at.here.context, at.path, uid, gid)
                                      : at->lchown(at.here.context, at.path, uid, gid);
      },
      [&](const Handle& handle) { return handle->fchown(handle.file, uid, gid); },
      [&](int from, const char* theirs) { return real().fchownat(from, theirs, uid, gid, flags); });
}

int check_access(Counter& counter, int directory, const char* path, int mode, int flags) {
  return at_place(
      counter,
      directory,
      path,
      follow_of(flags),
      [&](const Target& at) {
        if (at.directory != nullptr) {
          return at->faccessat(
              at.directory, at.path, mode, api_flags(follow_of(flags)) | (flags & AT_EACCESS));
        }
        benchfs_stat_t stat;
        if ((flags & AT_SYMLINK_NOFOLLOW) != 0) {  // a symbolic link allows everything
          int error = at.stat(Follow::kNo, &stat);
          if (error != 0 || S_ISLNK(stat.st_mode)) {
            return error;
          }
        }
        return (flags & AT_EACCESS) != 0 ? at->eaccess(at.here.context, at.path, mode)
                                         : at->access(at.here.context, at.path, mode);
      },
      [&](int from, const char* theirs) { return real().faccessat(from, theirs, mode, flags); });
}

void fill_statfs(const struct statvfs& from, struct statfs& into) {
  std::memset(&into, 0, sizeof into);
  into.f_type = kFileSystemMagic;
  into.f_bsize = static_cast<long>(from.f_bsize);
  into.f_frsize = static_cast<long>(from.f_bsize);
  into.f_blocks = from.f_blocks;
  into.f_bfree = from.f_bfree;
  into.f_bavail = from.f_bavail;
  into.f_files = from.f_files;
  into.f_ffree = from.f_ffree;
  into.f_namelen = static_cast<long>(from.f_namemax);
}

void fill_statvfs(const struct statvfs& from, struct statvfs& into) {
  into = from;
}

// The path must exist, whatever it is.
template <typename Out, typename Fill>
int statfs_ours(const char* path, Out* out, Fill fill) {
  Cluster here = cluster();
  benchfs_stat_t stat;
  struct statvfs whole;
  if (!here) {
    return -errno;
  }
  int error = path != nullptr ? here.api->stat(here.context, path, &stat) : 0;
  if (error == 0) {
    error = here.api->statvfs(here.context, &whole);
  }
  return error == 0 ? fill_out(whole, out, fill) : error;
}

}  // namespace

#define STAT_ENTRY(name, flags)                           \
  ENTRY(int, name, const char* path, struct stat* out) {  \
    COUNTER(name);                                        \
    return stat_any(counter, AT_FDCWD, path, out, flags); \
  }
#define XSTAT_ENTRY(name, flags)                              \
  ENTRY(int, name, int, const char* path, struct stat* out) { \
    COUNTER(name);                                            \
    return stat_any(counter, AT_FDCWD, path, out, flags);     \
  }
#define FSTATAT_ENTRY(name)                                                        \
  ENTRY(int, name, int directory, const char* path, struct stat* out, int flags) { \
    COUNTER(name);                                                                 \
    return stat_any(counter, directory, path, out, flags);                         \
  }
#define FXSTATAT_ENTRY(name)                                                            \
  ENTRY(int, name, int, int directory, const char* path, struct stat* out, int flags) { \
    COUNTER(name);                                                                      \
    return stat_any(counter, directory, path, out, flags);                              \
  }
#define FSTAT_ENTRY(name)                      \
  ENTRY(int, name, int fd, struct stat* out) { \
    COUNTER(name);                             \
    return fstat_any(counter, fd, out);        \
  }
#define FXSTAT_ENTRY(name)                          \
  ENTRY(int, name, int, int fd, struct stat* out) { \
    COUNTER(name);                                  \
    return fstat_any(counter, fd, out);             \
  }
// The structures with and without 64 are the same.
STAT_ENTRY(stat, 0)
STAT_ENTRY(stat64, 0)
STAT_ENTRY(lstat, AT_SYMLINK_NOFOLLOW)
STAT_ENTRY(lstat64, AT_SYMLINK_NOFOLLOW)
XSTAT_ENTRY(__xstat, 0)
XSTAT_ENTRY(__xstat64, 0)
XSTAT_ENTRY(__lxstat, AT_SYMLINK_NOFOLLOW)
XSTAT_ENTRY(__lxstat64, AT_SYMLINK_NOFOLLOW)
FSTATAT_ENTRY(fstatat)
FSTATAT_ENTRY(fstatat64)
FXSTATAT_ENTRY(__fxstatat)
FXSTATAT_ENTRY(__fxstatat64)
FSTAT_ENTRY(fstat)
FSTAT_ENTRY(fstat64)
FXSTAT_ENTRY(__fxstat)
FXSTAT_ENTRY(__fxstat64)

ENTRY(int, statx, int directory, const char* path, int flags, unsigned mask, struct statx* out) {
  COUNTER(statx);
  if ((mask & STATX__RESERVED) != 0) {
    return fail_with(EINVAL);
  }
  return stat_any(
      counter, directory, path, flags, out, fill_statx, [&](int from, const char* theirs) {
        return real().statx(from, theirs, flags, mask, out);
      });
}

ENTRY(int, access, const char* path, int mode) {
  COUNTER(access);
  return check_access(counter, AT_FDCWD, path, mode, 0);
}
ENTRY(int, faccessat, int directory, const char* path, int mode, int flags) {
  COUNTER(faccessat);
  return check_access(counter, directory, path, mode, flags);
}
ENTRY(int, euidaccess, const char* path, int mode) {
  COUNTER(euidaccess);
  return check_access(counter, AT_FDCWD, path, mode, AT_EACCESS);
}
ENTRY(int, eaccess, const char* path, int mode) {
  return entry_euidaccess(path, mode);
}

ENTRY(long, pathconf, const char* path, int name) {
  COUNTER(pathconf);
  if (!is_ours_path(path)) {
    return real().pathconf(path, name);
  }
  struct stat info{};
  if (stat(path, &info) != 0) {
    return -1;
  }
  counter.served();
  return name == _PC_NAME_MAX ? NAME_MAX : real().pathconf("/", name);
}

ENTRY(int, chmod, const char* path, mode_t mode) {
  COUNTER(chmod);
  return change_mode(counter, AT_FDCWD, path, mode, 0);
}
ENTRY(int, lchmod, const char* path, mode_t mode) {
  COUNTER(lchmod);
  return change_mode(counter, AT_FDCWD, path, mode, AT_SYMLINK_NOFOLLOW);
}
ENTRY(int, fchmodat, int directory, const char* path, mode_t mode, int flags) {
  COUNTER(fchmodat);
  return change_mode(counter, directory, path, mode, flags);
}
ENTRY(int, fchmod, int fd, mode_t mode) {
  COUNTER(fchmod);
  return is_ours(fd) ? change_mode(counter, fd, nullptr, mode, 0) : real().fchmod(fd, mode);
}

ENTRY(int, chown, const char* path, uid_t uid, gid_t gid) {
  COUNTER(chown);
  return change_owner(counter, AT_FDCWD, path, uid, gid, 0);
}
ENTRY(int, lchown, const char* path, uid_t uid, gid_t gid) {
  COUNTER(lchown);
  return change_owner(counter, AT_FDCWD, path, uid, gid, AT_SYMLINK_NOFOLLOW);
}
ENTRY(int, fchownat, int directory, const char* path, uid_t uid, gid_t gid, int flags) {
  COUNTER(fchownat);
  return change_owner(counter, directory, path, uid, gid, flags);
}
ENTRY(int, fchown, int fd, uid_t uid, gid_t gid) {
  COUNTER(fchown);
  return is_ours(fd) ? change_owner(counter, fd, nullptr, uid, gid, 0)
                     : real().fchown(fd, uid, gid);
}

ENTRY(int, utimensat, int directory, const char* path, const timespec* times, int flags) {
  COUNTER(utimensat);
  return set_times(counter, directory, path, times, flags);
}
ENTRY(int, futimens, int fd, const timespec* times) {
  COUNTER(futimens);
  return is_ours(fd) ? set_times(counter, fd, nullptr, times, 0) : real().futimens(fd, times);
}
ENTRY(int, utimes, const char* path, const timeval* times) {
  COUNTER(utimes);
  return set_times(counter, AT_FDCWD, path, times, 0);
}
ENTRY(int, lutimes, const char* path, const timeval* times) {
  COUNTER(lutimes);
  return set_times(counter, AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW);
}
ENTRY(int, futimes, int fd, const timeval* times) {
  COUNTER(futimes);
  return is_ours(fd) ? set_times(counter, fd, nullptr, times, 0) : real().futimes(fd, times);
}
ENTRY(int, futimesat, int directory, const char* path, const timeval* times) {
  COUNTER(futimesat);
  return set_times(counter, directory, path, times, 0);
}
ENTRY(int, utime, const char* path, const utimbuf* times) {
  COUNTER(utime);
  if (times == nullptr) {
    return set_times(counter, AT_FDCWD, path, static_cast<const timespec*>(nullptr), 0);
  }
  timespec converted[2] = {{.tv_sec = times->actime, .tv_nsec = 0},
                           {.tv_sec = times->modtime, .tv_nsec = 0}};
  return set_times(counter, AT_FDCWD, path, converted, 0);
}

#define STATFS_ENTRIES(by_path, by_descriptor, type, fill)                  \
  ENTRY(int, by_path, const char* path, struct type* out) {                 \
    COUNTER(by_path);                                                       \
    return at_place(                                                        \
        counter,                                                            \
        AT_FDCWD,                                                           \
        path,                                                               \
        Follow::kYes,                                                       \
        [&](const char* ours) { return statfs_ours(ours, out, fill); },     \
        [&](int, const char* theirs) { return real().type(theirs, out); }); \
  }                                                                         \
  ENTRY(int, by_descriptor, int fd, struct type* out) {                     \
    COUNTER(by_descriptor);                                                 \
    if (!is_ours(fd)) {                                                     \
      return real().f##type(fd, out);                                       \
    }                                                                       \
    counter.served();                                                       \
    Errno keep;                                                             \
    return keep.finish(statfs_ours(nullptr, out, fill));                    \
  }
STATFS_ENTRIES(statfs, fstatfs, statfs, fill_statfs)
STATFS_ENTRIES(statfs64, fstatfs64, statfs, fill_statfs)
STATFS_ENTRIES(statvfs, fstatvfs, statvfs, fill_statvfs)
STATFS_ENTRIES(statvfs64, fstatvfs64, statvfs, fill_statvfs)

}  // namespace benchfs::preload
