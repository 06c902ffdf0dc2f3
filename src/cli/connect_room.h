// Whether the clients of `benchfs bench connect` have room, before any of them begins.
#pragma once

#include <cstdint>

#include "base/error.h"
#include "client/client.h"

namespace benchfs::cli {

// `clients` more of this process at the first shard, which `observer` asks. Errors: kLimit, naming
// the limit now and what lifts it: UCX's connections of a process, places in the registry,
// descriptors of this process and of the server.
Status check_connect_room(std::uint32_t clients, client::Client& observer);

}  // namespace benchfs::cli
