#include "net/closed_sockets.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>

#if __has_feature(thread_sanitizer)
// Its close(), which close_override.cc takes the place of: descriptors it does not see closed are
// races to it.
extern "C" int __interceptor_close(int fd);  // NOLINT(bugprone-reserved-identifier)
#endif

namespace benchfs::net {
namespace {

constexpr std::uint32_t kKept = 256;
// The numbers kept are at most this part of those the process may have.
constexpr rlim_t kPart = 32;

// Zero is no number here: a program without standard input may close it for good.
std::array<std::atomic<int>, kKept> kept;
std::atomic<std::uint32_t> next{0};
std::atomic<int> nothing{-1};  // what kept numbers refer to

// Not through libc: its close() may be ours.
int close_now(int fd) {
#if __has_feature(thread_sanitizer)
  return __interceptor_close(fd);
#else
  return static_cast<int>(syscall(SYS_close, fd));
#endif
}

int open_nothing() {
  int fd = nothing.load(std::memory_order_acquire);
  if (fd < 0) {
    int opened = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (nothing.compare_exchange_strong(fd, opened, std::memory_order_acq_rel)) {
      return opened;
    }
    close_now(opened);
  }
  return fd;
}

bool is_socket(int fd) {
  struct stat status{};
  return fd > 0 && fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode);
}

std::uint32_t most_kept() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
    return kKept;
  }
  return static_cast<std::uint32_t>(std::clamp<rlim_t>(limit.rlim_cur / kPart, 1, kKept));
}

bool is_kept(int fd) {
  return fd > 0 && std::ranges::any_of(kept, [fd](const auto& number) { return number == fd; });
}

}  // namespace

int close_and_keep_number(int fd) {
  if (is_kept(fd)) {  // closed twice
    errno = EBADF;
    return -1;
  }
  int placeholder = is_socket(fd) ? open_nothing() : -1;
  if (placeholder < 0 || dup3(placeholder, fd, O_CLOEXEC) < 0) {
    return close_now(fd);
  }
  std::uint32_t slot = next.fetch_add(1, std::memory_order_relaxed) % most_kept();
  int oldest = kept[slot].exchange(fd, std::memory_order_acq_rel);
  if (oldest > 0) {
    close_now(oldest);
  }
  return 0;
}

std::size_t kept_numbers() {
  auto count = std::ranges::count_if(kept, [](const auto& fd) { return fd.load() > 0; });
  return static_cast<std::size_t>(count) + (nothing.load() >= 0 ? 1 : 0);
}

}  // namespace benchfs::net
