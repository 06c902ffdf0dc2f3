/* The whole C API from C, through the shared library, against the cluster of BENCHFS_REGISTRY_DIR.
   Prints what failed; exit code 0 when nothing did. */
#include <benchfs/benchfs.h>

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
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

/* What the last failed call left begins with `wanted`. */
static void expect_message(int line, const char* wanted) {
  if (strncmp(benchfs_get_error(), wanted, strlen(wanted)) != 0) {
    ++failures;
    fprintf(
        stderr, "line %d: \"%s\" does not begin with \"%s\"\n", line, benchfs_get_error(), wanted);
  }
}
/* A number that must be negative, a message. */
#define FAILS(call, message)           \
  do {                                 \
    EXPECT_TRUE((call) < 0);           \
    expect_message(__LINE__, message); \
  } while (0)
#define FAILS_NULL(call, message)      \
  do {                                 \
    EXPECT_TRUE((call) == NULL);       \
    expect_message(__LINE__, message); \
  } while (0)

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
  expect_message(__LINE__, "connect /nonexistent/benchfs: server list ");
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
  EXPECT(benchfs_readdirplus(fs, "/", NULL, NULL), -EINVAL);
  EXPECT(benchfs_statfs(fs, NULL), -EINVAL);
  EXPECT(benchfs_statfs(NULL, &whole), -EBADF);
  struct statvfs same;
  EXPECT(benchfs_statvfs(fs, NULL), -EINVAL);
  EXPECT(benchfs_statvfs(NULL, &same), -EBADF);
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

/* Vectors whose buffers are short, which go as one, and long, which go side by side. */
static void check_vectors(benchfs_context_t* fs, size_t length) {
  enum { COUNT = 5 };
  char* data = malloc(COUNT * length);
  char* back = malloc(COUNT * length);
  struct iovec out[COUNT + 1];
  struct iovec in[COUNT + 1];
  for (size_t i = 0; i < COUNT * length; ++i) {
    data[i] = (char)(i * 31 + i / 251);
  }
  for (int i = 0; i < COUNT; ++i) { /* the last of `out` is the first in the file */
    out[i] = (struct iovec){.iov_base = data + (COUNT - 1 - i) * length, .iov_len = length};
    in[i] = (struct iovec){.iov_base = back + i * length, .iov_len = length};
  }
  out[COUNT] = in[COUNT] = (struct iovec){.iov_base = NULL, .iov_len = 0};
  memset(back, 0, COUNT * length);

  benchfs_file_t* file = benchfs_create(fs, "/vectors", O_RDWR | O_TRUNC, 0600);
  EXPECT(benchfs_pwritev(file, out, COUNT + 1, 7), COUNT * length);
  EXPECT(benchfs_get_file_size(fs, "/vectors"), 7 + COUNT * length);
  EXPECT(benchfs_preadv(file, in, COUNT + 1, 7), COUNT * length);
  for (int i = 0; i < COUNT; ++i) {
    EXPECT(memcmp(in[i].iov_base, out[i].iov_base, length), 0);
  }
  /* Up to the end of the file, which is in the fourth buffer. */
  memset(back, 'x', COUNT * length);
  EXPECT(benchfs_ftruncate(file, 7 + 3 * length + 2), 0);
  EXPECT(benchfs_preadv(file, in, COUNT, 7), 3 * length + 2);
  EXPECT(memcmp(in[3].iov_base, out[3].iov_base, 2), 0);
  EXPECT(benchfs_preadv(file, in, COUNT, 7 + COUNT * length), 0);

  EXPECT(benchfs_preadv(file, in, 1, 7), length);
  EXPECT(benchfs_preadv(file, NULL, 0, 0), 0);
  EXPECT(benchfs_pwritev(file, NULL, 0, 0), 0);
  EXPECT(benchfs_preadv(file, NULL, 1, 0), -EINVAL);
  EXPECT(benchfs_preadv(file, in, -1, 0), -EINVAL);
  EXPECT(benchfs_preadv(file, in, IOV_MAX + 1, 0), -EINVAL);
  EXPECT(benchfs_preadv(file, in, COUNT, -1), -EINVAL);
  EXPECT(benchfs_pwritev(NULL, out, COUNT, 0), -EBADF);
  in[1].iov_base = NULL;
  EXPECT(benchfs_preadv(file, in, COUNT, 0), -EINVAL);
  in[1].iov_base = back;
  in[1].iov_len = SIZE_MAX;
  EXPECT(benchfs_preadv(file, in, COUNT, 0), -EINVAL);
  EXPECT(benchfs_close(file), 0);

  file = benchfs_open(fs, "/vectors", O_WRONLY | O_APPEND | O_TRUNC, 0);
  EXPECT(benchfs_pwrite(file, "begin", 5, 0), 5);
  EXPECT(benchfs_pwritev(file, out, COUNT, 0), COUNT * length);
  EXPECT(benchfs_get_file_size(fs, "/vectors"), 5 + COUNT * length);
  EXPECT(benchfs_preadv(file, out, COUNT, 0), -EBADF);
  EXPECT(benchfs_close(file), 0);
  free(data);
  free(back);
}

