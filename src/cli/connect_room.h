// Checks that the clients of `benchfs bench connect` fit, before any of them starts.
#pragma once

#include <cstdint>

#include "base/error.h"
#include "client/client.h"

namespace benchfs::cli {

// Checks room for `clients` more clients of this process at the first shard, through `observer`.
// Errors: kLimit, naming the limit in force and what raises it: UCX's connections of a process,
// places in the registry, descriptors of this process and of the server.
Status check_connect_room(std::uint32_t clients, client::Client& observer);

}  // namespace benchfs::cli
