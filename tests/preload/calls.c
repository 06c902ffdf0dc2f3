/* Every call of libc that the preload library takes, in one directory: prints what each returns.
 * The test runs it on a local directory and below the prefix and compares the output.
 *
 *     calls DIRECTORY
 */
#define _GNU_SOURCE
#include <aio.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <ftw.h>
#include <glob.h>
#include <limits.h>
#include <locale.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <utime.h>
#include <wchar.h>
#include <wordexp.h>

extern char** environ;
static const char* top;

/* In the place of libc's functions, as tools bring them that watch a program. */
int munmap(void* address, size_t size) {
  return (int)syscall(SYS_munmap, address, size);
}
ssize_t readv(int fd, const struct iovec* parts, int count) {
  return syscall(SYS_readv, fd, parts, count);
}
void* mmap(void* address, size_t size, int protection, int flags, int fd, off_t offset) {
  return (void*)syscall(SYS_mmap, address, size, protection, flags, fd, offset);
}

static void say(const char* what, long result) {
  int error = errno;
  if (result < 0) {
    printf("%s: %s\n", what, strerrorname_np(error));
  } else {
    printf("%s: %ld\n", what, result);
  }
}
/* The call and its result, or the name of its errno. */
#define SAY(call) say(#call, (long)(call))
/* The same when the number means nothing. */
#define WORKS(call) say(#call, (long)(call) < 0 ? -1 : 0)
#define TRUE(claim) printf("%s: %s\n", #claim, (claim) ? "yes" : "no")

static const char* in(const char* name) {
  static char paths[8][PATH_MAX];
  static int next;
  char* path = paths[next++ % 8];
  snprintf(path, PATH_MAX, "%s/%s", top, name);
  return path;
}

static void make(const char* name, const char* text) {
  int fd = open(in(name), O_CREAT | O_TRUNC | O_WRONLY, 0644);
  if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text)) {
    printf("cannot make %s: %s\n", name, strerrorname_np(errno));
  }
  close(fd);
}

static void show(const char* name) {
  char text[256] = "";
  int fd = open(in(name), O_RDONLY);
  ssize_t bytes = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
  printf("%s holds %zd \"%s\"\n", name, bytes, bytes > 0 ? text : "");
  close(fd);
}

static void wait_for(pid_t child);

static void opening(void) {
  struct stat info;
  int fd = -1;
  SAY(open(in("none"), O_RDONLY));
  SAY(open(in("none/below"), O_RDONLY | O_CREAT, 0644));
  WORKS(fd = open(in("f"), O_CREAT | O_EXCL | O_RDWR, 0666));
  SAY(open(in("f"), O_CREAT | O_EXCL | O_RDWR, 0666));
  SAY(write(fd, "hello", 5));
  SAY(lseek(fd, 1, SEEK_SET));
  char byte = 0;
  SAY(read(fd, &byte, 1));
  printf("read %c\n", byte);
  SAY(fcntl(fd, F_GETFL) & (O_ACCMODE | O_APPEND));
  SAY(fcntl(fd, F_GETFD));
  SAY(fcntl(fd, F_SETFL, O_APPEND));
  SAY(write(fd, "!", 1));
  SAY(lseek(fd, 0, SEEK_CUR));
  SAY(fcntl(fd, F_SETFL, 0));
  int reader = open(in("f"), O_RDONLY);
  SAY(fstat(reader, &info));
  TRUE(info.st_blksize <= 128 << 10); /* so large a buffer do programs take */
  close(reader);
  SAY(close(fd));
  SAY(close(fd));
  SAY(read(fd, &byte, 1));
  show("f");
  WORKS(fd = open(in("f"), O_WRONLY | O_APPEND | O_CLOEXEC));
  SAY(fcntl(fd, F_GETFD));
  SAY(read(fd, &byte, 1));
  SAY(write(fd, "+", 1));
  close(fd);
  WORKS(fd = openat(AT_FDCWD, in("f"), O_RDONLY));
  SAY(write(fd, "x", 1));
  close(fd);
  SAY(open(in("f"), O_RDONLY | O_DIRECTORY));
  SAY(open(in("f/"), O_RDONLY));
  SAY(open(top, O_WRONLY));
  WORKS(fd = open(top, O_RDONLY | O_DIRECTORY));
  int below = -1;
  WORKS(below = openat(fd, "f", O_RDONLY));
  SAY(fstat(below, &info));
  printf("mode %o size %ld links %ld\n", info.st_mode, (long)info.st_size, (long)info.st_nlink);
  close(below);
  SAY(openat(fd, "none", O_RDONLY));
  SAY(read(fd, &byte, 1));
  WORKS(below = openat(fd, "g", O_CREAT | O_WRONLY, 0600));
  SAY(openat(below, "x", O_RDONLY));
  close(below);
  close(fd);
  WORKS(fd = creat(in("g"), 0640));
  close(fd);
  umask(077);
  WORKS(fd = open(in("private"), O_CREAT | O_WRONLY, 0666));
  umask(022);
  SAY(fstat(fd, &info));
  printf("mode %o\n", info.st_mode);
  close(fd);
  WORKS(fd = open(in("f"), O_PATH));
  SAY(read(fd, &byte, 1));
  SAY(fstat(fd, &info));
  TRUE(S_ISREG(info.st_mode));
  close(fd);
}

static void data(void) {
  char text[64] = "";
  int fd = open(in("data"), O_CREAT | O_TRUNC | O_RDWR, 0644);
  struct iovec out[3] = {{"abc", 3}, {"", 0}, {"defg", 4}};
  SAY(writev(fd, out, 3));
  SAY(pwritev(fd, out, 3, 10));
  SAY(pwritev2(fd, out, 1, -1, 0));
  SAY(lseek(fd, 0, SEEK_CUR));
  SAY(lseek(fd, 0, SEEK_END));
  char a[4] = "";
  char b[16] = "";
  struct iovec into[2] = {{a, 3}, {b, 15}};
  SAY(preadv(fd, into, 2, 0));
  printf("%s %.3s\n", a, b);
  SAY(preadv2(fd, into, 2, 12, 0));
  SAY(pread(fd, text, 4, 100));
  SAY(pread(fd, text, 4, -1));
  SAY(pwrite(fd, "zz", 2, 20));
  SAY(lseek(fd, -100, SEEK_CUR));
  SAY(lseek(fd, 0, 77));
  SAY(lseek(fd, 0, SEEK_DATA));
  SAY(lseek(fd, 1000, SEEK_DATA));
  SAY(lseek(fd, 1, SEEK_HOLE));
  SAY(lseek(fd, 1000, SEEK_HOLE));
  SAY(ftruncate(fd, 5));
  SAY(lseek(fd, 0, SEEK_END));
  SAY(ftruncate(fd, -1));
  SAY(truncate(in("data"), 8));
  SAY(truncate(in("none"), 8));
  SAY(fsync(fd));
  SAY(fdatasync(fd));
  SAY(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 1, 2));
  show("data");
  SAY(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 100));
  SAY(fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, 100));
  SAY(fallocate(fd, 0, 0, 0));
  SAY(fallocate(fd, 0, 4, 6));
  SAY(fallocate(fd, 0, 0, 2));
  SAY(lseek(fd, 0, SEEK_END));
  SAY(posix_fallocate(fd, 0, 100));
  SAY(lseek(fd, 0, SEEK_END));
  SAY(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
  SAY(isatty(fd));
  int copy = open(in("copy"), O_CREAT | O_TRUNC | O_RDWR, 0644);
  off_t offset = 0;
  SAY(sendfile(copy, fd, &offset, 50));
  SAY(offset);
  loff_t from = 0;
  SAY(copy_file_range(fd, &from, copy, NULL, 1000, 0));
  SAY(lseek(copy, 0, SEEK_END));
  SAY(from);
  from = 100;
  SAY(copy_file_range(fd, &from, copy, NULL, 10, 0));
  from = 2;
  loff_t to = 60;
  SAY(copy_file_range(copy, &from, copy, &to, 10, 0));
  SAY(from);
  SAY(to);
  SAY(copy_file_range(copy, &from, copy, &from, 10, 0));
  SAY(copy_file_range(copy, &from, copy, &to, 10, 1));
  SAY(lseek(copy, 0, SEEK_END));
  int pipe_ends[2];
  SAY(pipe(pipe_ends));
  from = 0;
  SAY(copy_file_range(copy, &from, pipe_ends[1], NULL, 10, 0));
  SAY(copy_file_range(pipe_ends[0], NULL, copy, NULL, 10, 0));
  close(pipe_ends[0]);
  close(pipe_ends[1]);
  close(copy);
  SAY(ftruncate(fd, 0));
  lseek(fd, 0, SEEK_SET);
  SAY(fcntl(fd, F_SETFL, O_APPEND));
  SAY(writev(fd, out, 3));
  close(fd);
  show("data");
}

