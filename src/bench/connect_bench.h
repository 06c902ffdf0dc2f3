// What clients cost a server that do nothing: time to connect and register, memory, processor time.
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
  std::uint32_t at_once = 64;  // that connect at a time
  double hold_s = 5;           // how long they stay and do nothing
  double limit_s = 600;        // for everything
  bool compare = true;         // with as many connections to a bare UCX listener
};

// Connects the clients from this process to the first shard, which must be on this host for its
// memory and processor time to be known, and must have room for them. `observer` asks the shard; it
// is one client more.
Result<Report> run_connect(const ConnectConfig& config, client::Client& observer);

}  // namespace benchfs::bench