static void check_lists(benchfs_context_t* fs) {
  enum { COUNT = 100, LENGTH = 1000 };
  char* data = malloc((size_t)COUNT * LENGTH);
  char* back = calloc(COUNT, LENGTH);
  benchfs_extent_t list[COUNT];
  for (int i = 0; i < COUNT; ++i) { /* every other range, from behind; some in other chunks */
    memset(data + i * LENGTH, 'a' + i % 26, LENGTH);
    list[i] =
        (benchfs_extent_t){.offset = (int64_t)(COUNT - i) * 2 * LENGTH * (i % 3 == 0 ? 1000 : 1),
                           .data = data + i * LENGTH,
                           .size = LENGTH,
                           .result = -1};
  }
  benchfs_file_t* file = benchfs_create(fs, "/lists", O_RDWR | O_TRUNC, 0600);
  EXPECT(benchfs_write_list(file, list, COUNT), COUNT * LENGTH);
  for (int i = 0; i < COUNT; ++i) {
    EXPECT(list[i].result, LENGTH);
    EXPECT(benchfs_pread(file, back, LENGTH, list[i].offset), LENGTH);
    EXPECT(memcmp(back, data + i * LENGTH, LENGTH), 0);
    list[i].data = back + i * LENGTH;
    list[i].result = -1;
  }
  memset(back, 0, (size_t)COUNT * LENGTH);
  EXPECT(benchfs_read_list(file, list, COUNT), COUNT * LENGTH);
  EXPECT(memcmp(back, data, (size_t)COUNT * LENGTH), 0);
  EXPECT(list[COUNT - 1].result, LENGTH);

  /* One that ends with the file, one beyond it. */
  int64_t size = benchfs_get_file_size(fs, "/lists");
  list[0].offset = size - 10;
  list[1].offset = size;
  EXPECT(benchfs_read_list(file, list, 3), 10 + LENGTH);
  EXPECT(list[0].result, 10);
  EXPECT(list[1].result, 0);
  EXPECT(list[2].result, LENGTH);
  EXPECT(benchfs_read_list(file, NULL, 0), 0);
  EXPECT(benchfs_read_list(file, NULL, 1), -EINVAL);
  EXPECT(benchfs_read_list(NULL, list, 1), -EBADF);
  /* Each has its own result; what is wrong in the arguments lets nothing be done. */
  list[1].offset = INT64_MAX - LENGTH;
  EXPECT(benchfs_write_list(file, list, 3), -EFBIG);
  EXPECT(list[0].result, LENGTH);
  EXPECT(list[1].result, -EFBIG);
  EXPECT(list[2].result, LENGTH);
  list[1].offset = -1;
  list[0].result = 77;
  EXPECT(benchfs_write_list(file, list, 3), -EINVAL);
  EXPECT(list[0].result, 77);
  EXPECT(benchfs_close(file), 0);
  file = benchfs_open(fs, "/lists", O_RDWR | O_APPEND, 0);
  list[1].offset = 0;
  EXPECT(benchfs_write_list(file, list, 3), -EBADF);
  EXPECT(benchfs_close(file), 0);
  file = benchfs_open(fs, "/lists", O_RDONLY, 0);
  EXPECT(benchfs_write_list(file, list, 3), -EBADF);
  EXPECT(benchfs_close(file), 0);
  free(data);
  free(back);
}

