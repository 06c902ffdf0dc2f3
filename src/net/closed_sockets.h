// Numbers of closed sockets, kept from being used again at once.
//
// UCX before 1.18 remembers an event that it could not deliver by the number of the descriptor.
// When that is closed, and the number goes to another socket before the worker looks at what it
// remembers, the event is taken for one of the other socket, and UCX aborts the process (async.c,
// "handler->async == async"; tcp_sockcm_ep.c, "PRIV_DATA_PACKED"). Connections that come and go
// beside each other make that happen: a daemon with several shards or with few descriptors, or a
// test with its clients on threads. So a program with workers that listen links close_override.cc,
// and the number of a socket it closes stays taken until every worker of the process has looked
// since, and some more have been closed (for workers that are not ours, such as MPI's). The socket
// itself is closed at once.
//
// Threads: any, also between fork and exec. Without close_override.cc nothing is kept.
#pragma once

#include <cstddef>
#include <cstdint>

namespace benchfs::net {

// Closes `fd` as close() does, and keeps its number if it is a socket.
int close_and_keep_number(int fd);

// Closes `fd` as close() does.
int close_at_once(int fd);

// Descriptors of this process that only keep a number; at most 1025.
std::size_t kept_numbers();

// One worker, from before it opens a socket until it has closed the last one.
class SocketLooker {
 public:
  SocketLooker();
  SocketLooker(const SocketLooker&) = delete;
  SocketLooker& operator=(const SocketLooker&) = delete;
  ~SocketLooker();

  // Called before and after the worker looks at the events it remembers. Costs one load if nothing
  // was closed since.
  void begin();
  void end() {
    if (begun_ != seen_) [[unlikely]] {
      looked();
    }
  }

 private:
  void looked();

  std::size_t place_;
  std::uint64_t begun_ = 0;
  std::uint64_t seen_ = 0;
};

}  // namespace benchfs::net
