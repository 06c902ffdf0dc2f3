/*
 * BenchFS as a back end of IOR, mdtest, md-workbench and IO500.
 *
 * `integrations/ior/install` copies this file into an IOR source tree and registers it there. It
 * uses IOR's interface (aiori.h) and the C library of BenchFS (benchfs.h), nothing else.
 *
 * Contexts. initialize() connects and finalize() disconnects. IOR calls them in pairs that nest,
 * and IO500 may choose other options for a phase, so there is one connection for each set of
 * options, with a count of its users. An operation finds its connection by the options it is given.
 *
 * Failures. Where IOR expects a return value it gets one, with errno set. Where it expects none
 * (close, fsync, sync) a failure ends the run: its numbers would be worth nothing.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <benchfs/benchfs.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "aiori.h"
#include "option.h"

#ifndef BENCHFS_AIORI_REMOVE /* `install` defines it for IOR 4.0, which calls it delete */
#define BENCHFS_AIORI_REMOVE remove
#endif

/* What sync() remembers. A file beyond these is synced when it is closed. */
enum { kMaxUnsynced = 1 << 20 };
enum { kFileMode = 0664 };

struct benchfs_backend_options {
  char* registry;
  char* prefix;
  uint64_t chunk;
  int timeout_s;
};

/* A connection, and the paths of files that were written and closed since the last sync(). */
struct connection {
  struct benchfs_backend_options key;
  const aiori_mod_opt_t* options; /* of its last initialize(), for mknod(), which gets none */
  benchfs_context_t* context;
  int users;
  char** unsynced;
  size_t unsynced_count;
  size_t unsynced_room;
  struct connection* next;
};

/* What IOR holds as aiori_fd_t. */
struct open_file {
  benchfs_file_t* file; /* NULL in a dry run */
  struct connection* connection;
  bool is_written;
  char path[]; /* in BenchFS */
};

static struct connection* connections; /* the newest first */
static const aiori_xfer_hint_t* hints; /* mdtest changes what it points to later */

/* --- Options ---------------------------------------------------------------------------------- */

static const struct benchfs_backend_options* options_of(const aiori_mod_opt_t* options) {
  return (const struct benchfs_backend_options*)options;
}

static option_help* backend_get_options(aiori_mod_opt_t** out, aiori_mod_opt_t* initial) {
  struct benchfs_backend_options* chosen = calloc(1, sizeof *chosen);
  if (chosen == NULL) {
    ERR("BENCHFS: out of memory");
  }
  if (initial != NULL) {
    memcpy(chosen, initial, sizeof *chosen);
  }
  *out = (aiori_mod_opt_t*)chosen;

  option_help table[] = {{0,
                          "benchfs.registry",
                          "Registry directory of the cluster; default: $BENCHFS_REGISTRY_DIR",
                          OPTION_OPTIONAL_ARGUMENT,
                          's',
                          &chosen->registry},
                         {0,
                          "benchfs.prefix",
                          "Path under which BenchFS is addressed; it is cut off every path",
                          OPTION_OPTIONAL_ARGUMENT,
                          's',
                          &chosen->prefix},
                         {0,
                          "benchfs.chunk",
                          "Chunk size of new files, a power of two; default: the cluster's",
                          OPTION_OPTIONAL_ARGUMENT,
                          'u',
                          &chosen->chunk},
                         {0,
                          "benchfs.timeout",
                          "Longest time for one operation in seconds; default: BenchFS's",
                          OPTION_OPTIONAL_ARGUMENT,
                          'd',
                          &chosen->timeout_s},
                         LAST_OPTION};
  /* IOR keeps the table, which points into this set of options. */
  option_help* kept = malloc(sizeof table);
  if (kept == NULL) {
    ERR("BENCHFS: out of memory");
  }
  memcpy(kept, table, sizeof table);
  return kept;
}

