// libc's own functions: what the entries of this library hide.
//
// All are looked up when the library is loaded, so that a signal handler never has to.
#pragma once

#include <aio.h>
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <fts.h>
#include <ftw.h>
#include <glob.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <termios.h>
#include <unistd.h>
#include <utime.h>
#include <wordexp.h>

// clang-format off
#define BENCHFS_REAL_FUNCTIONS(X) \
  X(open) X(openat) X(creat) X(close) X(read) X(write) X(pread) X(pwrite) X(readv) X(writev) \
  X(preadv) X(pwritev) X(preadv2) X(pwritev2) X(lseek) X(ftruncate) X(truncate) X(fallocate) \
  X(posix_fallocate) X(posix_fadvise) X(readahead) X(sync_file_range) X(fsync) X(fdatasync) \
  X(syncfs) X(sendfile) X(copy_file_range) X(splice) X(stat) X(lstat) X(fstat) X(fstatat) X(statx) \
  X(access) X(faccessat) X(euidaccess) X(chmod) X(fchmod) X(fchmodat) X(chown) X(lchown) X(fchown) \
  X(fchownat) X(utime) X(utimes) X(lutimes) X(futimes) X(futimesat) X(utimensat) X(futimens) \
  X(statfs) X(fstatfs) X(statvfs) X(fstatvfs) X(mkdir) X(mkdirat) X(rmdir) X(unlink) X(unlinkat) \
  X(remove) X(rename) X(renameat) X(renameat2) X(symlink) X(symlinkat) X(readlink) X(readlinkat) \
  X(link) X(linkat) X(mknod) X(mknodat) X(mkfifo) X(mkfifoat) X(dup) X(dup2) X(dup3) X(fcntl) \
  X(ioctl) X(flock) X(lockf) X(isatty) X(ttyname_r) X(tcgetattr) X(close_range) X(closefrom) \
  X(chdir) X(fchdir) X(getcwd) X(realpath) X(opendir) X(fdopendir) X(readdir) X(readdir_r) \
  X(rewinddir) X(telldir) X(seekdir) X(closedir) X(dirfd) X(scandir) X(scandirat) X(ftw) X(nftw) \
  X(glob) X(fopen) X(freopen) X(fdopen) X(fclose) X(fileno) X(fopencookie) X(poll) X(ppoll) \
  X(select) X(pselect) X(epoll_ctl) X(mmap) X(munmap) X(msync) X(mprotect) X(mremap) X(umask) \
  X(execve) X(posix_spawn) X(posix_spawnp) X(fork) X(popen) X(pclose) X(system) X(_exit) X(getpid) \
  X(setxattr) X(lsetxattr) X(fsetxattr) X(getxattr) X(lgetxattr) X(fgetxattr) X(listxattr) \
  X(llistxattr) X(flistxattr) X(removexattr) X(lremovexattr) X(fremovexattr) X(dlopen) X(chroot) \
  X(mkostemps) X(mkdtemp) X(aio_read) X(aio_write) X(aio_fsync) X(lio_listio) X(syscall) \
  X(fts_open) X(fts_read) X(fts_children) X(fts_close) X(pathconf) X(inotify_add_watch) X(wordexp) \
  X(sigaction) \
  X(posix_spawn_file_actions_addopen) X(posix_spawn_file_actions_addchdir_np) \
  X(posix_spawn_file_actions_addfchdir_np) X(posix_spawn_file_actions_destroy) X(setrlimit) \
  X(prlimit)
// clang-format on

namespace benchfs::preload {

struct Real {
#define BENCHFS_REAL_POINTER(name) decltype(&::name) name;
  BENCHFS_REAL_FUNCTIONS(BENCHFS_REAL_POINTER)
#undef BENCHFS_REAL_POINTER
};

namespace internal {
extern Real real_functions;
extern bool has_real_functions;
void find_real_functions();
}  // namespace internal

// Other libraries' constructors may run before ours.
inline const Real& real() {
  if (!internal::has_real_functions) [[unlikely]] {
    internal::find_real_functions();
  }
  return internal::real_functions;
}

// For descriptors of ours. No thread is cancelled in these, as it may be in libc's: what it has
// taken it gives back.
inline int open_own(const char* path, int flags) {
  return static_cast<int>(real().syscall(SYS_openat, AT_FDCWD, path, flags));
}
inline int close_own(int fd) {
  return static_cast<int>(real().syscall(SYS_close, fd));
}

}  // namespace benchfs::preload
