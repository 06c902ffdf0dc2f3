// UCX's calls of libc that make descriptors and threads, made to behave as a library should: every
// descriptor is closed by exec, so that no child keeps the connections of a client that died, and
// every thread blocks all signals, so that none is taken from the application. And a send does not
// tell that the connection has ended: before it returns UCX would take the endpoint apart, and
// abort the process if the message was one that makes the connection (wireup_ep.c, "pending_count
// == 0").
//
// UCX offers no setting for any of these. The entries through which the UCX libraries call libc are
// replaced, and nobody else's: that works inside a library as well as in a program.
#pragma once

#include <sys/types.h>

#include <cstddef>

namespace benchfs::net {

// Redirects the calls of the UCX libraries that are loaded now. UCX loads modules while it starts,
// so call this before and after. Idempotent.
void redirect_ucx_calls();

// The program links benchfs_overrides, as every program that listens must.
[[nodiscard]] bool has_overrides();

// As send(). Where the connection has ended, the first attempt fails with EAGAIN: whoever receives
// from the socket is told. A second one fails as send() does.
ssize_t send_or_put_off(int fd, const void* data, std::size_t length, int flags);

}  // namespace benchfs::net
