/* The whole C API from C, through the shared library, against the cluster of BENCHFS_REGISTRY_DIR.
   Prints what failed; exit code 0 when nothing did. */
#include <benchfs/benchfs.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int failures;

/* Evaluates both sides once. */
#define EXPECT(actual, wanted)                                    \
  do {                                                            \
    long long actual_ = (long long)(actual);                      \
    long long wanted_ = (long long)(wanted);                      \
    if (actual_ != wanted_) {                                     \
      ++failures;                                                 \
      fprintf(stderr,                                             \
              "line %d: %s is %lld, not %lld (last error: %s)\n", \
              __LINE__,                                           \
              #actual,                                            \
              actual_,                                            \
              wanted_,                                            \
              benchfs_get_error());                               \
    }                                                             \
  } while (0)
#define EXPECT_TRUE(claim) EXPECT(!!(claim), 1)

static void check_init(void) {
  errno = 0;
  EXPECT_TRUE(benchfs_init(NULL, NULL, "/data", 0, 0) == NULL);
  EXPECT(errno, EINVAL);
  EXPECT_TRUE(strstr(benchfs_get_error(), "data_dir") != NULL);
  EXPECT_TRUE(benchfs_init(NULL, NULL, NULL, 1, 0) == NULL);
  EXPECT(errno, EINVAL);
  EXPECT_TRUE(benchfs_init(NULL, NULL, NULL, 0, 12345) == NULL);
  EXPECT(errno, EINVAL);
  EXPECT_TRUE(benchfs_init(NULL, NULL, NULL, 0, (size_t)1 << 40) == NULL);
  EXPECT(errno, EINVAL);
  EXPECT_TRUE(benchfs_connect(NULL) == NULL);
  EXPECT(errno, EINVAL);

  benchfs_options_t options = {.struct_size = sizeof options,
                               .registry_dir = "/nonexistent/benchfs",
                               .connect_timeout_ms = 50};
  EXPECT_TRUE(benchfs_connect(&options) == NULL);
  EXPECT_TRUE(errno != 0);
  EXPECT_TRUE(strstr(benchfs_get_error(), "/nonexistent/benchfs") != NULL);
  options.struct_size = 0;
  EXPECT_TRUE(benchfs_connect(&options) == NULL);
  EXPECT(errno, EINVAL);

  /* A caller built against a later version: fine as long as what we do not know is not used. */
  struct {
    benchfs_options_t known;
    uint64_t later;
  } longer = {.known = {.struct_size = sizeof longer}, .later = 1};
  EXPECT_TRUE(benchfs_connect(&longer.known) == NULL);
  EXPECT(errno, EINVAL);
  longer.later = 0;
  benchfs_context_t* fs = benchfs_connect(&longer.known);
  EXPECT_TRUE(fs != NULL);
  EXPECT(benchfs_finalize(fs), 0);
}

static void check_null_handles(benchfs_context_t* fs) {
  char buffer[4];
  benchfs_stat_t stat;
  benchfs_statfs_t whole;
  EXPECT(benchfs_finalize(NULL), 0);
  EXPECT_TRUE(benchfs_open(NULL, "/a", O_RDONLY, 0) == NULL);
  EXPECT(errno, EBADF);
  EXPECT_TRUE(benchfs_open(fs, NULL, O_RDONLY, 0) == NULL);
  EXPECT(errno, EINVAL);
  EXPECT(benchfs_close(NULL), -EBADF);
  EXPECT(benchfs_pread(NULL, buffer, 4, 0), -EBADF);
  EXPECT(benchfs_pwrite(NULL, buffer, 4, 0), -EBADF);
  EXPECT(benchfs_read(NULL, buffer, 4), -EBADF);
  EXPECT(benchfs_write(NULL, buffer, 4), -EBADF);
  EXPECT(benchfs_lseek(NULL, 0, SEEK_SET), -EBADF);
  EXPECT(benchfs_fsync(NULL), -EBADF);
  EXPECT(benchfs_ftruncate(NULL, 0), -EBADF);
  EXPECT(benchfs_fstat(NULL, &stat), -EBADF);
  EXPECT(benchfs_stat(NULL, "/", &stat), -EBADF);
  EXPECT(benchfs_stat(fs, NULL, &stat), -EINVAL);
  EXPECT(benchfs_stat(fs, "/", NULL), -EINVAL);
  EXPECT(benchfs_lstat(fs, "/", NULL), -EINVAL);
  EXPECT(benchfs_get_file_size(NULL, "/"), -EBADF);
  EXPECT(benchfs_mkdir(NULL, "/a", 0755), -EBADF);
  EXPECT(benchfs_rename(fs, "/a", NULL), -EINVAL);
  EXPECT(benchfs_rename(fs, NULL, "/a"), -EINVAL);
  EXPECT(benchfs_symlink(fs, NULL, "/a"), -EINVAL);
  EXPECT(benchfs_readlink(fs, "/a", NULL, 4), -EINVAL);
  EXPECT(benchfs_readlink(fs, "/a", buffer, 0), -EINVAL);
  EXPECT(benchfs_readdir(fs, "/", NULL, NULL), -EINVAL);
  EXPECT(benchfs_statfs(fs, NULL), -EINVAL);
  EXPECT(benchfs_statfs(NULL, &whole), -EBADF);
}

