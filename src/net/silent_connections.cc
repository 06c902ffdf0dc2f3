#include "net/silent_connections.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "base/hash.h"

namespace benchfs::net {
namespace {

std::uint64_t number_of(const SocketAddress& address) {
  // The ip as text: the unused bytes of a sockaddr may be anything.
  return hash_text(address.ip(), address.port()) | 1;
}

}  // namespace

Result<std::unique_ptr<SilentConnections>> SilentConnections::create(std::uint16_t port) {
  DIR* descriptors = ::opendir("/proc/self/fd");
  if (descriptors == nullptr) {
    return fail_system(errno, "/proc/self/fd");
  }
  int spare = ::fcntl(::dirfd(descriptors), F_DUPFD_CLOEXEC, 0);
  if (spare < 0) {
    int error = errno;
    ::closedir(descriptors);
    return fail_system(error, "reserving a descriptor");
  }
  return std::unique_ptr<SilentConnections>(
      new SilentConnections(  // lint: allow new private constructor
          port,
          descriptors,
          spare));
}

SilentConnections::~SilentConnections() {
  ::close(spare_);
  ::closedir(descriptors_);
}

void SilentConnections::has_spoken(const SocketAddress& peer) {
  known_[number_of(peer)].spoke = true;
}

std::uint64_t SilentConnections::peer_of(int fd) const {
  SocketAddress here;
  here.length = sizeof here.storage;
  auto* address = reinterpret_cast<sockaddr*>(&here.storage);
  if (::getsockname(fd, address, &here.length) != 0 ||
      (here.storage.ss_family != AF_INET && here.storage.ss_family != AF_INET6) ||
      here.port() != port_) {
    return 0;
  }
  here.length = sizeof here.storage;
  return ::getpeername(fd, address, &here.length) == 0 ? number_of(here) : 0;
}

void SilentConnections::find_silent(MonoTime now) {
  silent_.clear();
  for (auto& [peer, known] : known_) {
    known.alive = false;
  }
  ::rewinddir(descriptors_);
  while (const dirent* entry = ::readdir(descriptors_)) {
    int fd = std::atoi(entry->d_name);
    std::uint64_t peer = entry->d_name[0] == '.' ? 0 : peer_of(fd);
    if (peer == 0) {
      continue;
    }
    Known& known = known_.try_emplace(peer, Known{.since = now}).first->second;
    known.alive = true;
    if (!known.spoke) {
      silent_.push_back({fd, peer, known.since});
    }
  }
  std::erase_if(known_, [](const auto& entry) { return !entry.second.alive; });
}

std::size_t SilentConnections::sweep(MonoTime now, Nanos patience, std::size_t most) {
  find_silent(now);
  std::ranges::sort(silent_, {}, &Silent::since);
  std::size_t surplus = silent_.size() > most ? silent_.size() - most : 0;
  std::size_t ended = 0;
  for (std::size_t i = 0; i < silent_.size(); ++i) {
    if (i < surplus || now - silent_[i].since >= patience) {
      ended += end(silent_[i]) ? 1 : 0;
    }
  }
  return ended;
}

// UCX's own thread may close the descriptor at any time, and it may be another connection by now:
// so it is looked at again through a copy that stays what it is. The copy takes the place of the
// spare one, because there may be no descriptor left.
bool SilentConnections::end(const Silent& silent) const {
  if (::dup3(silent.fd, spare_, O_CLOEXEC) < 0) {
    return false;
  }
  bool is_same = peer_of(spare_) == silent.peer;
  if (is_same) {
    ::shutdown(spare_, SHUT_RDWR);
  }
  ::dup3(::dirfd(descriptors_), spare_, O_CLOEXEC);
  return is_same;
}

}  // namespace benchfs::net