static int fill(void* arg, const char* name, uint32_t type, uint64_t ino) {
  (void)ino;
  strcat((char*)arg, S_ISDIR(type) ? "d:" : S_ISLNK(type) ? "l:" : "f:");
  strcat((char*)arg, name);
  strcat((char*)arg, " ");
  return 0;
}

struct plus {
  benchfs_context_t* fs;
  char text[256];
  int with_attributes;
};

/* What comes along is what lstat says. */
static int fill_plus(
    void* arg, const char* name, uint32_t type, uint64_t ino, const benchfs_stat_t* stat) {
  struct plus* plus = arg;
  char path[64];
  benchfs_stat_t asked;
  if (stat != NULL) {
    ++plus->with_attributes;
    snprintf(path, sizeof path, "/plus/%s", name);
    EXPECT(benchfs_lstat(plus->fs, path, &asked), 0);
    EXPECT(memcmp(stat, &asked, sizeof asked), 0);
    EXPECT_TRUE((stat->st_mode & S_IFMT) == type);
  }
  return fill(plus->text, name, type, ino);
}

static void check_names(benchfs_context_t* fs) {
  char text[256] = "";
  benchfs_stat_t stat;
  EXPECT(benchfs_mkdir(fs, "/dir", 0750), 0);
  EXPECT(benchfs_mkdir(fs, "/dir", 0750), -EEXIST);
  EXPECT(benchfs_stat(fs, "/dir", &stat), 0);
  EXPECT(stat.st_mode, S_IFDIR | 0750);
  EXPECT(stat.st_nlink, 2);
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
  struct plus plus = {.fs = fs};
  EXPECT(benchfs_readdirplus(fs, "/none", fill_plus, &plus), -ENOENT);
  EXPECT(benchfs_mkdir(fs, "/plus", 0755), 0);
  EXPECT(benchfs_close(benchfs_open(fs, "/plus/file", O_WRONLY | O_CREAT, 0640)), 0);
  EXPECT(benchfs_symlink(fs, "file", "/plus/link"), 0);
  EXPECT(benchfs_readdirplus(fs, "/plus", fill_plus, &plus), 2);
  EXPECT(strcmp(plus.text, "f:file l:link "), 0);
  EXPECT(plus.with_attributes, 1);
  EXPECT(benchfs_unlink(fs, "/plus/link"), 0);
  EXPECT(benchfs_unlink(fs, "/plus/file"), 0);
  EXPECT(benchfs_rmdir(fs, "/plus"), 0);
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
  char by_path[4096] = "";
  char by_handle[4096] = "";
  EXPECT(benchfs_freaddir(directory, fill, by_handle), benchfs_readdir(fs, "/dir", fill, by_path));
  EXPECT(strcmp(by_handle, by_path), 0);
  EXPECT(benchfs_freaddir(directory, NULL, NULL), -EINVAL);
  EXPECT(benchfs_close(directory), 0);
}

