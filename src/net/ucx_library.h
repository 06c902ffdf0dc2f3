// UCX is loaded when the network is needed first: a program whose servers are all on its own node
// has none of UCX's memory hooks, threads and variables, and does not wait for it to start
// (10 ms).
#pragma once

#include "base/error.h"

namespace benchfs::net {

// Loads UCX's libraries, which then stay. Until it has succeeded no function of UCX may be called:
// such a call ends the process with a message. Idempotent; any thread. Fails where UCX is not
// installed, and says what to do.
Status load_ucx();

}  // namespace benchfs::net
