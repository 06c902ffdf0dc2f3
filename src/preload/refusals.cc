// The entries of what files below the prefix do not have: extended attributes, terminals.
// Each fails with the errno value that programs know from other file systems without them.
#include <cstdarg>

#include "preload/descriptions.h"
#include "preload/entry.h"
#include "preload/opening.h"
#include "preload/places.h"
#include "preload/real.h"

namespace benchfs::preload {

namespace {

template <typename Theirs>
auto refuse_path(Counter& counter, const char* path, int error, Theirs theirs)
    -> decltype(theirs(path)) {
  Place place;
  find_place(AT_FDCWD, path, place);
  if (place.is_ours) {
    return counter.refuse(error);
  }
  return theirs(place.path);
}

}  // namespace

ENTRY(int, isatty, int fd) {
  if (is_ours(fd)) {
    errno = ENOTTY;
    return 0;
  }
  return real().isatty(fd);
}
ENTRY(int, tcgetattr, int fd, termios* out) {
  return is_ours(fd) ? fail_with(ENOTTY) : real().tcgetattr(fd, out);
}
ENTRY(int, ttyname_r, int fd, char* buffer, size_t size) {
  return is_ours(fd) ? ENOTTY : real().ttyname_r(fd, buffer, size);
}

ENTRY(int, ioctl, int fd, unsigned long request, ...) {
  va_list arguments;
  va_start(arguments, request);
  void* argument = va_arg(arguments, void*);
  va_end(arguments);
  if (!is_ours(fd)) {
    return real().ioctl(fd, request, argument);
  }
  COUNTER(ioctl);
  switch (request) {
    case FIOCLEX:
    case FIONCLEX:
      return real().fcntl(fd, F_SETFD, request == FIOCLEX ? FD_CLOEXEC : 0);
    case FIONBIO:
      return 0;
    case TCGETS:
    case TIOCGWINSZ:
      return fail_with(ENOTTY);
    default:
      return counter.refuse(ENOTTY);
  }
}

#define XATTR_PATH(type, name, parameters, ...)                          \
  ENTRY(type, name, const char* path, parameters) {                      \
    COUNTER(name);                                                       \
    return refuse_path(counter, path, ENOTSUP, [&](const char* theirs) { \
      return real().name(theirs, __VA_ARGS__);                           \
    });                                                                  \
  }
#define XATTR_FD(type, name, parameters, ...)                                    \
  ENTRY(type, name, int fd, parameters) {                                        \
    COUNTER(name);                                                               \
    return is_ours(fd) ? counter.refuse(ENOTSUP) : real().name(fd, __VA_ARGS__); \
  }
#define COMMA ,
#define SET_PARAMETERS const char* name COMMA const void* value COMMA size_t size COMMA int flags
#define GET_PARAMETERS const char* name COMMA void* value COMMA size_t size
#define LIST_PARAMETERS char* list COMMA size_t size
XATTR_PATH(int, setxattr, SET_PARAMETERS, name, value, size, flags)
XATTR_PATH(int, lsetxattr, SET_PARAMETERS, name, value, size, flags)
XATTR_FD(int, fsetxattr, SET_PARAMETERS, name, value, size, flags)
XATTR_PATH(ssize_t, getxattr, GET_PARAMETERS, name, value, size)
XATTR_PATH(ssize_t, lgetxattr, GET_PARAMETERS, name, value, size)
XATTR_FD(ssize_t, fgetxattr, GET_PARAMETERS, name, value, size)
XATTR_PATH(ssize_t, listxattr, LIST_PARAMETERS, list, size)
XATTR_PATH(ssize_t, llistxattr, LIST_PARAMETERS, list, size)
XATTR_FD(ssize_t, flistxattr, LIST_PARAMETERS, list, size)
XATTR_PATH(int, removexattr, const char* name, name)
XATTR_PATH(int, lremovexattr, const char* name, name)
XATTR_FD(int, fremovexattr, const char* name, name)

}  // namespace benchfs::preload