static void check_data(benchfs_context_t* fs) {
  char buffer[64] = {0};
  benchfs_stat_t stat;
  benchfs_file_t* file = benchfs_create(fs, "/data", O_RDWR | O_EXCL, 0640);
  EXPECT_TRUE(file != NULL);
  EXPECT(benchfs_write(file, "hello world", 11), 11);
  EXPECT(benchfs_lseek(file, 0, SEEK_CUR), 11);
  EXPECT(benchfs_lseek(file, -5, SEEK_END), 6);
  EXPECT(benchfs_read(file, buffer, sizeof buffer), 5);
  EXPECT(strncmp(buffer, "world", 5), 0);
  EXPECT(benchfs_read(file, buffer, sizeof buffer), 0);
  EXPECT(benchfs_pwrite(file, "HELLO", 5, 0), 5);
  EXPECT(benchfs_lseek(file, 0, SEEK_CUR), 11);
  EXPECT(benchfs_pread(file, buffer, 5, 0), 5);
  EXPECT(strncmp(buffer, "HELLO", 5), 0);
  EXPECT(benchfs_pread(file, NULL, 0, 0), 0);
  EXPECT(benchfs_pread(file, NULL, 1, 0), -EINVAL);
  EXPECT(benchfs_pread(file, buffer, 1, -1), -EINVAL);
  EXPECT(benchfs_pwrite(file, buffer, 1, -1), -EINVAL);
  EXPECT(benchfs_pwrite(file, buffer, SIZE_MAX, 0), -EINVAL);
  EXPECT(benchfs_lseek(file, -1, SEEK_SET), -EINVAL);
  EXPECT(benchfs_lseek(file, 0, 99), -EINVAL);
  EXPECT(benchfs_fsync(file), 0);
  EXPECT(benchfs_ftruncate(file, 5), 0);
  EXPECT(benchfs_ftruncate(file, -1), -EINVAL);
  EXPECT(benchfs_fstat(file, &stat), 0);
  EXPECT(stat.st_size, 5);
  EXPECT(stat.st_mode, S_IFREG | 0640);
  EXPECT(stat.st_nlink, 1);
  EXPECT(stat.st_uid, geteuid());
  EXPECT(stat.st_gid, getegid());
  EXPECT_TRUE(stat.st_ino != 0);
  EXPECT_TRUE(stat.st_mtim.tv_sec > 1600000000);
  EXPECT(benchfs_close(file), 0);

  file = benchfs_open(fs, "/data", O_WRONLY | O_APPEND, 0);
  EXPECT(benchfs_write(file, "!", 1), 1);
  EXPECT(benchfs_lseek(file, 0, SEEK_CUR), 6);
  EXPECT(benchfs_read(file, buffer, 1), -EBADF);
  EXPECT(benchfs_close(file), 0);
  EXPECT(benchfs_get_file_size(fs, "/data"), 6);

  file = benchfs_open(fs, "/data", O_RDONLY, 0);
  EXPECT(benchfs_write(file, "x", 1), -EBADF);
  EXPECT(benchfs_ftruncate(file, 0), -EINVAL);
  EXPECT(benchfs_close(file), 0);

  /* Opening what exists with O_CREAT is fine, and O_TRUNC really empties it. */
  file = benchfs_open(fs, "/data", O_CREAT | O_RDWR, 0600);
  EXPECT_TRUE(file != NULL);
  EXPECT(benchfs_close(file), 0);
  EXPECT(benchfs_get_file_size(fs, "/data"), 6);
  file = benchfs_open(fs, "/data", O_RDWR | O_TRUNC | O_SYNC, 0);
  EXPECT(benchfs_pwrite(file, "z", 1, 3), 1);
  EXPECT(benchfs_pread(file, buffer, 10, 0), 4);
  EXPECT(memcmp(buffer, "\0\0\0z", 4), 0);
  EXPECT(benchfs_close(file), 0);
  EXPECT_TRUE(benchfs_create(fs, "/data", O_WRONLY | O_EXCL, 0600) == NULL);
  EXPECT(errno, EEXIST);
  EXPECT_TRUE(benchfs_open(fs, "/data", O_WRONLY | O_PATH, 0) == NULL);
  EXPECT(errno, EINVAL);
}

