/*
 * BenchFS for C programs: files of a BenchFS cluster from any language that can call C.
 *
 *     benchfs_context_t* fs = benchfs_init(NULL, NULL, NULL, 0, 0);
 *     benchfs_file_t* file = benchfs_open(fs, "/results", O_CREAT | O_WRONLY | O_TRUNC, 0644);
 *     benchfs_write(file, data, size);
 *     benchfs_close(file);
 *     benchfs_finalize(fs);
 *
 * Errors. Functions that return a number return a negative errno value on failure (-ENOENT,
 * -ETIMEDOUT, ...) and leave errno alone. Functions that return a pointer return NULL and set
 * errno. Both store a sentence that names the operation, the path and the reason, and for trouble
 * in the cluster also the server; benchfs_get_error() returns it in the calling thread. Beyond the
 * errno values of the POSIX function of the same name, every function may return
 *
 *     -ETIMEDOUT      the time allowed for one operation passed; it may have taken effect
 *     -EHOSTUNREACH, -ECONNRESET, -ECONNREFUSED, -ENOTCONN
 *                     a server cannot be reached or went away
 *     -ESTALE         the servers belong to another run than the server list; or the open file is
 *                     gone because it was removed while its server had lost this client
 *     -EIO            anything else went wrong in the cluster; in particular, a server restarted
 *                     and lost the file
 *     -EBADF          the handle is NULL
 *     -EINVAL         another argument that must not be NULL is NULL
 *     -ECANCELED      the context was made before fork() and this is the child
 *     -EDEADLK        a signal handler that interrupted a function of BenchFS in the same thread
 *                     called this one
 *     -ENOMEM         out of memory
 *
 * None of these errors makes the context unusable: when the servers are back, the next call works.
 *
 * Threads. Every function may be called from any thread at any time, even with the same context and
 * the same file. There is one exception: benchfs_finalize() and benchfs_close() end the life of
 * their handle, so no other call that uses it may be under way or follow. Every later operation of
 * every client of the cluster sees the effect of an operation that has returned.
 *
 * Signals. The library's threads block all signals, so a signal is delivered to the program's own
 * threads. A signal handler may call BenchFS, unless it interrupted a function of BenchFS in the
 * same thread; the call then fails with -EDEADLK.
 *
 * Cancellation. A thread is not cancelled inside a function of BenchFS (pthread_cancel(3)), but at
 * its next cancellation point. Threads that are cancelled asynchronously may not call it.
 *
 * Processes. After fork() a context works in the parent only; in the child every call on it fails
 * with -ECANCELED. The child may make a context of its own, unless a server of another node was
 * reached before fork(): then UCX was in use, and an attempt that needs it fails at once with
 * -ENOTSUP. Call exec() in the child, or make contexts only in children.
 *
 * Paths are absolute (a missing leading '/' is added) and may contain any bytes but NUL. A
 * component has at most 255 bytes, a path at most 4095. "." and ".." work; ".." is resolved after
 * symbolic links, as in POSIX.
 *
 * Permissions. A BenchFS cluster belongs to one user's job. Owner, group and mode are stored and
 * shown, but not enforced, and new files belong to the effective user and group that the process
 * had when the context was made. The umask is not applied. With `check_permissions` in the options,
 * or BENCHFS_CHECK_PERMISSIONS=1 in the environment, the library refuses with -EACCES and -EPERM
 * what Linux would refuse, by the effective ids and the groups that the process has at each call,
 * and new files belong to those. That keeps programs from mistakes, not from what they mean to do:
 * servers trust their clients. benchfs_open_inode() checks nothing.
 *
 * Crashes. When the calling process crashes, the data of writes that had returned stays, and the
 * servers close the files it had open within a minute; their sizes are exact. When a server
 * crashes, its data may be lost.
 *
 * Memory. Handles belong to the library; paths, buffers and structures belong to the caller and are
 * used only until the function returns, whatever it returns.
 */
#ifndef BENCHFS_BENCHFS_H
#define BENCHFS_BENCHFS_H

#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>

