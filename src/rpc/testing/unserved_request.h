// A request that no server has: for what only looks at one.
#pragma once

#include "rpc/client_registry.h"
#include "rpc/request.h"

namespace benchfs::rpc::testing {

struct UnservedRequest {
  ClientRegistry registry{{}};
  std::uint32_t eager_bytes = 0;
  std::uint64_t dropped = 0;
  ReplyWay way{registry, eager_bytes, dropped};
  Request request{way};
};

}  // namespace benchfs::rpc::testing
