#include "base/descriptors.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <climits>
#include <cstddef>

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

std::size_t descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur > INT_MAX) {
    return INT_MAX;
  }
  return limit.rlim_cur;
}

// The kernel gives the lowest number that is free, so most free ones are found at the end.
bool has_free_descriptors(std::size_t wanted) {
  constexpr std::size_t kBlock = 256;
  std::array<pollfd, kBlock> block{};
  std::size_t free = 0;
  for (std::size_t end = descriptor_limit(); end > 0 && free < wanted;) {
    std::size_t count = std::min(end, kBlock);
    end -= count;
    for (std::size_t i = 0; i < count; ++i) {
      block[i] = {.fd = static_cast<int>(end + i), .events = 0, .revents = 0};
    }
    if (poll(block.data(), count, 0) < 0) {
      return true;  // it cannot be known
    }
    free += static_cast<std::size_t>(std::count_if(
        block.begin(), block.begin() + static_cast<std::ptrdiff_t>(count), [](const pollfd& one) {
          return (one.revents & POLLNVAL) != 0;
        }));
  }
  return free >= wanted;
}

}  // namespace benchfs