static void names(void) {
  struct stat info;
  char text[PATH_MAX] = "";
  SAY(mkdir(in("d"), 0755));
  SAY(mkdir(in("d"), 0755));
  SAY(mkdir(in("none/d"), 0755));
  make("d/one", "1");
  int fd = open(in("d"), O_RDONLY | O_DIRECTORY);
  SAY(mkdirat(fd, "sub", 0700));
  SAY(rmdir(in("d")));
  SAY(unlink(in("d")));
  SAY(symlinkat("one", fd, "link"));
  SAY(symlink("nowhere", in("d/broken")));
  SAY(readlink(in("d/link"), text, sizeof text));
  SAY(readlinkat(fd, "one", text, sizeof text));
  printf("%.3s\n", text);
  SAY(lstat(in("d/link"), &info));
  TRUE(S_ISLNK(info.st_mode));
  printf("size %ld\n", (long)info.st_size);
  SAY(stat(in("d/broken"), &info));
  SAY(open(in("d/link"), O_RDONLY | O_NOFOLLOW));
  SAY(rename(in("d/one"), in("d/two")));
  SAY(rename(in("d/one"), in("d/three")));
  SAY(renameat(fd, "two", fd, "one"));
  SAY(rename(in("d/one"), ""));
  SAY(rename("", in("d/one")));
  SAY(link(in("d/one"), ""));
  SAY(link("", in("d/three")));
  make("d/other", "2");
  SAY(renameat2(fd, "one", fd, "other", RENAME_NOREPLACE));
  SAY(renameat2(fd, "other", fd, "one", RENAME_EXCHANGE));
  show("d/one");
  show("d/other");
  SAY(renameat2(fd, "other", fd, "sub", RENAME_EXCHANGE));
  SAY(renameat2(fd, "other", fd, "sub", RENAME_EXCHANGE));
  SAY(renameat2(fd, "other", fd, "none", RENAME_EXCHANGE));
  SAY(renameat2(fd, "other", fd, "one", RENAME_EXCHANGE | RENAME_NOREPLACE));
  SAY(renameat2(fd, "one", fd, "other", 0));
  SAY(renameat2(fd, "other", fd, "one", 0));
  SAY(access(in("d/one"), R_OK | W_OK));
  SAY(access(in("d/none"), F_OK));
  SAY(faccessat(fd, "one", F_OK, 0));
  SAY(unlinkat(fd, "link", 0));
  SAY(unlinkat(fd, "sub", 0));
  SAY(unlinkat(fd, "sub", AT_REMOVEDIR));
  SAY(remove(in("d/broken")));
  SAY(mkdir(in("d/sub"), 0755));
  SAY(remove(in("d/sub")));
  SAY(unlink(in("d/none")));
  close(fd);
  show("d/one");
  make("linked", "linked");
  SAY(link(in("linked"), in("link-two")));
  SAY(link(in("linked"), in("link-two")));
  SAY(linkat(AT_FDCWD, in("link-two"), AT_FDCWD, in("link-three"), 0));
  stat(in("linked"), &info);
  printf("links %ld\n", (long)info.st_nlink);
  SAY(unlink(in("linked")));
  show("link-three");
  SAY(mknod(in("node"), S_IFREG | 0644, 0));
  SAY(mknod(in("node"), S_IFREG | 0644, 0));
}

/* A file without a name: while it is open, and by a link. */
static void unnamed(void) {
  char text[32] = "";
  char proc[64];
  struct stat info;
  int fd = -1;
  make("file", "x");
  SAY(open(in("none"), O_TMPFILE | O_RDWR, 0600));
  SAY(open(in("file"), O_TMPFILE | O_RDWR, 0600));
  SAY(open(top, O_TMPFILE | O_RDONLY, 0600));
  WORKS(fd = open(top, O_TMPFILE | O_RDWR, 0642));
  TRUE((fcntl(fd, F_GETFL) & O_TMPFILE) == O_TMPFILE);
  SAY(write(fd, "unnamed", 7));
  SAY(pread(fd, text, sizeof text, 0));
  SAY(fstat(fd, &info));
  printf("%s mode %o links %ld\n", text, info.st_mode, (long)info.st_nlink);
  snprintf(proc, sizeof proc, "/proc/self/fd/%d", fd);
  TRUE(readlink(proc, text, sizeof text) > 0);
  SAY(linkat(AT_FDCWD, proc, AT_FDCWD, in("file"), AT_SYMLINK_FOLLOW));
  SAY(linkat(AT_FDCWD, proc, AT_FDCWD, in("none/f"), AT_SYMLINK_FOLLOW));
  SAY(linkat(AT_FDCWD, proc, AT_FDCWD, in("named"), AT_SYMLINK_FOLLOW));
  show("named");
  SAY(linkat(fd, "", AT_FDCWD, in("again"), AT_EMPTY_PATH));
  SAY(fstat(fd, &info));
  printf("links %ld\n", (long)info.st_nlink);
  SAY(unlink(in("named")));
  SAY(unlink(in("again")));
  SAY(linkat(fd, "", AT_FDCWD, in("again"), AT_EMPTY_PATH));
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) { /* which makes a handle of its own of a file without a name */
    _exit(pread(fd, text, 7, 0) == 7 && memcmp(text, "unnamed", 7) == 0 ? 0 : 1);
  }
  wait_for(child);
  close(fd);
  WORKS(fd = open(top, O_TMPFILE | O_EXCL | O_WRONLY, 0600));
  SAY(linkat(fd, "", AT_FDCWD, in("exclusive"), AT_EMPTY_PATH));
  close(fd);
  FILE* stream = tmpfile();
  TRUE(stream != NULL);
  fclose(stream);
}

/* A descriptor by its name in /proc and /dev: an open file of its own. */
static void by_descriptor(void) {
  char text[32] = "";
  char paths[3][64];
  struct stat info;
  make("through", "text");
  int fd = open(in("through"), O_RDWR);
  SAY(read(fd, text, 2));
  snprintf(paths[0], sizeof paths[0], "/proc/self/fd/%d", fd);
  snprintf(paths[1], sizeof paths[1], "/dev/fd/%d", fd);
  snprintf(paths[2], sizeof paths[2], "/proc/%d/fd/%d", (int)getpid(), fd);
  for (int i = 0; i < 3; ++i) {
    int again = -1;
    WORKS(again = open(paths[i], O_RDWR));
    memset(text, 0, sizeof text);
    SAY(read(again, text, sizeof text));
    printf("%s\n", text);
    close(again);
    FILE* stream = fopen(paths[i], "r");
    TRUE(stream != NULL && fgets(text, sizeof text, stream) != NULL);
    printf("%s\n", text);
    if (stream != NULL) {
      fclose(stream);
    }
    SAY(stat(paths[i], &info));
    printf("size %ld\n", (long)info.st_size);
    SAY(access(paths[i], R_OK));
    SAY(chmod(paths[i], 0600 + i));
    SAY(open(paths[i], O_RDWR | O_CREAT | O_EXCL, 0600));
    SAY(open(paths[i], O_RDONLY | O_DIRECTORY));
  }
  SAY(open(paths[0], O_RDONLY | O_NOFOLLOW));
  SAY(lseek(fd, 0, SEEK_CUR));
  SAY(unlink(in("through")));
  int again = -1;
  WORKS(again = open(paths[0], O_WRONLY | O_TRUNC));
  SAY(write(again, "new", 3));
  close(again);
  SAY(stat(paths[0], &info));
  printf("size %ld links %ld\n", (long)info.st_size, (long)info.st_nlink);
  close(fd);
  SAY(open(paths[0], O_RDONLY));
  fd = open(top, O_RDONLY | O_DIRECTORY);
  snprintf(paths[0], sizeof paths[0], "/proc/self/fd/%d", fd);
  int before = open(".", O_RDONLY | O_DIRECTORY);
  SAY(chdir(paths[0]));
  SAY(stat("input", &info));
  SAY(fchdir(before));
  close(before);
  DIR* stream = opendir(paths[0]);
  TRUE(stream != NULL && readdir(stream) != NULL);
  if (stream != NULL) {
    closedir(stream);
  }
  close(fd);
  /* The standard streams. */
  make("input", "from stdin\n");
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    dup2(open(in("input"), O_RDONLY), 0);
    execl("/bin/cat", "cat", "/dev/stdin", (char*)NULL);
    _exit(1);
  }
  wait_for(child);
}

static void extended_attributes(void) {
  char text[64] = "";
  char large[70000] = "";
  make("xattr", "");
  SAY(symlink("xattr", in("xattr-link")));
  int fd = open(in("xattr"), O_RDONLY);
  SAY(getxattr(in("xattr"), "user.a", text, sizeof text));
  SAY(setxattr(in("xattr"), "user.a", "value", 5, XATTR_REPLACE));
  SAY(setxattr(in("xattr-link"), "user.a", "value", 5, XATTR_CREATE));
  SAY(setxattr(in("xattr"), "user.a", "value", 5, XATTR_CREATE));
  SAY(fsetxattr(fd, "user.a", "other", 5, XATTR_REPLACE));
  SAY(getxattr(in("xattr"), "user.a", NULL, 0));
  SAY(getxattr(in("xattr"), "user.a", text, 2));
  SAY(fgetxattr(fd, "user.a", text, sizeof text));
  printf("%.5s\n", text);
  SAY(lgetxattr(in("xattr-link"), "user.a", text, sizeof text));
  SAY(lsetxattr(in("xattr-link"), "user.a", "x", 1, 0));
  SAY(listxattr(in("xattr"), text, 2));
  SAY(listxattr(in("xattr"), text, sizeof text));
  printf("%s\n", text);
  SAY(llistxattr(in("xattr-link"), text, sizeof text));
  SAY(flistxattr(fd, NULL, 0));
  SAY(setxattr(in("xattr"), "user.large", large, sizeof large, 0));
  SAY(setxattr(in("xattr"), "", "x", 1, 0));
  SAY(setxattr(in("xattr"), "unknown.x", "x", 1, 0));
  SAY(removexattr(in("xattr"), "user.none"));
  SAY(lremovexattr(in("xattr"), "user.a"));
  SAY(fremovexattr(fd, "user.a"));
  SAY(getxattr(in("none"), "user.a", text, sizeof text));
  SAY(setxattr(in("."), "user.directory", "x", 1, 0));
  SAY(getxattr(in("."), "user.directory", text, sizeof text));
  SAY(removexattr(in("."), "user.directory"));
  close(fd);
}

