// The cost of idle clients: time to connect and register, server memory, server CPU time.
#pragma once

#include <cstdint>
#include <string>

#include "base/error.h"
#include "bench/report.h"
#include "client/client.h"

namespace benchfs::bench {

struct ConnectConfig {
  std::string registry_dir;
  std::uint32_t clients = 1000;
  std::uint32_t at_once = 64;  // how many connect at the same time
  double hold_s = 5;           // how long they stay idle
  double limit_s = 600;        // for everything
  bool compare = true;         // also make as many connections to a bare UCX listener
};

// Connects the clients from this process to the first shard. The shard must be on this host, or its
// memory and CPU time are unknown, and must have room for them. `observer` queries the shard and
// counts as one more client.
Result<Report> run_connect(const ConnectConfig& config, client::Client& observer);

}  // namespace benchfs::bench
