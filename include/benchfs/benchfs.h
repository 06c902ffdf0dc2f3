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
 * errno. Both leave a sentence that names operation, path and reason, and the server for trouble in
 * the cluster, for benchfs_get_error() in the calling thread. Beyond the errno values of the POSIX
 * function of the same name, every function may return
 *     -ETIMEDOUT      the time allowed for one operation passed; its effect may have happened
 *     -EHOSTUNREACH, -ECONNRESET, -ECONNREFUSED, -ENOTCONN   a server is not there or went away
 *     -ESTALE         the servers belong to another run than the server list; or the open file is
 * gone: it was removed while its server had lost touch with this client -EIO            anything
 * else that went wrong in the cluster; in particular, a server restarted and lost the file -EBADF
 * the handle is NULL -EINVAL         another argument that must not be NULL is NULL -ECANCELED the
 * context was made before fork() and this is the child -EDEADLK        called from a signal handler
 * that interrupted a function of BenchFS in the same thread -ENOMEM         out of memory None of
 * them makes the context unusable: when the servers are back, the next call works.
 *
 * Threads. Every function may be called from any thread at any time, with the same context and the
 * same file too. The exceptions: benchfs_finalize() and benchfs_close() end the life of their
 * handle; no other call that uses it may be under way or follow. Operations that have returned are
 * seen by every later operation of every client of the cluster.
 *
 * Signals. The library's threads block all signals, so a signal is delivered to the program's own
 * threads. A signal handler may call BenchFS, unless it interrupted a function of BenchFS in the
 * same thread: then the call fails with -EDEADLK.
 *
 * Processes. After fork() a context works in the parent only; in the child every call on it fails
 * with -ECANCELED. A process whose parent had made a context before fork() cannot make one of its
 * own: the attempt fails at once with -ENOTSUP. Call exec() in the child, or make contexts only in
 * children.
 *
 * Paths are absolute (a missing leading '/' is added), any bytes but NUL, components of at most 255
 * bytes, 4095 bytes altogether. "." and ".." work; ".." is resolved after symbolic links, as in
 * POSIX.
 *
 * Permissions. A BenchFS cluster belongs to one user's job. Owner, group and mode are kept and
 * shown, but do not keep anybody from anything. The umask is not applied.
 *
 * After a crash of the calling process: data of writes that had returned stays; files it had open
 * are closed by the servers within a minute and have their exact size. Data of a server that
 * crashes may be lost.
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
#include <time.h>

