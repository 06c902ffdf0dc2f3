// benchfs down: stops the daemons of this host and removes what they left in the registry.
#include <CLI/CLI.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <span>
#include <string>
#include <system_error>
#include <vector>

#include "cli/cluster/registry.h"
#include "cli/cluster/registry_files.h"
#include "cli/command.h"

namespace benchfs::cli {
namespace {

constexpr std::string_view kName = "down";
constexpr Nanos kTimeout = std::chrono::seconds(10);

int say_no_cluster(const std::string& dir) {
  fmt::print("no cluster in {}\n", dir);
  return kExitOk;
}

// A process of another host gets no signal from here, and what it uses is not removed.
int refuse_elsewhere(const std::string& dir, const DaemonInfo& daemon) {
  return report(kName,
                daemon.node_id,
                fmt::format("runs on {} as process {}; stop it there first, or remove {}/{}",
                            daemon.process.host,
                            daemon.process.pid,
                            pid_directory(dir),
                            daemon.node_id));
}

// Says what became of daemons that did not end in order. Returns how many of them were running
// when the command began.
std::size_t report_disorder(const std::string& dir,
                            std::span<const DaemonInfo> before,
                            std::span<const std::string> killed,
                            std::span<const DaemonInfo> left) {
  std::size_t were_running = 0;
  for (const DaemonInfo& daemon : left) {
    auto then = std::ranges::find(before, daemon.node_id, &DaemonInfo::node_id);
    std::string fate = fmt::format("process {} had died", daemon.process.pid);
    if (then != before.end() && then->state == DaemonState::kRunning) {
      ++were_running;
      fate = std::ranges::find(killed, daemon.node_id) != killed.end()
                 ? "did not stop in time and was killed; its data files remain"
                 : "did not end in order";
    }
    report(kName, daemon.node_id, fmt::format("{}; {}", fate, describe_log(dir, daemon.node_id)));
  }
  return were_running;
}

int run_down(const Context& context) {
  const std::string& dir = context.registry_dir;
  Result<RegistryLock> lock = RegistryLock::acquire(dir);
  if (!lock) {
    return lock.error().posix == ENOENT ? say_no_cluster(dir) : report(kName, "", lock.error());
  }
  std::vector<DaemonInfo> daemons = find_daemons(dir);
  if (daemons.empty() && !has_server_list(dir)) {
    return say_no_cluster(dir);
  }
  if (Status checked = check_registry(dir); !checked) {
    return report(kName, "", checked.error().context);
  }
  std::vector<std::string> nodes;
  std::size_t running = 0;
  for (const DaemonInfo& daemon : daemons) {
    if (daemon.state == DaemonState::kElsewhere) {
      return refuse_elsewhere(dir, daemon);
    }
    running += daemon.state == DaemonState::kRunning ? 1 : 0;
    nodes.push_back(daemon.node_id);
  }
  Result<std::vector<std::string>> killed =
      stop_daemons(daemons, Deadline::after(context.timeout(kTimeout)));
  if (!killed) {
    return report(kName, "", killed.error());
  }
  std::size_t failed = report_disorder(dir, daemons, *killed, clean_cluster(dir, nodes));
  std::error_code ignored;
  std::filesystem::remove(dir, ignored);  // if it is empty
  fmt::print("stopped {} of {} daemons\n", running - failed, running);
  return failed == 0 ? kExitOk : kExitFailed;
}

}  // namespace

void add_down_command(CLI::App& app, Context& context) {
  CLI::App* down = app.add_subcommand("down", "Stop the local cluster");
  down->footer(
      "What the daemons store is gone then. Their logs go, too, except those of daemons that did\n"
      "not end in order: where these are is said on standard error. Daemons of other hosts are "
      "not\n"
      "touched: stop them there, with SIGTERM. Those that do not stop within --timeout (10 s) are\n"
      "killed. Exit code 1 when a daemon had to be killed or failed while it stopped.");
  down->callback([&context] { context.exit_code = run_down(context); });
}

}  // namespace benchfs::cli
