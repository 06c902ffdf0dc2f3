// benchfs restart NODE: starts one daemon of `benchfs up` again, with the options it had.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "args/command.h"
#include "cli/cluster/launch.h"
#include "cli/cluster/registry.h"
#include "cli/command.h"
#include "cluster/server_list_file.h"

namespace benchfs::cli {
namespace {

constexpr std::string_view kName = "restart";
constexpr Nanos kTimeout = std::chrono::seconds(10);

struct RestartOptions {
  std::string node;
  bool force = false;
};

Result<LaunchPlan> read_plan(const SafeDir& dir, const std::string& node) {
  Result<LaunchPlan> plan = read_launch_record(dir);
  if (!plan && plan.error().posix == ENOENT) {
    return fail(Errc::kConfig,
                fmt::format("'benchfs up' did not start a cluster in {}; restart a daemon that was "
                            "started otherwise with its own command line",
                            dir.path()));
  }
  if (!plan) {
    return plan;
  }
  std::vector<std::string> nodes = plan->node_ids();
  if (std::ranges::find(nodes, node) == nodes.end()) {
    return fail(
        Errc::kConfig,
        fmt::format(
            "{}: no such daemon; the cluster has {} to {}", node, nodes.front(), nodes.back()));
  }
  return plan;
}

// The data of a daemon is lost with it, so a running one is stopped only with --force.
Status stop_running(const SafeDir& dir, const RestartOptions& options, Deadline deadline) {
  std::vector<DaemonInfo> daemons = find_daemons(dir);
  auto daemon = std::ranges::find(daemons, options.node, &DaemonInfo::node_id);
  if (daemon == daemons.end() || daemon->state == DaemonState::kDead) {
    return {};
  }
  if (daemon->state == DaemonState::kElsewhere) {
    return fail(Errc::kBusy,
                fmt::format("{} runs as process {} on {}; stop it there first",
                            options.node,
                            daemon->process.pid,
                            daemon->process.host));
  }
  if (!options.force) {
    return fail(
        Errc::kBusy,
        fmt::format("{} is running as process {}; --force stops it, and the data it stores is lost",
                    options.node,
                    daemon->process.pid));
  }
  BENCHFS_TRY_VOID(stop_daemons({&*daemon, 1}, deadline));
  return {};
}

// A client reaches the shards of the daemon.
Status check_shards(const Context& context, const LaunchPlan& plan, const std::string& node) {
  Nanos timeout = context.timeout(kTimeout);
  client::Options options;
  options.run_id = plan.run_id;
  options.helper_thread = false;
  options.list_timeout = timeout;
  options.connect_timeout = timeout;
  options.file_system.timeouts = client::Timeouts::all(timeout);
  BENCHFS_TRY(std::unique_ptr<client::Client> client, context.connect(std::move(options)));
  const std::vector<cluster::Server>& servers = client->servers().servers;
  for (std::uint32_t i = 0; i < servers.size(); ++i) {
    const std::string& id = servers[i].node_id;
    if (id == node || id.starts_with(node + ".")) {
      BENCHFS_TRY_VOID(client->run(client->fs().ping(wire::ShardId{i})));
    }
  }
  return {};
}

Result<LaunchedDaemon> restart(const Context& context, const RestartOptions& options) {
  Deadline deadline = Deadline::after(context.timeout(kTimeout));
  BENCHFS_TRY(RegistryLock lock, RegistryLock::acquire(context.registry_dir));
  BENCHFS_TRY(LaunchPlan plan, read_plan(lock.dir(), options.node));
  BENCHFS_TRY_VOID(stop_running(lock.dir(), options, deadline));
  StopSignals signals;
  BENCHFS_TRY(std::vector<LaunchedDaemon> daemons,
              launch_daemons(plan, {options.node}, lock.dir(), signals, deadline));
  if (Status reached = check_shards(context, plan, options.node); !reached) {
    return std::unexpected(
        std::move(reached.error())
            .with_prefix(fmt::format(
                "{} runs as process {} but does not answer", options.node, daemons.front().pid)));
  }
  return daemons.front();
}

int run_restart(Context& context, const RestartOptions& options) {
  Result<LaunchedDaemon> daemon = restart(context, options);
  if (!daemon) {
    const Error& error = daemon.error();
    bool is_complete = error.code == Errc::kBusy || error.code == Errc::kConfig ||
                       error.code == Errc::kCancelled || error.context.ends_with('\n');
    return report(kName, "", is_complete ? error.context : error.message());
  }
  fmt::print(
      "{} runs again as process {}; the data it stored is lost, and reading such files fails with "
      "EIO\n",
      daemon->node_id,
      daemon->pid);
  return kExitOk;
}

}  // namespace

void add_restart_command(args::Command& app, Context& context) {
  auto options = std::make_shared<RestartOptions>();
  args::Command* restart = app.add_subcommand(
      "restart", "Restart a daemon that 'benchfs up' started, with its original options");
  restart->add_option("NODE", options->node, "Node id, such as node_1")->required();
  restart->add_flag("--force", options->force, "Stop it first if it is running");
  restart->footer(
      "Use this for a daemon that was killed or that crashed. It comes back empty: the names it "
      "held\nare gone, and reading files that had data on it fails with an input/output error. "
      "'benchfs\nstatus' shows which servers were restarted. The registry directory keeps the "
      "options of\nbenchfs up.\n\n"
      "  benchfs restart node_1");
  restart->callback([&context, options] { context.exit_code = run_restart(context, *options); });
}

}  // namespace benchfs::cli