#ifdef __cplusplus
extern "C" {
#define BENCHFS_NOEXCEPT noexcept
#else
#define BENCHFS_NOEXCEPT
#endif

/* A connection to one cluster. A process may have several, even to the same cluster. */
typedef struct benchfs_context benchfs_context_t;
/* An open file or directory, with a file position. Opens of the same file are independent. */
typedef struct benchfs_file benchfs_file_t;

/* --- The context ------------------------------------------------------------------------------ */

typedef struct benchfs_options {
  size_t struct_size;       /* sizeof(benchfs_options_t): which fields the caller knows */
  const char* registry_dir; /* directory with the server list; NULL: $BENCHFS_REGISTRY_DIR,
                               else that of `benchfs up` without options */
  const char* client_id;    /* name for logs and statistics, at most 255 bytes, unique in the
                               cluster; NULL: made from host, process and a random number */
  uint32_t chunk_size;      /* chunk size of files this context creates, in bytes: a power of two
                               from 64 KiB to the cluster's chunk size; 0: the latter */
  uint32_t timeout_ms;      /* longest time one operation may take, retries included; 0: taken from
                               the environment (docs/configuration.md), else 60000 for data, 30000
                               for the rest. A large read or write is many operations */
  uint32_t connect_timeout_ms; /* longest wait for a complete server list, and again for the first
                                  answer of a server; 0: 10000 */
  const char* mount_prefix;   /* the directory below which the program sees the file system, such as
                                 "/bfs"; NULL: none. Paths given to the functions do not contain it.
                                 Symbolic links with absolute targets below the prefix are followed;
                                 a path that leads elsewhere fails with -EREMOTE, so that the caller
                                 can look there: a target that is not below the prefix, or ".." in
                                 the root. Without a prefix absolute targets begin at the root, and
                                 ".." in the root is the root. */
  uint32_t check_permissions; /* 1: see Permissions above; 0: as BENCHFS_CHECK_PERMISSIONS says */
} benchfs_options_t;

/* Connects to the cluster. Returns when the cluster can be used, or NULL with errno: EINVAL (bad
   option, an empty registry directory, malformed server list), ENOENT (no server list), ETIMEDOUT
   and the others above. Fields that are 0 have their defaults:
       benchfs_options_t options = {.struct_size = sizeof options, .timeout_ms = 5000}; */
benchfs_context_t* benchfs_connect(const benchfs_options_t* options) BENCHFS_NOEXCEPT;

/* Does the same, with the signature of earlier versions. `node_id` is the client id. `data_dir`
   must be NULL and `is_server` 0, else EINVAL: servers are separate programs (benchfsd).
   `chunk_size` is that of benchfs_options; the servers' chunk size need not be repeated here. */
benchfs_context_t* benchfs_init(const char* node_id,
                                const char* registry_dir,
                                const char* data_dir,
                                int is_server,
                                size_t chunk_size) BENCHFS_NOEXCEPT;

/* Closes all open files, leaves the cluster and frees the context, without waiting for servers that
   do not answer: half a second at most for those that lost touch with it. Returns 0; the context is
   gone in any case. In a child of fork() it does nothing and returns -ECANCELED. NULL is allowed
   and does nothing. */
int benchfs_finalize(benchfs_context_t* context) BENCHFS_NOEXCEPT;

/* --- Open files ------------------------------------------------------------------------------- */

/* Opens a file or directory. `flags` are those of open(2): O_RDONLY, O_WRONLY or O_RDWR, with
   O_CREAT, O_EXCL, O_TRUNC, O_APPEND, O_NOFOLLOW, O_DIRECTORY, O_SYNC, O_DSYNC. O_CLOEXEC,
   O_DIRECT, O_LARGEFILE, O_NOATIME, O_NOCTTY and O_NONBLOCK are accepted and have no effect.
   O_TMPFILE with O_WRONLY or O_RDWR makes a file without a name in the directory `path`: it ends
   with its last handle, unless benchfs_linkat() names it, which O_EXCL forbids. Any other flag is
   refused with EINVAL. `mode` holds the permission bits of a new file. A directory
   can be opened with O_RDONLY, for benchfs_fstat(). O_TRUNC cuts a regular file even with O_RDONLY,
   and fails with EISDIR for a directory. O_CREAT | O_EXCL succeeds for exactly one of many callers,
   on whatever node. */
benchfs_file_t* benchfs_open(benchfs_context_t* context, const char* path, int flags, mode_t mode)
    BENCHFS_NOEXCEPT;

/* Opens the file or directory with this inode number (st_ino), wherever it has been renamed to,
   also a file that has no name but is open somewhere. `flags` may not contain O_CREAT, O_EXCL or
   O_TMPFILE. ESTALE or ENOENT when it does not exist any more; ELOOP for a symbolic link. */
benchfs_file_t* benchfs_open_inode(benchfs_context_t* context,
                                   uint64_t ino,
                                   int flags) BENCHFS_NOEXCEPT;

/* benchfs_open() with O_CREAT added to `flags`. */
benchfs_file_t* benchfs_create(benchfs_context_t* context, const char* path, int flags, mode_t mode)
    BENCHFS_NOEXCEPT;

/* Frees the handle without waiting for any server: written data has been safe and visible to others
   since the write returned. */
int benchfs_close(benchfs_file_t* file) BENCHFS_NOEXCEPT;

/* Reads up to `size` bytes at `offset`; the file position is neither used nor moved. Returns the
   bytes read: fewer than asked only at the end of the file, 0 at or beyond it. Holes read as zeros.
   After an error the content of `buffer` is undefined.
   (Earlier versions called this benchfs_read.) */
ssize_t benchfs_pread(benchfs_file_t* file, void* buffer, size_t size, int64_t offset)
    BENCHFS_NOEXCEPT;

/* Writes `size` bytes at `offset` and returns how many were written: fewer than `size` only when
   the servers' space ran out after them. On failure some of the bytes may have been stored. -ENOSPC
   means that the servers' space is used up, -EFBIG that the write goes beyond the largest file,
   2^62 bytes. With O_APPEND the bytes are appended whatever the offset, as on Linux. (Earlier
   versions called this benchfs_write.) */
ssize_t benchfs_pwrite(benchfs_file_t* file, const void* buffer, size_t size, int64_t offset)
    BENCHFS_NOEXCEPT;

/* The same with a vector of buffers, one after the other, whose bytes follow each other in the
   file. `count` is at most IOV_MAX. Many short buffers go as one; long ones go side by side, each
   like a call of its own. Appended bytes stay together. */
ssize_t benchfs_preadv(benchfs_file_t* file, const struct iovec* vector, int count, int64_t offset)
    BENCHFS_NOEXCEPT;
ssize_t benchfs_pwritev(benchfs_file_t* file, const struct iovec* vector, int count, int64_t offset)
    BENCHFS_NOEXCEPT;

/* A range of a file and of memory. */
typedef struct benchfs_extent {
  int64_t offset; /* in the file */
  void* data;     /* benchfs_write_list() only reads it */
  size_t size;    /* bytes */
  ssize_t result; /* is set to what benchfs_pread() or benchfs_pwrite() of it alone returns */
} benchfs_extent_t;

/* Reads or writes many ranges of a file, several at a time, in any order: where extents overlap,
   any of them may be seen. Returns the bytes of all, or the error of the first extent that failed;
   others may have been read or written then, as their results say. An argument that is wrong is
   -EINVAL before anything is done. -EBADF: also when a list is written to a file that was opened
   with O_APPEND. */
ssize_t benchfs_read_list(benchfs_file_t* file,
                          benchfs_extent_t* list,
                          size_t count) BENCHFS_NOEXCEPT;
ssize_t benchfs_write_list(benchfs_file_t* file,
                           benchfs_extent_t* list,
                           size_t count) BENCHFS_NOEXCEPT;

/* Read and write at the file position, which moves by the bytes read or written. Calls of several
   threads on one file take turns. With O_APPEND every write goes to the end of the file in one
   step, even if others append at the same time, and the position ends up behind it. */
ssize_t benchfs_read(benchfs_file_t* file, void* buffer, size_t size) BENCHFS_NOEXCEPT;
ssize_t benchfs_write(benchfs_file_t* file, const void* buffer, size_t size) BENCHFS_NOEXCEPT;

/* Moves the file position: SEEK_SET, SEEK_CUR, SEEK_END, SEEK_DATA or SEEK_HOLE. Returns the new
   position, -EINVAL if it would be negative, -EOVERFLOW if it is too large to represent, or -ENXIO
   if there is no data or hole from `offset` on. Data is never taken for a hole; a hole is found if
   nothing was written from it to the end of its chunk, or in the whole chunk. */
int64_t benchfs_lseek(benchfs_file_t* file, int64_t offset, int whence) BENCHFS_NOEXCEPT;

/* Switches O_APPEND of an open file on (1) or off (0), like fcntl(F_SETFL). No other call on the
   file may be under way. */
int benchfs_set_append(benchfs_file_t* file, int on) BENCHFS_NOEXCEPT;

/* Returns when all data written to the file so far, by any client, is on the servers' devices (file
   engine; the memory engine has none). */
int benchfs_fsync(benchfs_file_t* file) BENCHFS_NOEXCEPT;

/* Shortens the file, or extends it with zeros. */
int benchfs_ftruncate(benchfs_file_t* file, int64_t size) BENCHFS_NOEXCEPT;

/* Changes the space of [offset, offset + length), like fallocate(2). `mode` is
       0                                   makes the file at least as long as the range
       FALLOC_FL_KEEP_SIZE                 does nothing
       FALLOC_FL_PUNCH_HOLE | ..KEEP_SIZE  zeroes the range and gives its space back
       FALLOC_FL_ZERO_RANGE                zeroes the range, and makes the file as long as it unless
                                           FALLOC_FL_KEEP_SIZE is given
   or -EOPNOTSUPP. No space is reserved: a later write may fail with -ENOSPC. */
int benchfs_fallocate(benchfs_file_t* file, int mode, int64_t offset, int64_t length)
    BENCHFS_NOEXCEPT;

/* Copies bytes from one file to another, or within one, without the caller's memory; positions are
   neither used nor moved. Returns the bytes copied: fewer than asked at the end of `from`, when the
   servers' space ran out, and when `size` is large: call it again; 0 at the end of `from`. -EINVAL:
   the ranges overlap in one file. -EBADF: also when `to` was opened with O_APPEND. */
ssize_t benchfs_copy_file_range(benchfs_file_t* from,
                                int64_t from_offset,
                                benchfs_file_t* to,
                                int64_t to_offset,
                                size_t size) BENCHFS_NOEXCEPT;

/* --- Locks ------------------------------------------------------------------------------------ */

/* Locks are advice among programs on all nodes, like those of fcntl() and flock(); reads and writes
   do not look at them. An owner, a number of the caller's choice, belongs to the context. Its locks
   of a file never conflict with each other; they end when they are unlocked or released, or with
   the context, whichever handles of the file have been closed. Servers keep them in memory: a
   server that gave the context up because it was out of touch for too long has dropped its locks,
   and then every use of handles of the file fails with -EIO. */
enum { BENCHFS_UNLOCK = 0, BENCHFS_LOCK_SHARED = 1, BENCHFS_LOCK_EXCLUSIVE = 2 };
/* Locks of flock(), which record locks do not see. */
enum { BENCHFS_LOCK_FLOCK = 1 };

typedef struct benchfs_lock {
  int32_t mode;   /* BENCHFS_UNLOCK, BENCHFS_LOCK_SHARED or BENCHFS_LOCK_EXCLUSIVE */
  int32_t pid;    /* shown to those who ask */
  int64_t start;  /* first byte, at least 0 */
  int64_t length; /* in bytes; 0: to the end of the file, however long it gets */
} benchfs_lock_t;

/* What the owner has locked in the range becomes of the lock's mode. While another owner has a lock
   in the way it waits for up to `timeout_ms` (0: not at all; -1: for ever), then -EAGAIN. -ENOLCK:
   the server has too many locks, or this process may start no thread, which makes a lost connection
   again before the lock ends. `flags`: 0 or BENCHFS_LOCK_FLOCK. */
int benchfs_lock(benchfs_file_t* file,
                 uint64_t owner,
                 int flags,
                 const benchfs_lock_t* lock,
                 int timeout_ms) BENCHFS_NOEXCEPT;
/* Replaces `lock` by a lock that is in its way, or sets its mode to BENCHFS_UNLOCK if none is. */
int benchfs_test_lock(benchfs_file_t* file, uint64_t owner, int flags, benchfs_lock_t* lock)
    BENCHFS_NOEXCEPT;
/* Unlocks everything that the owner has locked of the file. Succeeds even if the server does not
   answer: then the locks end when it answers again. */
int benchfs_release_locks(benchfs_file_t* file, uint64_t owner, int flags) BENCHFS_NOEXCEPT;

/* --- Attributes ------------------------------------------------------------------------------- */

typedef struct benchfs_stat {
  uint64_t st_ino;
  uint32_t st_mode; /* type and permission bits, as in <sys/stat.h> */
  uint32_t st_uid;
  uint32_t st_gid;
  uint32_t st_blksize; /* best size for transfers: the chunk size for files */
  uint64_t st_nlink;
  int64_t st_size;   /* exact, even while others write; 0 for a directory; for a symbolic link the
                        length of its target */
  int64_t st_blocks; /* st_size in units of 512 bytes, holes included */
  struct timespec st_atim; /* not changed by reading */
  struct timespec st_mtim;
  struct timespec st_ctim;
} benchfs_stat_t;

int benchfs_stat(benchfs_context_t* context,
                 const char* path,
                 benchfs_stat_t* out) BENCHFS_NOEXCEPT;
/* Like benchfs_stat(), but returns the attributes of a symbolic link itself. */
int benchfs_lstat(benchfs_context_t* context,
                  const char* path,
                  benchfs_stat_t* out) BENCHFS_NOEXCEPT;
int benchfs_fstat(benchfs_file_t* file, benchfs_stat_t* out) BENCHFS_NOEXCEPT;
/* The attributes as the last call on this file heard them; no server is asked. st_ino and the file
   type never change. */
int benchfs_last_stat(benchfs_file_t* file, benchfs_stat_t* out) BENCHFS_NOEXCEPT;
/* Returns st_size. */
int64_t benchfs_get_file_size(benchfs_context_t* context, const char* path) BENCHFS_NOEXCEPT;

/* `mode` is that of access(2). F_OK asks whether the file exists; R_OK, W_OK and X_OK ask whether
   its mode bits would allow the access to the real user of the process, and give -EACCES if not
   (see Permissions above). benchfs_eaccess() asks for the effective one. */
int benchfs_access(benchfs_context_t* context, const char* path, int mode) BENCHFS_NOEXCEPT;
int benchfs_eaccess(benchfs_context_t* context, const char* path, int mode) BENCHFS_NOEXCEPT;

int benchfs_truncate(benchfs_context_t* context, const char* path, int64_t size) BENCHFS_NOEXCEPT;
int benchfs_chmod(benchfs_context_t* context, const char* path, mode_t mode) BENCHFS_NOEXCEPT;
int benchfs_fchmod(benchfs_file_t* file, mode_t mode) BENCHFS_NOEXCEPT;
/* (uid_t)-1 and (gid_t)-1 leave the owner or the group as they are. A regular file loses its set-id
   bits, as with chown(2). benchfs_lchown() changes a symbolic link itself. */
int benchfs_chown(benchfs_context_t* context, const char* path, uid_t uid, gid_t gid)
    BENCHFS_NOEXCEPT;
int benchfs_lchown(benchfs_context_t* context, const char* path, uid_t uid, gid_t gid)
    BENCHFS_NOEXCEPT;
int benchfs_fchown(benchfs_file_t* file, uid_t uid, gid_t gid) BENCHFS_NOEXCEPT;
/* times[0] is the access time, times[1] the modification time; tv_nsec may be UTIME_NOW (the
   server's clock) or UTIME_OMIT. NULL sets both to now. Follows symbolic links. */
int benchfs_utimens(benchfs_context_t* context,
                    const char* path,
                    const struct timespec times[2]) BENCHFS_NOEXCEPT;
/* The same for a symbolic link itself, and for an open file. */
int benchfs_lutimens(benchfs_context_t* context,
                     const char* path,
                     const struct timespec times[2]) BENCHFS_NOEXCEPT;
int benchfs_futimens(benchfs_file_t* file, const struct timespec times[2]) BENCHFS_NOEXCEPT;

/* --- Extended attributes --------------------------------------------------------------------- */

/* Names and values of the caller's choice for a file or directory, as setxattr(2) and its like. A
   name begins with "user."; -EOPNOTSUPP for all other namespaces. -EPERM: neither a regular file
   nor a directory. Limits: names 255 bytes (-ERANGE), a value 64 KiB (-E2BIG), all names of a file
   with their NULs 64 KiB, all its names and values 128 KiB (-ENOSPC, also when the server has too
   many). `flags`: 0, XATTR_CREATE (-EEXIST if it is there) or XATTR_REPLACE (-ENODATA if it is
   not). */
int benchfs_setxattr(benchfs_context_t* context,
                     const char* path,
                     const char* name,
                     const void* value,
                     size_t size,
                     int flags) BENCHFS_NOEXCEPT;
/* Here and below: of a symbolic link itself, and of an open file. */
int benchfs_lsetxattr(benchfs_context_t* context,
                      const char* path,
                      const char* name,
                      const void* value,
                      size_t size,
                      int flags) BENCHFS_NOEXCEPT;
int benchfs_fsetxattr(benchfs_file_t* file,
                      const char* name,
                      const void* value,
                      size_t size,
                      int flags) BENCHFS_NOEXCEPT;
/* Returns the bytes of the value; with `size` 0 nothing is copied. -ERANGE: the buffer is too
   small. -ENODATA: there is none of the name. */
ssize_t benchfs_getxattr(benchfs_context_t* context,
                         const char* path,
                         const char* name,
                         void* buffer,
                         size_t size) BENCHFS_NOEXCEPT;
ssize_t benchfs_lgetxattr(benchfs_context_t* context,
                          const char* path,
                          const char* name,
                          void* buffer,
                          size_t size) BENCHFS_NOEXCEPT;
ssize_t benchfs_fgetxattr(benchfs_file_t* file, const char* name, void* buffer, size_t size)
    BENCHFS_NOEXCEPT;
/* The same for the names, with a NUL behind each. */
ssize_t benchfs_listxattr(benchfs_context_t* context, const char* path, char* buffer, size_t size)
    BENCHFS_NOEXCEPT;
ssize_t benchfs_llistxattr(benchfs_context_t* context, const char* path, char* buffer, size_t size)
    BENCHFS_NOEXCEPT;
ssize_t benchfs_flistxattr(benchfs_file_t* file, char* buffer, size_t size) BENCHFS_NOEXCEPT;
/* -ENODATA: there is none of the name. */
int benchfs_removexattr(benchfs_context_t* context,
                        const char* path,
                        const char* name) BENCHFS_NOEXCEPT;
int benchfs_lremovexattr(benchfs_context_t* context,
                         const char* path,
                         const char* name) BENCHFS_NOEXCEPT;
int benchfs_fremovexattr(benchfs_file_t* file, const char* name) BENCHFS_NOEXCEPT;

/* --- Names ------------------------------------------------------------------------------------ */

int benchfs_mkdir(benchfs_context_t* context, const char* path, mode_t mode) BENCHFS_NOEXCEPT;
int benchfs_rmdir(benchfs_context_t* context, const char* path) BENCHFS_NOEXCEPT;
/* The file is freed when its last open handle is closed. */
int benchfs_unlink(benchfs_context_t* context, const char* path) BENCHFS_NOEXCEPT;
/* Another name of benchfs_unlink(). */
int benchfs_remove(benchfs_context_t* context, const char* path) BENCHFS_NOEXCEPT;
/* Renames a file or directory and replaces what rename(2) would replace. Others see either the old
   name or the new one; a name that is being replaced exists at every moment. */
int benchfs_rename(benchfs_context_t* context,
                   const char* old_path,
                   const char* new_path) BENCHFS_NOEXCEPT;
/* The same with flags of renameat2(2): RENAME_NOREPLACE (1) fails with -EEXIST when the new name
   exists. RENAME_EXCHANGE (2) exchanges what the two names, which must exist, lead to: files and
   directories alike, in one step for everybody. Both together, and any other flag, are refused with
   -EINVAL. */
int benchfs_rename2(benchfs_context_t* context,
                    const char* old_path,
                    const char* new_path,
                    unsigned flags) BENCHFS_NOEXCEPT;
/* Gives a file or symlink one more name, like link(2); a symlink is not followed. */
int benchfs_link(benchfs_context_t* context,
                 const char* old_path,
                 const char* new_path) BENCHFS_NOEXCEPT;
int benchfs_symlink(benchfs_context_t* context,
                    const char* target,
                    const char* path) BENCHFS_NOEXCEPT;
/* Copies up to `size` bytes of the target, without a NUL, like readlink(2). Returns the number of
   bytes copied. */
ssize_t benchfs_readlink(benchfs_context_t* context, const char* path, char* buffer, size_t size)
    BENCHFS_NOEXCEPT;

/* Called for one entry of a directory: its name, file type (the S_IFMT bits of st_mode) and inode
   number. It returns 0 to continue, and any other value to stop. It may call any function of this
   header but benchfs_finalize(). */
typedef int (*benchfs_filler_t)(void* arg, const char* name, uint32_t type, uint64_t ino);

/* Calls `filler` for every entry except "." and "..", in byte order of the names. Entries that
   exist throughout are seen exactly once; those that appear or disappear during the call may be
   seen or not. Returns how many entries were passed to `filler`. */
ssize_t benchfs_readdir(benchfs_context_t* context,
                        const char* path,
                        benchfs_filler_t filler,
                        void* arg) BENCHFS_NOEXCEPT;
/* The same for a directory that was opened. One that has been removed has no entries. */
ssize_t benchfs_freaddir(benchfs_file_t* file, benchfs_filler_t filler, void* arg) BENCHFS_NOEXCEPT;

/* As benchfs_filler_t. `stat` has the attributes of the entry itself, a symlink is not followed, or
   is NULL: then ask benchfs_lstat() if you need them. */
typedef int (*benchfs_filler_plus_t)(
    void* arg, const char* name, uint32_t type, uint64_t ino, const benchfs_stat_t* stat);
/* benchfs_readdir() with attributes, in the same requests; a large directory takes more of them,
   because an entry takes more room. They are those of a moment during the
   call, and are missing for symlinks, for files that are being written and for files whose inode
   is on another server than the name (renamed files, most directories). */
ssize_t benchfs_readdirplus(benchfs_context_t* context,
                            const char* path,
                            benchfs_filler_plus_t filler,
                            void* arg) BENCHFS_NOEXCEPT;

/* --- Paths in an open directory --------------------------------------------------------------- */

/* The functions of POSIX whose names end in "at". A relative path begins at `directory`, wherever
   that has been renamed to: -ENOTDIR if it is another file, -ENOENT if it was removed. An absolute
   path begins at the root. There is no AT_FDCWD: open "/". Flags other than those named here are
   refused with -EINVAL. AT_EMPTY_PATH with the path "" means what `directory`, which may be any
   open file then, is a handle of. */

benchfs_file_t* benchfs_openat(benchfs_file_t* directory, const char* path, int flags, mode_t mode)
    BENCHFS_NOEXCEPT;
/* `flags`: AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH, AT_NO_AUTOMOUNT. */
int benchfs_fstatat(benchfs_file_t* directory, const char* path, benchfs_stat_t* out, int flags)
    BENCHFS_NOEXCEPT;
int benchfs_mkdirat(benchfs_file_t* directory, const char* path, mode_t mode) BENCHFS_NOEXCEPT;
/* `flags`: 0, or AT_REMOVEDIR for a directory. */
int benchfs_unlinkat(benchfs_file_t* directory, const char* path, int flags) BENCHFS_NOEXCEPT;
/* `flags`: as benchfs_rename2(). -EXDEV: the directories belong to two contexts. */
int benchfs_renameat2(benchfs_file_t* old_directory,
                      const char* old_path,
                      benchfs_file_t* new_directory,
                      const char* new_path,
                      unsigned flags) BENCHFS_NOEXCEPT;
/* `flags`: AT_SYMLINK_FOLLOW, AT_EMPTY_PATH. With the latter a file that was opened with O_TMPFILE
   gets its first name:
       benchfs_linkat(file, "", directory, "result", AT_EMPTY_PATH);
   -ENOENT: the file has lost its last name, or was opened with O_TMPFILE | O_EXCL. */
int benchfs_linkat(benchfs_file_t* old_directory,
                   const char* old_path,
                   benchfs_file_t* new_directory,
                   const char* new_path,
                   int flags) BENCHFS_NOEXCEPT;
int benchfs_symlinkat(const char* target,
                      benchfs_file_t* directory,
                      const char* path) BENCHFS_NOEXCEPT;
ssize_t benchfs_readlinkat(benchfs_file_t* directory, const char* path, char* buffer, size_t size)
    BENCHFS_NOEXCEPT;
/* Here and below `flags`: AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH. -EOPNOTSUPP: a symbolic link itself
   has no permissions. */
int benchfs_fchmodat(benchfs_file_t* directory, const char* path, mode_t mode, int flags)
    BENCHFS_NOEXCEPT;
int benchfs_fchownat(benchfs_file_t* directory, const char* path, uid_t uid, gid_t gid, int flags)
    BENCHFS_NOEXCEPT;
/* `flags` may also have AT_EACCESS. A symbolic link itself allows everything. */
int benchfs_faccessat(benchfs_file_t* directory, const char* path, int mode, int flags)
    BENCHFS_NOEXCEPT;
int benchfs_utimensat(benchfs_file_t* directory,
                      const char* path,
                      const struct timespec times[2],
                      int flags) BENCHFS_NOEXCEPT;

/* --- The whole file system -------------------------------------------------------------------- */

typedef struct benchfs_statfs {
  uint64_t f_bsize;  /* unit of the three numbers below, in bytes */
  uint64_t f_blocks; /* total */
  uint64_t f_bfree;
  uint64_t f_bavail;  /* for an unprivileged user: the same as f_bfree */
  uint64_t f_files;   /* inodes in use */
  uint32_t f_namemax; /* longest name of an entry */
  uint32_t f_shards;  /* lines of the server list */
} benchfs_statfs_t;

/* Devices that several servers share are counted once. */
int benchfs_statfs(benchfs_context_t* context, benchfs_statfs_t* out) BENCHFS_NOEXCEPT;
/* The same in the structure of statvfs(3) (<sys/statvfs.h>). f_files is the number of inodes in use
   and of those that can still be made. Nothing but the servers' memory bounds the latter: f_ffree
   and f_favail are always 4294967296. f_frsize is f_bsize, f_fsid and f_flag are 0. */
struct statvfs;
int benchfs_statvfs(benchfs_context_t* context, struct statvfs* out) BENCHFS_NOEXCEPT;

/* --- Errors ----------------------------------------------------------------------------------- */

/* Returns the sentence of the last call that failed in this thread, or "" if none has. It is valid
   until this thread calls BenchFS again. It begins with the function's name without benchfs_ and
   the path as the caller gave it, for an open file the path with which it was opened:
       open /checkpoint: No such file or directory
       pwrite /checkpoint: write on node_3: No space left on device
       rename /a to /b: Is a directory */
const char* benchfs_get_error(void) BENCHFS_NOEXCEPT;
/* Returns the text of an error number, negative or positive; "Success" for 0. The text is never
   NULL and never changes. */
const char* benchfs_strerror(int error) BENCHFS_NOEXCEPT;
/* Returns the version, such as "0.1.0". */
const char* benchfs_version(void) BENCHFS_NOEXCEPT;

#ifdef __cplusplus
}
#endif
#undef BENCHFS_NOEXCEPT

#endif
