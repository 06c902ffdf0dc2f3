// benchfs down: stops the daemons of this host and removes what they left in the registry.
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <span>
#include <string>
#include <vector>

#include "args/command.h"
#include "chunk/left_overs.h"
#include "cli/cluster/registry.h"
#include "cli/cluster/registry_files.h"
#include "cli/command.h"
#include "cli/files/format.h"
#include "cluster/server_list_file.h"
#include "door/attach.h"

namespace benchfs::cli {
namespace {

constexpr std::string_view kName = "down";
constexpr Nanos kTimeout = std::chrono::seconds(10);

int say_no_cluster(const std::string& dir) {
  fmt::print("no cluster in {}\n", dir);
  return kExitOk;
}

// A process on another host cannot be signalled from here, and its files must stay.
int refuse_elsewhere(const std::string& dir, const DaemonInfo& daemon) {
  return report(kName,
                daemon.node_id,
                fmt::format("runs on {} as process {}; stop it there first, or remove {}/{}",
                            daemon.process.host,
                            daemon.process.pid,
                            pid_directory(dir),
                            daemon.node_id));
}

void remove_leftovers(const std::string& node_id, const std::string& data_dir) {
  Result<std::vector<chunk::LeftOverFile>> removed = chunk::remove_left_overs(data_dir);
  if (!removed) {
    report(kName, node_id, fmt::format("its data files remain: {}", removed.error().message()));
    return;
  }
  std::uint64_t bytes = 0;
  for (const chunk::LeftOverFile& file : *removed) {
    bytes += file.bytes;
  }
  if (!removed->empty()) {
    report(kName,
           node_id,
           fmt::format("removed {} that it left in {}: {} data {}",
                       format_bytes(bytes),
                       data_dir,
                       removed->size(),
                       removed->size() == 1 ? "file" : "files"));
  }
}

// Says what became of daemons that did not shut down cleanly, and removes the data files they left.
// Returns how many of them were running when the command began.
std::size_t report_disorder(const SafeDir& dir,
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
                 ? "did not stop in time and was killed"
                 : "did not shut down cleanly";
    }
    report(kName, daemon.node_id, fmt::format("{}; {}", fate, describe_log(dir, daemon.node_id)));
    for (const std::string& data_dir : daemon.data_dirs) {
      remove_leftovers(daemon.node_id, data_dir);
    }
  }
  return were_running;
}

int run_down(const Context& context) {
  const std::string& path = context.registry_dir;
  Result<RegistryLock> lock = RegistryLock::acquire(path);
  if (!lock) {
    return lock.error().posix == ENOENT         ? say_no_cluster(path)
           : lock.error().code == Errc::kConfig ? report(kName, "", lock.error().context)
                                                : report(kName, "", lock.error());
  }
  const SafeDir& dir = lock->dir();
  std::vector<DaemonInfo> daemons = find_daemons(dir);
  if (daemons.empty() && !dir.exists(kServerListName)) {
    return say_no_cluster(path);
  }
  if (Status checked = check_registry(dir); !checked) {
    return report(kName, "", checked.error().context);
  }
  std::vector<std::string> nodes;
  std::size_t running = 0;
  for (const DaemonInfo& daemon : daemons) {
    if (daemon.state == DaemonState::kElsewhere) {
      return refuse_elsewhere(path, daemon);
    }
    running += daemon.state == DaemonState::kRunning ? 1 : 0;
    nodes.push_back(daemon.node_id);
  }
  auto list = cluster::read_server_list(path, 0);
  Result<std::vector<std::string>> killed =
      stop_daemons(daemons, Deadline::after(context.timeout(kTimeout)));
  if (!killed) {
    return report(kName, "", killed.error());
  }
  if (list) {
    door::remove_doors(list->run_id, static_cast<std::uint32_t>(list->servers.size()));
  }
  std::size_t failed = report_disorder(dir, daemons, *killed, clean_cluster(dir, nodes));
  dir.remove_self();  // if it is empty
  fmt::print(
      "stopped {} of {} {}\n", running - failed, running, running == 1 ? "daemon" : "daemons");
  return failed == 0 ? kExitOk : kExitFailed;
}

}  // namespace

void add_down_command(args::Command& app, Context& context) {
  args::Command* down = app.add_subcommand("down", "Stop the local cluster");
  down->footer(
      "The stored files are lost. The logs of the daemons are removed, too, except those of "
      "daemons\nthat did not shut down cleanly; standard error says where these are. Data files "
      "that a killed\ndaemon left on this host are removed and named. Daemons on other hosts are "
      "not touched: stop\nthem there with SIGTERM. Daemons that do not stop within --timeout (10 "
      "s) are killed.\nThe exit code is 1 if a daemon had to be killed or failed while it "
      "stopped.");
  down->callback([&context] { context.exit_code = run_down(context); });
}

}  // namespace benchfs::cli
