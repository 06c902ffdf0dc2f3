// UCX's calls of libc that make descriptors and threads, made to behave as a library should: every
// descriptor is closed by exec, so that no child keeps the connections of a client that died, and
// every thread blocks all signals, so that none is taken from the application.
//
// UCX offers no setting for either. The entries through which the UCX libraries call libc are
// replaced, and nobody else's: that works inside a library as well as in a program.
#pragma once

namespace benchfs::net {

// Redirects the calls of the UCX libraries that are loaded now. UCX loads modules while it starts,
// so call this before and after. Idempotent.
void redirect_ucx_calls();

}  // namespace benchfs::net