static void check_at(benchfs_context_t* fs) {
  benchfs_stat_t stat;
  char buffer[8];
  EXPECT(benchfs_mkdir(fs, "/at", 0755), 0);
  benchfs_file_t* directory = benchfs_open(fs, "/at", O_RDONLY | O_DIRECTORY, 0);
  EXPECT_TRUE(directory != NULL);
  benchfs_file_t* file = benchfs_openat(directory, ".", O_TMPFILE | O_RDWR, 0600);
  EXPECT_TRUE(file != NULL);
  EXPECT(benchfs_write(file, "text", 4), 4);
  EXPECT(benchfs_linkat(file, "", directory, "f", AT_EMPTY_PATH), 0);
  EXPECT(benchfs_close(file), 0);
  EXPECT(benchfs_get_file_size(fs, "/at/f"), 4);
  FAILS(benchfs_fstatat(directory, "none", &stat, 0), "fstatat none: No such file or directory");
  FAILS(benchfs_fstatat(directory, "f", NULL, 0), "fstatat f: ");
  FAILS(benchfs_fstatat(directory, "f", &stat, -1), "fstatat f: ");
  EXPECT(benchfs_faccessat(directory, "f", R_OK | W_OK, 0), 0);
  EXPECT(benchfs_symlinkat("none", directory, "link"), 0);
  EXPECT(benchfs_faccessat(directory, "link", X_OK, AT_SYMLINK_NOFOLLOW), 0);
  EXPECT(benchfs_unlinkat(directory, "link", 0), 0);
  FAILS(benchfs_faccessat(directory, "f", X_OK, 0), "faccessat f: Permission denied");
  FAILS(benchfs_faccessat(directory, "none", F_OK, 0), "faccessat none: ");
  FAILS_NULL(benchfs_openat(directory, "none", O_RDONLY, 0), "openat none: ");
  FAILS_NULL(benchfs_openat(NULL, "f", O_RDONLY, 0), "openat f: ");
  FAILS(benchfs_mkdirat(directory, "f", 0755), "mkdirat f: File exists");
  FAILS(benchfs_unlinkat(directory, "f", AT_REMOVEDIR), "unlinkat f: Not a directory");
  FAILS(benchfs_renameat2(directory, "none", directory, "g", 0), "renameat2 none to g: ");
  FAILS(benchfs_linkat(directory, "none", directory, "g", 0), "linkat none to g: ");
  FAILS(benchfs_symlinkat(NULL, directory, "g"), "symlinkat g");
  FAILS(benchfs_readlinkat(directory, "f", buffer, sizeof buffer), "readlinkat f: ");
  FAILS(benchfs_fchmodat(directory, "none", 0600, 0), "fchmodat none: ");
  FAILS(benchfs_fchownat(directory, "none", 0, 0, 0), "fchownat none: ");
  FAILS(benchfs_utimensat(directory, "none", NULL, 0), "utimensat none: ");
  EXPECT(benchfs_unlinkat(directory, "f", 0), 0);
  EXPECT(benchfs_close(directory), 0);
  EXPECT(benchfs_rmdir(fs, "/at"), 0);
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

  /* The same of an open file, and of a symbolic link itself. */
  benchfs_file_t* file = benchfs_open(fs, "/dir/file", O_RDWR, 0);
  EXPECT(benchfs_fchmod(file, 0640), 0);
  EXPECT(benchfs_fchown(file, 12, (gid_t)-1), 0);
  EXPECT(benchfs_fchown(file, (uid_t)-1, 34), 0);
  times[0] = (struct timespec){5, 6};
  times[1] = (struct timespec){7, 8};
  EXPECT(benchfs_futimens(file, times), 0);
  EXPECT(benchfs_fstat(file, &stat), 0);
  EXPECT(stat.st_mode, S_IFREG | 0640);
  EXPECT(stat.st_uid, 12);
  EXPECT(stat.st_gid, 34);
  EXPECT(stat.st_mtim.tv_sec, 7);
  EXPECT(benchfs_chown(fs, "/dir/link", 0, 0), 0);
  EXPECT(benchfs_lchown(fs, "/dir/link", 56, 78), 0);
  EXPECT(benchfs_lutimens(fs, "/dir/link", times), 0);
  EXPECT(benchfs_lstat(fs, "/dir/link", &stat), 0);
  EXPECT(stat.st_uid, 56);
  EXPECT(stat.st_mtim.tv_nsec, 8);
  EXPECT(benchfs_fstat(file, &stat), 0);
  EXPECT(stat.st_uid, 0);
  EXPECT(benchfs_chown(fs, "/none", 0, 0), -ENOENT);

  /* Locks: of two owners, and of another context. */
  benchfs_lock_t lock = {.mode = BENCHFS_LOCK_EXCLUSIVE, .pid = 7, .start = 10, .length = 5};
  EXPECT(benchfs_lock(file, 1, 0, &lock, 0), 0);
  EXPECT(benchfs_lock(file, 1, 0, &lock, 0), 0);
  EXPECT(benchfs_lock(file, 2, 0, &lock, 0), -EAGAIN);
  EXPECT(benchfs_lock(file, 2, 0, &lock, 30), -EAGAIN);
  EXPECT(benchfs_lock(file, 2, BENCHFS_LOCK_FLOCK, &lock, 0), 0);
  benchfs_lock_t asked = {.mode = BENCHFS_LOCK_SHARED};
  EXPECT(benchfs_test_lock(file, 2, 0, &asked), 0);
  EXPECT(asked.mode, BENCHFS_LOCK_EXCLUSIVE);
  EXPECT(asked.start, 10);
  EXPECT(asked.length, 5);
  EXPECT(asked.pid, 7);
  EXPECT(benchfs_release_locks(file, 1, 0), 0);
  EXPECT(benchfs_test_lock(file, 2, 0, &asked), 0);
  EXPECT(asked.mode, BENCHFS_UNLOCK);
  EXPECT(benchfs_lock(file, 2, 0, &lock, -1), 0);
  EXPECT(benchfs_lock(file, 1, 0, &lock, 0), -EAGAIN);
  lock.mode = BENCHFS_UNLOCK;
  EXPECT(benchfs_lock(file, 2, 0, &lock, 0), 0);
  lock.mode = 3;
  EXPECT(benchfs_lock(file, 1, 0, &lock, 0), -EINVAL);
  lock.mode = BENCHFS_LOCK_SHARED;
  lock.start = -1;
  EXPECT(benchfs_lock(file, 1, 0, &lock, 0), -EINVAL);
  EXPECT(benchfs_lock(file, 1, 0, NULL, 0), -EINVAL);
  EXPECT(benchfs_lock(file, 1, 2, &asked, 0), -EINVAL);
  EXPECT(benchfs_lock(NULL, 1, 0, &asked, 0), -EBADF);

  /* By inode, also without a name; O_APPEND on and off. */
  EXPECT(benchfs_ftruncate(file, 0), 0);
  benchfs_file_t* other = benchfs_open_inode(fs, stat.st_ino, O_RDWR);
  EXPECT_TRUE(other != NULL);
  EXPECT(benchfs_set_append(other, 1), 0);
  EXPECT(benchfs_pwrite(file, "abc", 3, 0), 3);
  EXPECT(benchfs_pwrite(other, "de", 2, 0), 2);
  EXPECT(benchfs_set_append(other, 0), 0);
  EXPECT(benchfs_pwrite(other, "A", 1, 0), 1);
  char text[8] = "";
  EXPECT(benchfs_pread(file, text, 8, 0), 5);
  EXPECT(strcmp(text, "Abcde"), 0);
  EXPECT(benchfs_close(other), 0);
  EXPECT_TRUE(benchfs_open_inode(fs, stat.st_ino, O_RDWR | O_CREAT) == NULL && errno == EINVAL);
  EXPECT_TRUE(benchfs_open_inode(fs, stat.st_ino + 1000, O_RDONLY) == NULL);
  EXPECT(benchfs_close(file), 0);

  benchfs_statfs_t whole;
  EXPECT(benchfs_statfs(fs, &whole), 0);
  EXPECT_TRUE(whole.f_blocks >= whole.f_bfree && whole.f_bfree > 0);
  EXPECT_TRUE(whole.f_bsize > 0 && whole.f_files > 0 && whole.f_shards > 0);
  EXPECT(whole.f_namemax, 255);
  struct statvfs same;
  EXPECT(benchfs_statvfs(fs, &same), 0);
  EXPECT_TRUE(same.f_blocks == whole.f_blocks && same.f_bsize == whole.f_bsize);
  EXPECT_TRUE(same.f_ffree > 0 && same.f_favail > 0);
  EXPECT(same.f_files - same.f_ffree, whole.f_files);
  EXPECT(same.f_namemax, 255);
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
/* A context that knows where its program sees the root. */
static void check_mount_prefix(benchfs_context_t* fs) {
  benchfs_options_t options = {.struct_size = sizeof options, .mount_prefix = "/bfs/"};
  FAILS_NULL(benchfs_connect(&options), "connect");
  options.mount_prefix = "/bfs";
  benchfs_context_t* below = benchfs_connect(&options);
  EXPECT_TRUE(below != NULL);
  benchfs_stat_t stat;
  EXPECT(benchfs_symlink(fs, "/bfs/dir/file", "/in"), 0);
  EXPECT(benchfs_symlink(fs, "/dir/file", "/out"), 0);
  EXPECT(benchfs_symlink(fs, "dir/../../dir", "/up"), 0);
  EXPECT(benchfs_stat(below, "/in", &stat), 0);
  EXPECT(benchfs_stat(fs, "/in", &stat), -ENOENT);
  EXPECT(benchfs_stat(below, "/out", &stat), -EREMOTE);
  EXPECT(benchfs_stat(fs, "/out", &stat), 0);
  EXPECT(benchfs_lstat(below, "/out", &stat), 0);
  EXPECT(benchfs_stat(below, "/up/file", &stat), -EREMOTE);
  EXPECT(benchfs_stat(fs, "/up/file", &stat), 0);
  EXPECT(benchfs_stat(below, "/..", &stat), -EREMOTE);
  EXPECT(benchfs_stat(below, "/dir/..", &stat), 0);
  EXPECT_TRUE(benchfs_open(below, "/out", O_RDONLY, 0) == NULL && errno == EREMOTE);
  EXPECT(benchfs_mkdir(below, "/../d", 0755), -EREMOTE);
  EXPECT(benchfs_finalize(below), 0);
  EXPECT(benchfs_unlink(fs, "/in"), 0);
  EXPECT(benchfs_unlink(fs, "/out"), 0);
  EXPECT(benchfs_unlink(fs, "/up"), 0);
}

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

/* Every function says what it was doing with which path, and why it failed. */
static void check_messages(benchfs_context_t* fs) {
  char byte = 0;
  benchfs_stat_t stat;
  struct timespec now[2] = {{0, UTIME_NOW}, {0, UTIME_NOW}};
  FAILS_NULL(benchfs_open(fs, "/checkpoint", O_RDONLY, 0),
             "open /checkpoint: No such file or directory");
  FAILS_NULL(benchfs_open(fs, "", O_RDONLY, 0), "open \"\": No such file or directory");
  FAILS_NULL(benchfs_open(fs, NULL, O_RDONLY, 0), "open: the path is NULL: ");
  FAILS_NULL(benchfs_open(fs, "/f", O_PATH, 0), "open /f: open flags ");
  FAILS_NULL(benchfs_create(fs, "/none/f", O_WRONLY, 0644),
             "create /none/f: No such file or directory");
  FAILS(benchfs_stat(fs, "/none", &stat), "stat /none: No such file or directory");
  FAILS(benchfs_stat(NULL, "/none", &stat), "stat /none: the context is NULL: ");
  FAILS(benchfs_lstat(fs, "/none", &stat), "lstat /none: No such");
  FAILS(benchfs_get_file_size(fs, "/none"), "get_file_size /none: No such");
  FAILS(benchfs_access(fs, "/none", F_OK), "access /none: No such");
  FAILS(benchfs_access(fs, "/", 0100), "access /: the mode ");
  FAILS(benchfs_truncate(fs, "/none", 0), "truncate /none: No such");
  FAILS(benchfs_truncate(fs, "/none", -1), "truncate /none: the size is negative: ");
  FAILS(benchfs_chmod(fs, "/none", 0644), "chmod /none: No such");
  FAILS(benchfs_utimens(fs, "/none", now), "utimens /none: No such");
  FAILS(benchfs_mkdir(fs, "/none/d", 0755), "mkdir /none/d: No such");
  FAILS(benchfs_rmdir(fs, "/none"), "rmdir /none: No such");
  FAILS(benchfs_unlink(fs, "/none"), "unlink /none: No such");
  FAILS(benchfs_remove(fs, "/none"), "remove /none: No such");
  FAILS(benchfs_rename(fs, "/none", "/other"), "rename /none to /other: No such");
  FAILS(benchfs_symlink(fs, "text", "/none/l"), "symlink /none/l to text: No such");
  FAILS(benchfs_readlink(fs, "/none", &byte, 1), "readlink /none: No such");
  FAILS(benchfs_readdir(fs, "/none", fill, &byte), "readdir /none: No such");
  FAILS(benchfs_readdir(fs, "/chunks", fill, &byte), "readdir /chunks: Not a directory");
  FAILS(benchfs_statfs(fs, NULL), "statfs: ");
  FAILS_NULL(benchfs_connect(NULL), "connect: options: ");
  FAILS_NULL(benchfs_init(NULL, "/none", NULL, 1, 0), "init /none: data_dir ");

  /* The path of an open file is that of its opening. */
  benchfs_file_t* file = benchfs_open(fs, "/chunks", O_RDONLY, 0);
  EXPECT(benchfs_rename(fs, "/chunks", "/moved"), 0);
  FAILS(benchfs_pwrite(file, "x", 1, 0), "pwrite /chunks: Bad file descriptor");
  FAILS(benchfs_write(file, "x", 1), "write /chunks: Bad file descriptor");
  FAILS(benchfs_pread(file, NULL, 1, 0), "pread /chunks: the buffer is NULL: ");
  FAILS(benchfs_read(file, NULL, 1), "read /chunks: the buffer is NULL: ");
  FAILS(benchfs_lseek(file, -1, SEEK_SET), "lseek /chunks: the position would be negative: ");
  FAILS(benchfs_ftruncate(file, 0), "ftruncate /chunks: the file is not open for writing: ");
  FAILS(benchfs_fstat(file, NULL), "fstat /chunks: the output is NULL: ");
  FAILS(benchfs_fsync(NULL), "fsync: the file is NULL: ");
  FAILS(benchfs_close(NULL), "close: the file is NULL: ");
  EXPECT(benchfs_close(file), 0);
  EXPECT(benchfs_rename(fs, "/moved", "/chunks"), 0);
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
  check_vectors(fs, 100);
  check_vectors(fs, (size_t)300 << 10);
  check_lists(fs);
  check_names(fs);
  check_at(fs);
  check_attributes(fs);
  check_mount_prefix(fs);
  check_chunk_size();
  check_messages(fs);
  check_fork(fs);
  EXPECT(benchfs_unlink(fs, "/dir/link"), 0);
  EXPECT(benchfs_remove(fs, "/dir/file"), 0);
  EXPECT(benchfs_rmdir(fs, "/dir"), 0);
  EXPECT(benchfs_unlink(fs, "/chunks"), 0);
  EXPECT(benchfs_unlink(fs, "/chunks"), -ENOENT);
  EXPECT(benchfs_finalize(fs), 0);
  return failures == 0 ? 0 : 1;
}
