#include "base/descriptors.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>

namespace benchfs {

void make_room_for_descriptors(std::size_t expected, std::size_t most) {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
    return;
  }
  limit.rlim_cur = std::min<rlim_t>(limit.rlim_max, std::max<rlim_t>(limit.rlim_cur, most));
  (void)setrlimit(RLIMIT_NOFILE, &limit);
  int fd = eventfd(0, EFD_CLOEXEC);
  if (fd < 0 || expected == 0) {
    return;
  }
  int last = static_cast<int>(std::min<rlim_t>({expected, limit.rlim_cur, 1U << 20}) - 1);
  int highest = fcntl(fd, F_DUPFD_CLOEXEC, last);  // the table keeps the size that this needs
  if (highest >= 0) {
    ::close(highest);
  }
  ::close(fd);
}

}  // namespace benchfs
