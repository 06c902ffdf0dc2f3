// Builds a server's sections of the answer to a Stats request. docs/operations.md explains the
// names.
//
// Thread: the reactor's.
#pragma once

#include <cstdint>

#include "base/json_writer.h"
#include "rpc/server.h"

namespace benchfs::rpc {

// "registry", "admission", "rpc" and "operations". Bounded: at most 200 KB.
void write_counters(JsonWriter& json, Server& server);

// "requests": those under way, oldest first, at most `limit` of them and at most `max_bytes` of
// text; "in_flight" is how many there are. `asking` is left out of both.
void write_requests(JsonWriter& json,
                    Server& server,
                    const Request& asking,
                    std::uint32_t limit,
                    std::size_t max_bytes);

}  // namespace benchfs::rpc
