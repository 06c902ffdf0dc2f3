/* Stand-in for IOR's aiori.h: what the back end uses of it, in our own words, for tests without
   IOR. A warning is counted and an error ends the program. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "option.h"

enum { WRITE = 0, READ = 2 };
enum {
  IOR_RDONLY = 1,
  IOR_WRONLY = 2,
  IOR_RDWR = 4,
  IOR_APPEND = 8,
  IOR_CREAT = 16,
  IOR_TRUNC = 32,
  IOR_EXCL = 64,
};

extern int test_warnings;
#define WARNF(...) (++test_warnings, printf("warning: " __VA_ARGS__), printf("\n"))
#define ERRF(...) (printf("error: " __VA_ARGS__), printf("\n"), fflush(stdout), _exit(99))
#define ERR(text) ERRF("%s", text)

typedef long long int IOR_offset_t, IOR_size_t;
typedef struct stand_in_handle aiori_fd_t;
typedef struct stand_in_options aiori_mod_opt_t;
typedef struct stand_in_statfs {
  uint64_t f_bsize, f_blocks, f_bfree, f_bavail, f_files, f_ffree;
} ior_aiori_statfs_t;
typedef struct stand_in_hints {
  int dryRun, fsyncPerWrite, singleXferAttempt;
} aiori_xfer_hint_t;

typedef aiori_fd_t* open_function(char*, int, aiori_mod_opt_t*);
typedef void handle_function(aiori_fd_t*, aiori_mod_opt_t*);
typedef void options_function(aiori_mod_opt_t*);
typedef int path_function(const char*, aiori_mod_opt_t*);

typedef struct stand_in_backend {
  char *name, *name_legacy;
  open_function *create, *open;
  int (*mknod)(char*);
  void (*xfer_hints)(aiori_xfer_hint_t*);
  IOR_offset_t (*xfer)(int, aiori_fd_t*, IOR_size_t*, IOR_offset_t, IOR_offset_t, aiori_mod_opt_t*);
  handle_function *close, *fsync;
  void (*remove)(char*, aiori_mod_opt_t*);
  char* (*get_version)(void);
  IOR_offset_t (*get_file_size)(aiori_mod_opt_t*, char*);
  int (*statfs)(const char*, ior_aiori_statfs_t*, aiori_mod_opt_t*);
  int (*mkdir)(const char*, mode_t, aiori_mod_opt_t*);
  path_function* rmdir;
  int (*access)(const char*, int, aiori_mod_opt_t*);
  int (*stat)(const char*, struct stat*, aiori_mod_opt_t*);
  options_function *initialize, *finalize, *sync;
  int (*rename)(const char*, const char*, aiori_mod_opt_t*);
  option_help* (*get_options)(aiori_mod_opt_t**, aiori_mod_opt_t*);
  int (*check_params)(aiori_mod_opt_t*);
  bool enable_mdtest;
} ior_aiori_t;
