// The entry of syscall(): calls of the kernel by their numbers.
//
// What names a descriptor or a path of ours goes to the entry of libc's function of the same
// meaning; what has none is refused with ENOSYS, which programs take for a kernel that does not
// have the call. What changes descriptors, mappings or the process as a whole goes to the entry
// whatever it names. Everything else is the kernel's, and no business of ours.
#include <linux/openat2.h>
#include <sys/syscall.h>

#include <cstdarg>
#include <cstring>

#include "preload/descriptions.h"
#include "preload/entry.h"
#include "preload/mappings.h"
#include "preload/places.h"
#include "preload/real.h"
#include "preload/settings.h"

namespace benchfs::preload {
namespace {

class Arguments {
 public:
  explicit Arguments(va_list list) {
    for (long& word : words_) {
      word = va_arg(list, long);
    }
  }
  [[nodiscard]] long operator[](int index) const { return words_[index]; }
  [[nodiscard]] int fd(int index) const { return static_cast<int>(words_[index]); }
  [[nodiscard]] int number(int index) const { return static_cast<int>(words_[index]); }
  [[nodiscard]] unsigned bits(int index) const { return static_cast<unsigned>(words_[index]); }
  [[nodiscard]] std::size_t size(int index) const {
    return static_cast<std::size_t>(words_[index]);
  }
  template <typename T = void>
  [[nodiscard]] T* pointer(int index) const {
    return reinterpret_cast<T*>(words_[index]);
  }
  [[nodiscard]] const char* path(int index) const { return pointer<const char>(index); }

