/* What users may do, through the C API and in a local directory, call by call.

   permissions            compares the two; the cluster is that of BENCHFS_REGISTRY_DIR
   permissions DIRECTORY  prints what each call in the directory says, for tests/preload/compare.sh

   It takes root, who becomes other users; nothing is looked at otherwise. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "benchfs/benchfs.h"

enum { kOwner = 4101, kMember = 4102, kStranger = 4103, kGroup = 4201, kOther = 4202 };

/* Each call closes what it has opened, and returns 0 or more, or a negative errno value. */
struct door {
  int (*open)(const char* path, int flags, int mode);
  int (*open_and_set)(const char* path, int flags, int mode); /* fchmod of what was opened */
  int (*open_and_touch)(const char* path, int flags, int explicitly);
  int (*open_and_write)(const char* path, int flags);
  int (*open_and_copy)(const char* path, const char* from);
  int (*open_and_tag)(const char* path, int flags);
  int (*openat)(const char* directory, const char* path, int flags, int mode);
  int (*accessat)(const char* directory, const char* path, int mode, int flags);
  int (*list)(const char* path);
  int (*enter)(const char* path);
  int (*stat)(const char* path);
  int (*look)(const char* path, struct stat* out);
  int (*access)(const char* path, int mode);
  int (*eaccess)(const char* path, int mode);
  int (*mkdir)(const char* path, int mode);
  int (*rmdir)(const char* path);
  int (*unlink)(const char* path);
  int (*rename)(const char* from, const char* to, int flags);
  int (*link)(const char* from, const char* to);
  int (*symlink)(const char* target, const char* path);
  int (*readlink)(const char* path);
  int (*truncate)(const char* path, long size);
  int (*chmod)(const char* path, int mode);
  int (*chmod_elsewhere)(const char* path, int mode); /* by another client */
  int (*chown)(const char* path, int uid, int gid);
  int (*utimens)(const char* path, const struct timespec* times);
  int (*setxattr)(const char* path);
  int (*getxattr)(const char* path);
  int (*listxattr)(const char* path);
  int (*removexattr)(const char* path);
  int (*statvfs)(void);
};

static const struct timespec kThen[2] = {{100, 0}, {200, 0}};
static const struct timespec kOneNow[2] = {{0, UTIME_OMIT}, {0, UTIME_NOW}};
static const struct timespec kBothNow[2] = {{0, UTIME_NOW}, {0, UTIME_NOW}};

/* More than what a client copies by itself. */
enum { COPIED = 256 << 10 };

/* --- The kernel's ------------------------------------------------------------------------------
 */

static int result_of(long result) {
  return result < 0 ? -errno : 0;
}

static int ended(int fd, long result) {
  int error = result_of(result);
  close(fd);
  return error;
}

