// Connections that others make to us, until they have shown that they are UCX peers.
//
// UCX, 1.13 to 1.19 at least, aborts the process when the first bytes of a connection are not what
// it expects: a port scanner ends a daemon. So a daemon links socket_override.cc, which takes the
// place of libc's functions that listen, accept, send and receive. A connection to a port of ours
// then gives UCX no more bytes at a time than one message of its opening has, and those only while
// they can be such a message (opening.h). A peer that sends anything else looks to UCX as if it had
// closed. UCX gathers the bytes in its own memory as always, and looks at a message when it is
// complete: so nothing is copied here and nobody waits.
//
// What is known of a socket is a word in a table by its number, which costs an established
// connection one load an operation. close() forgets it. Which ports are ours: those opened within a
// PortScope; other users of UCX in the process, like MPI, are left alone.
//
// UCX also keeps what a listener accepted after it has destroyed the listener, and calls the
// listener when the request is complete. So before a listener is destroyed, end_listener() refuses
// requests that are not complete.
//
// Thread: any; of one socket, one at a time, which UCX's own lock sees to, and end_listener()
// beside it. Programs without socket_override.cc cannot listen (Worker::listen).
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>

namespace benchfs::net {

enum class Port : std::uint8_t { kForeign, kListener, kTransport, kEnded };

// Ports that the calling thread opens while this lives are of this kind.
class PortScope {
 public:
  explicit PortScope(Port port);
  PortScope(const PortScope&) = delete;
  PortScope& operator=(const PortScope&) = delete;
  ~PortScope();
};

namespace incoming {

// `fd` starts to listen.
void add_port(int fd);
// The listener at this port is about to be destroyed: from now on no request becomes complete and
// no connection is accepted there. Those that are complete have called UCX when its lock is free.
void end_listener(std::uint16_t port);
[[nodiscard]] Port port_of(int fd);
// `fd` was accepted from `port`. False if it must not be used: its number is too high, or the
// listener ends.
[[nodiscard]] bool add_connection(int port, int fd);
// `fd` is closed.
void forget(int fd);

[[nodiscard]] bool is_watched(int fd);
using Receive = ssize_t (*)(int fd, void* data, std::size_t length, int flags);
// Does what `receive`, which is recv(), does, on a watched socket.
ssize_t receive_watched(int fd, void* data, std::size_t length, int flags, Receive receive);
// All of a message was sent on a watched socket.
void was_sent(int fd);

// The socket was accepted from the transport's port and has not yet said which endpoint it wants.
[[nodiscard]] bool is_silent_transport(int fd);
// Connections that were refused since the process started.
[[nodiscard]] std::uint64_t refused();

}  // namespace incoming
}  // namespace benchfs::net
