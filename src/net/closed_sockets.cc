#include "net/closed_sockets.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
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

// Bypasses libc, because its close() may be the override.
int close_at_once(int fd) {
#if __has_feature(thread_sanitizer)
  return __interceptor_close(fd);
#else
  return static_cast<int>(syscall(SYS_close, fd));
#endif
}

namespace {

// This many stay kept even if all workers have looked, but at most this part (1 in kPart) of the
// descriptors that the process may have.
constexpr std::size_t kLongest = 256;
constexpr rlim_t kPart = 32;

// Each entry packs the number of sockets closed before it, whether it was ever bound, and the
// descriptor; 0: none. Descriptor 0 is never kept: a program without standard input may close it
// for good.
constexpr unsigned kNumberBits = 20;
constexpr std::uint64_t kNumberMask = (std::uint64_t{1} << kNumberBits) - 1;
constexpr std::uint64_t kWasBound = std::uint64_t{1} << kNumberBits;
constexpr unsigned kCountShift = kNumberBits + 1;
std::array<std::atomic<std::uint64_t>, 1024> kept_sockets;
std::atomic<std::size_t> kept_count{0};
std::atomic<std::uint64_t> closed_count{1};
std::atomic<int> nothing{-1};  // what kept numbers refer to

// For every worker, the count of closed sockets when it last began to look.
constexpr std::uint64_t kNobody = UINT64_MAX;
struct alignas(64) Looked {
  std::atomic<std::uint64_t> at{kNobody};
};
std::array<Looked, 256> lookers;

int open_nothing() {
  int fd = nothing.load(std::memory_order_acquire);
  if (fd < 0) {
    int opened = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (nothing.compare_exchange_strong(fd, opened, std::memory_order_acq_rel)) {
      return opened;
    }
    close_at_once(opened);
  }
  return fd;
}

bool is_socket(int fd) {
  struct stat status{};
  return fd > 0 && fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode);
}

std::size_t kept_longest() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
    return kLongest;
  }
  return std::clamp<rlim_t>(limit.rlim_cur / kPart, 1, kLongest);
}

bool is_kept(int fd) {
  return fd > 0 && std::ranges::any_of(kept_sockets, [fd](const auto& entry) {
           return static_cast<int>(entry.load(std::memory_order_relaxed) & kNumberMask) == fd;
         });
}

// UCX makes a socket for each question about an interface, and has no events of it to remember.
bool was_bound(int fd) {
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) != 0) {
    return true;
  }
  const auto* ip4 = reinterpret_cast<const sockaddr_in*>(&address);
  const auto* ip6 = reinterpret_cast<const sockaddr_in6*>(&address);
  return (address.ss_family != AF_INET || ip4->sin_port != 0) &&
         (address.ss_family != AF_INET6 || ip6->sin6_port != 0);
}

struct Entry {
  std::atomic<std::uint64_t>* place = nullptr;
  std::uint64_t value = 0;  // as it was found; 0: no entry
};

// Returns the oldest entry that need not be kept once all workers have looked at the sockets closed
// before `seen`.
Entry oldest(std::uint64_t seen) {
  Entry found;
  for (std::atomic<std::uint64_t>& place : kept_sockets) {
    std::uint64_t value = place.load(std::memory_order_relaxed);
    bool is_free = (value & kWasBound) == 0 || (value >> kCountShift) < seen;
    if (value != 0 && (found.value == 0 || value < found.value) && is_free) {
      found = {&place, value};
    }
  }
  return found;
}

// Closes the number of an entry, unless another thread has done so since it was found.
void release(Entry entry) {
  if (entry.value != 0 &&
      entry.place->compare_exchange_strong(entry.value, 0, std::memory_order_acq_rel)) {
    kept_count.fetch_sub(1, std::memory_order_relaxed);
    close_at_once(static_cast<int>(entry.value & kNumberMask));
  }
}

// All workers have looked for the sockets that were closed before this number was reached.
std::uint64_t seen_by_all() {
  std::uint64_t least = kNobody;
  for (const Looked& looker : lookers) {
    least = std::min(least, looker.at.load(std::memory_order_acquire));
  }
  return least;
}

void release_what_all_have_seen() {
  std::size_t longest = kept_longest();
  while (kept_count.load(std::memory_order_relaxed) > longest) {
    Entry entry = oldest(seen_by_all());
    if (entry.value == 0) {
      return;
    }
    release(entry);
  }
}

void keep(int fd, bool bound) {
  std::uint64_t value = (closed_count.fetch_add(1, std::memory_order_acq_rel) << kCountShift) |
                        (bound ? kWasBound : 0) | static_cast<std::uint64_t>(fd);
  for (;;) {
    for (std::atomic<std::uint64_t>& entry : kept_sockets) {
      std::uint64_t none = 0;
      if (entry.load(std::memory_order_relaxed) == 0 &&
          entry.compare_exchange_strong(none, value, std::memory_order_acq_rel)) {
        kept_count.fetch_add(1, std::memory_order_relaxed);
        return;
      }
    }
    release(oldest(UINT64_MAX));  // full
  }
}

}  // namespace

int close_and_keep_number(int fd) {
  if (is_kept(fd)) {  // closed twice
    errno = EBADF;
    return -1;
  }
  bool is_number = static_cast<std::uint64_t>(fd) <= kNumberMask && is_socket(fd);
  bool bound = is_number && was_bound(fd);
  int placeholder = is_number ? open_nothing() : -1;
  if (placeholder < 0 || dup3(placeholder, fd, O_CLOEXEC) < 0) {
    return close_at_once(fd);
  }
  keep(fd, bound);
  release_what_all_have_seen();
  return 0;
}

std::size_t kept_numbers() {
  return kept_count.load(std::memory_order_relaxed) + (nothing.load() >= 0 ? 1 : 0);
}

// --- Workers -------------------------------------------------------------------------------------

SocketLooker::SocketLooker() : place_(lookers.size()) {
  for (std::size_t i = 0; i < lookers.size(); ++i) {
    std::uint64_t nobody = kNobody;
    if (lookers[i].at.compare_exchange_strong(nobody, 0, std::memory_order_acq_rel)) {
      place_ = i;
      return;
    }
  }
}

SocketLooker::~SocketLooker() {
  if (place_ < lookers.size()) {
    lookers[place_].at.store(kNobody, std::memory_order_release);
  }
}

void SocketLooker::begin() {
  begun_ = closed_count.load(std::memory_order_acquire);
}

void SocketLooker::looked() {
  seen_ = begun_;
  if (place_ < lookers.size()) {
    lookers[place_].at.store(seen_, std::memory_order_release);
  }
  release_what_all_have_seen();
}

}  // namespace benchfs::net
