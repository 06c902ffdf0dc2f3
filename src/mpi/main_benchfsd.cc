// benchfsd_mpi: the daemons of a BenchFS file system as the ranks of an MPI job, one a rank. Exit
// codes are those of sysexits.h.
#include <CLI/CLI.hpp>

#include <fmt/format.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <expected>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "base/log.h"
#include "base/random.h"
#include "cli/cluster/registry.h"
#include "cluster/server_list_file.h"
#include "daemon/command_line.h"
#include "daemon/daemon.h"
#include "daemon/daemon_config.h"
#include "mpi/companions.h"
#include "mpi/ranks.h"

namespace benchfs::mpi {
namespace {

using daemon::CommandLine;
using daemon::Daemon;
using daemon::DaemonConfig;
using daemon::Failure;

constexpr Nanos kListLock = std::chrono::seconds(10);
// How long a network file system may take to show the nodes what rank 0 made.
constexpr Nanos kRegistryVisible = std::chrono::seconds(10);
constexpr Nanos kVerdict = std::chrono::seconds(10);
// Stopping takes at most 3 s a daemon, unless its disk is slow.
constexpr Nanos kAllEnded = std::chrono::seconds(30);

constexpr const char* kFooter =
    R"(The rank is the node id: rank 2 is node_2. Every rank adds its line to the server list,
then all serve until one of them, or mpirun, gets SIGTERM or SIGINT; a second signal ends
them at once.

