// Finds out what two processes of one host may share.
//
// UCX asks whether the mechanisms exist, not whether the kernel allows them between these two.
// Where it does not (another user, another user namespace as that of a container, more
// capabilities), a transfer never ends or a connection is never made. So the connecting side checks
// beforehand.
#pragma once

#include <sys/types.h>

#include <cstdint>

namespace benchfs::net {

enum class Sharing : std::uint8_t {
  kNothing,   // the network, also within the host
  kSegments,  // shared-memory segments
  kMemory,    // also each other's memory (UCX's transport cma)
};

// What this process may share with a running process of this host that has this id here.
Sharing sharing_with(pid_t process);

}  // namespace benchfs::net
