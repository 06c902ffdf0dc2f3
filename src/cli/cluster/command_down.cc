// benchfs down: stops the daemons of this host and removes what they left in the registry.
#include <CLI/CLI.hpp>

#include <fmt/format.h>

#include <cerrno>
#include <string>
#include <vector>

#include "cli/cluster/registry.h"
#include "cli/command.h"

namespace benchfs::cli {
namespace {

constexpr std::string_view kName = "down";
constexpr Nanos kTimeout = std::chrono::seconds(10);

int run_down(const Context& context) {
  const std::string& dir = context.registry_dir;
  Result<RegistryLock> lock = RegistryLock::acquire(dir);
  if (!lock) {
    if (lock.error().posix == ENOENT) {
      fmt::print("no cluster in {}\n", dir);
      return kExitOk;
    }
    return report(kName, "", lock.error());
  }
  std::vector<DaemonInfo> daemons = find_daemons(dir);
  if (daemons.empty() && !has_server_list(dir)) {
    fmt::print("no cluster in {}\n", dir);
    return kExitOk;
  }
  std::size_t running = 0;
  std::string dead;
  for (const DaemonInfo& daemon : daemons) {
    if (daemon.state == DaemonState::kElsewhere) {
      return report(kName,
                    daemon.node_id,
                    fmt::format("runs on {} as process {}; stop it there first, or remove {}/{}",
                                daemon.process.host,
                                daemon.process.pid,
                                pid_directory(dir),
                                daemon.node_id));
    }
    if (daemon.state == DaemonState::kRunning) {
      ++running;
    } else {
      dead += (dead.empty() ? "; dead before: " : ", ") + daemon.node_id;
    }
  }
  Result<std::vector<std::string>> killed =
      stop_daemons(daemons, Deadline::after(context.timeout(kTimeout)));
  if (!killed) {
    return report(kName, "", killed.error());
  }
  remove_registry(dir, !killed->empty());
  for (const std::string& node_id : *killed) {
    report(kName,
           node_id,
           fmt::format("did not stop in time and was killed; its log is {}, its data files remain",
                       log_path(dir, node_id)));
  }
  fmt::print("stopped {} of {} daemons{}\n", running - killed->size(), running, dead);
  return killed->empty() ? kExitOk : kExitFailed;
}

}  // namespace

void add_down_command(CLI::App& app, Context& context) {
  CLI::App* down = app.add_subcommand("down", "Stop the local cluster");
  down->footer(
      "What the daemons store and their logs are gone then. Daemons of other hosts are not "
      "touched:\n"
      "stop them there, with SIGTERM. Those that do not stop within --timeout (10 s) are killed.");
  down->callback([&context] { context.exit_code = run_down(context); });
}

}  // namespace benchfs::cli
