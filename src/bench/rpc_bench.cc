#include "bench/rpc_bench.h"

#include <algorithm>
#include <map>
#include <memory>

#include "bench/baseline_client.h"
#include "bench/ping_load.h"

namespace benchfs::bench {
namespace {

constexpr Nanos kWarmupLimit = std::chrono::milliseconds(500);
constexpr std::uint64_t kNewEndpointWarmup = 10;
constexpr std::uint64_t kFewestNewEndpoints = 10;
constexpr std::uint64_t kMostNewEndpoints = 1000;

MonoTime after(Nanos span) {
  return mono_now() + span;
}

// One client's part of the benchmark.
class RpcRun {
 public:
  RpcRun(const RpcConfig& config, Worker& worker, const BaselineAddress& baseline)
      : config_(config), worker_(worker), baseline_(baseline) {}

  Status run();

 private:
  // Runs all rounds of all paths for `phase`.
  Status compare(Phase phase);
  Status measure(ReplyPath path, const Phase& phase);
  Status ping(ReplyPath path, PingLimit limit, Measurement& measurement);
  Result<BaselineClient*> baseline_client(ReplyPath path);
  Status check_every_byte(const Phase& phase);
  Status check_every_byte(client::Client& client, Measurement& out);
  [[nodiscard]] PingLimit limit_of(ReplyPath path, const Phase& phase) const;
  [[nodiscard]] std::uint32_t shards() const {
    return config_.all_servers ? worker_.fs().pool().size() : 1;
  }

  const RpcConfig& config_;
  Worker& worker_;
  const BaselineAddress& baseline_;
  PingShape shape_;
  std::unique_ptr<PingLoad> load_;
  std::unique_ptr<client::Client> node_client_;  // for the path through the node door, if wanted
  std::unique_ptr<PingLoad> node_load_;
  std::map<ReplyPath, std::unique_ptr<BaselineClient>> baselines_;
};

Status RpcRun::run() {
  if (std::ranges::count(config_.paths, name_of(ReplyPath::kNode)) > 0) {
    BENCHFS_TRY(node_client_, worker_.connect(rpc::Transport::kNode));
  }
  std::vector<std::uint32_t> counts = config_.client_counts;
  if (counts.empty()) {
    counts = {worker_.clients()};
  }
  for (const std::string& direction : config_.directions) {
    for (std::uint64_t payload_bytes : config_.payload_bytes) {
      for (std::uint32_t depth : config_.depths) {
        for (std::uint32_t clients : counts) {
          Phase phase{.name = direction,
                      .depth = depth,
                      .payload_bytes = payload_bytes,
                      .clients = clients};
          BENCHFS_TRY_VOID(compare(phase));
        }
      }
    }
  }
  return {};
}

Status RpcRun::compare(Phase phase) {
  shape_ = {.direction = direction_of(phase.name),
            .payload_bytes = phase.payload_bytes,
            .depth = phase.depth,
            .seed = config_.seed,
            .rank = worker_.rank()};
  load_ = std::make_unique<PingLoad>(worker_.fs().pool(), shape_, shards());
  if (node_client_ != nullptr) {
    node_load_ = std::make_unique<PingLoad>(node_client_->fs().pool(), shape_, shards());
  }
  BENCHFS_TRY_VOID(check_every_byte(phase));
  for (phase.round = 0; phase.round < config_.rounds; ++phase.round) {
    for (const std::string& name : config_.paths) {
      std::optional<ReplyPath> path = path_of(name);
      if (!path) {
        return fail(Errc::kInvalidArgument, "unknown reply path " + name);
      }
      phase.path = name;
      BENCHFS_TRY_VOID(measure(*path, phase));
    }
  }
  return {};
}

Status RpcRun::check_every_byte(const Phase& phase) {
  Phase check = phase;
  check.name = "check";
  check.reported = false;
  return worker_.run_here(check, [&](Measurement& out) -> Status {
    BENCHFS_TRY_VOID(check_every_byte(worker_.client(), out));
    return node_client_ == nullptr ? Status{} : check_every_byte(*node_client_, out);
  });
}

Status RpcRun::check_every_byte(client::Client& client, Measurement& out) {
  return client.run(echo_everywhere(client.fs().pool(), shape_, shards(), out));
}

Status RpcRun::measure(ReplyPath path, const Phase& phase) {
  // Make the connections before the warm-up.
  Phase warmup = phase;
  warmup.reported = false;
  BENCHFS_TRY_VOID(worker_.run_here(warmup, [&](Measurement& out) {
    std::uint64_t operations = std::max<std::uint64_t>(config_.warmup, 1);
    if (path == ReplyPath::kNewEndpoint) {
      operations = std::min(operations, kNewEndpointWarmup);
    }
    return ping(path, {operations, after(kWarmupLimit), worker_.ends_early()}, out);
  }));
  BENCHFS_TRY_VOID(worker_.run_here(
      phase, [&](Measurement& out) { return ping(path, limit_of(path, phase), out); }));
  if (path == ReplyPath::kNewEndpoint) {
    baselines_.erase(path);  // and everything that its endpoints left in this worker
  }
  return {};
}

PingLimit RpcRun::limit_of(ReplyPath path, const Phase& phase) const {
  PingLimit limit{.operations = config_.operations, .ends_early = worker_.ends_early()};
  if (limit.operations == 0) {
    auto seconds = std::chrono::duration<double>(config_.seconds);
    limit.stop_at = after(std::chrono::duration_cast<Nanos>(seconds));
  }
  if (path == ReplyPath::kNewEndpoint) {
    std::uint64_t most = config_.new_endpoint_operations(phase.clients);
    limit.operations = limit.operations == 0 ? most : std::min(limit.operations, most);
  }
  return limit;
}

Status RpcRun::ping(ReplyPath path, PingLimit limit, Measurement& measurement) {
  if (path == ReplyPath::kPersistent) {
    return worker_.client().run(load_->run(limit, measurement));
  }
  if (path == ReplyPath::kNode) {
    return node_client_->run(node_load_->run(limit, measurement));
  }
  BENCHFS_TRY(BaselineClient * client, baseline_client(path));
  return client->run(shape_, limit, measurement);
}

Result<BaselineClient*> RpcRun::baseline_client(ReplyPath path) {
  auto& client = baselines_[path];
  if (client == nullptr) {
    BENCHFS_TRY(client, BaselineClient::connect(path, baseline_));
  }
  return client.get();
}

}  // namespace

bool RpcConfig::needs_baseline() const {
  return std::ranges::any_of(paths, [](const std::string& name) {
    std::optional<ReplyPath> path = path_of(name);
    return path && !is_ours(*path);
  });
}

std::uint64_t RpcConfig::new_endpoint_operations(std::uint32_t clients) const {
  std::uint64_t phases = directions.size() * payload_bytes.size() * depths.size() *
                         std::max<std::size_t>(client_counts.size(), 1) * rounds;
  return std::clamp(
      kMaxNewEndpoints / (phases * std::max(clients, 1U)), kFewestNewEndpoints, kMostNewEndpoints);
}

Status run_rpc(const RpcConfig& config, Worker& worker, const BaselineAddress& baseline) {
  if (config.needs_baseline() && !baseline.is_set()) {
    return fail(Errc::kInvalidArgument, "this reply path needs the baseline server");
  }
  return RpcRun(config, worker, baseline).run();
}

}  // namespace benchfs::bench
