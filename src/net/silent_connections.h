// Connections to a UCX listener that never say anything.
//
// UCX 1.13 accepts every TCP connection to the port and waits for the first bytes of its peer for
// ever, with a descriptor each, before anybody hears of a connection request; when the descriptors
// are used up it spins. This finds such connections among the descriptors of the process and shuts
// them down when they are too old or too many, upon which UCX closes them.
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
  // A number for the peer of a connection to the port; 0 if the descriptor is none.
  [[nodiscard]] std::uint64_t peer_of(int fd) const;
  void find_silent(MonoTime now);
  bool end(const Silent& silent) const;

  std::uint16_t port_;
  DIR* descriptors_;
  int spare_;
  std::unordered_map<std::uint64_t, Known> known_;
  std::vector<Silent> silent_;  // of this sweep
};

}  // namespace benchfs::net
