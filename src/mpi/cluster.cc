#include "mpi/cluster.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "base/log.h"
#include "base/random.h"
#include "cli/cluster/registry.h"
#include "cli/cluster/registry_files.h"
#include "cluster/server_list_file.h"

namespace benchfs::mpi {
namespace {

using daemon::CommandLine;
using daemon::Daemon;
using daemon::DaemonConfig;

constexpr Nanos kListLock = std::chrono::seconds(10);
// The time that a network file system may take to show all nodes the files of rank 0.
constexpr Nanos kRegistryVisible = std::chrono::seconds(10);
constexpr Nanos kVerdict = std::chrono::seconds(10);
// Stopping takes at most 3 s a daemon, unless its disk is slow.
constexpr Nanos kAllEnded = std::chrono::seconds(30);

Outcome<std::int64_t> to_outcome(const Status& loaded) {
  if (loaded) {
    return 0;
  }
  const Error& error = loaded.error();
  return error.code == Errc::kConfig ? give_up(EX_CONFIG, error.context)
                                     : give_up(EX_NOINPUT, error.message());
}

// The number of shards of this rank.
Outcome<std::int64_t> load(const CommandLine& line, int rank, bool serves, DaemonConfig& config) {
  Status loaded = line.load(config);
  if (loaded) {
    loaded = daemon::settle_directories(config);
  }
  if (!loaded) {
    return to_outcome(loaded);
  }
  config.node_id = fmt::format("node_{}", rank);
  return serves ? static_cast<std::int64_t>(config.shards) : 0;
}

// The shards of all ranks together.
Outcome<std::int64_t> check_total(const std::vector<std::int64_t>& shards, DaemonConfig& config) {
  std::uint64_t total = 0;
  int serving = 0;
  for (std::int64_t count : shards) {
    total += static_cast<std::uint64_t>(count);
    serving += count > 0 ? 1 : 0;
  }
  if (config.expected_servers != 0 && config.expected_servers != total) {
    return give_up(EX_CONFIG,
                   fmt::format("registry.expected_servers: {} ranks have {} shards together, not "
                               "{}; do not set it",
                               serving,
                               total,
                               config.expected_servers));
  }
  config.expected_servers = total;
  return 0;
}

// With that flag Open MPI goes on without a rank that died, and drops all exit codes, even that of
// MPI_Abort.
void warn_of_recovery() {
  const char* flag = std::getenv("OMPI_MCA_orte_enable_recovery");
  if (flag != nullptr && std::string_view(flag) == "1") {
    BENCHFS_LOG(kWarn,
                "mpirun --enable-recovery: when a rank dies the others go on without its part of "
                "the file system, and mpirun returns 0; leave the flag out");
  }
}

// A daemon of an earlier run that is, or may be, alive.
std::optional<cli::DaemonInfo> find_owner(const SafeDir& registry) {
  Result<SafeDir> pids = registry.subdirectory(cli::kPidName);
  for (cli::DaemonInfo& daemon : cli::find_daemons(registry)) {
    if (daemon.state == cli::DaemonState::kRunning) {
      return std::move(daemon);
    }
    // Only the lock tells whether a process of another host is alive.
    if (daemon.state == cli::DaemonState::kElsewhere && pids &&
        FileLock::is_held(*pids, daemon.node_id)) {
      return std::move(daemon);
    }
  }
  return std::nullopt;
}

// Takes the directory over from dead runs, on rank 0, and creates the list of this run. Returns the
// run id.
Outcome<std::int64_t> open_registry(DaemonConfig& config) {
  const std::string& dir = config.registry_dir;
  // Create only the last component: a mistyped path must not become a directory on one node.
  if (::mkdir(dir.c_str(), 0700) != 0 && errno != EEXIST) {
    return give_up(EX_CANTCREAT,
                   fmt::format("cannot use registry directory {}: {}; choose another one",
                               dir,
                               std::generic_category().message(errno)));
  }
  Result<cli::RegistryLock> lock = cli::RegistryLock::acquire(dir);
  if (!lock) {
    return give_up(EX_CANTCREAT, lock.error().message());
  }
  if (Status checked = cli::check_registry(lock->dir()); !checked) {
    return give_up(EX_CANTCREAT, checked.error().context);
  }
  if (std::optional<cli::DaemonInfo> owner = find_owner(lock->dir())) {
    return give_up(EX_UNAVAILABLE,
                   fmt::format("registry directory {} belongs to a file system that is alive: {} "
                               "is process {} on {}; stop it, or choose another directory",
                               dir,
                               owner->node_id,
                               owner->process.pid,
                               owner->process.host));
  }
  (void)cli::clean_registry(lock->dir());
  config.run_id = config.run_id != 0 ? config.run_id : random_id();
  Status begun = cluster::begin_server_list(
      dir,
      {.run_id = config.run_id, .expected = static_cast<std::uint32_t>(config.expected_servers)},
      Deadline::after(kListLock));
  if (!begun) {
    return give_up(EX_CANTCREAT, begun.error().message());
  }
  return static_cast<std::int64_t>(config.run_id);
}

}  // namespace

int print_config(Ranks& ranks, const CommandLine& line, DaemonConfig& config) {
  Outcome<std::int64_t> loaded = to_outcome(line.load(config));
  auto agreed = agree(ranks, loaded, Deadline::after(config.list_timeout));
  if (!agreed) {
    return agreed.error();
  }
  if (ranks.rank() == 0) {
    std::fputs(format_config(config.settings()).c_str(), stdout);
    return std::fflush(stdout) == 0 ? EX_OK : EX_IOERR;
  }
  return EX_OK;
}

std::expected<Deadline, int> begin_cluster(Ranks& ranks,
                                           const CommandLine& line,
                                           bool serves,
                                           DaemonConfig& config) {
  Outcome<std::int64_t> loaded = load(line, ranks.rank(), serves, config);
  Deadline start_by = Deadline::after(config.list_timeout);
  auto shards = agree(ranks, loaded, start_by);
  if (!shards) {
    return std::unexpected(shards.error());
  }
  LogLevel level = static_cast<LogLevel>(config.log_level);
  init_log(ranks.rank() == 0 ? level : std::min(level, LogLevel::kWarn));
  if (ranks.rank() == 0) {
    warn_of_recovery();
  }
  Outcome<std::int64_t> opened = check_total(*shards, config);
  if (opened && ranks.rank() == 0) {
    opened = open_registry(config);
  }
  auto run_ids = agree(ranks, opened, start_by);
  if (!run_ids) {
    return std::unexpected(run_ids.error());
  }
  config.run_id = static_cast<std::uint64_t>(run_ids->front());
  return start_by;
}

Outcome<void> see_registry(const DaemonConfig& config) {
  Deadline deadline = Deadline::after(kRegistryVisible);
  while (access((config.registry_dir + "/server_list.txt").c_str(), R_OK) != 0) {
    if (deadline.passed()) {
      return give_up(EX_NOINPUT,
                     fmt::format("registry directory {} does not hold the server list that rank 0 "
                                 "created; it must be on a file system that all nodes share",
                                 config.registry_dir));
    }
    pause_briefly();
  }
  return {};
}

Outcome<std::int64_t> prepare_daemon(const Ranks& ranks,
                                     const DaemonConfig& config,
                                     Daemon& daemon) {
  Outcome<void> ready = ranks.rank() == 0 ? Outcome<void>{} : see_registry(config);
  if (ready) {
    ready = daemon.prepare();
  }
  return ready ? Outcome<std::int64_t>{0} : std::unexpected(std::move(ready.error()));
}

int serve_until_verdict(Ranks& ranks, Daemon& daemon, RankGroup& rank_group) {
  int code = daemon.serve();
  if (daemon.signals() > 1) {
    ranks.abort(code);
  }
  return wait_for_verdict(rank_group);
}

int wait_for_verdict(RankGroup& rank_group) {
  return rank_group.wait_for_verdict(Deadline::after(kVerdict));
}

void end_cluster(Ranks& ranks, const DaemonConfig& config) {
  ranks.barrier(Deadline::after(kAllEnded));
  if (ranks.rank() == 0) {
    if (Result<SafeDir> dir = SafeDir::open(config.registry_dir)) {
      (void)cli::clean_registry(*dir);
    }
  }
}

}  // namespace benchfs::mpi