static int k_open(const char* path, int flags, int mode) {
  int fd = open(path, flags, mode);
  return fd < 0 ? -errno : ended(fd, 0);
}
static int k_open_and_set(const char* path, int flags, int mode) {
  int fd = open(path, flags);
  return fd < 0 ? -errno : ended(fd, fchmod(fd, (mode_t)mode));
}
static int k_open_and_touch(const char* path, int flags, int explicitly) {
  int fd = open(path, flags);
  return fd < 0 ? -errno : ended(fd, futimens(fd, explicitly ? kThen : NULL));
}
static const char kBytes[COPIED] = {1};
static int k_open_and_write(const char* path, int flags) {
  int fd = open(path, flags);
  return fd < 0 ? -errno : ended(fd, write(fd, kBytes, sizeof kBytes));
}
static int k_open_and_copy(const char* path, const char* from) {
  int source = open(from, O_RDONLY);
  int fd = open(path, O_WRONLY);
  int error = source < 0 || fd < 0 ? -errno : 0;
  if (error == 0) {
    loff_t begin = 0;
    error = result_of(copy_file_range(source, &begin, fd, NULL, COPIED, 0));
  }
  close(source);
  close(fd);
  return error;
}
static int k_open_and_tag(const char* path, int flags) {
  int fd = open(path, flags);
  return fd < 0 ? -errno : ended(fd, fsetxattr(fd, "user.tag", "1", 1, 0));
}
static int k_openat(const char* directory, const char* path, int flags, int mode) {
  int from = open(directory, O_RDONLY | O_DIRECTORY);
  if (from < 0) {
    return -errno;
  }
  int fd = openat(from, path, flags, mode);
  int error = result_of(fd);
  if (fd >= 0) {
    close(fd);
  }
  close(from);
  return error;
}
static int k_accessat(const char* directory, const char* path, int mode, int flags) {
  int from = open(directory, O_RDONLY | O_DIRECTORY);
  return from < 0 ? -errno : ended(from, faccessat(from, path, mode, flags));
}
static int base = -1;
static int k_enter(const char* path) {
  if (chdir(path) != 0) {
    return -errno;
  }
  return result_of(fchdir(base));
}
static int k_list(const char* path) {
  return k_open(path, O_RDONLY | O_DIRECTORY, 0);
}
static int k_look(const char* path, struct stat* out) {
  return result_of(lstat(path, out));
}
static int k_stat(const char* path) {
  struct stat out;
  return result_of(stat(path, &out));
}
static int k_access(const char* path, int mode) {
  return result_of(access(path, mode));
}
static int k_eaccess(const char* path, int mode) {
  return result_of(eaccess(path, mode));
}
static int k_mkdir(const char* path, int mode) {
  return result_of(mkdir(path, (mode_t)mode));
}
static int k_rmdir(const char* path) {
  return result_of(rmdir(path));
}
static int k_unlink(const char* path) {
  return result_of(unlink(path));
}
static int k_rename(const char* from, const char* to, int flags) {
  return result_of(renameat2(AT_FDCWD, from, AT_FDCWD, to, (unsigned)flags));
}
static int k_link(const char* from, const char* to) {
  return result_of(link(from, to));
}
static int k_symlink(const char* target, const char* path) {
  return result_of(symlink(target, path));
}
static int k_readlink(const char* path) {
  char target[64];
  return result_of(readlink(path, target, sizeof target));
}
static int k_truncate(const char* path, long size) {
  return result_of(truncate(path, size));
}
static int k_chmod(const char* path, int mode) {
  return result_of(chmod(path, (mode_t)mode));
}
static int k_chmod_elsewhere(const char* path, int mode) {
  return k_chmod(path, mode);
}
static int k_chown(const char* path, int uid, int gid) {
  return result_of(chown(path, (uid_t)uid, (gid_t)gid));
}
static int k_utimens(const char* path, const struct timespec* times) {
  return result_of(utimensat(AT_FDCWD, path, times, 0));
}
static int k_setxattr(const char* path) {
  return result_of(setxattr(path, "user.tag", "1", 1, 0));
}
static int k_getxattr(const char* path) {
  char value[8];
  return result_of(getxattr(path, "user.tag", value, sizeof value));
}
static int k_listxattr(const char* path) {
  char names[64];
  return result_of(listxattr(path, names, sizeof names));
}
static int k_removexattr(const char* path) {
  return result_of(removexattr(path, "user.tag"));
}
static int k_statvfs(void) {
  struct statvfs out;
  return result_of(statvfs(".", &out));
}

static const struct door kKernel = {
    .open = k_open,
    .open_and_set = k_open_and_set,
    .open_and_touch = k_open_and_touch,
    .open_and_write = k_open_and_write,
    .open_and_copy = k_open_and_copy,
    .open_and_tag = k_open_and_tag,
    .openat = k_openat,
    .accessat = k_accessat,
    .list = k_list,
    .enter = k_enter,
    .stat = k_stat,
    .look = k_look,
    .access = k_access,
    .eaccess = k_eaccess,
    .mkdir = k_mkdir,
    .rmdir = k_rmdir,
    .unlink = k_unlink,
    .rename = k_rename,
    .link = k_link,
    .symlink = k_symlink,
    .readlink = k_readlink,
    .truncate = k_truncate,
    .chmod = k_chmod,
    .chmod_elsewhere = k_chmod_elsewhere,
    .chown = k_chown,
    .utimens = k_utimens,
    .setxattr = k_setxattr,
    .getxattr = k_getxattr,
    .listxattr = k_listxattr,
    .removexattr = k_removexattr,
    .statvfs = k_statvfs,
};

/* --- The library's -----------------------------------------------------------------------------
 */

static benchfs_context_t* fs;
static benchfs_context_t* other_fs;

static int closed(benchfs_file_t* file, long result) {
  benchfs_close(file);
  return result < 0 ? (int)result : 0;
}
static int positive(long result) {
  return result < 0 ? (int)result : 0;
}