static int backend_check_params(aiori_mod_opt_t* options) {
  const struct benchfs_backend_options* chosen = options_of(options);
  if (chosen->chunk > UINT32_MAX || (chosen->chunk & (chosen->chunk - 1)) != 0) {
    ERRF("BENCHFS: --benchfs.chunk=%llu is not a power of two that fits in 32 bits",
         (unsigned long long)chosen->chunk);
  }
  if (chosen->timeout_s < 0 || chosen->timeout_s > INT_MAX / 1000) {
    ERRF("BENCHFS: --benchfs.timeout=%d is out of range", chosen->timeout_s);
  }
  if (chosen->prefix != NULL && chosen->prefix[0] != '/') {
    ERRF("BENCHFS: --benchfs.prefix=%s must begin with '/'", chosen->prefix);
  }
  return 0;
}

static void backend_xfer_hints(aiori_xfer_hint_t* given) {
  hints = given;
}

static bool is_dry_run(void) {
  return hints != NULL && hints->dryRun;
}

/* --- Connections ------------------------------------------------------------------------------ */

static bool is_same_text(const char* one, const char* other) {
  return one == other || (one != NULL && other != NULL && strcmp(one, other) == 0);
}

static struct connection** find(const struct benchfs_backend_options* key) {
  struct connection** at = &connections;
  while (*at != NULL && ((*at)->key.chunk != key->chunk || (*at)->key.timeout_s != key->timeout_s ||
                         !is_same_text((*at)->key.registry, key->registry))) {
    at = &(*at)->next;
  }
  return at;
}

static char* copy_text(const char* text) {
  char* copy = text == NULL ? NULL : strdup(text);
  if (text != NULL && copy == NULL) {
    ERR("BENCHFS: out of memory");
  }
  return copy;
}

static void backend_initialize(aiori_mod_opt_t* options) {
  const struct benchfs_backend_options* key = options_of(options);
  struct connection** at = find(key);
  if (*at != NULL) {
    ++(*at)->users;
    (*at)->options = options;
    return;
  }
  struct connection* made = calloc(1, sizeof *made);
  if (made == NULL) {
    ERR("BENCHFS: out of memory");
  }
  made->key = *key;
  made->key.registry = copy_text(key->registry);
  made->key.prefix = NULL; /* that of each operation counts */
  made->options = options;
  made->users = 1;
  benchfs_options_t wanted = {.struct_size = sizeof wanted,
                              .registry_dir = made->key.registry,
                              .chunk_size = (uint32_t)key->chunk,
                              .timeout_ms = (uint32_t)key->timeout_s * 1000};
  made->context = benchfs_connect(&wanted);
  if (made->context == NULL) {
    ERRF("BENCHFS: %s", benchfs_get_error());
  }
  made->next = connections;
  connections = made;
}

static void backend_finalize(aiori_mod_opt_t* options) {
  struct connection** at = find(options_of(options));
  struct connection* done = *at;
  if (done == NULL || --done->users > 0) {
    return;
  }
  *at = done->next;
  int result = benchfs_finalize(done->context);
  for (size_t i = 0; i < done->unsynced_count; ++i) {
    free(done->unsynced[i]);
  }
  free(done->unsynced);
  free(done->key.registry);
  free(done);
  if (result < 0) {
    ERRF("BENCHFS: %s", benchfs_get_error());
  }
}

static struct connection* connection_of(const aiori_mod_opt_t* options) {
  struct connection* found = *find(options_of(options));
  if (found == NULL) {
    ERR("BENCHFS: an operation before initialize()");
  }
  return found;
}

/* --- Paths ------------------------------------------------------------------------------------ */

/* The path inside BenchFS of `path`, a suffix of it or "/". NULL with errno ENOENT: `path` is not
   under the prefix. Directories that lead to the prefix are "/". */
