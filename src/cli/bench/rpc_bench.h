// benchfs bench rpc: pings of several sizes, the payload checked.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/bench/worker.h"

namespace benchfs::cli::bench {

struct RpcConfig {
  std::vector<std::uint64_t> payload_bytes = {8};
  // send: payload goes with the request; receive: with the reply; echo: both ways.
  std::vector<std::string> directions = {"send"};
  std::vector<std::uint32_t> depths = {1};
  bool all_servers = true;       // round robin over all shards; false: shard 0 only
  double seconds = 2;            // per phase, unless operations says otherwise
  std::uint64_t operations = 0;  // per client and phase
  std::uint64_t warmup = 1000;   // untimed operations before each phase, at most 0.5 s of them
  std::uint64_t seed = 1;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(
    RpcConfig, payload_bytes, directions, depths, all_servers, seconds, operations, warmup, seed)

Status run_rpc(const RpcConfig& config, Worker& worker);

}  // namespace benchfs::cli::bench
