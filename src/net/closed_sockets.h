// Numbers of closed sockets, kept from being used again at once.
//
// UCX before 1.18 remembers an event that it could not deliver by the number of the descriptor.
// When that is closed, and the number goes to a socket of another worker of the same process before
// the first worker looks, UCX finds an event of somebody else and aborts the process (async.c,
// "handler->async == async"). Connections that come and go beside each other make that happen: a
// daemon with several shards, or a test with its clients on threads. So a program with several
// workers links close_override.cc, and the number of a socket it closes stays taken until some
// hundred more have been closed. The socket itself is closed at once.
//
// Threads: any, also between fork and exec. Without close_override.cc nothing is kept.
#pragma once

#include <cstddef>

namespace benchfs::net {

// Closes `fd` as close() does, and keeps its number if it is a socket.
int close_and_keep_number(int fd);

// Descriptors of this process that only keep a number; at most 257.
std::size_t kept_numbers();

}  // namespace benchfs::net