static int fill(void* arg, const char* name, uint32_t type, uint64_t ino) {
  (void)ino;
  strcat((char*)arg, S_ISDIR(type) ? "d:" : S_ISLNK(type) ? "l:" : "f:");
  strcat((char*)arg, name);
  strcat((char*)arg, " ");
  return 0;
}

static void check_names(benchfs_context_t* fs) {
  char text[256] = "";
  benchfs_stat_t stat;
  EXPECT(benchfs_mkdir(fs, "/dir", 0750), 0);
  EXPECT(benchfs_mkdir(fs, "/dir", 0750), -EEXIST);
  EXPECT(benchfs_stat(fs, "/dir", &stat), 0);
  EXPECT(stat.st_mode, S_IFDIR | 0750);
  EXPECT(stat.st_nlink, 1);
  EXPECT(benchfs_rename(fs, "/data", "/dir/file"), 0);
  EXPECT(benchfs_stat(fs, "/data", &stat), -ENOENT);
  EXPECT_TRUE(strlen(benchfs_get_error()) > 0);
  EXPECT(benchfs_symlink(fs, "file", "/dir/link"), 0);
  EXPECT(benchfs_readlink(fs, "/dir/link", text, sizeof text), 4);
  EXPECT(strncmp(text, "file", 4), 0);
  EXPECT(benchfs_lstat(fs, "/dir/link", &stat), 0);
  EXPECT_TRUE(S_ISLNK(stat.st_mode));
  EXPECT(benchfs_stat(fs, "/dir/link", &stat), 0);
  EXPECT_TRUE(S_ISREG(stat.st_mode));
  EXPECT_TRUE(benchfs_open(fs, "/dir/link", O_RDONLY | O_NOFOLLOW, 0) == NULL);
  EXPECT(errno, ELOOP);
  EXPECT_TRUE(benchfs_open(fs, "/dir/link", O_RDONLY | O_NOFOLLOW | O_DIRECTORY, 0) == NULL);
  EXPECT(errno, ENOTDIR);
  EXPECT_TRUE(benchfs_open(fs, "/dir/file", O_RDONLY | O_DIRECTORY, 0) == NULL);
  EXPECT(errno, ENOTDIR);
  EXPECT_TRUE(benchfs_open(fs, "/dir", O_WRONLY, 0) == NULL);
  EXPECT(errno, EISDIR);
  EXPECT(benchfs_mkdir(fs, "/dir/sub", 0755), 0);
  memset(text, 0, sizeof text);
  EXPECT(benchfs_readdir(fs, "/dir", fill, text), 3);
  EXPECT(strcmp(text, "f:file l:link d:sub "), 0);
  EXPECT(benchfs_readdir(fs, "/dir/file", fill, text), -ENOTDIR);
  EXPECT(benchfs_readdir(fs, "/none", fill, text), -ENOENT);
  EXPECT(benchfs_rmdir(fs, "/dir"), -ENOTEMPTY);
  EXPECT(benchfs_unlink(fs, "/dir/sub"), -EISDIR);
  EXPECT(benchfs_rmdir(fs, "/dir/file"), -ENOTDIR);
  EXPECT(benchfs_rmdir(fs, "/dir/sub"), 0);

  benchfs_file_t* directory = benchfs_open(fs, "/dir", O_RDONLY | O_DIRECTORY, 0);
  EXPECT_TRUE(directory != NULL);
  EXPECT(benchfs_fstat(directory, &stat), 0);
  EXPECT_TRUE(S_ISDIR(stat.st_mode));
  EXPECT(benchfs_read(directory, text, 1), -EISDIR);
  EXPECT(benchfs_close(directory), 0);
}