static void attributes(void) {
  struct stat info;
  struct statx more;
  make("attr", "12345");
  SAY(chmod(in("attr"), 0604));
  SAY(chmod(in("none"), 0604));
  errno = EXFULL;
  SAY(chmod(in("attr"), 0604));
  TRUE(errno == EXFULL);
  int fd = open(in("attr"), O_RDWR);
  SAY(fchmod(fd, 0640));
  SAY(fchown(fd, 7, 8));
  SAY(chown(in("attr"), -1, 9));
  struct timespec times[2] = {{1000, 1}, {2000, 2}};
  SAY(futimens(fd, times));
  SAY(fstat(fd, &info));
  printf("%o %d %d %ld %ld.%09ld\n",
         info.st_mode,
         (int)info.st_uid,
         (int)info.st_gid,
         (long)info.st_atim.tv_sec,
         (long)info.st_mtim.tv_sec,
         info.st_mtim.tv_nsec);
  SAY(statx(AT_FDCWD, in("attr"), 0, STATX_BASIC_STATS, &more));
  printf("%o %u %llu\n", more.stx_mode, more.stx_uid, (unsigned long long)more.stx_size);
  SAY(statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &more));
  SAY(fstatat(fd, "", &info, AT_EMPTY_PATH));
  SAY(fstatat(AT_FDCWD, in("none"), &info, 0));
  TRUE(more.stx_ino == info.st_ino);
  struct timeval old[2] = {{10, 20}, {30, 40}};
  SAY(utimes(in("attr"), old));
  struct utimbuf older = {50, 60};
  SAY(utime(in("attr"), &older));
  stat(in("attr"), &info);
  printf("%ld %ld\n", (long)info.st_atime, (long)info.st_mtime);
  symlink("attr", in("attr-link"));
  SAY(utimensat(AT_FDCWD, in("attr-link"), times, AT_SYMLINK_NOFOLLOW));
  lstat(in("attr-link"), &info);
  printf("%ld\n", (long)info.st_mtime);
  SAY(lchown(in("attr-link"), 3, 4));
  lstat(in("attr-link"), &info);
  printf("%d\n", (int)info.st_uid);
  struct statvfs whole;
  SAY(statvfs(in("attr"), &whole));
  SAY(fstatvfs(fd, &whole));
  SAY(statvfs(in("none"), &whole));
  TRUE(whole.f_blocks > 0);
  TRUE(whole.f_ffree > 0 && whole.f_ffree < whole.f_files);
  TRUE(whole.f_favail > 0 && whole.f_favail <= whole.f_ffree);
  struct statfs system;
  SAY(statfs(in("attr"), &system));
  TRUE(system.f_ffree > 0 && system.f_ffree < system.f_files);
  close(fd);
}

static int visited;
static char visits[32][100];
static int visit(const char* path, const struct stat* info, int type, struct FTW* where) {
  const char* name = path + strlen(top);
  bool is_directory = S_ISDIR(info->st_mode);
  snprintf(visits[visited++], 100, "%s %d %d %d", name, type, is_directory, where->level);
  return 0;
}
static int compare(const void* one, const void* other) {
  return strcmp(one, other);
}

/* Whether the working directory is that of the file. */
static int visit_there(const char* path, const struct stat* info, int type, struct FTW* position) {
  char directory[PATH_MAX];
  char name[PATH_MAX];
  struct stat here;
  visited += type >= 0;
  getcwd(directory, sizeof directory);
  snprintf(name, sizeof name, "%s/%s", directory, path + position->base);
  const char* whole = in(path[0] == '/' ? path + strlen(top) + 1 : path);
  if (lstat(path + position->base, &here) != 0 || here.st_ino != info->st_ino ||
      strcmp(name, whole) != 0) {
    printf("%s is not in %s\n", path, directory);
  }
  return 0;
}

static void directories(void) {
  mkdir(in("tree"), 0755);
  mkdir(in("tree/a"), 0755);
  make("tree/a/x", "x");
  make("tree/b", "b");
  make("tree/c", "c");
  struct dirent** list = NULL;
  int count = scandir(in("tree"), &list, NULL, alphasort);
  for (int i = 0; i < count; ++i) {
    printf("%s %d\n", list[i]->d_name, list[i]->d_type);
    free(list[i]);
  }
  free(list);
  DIR* directory = opendir(in("tree"));
  TRUE(directory != NULL);
  struct stat info;
  SAY(fstat(dirfd(directory), &info));
  int seen = 0;
  long middle = 0;
  char name[300] = "";
  struct dirent* entry;
  errno = 0;
  while ((entry = readdir(directory)) != NULL) {
    ++seen;
    if (seen == 2) {
      middle = telldir(directory);
    } else if (seen == 3) {
      strcpy(name, entry->d_name);
    }
  }
  SAY(errno);
  SAY(seen);
  seekdir(directory, middle);
  entry = readdir(directory);
  TRUE(entry != NULL && strcmp(entry->d_name, name) == 0);
  make("tree/new", "");
  rewinddir(directory);
  for (seen = 0; readdir(directory) != NULL; ++seen) {
  }
  SAY(seen);
  SAY(closedir(directory));
  TRUE(opendir(in("none")) == NULL && errno == ENOENT);
  TRUE(opendir(in("tree/b")) == NULL && errno == ENOTDIR);
  int fd = open(in("tree"), O_RDONLY);
  directory = fdopendir(fd);
  TRUE(directory != NULL && dirfd(directory) == fd);
  closedir(directory);
  SAY(close(fd));
  unlink(in("tree/new"));
  unlink(in("tree/c"));
  SAY(nftw(in("tree"), visit, 10, FTW_PHYS | FTW_DEPTH) == 0 ? visited : -1);
  qsort(visits, (size_t)visited, 100, compare);
  for (int i = 0; i < visited; ++i) {
    printf("%s\n", visits[i]);
  }
  SAY(nftw(in("none"), visit, 10, 0));
  char before[PATH_MAX];
  char after[PATH_MAX];
  getcwd(before, sizeof before);
  SAY(nftw(in("tree"), visit_there, 10, FTW_PHYS | FTW_CHDIR));
  SAY(nftw(in("tree"), visit_there, 10, FTW_PHYS | FTW_CHDIR | FTW_DEPTH));
  SAY(nftw(in("none"), visit_there, 10, FTW_CHDIR));
  TRUE(strcmp(getcwd(after, sizeof after), before) == 0);
  SAY(chdir(top));
  SAY(nftw("tree", visit_there, 10, FTW_PHYS | FTW_CHDIR));
  TRUE(strcmp(getcwd(after, sizeof after), top) == 0);
  SAY(chdir(before));
  glob_t found;
  char pattern[PATH_MAX];
  snprintf(pattern, sizeof pattern, "%s/tr*/*", top);
  SAY(glob(pattern, 0, NULL, &found));
  for (size_t i = 0; i < found.gl_pathc; ++i) {
    printf("%s\n", found.gl_pathv[i] + strlen(top));
  }
  globfree(&found);
  wordexp_t words;
  snprintf(pattern, sizeof pattern, "one %s/tr*/* %s/none/* two", top, top);
  SAY(wordexp(pattern, &words, 0));
  for (size_t i = 0; i < words.we_wordc; ++i) {
    bool is_path = strncmp(words.we_wordv[i], top, strlen(top)) == 0;
    printf("%s\n", words.we_wordv[i] + (is_path ? strlen(top) : 0));
  }
  wordfree(&words);
}

static int by_name(const FTSENT** one, const FTSENT** other) {
  return strcmp((*one)->fts_name, (*other)->fts_name);
}

static void walk(int options) {
  char path[PATH_MAX];
  snprintf(path, sizeof path, "%s/walk", top);
  char* paths[] = {path, NULL};
  FTS* fts = fts_open(paths, options, by_name);
  printf("options %d: %s\n", options, fts != NULL ? "open" : strerrorname_np(errno));
  FTSENT* entry;
  while (fts != NULL && (entry = fts_read(fts)) != NULL) {
    printf("%d %d %s %s",
           entry->fts_info,
           entry->fts_level,
           entry->fts_name,
           entry->fts_path + strlen(top));
    if (entry->fts_info == FTS_F) {
      printf(" %ld", (long)entry->fts_statp->st_size);
    }
    printf("\n");
    if (entry->fts_info == FTS_D && strcmp(entry->fts_name, "skipped") == 0) {
      SAY(fts_set(fts, entry, FTS_SKIP));
    }
    if (entry->fts_info == FTS_D && strcmp(entry->fts_name, "a") == 0) {
      for (FTSENT* child = fts_children(fts, 0); child != NULL; child = child->fts_link) {
        printf("child %s\n", child->fts_name);
      }
    }
    if (entry->fts_info == FTS_SL && strcmp(entry->fts_name, "followed") == 0) {
      SAY(fts_set(fts, entry, FTS_FOLLOW));
    }
  }
  SAY(errno);
  SAY(fts_close(fts));
}

