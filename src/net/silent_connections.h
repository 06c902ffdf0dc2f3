// Connections to a UCX listener, and to the ports of UCX's transport, that never say anything.
//
// UCX 1.13 accepts every TCP connection to a port and waits for the first bytes of its peer for
// ever, with a descriptor each, before anybody hears of a connection request; when the descriptors
// are used up it spins. This finds such connections among the descriptors of the process and shuts
// them down when they are too old or too many, upon which UCX closes them. Those of the transport
// are found in programs that link socket_override.cc.
//
// Thread: one. Holds two descriptors, so that it works when there are no others left.
#pragma once

#include <dirent.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "net/address.h"

namespace benchfs::net {

class SilentConnections {
 public:
  // `port` is that of the listener.
  static Result<std::unique_ptr<SilentConnections>> create(std::uint16_t port);
  SilentConnections(const SilentConnections&) = delete;
  SilentConnections& operator=(const SilentConnections&) = delete;
  ~SilentConnections();

  // The peer made a connection request: its connection is not silent, as long as it lives.
  void has_spoken(const SocketAddress& peer);

  // Looks at all descriptors, a few hundred nanoseconds each. Ends the silent connections that an
  // earlier sweep saw `patience` ago, and the oldest beyond `most`. Returns how many it ended.
  std::size_t sweep(MonoTime now, Nanos patience, std::size_t most);

 private:
  struct Known {
    MonoTime since;
    bool spoke = false;
    bool alive = true;  // seen in this sweep
  };
  struct Silent {
    int fd;
    std::uint64_t peer;
    MonoTime since;
  };

  SilentConnections(std::uint16_t port, DIR* descriptors, int spare)
      : port_(port), descriptors_(descriptors), spare_(spare) {}
  // Whether somebody connected to the listener or, without having said more, to the transport.
  [[nodiscard]] bool is_incoming(int fd) const;
  void find_silent(MonoTime now);
  bool end(const Silent& silent) const;

  std::uint16_t port_;
  DIR* descriptors_;
  int spare_;
  std::unordered_map<std::uint64_t, Known> known_;
  std::vector<Silent> silent_;  // of this sweep
};

}  // namespace benchfs::net