 private:
  long words_[6];
};

// Cheap, and never wrong when it says no.
bool may_be_ours(int directory, const char* path) {
  if (!settings().is_active) {
    return false;
  }
  if (path == nullptr || *path == '\0') {
    return is_ours(directory);
  }
  return is_ours(directory) || is_ours(own_descriptor(path)) || *own_working_directory() != '\0' ||
         std::strstr(path, settings().prefix_name) != nullptr;
}
bool may_be_ours(const char* path) {
  return path != nullptr && may_be_ours(AT_FDCWD, path);
}

enum class Answer { kGiven, kRefused, kNotOurs };

// `result` of a call, in libc's way, if it is ours.
#define SERVE_IF(is_wanted, call) \
  do {                            \
    if (!(is_wanted)) {           \
      return Answer::kNotOurs;    \
    }                             \
    result = (call);              \
    return Answer::kGiven;        \
  } while (false)
#define ON_FD(name, call) \
  case SYS_##name:        \
    SERVE_IF(is_ours(a.fd(0)), call)
#define ON_PATH(name, call) \
  case SYS_##name:          \
    SERVE_IF(may_be_ours(a.path(0)), call)
#define ON_PATH_AT(name, call) \
  case SYS_##name:             \
    SERVE_IF(may_be_ours(a.fd(0), a.path(1)), call)

Answer on_data(long number, const Arguments& a, long& result) {
  switch (number) {
    ON_FD(read, read(a.fd(0), a.pointer(1), a.size(2)));
    ON_FD(write, write(a.fd(0), a.pointer(1), a.size(2)));
    ON_FD(pread64, pread(a.fd(0), a.pointer(1), a.size(2), a[3]));
    ON_FD(pwrite64, pwrite(a.fd(0), a.pointer(1), a.size(2), a[3]));
    ON_FD(readv, readv(a.fd(0), a.pointer<iovec>(1), a.number(2)));
    ON_FD(writev, writev(a.fd(0), a.pointer<iovec>(1), a.number(2)));
    ON_FD(preadv, preadv(a.fd(0), a.pointer<iovec>(1), a.number(2), a[3]));
    ON_FD(pwritev, pwritev(a.fd(0), a.pointer<iovec>(1), a.number(2), a[3]));
    ON_FD(preadv2, preadv2(a.fd(0), a.pointer<iovec>(1), a.number(2), a[3], a.number(5)));
    ON_FD(pwritev2, pwritev2(a.fd(0), a.pointer<iovec>(1), a.number(2), a[3], a.number(5)));
    ON_FD(lseek, lseek(a.fd(0), a[1], a.number(2)));
    ON_FD(ftruncate, ftruncate(a.fd(0), a[1]));
    ON_FD(fallocate, fallocate(a.fd(0), a.number(1), a[2], a[3]));
    ON_FD(fsync, fsync(a.fd(0)));
    ON_FD(fdatasync, fdatasync(a.fd(0)));
    ON_FD(syncfs, syncfs(a.fd(0)));
    ON_FD(readahead, readahead(a.fd(0), a[1], a.size(2)));
    ON_FD(sync_file_range, sync_file_range(a.fd(0), a[1], a[2], a.bits(3)));
    ON_FD(flock, flock(a.fd(0), a.number(1)));
    ON_FD(ioctl, ioctl(a.fd(0), static_cast<unsigned long>(a[1]), a.pointer(2)));
    case SYS_copy_file_range:
      SERVE_IF(is_ours(a.fd(0)) || is_ours(a.fd(2)),
               copy_file_range(a.fd(0),
                               a.pointer<off64_t>(1),
                               a.fd(2),
                               a.pointer<off64_t>(3),
                               a.size(4),
                               a.bits(5)));
    case SYS_sendfile:
      SERVE_IF(is_ours(a.fd(0)) || is_ours(a.fd(1)),
               sendfile(a.fd(0), a.fd(1), a.pointer<off_t>(2), a.size(3)));
    case SYS_splice:
      SERVE_IF(is_ours(a.fd(0)) || is_ours(a.fd(2)),
               splice(a.fd(0),
                      a.pointer<off64_t>(1),
                      a.fd(2),
                      a.pointer<off64_t>(3),
                      a.size(4),
                      a.bits(5)));
    case SYS_fadvise64:
    case SYS_tee:
    case SYS_vmsplice:
    case SYS_getdents64:
      return is_ours(a.fd(0)) ? Answer::kRefused : Answer::kNotOurs;
    default:
      return Answer::kNotOurs;
  }
}

long open_how_at(int directory, const char* path, const open_how* how) {
  return openat(directory, path, static_cast<int>(how->flags), static_cast<mode_t>(how->mode));
}

Answer on_names(long number, const Arguments& a, long& result) {
  switch (number) {
    ON_PATH_AT(openat, openat(a.fd(0), a.path(1), a.number(2), a.bits(3)));
    ON_PATH_AT(mkdirat, mkdirat(a.fd(0), a.path(1), a.bits(2)));
    ON_PATH_AT(mknodat, mknodat(a.fd(0), a.path(1), a.bits(2), static_cast<dev_t>(a[3])));
    ON_PATH_AT(unlinkat, unlinkat(a.fd(0), a.path(1), a.number(2)));
    ON_PATH_AT(readlinkat, readlinkat(a.fd(0), a.path(1), a.pointer<char>(2), a.size(3)));
    ON_PATH(truncate, truncate(a.path(0), a[1]));
    ON_PATH(chdir, chdir(a.path(0)));
    ON_PATH(statfs, statfs(a.path(0), a.pointer<struct statfs>(1)));
    case SYS_openat2: {
      const auto* how = a.pointer<const open_how>(2);
      if (!may_be_ours(a.fd(0), a.path(1))) {
        return Answer::kNotOurs;
      }
      if (how->resolve != 0) {
        return Answer::kRefused;
      }
      result = open_how_at(a.fd(0), a.path(1), how);
      return Answer::kGiven;
    }
    case SYS_symlinkat:
      SERVE_IF(may_be_ours(a.fd(1), a.path(2)), symlinkat(a.path(0), a.fd(1), a.path(2)));
    case SYS_linkat:
      SERVE_IF(may_be_ours(a.fd(0), a.path(1)) || may_be_ours(a.fd(2), a.path(3)),
               linkat(a.fd(0), a.path(1), a.fd(2), a.path(3), a.number(4)));
    case SYS_renameat2:
      SERVE_IF(may_be_ours(a.fd(0), a.path(1)) || may_be_ours(a.fd(2), a.path(3)),
               renameat2(a.fd(0), a.path(1), a.fd(2), a.path(3), a.bits(4)));
#ifdef SYS_open  // those that newer machines have only in the "at" form
      ON_PATH(open, open(a.path(0), a.number(1), a.bits(2)));
      ON_PATH(creat, creat(a.path(0), a.bits(1)));
      ON_PATH(mkdir, mkdir(a.path(0), a.bits(1)));
      ON_PATH(rmdir, rmdir(a.path(0)));
      ON_PATH(unlink, unlink(a.path(0)));
      ON_PATH(mknod, mknod(a.path(0), a.bits(1), static_cast<dev_t>(a[2])));
      ON_PATH(readlink, readlink(a.path(0), a.pointer<char>(1), a.size(2)));
    case SYS_symlink:
      SERVE_IF(may_be_ours(a.path(1)), symlink(a.path(0), a.path(1)));
    case SYS_link:
      SERVE_IF(may_be_ours(a.path(0)) || may_be_ours(a.path(1)), link(a.path(0), a.path(1)));
    case SYS_rename:
      SERVE_IF(may_be_ours(a.path(0)) || may_be_ours(a.path(1)), rename(a.path(0), a.path(1)));
    case SYS_renameat:
      SERVE_IF(may_be_ours(a.fd(0), a.path(1)) || may_be_ours(a.fd(2), a.path(3)),
               renameat(a.fd(0), a.path(1), a.fd(2), a.path(3)));
#endif
    case SYS_getcwd:
      if (*own_working_directory() == '\0') {
        return Answer::kNotOurs;
      }
      result = getcwd(a.pointer<char>(0), a.size(1)) != nullptr
                   ? static_cast<long>(std::strlen(a.path(0))) + 1
                   : -1;
      return Answer::kGiven;
    default:
      return Answer::kNotOurs;
  }
}

Answer on_attributes(long number, const Arguments& a, long& result) {
  switch (number) {
    ON_FD(fstat, fstat(a.fd(0), a.pointer<struct stat>(1)));
    ON_FD(fchmod, fchmod(a.fd(0), a.bits(1)));
    ON_FD(fchown, fchown(a.fd(0), a.bits(1), a.bits(2)));
    ON_FD(fstatfs, fstatfs(a.fd(0), a.pointer<struct statfs>(1)));
    ON_FD(fsetxattr, fsetxattr(a.fd(0), a.path(1), a.pointer(2), a.size(3), a.number(4)));
    ON_FD(fgetxattr, fgetxattr(a.fd(0), a.path(1), a.pointer(2), a.size(3)));
    ON_FD(flistxattr, flistxattr(a.fd(0), a.pointer<char>(1), a.size(2)));
    ON_FD(fremovexattr, fremovexattr(a.fd(0), a.path(1)));
    ON_PATH(setxattr, setxattr(a.path(0), a.path(1), a.pointer(2), a.size(3), a.number(4)));
    ON_PATH(lsetxattr, lsetxattr(a.path(0), a.path(1), a.pointer(2), a.size(3), a.number(4)));
    ON_PATH(getxattr, getxattr(a.path(0), a.path(1), a.pointer(2), a.size(3)));
    ON_PATH(lgetxattr, lgetxattr(a.path(0), a.path(1), a.pointer(2), a.size(3)));
    ON_PATH(listxattr, listxattr(a.path(0), a.pointer<char>(1), a.size(2)));
    ON_PATH(llistxattr, llistxattr(a.path(0), a.pointer<char>(1), a.size(2)));
    ON_PATH(removexattr, removexattr(a.path(0), a.path(1)));
    ON_PATH(lremovexattr, lremovexattr(a.path(0), a.path(1)));
    ON_PATH_AT(newfstatat, fstatat(a.fd(0), a.path(1), a.pointer<struct stat>(2), a.number(3)));
    ON_PATH_AT(statx,
               statx(a.fd(0), a.path(1), a.number(2), a.bits(3), a.pointer<struct statx>(4)));
    ON_PATH_AT(faccessat, faccessat(a.fd(0), a.path(1), a.number(2), 0));
    ON_PATH_AT(faccessat2, faccessat(a.fd(0), a.path(1), a.number(2), a.number(3)));
    ON_PATH_AT(fchmodat, fchmodat(a.fd(0), a.path(1), a.bits(2), 0));
    ON_PATH_AT(fchownat, fchownat(a.fd(0), a.path(1), a.bits(2), a.bits(3), a.number(4)));
    case SYS_utimensat:
      SERVE_IF(may_be_ours(a.fd(0), a.path(1)),
               a.path(1) == nullptr
                   ? futimens(a.fd(0), a.pointer<timespec>(2))
                   : utimensat(a.fd(0), a.path(1), a.pointer<timespec>(2), a.number(3)));
#ifdef SYS_stat
      ON_PATH(stat, stat(a.path(0), a.pointer<struct stat>(1)));
      ON_PATH(lstat, lstat(a.path(0), a.pointer<struct stat>(1)));
      ON_PATH(access, access(a.path(0), a.number(1)));
      ON_PATH(chmod, chmod(a.path(0), a.bits(1)));
      ON_PATH(chown, chown(a.path(0), a.bits(1), a.bits(2)));
      ON_PATH(lchown, lchown(a.path(0), a.bits(1), a.bits(2)));
      ON_PATH(utimes, utimes(a.path(0), a.pointer<timeval>(1)));
#endif
    default:
      return Answer::kNotOurs;
  }
}

// Whatever they name.
Answer on_process(long number, const Arguments& a, long& result) {
  switch (number) {
    case SYS_close:
      SERVE_IF(true, close(a.fd(0)));
    case SYS_close_range:
      SERVE_IF(true, close_range(a.bits(0), a.bits(1), a.number(2)));
    case SYS_dup:
      SERVE_IF(true, dup(a.fd(0)));
    case SYS_dup3:
      SERVE_IF(true, dup3(a.fd(0), a.fd(1), a.number(2)));
#ifdef SYS_dup2
    case SYS_dup2:
      SERVE_IF(true, dup2(a.fd(0), a.fd(1)));
#endif
    case SYS_fcntl:
      SERVE_IF(true, fcntl(a.fd(0), a.number(1), a.pointer(2)));
    case SYS_fchdir:
      SERVE_IF(true, fchdir(a.fd(0)));
    case SYS_msync:
      SERVE_IF(true, msync(a.pointer(0), a.size(1), a.number(2)));
    case SYS_prlimit64:
      SERVE_IF(true,
               prlimit(a.number(0),
                       static_cast<__rlimit_resource>(a.number(1)),
                       a.pointer<rlimit>(2),
                       a.pointer<rlimit>(3)));
    case SYS_setrlimit:
      SERVE_IF(true, setrlimit(static_cast<__rlimit_resource>(a.number(0)), a.pointer<rlimit>(1)));
    case SYS_umask:
      SERVE_IF(true, static_cast<long>(umask(a.bits(0))));
    case SYS_execve:
      SERVE_IF(true, execve(a.path(0), a.pointer<char*>(1), a.pointer<char*>(2)));
    case SYS_exit_group:
      _exit(a.number(0));
    default:
      return Answer::kNotOurs;
  }
}

}  // namespace

ENTRY(long, syscall, long number, ...) {
  va_list list;
  va_start(list, number);
  Arguments a(list);
  va_end(list);
  long result = 0;
  if (!settings().is_active) {
    return real().syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
  }
  COUNTER(syscall);
  // Not by way of libc's functions: those who watch memory take their place, and end up here.
  if (number == SYS_mremap && has_mapping(a.pointer(0), a.size(1))) {
    counter.refuse(ENOMEM);
    return -1;
  }
  if (number == SYS_munmap) {
    return change_memory(
        a.pointer(0), a.size(1), -1L, [&] { return real().syscall(number, a[0], a[1]); });
  }
  if (OpenRef open{number == SYS_mmap && (a[3] & MAP_ANONYMOUS) == 0 ? a.fd(4) : -1}) {
    return reinterpret_cast<long>(
        map_open(counter, a.pointer(0), a.size(1), a.number(2), a.number(3), *open, a[5]));
  }
  bool is_placed = (number == SYS_mmap && (a[3] & MAP_FIXED) != 0) ||
                   (number == SYS_mremap && (a[3] & MREMAP_FIXED) != 0);
  if (is_placed) {
    int target = number == SYS_mmap ? 0 : 4;
    int size = number == SYS_mmap ? 1 : 2;
    return change_memory(a.pointer(target), a.size(size), -1L, [&] {
      return real().syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    });
  }
  if (on_process(number, a, result) == Answer::kGiven) {
    return result;
  }
  for (auto* group : {on_data, on_names, on_attributes}) {
    switch (group(number, a, result)) {
      case Answer::kGiven:
        counter.served();
        return result;
      case Answer::kRefused:
        return counter.refuse(ENOSYS);
      case Answer::kNotOurs:
        break;
    }
  }
  return real().syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

}  // namespace benchfs::preload