static int b_open(const char* path, int flags, int mode) {
  benchfs_file_t* file = benchfs_open(fs, path, flags, (mode_t)mode);
  return file == NULL ? -errno : closed(file, 0);
}
static int b_open_and_set(const char* path, int flags, int mode) {
  benchfs_file_t* file = benchfs_open(fs, path, flags, 0);
  return file == NULL ? -errno : closed(file, benchfs_fchmod(file, (mode_t)mode));
}
static int b_open_and_touch(const char* path, int flags, int explicitly) {
  benchfs_file_t* file = benchfs_open(fs, path, flags, 0);
  return file == NULL ? -errno : closed(file, benchfs_futimens(file, explicitly ? kThen : NULL));
}
static int b_open_and_write(const char* path, int flags) {
  benchfs_file_t* file = benchfs_open(fs, path, flags, 0);
  return file == NULL ? -errno : closed(file, benchfs_write(file, kBytes, sizeof kBytes));
}
static int b_open_and_copy(const char* path, const char* from) {
  benchfs_file_t* source = benchfs_open(fs, from, O_RDONLY, 0);
  benchfs_file_t* file = benchfs_open(fs, path, O_WRONLY, 0);
  int error = source == NULL || file == NULL ? -errno : 0;
  if (error == 0) {
    error = positive(benchfs_copy_file_range(source, 0, file, 0, COPIED));
  }
  benchfs_close(source);
  return file == NULL ? error : closed(file, error);
}
static int b_open_and_tag(const char* path, int flags) {
  benchfs_file_t* file = benchfs_open(fs, path, flags, 0);
  return file == NULL ? -errno : closed(file, benchfs_fsetxattr(file, "user.tag", "1", 1, 0));
}
static int b_openat(const char* directory, const char* path, int flags, int mode) {
  benchfs_file_t* from = benchfs_open(fs, directory, O_RDONLY | O_DIRECTORY, 0);
  if (from == NULL) {
    return -errno;
  }
  benchfs_file_t* file = benchfs_openat(from, path, flags, (mode_t)mode);
  int error = file == NULL ? -errno : closed(file, 0);
  benchfs_close(from);
  return error;
}
static int b_accessat(const char* directory, const char* path, int mode, int flags) {
  benchfs_file_t* from = benchfs_open(fs, directory, O_RDONLY | O_DIRECTORY, 0);
  return from == NULL ? -errno : closed(from, benchfs_faccessat(from, path, mode, flags));
}
/* There is no working directory: what chdir() asks for. */
static int b_enter(const char* path) {
  char inside[64];
  benchfs_stat_t stat;
  snprintf(inside, sizeof inside, "%s/.", path);
  return benchfs_stat(fs, inside, &stat);
}
static int ignore_entry(void* arg, const char* name, uint32_t type, uint64_t ino) {
  (void)arg, (void)name, (void)type, (void)ino;
  return 0;
}
static int look_at_entry(
    void* arg, const char* name, uint32_t type, uint64_t ino, const benchfs_stat_t* stat) {
  (void)name, (void)type, (void)ino;
  *(int*)arg |= stat != NULL;
  return 0;
}
/* With attributes the same, and those only where each may be looked at. */
static int b_list(const char* path) {
  int error = positive(benchfs_readdir(fs, path, ignore_entry, NULL));
  int has_told = 0;
  if (positive(benchfs_readdirplus(fs, path, look_at_entry, &has_told)) != error) {
    return -EPROTO;
  }
  char inside[256];
  benchfs_stat_t stat;
  snprintf(inside, sizeof inside, "%s/.", path);
  return has_told && benchfs_stat(fs, inside, &stat) != 0 ? -EPROTO : error;
}
static int b_look(const char* path, struct stat* out) {
  benchfs_stat_t stat;
  int error = benchfs_lstat(fs, path, &stat);
  if (error == 0) {
    out->st_mode = stat.st_mode;
    out->st_uid = stat.st_uid;
    out->st_gid = stat.st_gid;
    out->st_size = stat.st_size;
  }
  return error;
}
static int b_stat(const char* path) {
  benchfs_stat_t stat;
  return benchfs_stat(fs, path, &stat);
}
static int b_access(const char* path, int mode) {
  return benchfs_access(fs, path, mode);
}
static int b_eaccess(const char* path, int mode) {
  return benchfs_eaccess(fs, path, mode);
}
static int b_mkdir(const char* path, int mode) {
  return benchfs_mkdir(fs, path, (mode_t)mode);
}
static int b_rmdir(const char* path) {
  return benchfs_rmdir(fs, path);
}
static int b_unlink(const char* path) {
  return benchfs_unlink(fs, path);
}
static int b_rename(const char* from, const char* to, int flags) {
  return benchfs_rename2(fs, from, to, (unsigned)flags);
}
static int b_link(const char* from, const char* to) {
  return benchfs_link(fs, from, to);
}
static int b_symlink(const char* target, const char* path) {
  return benchfs_symlink(fs, target, path);
}
static int b_readlink(const char* path) {
  char target[64];
  return positive(benchfs_readlink(fs, path, target, sizeof target));
}
static int b_truncate(const char* path, long size) {
  return benchfs_truncate(fs, path, size);
}
static int b_chmod(const char* path, int mode) {
  return benchfs_chmod(fs, path, (mode_t)mode);
}
static int b_chmod_elsewhere(const char* path, int mode) {
  return benchfs_chmod(other_fs, path, (mode_t)mode);
}
static int b_chown(const char* path, int uid, int gid) {
  return benchfs_chown(fs, path, (uid_t)uid, (gid_t)gid);
}
static int b_utimens(const char* path, const struct timespec* times) {
  return benchfs_utimens(fs, path, times);
}
static int b_setxattr(const char* path) {
  return benchfs_setxattr(fs, path, "user.tag", "1", 1, 0);
}
static int b_getxattr(const char* path) {
  char value[8];
  return positive(benchfs_getxattr(fs, path, "user.tag", value, sizeof value));
}
static int b_listxattr(const char* path) {
  char names[64];
  return positive(benchfs_listxattr(fs, path, names, sizeof names));
}
static int b_removexattr(const char* path) {
  return benchfs_removexattr(fs, path, "user.tag");
}
static int b_statvfs(void) {
  struct statvfs out;
  return benchfs_statvfs(fs, &out);
}

