// The C API of libbenchfs.so, loaded and connected at the first use.
#pragma once

#include <time.h>

#include <cstdint>

#include "benchfs/benchfs.h"

// clang-format off
#define BENCHFS_API_FUNCTIONS(X) \
  X(connect) X(open) X(open_inode) X(close) X(pread) X(pwrite) X(write) X(lseek) X(set_append) \
  X(fsync) X(ftruncate) X(stat) X(lstat) X(fstat) X(last_stat) X(access) X(eaccess) X(truncate) \
  X(chmod) X(fchmod) X(chown) X(lchown) X(fchown) X(utimens) X(lutimens) X(futimens) X(mkdir) \
  X(rmdir) X(unlink) X(link) X(rename2) X(symlink) X(readlink) X(readdir) X(freaddir) X(statvfs) \
  X(get_error) X(lock) X(test_lock) X(release_locks) X(fallocate) X(copy_file_range) X(setxattr) \
  X(lsetxattr) X(fsetxattr) X(getxattr) X(lgetxattr) X(fgetxattr) X(listxattr) X(llistxattr) \
  X(flistxattr) X(removexattr) X(lremovexattr) X(fremovexattr) X(openat) X(fstatat) X(mkdirat) \
  X(unlinkat) X(renameat2) X(linkat) X(symlinkat) X(readlinkat) X(faccessat) X(fchmodat) \
  X(fchownat) X(utimensat) X(open_id) X(lock_shared) X(test_shared_lock) X(join_locks) \
  X(leave_locks)
// clang-format on

// Those that are not in benchfs.h (capi/locks.cc).
extern "C" {
void benchfs_open_id(const benchfs_file_t* file, std::uint64_t* id) noexcept;
int benchfs_lock_shared(benchfs_file_t* file,
                        const std::uint64_t* id,
                        int flags,
                        const benchfs_lock_t* lock) noexcept;
int benchfs_test_shared_lock(benchfs_file_t* file,
                             const std::uint64_t* id,
                             int flags,
                             benchfs_lock_t* lock) noexcept;
int benchfs_join_locks(benchfs_file_t* file,
                       const std::uint64_t* id,
                       int flags,
                       std::uint64_t former_client) noexcept;
int benchfs_leave_locks(benchfs_file_t* file, const std::uint64_t* id, int flags) noexcept;
}

namespace benchfs::preload {

struct Api {
#define BENCHFS_API_POINTER(name) decltype(&::benchfs_##name) name;
  BENCHFS_API_FUNCTIONS(BENCHFS_API_POINTER)
#undef BENCHFS_API_POINTER
};

struct Cluster {
  benchfs_context_t* context = nullptr;
  const Api* api = nullptr;
  explicit operator bool() const { return context != nullptr; }
};

// Connects if this process has not yet. Empty with errno ENOTCONN when the cluster cannot be
// reached: standard error says why once, and for some seconds nobody tries again.
Cluster cluster();

// Counts the processes that this memory has been in: what was opened at the cluster in another one
// cannot be used.
std::uint32_t process_epoch();
// Around fork() in a process of several threads: none of them is connecting.
void hold_cluster(const timespec& until);
void let_cluster_go();
// In the child of fork().
void forget_cluster();

}  // namespace benchfs::preload