static void walks(void) {
  mkdir(in("walk"), 0755);
  mkdir(in("walk/a"), 0755);
  mkdir(in("walk/a/empty"), 0755);
  mkdir(in("walk/skipped"), 0755);
  make("walk/skipped/unseen", "x");
  make("walk/a/f", "some text");
  symlink("../skipped", in("walk/a/link"));
  symlink("f", in("walk/a/followed"));
  symlink("none", in("walk/dangling"));
  symlink("..", in("walk/a/up"));
  walk(FTS_PHYSICAL);
  walk(FTS_LOGICAL);
  walk(FTS_PHYSICAL | FTS_NOCHDIR | FTS_XDEV);
  char none[PATH_MAX];
  snprintf(none, sizeof none, "%s/none", top);
  char* paths[] = {none, NULL};
  FTS* fts = fts_open(paths, FTS_PHYSICAL, NULL);
  FTSENT* entry = fts_read(fts);
  printf("%d %s\n", entry->fts_info, strerrorname_np(entry->fts_errno));
  TRUE(fts_read(fts) == NULL && errno == 0);
  fts_close(fts);
}

/* An open directory is the same one wherever it is renamed to. */
static void moved_directories(void) {
  char text[PATH_MAX] = "";
  struct stat info;
  mkdir(in("moves"), 0755);
  mkdir(in("moves/in"), 0755);
  make("moves/in/f", "right");
  int fd = open(in("moves/in"), O_RDONLY | O_DIRECTORY);
  SAY(rename(in("moves"), in("moved")));
  mkdir(in("moves"), 0755);
  mkdir(in("moves/in"), 0755);
  make("moves/in/f", "wrong file");
  SAY(fstatat(fd, "f", &info, 0));
  SAY(info.st_size);
  int file = openat(fd, "f", O_RDWR);
  SAY(read(file, text, sizeof text));
  close(file);
  SAY(faccessat(fd, "f", W_OK, 0));
  SAY(faccessat(fd, "none", F_OK, 0));
  SAY(fchmodat(fd, "f", 0600, 0));
  SAY(fchownat(fd, "f", (uid_t)-1, (gid_t)-1, 0));
  struct timespec times[2] = {{.tv_sec = 5}, {.tv_sec = 6}};
  SAY(utimensat(fd, "f", times, 0));
  SAY(stat(in("moved/in/f"), &info));
  printf("mode %o time %ld\n", info.st_mode, (long)info.st_mtim.tv_sec);
  SAY(mkdirat(fd, "new", 0755));
  SAY(symlinkat("f", fd, "link"));
  SAY(readlinkat(fd, "link", text, sizeof text));
  SAY(linkat(fd, "f", fd, "hard", 0));
  SAY(renameat(fd, "hard", AT_FDCWD, in("moved/above")));
  SAY(renameat(AT_FDCWD, in("moved/above"), fd, "again"));
  SAY(fstatat(fd, "../in/again", &info, 0));
  SAY(unlinkat(fd, "f", 0));
  SAY(unlinkat(fd, "new", AT_REMOVEDIR));
  SAY(access(in("moved/in/f"), F_OK));
  SAY(access(in("moves/in/f"), F_OK));
  int again = openat(fd, ".", O_RDONLY | O_DIRECTORY);
  DIR* directory = fdopendir(again);
  int seen = 0;
  while (directory != NULL && readdir(directory) != NULL) {
    ++seen;
  }
  SAY(seen);
  closedir(directory);
  SAY(fchdir(fd));
  printf("%s\n", getcwd(text, sizeof text) != NULL ? text + strlen(top) : "nowhere");
  SAY(access("again", F_OK));
  SAY(chdir("/"));
  snprintf(text, sizeof text, "/proc/self/fd/%d", fd);
  char target[PATH_MAX] = "";
  TRUE(readlink(text, target, sizeof target - 1) > 0);
  printf("%s\n", target + strlen(top));
  close(fd);
  fd = open(in("moves/in"), O_RDONLY | O_DIRECTORY);
  unlink(in("moves/in/f"));
  SAY(rmdir(in("moves/in")));
  mkdir(in("moves/in"), 0755);
  make("moves/in/f", "wrong file");
  SAY(openat(fd, "f", O_RDONLY));
  SAY(mkdirat(fd, "g", 0755));
  close(fd);
}

/* By number, which libc's functions do not see. */
static void system_calls(void) {
  char text[64] = "";
  struct stat info;
  SAY(syscall(SYS_mkdirat, AT_FDCWD, in("sys"), 0755));
  int directory = (int)syscall(SYS_openat, AT_FDCWD, in("sys"), O_RDONLY | O_DIRECTORY, 0);
  int fd = (int)syscall(SYS_openat, directory, "f", O_CREAT | O_EXCL | O_RDWR, 0640);
  SAY(syscall(SYS_write, fd, "some text", 9));
  SAY(syscall(SYS_pwrite64, fd, "S", 1, 0));
  SAY(syscall(SYS_lseek, fd, 0, SEEK_SET));
  SAY(syscall(SYS_read, fd, text, 4));
  printf("%s\n", text);
  SAY(syscall(SYS_pread64, fd, text, 4, 5));
  printf("%s\n", text);
  SAY(syscall(SYS_fstat, fd, &info));
  SAY(info.st_size);
  SAY(syscall(SYS_newfstatat, directory, "f", &info, 0));
  SAY(syscall(SYS_newfstatat, directory, "none", &info, 0));
  struct statx attributes;
  SAY(syscall(SYS_statx, AT_FDCWD, in("sys/f"), 0, STATX_BASIC_STATS, &attributes));
  SAY(attributes.stx_size);
  SAY(statx(AT_FDCWD, in("sys/f"), 0, ~0U, &attributes));
  SAY(pathconf(in("sys/f"), _PC_NAME_MAX));
  SAY(pathconf(in("sys/none"), _PC_NAME_MAX));
  SAY(syscall(SYS_ftruncate, fd, 5));
  SAY(syscall(SYS_fsync, fd));
  int copy = (int)syscall(SYS_openat, directory, "copy", O_CREAT | O_WRONLY, 0644);
  off_t from = 0;
  SAY(syscall(SYS_copy_file_range, fd, &from, copy, NULL, 5, 0));
  SAY(syscall(SYS_dup3, copy, 50, 0));
  SAY(syscall(SYS_close, copy));
  SAY(syscall(SYS_write, 50, "!", 1));
  SAY(syscall(SYS_close, 50));
  SAY(write(50, "x", 1));
  show("sys/copy");
  SAY(syscall(SYS_renameat2, directory, "copy", directory, "moved", 0));
  SAY(syscall(SYS_linkat, directory, "moved", AT_FDCWD, in("sys/hard"), 0));
  SAY(syscall(SYS_symlinkat, "moved", directory, "link"));
  SAY(syscall(SYS_readlinkat, directory, "link", text, sizeof text));
  SAY(syscall(SYS_faccessat, directory, "moved", W_OK));
  SAY(syscall(SYS_fchmodat, directory, "moved", 0600));
  SAY(syscall(SYS_unlinkat, directory, "hard", 0));
  SAY(syscall(SYS_fchdir, directory));
  SAY(syscall(SYS_getcwd, text, sizeof text) > 0);
  SAY(access("moved", F_OK));
  SAY(syscall(SYS_chdir, "/"));
  TRUE(syscall(SYS_getpid) == getpid());
  SAY(syscall(SYS_close, fd));
  SAY(syscall(SYS_close, directory));
}

static void working_directory(void) {
  char text[PATH_MAX];
  char before[PATH_MAX];
  getcwd(before, sizeof before);
  SAY(chdir(in("none")));
  SAY(chdir(in("f")));
  mkdir(in("cwd"), 0755);
  mkdir(in("cwd/deep"), 0755);
  SAY(chdir(in("cwd/deep")));
  printf("%s\n", getcwd(text, sizeof text) + strlen(top));
  WORKS(open("here", O_CREAT | O_WRONLY, 0644));
  SAY(access("../deep/here", F_OK));
  SAY(chdir(".."));
  printf("%s\n", getcwd(text, sizeof text) + strlen(top));
  SAY(access("deep/here", F_OK));
  TRUE(getcwd(text, 2) == NULL && errno == ERANGE);
  symlink("deep", "short");
  SAY(chdir("short"));
  printf("%s\n", getcwd(text, sizeof text) + strlen(top));
  printf("%s\n", realpath(in("cwd/short/../short/here"), text) + strlen(top));
  TRUE(realpath(in("cwd/none"), text) == NULL && errno == ENOENT);
  char* made = realpath("here", NULL);
  printf("%s\n", made + strlen(top));
  free(made);
  int fd = open(in("cwd"), O_RDONLY);
  SAY(fchdir(fd));
  close(fd);
  printf("%s\n", getcwd(text, sizeof text) + strlen(top));
  SAY(chdir("/"));
  printf("%s\n", getcwd(text, sizeof text));
  SAY(access(in("cwd/deep/../../f"), F_OK));
  /* Across the prefix, both ways. */
  snprintf(text, sizeof text, "%s/../../../../../../etc/passwd", top);
  SAY(access(text, R_OK));
  snprintf(text, sizeof text, "/etc/..%s/f", top);
  SAY(access(text, R_OK));
  SAY(symlink("/etc/passwd", in("out")));
  WORKS(fd = open(in("out"), O_RDONLY));
  close(fd);
  SAY(symlink(in("f"), in("absolute")));
  SAY(access(in("absolute"), F_OK));
  char local[] = "/tmp/benchfs-calls-XXXXXX";
  TRUE(mkdtemp(local) != NULL);
  snprintf(text, sizeof text, "%s/link", local);
  SAY(symlink(top, text));
  strcat(text, "/f");
  SAY(access(text, F_OK));
  WORKS(fd = open(text, O_RDONLY));
  close(fd);
  strcat(text, "-new");
  WORKS(fd = open(text, O_CREAT | O_WRONLY, 0644));
  close(fd);
  SAY(access(in("f-new"), F_OK));
  snprintf(text, sizeof text, "%s/link", local);
  SAY(unlink(text));
  SAY(rmdir(local));
  SAY(chdir(before));
}

