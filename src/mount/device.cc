#include "mount/device.h"

#include <unistd.h>

#include <cerrno>

namespace benchfs::mount {

Status check_device() {
  if (::access("/dev/fuse", R_OK | W_OK) == 0) {
    return {};
  }
  if (errno == EACCES) {
    return fail_system(EACCES,
                       "/dev/fuse: only some users may open the device here; an administrator "
                       "lets all with 'chmod 0666 /dev/fuse'");
  }
  return fail_system(errno,
                     "/dev/fuse: this container was started without the device, or the kernel "
                     "module fuse is not loaded (modprobe fuse)");
}

}  // namespace benchfs::mount