static const struct door kLibrary = {
    .open = b_open,
    .open_and_set = b_open_and_set,
    .open_and_touch = b_open_and_touch,
    .open_and_write = b_open_and_write,
    .open_and_copy = b_open_and_copy,
    .open_and_tag = b_open_and_tag,
    .openat = b_openat,
    .accessat = b_accessat,
    .list = b_list,
    .enter = b_enter,
    .stat = b_stat,
    .look = b_look,
    .access = b_access,
    .eaccess = b_eaccess,
    .mkdir = b_mkdir,
    .rmdir = b_rmdir,
    .unlink = b_unlink,
    .rename = b_rename,
    .link = b_link,
    .symlink = b_symlink,
    .readlink = b_readlink,
    .truncate = b_truncate,
    .chmod = b_chmod,
    .chmod_elsewhere = b_chmod_elsewhere,
    .chown = b_chown,
    .utimens = b_utimens,
    .setxattr = b_setxattr,
    .getxattr = b_getxattr,
    .listxattr = b_listxattr,
    .removexattr = b_removexattr,
    .statvfs = b_statvfs,
};

/* --- The cases ---------------------------------------------------------------------------------
 */

static const struct door* d;
static const char* who = "root";
/* Those of tmpfs do since Linux 6.6. */
static int local_files_have_tags;

static void must(int ok) {
  if (!ok) {
    perror("permissions");
    exit(2);
  }
}

static void become(const char* name, int uid, int gid, int group) {
  gid_t groups[1] = {(gid_t)group};
  must(seteuid(0) == 0 && setgroups(group != 0 ? 1 : 0, groups) == 0);
  must(setegid((gid_t)gid) == 0 && seteuid((uid_t)uid) == 0);
  who = name;
}
static void as_root(void) {
  become("root", 0, 0, 0);
}
static void as_owner(void) {
  become("owner", kOwner, kOwner, kOther);
}
static void as_member(void) {
  become("member", kMember, kMember, kGroup);
}
static void as_stranger(void) {
  become("stranger", kStranger, kStranger, 0);
}