static void say_wide(const char* what, wint_t wide) {
  printf("%s: %ld\n", what, wide == WEOF ? -1L : (long)wide);
}
#define WIDE(call) say_wide(#call, (call))

static void wide_streams(void) {
  wchar_t text[64];
  int number = 0;
  setlocale(LC_CTYPE, "C.UTF-8");
  FILE* file = fopen(in("wide"), "w");
  SAY(fwide(file, 0));
  SAY(fwprintf(file, L"h\u00e9llo %d %ls\n", 5, L"\u20ac"));
  SAY(fwide(file, -1));
  WIDE(fputwc(L'\u00fc', file));
  WIDE(putwc(L'\n', file));
  TRUE(fputws(L"12 x\u00e4y 7\n", file) >= 0);
  SAY(ftell(file));
  SAY(fclose(file));
  show("wide");

  file = fopen(in("wide"), "r+");
  TRUE(fgetws(text, 64, file) == text);
  printf("line %ls", text);
  SAY(fwide(file, 0));
  SAY(ftell(file));
  WIDE(fgetwc(file));
  SAY(ftell(file));
  WIDE(ungetwc(L'\u00fc', file));
  WIDE(getwc(file));
  WIDE(ungetwc(L'Z', file));
  WIDE(getwc(file));
  TRUE(fgetws(text, 2, file) == text);
  SAY(fwscanf(file, L"%d x%lc", &number, text));
  printf("scanned %d %d\n", number, (int)text[0]);
  SAY(fwscanf(file, L"%d", &number));
  WIDE(fgetwc(file));
  SAY(fwscanf(file, L"%d", &number));
  SAY(feof(file));
  SAY(fwscanf(file, L"%d", &number));
  SAY(feof(file));
  WIDE(fgetwc(file));
  TRUE(fgetws(text, 64, file) == NULL);
  rewind(file);
  WIDE(fgetwc(file));
  SAY(fseek(file, 0, SEEK_END));
  WIDE(fputwc(L'!', file));
  SAY(fclose(file));
  show("wide");

  /* A number that begins in one piece of what is scanned at a time and ends in the next one. */
  file = fopen(in("wide"), "w");
  for (int i = 0; i < 4094; ++i) {
    fputwc(L' ', file);
  }
  fputws(L"123456 x", file);
  fclose(file);
  file = fopen(in("wide"), "r");
  SAY(fwscanf(file, L"%d", &number));
  SAY(number);
  SAY(ftell(file));
  fclose(file);

  make("wide",
       "a\xff"
       "b");
  file = fopen(in("wide"), "r");
  WIDE(fgetwc(file));
  errno = 0;
  WIDE(fgetwc(file));
  printf("%s, error %d\n", strerrorname_np(errno), ferror(file) != 0);
  fclose(file);
  make("wide", "\xe2\x82");
  file = fopen(in("wide"), "r");
  TRUE(fgetws(text, 64, file) == NULL);
  printf("error %d, end %d\n", ferror(file) != 0, feof(file) != 0);
  fclose(file);

  /* A character set of its own; one that does not exist. */
  file = fopen(in("wide"), "w,ccs=UTF-16LE");
  SAY(fwide(file, 0));
  SAY(fputws(L"\u20acuro", file) >= 0);
  SAY(fclose(file));
  file = fopen(in("wide"), "r,ccs=utf-16le");
  WIDE(fgetwc(file));
  SAY(fwscanf(file, L"%ls", text));
  printf("scanned %ls\n", text);
  WIDE(fgetwc(file));
  fclose(file);
  errno = 0;
  TRUE(fopen(in("wide"), "r,ccs=none") == NULL);
  printf("%s\n", strerrorname_np(errno));

  /* What the locale cannot say. */
  setlocale(LC_CTYPE, "C");
  file = fopen(in("wide"), "w");
  TRUE(fputws(L"\u20ac\u201cx\u201d\n", file) >= 0);
  SAY(fclose(file));
  show("wide");

  /* stdout and stdin as a shell redirects them. */
  setlocale(LC_CTYPE, "C.UTF-8");
  for (int i = 0; i < 2; ++i) {
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
      int fd = open(in("wide"), i == 0 ? O_WRONLY | O_TRUNC : O_RDONLY);
      dup2(fd, i == 0 ? 1 : 0);
      if (i == 0) {
        char* program[] = {"/proc/self/exe", "--wide", NULL};
        execv(program[0], program);
      }
      wint_t first = getwchar();
      wint_t second = getwchar();
      wscanf(L"%d", &number);
      printf("read %d %d %d\n", (int)first, (int)second, number);
      fflush(stdout);
      _exit(0);
    }
    wait_for(child);
    show("wide");
  }
  setlocale(LC_CTYPE, "C");
}

/* What the program writes that the function above starts. */
static int write_wide(void) {
  setlocale(LC_CTYPE, "C.UTF-8");
  putwchar(L'\u00e9');
  wprintf(L"%lc 12\n", L'\u20ac');
  return fclose(stdout);
}

static void streams(void) {
  char line[100] = "";
  FILE* file = fopen(in("s"), "w");
  TRUE(file != NULL);
  SAY(fprintf(file, "line %d\n", 1));
  SAY(fputs("line 2\n", file));
  SAY(ftell(file));
  SAY(fseek(file, 0, SEEK_SET));
  SAY(fputc('L', file));
  TRUE(fileno(file) >= 0);
  struct stat info;
  SAY(fflush(file));
  SAY(fstat(fileno(file), &info));
  printf("size %ld\n", (long)info.st_size);
  SAY(fclose(file));
  file = fopen(in("s"), "a+");
  SAY(fputs("line 3\n", file));
  rewind(file);
  while (fgets(line, sizeof line, file) != NULL) {
    printf("%s", line);
  }
  TRUE(feof(file));
  SAY(fclose(file));
  TRUE(fopen(in("none"), "r") == NULL && errno == ENOENT);
  TRUE(fopen(in("s"), "wx") == NULL && errno == EEXIST);
  file = fopen(in("s"), "r+");
  SAY(fgetc(file));
  SAY(fseek(file, 2, SEEK_SET));
  SAY(fputc('N', file));
  SAY(fseek(file, -2, SEEK_END));
  SAY(fgetc(file));
  SAY(ungetc('u', file));
  SAY(fgetc(file));
  SAY(fclose(file));
  int fd = open(in("s"), O_RDONLY);
  TRUE(fdopen(fd, "w") == NULL && errno == EINVAL);
  file = fdopen(fd, "r");
  size_t room = 0;
  char* text = NULL;
  SAY(getline(&text, &room, file));
  printf("%s", text);
  free(text);
  SAY(fclose(file));
  SAY(close(fd));
  file = fopen(in("s"), "r");
  setvbuf(file, NULL, _IONBF, 0);
  SAY(fread(line, 1, 3, file));
  SAY(lseek(fileno(file), 0, SEEK_CUR));
  fclose(file);
  char name[PATH_MAX];
  snprintf(name, sizeof name, "%s", in("tempXXXXXX"));
  WORKS(fd = mkstemp(name));
  SAY(fstat(fd, &info));
  printf("mode %o\n", info.st_mode);
  SAY(unlink(name));
  SAY(write(fd, "still", 5));
  SAY(pread(fd, line, 10, 0));
  close(fd);
  /* Standard output. */
  fflush(stdout);
  int saved = dup(1);
  fd = open(in("stdout"), O_CREAT | O_TRUNC | O_WRONLY, 0644);
  dup2(fd, 1);
  close(fd);
  printf("to a file\n");
  fflush(stdout);
  dup2(saved, 1);
  close(saved);
  show("stdout");
}