static const char* inside(const char* path, const aiori_mod_opt_t* options) {
  const char* prefix = options_of(options)->prefix;
  if (prefix == NULL) {
    return path;
  }
  for (;;) {
    while (*path == '/') {
      ++path;
    }
    while (*prefix == '/') {
      ++prefix;
    }
    if (*prefix == '\0') {
      return *path == '\0' ? "/" : path;
    }
    if (*path == '\0') {
      return "/";
    }
    while (*path == *prefix && *path != '/' && *path != '\0') {
      ++path;
      ++prefix;
    }
    if ((*path != '/' && *path != '\0') || (*prefix != '/' && *prefix != '\0')) {
      errno = ENOENT;
      return NULL;
    }
  }
}

/* 0, or -1 with errno, of what a function of benchfs.h returned. */
static int outcome(int64_t result) {
  if (result < 0) {
    errno = (int)-result;
    return -1;
  }
  return 0;
}

/* --- Files ------------------------------------------------------------------------------------ */

static int open_flags_of(int ior_flags) {
  int flags = O_RDONLY;
  if ((ior_flags & IOR_RDWR) != 0) {
    flags = O_RDWR;
  } else if ((ior_flags & IOR_WRONLY) != 0) {
    flags = O_RDWR; /* mdtest reads back what it wrote with the same handle */
  }
  flags |= (ior_flags & IOR_CREAT) != 0 ? O_CREAT : 0;
  flags |= (ior_flags & IOR_EXCL) != 0 ? O_EXCL : 0;
  flags |= (ior_flags & IOR_APPEND) != 0 ? O_APPEND : 0;
  /* IOR_TRUNC is not honoured: all ranks create a shared file with it and write at once, so a late
     rank would cut what others have written. IOR removes files before it writes them anew. */
  return flags;
}

static aiori_fd_t* backend_open(char* path, int ior_flags, aiori_mod_opt_t* options) {
  const char* target = inside(path, options);
  if (target == NULL) {
    return NULL;
  }
  size_t size = strlen(target) + 1;
  struct open_file* opened = calloc(1, sizeof *opened + size);
  if (opened == NULL) {
    errno = ENOMEM;
    return NULL;
  }
  memcpy(opened->path, target, size);
  if (is_dry_run()) {
    return (aiori_fd_t*)opened;
  }
  opened->connection = connection_of(options);
  opened->file =
      benchfs_open(opened->connection->context, target, open_flags_of(ior_flags), kFileMode);
  if (opened->file == NULL) {
    int error = errno;
    WARNF("BENCHFS: %s", benchfs_get_error());
    free(opened);
    errno = error;
    return NULL;
  }
  return (aiori_fd_t*)opened;
}

static aiori_fd_t* backend_create(char* path, int ior_flags, aiori_mod_opt_t* options) {
  return backend_open(path, ior_flags | IOR_RDWR | IOR_CREAT, options);
}

static int backend_mknod(char* path) {
  if (connections == NULL) {
    ERR("BENCHFS: an operation before initialize()");
  }
  const char* target = inside(path, connections->options);
  if (target == NULL) {
    return -1;
  }
  if (is_dry_run()) {
    return 0;
  }
  benchfs_file_t* file =
      benchfs_open(connections->context, target, O_WRONLY | O_CREAT | O_EXCL, kFileMode);
  return file == NULL ? -1 : outcome(benchfs_close(file));
}