static void check_attributes(benchfs_context_t* fs) {
  benchfs_stat_t stat;
  EXPECT(benchfs_truncate(fs, "/dir/file", 1000), 0);
  EXPECT(benchfs_get_file_size(fs, "/dir/file"), 1000);
  EXPECT(benchfs_truncate(fs, "/dir/file", -1), -EINVAL);
  EXPECT(benchfs_truncate(fs, "/dir", 0), -EISDIR);
  EXPECT(benchfs_chmod(fs, "/dir/file", 0444), 0);
  EXPECT(benchfs_access(fs, "/dir/file", F_OK), 0);
  EXPECT(benchfs_access(fs, "/dir/file", R_OK), 0);
  EXPECT(benchfs_access(fs, "/dir/file", X_OK), -EACCES);
  EXPECT(benchfs_access(fs, "/none", F_OK), -ENOENT);
  EXPECT(benchfs_access(fs, "/dir/file", 0100), -EINVAL);
  struct timespec times[2] = {{1000, 1}, {2000, 999999999}};
  EXPECT(benchfs_utimens(fs, "/dir/file", times), 0);
  EXPECT(benchfs_stat(fs, "/dir/file", &stat), 0);
  EXPECT(stat.st_mode, S_IFREG | 0444);
  EXPECT(stat.st_atim.tv_sec, 1000);
  EXPECT(stat.st_atim.tv_nsec, 1);
  EXPECT(stat.st_mtim.tv_sec, 2000);
  EXPECT(stat.st_mtim.tv_nsec, 999999999);
  times[0].tv_nsec = UTIME_OMIT;
  times[1].tv_nsec = UTIME_NOW;
  EXPECT(benchfs_utimens(fs, "/dir/file", times), 0);
  EXPECT(benchfs_stat(fs, "/dir/file", &stat), 0);
  EXPECT(stat.st_atim.tv_sec, 1000);
  EXPECT_TRUE(stat.st_mtim.tv_sec > 1600000000);
  times[1].tv_nsec = -7;
  EXPECT(benchfs_utimens(fs, "/dir/file", times), -EINVAL);
  EXPECT(benchfs_utimens(fs, "/dir/file", NULL), 0);

  benchfs_statfs_t whole;
  EXPECT(benchfs_statfs(fs, &whole), 0);
  EXPECT_TRUE(whole.f_blocks >= whole.f_bfree && whole.f_bfree > 0);
  EXPECT_TRUE(whole.f_bsize > 0 && whole.f_files > 0 && whole.f_shards > 0);
  EXPECT(whole.f_namemax, 255);
}

static void check_chunk_size(void) {
  benchfs_context_t* fs = benchfs_init("conformance-chunks", NULL, NULL, 0, 128 << 10);
  benchfs_stat_t stat;
  EXPECT_TRUE(fs != NULL);
  benchfs_file_t* file = benchfs_create(fs, "/chunks", O_WRONLY, 0644);
  EXPECT(benchfs_fstat(file, &stat), 0);
  EXPECT(stat.st_blksize, 128 << 10);
  /* The open file is closed with the context. */
  EXPECT(benchfs_finalize(fs), 0);
}

/* A child of fork() gets errors, and harms neither itself nor its parent. */
static void check_fork(benchfs_context_t* fs) {
  benchfs_stat_t stat;
  benchfs_file_t* file = benchfs_open(fs, "/chunks", O_RDWR, 0);
  EXPECT_TRUE(file != NULL);
  pid_t child = fork();
  if (child == 0) {
    char byte;
    failures = 0;
    EXPECT(benchfs_stat(fs, "/", &stat), -ECANCELED);
    EXPECT(benchfs_read(file, &byte, 1), -ECANCELED);
    EXPECT_TRUE(benchfs_open(fs, "/chunks", O_RDONLY, 0) == NULL);
    EXPECT(errno, ECANCELED);
    EXPECT(benchfs_close(file), -ECANCELED);
    EXPECT(benchfs_finalize(fs), -ECANCELED);
    _exit(failures == 0 ? 0 : 1);
  }
  int status = -1;
  EXPECT(waitpid(child, &status, 0), child);
  EXPECT(status, 0);
  EXPECT(benchfs_pwrite(file, "parent", 6, 0), 6);
  EXPECT(benchfs_close(file), 0);
}

static void check_texts(void) {
  EXPECT(strcmp(benchfs_strerror(-ENOENT), "No such file or directory"), 0);
  EXPECT(strcmp(benchfs_strerror(ENOENT), "No such file or directory"), 0);
  EXPECT(strcmp(benchfs_strerror(0), "Success"), 0);
  EXPECT_TRUE(benchfs_strerror(123456) != NULL && benchfs_strerror(INT32_MIN) != NULL);
  EXPECT_TRUE(strchr(benchfs_version(), '.') != NULL);
}

int main(void) {
  check_texts();
  check_init();
  benchfs_context_t* fs = benchfs_init("conformance", NULL, NULL, 0, 0);
  if (fs == NULL) {
    fprintf(stderr, "benchfs_init: %s\n", benchfs_get_error());
    return 1;
  }
  check_null_handles(fs);
  check_data(fs);
  check_names(fs);
  check_attributes(fs);
  check_chunk_size();
  check_fork(fs);
  EXPECT(benchfs_unlink(fs, "/dir/link"), 0);
  EXPECT(benchfs_remove(fs, "/dir/file"), 0);
  EXPECT(benchfs_rmdir(fs, "/dir"), 0);
  EXPECT(benchfs_unlink(fs, "/chunks"), 0);
  EXPECT(benchfs_unlink(fs, "/chunks"), -ENOENT);
  EXPECT(benchfs_finalize(fs), 0);
  return failures == 0 ? 0 : 1;
}