static void wait_for(pid_t child) {
  int status = 0;
  waitpid(child, &status, 0);
  printf("child: %d\n", WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
}

static void processes(void) {
  char text[64] = "";
  int fd = open(in("shared"), O_CREAT | O_TRUNC | O_RDWR, 0644);
  int other = dup(fd);
  SAY(write(fd, "one ", 4));
  SAY(lseek(other, 0, SEEK_CUR));
  SAY(write(other, "two ", 4));
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    _exit(write(fd, "child ", 6) == 6 && close(fd) == 0 ? 0 : 1);
  }
  wait_for(child);
  SAY(lseek(fd, 0, SEEK_CUR));
  SAY(write(fd, "parent ", 7));
  SAY(dup2(other, 30));
  SAY(close(other));
  SAY(write(30, "thirty ", 7));
  SAY(fcntl(30, F_DUPFD, 40));
  SAY(fcntl(30, F_GETFD));
  SAY(dup3(30, 31, O_CLOEXEC));
  SAY(fcntl(31, F_GETFD));
  SAY(dup2(99, 30));
  SAY(close_range(31, 50, 0));
  SAY(write(31, "x", 1));
  fflush(stdout);
  /* A program that inherits it, by exec and by spawn. */
  child = fork();
  if (child == 0) {
    dup2(fd, 1);
    execl("/bin/echo", "echo", "from exec", (char*)NULL);
    _exit(1);
  }
  wait_for(child);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, fd, 1);
  char* arguments[] = {"echo", "from spawn", NULL};
  SAY(posix_spawn(&child, "/bin/echo", &actions, NULL, arguments, environ));
  posix_spawn_file_actions_destroy(&actions);
  wait_for(child);
  posix_spawn_file_actions_init(&actions);
  SAY(posix_spawn_file_actions_addopen(
      &actions, 1, in("spawned"), O_CREAT | O_WRONLY | O_APPEND, 0640));
  for (int i = 0; i < 2; ++i) {
    SAY(posix_spawn(&child, "/bin/echo", &actions, NULL, arguments, environ));
    wait_for(child);
  }
  SAY(posix_spawn_file_actions_destroy(&actions));
  show("spawned");
  SAY(lseek(fd, 0, SEEK_CUR));
  close(fd);
  show("shared");
  /* What a child has open does not become another file when its parent opens one. */
  int ends[2];
  SAY(pipe(ends) == 0);
  fd = open(in("kept"), O_CREAT | O_WRONLY, 0644);
  child = fork();
  if (child == 0) {
    _exit(read(ends[0], text, 1) == 1 && write(fd, "kept", 4) == 4 ? 0 : 1);
  }
  close(fd);
  fd = open(in("other"), O_CREAT | O_WRONLY, 0644);
  SAY(write(ends[1], "x", 1));
  wait_for(child);
  close(fd);
  close(ends[0]);
  close(ends[1]);
  show("kept");
  show("other");
  /* An unlinked file survives. */
  fd = open(in("gone"), O_CREAT | O_RDWR, 0644);
  SAY(unlink(in("gone")));
  SAY(write(fd, "ghost", 5));
  SAY(pread(fd, text, 5, 0));
  close(fd);
  /* A program that is given no environment. */
  child = fork();
  if (child == 0) {
    char* nothing[] = {NULL};
    execle("/bin/cat", "cat", in("shared"), (char*)NULL, nothing);
    _exit(1);
  }
  wait_for(child);
  /* Programs below the directory. */
  make("script", "#!/bin/sh\necho script $1 >> \"$2\"\n");
  chmod(in("script"), 0755);
  SAY(access(in("script"), X_OK));
  fflush(stdout);
  child = fork();
  if (child == 0) {
    execl(in("script"), "script", "ran", in("shared"), (char*)NULL);
    _exit(1);
  }
  wait_for(child);
  char command[3 * PATH_MAX];
  snprintf(command, sizeof command, "cp /bin/true %s && %s", in("true"), in("true"));
  SAY(system(command));
  snprintf(command, sizeof command, "cat %s", in("shared"));
  FILE* pipe = popen(command, "r");
  while (fgets(text, sizeof text, pipe) != NULL) {
    printf("%s", text);
  }
  SAY(pclose(pipe));
  make("plain", "x");
  child = fork();
  if (child == 0) {
    execl(in("plain"), "plain", (char*)NULL);
    _exit(errno == EACCES ? 0 : 1);
  }
  wait_for(child);
}

static struct flock range(short type, off_t start, off_t length) {
  struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
  return lock;
}

/* What another process is told. */
static void others_see(const char* name) {
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    int fd = open(in(name), O_RDWR);
    struct flock lock = range(F_WRLCK, 0, 0);
    SAY(fcntl(fd, F_GETLK, &lock));
    if (lock.l_type != F_UNLCK) {
      printf("%s from %ld, %ld bytes, ",
             lock.l_type == F_WRLCK ? "exclusive" : "shared",
             (long)lock.l_start,
             (long)lock.l_len);
      TRUE(lock.l_pid == getppid());
    }
    lock = range(F_RDLCK, 0, 10);
    SAY(fcntl(fd, F_SETLK, &lock));
    SAY(flock(fd, LOCK_SH | LOCK_NB));
    SAY(lockf(fd, F_TEST, 0));
    fflush(stdout);
    _exit(0);
  }
  wait_for(child);
}

static void locks(void) {
  make("locked", "0123456789012345678901234567890123456789");
  int fd = open(in("locked"), O_RDWR);
  struct flock lock = range(F_WRLCK, 10, 20);
  SAY(fcntl(fd, F_SETLK, &lock));
  others_see("locked");
  lock = range(F_RDLCK, 12, 3);
  SAY(fcntl(fd, F_SETLKW, &lock));
  lock = range(F_UNLCK, 0, 12);
  SAY(fcntl(fd, F_SETLK, &lock));
  others_see("locked");
  lock = range(F_WRLCK, 35, -5);
  SAY(fcntl(fd, F_SETLK, &lock));
  lock.l_whence = SEEK_END;
  SAY(fcntl(fd, F_SETLK, &lock));
  lock.l_start = -50;
  SAY(fcntl(fd, F_SETLK, &lock));
  lock.l_type = 77;
  SAY(fcntl(fd, F_SETLK, &lock));
  /* Any descriptor of the file that is closed ends them. */
  close(open(in("locked"), O_RDONLY));
  others_see("locked");

  int other = open(in("locked"), O_RDONLY);
  lock = range(F_WRLCK, 0, 1);
  SAY(fcntl(other, F_SETLK, &lock));
  SAY(flock(fd, LOCK_EX));
  SAY(flock(other, LOCK_SH | LOCK_NB));
  others_see("locked");
  SAY(flock(fd, LOCK_SH));
  SAY(flock(other, LOCK_SH | LOCK_NB));
  SAY(flock(other, LOCK_EX | LOCK_NB));
  int copy = dup(fd);
  close(fd);
  SAY(flock(other, LOCK_EX | LOCK_NB));
  close(copy);
  SAY(flock(other, LOCK_EX | LOCK_NB));
  SAY(flock(other, LOCK_UN));
  SAY(flock(other, 77));

  fd = open(in("locked"), O_RDWR);
  int second = open(in("locked"), O_RDWR);
  lock = range(F_WRLCK, 0, 10);
  SAY(fcntl(fd, F_OFD_SETLK, &lock));
  SAY(fcntl(second, F_OFD_SETLK, &lock));
  SAY(fcntl(second, F_SETLK, &lock));
  SAY(fcntl(second, F_OFD_GETLK, &lock));
  printf("%d %ld %ld %ld\n", lock.l_type, (long)lock.l_start, (long)lock.l_len, (long)lock.l_pid);
  lock = range(F_WRLCK, 0, 10);
  close(fd);
  SAY(fcntl(second, F_OFD_SETLK, &lock));
  close(second);

  fd = open(in("locked"), O_RDWR);
  SAY(lockf(fd, F_TLOCK, 10));
  others_see("locked");
  SAY(lockf(fd, F_ULOCK, 10));
  SAY(lockf(fd, F_TEST, 10));
  others_see("locked");
  /* The locks of a process end with it. */
  pid_t child = fork();
  if (child == 0) {
    int mine = open(in("locked"), O_RDWR);
    lock = range(F_WRLCK, 0, 0);
    fcntl(mine, F_SETLK, &lock);
    flock(mine, LOCK_EX);
    kill(getpid(), SIGKILL);
  }
  waitpid(child, NULL, 0);
  lock = range(F_WRLCK, 0, 0);
  SAY(fcntl(fd, F_SETLKW, &lock));
  SAY(flock(fd, LOCK_EX));
  close(fd);
  close(other);
}

static void mappings(void) {
  size_t page = 4096;
  char* bytes = malloc(3 * page);
  memset(bytes, 'm', 3 * page);
  int fd = open(in("map"), O_CREAT | O_TRUNC | O_RDWR, 0644);
  write(fd, bytes, 2 * page + 100);
  char* memory = mmap(NULL, 3 * page, PROT_READ, MAP_PRIVATE, fd, 0);
  TRUE(memory != MAP_FAILED && memory[0] == 'm' && memory[2 * page + 99] == 'm');
  TRUE(memory[2 * page + 100] == 0);
  SAY(munmap(memory, 3 * page));
  memory = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, page);
  memory[0] = 'p';
  SAY(munmap(memory, page));
  pread(fd, bytes, 1, page);
  printf("%c\n", bytes[0]);
  memory = mmap(NULL, 3 * page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  memory[page] = 's';
  SAY(msync(memory, 3 * page, MS_SYNC));
  pread(fd, bytes, 1, page);
  printf("%c\n", bytes[0]);
  memory[2 * page + 50] = 't';
  memory[2 * page + 200] = 'u';
  SAY(munmap(memory, 3 * page));
  pread(fd, bytes, 1, 2 * page + 50);
  printf("%c\n", bytes[0]);
  SAY(lseek(fd, 0, SEEK_END));
  memory = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  memory[1] = 'v';
  SAY(munmap(memory, page));
  memory[page + 1] = 'w';
  SAY(munmap(memory + page, page));
  fd = open(in("map"), O_RDONLY);
  pread(fd, bytes, 2, 0);
  pread(fd, bytes + 2, 2, page);
  printf("%.4s\n", bytes);
  TRUE(mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED &&
       errno == EACCES);
  TRUE(mmap(NULL, page, PROT_READ, MAP_PRIVATE, fd, 7) == MAP_FAILED && errno == EINVAL);
  close(fd);
  free(bytes);
}