static void say(const char* what, int result) {
  printf("%s: %s: %s\n", who, what, result < 0 ? strerrorname_np(-result) : "ok");
}
#define SAY(call) say(#call, d->call)
#define SAY_OF_TAGS(call)      \
  if (local_files_have_tags) { \
    SAY(call);                 \
  }

static void show(const char* path) {
  struct stat stat;
  int error = d->look(path, &stat);
  if (error != 0) {
    say(path, error);
    return;
  }
  long size = S_ISREG(stat.st_mode) ? (long)stat.st_size : 0;
  printf("%s is %o of %u:%u, %ld bytes\n", path, stat.st_mode, stat.st_uid, stat.st_gid, size);
}

static void make_file(const char* path, int mode, int uid, int gid) {
  as_root();
  int error = d->open(path, O_CREAT | O_WRONLY, 0600);
  error = error == 0 ? d->chown(path, uid, gid) : error;
  error = error == 0 ? d->chmod(path, mode) : error;
  if (error != 0) {
    say(path, error);
  }
}
static void make_directory(const char* path, int mode, int uid, int gid) {
  as_root();
  int error = d->mkdir(path, 0700);
  error = error == 0 ? d->chown(path, uid, gid) : error;
  error = error == 0 ? d->chmod(path, mode) : error;
  if (error != 0) {
    say(path, error);
  }
}

static void for_all(void (*cases)(void)) {
  as_owner();
  cases();
  as_member();
  cases();
  as_stranger();
  cases();
  as_root();
  cases();
}

static void search(void) {
  SAY(stat("closed/file"));
  SAY(stat("closed/missing"));
  SAY(stat("closed/file/below"));
  SAY(stat("closed"));
  SAY(stat("closed/"));
  SAY(stat("closed/."));
  SAY(stat("closed/.."));
  SAY(stat("closed/../open/file"));
  SAY(stat("closed/deep/file"));
  SAY(stat("to-file"));
  SAY(stat("to-closed"));
  SAY(stat("open/to-deep"));
  SAY(readlink("closed/link"));
  SAY(readlink("open/to-deep"));
  SAY(open("closed/deep/../file", O_RDONLY, 0));
  SAY(openat("open", "../closed/file", O_RDONLY, 0));
  SAY(openat("open", "file", O_RDONLY, 0));
  SAY(list("closed"));
  SAY(list("closed/deep"));
  SAY(list("listed"));
  SAY(stat("listed/file"));
  SAY(access("closed/file", F_OK));
  SAY(eaccess("closed/file", F_OK));
  SAY(enter("closed"));
  SAY(enter("listed"));
  SAY(enter("open/file"));
  SAY(enter("closed/deep"));
}

static void opening(void) {
  SAY(open("file", O_RDONLY, 0));
  SAY(open("file", O_WRONLY, 0));
  SAY(open("file", O_RDWR, 0));
  SAY(open("file", O_RDONLY | O_TRUNC, 0));
  SAY(open("file", O_CREAT | O_RDONLY, 0600));
  SAY(open("file", O_CREAT | O_WRONLY | O_TRUNC, 0600));
  SAY(open("file", O_CREAT | O_EXCL | O_WRONLY, 0600));
  SAY(open("closed", O_RDONLY, 0));
  SAY(open("closed", O_WRONLY, 0));
  SAY(open("closed", O_RDONLY | O_TRUNC, 0));
  SAY(open("closed", O_CREAT | O_WRONLY, 0600));
  SAY(open("open/deep", O_CREAT | O_RDONLY, 0600));
  SAY(open("closed", O_CREAT | O_RDONLY, 0600));
  SAY(truncate("file", 3));
  SAY(truncate("closed", 3));
  SAY(access("file", R_OK));
  SAY(access("file", W_OK));
  SAY(eaccess("file", R_OK));
  SAY(eaccess("file", W_OK));
  SAY(eaccess("file", X_OK));
  SAY(eaccess("script", X_OK));
  SAY(eaccess("closed", X_OK));
  SAY_OF_TAGS(setxattr("file"));
  SAY_OF_TAGS(getxattr("file"));
  SAY_OF_TAGS(listxattr("file"));
  SAY_OF_TAGS(removexattr("file"));
  SAY_OF_TAGS(open_and_tag("file", O_RDONLY));
  SAY(open_and_write("file", O_WRONLY | O_APPEND));
}

