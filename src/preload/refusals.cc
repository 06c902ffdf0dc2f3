// The entries of what files below the prefix are not: terminals, and watched by the kernel.
// Each fails with the errno value that programs know from other file systems.
#include <cstdarg>

#include "preload/addresses.h"
#include "preload/descriptions.h"
#include "preload/entry.h"
#include "preload/opening.h"
#include "preload/places.h"
#include "preload/real.h"

namespace benchfs::preload {

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

ENTRY(int, inotify_add_watch, int fd, const char* path, std::uint32_t events) {
  COUNTER(inotify_add_watch);
  return is_ours_path(path) ? counter.refuse(EOPNOTSUPP)
                            : real().inotify_add_watch(fd, path, events);
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
    case FIONBIO: {
      if (!is_address(argument)) {
        return fail_with(EFAULT);
      }
      int flags = fcntl(fd, F_GETFL);
      bool is_wanted = *static_cast<const int*>(argument) != 0;
      return flags < 0 ? -1
                       : fcntl(fd, F_SETFL, is_wanted ? flags | O_NONBLOCK : flags & ~O_NONBLOCK);
    }
    case TCGETS:
    case TIOCGWINSZ:
      return fail_with(ENOTTY);
    default:
      return counter.refuse(ENOTTY);
  }
}

}  // namespace benchfs::preload