static void readiness(void) {
  int fd = open(in("f"), O_RDWR);
  int ends[2];
  pipe(ends);
  struct pollfd files[2] = {{.fd = fd, .events = POLLIN | POLLOUT},
                            {.fd = ends[0], .events = POLLIN}};
  SAY(poll(files, 2, 1000));
  printf("%d %d\n", files[0].revents, files[1].revents);
  fd_set reads;
  FD_ZERO(&reads);
  FD_SET(fd, &reads);
  FD_SET(ends[0], &reads);
  SAY(select(FD_SETSIZE, &reads, NULL, NULL, NULL));
  TRUE(FD_ISSET(fd, &reads) && !FD_ISSET(ends[0], &reads));
  int epoll = epoll_create1(0);
  struct epoll_event event = {.events = EPOLLIN};
  SAY(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
  close(epoll);
  close(ends[0]);
  close(ends[1]);
  close(fd);
}

static volatile sig_atomic_t handled;
static int handler_fd;
static void handler(int number) {
  (void)number;
  handled = (sig_atomic_t)write(handler_fd, "signal", 6);
}

static void signals(void) {
  handler_fd = open(in("signal"), O_CREAT | O_WRONLY, 0644);
  signal(SIGUSR1, handler);
  raise(SIGUSR1);
  printf("%d\n", (int)handled);
  close(handler_fd);
  show("signal");
}

/* Asynchronous requests, waited for. */
static volatile sig_atomic_t ended;

static void on_end(int number, siginfo_t* info, void* context) {
  (void)number;
  (void)context;
  ended = info->si_code == SI_ASYNCIO ? info->si_value.sival_int : -1;
}

static void on_end_in_thread(union sigval value) {
  if (write(value.sival_int, "x", 1) != 1) {
    abort();
  }
}

static long finish(struct aiocb* request) {
  const struct aiocb* list[1] = {request};
  while (aio_error(request) == EINPROGRESS) {
    aio_suspend(list, 1, NULL);
  }
  errno = aio_error(request);
  return aio_return(request);
}

static void asynchronous(void) {
  char text[32] = "";
  char back[32] = "";
  int fd = open(in("aio"), O_CREAT | O_RDWR, 0644);
  struct aiocb request = {
      .aio_fildes = fd, .aio_buf = "0123456789", .aio_nbytes = 10, .aio_offset = 5};
  SAY(aio_write(&request));
  SAY(finish(&request));
  SAY(aio_fsync(O_SYNC, &request));
  SAY(finish(&request));
  SAY(aio_fsync(77, &request));
  struct aiocb reading = {.aio_fildes = fd, .aio_buf = text, .aio_nbytes = 8, .aio_offset = 3};
  SAY(aio_read(&reading));
  SAY(finish(&reading));
  printf("%d%d%s\n", text[0], text[1], text + 2);
  SAY(aio_cancel(fd, &reading) == AIO_ALLDONE);
  reading.aio_offset = 100;
  SAY(aio_read(&reading));
  SAY(finish(&reading));
  reading.aio_offset = -1;
  SAY(aio_read(&reading));
  SAY(finish(&reading));
  reading.aio_reqprio = -1;
  SAY(aio_read(&reading));
  reading.aio_reqprio = 0;
  SAY(lseek(fd, 0, SEEK_CUR));

  int only = open(in("aio"), O_RDONLY);
  request.aio_fildes = only;
  SAY(aio_write(&request));
  SAY(finish(&request));
  close(only);
  SAY(aio_write(&request));
  SAY(finish(&request));

  /* A list with a local file in it. */
  int local = open("/tmp", O_TMPFILE | O_RDWR, 0600);
  struct aiocb first = {
      .aio_fildes = fd, .aio_lio_opcode = LIO_WRITE, .aio_buf = "first", .aio_nbytes = 5};
  struct aiocb second = {
      .aio_fildes = local, .aio_lio_opcode = LIO_WRITE, .aio_buf = "second", .aio_nbytes = 6};
  struct aiocb third = {
      .aio_fildes = fd, .aio_lio_opcode = LIO_READ, .aio_buf = back, .aio_nbytes = 7};
  struct aiocb nothing = {.aio_fildes = fd, .aio_lio_opcode = LIO_NOP};
  struct aiocb* list[5] = {&first, NULL, &second, &nothing, &third};
  SAY(lio_listio(LIO_WAIT, list, 3, NULL));
  SAY(lio_listio(LIO_WAIT, list + 3, 2, NULL));
  SAY(finish(&first));
  SAY(finish(&second));
  SAY(finish(&third));
  printf("%.5s\n", back);
  first.aio_fildes = only;
  third.aio_offset = -1;
  SAY(lio_listio(LIO_WAIT, list + 4, 1, NULL));
  SAY(lio_listio(77, list, 1, NULL));
  third.aio_offset = 0;

  struct sigaction action = {.sa_sigaction = on_end, .sa_flags = SA_SIGINFO};
  sigset_t wanted, before;
  sigemptyset(&wanted);
  sigaddset(&wanted, SIGUSR2);
  sigaction(SIGUSR2, &action, NULL);
  sigprocmask(SIG_BLOCK, &wanted, &before);
  third.aio_sigevent.sigev_notify = SIGEV_SIGNAL;
  third.aio_sigevent.sigev_signo = SIGUSR2;
  third.aio_sigevent.sigev_value.sival_int = 42;
  SAY(aio_read(&third));
  while (ended == 0) {
    sigsuspend(&before);
  }
  printf("signal with %d\n", (int)ended);
  ended = 0;
  third.aio_sigevent.sigev_notify = SIGEV_NONE;
  struct sigevent all = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR2, .sigev_value = {43}};
  SAY(lio_listio(LIO_NOWAIT, list + 3, 2, &all));
  while (ended == 0) {
    sigsuspend(&before);
  }
  printf("signal with %d\n", (int)ended);
  sigprocmask(SIG_SETMASK, &before, NULL);
  int ends[2] = {-1, -1};
  SAY(pipe(ends));
  third.aio_sigevent.sigev_notify = SIGEV_THREAD;
  third.aio_sigevent.sigev_notify_function = on_end_in_thread;
  third.aio_sigevent.sigev_value.sival_int = ends[1];
  SAY(aio_read(&third));
  SAY(read(ends[0], text, 1));
  close(ends[0]);
  close(ends[1]);
  close(local);
  close(fd);
  show("aio");
}

static volatile sig_atomic_t limit_signals;
static void on_limit(int number) {
  (void)number;
  ++limit_signals;
}
#define LIMITED(call)                           \
  do {                                          \
    limit_signals = 0;                          \
    SAY(call);                                  \
    printf("%d signals\n", (int)limit_signals); \
  } while (false)

/* "ulimit -f". The limit is beyond what this program prints. */
enum { kLimit = 1006000 };
static void file_size_limit(void) {
  signal(SIGXFSZ, on_limit);
  static char text[8192];
  memset(text, 'x', sizeof text);
  int fd = open(in("limited"), O_CREAT | O_RDWR, 0644);
  SAY(pwrite(fd, text, 10, kLimit + 1000));
  struct rlimit before;
  getrlimit(RLIMIT_FSIZE, &before);
  struct rlimit limit = before;
  limit.rlim_cur = kLimit;
  SAY(setrlimit(RLIMIT_FSIZE, &limit));
  LIMITED(pwrite(fd, "x", 1, kLimit));
  LIMITED(pwrite(fd, "x", 0, kLimit));
  LIMITED(pwrite(fd, "x", 1, kLimit - 1));
  LIMITED(pwrite(fd, text, 100, kLimit - 50));
  SAY(lseek(fd, kLimit - 6000, SEEK_SET));
  LIMITED(write(fd, text, 8000));
  LIMITED(write(fd, "x", 1));
  SAY(lseek(fd, kLimit - 10, SEEK_SET));
  struct iovec parts[] = {{text, 8}, {text, 8}};
  LIMITED(writev(fd, parts, 2));
  LIMITED(writev(fd, parts, 2));
  LIMITED(ftruncate(fd, kLimit + 1005));
  LIMITED(ftruncate(fd, kLimit + 2000));
  LIMITED(truncate(in("limited"), kLimit + 2000));
  LIMITED(truncate(in("none"), kLimit + 2000));
  LIMITED(ftruncate(fd, kLimit - 1000));
  LIMITED(ftruncate(fd, kLimit + 1));
  LIMITED(fallocate(fd, 0, 0, kLimit + 1));
  LIMITED(fallocate(fd, 0, 0, kLimit));
  printf("%d\n", posix_fallocate(fd, 0, kLimit + 1));
  int reader = open(in("limited"), O_RDONLY);
  LIMITED(write(reader, "x", 1));
  LIMITED(ftruncate(reader, kLimit + 3000));
  off_t beyond = kLimit;
  off_t begin = 0;
  LIMITED(copy_file_range(reader, &begin, fd, &beyond, 5, 0));
  SAY(fcntl(fd, F_SETFL, O_APPEND));
  LIMITED(write(fd, "x", 1));
  SAY(ftruncate(fd, kLimit - 2));
  LIMITED(write(fd, "abcd", 4));
  limit.rlim_cur = kLimit + 5;
  SAY(prlimit(0, RLIMIT_FSIZE, &limit, NULL));
  LIMITED(write(fd, "abcdefgh", 8));
  FILE* file = fopen(in("limited"), "a");
  fputs("end", file);
  SAY(fclose(file));
  SAY(syscall(SYS_prlimit64, 0, RLIMIT_FSIZE, &before, NULL));
  SAY(write(fd, "x", 1));
  close(reader);
  close(fd);
  signal(SIGXFSZ, SIG_DFL);
}