static void attributes(void) {
  SAY(chmod("file", 0640));
  SAY(open_and_set("file", O_RDONLY, 0640));
  SAY(chown("file", kOwner, -1));
  SAY(chown("file", kStranger, -1));
  SAY(chown("file", -1, kOther));
  SAY(chown("file", -1, kGroup));
  SAY(chown("file", -1, kStranger));
  SAY(chown("file", -1, -1));
  SAY(chown("file", kOwner, kGroup));
  SAY(utimens("file", NULL));
  SAY(utimens("file", kBothNow));
  SAY(utimens("file", kOneNow));
  SAY(utimens("file", kThen));
  SAY(open_and_touch("file", O_RDONLY, 0));
  SAY(open_and_touch("file", O_RDONLY, 1));
  make_file("file", 0640, kOwner, kGroup);
}

static void making(void) {
  SAY(open("open/new", O_CREAT | O_WRONLY, 0444));
  show("open/new");
  SAY(open("open/new", O_WRONLY, 0));
  SAY(unlink("open/new"));
  SAY(open("open/dangling", O_CREAT | O_WRONLY, 0600));
  SAY(unlink("open/new"));
  SAY(mkdir("open/d", 0750));
  show("open/d");
  SAY(rename("open/d", "open/e", 0));
  SAY(rename("open/e", "shared/e", 0));
  SAY(rmdir("shared/e"));
  SAY(rmdir("open/e"));
  SAY(symlink("x", "open/s"));
  SAY(unlink("open/s"));
  SAY(link("open/own", "open/l"));
  SAY(unlink("open/l"));
  SAY(mkdir("open/file", 0700));
  SAY(symlink("x", "open/file"));
  SAY(link("open/own", "open/file"));
  SAY(open("open/file", O_CREAT | O_RDONLY, 0600));
  SAY(open("open/file", O_CREAT | O_EXCL | O_RDONLY, 0600));
  SAY(unlink("open/missing"));
  SAY(rmdir("open/missing"));
  SAY(unlink("open/deep"));
  SAY(rmdir("open/file"));
  SAY(rename("open/missing", "open/x", 0));
  SAY(rename("open/file", "open/other", 0));
  SAY(rename("open/other", "open/file", 0));
  SAY(rename("open/file", "open/file", 0));
  SAY(rename("open/file", "open/own", RENAME_NOREPLACE));
  SAY(rename("open/file", "open/own", RENAME_EXCHANGE));
  SAY(rename("open/file", "open/own", RENAME_EXCHANGE));
  SAY(rename("open/deep", "open/deep/below", 0));
  SAY(rename("open", "open/deep/below", 0));
  SAY(open("open", O_TMPFILE | O_RDWR, 0600));
  SAY_OF_TAGS(setxattr("open"));
  SAY_OF_TAGS(removexattr("open"));
}

static void sticky(void) {
  make_directory("sticky/directory", 0777, kOwner, kGroup);
  make_file("sticky/file", 0666, kOwner, kGroup);
  make_file("shared/mine", 0666, kStranger, kStranger);
}
static void in_sticky(void) {
  SAY(unlink("sticky/file"));
  SAY(rmdir("sticky/directory"));
  SAY(rename("sticky/file", "sticky/moved", 0));
  SAY(rename("sticky/file", "shared/moved", 0));
  SAY(open("sticky/own", O_CREAT | O_WRONLY, 0600));
  SAY(rename("sticky/own", "sticky/file", 0));
  SAY(rename("sticky/own", "sticky/file", RENAME_EXCHANGE));
  SAY(unlink("sticky/own"));
  SAY_OF_TAGS(setxattr("sticky"));
  SAY_OF_TAGS(getxattr("sticky"));
}

/* Whose ".." changes must be writable. */
static void moving_directories(void) {
  make_directory("shared/fixed", 0555, kOwner, kGroup);
  make_directory("shared/loose", 0777, kOwner, kGroup);
  make_directory("also-shared", 0777, kOwner, kGroup);
  make_directory("also-shared/fixed", 0555, kOwner, kGroup);
  as_stranger();
  SAY(rename("shared/fixed", "shared/renamed", 0));
  SAY(rename("shared/renamed", "also-shared/renamed", 0));
  SAY(rename("shared/loose", "also-shared/loose", 0));
  SAY(rename("also-shared/loose", "also-shared/fixed", RENAME_EXCHANGE));
  SAY(rename("also-shared/fixed", "shared/renamed", RENAME_EXCHANGE));
  make_directory("shared/loose", 0777, kOwner, kGroup);
  as_stranger();
  SAY(rename("shared/loose", "also-shared/loose", RENAME_EXCHANGE));
  SAY(rename("shared/loose", "also-shared/loose", 0));
}

