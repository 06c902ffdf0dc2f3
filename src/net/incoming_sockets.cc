#include "net/incoming_sockets.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <mutex>
#include <span>

#include "net/opening.h"

namespace benchfs::net {
namespace {

struct Watched {
  Port port = Port::kForeign;     // of a socket that listens
  Stage stage = Stage::kTrusted;  // of a connection
  std::uint16_t received = 0;     // bytes of the message that is under way
};
static_assert(sizeof(Watched) == 4 && std::atomic<Watched>::is_always_lock_free);
static_assert(kMaxRequestBytes <= UINT16_MAX);

// Linux numbers descriptors below fs.nr_open, which is this unless somebody raises it. Memory is
// taken for the pages in use.
constexpr std::size_t kNumbers = 1U << 20;
std::array<std::atomic<Watched>, kNumbers> watched_sockets;

thread_local Port opening_port = Port::kForeign;
std::atomic<std::uint64_t> refusals{0};

bool has_entry(int fd) {
  return fd >= 0 && static_cast<std::size_t>(fd) < kNumbers;
}

std::atomic<Watched>& entry(int fd) {
  return watched_sockets[static_cast<std::size_t>(fd)];
}

Watched load(int fd) {
  return has_entry(fd) ? entry(fd).load(std::memory_order_relaxed) : Watched{};
}

// Above all entries that were ever used.
std::atomic<int> entries_end{0};

void store(int fd, Watched watched) {
  if (!has_entry(fd)) {
    return;
  }
  entry(fd).store(watched, std::memory_order_relaxed);
  int end = entries_end.load(std::memory_order_relaxed);
  while (end <= fd && !entries_end.compare_exchange_weak(end, fd + 1, std::memory_order_relaxed)) {
  }
}

SocketAddress address_here(int fd) {
  SocketAddress here;
  here.length = sizeof here.storage;
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&here.storage), &here.length);
  return here;
}

// False: the listener has ended since `before` was loaded.
bool advance(int fd, Watched before, Watched now) {
  return entry(fd).compare_exchange_strong(before, now, std::memory_order_relaxed);
}

// Between an accept and the end of its listener.
std::mutex listener_ends;

}  // namespace

PortScope::PortScope(Port port) {
  opening_port = port;
}

PortScope::~PortScope() {
  opening_port = Port::kForeign;
}

namespace incoming {

void add_port(int fd) {
  store(fd, {.port = opening_port});
}

void end_listener(std::uint16_t port) {
  std::lock_guard lock(listener_ends);
  for (int fd = 0; fd < entries_end.load(std::memory_order_relaxed); ++fd) {
    for (;;) {
      Watched watched = load(fd);
      bool is_listener = watched.port == Port::kListener;
      if ((!is_listener && watched.stage != Stage::kRequest) || address_here(fd).port() != port) {
        break;
      }
      Watched ended =
          is_listener ? Watched{.port = Port::kEnded} : Watched{.stage = Stage::kRefused};
      if (advance(fd, watched, ended)) {
        break;
      }
    }
  }
}

Port port_of(int fd) {
  return load(fd).port;
}

bool add_connection(int port, int fd) {
  std::lock_guard lock(listener_ends);
  switch (port_of(port)) {
    case Port::kForeign:
      forget(fd);
      return true;
    case Port::kListener:
      store(fd, {.stage = Stage::kRequest});
      break;
    case Port::kTransport:
      store(fd, {.stage = Stage::kMagic});
      break;
    case Port::kEnded:
      return false;
  }
  return has_entry(fd);
}

void forget(int fd) {
  if (is_watched(fd)) {
    store(fd, {});
  }
}

bool is_watched(int fd) {
  Watched watched = load(fd);
  return watched.stage != Stage::kTrusted || watched.port != Port::kForeign;
}

ssize_t receive_watched(int fd, void* data, std::size_t length, int flags, Receive receive) {
  constexpr ssize_t kClosedByPeer = 0;
  Watched watched = load(fd);
  if (watched.stage == Stage::kTrusted) {
    return receive(fd, data, length, flags);
  }
  if (watched.stage == Stage::kRefused) {
    return kClosedByPeer;
  }
  SocketAddress here = watched.stage == Stage::kConnect ? address_here(fd) : SocketAddress{};
  // UCX puts the bytes of a message behind each other.
  const auto* begin = static_cast<const std::byte*>(data) - watched.received;
  std::size_t missing =
      expected_size(watched.stage, {begin, watched.received}, here) - watched.received;
  ssize_t result = receive(fd, data, std::min(length, missing), flags);
  if (result <= 0) {
    return result;
  }
  std::size_t received = watched.received + static_cast<std::size_t>(result);
  std::size_t expected = expected_size(watched.stage, {begin, received}, here);
  if (expected == 0) {
    refusals.fetch_add(1, std::memory_order_relaxed);
    store(fd, {.stage = Stage::kRefused});
    return kClosedByPeer;
  }
  Watched now = received == expected ? Watched{.stage = after(watched.stage)}
                                     : Watched{.stage = watched.stage,
                                               .received = static_cast<std::uint16_t>(received)};
  return advance(fd, watched, now) ? result : kClosedByPeer;
}

void was_sent(int fd) {
  if (load(fd).stage == Stage::kAnswer) {
    store(fd, {.stage = after(Stage::kAnswer)});
  }
}

bool is_silent_transport(int fd) {
  Stage stage = load(fd).stage;
  return stage == Stage::kMagic || stage == Stage::kConnect;
}

std::uint64_t refused() {
  return refusals.load(std::memory_order_relaxed);
}

}  // namespace incoming
}  // namespace benchfs::net