/* Moves bytes until all have been moved or no more can be. */
static IOR_offset_t backend_xfer(int access,
                                 aiori_fd_t* handle,
                                 IOR_size_t* buffer,
                                 IOR_offset_t size,
                                 IOR_offset_t offset,
                                 aiori_mod_opt_t* options) {
  struct open_file* opened = (struct open_file*)handle;
  (void)options;
  if (opened->file == NULL) {
    return size;
  }
  bool is_write = access == WRITE;
  opened->is_written = opened->is_written || is_write;
  char* at = (char*)buffer;
  IOR_offset_t moved = 0;
  while (moved < size) {
    size_t rest = (size_t)(size - moved);
    ssize_t result = is_write ? benchfs_pwrite(opened->file, at + moved, rest, offset + moved)
                              : benchfs_pread(opened->file, at + moved, rest, offset + moved);
    if (result < 0) {
      (void)outcome(result);
      WARNF("BENCHFS: %s", benchfs_get_error());
      return moved > 0 ? moved : -1;
    }
    if (result == 0) {
      break; /* end of the file */
    }
    moved += result;
    if (hints != NULL && hints->singleXferAttempt) {
      break;
    }
  }
  if (is_write && hints != NULL && hints->fsyncPerWrite && benchfs_fsync(opened->file) < 0) {
    ERRF("BENCHFS: %s", benchfs_get_error());
  }
  return moved;
}

static void backend_fsync(aiori_fd_t* handle, aiori_mod_opt_t* options) {
  struct open_file* opened = (struct open_file*)handle;
  (void)options;
  if (opened->file == NULL) {
    return;
  }
  if (benchfs_fsync(opened->file) < 0) {
    ERRF("BENCHFS: %s", benchfs_get_error());
  }
  opened->is_written = false;
}

/* Notes that sync() has to sync the file; false: there is no room to. */
static bool note_unsynced(struct connection* connection, const char* path) {
  if (connection->unsynced_count == connection->unsynced_room) {
    size_t room = connection->unsynced_room == 0 ? 1024 : 2 * connection->unsynced_room;
    char** grown = room > kMaxUnsynced ? NULL : realloc(connection->unsynced, room * sizeof *grown);
    if (grown == NULL) {
      return false;
    }
    connection->unsynced = grown;
    connection->unsynced_room = room;
  }
  char* copy = strdup(path);
  if (copy == NULL) {
    return false;
  }
  connection->unsynced[connection->unsynced_count++] = copy;
  return true;
}

static void backend_close(aiori_fd_t* handle, aiori_mod_opt_t* options) {
  struct open_file* opened = (struct open_file*)handle;
  if (opened->file != NULL) {
    if (opened->is_written && !note_unsynced(opened->connection, opened->path)) {
      backend_fsync(handle, options);
    }
    if (benchfs_close(opened->file) < 0) {
      ERRF("BENCHFS: %s", benchfs_get_error());
    }
  }
  free(opened);
}

/* Everything this process has written and closed is on the servers' devices afterwards. */
static void backend_sync(aiori_mod_opt_t* options) {
  if (is_dry_run()) {
    return;
  }
  struct connection* connection = connection_of(options);
  for (size_t i = 0; i < connection->unsynced_count; ++i) {
    char* path = connection->unsynced[i];
    benchfs_file_t* file = benchfs_open(connection->context, path, O_RDONLY, 0);
    if (file == NULL && errno != ENOENT) { /* removed since: nothing to sync */
      ERRF("BENCHFS: %s", benchfs_get_error());
    }
    if (file != NULL && (benchfs_fsync(file) < 0 || benchfs_close(file) < 0)) {
      ERRF("BENCHFS: %s", benchfs_get_error());
    }
    free(path);
  }
  connection->unsynced_count = 0;
}

/* --- Names and attributes --------------------------------------------------------------------- */

static void backend_remove(char* path, aiori_mod_opt_t* options) {
  const char* target = inside(path, options);
  if (is_dry_run()) {
    return;
  }
  if (target == NULL || outcome(benchfs_unlink(connection_of(options)->context, target)) != 0) {
    WARNF("BENCHFS: cannot remove %s: %s", path, strerror(errno));
  }
}

static int backend_rename(const char* from, const char* to, aiori_mod_opt_t* options) {
  const char* old_path = inside(from, options);
  const char* new_path = inside(to, options);
  if (old_path == NULL || new_path == NULL) {
    return -1;
  }
  return is_dry_run()
             ? 0
             : outcome(benchfs_rename(connection_of(options)->context, old_path, new_path));
}

