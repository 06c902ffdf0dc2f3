// benchfs up: a local cluster in the background, ready when the command returns.
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "args/command.h"
#include "base/cpu_list.h"
#include "base/random.h"
#include "cli/cluster/launch.h"
#include "cli/cluster/registry.h"
#include "cli/cluster/registry_files.h"
#include "cli/command.h"
#include "client/environment.h"

namespace benchfs::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kName = "up";
constexpr Nanos kTimeout = std::chrono::seconds(10);

struct UpOptions {
  std::uint32_t servers = 4;
  std::uint32_t shards = 1;
  std::optional<std::string> engine;
  std::optional<std::string> data_dir;
  std::optional<std::string> memory;
  std::optional<std::string> chunk;
  std::optional<std::string> cpus;
  std::optional<std::string> config;
  std::vector<std::string> sets;
  bool json = false;
};

std::string absolute(const std::string& path) {
  std::error_code error;
  return fs::absolute(path, error).lexically_normal().native();
}

// Fails while a daemon is alive there. Removes what dead daemons left, except their logs.
Status take_over(const SafeDir& dir) {
  BENCHFS_TRY_VOID(check_new_registry(dir));
  std::string alive;
  for (const DaemonInfo& daemon : find_daemons(dir)) {
    if (daemon.state != DaemonState::kDead) {
      alive += fmt::format("{}{} (process {} on {})",
                           alive.empty() ? "" : ", ",
                           daemon.node_id,
                           daemon.process.pid,
                           daemon.process.host);
    }
  }
  if (!alive.empty()) {
    return fail(
        Errc::kBusy,
        fmt::format("a cluster is alive in {}: {}; benchfs down stops it", dir.path(), alive));
  }
  (void)clean_cluster(dir, {});
  return {};
}

// With at least as many shards as processors the daemons would starve each other and the programs
// that wait for them, so a quarter of the processors, at least one, is left to those programs.
CpuList processors_of(const UpOptions& options) {
  CpuList cpus = allowed_cpus();
  if (cpus.size() < 2 || options.servers * options.shards < cpus.size()) {
    return {};
  }
  std::size_t left = std::max<std::size_t>(1, cpus.size() / 4);
  cpus.erase(cpus.begin(), cpus.begin() + static_cast<std::ptrdiff_t>(left));
  return cpus;
}

LaunchPlan make_plan(const UpOptions& options, const std::string& dir, std::string program) {
  LaunchPlan plan;
  plan.program = std::move(program);
  plan.registry_dir = dir;
  plan.servers = options.servers;
  plan.shards = options.shards;
  plan.run_id = random_id();
  auto add = [&plan](std::string option, std::string value) {
    plan.arguments.push_back(std::move(option));
    plan.arguments.push_back(std::move(value));
  };
  add("--listen", "127.0.0.1:0");
  add("--set", "network.devices=lo");
  if (options.config) {
    add("--config", absolute(*options.config));
  }
  if (options.cpus) {
    add("--set", "node.cpus=" + *options.cpus);
  } else if (!options.config) {
    add("--set", "node.cpus=" + to_string(processors_of(options)));
  }
  if (options.engine) {
    add("--engine", *options.engine);
  }
  if (options.data_dir) {
    add("--data-dir", absolute(*options.data_dir));
  }
  if (options.memory) {
    add("--set", "storage.memory_bytes=" + *options.memory);
  }
  if (options.chunk) {
    add("--set", "storage.chunk_bytes=" + *options.chunk);
  }
  for (const std::string& set : options.sets) {
    add("--set", set);
  }
  return plan;
}

// Checks that a client reaches every shard. Returns the server list.
Result<cluster::ServerList> check_service(const Context& context,
                                          const LaunchPlan& plan,
                                          Deadline deadline) {
  client::Options options;
  options.run_id = plan.run_id;
  options.helper_thread = false;
  options.list_timeout = deadline.remaining();
  options.connect_timeout = deadline.remaining();
  options.file_system.timeouts = client::Timeouts::all(deadline.remaining());
  BENCHFS_TRY(std::unique_ptr<client::Client> client, context.connect(std::move(options)));
  for (std::uint32_t i = 0; i < client->fs().shard_count(); ++i) {
    BENCHFS_TRY_VOID(client->run(client->fs().ping(wire::ShardId{i})));
  }
  return client->servers();
}

// Cleans up after a failed start. Its message has quoted the end of a log.
void clean_after_failure(const SafeDir& dir, const LaunchPlan& plan) {
  for (const DaemonInfo& daemon : clean_cluster(dir, plan.node_ids())) {
    report(kName,
           daemon.node_id,
           fmt::format("did not shut down cleanly; its log is kept: {}",
                       log_path(dir.path(), daemon.node_id)));
  }
  dir.remove_self();  // if it is empty
}

struct Cluster {
  std::vector<LaunchedDaemon> daemons;
  cluster::ServerList list;
  Nanos took{};
};