/* What another client allows is allowed at once. */
static void allowed_elsewhere(void) {
  make_file("sticky/file", 0666, kOwner, kGroup);
  as_stranger();
  SAY(stat("closed/file"));
  SAY(unlink("sticky/file"));
  as_root();
  SAY(chmod_elsewhere("closed", 0711));
  SAY(chmod_elsewhere("sticky", 0777));
  as_stranger();
  SAY(stat("closed/file"));
  SAY(unlink("sticky/file"));
}

/* A program that gives its privileges up for good. */
static void for_good(void) {
  as_root();
  must(setgroups(0, NULL) == 0 && setgid(kStranger) == 0 && setuid(kStranger) == 0);
  who = "a stranger for good";
  SAY(open("file", O_RDONLY, 0));
  SAY(stat("closed/file"));
  SAY(access("file", R_OK));
  SAY(access("closed/file", R_OK));
  SAY(access("open/file", R_OK));
  SAY(open("shared/new", O_CREAT | O_WRONLY, 0600));
  show("shared/new");
}

static void set_ids(void) {
  make_file("program", 06775, kOwner, kGroup);
  as_owner();
  SAY(open_and_write("program", O_WRONLY));
  show("program");
  SAY(chmod("program", 06775));
  show("program");
  make_file("program", 06775, kOwner, kGroup);
  as_member();
  SAY(truncate("program", 0));
  show("program");
  make_file("program", 04777, kOwner, kGroup);
  as_stranger();
  SAY(open_and_write("program", O_WRONLY | O_APPEND));
  show("program");
  make_file("program", 06775, kOwner, kGroup);
  as_owner();
  SAY(open("program", O_WRONLY | O_TRUNC, 0));
  show("program");
  make_file("program", 06775, kOwner, kGroup);
  as_root();
  SAY(open_and_write("program", O_WRONLY));
  show("program");
  make_file("source", 0644, kOwner, kGroup);
  SAY(open_and_write("source", O_WRONLY));
  make_file("program", 04777, kOwner, kGroup);
  as_stranger();
  SAY(open_and_copy("program", "source"));
  show("program");
  make_directory("group", 02777, kOwner, kGroup);
  as_stranger();
  SAY(open("group/program", O_CREAT | O_WRONLY, 02770));
  show("group/program");
  SAY(mkdir("group/directory", 0750));
  show("group/directory");
  as_member();
  SAY(open("group/of-member", O_CREAT | O_WRONLY, 02770));
  show("group/of-member");
}

static void real_ids(void) {
  as_root();
  must(setresuid(kStranger, 0, 0) == 0);
  who = "a stranger's program of root";
  SAY(access("file", R_OK));
  SAY(eaccess("file", R_OK));
  SAY(access("closed/file", F_OK));
  SAY(eaccess("closed/file", F_OK));
  SAY(access("script", X_OK));
  SAY(accessat("open", "../file", R_OK, 0));
  SAY(accessat("open", "../file", R_OK, AT_EACCESS));
  SAY(accessat("open", "../closed/file", F_OK, 0));
  must(setresuid(0, 0, 0) == 0);
}