static int backend_mkdir(const char* path, mode_t mode, aiori_mod_opt_t* options) {
  const char* target = inside(path, options);
  if (target == NULL) {
    return -1;
  }
  return is_dry_run() ? 0 : outcome(benchfs_mkdir(connection_of(options)->context, target, mode));
}

static int backend_rmdir(const char* path, aiori_mod_opt_t* options) {
  const char* target = inside(path, options);
  if (target == NULL) {
    return -1;
  }
  return is_dry_run() ? 0 : outcome(benchfs_rmdir(connection_of(options)->context, target));
}

static int backend_access(const char* path, int mode, aiori_mod_opt_t* options) {
  const char* target = inside(path, options);
  if (target == NULL) {
    return -1;
  }
  return is_dry_run() ? 0 : outcome(benchfs_access(connection_of(options)->context, target, mode));
}

static int backend_stat(const char* path, struct stat* out, aiori_mod_opt_t* options) {
  const char* target = inside(path, options);
  if (target == NULL) {
    return -1;
  }
  memset(out, 0, sizeof *out);
  if (is_dry_run()) {
    return 0;
  }
  benchfs_stat_t found;
  if (outcome(benchfs_stat(connection_of(options)->context, target, &found)) != 0) {
    return -1;
  }
  out->st_ino = found.st_ino;
  out->st_mode = found.st_mode;
  out->st_nlink = found.st_nlink;
  out->st_uid = found.st_uid;
  out->st_gid = found.st_gid;
  out->st_size = found.st_size;
  out->st_blksize = (blksize_t)found.st_blksize;
  out->st_blocks = found.st_blocks;
  out->st_atim = found.st_atim;
  out->st_mtim = found.st_mtim;
  out->st_ctim = found.st_ctim;
  return 0;
}

static IOR_offset_t backend_get_file_size(aiori_mod_opt_t* options, char* path) {
  const char* target = inside(path, options);
  if (is_dry_run()) {
    return 0;
  }
  int64_t size =
      target == NULL ? -ENOENT : benchfs_get_file_size(connection_of(options)->context, target);
  if (outcome(size) != 0) {
    WARNF("BENCHFS: cannot get the size of %s: %s", path, strerror(errno));
    return -1;
  }
  return size;
}

static int backend_statfs(const char* path, ior_aiori_statfs_t* out, aiori_mod_opt_t* options) {
  (void)path; /* there is one file system */
  struct statvfs found;
  if (outcome(benchfs_statvfs(connection_of(options)->context, &found)) != 0) {
    return -1;
  }
  out->f_bsize = found.f_bsize;
  out->f_blocks = found.f_blocks;
  out->f_bfree = found.f_bfree;
  out->f_bavail = found.f_bavail;
  out->f_files = found.f_files;
  out->f_ffree = found.f_ffree;
  return 0;
}

static char* backend_get_version(void) {
  return (char*)benchfs_version();
}

ior_aiori_t benchfs_aiori = {.name = "BENCHFS",
                             .create = backend_create,
                             .mknod = backend_mknod,
                             .open = backend_open,
                             .xfer_hints = backend_xfer_hints,
                             .xfer = backend_xfer,
                             .close = backend_close,
                             .BENCHFS_AIORI_REMOVE = backend_remove,
                             .get_version = backend_get_version,
                             .fsync = backend_fsync,
                             .get_file_size = backend_get_file_size,
                             .statfs = backend_statfs,
                             .mkdir = backend_mkdir,
                             .rmdir = backend_rmdir,
                             .access = backend_access,
                             .stat = backend_stat,
                             .initialize = backend_initialize,
                             .finalize = backend_finalize,
                             .rename = backend_rename,
                             .get_options = backend_get_options,
                             .check_params = backend_check_params,
                             .sync = backend_sync,
                             .enable_mdtest = true};