  mpirun -np 4 --map-by node --bind-to none --mca pml ob1 --mca btl tcp,vader,self \
         --mca odls_base_sigkill_timeout 4 benchfsd_mpi /shared/registry benchfs.toml
  srun -N 4 --ntasks-per-node 1 --mpi=pmix --kill-on-bad-exit benchfsd_mpi /shared/registry

As root add --allow-run-as-root; for more ranks than cores add --oversubscribe.
docs/operations.md says what each flag is for.)";

template <typename T>
using Outcome = std::expected<T, Failure>;

std::unexpected<Failure> give_up(int exit_code, std::string text) {
  return std::unexpected(Failure{exit_code, std::move(text)});
}

// What each rank has to say, in the order of ranks. If any of them failed: the exit code, after the
// first of them has told people why.
std::expected<std::vector<std::int64_t>, int> agree(Ranks& ranks,
                                                    const Outcome<std::int64_t>& own,
                                                    Deadline deadline) {
  Ranks::Pair pair = own ? Ranks::Pair{EX_OK, *own} : Ranks::Pair{own.error().exit_code, 0};
  std::vector<std::int64_t> values;
  int rank = 0;
  for (const Ranks::Pair& said : ranks.gather(pair, deadline)) {
    if (said[0] != EX_OK) {
      if (rank == ranks.rank()) {
        BENCHFS_LOG(kError, "{}", own.error().text);
      }
      return std::unexpected(static_cast<int>(said[0]));
    }
    values.push_back(said[1]);
    ++rank;
  }
  return values;
}

Outcome<std::int64_t> load(const CommandLine& line, int rank, DaemonConfig& config) {
  Status loaded = line.load(config);
  if (loaded) {
    loaded = daemon::settle_directories(config);
  }
  if (!loaded) {
    const Error& error = loaded.error();
    return error.code == Errc::kConfig ? give_up(EX_CONFIG, error.context)
                                       : give_up(EX_NOINPUT, error.message());
  }
  config.node_id = fmt::format("node_{}", rank);
  return static_cast<std::int64_t>(config.shards);
}

// The shards of all ranks together.
Outcome<std::int64_t> check_total(const std::vector<std::int64_t>& shards, DaemonConfig& config) {
  std::uint64_t total = 0;
  for (std::int64_t count : shards) {
    total += static_cast<std::uint64_t>(count);
  }
  if (config.expected_servers != 0 && config.expected_servers != total) {
    return give_up(EX_CONFIG,
                   fmt::format("registry.expected_servers: {} ranks have {} shards together, not "
                               "{}; leave it out",
                               shards.size(),
                               total,
                               config.expected_servers));
  }
  config.expected_servers = total;
  return 0;
}

// A daemon of an earlier run that is, or may be, alive.
std::optional<cli::DaemonInfo> find_owner(const std::string& registry_dir) {
  for (cli::DaemonInfo& daemon : cli::find_daemons(registry_dir)) {
    if (daemon.state == cli::DaemonState::kRunning) {
      return std::move(daemon);
    }
    // Of another host only the lock can be asked.
    if (daemon.state == cli::DaemonState::kElsewhere &&
        !PidFile::acquire(cli::pid_directory(registry_dir) + "/" + daemon.node_id)) {
      return std::move(daemon);
    }
  }
  return std::nullopt;
}

// On rank 0: takes the directory over from runs that are dead, and begins the list of this one.
// Returns the run id.
Outcome<std::int64_t> open_registry(DaemonConfig& config) {
  const std::string& dir = config.registry_dir;
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
  if (std::optional<cli::DaemonInfo> owner = find_owner(dir)) {
    return give_up(EX_UNAVAILABLE,
                   fmt::format("registry directory {} belongs to a file system that is alive: {} "
                               "is process {} on {}; stop it, or choose another directory",
                               dir,
                               owner->node_id,
                               owner->process.pid,
                               owner->process.host));
  }
  cli::clean_registry(dir, false);
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

// On the other ranks: the directory must be the same one.
Outcome<void> see_registry(const DaemonConfig& config) {
  Deadline deadline = Deadline::after(kRegistryVisible);
  while (access((config.registry_dir + "/server_list.txt").c_str(), R_OK) != 0) {
    if (deadline.passed()) {
      return give_up(EX_NOINPUT,
                     fmt::format("registry directory {} does not hold the server list that rank 0 "
                                 "began; it must be on a file system that all nodes share",
                                 config.registry_dir));
    }
    pause_briefly();
  }
  return {};
}

Outcome<std::int64_t> prepare(Ranks& ranks, const DaemonConfig& config, Daemon& daemon) {
  Outcome<void> ready = ranks.rank() == 0 ? Outcome<void>{} : see_registry(config);
  if (ready) {
    ready = daemon.prepare();
  }
  return ready ? Outcome<std::int64_t>{0} : std::unexpected(std::move(ready.error()));
}

// Until all ranks have ended. Returns the exit code, the same everywhere.
int serve(Ranks& ranks, const DaemonConfig& config, Deadline start_by) {
  int code = EX_OK;
  {
    Companions companions(ranks);
    Daemon daemon(config, -1, &companions);
    auto prepared = agree(ranks, prepare(ranks, config, daemon), start_by);
    if (!prepared) {
      return prepared.error();
    }
    code = daemon.serve();
    if (daemon.signals() > 1) {
      ranks.abort(code);
    }
    code = companions.wait_for_verdict(Deadline::after(kVerdict));
  }
  ranks.barrier(Deadline::after(kAllEnded));
  if (ranks.rank() == 0) {
    cli::clean_registry(config.registry_dir, true);
  }
  return code;
}

int run_ranks(const CommandLine& line, Ranks& ranks) {
  DaemonConfig config;
  Outcome<std::int64_t> loaded = load(line, ranks.rank(), config);
  Deadline start_by = Deadline::after(config.list_timeout);
  auto shards = agree(ranks, loaded, start_by);
  if (!shards) {
    return shards.error();
  }
  LogLevel level = static_cast<LogLevel>(config.log_level);
  init_log(ranks.rank() == 0 ? level : std::min(level, LogLevel::kWarn));
  Outcome<std::int64_t> opened = check_total(*shards, config);
  if (opened && ranks.rank() == 0) {
    opened = open_registry(config);
  }
  auto run_ids = agree(ranks, opened, start_by);
  if (!run_ids) {
    return run_ids.error();
  }
  config.run_id = static_cast<std::uint64_t>(run_ids->front());
  return serve(ranks, config, start_by);
}

int run(int argc, char** argv) {
  CLI::App app("The daemons of a BenchFS file system, one a rank of an MPI job.", "benchfsd_mpi");
  app.set_version_flag("--version", "benchfsd_mpi " BENCHFS_VERSION);
  CommandLine line;
  line.define(app, CommandLine::Launch::kTogether);
  app.footer(kFooter);
  int usage = EX_OK;
  std::string complaint;
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) {
      return app.exit(error);
    }
    usage = EX_USAGE;
    complaint = error.what();
  }
  // MPI makes threads, which must not take these signals.
  daemon::block_stop_signals();
  Result<Ranks> ranks = Ranks::start(&argc, &argv);
  if (!ranks) {
    std::fprintf(stderr, "benchfsd_mpi: %s\n", ranks.error().message().c_str());
    return EX_OSERR;
  }
  set_log_name(fmt::format("benchfsd_mpi rank {} on {}", ranks->rank(), ranks->host()));
  if (usage != EX_OK) {
    if (ranks->rank() == 0) {
      std::fprintf(stderr, "benchfsd_mpi: %s\nTry: benchfsd_mpi --help\n", complaint.c_str());
    }
    return usage;
  }
  return run_ranks(line, *ranks);
}

}  // namespace
}  // namespace benchfs::mpi

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  return benchfs::mpi::run(argc, argv);
}
