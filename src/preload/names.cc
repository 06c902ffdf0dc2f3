// The entries that make, remove and rename names, and the working directory.
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "preload/addresses.h"
#include "preload/attributes.h"
#include "preload/descriptions.h"
#include "preload/entry.h"
#include "preload/opening.h"
#include "preload/places.h"
#include "preload/real.h"
#include "preload/settings.h"

namespace benchfs::preload {
namespace {

// The usual shape: `call(Target)` below the prefix.
template <typename Call, typename Theirs>
auto on_name(Counter& counter, int directory, const char* path, Call call, Theirs theirs) {
  return at_place(counter, directory, path, Follow::kNo, call, theirs);
}

int make_directory(Counter& counter, int directory, const char* path, mode_t mode) {
  return on_name(
      counter,
      directory,
      path,
      [&](const Target& at) {
        mode_t bits = mode & 01777 & ~current_umask();
        return at.directory != nullptr ? at->mkdirat(at.directory, at.path, bits)
                                       : at->mkdir(at.here.context, at.path, bits);
      },
      [&](int from, const char* theirs) { return real().mkdirat(from, theirs, mode); });
}

int remove_name(Counter& counter, int directory, const char* path, int flags) {
  return on_name(
      counter,
      directory,
      path,
      [&](const Target& at) {
        if ((flags & ~AT_REMOVEDIR) != 0) {
          return -EINVAL;
        }
        if (at.directory != nullptr) {
          return at->unlinkat(at.directory, at.path, flags);
        }
        return flags != 0 ? at->rmdir(at.here.context, at.path)
                          : at->unlink(at.here.context, at.path);
      },
      [&](int from, const char* theirs) { return real().unlinkat(from, theirs, flags); });
}

int make_symlink(Counter& counter, const char* target, int directory, const char* path) {
  return on_name(
      counter,
      directory,
      path,
      [&](const Target& at) {
        if (!is_address(target)) {
          return -EFAULT;
        }
        if (*target == '\0') {
          return -ENOENT;
        }
        return at.directory != nullptr ? at->symlinkat(target, at.directory, at.path)
                                       : at->symlink(at.here.context, target, at.path);
      },
      [&](int from, const char* theirs) { return real().symlinkat(target, from, theirs); });
}

// readlink() of a descriptor in /proc: its file as the program knows it. 0: none of ours.
ssize_t read_own_link(const char* path, char* buffer, std::size_t size) {
  bool is_one = is_address(path) && std::strncmp(path, "/proc/", 6) == 0;
  OpenRef open(is_one ? own_descriptor(path) : -1);
  if (!open) {
    return 0;
  }
  char text[kPathRoom];
  char now[PATH_MAX];
  bool is_known = open->is_directory() && path_now(*open, now);
  to_program_path(is_known ? now : open->shared->path, text);
  std::size_t bytes = std::strlen(text);
  bytes = bytes < size ? bytes : size;
  if (!is_address(buffer)) {
    return fail_with(EFAULT);
  }
  std::memcpy(buffer, text, bytes);
  return static_cast<ssize_t>(bytes);
}

ssize_t read_symlink(Counter& counter, int directory, const char* path, char* buffer, size_t size) {
  if (ssize_t bytes = read_own_link(path, buffer, size)) {
    counter.served();
    return bytes;
  }
  char byte = 0;
  bool is_usable = is_address(buffer);
  char* own_buffer = is_usable ? buffer : &byte;
  std::size_t own_size = is_usable || size == 0 ? size : 1;
  auto finished = [&](ssize_t bytes) { return bytes > 0 && !is_usable ? ssize_t{-EFAULT} : bytes; };
  if (is_address(path) && *path == '\0') {
    if (OpenRef open{directory}) {  // of an O_PATH descriptor of a symbolic link
      Errno keep;
      Cluster here = cluster();
      counter.served();
      return keep.finish(here ? finished(here.api->readlink(
                                    here.context, open->shared->path, own_buffer, own_size))
                              : -errno);
    }
  }
  return on_name(
      counter,
      directory,
      path,
      [&](const Target& at) {
        return finished(at.directory != nullptr
                            ? at->readlinkat(at.directory, at.path, own_buffer, own_size)
                            : at->readlink(at.here.context, at.path, own_buffer, own_size));
      },
      [&](int from, const char* theirs) { return real().readlinkat(from, theirs, buffer, size); });
}

// Two places as directories and paths: a path that begins at the root begins there in any
// directory.
template <typename Call, typename ByPath>
int on_both(const Place& from, const Place& to, Call call, ByPath by_path) {
  return on_ours(from, [&](const Target& old) {
    return on_ours(to, [&](const Target& made) {
      benchfs_file_t* any = old.directory != nullptr ? old.directory : made.directory;
      if (any == nullptr) {
        return by_path(old.here, old.path, made.path);
      }
      return call(
          old.here, any, old.path, made.directory != nullptr ? made.directory : any, made.path);
    });
  });
}

int rename_ours(const Place& from, const Place& to, unsigned flags) {
  return on_both(
      from,
      to,
      [&](const Cluster& here,
          benchfs_file_t* old_directory,
          const char* old_path,
          benchfs_file_t* new_directory,
          const char* new_path) {
        return here.api->renameat2(old_directory, old_path, new_directory, new_path, flags);
      },
      [&](const Cluster& here, const char* old_path, const char* new_path) {
        return here.api->rename2(here.context, old_path, new_path, flags);
      });
}

int link_ours(const Place& from, const Place& to) {
  return on_both(
      from,
      to,
      [&](const Cluster& here,
          benchfs_file_t* old_directory,
          const char* old_path,
          benchfs_file_t* new_directory,
          const char* new_path) {
        return here.api->linkat(old_directory, old_path, new_directory, new_path, 0);
      },
      [&](const Cluster& here, const char* old_path, const char* new_path) {
        return here.api->link(here.context, old_path, new_path);
      });
}

void find_and_walk(int directory, const char* path, Place& place) {
  find_place(directory, path, place);
  resolve_by_walk(directory, path, Follow::kNo, place);
}

// Of a call with two names, one of them below the prefix.
int error_across(const char* old_path, const char* new_path) {
  if (!is_address(old_path) || !is_address(new_path)) {
    return EFAULT;
  }
  return *old_path == '\0' || *new_path == '\0' ? ENOENT : EXDEV;
}

int rename_name(Counter& counter,
                int old_directory,
                const char* old_path,
                int new_directory,
                const char* new_path,
                unsigned flags) {
  Errno keep;
  Place from;
  Place to;
  find_place(old_directory, old_path, from);
  find_place(new_directory, new_path, to);
  if (from.is_ours && to.is_ours && from.error == 0 && to.error == 0) {
    int error = rename_ours(from, to, flags);
    if (error != -EREMOTE) {
      counter.served();
      return keep.finish(error);
    }
    find_and_walk(old_directory, old_path, from);
    find_and_walk(new_directory, new_path, to);
    if (from.is_ours && to.is_ours) {
      counter.served();
      return keep.finish(rename_ours(from, to, flags));
    }
  }
  if (from.error != 0 || to.error != 0) {
    counter.served();
    return fail_with(from.error != 0 ? from.error : to.error);
  }
  if (!from.is_ours && !to.is_ours) {
    counter.passed();
    return flags == 0 ? real().renameat(from.directory, from.path, to.directory, to.path)
                      : real().renameat2(from.directory, from.path, to.directory, to.path, flags);
  }
  return counter.refuse(error_across(old_path, new_path));
}

// Gives an open file one more name.
int link_open(Counter& counter, Description& description, int new_directory, const char* new_path) {
  Errno keep;
  Place to;
  find_place(new_directory, new_path, to);
  if (to.error != 0) {
    return fail_with(to.error);
  }
  Handle handle = handle_of(description);
  if (!handle) {
    return -1;
  }
  auto link_to = [&](const Target& at) {
    benchfs_file_t* directory = at.directory != nullptr ? at.directory : handle.file;
    return handle->linkat(handle.file, "", directory, at.path, AT_EMPTY_PATH);
  };
  int error = to.is_ours ? on_ours(to, link_to) : -EREMOTE;
  if (error == -EREMOTE) {
    resolve_by_walk(new_directory, new_path, Follow::kNo, to);
    if (!to.is_ours) {
      return counter.refuse(EXDEV);
    }
    error = on_ours(to, link_to);
  }
  counter.served();
  return keep.finish(error);
}

int make_link(Counter& counter,
              int old_directory,
              const char* old_path,
              int new_directory,
              const char* new_path,
              int flags) {
  bool is_empty = (flags & AT_EMPTY_PATH) != 0 && is_address(old_path) && *old_path == '\0';
  bool follows = (flags & AT_SYMLINK_FOLLOW) != 0;
  OpenRef open(is_empty ? old_directory : follows ? own_descriptor(old_path) : -1);
  if (open && open->shared->kind != Kind::kPath) {
    return link_open(counter, *open, new_directory, new_path);
  }
  Place from;
  Place to;
  find_place(old_directory, old_path, from);
  find_place(new_directory, new_path, to);
  if (!from.is_ours && !to.is_ours && from.error == 0 && to.error == 0) {
    counter.passed();
    return real().linkat(from.directory, from.path, to.directory, to.path, flags);
  }
  if (from.error != 0 || to.error != 0) {
    return fail_with(from.error != 0 ? from.error : to.error);
  }
  if (!from.is_ours || !to.is_ours) {
    return counter.refuse(error_across(old_path, new_path));
  }
  if ((flags & ~(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH)) != 0) {
    return counter.refuse(EINVAL);
  }
  Errno keep;
  if ((flags & AT_SYMLINK_FOLLOW) != 0) {
    resolve_by_walk(old_directory, old_path, Follow::kYes, from);
  }
  int error = link_ours(from, to);
  if (error == -EREMOTE) {
    resolve_by_walk(old_directory, old_path, Follow::kNo, from);
    resolve_by_walk(new_directory, new_path, Follow::kNo, to);
    error = from.is_ours && to.is_ours ? link_ours(from, to) : -EXDEV;
  }
  counter.served();
  return keep.finish(error);
}

// Special files are not kept; regular ones of mknod() are made.
int make_node(Counter& counter, int directory, const char* path, mode_t mode, dev_t device) {
  return on_name(
      counter,
      directory,
      path,
      [&](const Target& at) {
        if ((mode & S_IFMT) != 0 && !S_ISREG(mode)) {
          counter.refuse(EPERM);
          return -EPERM;
        }
        long fd = open_ours(at, O_CREAT | O_EXCL | O_WRONLY, mode & 07777);
        if (fd < 0) {
          return static_cast<int>(fd);
        }
        close_any(static_cast<int>(fd));
        return 0;
      },
      [&](int from, const char* theirs) { return real().mknodat(from, theirs, mode, device); });
}

// --- The working directory -----------------------------------------------------------------------

int enter(const char* ours, int directory, const char* path) {
  Cluster here = cluster();
  benchfs_stat_t stat;
  if (!here) {
    return -errno;
  }
  char inside[kPathRoom];  // where there are permissions to search the directory, if they are
                           // checked
  int bytes = std::snprintf(inside, sizeof inside, "%s/.", ours);
  bool is_short = *ours != '\0' && bytes < PATH_MAX;
  int error = here.api->stat(here.context, is_short ? inside : ours, &stat);
  if (error != 0) {
    return error;
  }
  if (!S_ISDIR(stat.st_mode)) {
    return -ENOTDIR;
  }
  Place physical;
  resolve_by_walk(directory, path, Follow::kYes, physical);
  if (!physical.is_ours || physical.error != 0) {
    return -EREMOTE;
  }
  // A trailing slash is no part of the name.
  std::size_t end = std::strlen(physical.text);
  while (end > 1 && physical.text[end - 1] == '/') {
    physical.text[--end] = '\0';
  }
  return change_directory(physical.text) == 0 ? 0 : -errno;
}

// As the program knows it. False with errno.
bool path_of_open(Description& open, char* text) {
  char now[PATH_MAX];
  if (open.is_directory() && !path_now(open, now)) {
    return false;
  }
  to_program_path(open.is_directory() ? now : open.shared->path, text);
  return true;
}

int change_directory_to(Counter& counter, const char* path) {
  char text[kPathRoom];
  if (OpenRef open{own_descriptor(path)}) {
    if (!path_of_open(*open, text)) {
      return -1;
    }
    path = text;
  }
  return at_place(
      counter,
      AT_FDCWD,
      path,
      Follow::kYes,
      [&](const char* ours) { return enter(ours, AT_FDCWD, path); },
      [&](int, const char* theirs) {
        int result = real().chdir(theirs);
        if (result == 0) {
          leave_working_directory();
        }
        return result;
      });
}

char* copy_out(const char* text, char* buffer, std::size_t size) {
  std::size_t bytes = std::strlen(text) + 1;
  if (buffer == nullptr) {
    buffer = static_cast<char*>(std::malloc(size > bytes ? size : bytes));
  } else if (size < bytes) {
    errno = size == 0 ? EINVAL : ERANGE;
    return nullptr;
  }
  if (buffer != nullptr) {
    std::memcpy(buffer, text, bytes);
  }
  return buffer;
}

char* working_directory(char* buffer, std::size_t size) {
  char text[kPathRoom];
  to_program_path(own_working_directory(), text);
  return copy_out(text, buffer, size);
}

// The path without symbolic links, when it exists below the prefix. Empty text: libc's turn.
char* real_path(Counter& counter, const char* path, char* resolved) {
  if (path == nullptr || *path == '\0' || !settings().is_active) {
    return real().realpath(path, resolved);
  }
  Place place;
  find_place(AT_FDCWD, path, place);
  bool was_ours = place.is_ours;
  if (!was_ours) {
    char* result = real().realpath(path, resolved);
    if (result != nullptr || (errno != ENOENT && errno != ENOTDIR)) {
      counter.passed();
      return result;
    }
  }
  int before = errno;
  resolve_by_walk(AT_FDCWD, path, Follow::kYes, place);
  if (place.error != 0) {
    errno = place.error;
    return nullptr;
  }
  if (!place.is_ours) {
    if (was_ours) {
      return real().realpath(place.text, resolved);
    }
    errno = before;
    return nullptr;
  }
  counter.served();
  Cluster here = cluster();
  benchfs_stat_t stat;
  int error = here ? here.api->lstat(here.context, place.text, &stat) : -errno;
  bool must_be_directory = path[std::strlen(path) - 1] == '/';
  if (error == 0 && must_be_directory && !S_ISDIR(stat.st_mode)) {
    error = -ENOTDIR;
  }
  if (error != 0) {
    errno = -error;
    return nullptr;
  }
  char text[kPathRoom];
  to_program_path(place.text, text);
  return copy_out(text, resolved, PATH_MAX);
}

}  // namespace

ENTRY(int, mkdir, const char* path, mode_t mode) {
  COUNTER(mkdir);
  return make_directory(counter, AT_FDCWD, path, mode);
}
ENTRY(int, mkdirat, int directory, const char* path, mode_t mode) {
  COUNTER(mkdirat);
  return make_directory(counter, directory, path, mode);
}
ENTRY(int, rmdir, const char* path) {
  COUNTER(rmdir);
  return remove_name(counter, AT_FDCWD, path, AT_REMOVEDIR);
}
ENTRY(int, unlink, const char* path) {
  COUNTER(unlink);
  return remove_name(counter, AT_FDCWD, path, 0);
}
ENTRY(int, unlinkat, int directory, const char* path, int flags) {
  COUNTER(unlinkat);
  return remove_name(counter, directory, path, flags);
}
ENTRY(int, remove, const char* path) {
  COUNTER(remove);
  int result = remove_name(counter, AT_FDCWD, path, 0);
  return result != 0 && errno == EISDIR ? remove_name(counter, AT_FDCWD, path, AT_REMOVEDIR)
                                        : result;
}
ENTRY(int, rename, const char* from, const char* to) {
  COUNTER(rename);
  return rename_name(counter, AT_FDCWD, from, AT_FDCWD, to, 0);
}
ENTRY(int, renameat, int from_directory, const char* from, int to_directory, const char* to) {
  COUNTER(renameat);
  return rename_name(counter, from_directory, from, to_directory, to, 0);
}
ENTRY(int,
      renameat2,
      int from_directory,
      const char* from,
      int to_directory,
      const char* to,
      unsigned flags) {
  COUNTER(renameat2);
  return rename_name(counter, from_directory, from, to_directory, to, flags);
}
ENTRY(int, symlink, const char* target, const char* path) {
  COUNTER(symlink);
  return make_symlink(counter, target, AT_FDCWD, path);
}
ENTRY(int, symlinkat, const char* target, int directory, const char* path) {
  COUNTER(symlinkat);
  return make_symlink(counter, target, directory, path);
}
ENTRY(ssize_t, readlink, const char* path, char* buffer, size_t size) {
  COUNTER(readlink);
  return read_symlink(counter, AT_FDCWD, path, buffer, size);
}
ENTRY(ssize_t, readlinkat, int directory, const char* path, char* buffer, size_t size) {
  COUNTER(readlinkat);
  return read_symlink(counter, directory, path, buffer, size);
}
ENTRY(ssize_t, __readlink_chk, const char* path, char* buffer, size_t size, size_t room) {
  if (size > room) {
    std::abort();
  }
  return entry_readlink(path, buffer, size);
}
ENTRY(ssize_t,
      __readlinkat_chk,
      int directory,
      const char* path,
      char* buffer,
      size_t size,
      size_t room) {
  if (size > room) {
    std::abort();
  }
  return entry_readlinkat(directory, path, buffer, size);
}
ENTRY(int, link, const char* from, const char* to) {
  COUNTER(link);
  return make_link(counter, AT_FDCWD, from, AT_FDCWD, to, 0);
}
ENTRY(int,
      linkat,
      int from_directory,
      const char* from,
      int to_directory,
      const char* to,
      int flags) {
  COUNTER(linkat);
  return make_link(counter, from_directory, from, to_directory, to, flags);
}
ENTRY(int, mknod, const char* path, mode_t mode, dev_t device) {
  COUNTER(mknod);
  return make_node(counter, AT_FDCWD, path, mode, device);
}
ENTRY(int, mknodat, int directory, const char* path, mode_t mode, dev_t device) {
  COUNTER(mknodat);
  return make_node(counter, directory, path, mode, device);
}
ENTRY(int, __xmknod, int, const char* path, mode_t mode, dev_t* device) {
  return entry_mknod(path, mode, *device);
}
ENTRY(int, mkfifo, const char* path, mode_t mode) {
  COUNTER(mkfifo);
  return make_node(counter, AT_FDCWD, path, S_IFIFO | mode, 0);
}
ENTRY(int, mkfifoat, int directory, const char* path, mode_t mode) {
  COUNTER(mkfifoat);
  return make_node(counter, directory, path, S_IFIFO | mode, 0);
}

ENTRY(int, chdir, const char* path) {
  COUNTER(chdir);
  return change_directory_to(counter, path);
}
ENTRY(int, fchdir, int fd) {
  COUNTER(fchdir);
  OpenRef open(fd);
  if (!open) {
    int result = real().fchdir(fd);
    if (result == 0 && settings().is_active) {
      leave_working_directory();
    }
    return result;
  }
  char text[kPathRoom];
  return path_of_open(*open, text) ? change_directory_to(counter, text) : -1;
}
ENTRY(char*, getcwd, char* buffer, size_t size) {
  return *own_working_directory() != '\0' ? working_directory(buffer, size)
                                          : real().getcwd(buffer, size);
}
ENTRY(char*, __getcwd_chk, char* buffer, size_t size, size_t room) {
  if (size > room) {
    std::abort();
  }
  return entry_getcwd(buffer, size);
}
ENTRY(char*, getwd, char* buffer) {
  return entry_getcwd(buffer, PATH_MAX);
}
ENTRY(char*, get_current_dir_name) {
  return entry_getcwd(nullptr, 0);
}

ENTRY(char*, realpath, const char* path, char* resolved) {
  COUNTER(realpath);
  return real_path(counter, path, resolved);
}
ENTRY(char*, __realpath_chk, const char* path, char* resolved, size_t) {
  return entry_realpath(path, resolved);
}
ENTRY(char*, canonicalize_file_name, const char* path) {
  return entry_realpath(path, nullptr);
}

}  // namespace benchfs::preload
