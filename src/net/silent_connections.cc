#include "net/silent_connections.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "base/hash.h"
#include "net/incoming_sockets.h"

namespace benchfs::net {
namespace {

std::uint64_t number_of(const SocketAddress& peer, std::uint16_t port) {
  // The ip as text: the unused bytes of a sockaddr may be anything.
  return hash_text(peer.ip(), (std::uint64_t{port} << 16) | peer.port()) | 1;
}

using Ask = int (*)(int fd, sockaddr* address, socklen_t* length);

SocketAddress ask(Ask function, int fd) {
  SocketAddress address;
  address.length = sizeof address.storage;
  if (function(fd, reinterpret_cast<sockaddr*>(&address.storage), &address.length) != 0 ||
      (address.storage.ss_family != AF_INET && address.storage.ss_family != AF_INET6)) {
    address = {};
  }
  return address;
}

// A number for both ends of a connection; 0 if the descriptor is none.
std::uint64_t number_of(int fd) {
  SocketAddress peer = ask(::getpeername, fd);
  return peer.length == 0 ? 0 : number_of(peer, ask(::getsockname, fd).port());
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
  known_[number_of(peer, port_)].spoke = true;
}

bool SilentConnections::is_incoming(int fd) const {
  SocketAddress here = ask(::getsockname, fd);
  return here.length != 0 && (here.port() == port_ || incoming::is_silent_transport(fd));
}

void SilentConnections::find_silent(MonoTime now) {
  silent_.clear();
  for (auto& [peer, known] : known_) {
    known.alive = false;
  }
  ::rewinddir(descriptors_);
  while (const dirent* entry = ::readdir(descriptors_)) {
    int fd = std::atoi(entry->d_name);
    std::uint64_t peer = entry->d_name[0] != '.' && is_incoming(fd) ? number_of(fd) : 0;
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
  bool is_same = number_of(spare_) == silent.peer;
  if (is_same) {
    ::shutdown(spare_, SHUT_RDWR);
  }
  ::dup3(::dirfd(descriptors_), spare_, O_CLOEXEC);
  return is_same;
}

}  // namespace benchfs::net
