/* The back end as IOR, mdtest and IO500 call it, against the cluster of BENCHFS_REGISTRY_DIR. Each
   check names the habit of these programs that it stands for. Exit code 0 when nothing failed. */
#include <benchfs/benchfs.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "aiori.h"

extern ior_aiori_t benchfs_aiori;
int test_warnings;

static int failures;
static ior_aiori_t* const api = &benchfs_aiori;
static aiori_mod_opt_t* options;

#define EXPECT(actual, wanted)                                                                 \
  do {                                                                                         \
    long long actual_ = (long long)(actual);                                                   \
    long long wanted_ = (long long)(wanted);                                                   \
    if (actual_ != wanted_) {                                                                  \
      ++failures;                                                                              \
      fprintf(stderr, "line %d: %s is %lld, not %lld\n", __LINE__, #actual, actual_, wanted_); \
    }                                                                                          \
  } while (0)

static void* variable_of(option_help* table, const char* name) {
  for (; table->longVar != NULL; ++table) {
    if (strcmp(table->longVar, name) == 0) {
      return table->variable;
    }
  }
  fprintf(stderr, "no option %s\n", name);
  exit(1);
}

static aiori_fd_t* create(const char* path) {
  return api->create((char*)path, IOR_WRONLY | IOR_CREAT | IOR_TRUNC, options);
}

static long long transfer(int access, aiori_fd_t* file, void* data, long long size, long long at) {
  return api->xfer(access, file, data, size, at, options);
}

/* Options and their tables stay for the whole run, as in IOR, which never frees them. */
const char* __asan_default_options(void);
const char* __asan_default_options(void) {
  return "detect_leaks=0";
}

/* --- Options and contexts --------------------------------------------------------------------- */

/* IOR asks every back end at each parse, selected or not, and again with the values of the parse.
 */
static void check_options(void) {
  option_help* table = api->get_options(&options, NULL);
  EXPECT(*(uint64_t*)variable_of(table, "benchfs.chunk"), 0);
  *(uint64_t*)variable_of(table, "benchfs.chunk") = 65536;
  aiori_mod_opt_t* copy = NULL;
  option_help* again = api->get_options(&copy, options);
  EXPECT(*(uint64_t*)variable_of(again, "benchfs.chunk"), 65536);
  EXPECT(variable_of(again, "benchfs.chunk") == variable_of(table, "benchfs.chunk"), 0);
  *(uint64_t*)variable_of(table, "benchfs.chunk") = 0;
  EXPECT(*(uint64_t*)variable_of(again, "benchfs.chunk"), 65536);
  EXPECT(api->check_params(options), 0);
  for (option_help* entry = table; entry->longVar != NULL; ++entry) {
    EXPECT(strncmp(entry->longVar, "benchfs.", 8), 0);
    EXPECT(entry->arg, OPTION_OPTIONAL_ARGUMENT);
  }
}

/* Whether check_params() ends the program. */
static int refuses(const char* name, uint64_t number, const char* text) {
  pid_t child = fork();
  if (child == 0) {
    option_help* table = api->get_options(&options, NULL);
    void* variable = variable_of(table, name);
    if (text != NULL) {
      memcpy(variable, &text, sizeof text);
    } else {
      memcpy(variable, &number, strcmp(name, "benchfs.timeout") == 0 ? sizeof(int) : sizeof number);
    }
    (void)api->check_params(options);
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 99;
}

static void check_refused_options(void) {
  EXPECT(refuses("benchfs.chunk", 47008, NULL), 1);
  EXPECT(refuses("benchfs.chunk", (uint64_t)1 << 32, NULL), 1);
  EXPECT(refuses("benchfs.chunk", 65536, NULL), 0);
  EXPECT(refuses("benchfs.timeout", (uint64_t)(uint32_t)-1, NULL), 1);
  EXPECT(refuses("benchfs.prefix", 0, "mnt"), 1);
}

/* IO500 holds one pair for the whole run around those of its phases, some with other options. */
static void check_nested_contexts(void) {
  api->initialize(options);
  aiori_fd_t* file = create("/nested");
  EXPECT(file != NULL, 1);
  api->finalize(options);
  EXPECT(transfer(WRITE, file, "still open", 10, 0), 10);
  api->close(file, options);

  aiori_mod_opt_t* other = NULL;
  option_help* table = api->get_options(&other, options);
  *(uint64_t*)variable_of(table, "benchfs.chunk") = 65536;
  api->initialize(other);
  file = api->create("/nested-64K", IOR_WRONLY | IOR_CREAT, other);
  EXPECT(file != NULL, 1);
  api->close(file, other);
  struct stat status;
  EXPECT(api->stat("/nested-64K", &status, other), 0);
  EXPECT(status.st_blksize, 65536);
  api->finalize(other);
  EXPECT(api->stat("/nested", &status, options), 0);
  EXPECT(status.st_blksize, 1 << 20);
  EXPECT(status.st_size, 10);
}

/* --- Files ------------------------------------------------------------------------------------ */

static void check_shared_file(void) {
  /* Every rank creates the shared file with TRUNC and writes at once, without a barrier. */
  aiori_fd_t* one = create("/shared");
  EXPECT(transfer(WRITE, one, "one-", 4, 0), 4);
  aiori_fd_t* other = create("/shared");
  EXPECT(api->get_file_size(options, "/shared"), 4);
  EXPECT(transfer(WRITE, other, "two-", 4, 4), 4);
  char got[9] = "";
  EXPECT(transfer(READ, one, got, 8, 0), 8); /* mdtest --verify-write reads what it created */
  EXPECT(strcmp(got, "one-two-"), 0);
  api->fsync(one, options);
  api->close(one, options);
  api->close(other, options);
}

static void check_opening(void) {
  /* mdtest opens for reading with O_RDONLY, which is 0. */
  aiori_fd_t* file = api->open("/shared", O_RDONLY, options);
  EXPECT(file != NULL, 1);
  char got[16];
  EXPECT(transfer(READ, file, got, 16, 0), 8); /* short at the end of the file */
  EXPECT(transfer(READ, file, got, 16, 8), 0);
  test_warnings = 0;
  EXPECT(transfer(WRITE, file, got, 4, 0), -1);
  EXPECT(errno, EBADF);
  EXPECT(test_warnings, 1);
  api->close(file, options);

  EXPECT(api->open("/missing", IOR_RDONLY, options) == NULL, 1);
  EXPECT(errno, ENOENT);
  file = api->open("/collective", IOR_WRONLY | IOR_CREAT, options); /* mdtest -c */
  EXPECT(file != NULL, 1);
  api->close(file, options);
  EXPECT(api->create("/collective", IOR_CREAT | IOR_EXCL, options) == NULL, 1);
  EXPECT(errno, EEXIST);

  EXPECT(api->mknod("/node"), 0);
  EXPECT(api->mknod("/node"), -1);
  EXPECT(api->get_file_size(options, "/node"), 0);
}

/* ior-hard: never aligned, across chunks. */
static void check_large_transfers(void) {
  enum { kBytes = 3 * (1 << 20) + 47008 };
  char* data = malloc(kBytes);
  char* got = malloc(kBytes);
  for (size_t i = 0; i < kBytes; ++i) {
    data[i] = (char)(i * 7 + i / 4096);
  }
  aiori_fd_t* file = create("/large");
  EXPECT(transfer(WRITE, file, data, kBytes, 47008), kBytes);
  EXPECT(transfer(READ, file, got, kBytes, 47008), kBytes);
  EXPECT(memcmp(data, got, kBytes), 0);
  EXPECT(api->get_file_size(options, "/large"), 47008 + kBytes);
  api->close(file, options);
  free(data);
  free(got);
}

/* --- Names ------------------------------------------------------------------------------------ */

static void check_names(void) {
  struct stat status;
  EXPECT(api->stat("/", &status, options), 0);
  EXPECT(S_ISDIR(status.st_mode), 1);
  EXPECT(api->mkdir("/directory//", 0755, options), 0); /* mdtest adds slashes */
  EXPECT(api->mkdir("/directory", 0755, options), -1);
  EXPECT(errno, EEXIST);
  EXPECT(api->access("/directory/", F_OK, options), 0);
  EXPECT(api->access("/directory/missing", F_OK, options), -1);
  EXPECT(errno, ENOENT);
  EXPECT(api->rename("/directory", "/renamed", options), 0);
  EXPECT(api->stat("/renamed//", &status, options), 0);
  EXPECT(S_ISDIR(status.st_mode), 1);
  aiori_fd_t* file = create("//renamed//file");
  api->close(file, options);
  EXPECT(api->rmdir("/renamed", options), -1);
  EXPECT(errno, ENOTEMPTY);
  test_warnings = 0;
  api->remove("/renamed/file", options);
  EXPECT(test_warnings, 0);
  api->remove("/renamed/file", options);
  EXPECT(test_warnings, 1);
  EXPECT(api->rmdir("/renamed/", options), 0);

  ior_aiori_statfs_t space;
  EXPECT(api->statfs("/not/there", &space, options), 0); /* non-zero aborts mdtest */
  EXPECT(space.f_blocks > 0, 1);
  EXPECT(api->get_version() != NULL, 1);
  EXPECT(api->enable_mdtest, 1);
}

/* IO500 asks for every directory on the way to its own. */
static void check_prefix(void) {
  aiori_mod_opt_t* prefixed = NULL;
  option_help* table = api->get_options(&prefixed, options);
  *(char**)variable_of(table, "benchfs.prefix") = "/mnt/benchfs/";
  api->initialize(prefixed);
  struct stat status;
  const char* directories[] = {"/", "/mnt", "/mnt/", "//mnt//benchfs", "/mnt/benchfs/"};
  for (size_t i = 0; i < sizeof directories / sizeof *directories; ++i) {
    EXPECT(api->stat(directories[i], &status, prefixed), 0);
    EXPECT(S_ISDIR(status.st_mode), 1);
  }
  EXPECT(api->stat("/mnt/benchfs/shared", &status, prefixed), 0);
  EXPECT(status.st_size, 8);
  const char* elsewhere[] = {
      "/shared", "/mnt/shared", "/mnt/benchfsshared", "/mntb/benchfs/shared"};
  for (size_t i = 0; i < sizeof elsewhere / sizeof *elsewhere; ++i) {
    errno = 0;
    EXPECT(api->stat(elsewhere[i], &status, prefixed), -1);
    EXPECT(errno, ENOENT);
  }
  api->finalize(prefixed);
}

/* --- Hints ------------------------------------------------------------------------------------ */

static void check_hints(void) {
  aiori_xfer_hint_t hints = {0};
  api->xfer_hints(&hints);
  hints.dryRun = 1; /* after the call: mdtest changes what it handed over */
  aiori_fd_t* file = create("/never");
  EXPECT(transfer(WRITE, file, "nothing", 7, 0), 7);
  api->fsync(file, options);
  api->close(file, options);
  EXPECT(api->mkdir("/never", 0755, options), 0);
  hints.dryRun = 0;
  EXPECT(api->access("/never", F_OK, options), -1);

  hints.fsyncPerWrite = 1;
  file = create("/synced");
  EXPECT(transfer(WRITE, file, "data", 4, 0), 4);
  api->close(file, options);
  api->xfer_hints(NULL);
}

/* mdtest -Y: files that were removed since have nothing to sync. */
static void check_sync(void) {
  char path[32];
  for (int i = 0; i < 2000; ++i) { /* more than the list begins with */
    snprintf(path, sizeof path, "/sync.%d", i);
    aiori_fd_t* file = create(path);
    EXPECT(transfer(WRITE, file, path, 4, 0), 4);
    api->close(file, options);
    if (i % 2 == 0) {
      api->remove(path, options);
    }
  }
  api->sync(options);
  api->sync(options);
}

int main(void) {
  check_options();
  check_refused_options();
  api->initialize(options);
  check_nested_contexts();
  check_shared_file();
  check_opening();
  check_large_transfers();
  check_names();
  check_prefix();
  check_hints();
  check_sync();
  api->finalize(options);
  printf("%d failures\n", failures);
  return failures == 0 ? 0 : 1;
}