#ifdef __cplusplus
extern "C" {
#define BENCHFS_NOEXCEPT noexcept
#else
#define BENCHFS_NOEXCEPT
#endif

/* A connection to one cluster. A process may have several, also to the same cluster. */
typedef struct benchfs_context benchfs_context_t;
/* An open file or directory, with a file position. Opens of the same file are independent. */
typedef struct benchfs_file benchfs_file_t;

/* --- The context ------------------------------------------------------------------------------ */

typedef struct benchfs_options {
  size_t struct_size;       /* sizeof(benchfs_options_t): which fields the caller knows */
  const char* registry_dir; /* directory with the server list; NULL: $BENCHFS_REGISTRY_DIR */
  const char* client_id;    /* name for logs and statistics, at most 255 bytes, unique in the
                               cluster; NULL: made from host, process and a random number */
  uint32_t chunk_size;      /* of files this context creates, in bytes: a power of two from 64 KiB
                               to the cluster's chunk size; 0: that size */
  uint32_t timeout_ms;      /* longest time one operation may take, retries included; 0: as the
                               environment says (docs/configuration.md), else 60000 for data, 30000
                               for the rest. A large read or write is many operations */
  uint32_t connect_timeout_ms; /* for the server list to be complete, and again for the first server
                                  to answer; 0: 10000 */
} benchfs_options_t;

/* Connects to the cluster. Returns when it can be used, or NULL with errno: EINVAL (bad option, no
   registry directory given, malformed server list), ENOENT (no server list), ETIMEDOUT and the
   others above. Fields left 0 have their defaults:
       benchfs_options_t options = {.struct_size = sizeof options, .timeout_ms = 5000}; */
benchfs_context_t* benchfs_connect(const benchfs_options_t* options) BENCHFS_NOEXCEPT;

/* The same in the form of earlier versions. `node_id` is the client id. `data_dir` must be NULL and
   `is_server` 0, else EINVAL: servers are programs of their own (benchfsd). `chunk_size` as in
   benchfs_options; the servers' chunk size need not be repeated here. */
benchfs_context_t* benchfs_init(const char* node_id,
                                const char* registry_dir,
                                const char* data_dir,
                                int is_server,
                                size_t chunk_size) BENCHFS_NOEXCEPT;

/* Closes all files still open, leaves the cluster and frees the context, without waiting for
   servers that do not answer. Returns 0; the context is gone in any case. In a child of fork() it
   does nothing and returns -ECANCELED. NULL is allowed and does nothing. */
int benchfs_finalize(benchfs_context_t* context) BENCHFS_NOEXCEPT;

/* --- Open files ------------------------------------------------------------------------------- */

/* Opens a file or directory. `flags` are those of open(2): O_RDONLY, O_WRONLY or O_RDWR, with
   O_CREAT, O_EXCL, O_TRUNC, O_APPEND, O_NOFOLLOW, O_DIRECTORY, O_SYNC, O_DSYNC. O_CLOEXEC,
   O_DIRECT, O_LARGEFILE, O_NOATIME, O_NOCTTY and O_NONBLOCK are accepted and change nothing.
   Others: EINVAL. `mode` are the permission bits of a new file. A directory opens with O_RDONLY,
   for benchfs_fstat(). O_TRUNC cuts a regular file also with O_RDONLY; a directory is -EISDIR.
   O_CREAT | O_EXCL succeeds for exactly one of many callers, on whatever node. */
benchfs_file_t* benchfs_open(benchfs_context_t* context, const char* path, int flags, mode_t mode)
    BENCHFS_NOEXCEPT;

/* benchfs_open() with O_CREAT added to `flags`. */
benchfs_file_t* benchfs_create(benchfs_context_t* context, const char* path, int flags, mode_t mode)
    BENCHFS_NOEXCEPT;

/* Frees the handle, and does not wait for any server: what was written is safe and seen by others
   since the write returned. */
int benchfs_close(benchfs_file_t* file) BENCHFS_NOEXCEPT;

/* Reads up to `size` bytes at `offset`; the file position is neither used nor moved. Returns the
   bytes read: fewer than asked only at the end of the file, 0 at or beyond it. Holes read as zeros.
   After an error the content of `buffer` is undefined.
   (Earlier versions called this benchfs_read.) */
ssize_t benchfs_pread(benchfs_file_t* file, void* buffer, size_t size, int64_t offset)
    BENCHFS_NOEXCEPT;

/* Writes `size` bytes at `offset` and returns how many were written: fewer than `size` only when
   the servers' space ran out after them. On failure some of the bytes may have been stored.
   -ENOSPC: the servers' space is used up. -EFBIG: beyond the largest file, 2^62 bytes. A file
   opened with O_APPEND is appended to whatever the offset, as on Linux. (Earlier versions called
   this benchfs_write.) */
ssize_t benchfs_pwrite(benchfs_file_t* file, const void* buffer, size_t size, int64_t offset)
    BENCHFS_NOEXCEPT;

/* The same at the file position, which moves by the bytes read or written. Calls of several threads
   on one file take turns. With O_APPEND every write goes to the end of the file in one step,
   whoever else appends, and the position ends up behind it. */
ssize_t benchfs_read(benchfs_file_t* file, void* buffer, size_t size) BENCHFS_NOEXCEPT;
ssize_t benchfs_write(benchfs_file_t* file, const void* buffer, size_t size) BENCHFS_NOEXCEPT;

/* Moves the file position: SEEK_SET, SEEK_CUR or SEEK_END. Returns the new one; -EINVAL when it
   would be negative, -EOVERFLOW when too large to tell. */
int64_t benchfs_lseek(benchfs_file_t* file, int64_t offset, int whence) BENCHFS_NOEXCEPT;

/* Returns when everything written to the file so far, by any client, is on the servers' devices
   (file engine; the memory engine has none). */
int benchfs_fsync(benchfs_file_t* file) BENCHFS_NOEXCEPT;

/* Cuts the file, or lengthens it with zeros. */
int benchfs_ftruncate(benchfs_file_t* file, int64_t size) BENCHFS_NOEXCEPT;

/* --- Attributes ------------------------------------------------------------------------------- */

typedef struct benchfs_stat {
  uint64_t st_ino;
  uint32_t st_mode; /* type and permission bits, as in <sys/stat.h> */
  uint32_t st_uid;
  uint32_t st_gid;
  uint32_t st_blksize; /* best size for transfers: the chunk size for files */
  uint64_t st_nlink;
  int64_t
      st_size; /* exact, also while others write; directories 0; symbolic links: of the target */
  int64_t st_blocks;       /* st_size in units of 512 bytes, holes included */
  struct timespec st_atim; /* not changed by reading */
  struct timespec st_mtim;
  struct timespec st_ctim;
} benchfs_stat_t;

int benchfs_stat(benchfs_context_t* context,
                 const char* path,
                 benchfs_stat_t* out) BENCHFS_NOEXCEPT;
/* Of a symbolic link itself. */
int benchfs_lstat(benchfs_context_t* context,
                  const char* path,
                  benchfs_stat_t* out) BENCHFS_NOEXCEPT;
int benchfs_fstat(benchfs_file_t* file, benchfs_stat_t* out) BENCHFS_NOEXCEPT;
/* st_size alone. */
int64_t benchfs_get_file_size(benchfs_context_t* context, const char* path) BENCHFS_NOEXCEPT;

/* `mode` of access(2): F_OK asks whether the file exists; R_OK, W_OK, X_OK whether its mode bits
   would let the calling user do that: -EACCES if not (see Permissions above). */
int benchfs_access(benchfs_context_t* context, const char* path, int mode) BENCHFS_NOEXCEPT;

int benchfs_truncate(benchfs_context_t* context, const char* path, int64_t size) BENCHFS_NOEXCEPT;
int benchfs_chmod(benchfs_context_t* context, const char* path, mode_t mode) BENCHFS_NOEXCEPT;
/* times[0] is the access time, times[1] the modification time; tv_nsec may be UTIME_NOW (the
   server's clock) or UTIME_OMIT. NULL: both now. Follows symbolic links. */
int benchfs_utimens(benchfs_context_t* context,
                    const char* path,
                    const struct timespec times[2]) BENCHFS_NOEXCEPT;

/* --- Names ------------------------------------------------------------------------------------ */

int benchfs_mkdir(benchfs_context_t* context, const char* path, mode_t mode) BENCHFS_NOEXCEPT;
int benchfs_rmdir(benchfs_context_t* context, const char* path) BENCHFS_NOEXCEPT;
/* The file goes when its last open is closed. */
int benchfs_unlink(benchfs_context_t* context, const char* path) BENCHFS_NOEXCEPT;
/* Another name of benchfs_unlink(). */
int benchfs_remove(benchfs_context_t* context, const char* path) BENCHFS_NOEXCEPT;
/* Files and directories; replaces what rename(2) would. Others see the old name or the new one, a
   replaced name at every moment. */
int benchfs_rename(benchfs_context_t* context,
                   const char* old_path,
                   const char* new_path) BENCHFS_NOEXCEPT;
int benchfs_symlink(benchfs_context_t* context,
                    const char* target,
                    const char* path) BENCHFS_NOEXCEPT;
/* Copies up to `size` bytes of the target, without a NUL, as readlink(2). Returns the bytes copied.
 */
ssize_t benchfs_readlink(benchfs_context_t* context, const char* path, char* buffer, size_t size)
    BENCHFS_NOEXCEPT;

/* Called for one entry of a directory: its name, file type (the S_IFMT bits of st_mode) and inode
   number. Returns 0 to go on, anything else to stop. May call any function of this header but
   benchfs_finalize(). */
typedef int (*benchfs_filler_t)(void* arg, const char* name, uint32_t type, uint64_t ino);

/* Calls `filler` for every entry in byte order of the names, "." and ".." left out. Entries that
   exist throughout are seen exactly once; those that come or go meanwhile may be seen or not.
   Returns how many entries were passed to `filler`. */
ssize_t benchfs_readdir(benchfs_context_t* context,
                        const char* path,
                        benchfs_filler_t filler,
                        void* arg) BENCHFS_NOEXCEPT;

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

/* --- Errors ----------------------------------------------------------------------------------- */

/* The sentence of the last call that failed in this thread, "" if none has. Valid until this thread
   calls BenchFS again. It begins with the function's name without benchfs_ and the path as it was
   given, for open files at their opening:
       open /checkpoint: No such file or directory
       pwrite /checkpoint: write on node_3: No space left on device
       rename /a to /b: Is a directory */
const char* benchfs_get_error(void) BENCHFS_NOEXCEPT;
/* The text of an error number, negative or positive; "Success" for 0. Never NULL, never changes. */
const char* benchfs_strerror(int error) BENCHFS_NOEXCEPT;
/* "0.1.0" */
const char* benchfs_version(void) BENCHFS_NOEXCEPT;

#ifdef __cplusplus
}
#endif
#undef BENCHFS_NOEXCEPT

#endif
