// Pings over our own connections, `depth` at a time.
#pragma once

#include <memory>
#include <vector>

#include "bench/phase.h"
#include "bench/ping_payload.h"
#include "rpc/connection_pool.h"
#include "rt/task.h"

namespace benchfs::bench {

class PingLoad {
 public:
  // Sends them to the first `shards` servers in turn.
  PingLoad(rpc::ConnectionPool& pool, const PingShape& shape, std::uint32_t shards);

  rt::CoStatus run(PingLimit limit, Measurement& measurement);

 private:
  rt::CoStatus ping_until_done(std::uint32_t lane);

  rpc::ConnectionPool& pool_;
  PingShape shape_;
  std::uint32_t shards_;
  std::vector<std::unique_ptr<PingPayload>> lanes_;
  std::uint64_t next_sequence_ = 1;
  std::uint64_t last_sequence_ = 0;
  PingLimit limit_;
  Measurement* measurement_ = nullptr;
};

// Checks every byte in both directions once with each server: the timed loop only samples large
// payloads and does not check what was sent.
rt::CoStatus echo_everywhere(rpc::ConnectionPool& pool,
                             PingShape shape,
                             std::uint32_t shards,
                             Measurement& out);

}  // namespace benchfs::bench
