// benchfsd_mpi: the daemons of a BenchFS file system as the ranks of an MPI job, one a rank. Exit
// codes are those of sysexits.h.
#include <sysexits.h>

#include <csignal>

#include "args/command.h"
#include "daemon/command_line.h"
#include "daemon/daemon.h"
#include "daemon/daemon_config.h"
#include "mpi/cluster.h"
#include "mpi/program.h"
#include "mpi/rank_group.h"
#include "mpi/ranks.h"

namespace benchfs::mpi {
namespace {

constexpr const char* kFooter =
    R"(The rank is the node id: rank 2 is node_2. Every rank adds its line to the server list,
then all serve until one of them, or mpirun, gets SIGTERM or SIGINT; a second signal kills
them.

  mpirun -np 4 --map-by node --bind-to none --mca pml ob1 --mca btl tcp,vader,self \
         --mca odls_base_sigkill_timeout 4 benchfsd_mpi /shared/registry benchfs.toml
  srun -N 4 --ntasks-per-node 1 --mpi=pmix --kill-on-bad-exit benchfsd_mpi /shared/registry

As root add --allow-run-as-root; for more ranks than cores add --oversubscribe.
docs/operations.md explains the flags.)";

// Runs until all ranks have ended. Returns the exit code, which is the same on all ranks.
int run_ranks(const daemon::CommandLine& line, Ranks& ranks) {
  daemon::DaemonConfig config;
  if (line.print_config()) {
    return print_config(ranks, line, config);
  }
  auto start_by = begin_cluster(ranks, line, true, config);
  if (!start_by) {
    return start_by.error();
  }
  int code = EX_OK;
  {
    RankGroup rank_group(ranks);
    daemon::Daemon daemon(config, -1, &rank_group);
    auto prepared = agree(ranks, prepare_daemon(ranks, config, daemon), *start_by);
    if (!prepared) {
      return prepared.error();
    }
    code = serve_until_verdict(ranks, daemon, rank_group);
  }
  end_cluster(ranks, config);
  return code;
}

int run(int argc, char** argv) {
  args::Command app("The daemons of a BenchFS file system, one per rank of an MPI job.",
                    "benchfsd_mpi");
  app.set_version_flag("--version", "benchfsd_mpi " BENCHFS_VERSION);
  daemon::CommandLine line;
  line.define(app, daemon::CommandLine::Launch::kTogether);
  app.footer(kFooter);
  return run_program(app, argc, argv, [&line](Ranks& ranks) { return run_ranks(line, ranks); });
}

}  // namespace
}  // namespace benchfs::mpi

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);  // under ulimit -f writes fail with EFBIG instead
  return benchfs::mpi::run(argc, argv);
}