static void run(const struct door* door) {
  d = door;
  umask(0);
  base = open(".", O_RDONLY | O_DIRECTORY);
  SAY(statvfs()); /* each server is known before root leaves */
  make_directory("closed", 0710, kOwner, kGroup);
  make_directory("closed/deep", 0755, kOwner, kGroup);
  make_file("closed/file", 0644, kOwner, kGroup);
  make_directory("open", 0755, kOwner, kGroup);
  make_directory("open/deep", 0755, kOwner, kGroup);
  make_file("open/file", 0644, kOwner, kGroup);
  make_file("open/own", 0666, kOwner, kGroup);
  make_directory("listed", 0744, kOwner, kGroup);
  make_file("listed/file", 0644, kOwner, kGroup);
  make_directory("shared", 0777, kOwner, kGroup);
  make_directory("sticky", 01777, 0, 0);
  make_file("script", 0710, kOwner, kGroup);
  SAY(symlink("closed/file", "to-file"));
  SAY(symlink("closed", "to-closed"));
  SAY(symlink("../closed/deep", "open/to-deep"));
  SAY(symlink("nowhere", "closed/link"));
  SAY(symlink("new", "open/dangling"));
  for_all(search);
  static const int modes[] = {0640, 0460, 0204, 0007, 0000, 0755};
  for (unsigned i = 0; i < sizeof modes / sizeof *modes; ++i) {
    make_file("file", modes[i], kOwner, kGroup);
    for_all(opening);
    show("file");
  }
  make_file("file", 0640, kOwner, kGroup);
  for_all(attributes);
  make_file("file", 0666, kOwner, kGroup);
  as_stranger();
  attributes();
  static const int directory_modes[] = {0755, 0775, 0577, 0707, 0722};
  for (unsigned i = 0; i < sizeof directory_modes / sizeof *directory_modes; ++i) {
    as_root();
    SAY(chmod("open", directory_modes[i]));
    for_all(making);
  }
  as_root();
  SAY(chmod("open", 0755));
  as_stranger();
  SAY(stat("open/file"));
  as_root();
  SAY(open_and_set("open", O_RDONLY, 0700)); /* seen at once by whom it concerns */
  as_stranger();
  SAY(stat("open/file"));
  as_root();
  SAY(chmod("open", 0755));
  sticky();
  as_stranger();
  in_sticky();
  as_member();
  in_sticky();
  SAY(unlink("shared/mine"));
  as_owner();
  in_sticky();
  sticky();
  as_root();
  in_sticky();
  moving_directories();
  set_ids();
  allowed_elsewhere();
  as_root();
  SAY(chmod("closed", 0710));
  make_file("file", 0640, kOwner, kGroup);
  real_ids();
  for_good();
  fflush(stdout);
}

/* --- The comparison ----------------------------------------------------------------------------
 */

static void run_in_child(FILE* output, const struct door* door, const char* directory) {
  fflush(stdout);
  pid_t child = fork();
  must(child >= 0);
  if (child == 0) {
    must(dup2(fileno(output), STDOUT_FILENO) >= 0);
    if (door == &kLibrary) {
      benchfs_options_t options = {.struct_size = sizeof options, .check_permissions = 1};
      fs = benchfs_connect(&options);
      other_fs = benchfs_connect(&options);
      must(fs != NULL && other_fs != NULL);
    } else {
      must(chdir(directory) == 0);
    }
    run(door);
    _exit(0);
  }
  int status = 0;
  must(waitpid(child, &status, 0) == child && status == 0);
  rewind(output);
}

static int compare(void) {
  char directory[] = "/dev/shm/benchfs-permissions-XXXXXX";
  FILE* expected = tmpfile();
  FILE* actual = tmpfile();
  must(mkdtemp(directory) != NULL && expected != NULL && actual != NULL);
  must(chmod(directory, 0755) == 0);
  run_in_child(expected, &kKernel, directory);
  char command[128];
  snprintf(command, sizeof command, "rm -rf %s", directory);
  must(system(command) == 0);
  run_in_child(actual, &kLibrary, NULL);
  char want[512] = "";
  char got[512] = "";
  int lines = 0;
  int differences = 0;
  while (fgets(want, sizeof want, expected) != NULL) {
    ++lines;
    if (fgets(got, sizeof got, actual) == NULL) {
      strcpy(got, "nothing\n");
    }
    if (strcmp(want, got) != 0) {
      ++differences;
      printf("kernel  %slibrary %s", want, got);
    }
  }
  printf("%d lines, %d of them differ\n", lines, differences);
  return differences == 0 && lines > 1000 ? 0 : 1;
}

int main(int argc, char** argv) {
  if (geteuid() != 0) {
    printf("only root can be several users\n");
    return 77;
  }
  char probe[] = "/dev/shm/benchfs-permissions-XXXXXX";
  int fd = mkstemp(probe);
  must(fd >= 0 && unlink(probe) == 0);
  local_files_have_tags = fsetxattr(fd, "user.tag", "1", 1, 0) == 0;
  close(fd);
  if (argc < 2) {
    return compare();
  }
  must(chmod(argv[1], 0755) == 0 && chdir(argv[1]) == 0);
  run(&kKernel);
  return 0;
}