/* A file that gets no descriptor is neither made nor truncated. */
static void no_descriptor(void) {
  make("full", "text");
  struct rlimit before;
  getrlimit(RLIMIT_NOFILE, &before);
  struct rlimit limit = before;
  limit.rlim_cur = 64;
  setrlimit(RLIMIT_NOFILE, &limit);
  int fds[64];
  int count = 0;
  int fd = open(in("full"), O_RDONLY);
  for (; fd >= 0; ++count) {
    fds[count] = fd;
    fd = dup(fd);
  }
  SAY(open(in("not made"), O_CREAT | O_WRONLY, 0644));
  SAY(open(in("full"), O_TRUNC | O_WRONLY));
  TRUE(fopen(in("not made"), "w") == NULL);
  SAY(close(fds[--count]));
  SAY(access(in("not made"), F_OK));
  while (count > 0) {
    close(fds[--count]);
  }
  setrlimit(RLIMIT_NOFILE, &before);
  show("full");
  fd = open(in("made"), O_CREAT | O_WRONLY, 0644);
  SAY(fcntl(fd, F_GETFD));
  close(fd);
  fd = open(in("made"), O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
  SAY(fcntl(fd, F_GETFD));
  close(fd);
}

/* Flags and arguments that no call takes, and what a new owner does. */
static void refusals(void) {
  make("refusing", "text");
  struct stat info;
  struct statx more;
  SAY(statx(AT_FDCWD, in("refusing"), 0x40000, STATX_BASIC_STATS, &more));
  SAY(statx(AT_FDCWD, in("none"), 0x40000, STATX_BASIC_STATS, &more));
  SAY(statx(AT_FDCWD, in("refusing"), AT_STATX_SYNC_TYPE, STATX_BASIC_STATS, &more));
  SAY(statx(AT_FDCWD, in("refusing"), AT_STATX_DONT_SYNC, STATX_BASIC_STATS, &more));
  SAY(fstatat(AT_FDCWD, in("refusing"), &info, AT_REMOVEDIR));
  SAY(close_range(90, 60, 0));
  int fd = open(in("refusing"), O_RDWR);
  SAY(chmod(in("refusing"), 07777));
  SAY(chown(in("refusing"), getuid(), getgid()));
  SAY(stat(in("refusing"), &info));
  printf("mode %o\n", info.st_mode);
  SAY(fchmod(fd, 06767));
  SAY(fchown(fd, -1, getgid()));
  SAY(fstat(fd, &info));
  printf("mode %o\n", info.st_mode);
  close(fd);
  SAY(mkdir(in("refusing directory"), 0755));
  SAY(chmod(in("refusing directory"), 06755));
  SAY(chown(in("refusing directory"), getuid(), getgid()));
  SAY(stat(in("refusing directory"), &info));
  printf("mode %o\n", info.st_mode);
}

static void flags_of_calls(void) {
  make("flags", "text");
  char text[16] = "";
  int fd = open(in("flags"), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  SAY(fcntl(fd, F_GETFL));
  SAY(fcntl(fd, F_SETFL, O_APPEND));
  SAY(fcntl(fd, F_GETFL));
  SAY(fcntl(fd, F_SETFL, 0));
  for (int wanted = 1; wanted >= 0; --wanted) {
    SAY(ioctl(fd, FIONBIO, &wanted));
    SAY(fcntl(fd, F_GETFL));
  }
  SAY(ioctl(fd, FIONBIO, NULL));
  SAY(write(fd, "0123456789", 10));
  SAY(lseek(fd, 2, SEEK_SET));
  struct iovec parts[] = {{"ab", 2}, {"cd", 2}};
  SAY(pwritev2(fd, parts, 2, 0, RWF_APPEND));
  SAY(lseek(fd, 0, SEEK_CUR));
  SAY(pwritev2(fd, parts, 1, -1, RWF_APPEND | RWF_DSYNC));
  SAY(lseek(fd, 0, SEEK_CUR));
  SAY(pread(fd, text, sizeof text, 0));
  SAY(lseek(fd, 4, SEEK_SET));
  SAY(write(fd, "-", 1));
  parts[0].iov_base = text;
  SAY(preadv2(fd, parts, 1, 0, RWF_APPEND));
  close(fd);
  fd = open(in("flags"), O_RDONLY);
  SAY(pwritev2(fd, parts, 1, 0, RWF_APPEND));
  SAY(fcntl(fd, F_GETFL));
  close(fd);
  fd = open(in("flags"), O_PATH);
  SAY(fcntl(fd, F_GETFL));
  SAY(pwritev2(fd, parts, 1, 0, RWF_APPEND));
  close(fd);
  show("flags");
}

/* Addresses that nothing is at. */
static void addresses(void) {
  make("addressed", "text");
  SAY(symlink("target", in("addressed link")));
  struct stat info;
  char* volatile nowhere[] = {(char*)1, (char*)8, (char*)-1, NULL};
  for (int i = 0; i < 4; ++i) {
    char* bad = nowhere[i];
    struct stat* out = (struct stat*)bad;
    printf("address %d\n", i);
    int fd = open(in("addressed"), O_RDWR);
    SAY(open(bad, O_RDONLY));
    SAY(openat(AT_FDCWD, bad, O_CREAT | O_WRONLY, 0644));
    SAY(stat(bad, &info));
    SAY(stat(in("addressed"), out));
    SAY(stat(in("none"), out));
    SAY(fstat(fd, out));
    SAY(statvfs(bad, (struct statvfs*)(void*)&info));
    SAY(access(bad, R_OK));
    SAY(chmod(bad, 0644));
    SAY(unlink(bad));
    SAY(mkdir(bad, 0755));
    SAY(rename(bad, in("addressed")));
    SAY(rename(in("addressed"), bad));
    SAY(symlink(bad, in("addressed too")));
    SAY(readlink(bad, (char*)&info, sizeof info));
    SAY(readlink(in("addressed link"), bad, 10));
    SAY(readlink(in("none"), bad, 10));
    SAY(truncate(bad, 0));
    SAY(chdir(bad));
    SAY(read(fd, bad, 4));
    SAY(write(fd, bad, 4));
    SAY(lseek(fd, 0, SEEK_CUR));
    SAY(pread(fd, bad, 4, 0));
    SAY(pread(fd, bad, 4, 100));
    SAY(pwrite(fd, bad, 4, 0));
    SAY(readv(fd, (struct iovec*)bad, 1));
    SAY(pwritev(fd, (struct iovec*)bad, 2, 0));
    struct iovec parts[] = {{"ab", 2}, {bad, 2}};
    SAY(pwritev(fd, parts, 2, 0));
    close(fd);
    fd = open(in("addressed"), O_RDONLY);
    SAY(write(fd, bad, 4));
    close(fd);
    show("addressed");
  }
  SAY(utimensat(AT_FDCWD, in("addressed"), (struct timespec*)nowhere[1], 0));
}

static void* use_files_for_ever(void* path) {
  for (;;) {
    char bytes[16] = "abc";
    int fd = open(path, O_CREAT | O_RDWR, 0644);
    if (write(fd, bytes, 3) != 3 || pread(fd, bytes, sizeof bytes, 0) < 3 || fsync(fd) != 0) {
      printf("a call failed in a thread\n");
    }
    close(fd);
  }
}

static void* read_for_ever(void* path) {
  int fd = open(path, O_RDONLY);
  for (char byte;;) {
    if (pread(fd, &byte, 1, 0) != 1) {
      printf("a read failed in a thread\n");
    }
  }
}

/* A thread that is cancelled ends at one of its calls, and in none of them. */
static void cancellation(void) {
  int ended = 0;
  int fd = open(in("cancelled"), O_CREAT | O_WRONLY, 0644);
  SAY(write(fd, "abc", 3));
  SAY(close(fd));
  for (int i = 0; i < 40; ++i) {
    pthread_t thread;
    void* result = NULL;
    pthread_create(
        &thread, NULL, i % 2 == 0 ? use_files_for_ever : read_for_ever, (void*)in("cancelled"));
    struct timespec moment = {0, 200000 + 37000 * i};
    nanosleep(&moment, NULL);  // lint: allow sleep to be somewhere in a call
    pthread_cancel(thread);
    pthread_join(thread, &result);
    ended += result == PTHREAD_CANCELED;
  }
  printf("%d threads ended\n", ended);
  struct stat attributes;
  printf("stat %d\n", stat(in("cancelled"), &attributes));
  printf("unlink %d\n", unlink(in("cancelled")));
}

int main(int count, char** arguments) {
  static const struct {
    const char* name;
    void (*run)(void);
  } parts[] = {
      {"opening", opening},
      {"data", data},
      {"names", names},
      {"unnamed", unnamed},
      {"by descriptor", by_descriptor},
      {"attributes", attributes},
      {"extended_attributes", extended_attributes},
      {"directories", directories},
      {"walks", walks},
      {"moved directories", moved_directories},
      {"system calls", system_calls},
      {"working directory", working_directory},
      {"streams", streams},
      {"wide streams", wide_streams},
      {"processes", processes},
      {"locks", locks},
      {"mappings", mappings},
      {"readiness", readiness},
      {"signals", signals},
      {"asynchronous", asynchronous},
      {"addresses", addresses},
      {"flags", flags_of_calls},
      {"refusals", refusals},
      {"no descriptor", no_descriptor},
      {"limit of file sizes", file_size_limit},
      {"cancellation", cancellation},
  };
  if (count == 2 && strcmp(arguments[1], "--wide") == 0) {
    return write_wide();
  }
  if (count != 2) {
    fprintf(stderr, "usage: calls DIRECTORY\n");
    return 2;
  }
  top = arguments[1];
  umask(022);
  for (size_t i = 0; i < sizeof parts / sizeof parts[0]; ++i) {
    printf("--- %s\n", parts[i].name);
    parts[i].run();
  }
  return fflush(stdout);
}
