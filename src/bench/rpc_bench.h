// The RPC benchmark: pings whose payload is checked, over several reply paths side by side.
//
// Used by `benchfs bench rpc` (run.cc) and by the MPI program benchfs_rpc_bench (src/mpi):
//
//   serving side    shards as of any daemon, and, when config.needs_baseline(), one BaselineServer
//                   (baseline_server.h), whose address() the clients get (to_message,
//                   baseline_address_from).
//   each client     Worker worker(coordinator, *client, rank, clients);
//                   run_rpc(config, worker, baseline_address);
//                   with a Coordinator that knows the other clients (worker.h).
//   who reports     merges the measurements of a phase (Measurement::merge) and hands them to a
//                   Collector (collector.h). run_rpc goes through the same phases in every client,
//                   so a Coordinator can do that in finish(). registry_totals(describe_shards())
//                   before and after gives Report::registry; publish() (publish.h) does the rest.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bench/baseline_messages.h"
#include "bench/worker.h"

namespace benchfs::bench {

struct RpcConfig {
  std::vector<std::string> paths = {"persistent"};  // of name_of(ReplyPath)
  std::vector<std::uint64_t> payload_bytes = {8};
  // send: payload goes with the request; receive: with the reply; echo: both ways.
  std::vector<std::string> directions = {"send"};
  std::vector<std::uint32_t> depths = {1};
  std::vector<std::uint32_t> client_counts = {};  // how many ping at the same time; empty: all
  std::uint32_t rounds = 1;                       // through all paths in turn
  bool all_servers = true;       // round robin over all shards; false: shard 0 only
  double seconds = 2;            // per phase and round, unless operations says otherwise
  std::uint64_t operations = 0;  // per client, phase and round
  std::uint64_t warmup = 1000;   // untimed operations before each phase, at most 0.5 s of them
  std::uint64_t seed = 1;

  [[nodiscard]] bool needs_baseline() const;
  // Operations of one client in one phase and round, each over a new endpoint: its share of
  // kMaxNewEndpoints.
  [[nodiscard]] std::uint64_t new_endpoint_operations(std::uint32_t clients) const;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(RpcConfig,
                                   paths,
                                   payload_bytes,
                                   directions,
                                   depths,
                                   client_counts,
                                   rounds,
                                   all_servers,
                                   seconds,
                                   operations,
                                   warmup,
                                   seed)

// UCX leaks part of each new endpoint, so the whole run makes at most this many.
inline constexpr std::uint64_t kMaxNewEndpoints = 20000;

// All phases of this client. `baseline` must be set when config.needs_baseline().
Status run_rpc(const RpcConfig& config, Worker& worker, const BaselineAddress& baseline);

}  // namespace benchfs::bench