Result<Cluster> bring_up(const Context& context, const UpOptions& options, MonoTime begin) {
  const std::string& path = context.registry_dir;
  Deadline deadline = Deadline::at(begin + context.timeout(kTimeout));
  BENCHFS_TRY(std::string program, find_daemon_program());
  BENCHFS_TRY_VOID(SafeDir::open_or_create(path));
  BENCHFS_TRY(RegistryLock lock, RegistryLock::acquire(path));
  const SafeDir& dir = lock.dir();
  BENCHFS_TRY_VOID(take_over(dir));
  LaunchPlan plan = make_plan(options, path, std::move(program));
  BENCHFS_TRY_VOID(write_launch_record(dir, plan));
  StopSignals signals;
  Cluster cluster;
  Result<std::vector<LaunchedDaemon>> daemons =
      launch_daemons(plan, plan.node_ids(), dir, signals, deadline);
  if (!daemons) {
    clean_after_failure(dir, plan);
    return std::unexpected(std::move(daemons.error()));
  }
  cluster.daemons = *std::move(daemons);
  Result<cluster::ServerList> list = check_service(context, plan, deadline);
  if (signals.came()) {
    stop_launched(cluster.daemons);
    clean_after_failure(dir, plan);
    return fail(Errc::kCancelled, "interrupted; the daemons that were started are stopped again");
  }
  if (!list) {
    stop_launched(cluster.daemons);
    (void)clean_registry(dir);
    return std::unexpected(
        std::move(list.error())
            .with_prefix(
                fmt::format("the daemons ran but did not answer; their logs are in {}/log", path)));
  }
  cluster.list = *std::move(list);
  cluster.took = mono_now() - begin;
  return cluster;
}

void print_json(const Cluster& cluster, const std::string& dir) {
  nlohmann::json out;
  out["registry_dir"] = dir;
  out["run_id"] = fmt::format("{:016x}", cluster.list.run_id);
  out["seconds"] = std::chrono::duration<double>(cluster.took).count();
  out["daemons"] = nlohmann::json::array();
  for (const LaunchedDaemon& daemon : cluster.daemons) {
    out["daemons"].push_back(
        {{"node_id", daemon.node_id}, {"pid", daemon.pid}, {"log", log_path(dir, daemon.node_id)}});
  }
  out["servers"] = nlohmann::json::array();
  for (const cluster::Server& server : cluster.list.servers) {
    out["servers"].push_back({{"node_id", server.node_id}, {"address", server.address()}});
  }
  fmt::print("{}\n", out.dump(2));
}

void print_summary(const Cluster& cluster, const std::string& dir) {
  fmt::print("{:<12} {:<22} {}\n", "SERVER", "ADDRESS", "PROCESS");
  for (const cluster::Server& server : cluster.list.servers) {
    pid_t pid = 0;
    for (const LaunchedDaemon& daemon : cluster.daemons) {
      if (server.node_id == daemon.node_id || server.node_id.starts_with(daemon.node_id + ".")) {
        pid = daemon.pid;
      }
    }
    fmt::print("{:<12} {:<22} {}\n", server.node_id, server.address(), pid);
  }
  fmt::print("{} {} ready after {:.2f} s; logs are in {}/log\n\n",
             cluster.list.servers.size(),
             cluster.list.servers.size() == 1 ? "server is" : "servers are",
             std::chrono::duration<double>(cluster.took).count(),
             dir);
  if (dir != absolute(client::default_registry_dir())) {
    fmt::print("  export BENCHFS_REGISTRY_DIR={}\n", dir);
  }
  fmt::print(
      "  benchfs cp -r DIR bfs:/   copy a directory in\n"
      "  benchfs status            show the state of the servers\n"
      "  benchfs down              stop them; the stored files are lost\n");
}

int run_up(Context& context, const UpOptions& options) {
  MonoTime begin = mono_now();
  context.registry_dir = absolute(context.registry_dir);
  Result<Cluster> cluster = bring_up(context, options, begin);
  if (!cluster) {
    const Error& error = cluster.error();
    // These messages are complete; the name of the error code would add nothing.
    bool is_complete = error.code == Errc::kBusy || error.code == Errc::kConfig ||
                       error.code == Errc::kCancelled || error.context.ends_with('\n');
    return report(kName, "", is_complete ? error.context : error.message());
  }
  if (options.json) {
    print_json(*cluster, context.registry_dir);
  } else {
    print_summary(*cluster, context.registry_dir);
  }
  return kExitOk;
}

}  // namespace

void add_up_command(args::Command& app, Context& context) {
  auto options = std::make_shared<UpOptions>();
  args::Command* up = app.add_subcommand("up", "Start a local cluster in the background");
  up->add_option("--servers", options->servers, "Daemons to start")
      ->range(1, 256)
      ->capture_default_str();
  up->add_option("--shards", options->shards, "Shards (threads) of each daemon")
      ->range(1, 64)
      ->capture_default_str();
  up->add_option("--engine", options->engine, "Where data lives: file (default) or memory")
      ->one_of({"file", "memory"});
  up->add_option("--data-dir", options->data_dir, "File engine: directory on a local disk")
      ->type_name("DIR");
  up->add_option("--memory", options->memory, "Memory engine: limit of each shard, such as 2GiB")
      ->type_name("SIZE");
  up->add_option("--chunk", options->chunk, "Unit in which files are spread, such as 4MiB")
      ->type_name("SIZE");
  up->add_option("--cpus",
                 options->cpus,
                 "Processors of the daemons, such as 0-3,8; \"\": all. Default: all, but if "
                 "there\nare as many shards as processors, a quarter of these is left free")
      ->type_name("LIST");
  up->add_option("--config", options->config, "Configuration file of all daemons")
      ->type_name("FILE");
  up->add_option("--set", options->sets, "Set any key of the configuration; may be repeated")
      ->type_name("SECTION.KEY=VALUE")
      ->expected(1)
      ->take_all();
  up->add_flag("--json", options->json, "Print one JSON object");
  up->footer(
      "Other commands find the cluster by its registry directory, which must be new, empty or that "
      "of\n"
      "an earlier cluster. 'benchfsd --print-config' shows all keys of the configuration.\n"
      "\n"
      "  benchfs up --servers 4 --engine memory --memory 2GiB\n"
      "  benchfs up --servers 2 --data-dir /local/nvme/benchfs --set clients.max_clients=100");
  up->callback([&context, options] { context.exit_code = run_up(context, *options); });
}

}  // namespace benchfs::cli
