// How shards of this node are reached: by programs, and by the other shards of the node.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/error.h"

namespace benchfs::rpc {

enum class Transport : std::uint8_t {
  kUcx,   // as all others
  kNode,  // through their door, and no shard in another way
  kAuto,  // through their door when it is there
};

// "ucx", "node" or "auto". Errors: kConfig.
Result<Transport> parse_transport(std::string_view text);
// As BENCHFS_TRANSPORT says, or as it is. Errors: kConfig.
Status apply_environment(Transport& transport);

}  // namespace benchfs::rpc
