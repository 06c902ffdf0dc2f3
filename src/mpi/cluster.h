// The file system whose daemons are ranks of this job: from its settings to its end.
//
// Every rank reads its settings; rank 0 takes over the registry directory of a dead run and begins
// the list with a fresh run id and the number of shards; the serving ranks take their node ids and
// run their daemons. All ranks agree after each of these steps.
#pragma once

#include <expected>

#include "base/clock.h"
#include "daemon/command_line.h"
#include "daemon/daemon.h"
#include "daemon/daemon_config.h"
#include "mpi/agreement.h"
#include "mpi/rank_group.h"
#include "mpi/ranks.h"

namespace benchfs::mpi {

// Collective. Prints the configuration on rank 0, as benchfsd --print-config does. Returns the exit
// code.
int print_config(Ranks& ranks, const daemon::CommandLine& line, daemon::DaemonConfig& config);

// Collective. Fills `config`, whose fields are the defaults, for this rank, with node id, run id
// and number of shards, and lets rank 0 begin the server list. `serves`: whether this rank runs a
// daemon; rank 0 does. Returns the deadline for all to be ready, or the exit code (agreement.h).
std::expected<Deadline, int> begin_cluster(Ranks& ranks,
                                           const daemon::CommandLine& line,
                                           bool serves,
                                           daemon::DaemonConfig& config);

// On ranks other than 0: waits until the list that rank 0 began is visible on this node.
Outcome<void> see_registry(const daemon::DaemonConfig& config);
// On serving ranks: checks that the directory is the one that rank 0 prepared, and prepares the
// daemon.
Outcome<std::int64_t> prepare_daemon(const Ranks& ranks,
                                     const daemon::DaemonConfig& config,
                                     daemon::Daemon& daemon);

// Serves until the job ends. A second stop signal aborts it. Returns the exit code.
int serve_until_verdict(Ranks& ranks, daemon::Daemon& daemon, RankGroup& rank_group);
// For a rank that does not serve, or no longer does: waits until the others stop, too.
int wait_for_verdict(RankGroup& rank_group);

// Collective, after all daemons have ended. Rank 0 removes what is left of the registry.
void end_cluster(Ranks& ranks, const daemon::DaemonConfig& config);

}  // namespace benchfs::mpi
