#include "bench/worker.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <nlohmann/json.hpp>

#include "bench/baseline_messages.h"
#include "bench/channel.h"
#include "bench/io_bench.h"
#include "bench/md_bench.h"
#include "bench/rpc_bench.h"
#include "bench/system_info.h"

namespace benchfs::bench {
namespace {

using nlohmann::json;

double process_cpu_s() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// The parent process decides when to begin and receives every measurement.
class ParentCoordinator final : public Coordinator {
 public:
  explicit ParentCoordinator(Channel& channel) : channel_(channel) {}

  Status begin(const Phase& phase) override {
    BENCHFS_TRY_VOID(channel_.send({{"phase", to_message(phase)}}));
    // The parent bounds the wait: it kills its clients when its deadline passes, and they die with
    // it.
    BENCHFS_TRY(json go, channel_.receive(Deadline::never()));
    MonoTime start(Nanos(go.value("start_ns", std::int64_t{0})));
    timespec when{start.time_since_epoch().count() / 1'000'000'000,
                  start.time_since_epoch().count() % 1'000'000'000};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &when, nullptr);
    return {};
  }

  Status finish(const Phase&, const Measurement& measurement) override {
    return channel_.send({{"measurement", to_message(measurement)}});
  }

 private:
  Channel& channel_;
};

Status run_benchmark(const json& order, Worker& worker) {
  const json& config = order.at("config");
  if (order.at("benchmark") == "rpc") {
    BaselineAddress baseline;
    if (order.contains("baseline")) {
      BENCHFS_TRY(baseline, baseline_address_from(order.at("baseline")));
    }
    return run_rpc(config.get<RpcConfig>(), worker, baseline);
  }
  if (order.at("benchmark") == "io") {
    return run_io(config.get<IoConfig>(), worker);
  }
  return run_md(config.get<MdConfig>(), worker);
}

Status work(const Connect& connect, Channel& channel) {
  BENCHFS_TRY(json order, channel.receive(Deadline::after(kInstructionTimeout)));
  json hello;
  BENCHFS_TRY(std::unique_ptr<client::Client> client, connect_timed(connect, hello));
  std::uint32_t rank = order.at("rank");
  if (rank == 0) {
    hello["shards"] = describe_shards(*client);
  }
  BENCHFS_TRY_VOID(channel.send(hello));
  ParentCoordinator coordinator(channel);
  Worker worker(coordinator, *client, rank, order.at("clients"), connect);
  BENCHFS_TRY_VOID(run_benchmark(order, worker));
  json finished = {{"finished", true}};
  if (rank == 0) {
    finished["shards"] = describe_shards(*client);
  }
  return channel.send(finished);
}

}  // namespace

json describe_shards(client::Client& client) {
  json shards = json::array();
  for (std::uint32_t shard = 0; shard < client.fs().shard_count(); ++shard) {
    Result<std::string> stats = client.run(client.fs().shard_stats(wire::ShardId{shard}));
    json parsed = stats ? json::parse(*stats, nullptr, false) : json();
    shards.push_back(parsed.is_object() ? std::move(parsed) : json::object());
  }
  return shards;
}

std::uint64_t count_requests(client::Client& client) {
  std::uint64_t count = 0;
  for (const json& shard : describe_shards(client)) {
    for (const json& operation : shard.value("operations", json::array())) {
      std::string name = operation.value("operation", "");
      bool is_ours = name == "ping" || name == "stats";
      count += is_ours ? 0 : operation.value("requests", std::uint64_t{0});
    }
  }
  return count;
}

Result<std::unique_ptr<client::Client>> connect_timed(const Connect& connect, json& hello) {
  MonoTime begin = mono_now();
  BENCHFS_TRY(std::unique_ptr<client::Client> client, connect(std::nullopt));
  BENCHFS_TRY_VOID(client->run(client->fs().stat("/")));
  hello["init_ms"] = std::chrono::duration<double, std::milli>(mono_now() - begin).count();
  hello["rss_mib"] = resident_bytes(getpid()).value_or(0) / (1 << 20);
  return client;
}

Result<std::unique_ptr<client::Client>> Worker::connect(rpc::Transport only) const {
  if (!connect_) {
    return fail(Errc::kInvalidArgument, "the path node is one of benchfs bench rpc");
  }
  return connect_(only);
}

void Worker::start(Measurement& measurement) {
  measurement.cpu_s = -process_cpu_s();
  measurement.start = mono_now();
}

void Worker::end(Measurement& measurement) {
  measurement.end = mono_now();
  measurement.cpu_s += process_cpu_s();
}

rt::CoStatus Worker::nothing() {
  co_return Status{};
}

int run_worker(const Connect& connect) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  Channel channel(dup(STDIN_FILENO));
  Status done;
  try {
    done = work(connect, channel);
  } catch (const json::exception& error) {
    done = fail(Errc::kMalformed, error.what());
  }
  if (!done) {
    (void)channel.send({{"error", done.error().message()}});
    return EXIT_FAILURE;
  }
  return EXIT_SUCCESS;
}

namespace {

rt::Task<void> run_lane(rt::CoStatus lane, Status& result) {
  Status status = co_await std::move(lane);
  if (!status && result) {
    result = std::move(status);
  }
}

}  // namespace

rt::CoStatus run_lanes(std::uint32_t count, std::function<rt::CoStatus(std::uint32_t)> lane) {
  if (count == 1) {
    co_return co_await lane(0);
  }
  rt::Scope scope;
  rt::Group group(scope);
  Status result;
  for (std::uint32_t i = 0; i < count; ++i) {
    group.add(run_lane(lane(i), result));
  }
  (void)co_await group.wait();
  scope.close();
  // The scope counts its tasks down shortly after the group does.
  co_await scope.join();
  co_return result;
}

}  // namespace benchfs::bench
