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

// Waits, on ranks other than 0, until the list that rank 0 created is visible on this node.
Outcome<void> see_registry(const daemon::DaemonConfig& config);
// Checks, on serving ranks, that the directory is the one that rank 0 prepared, and prepares the
// daemon.
Outcome<std::int64_t> prepare_daemon(const Ranks& ranks,
                                     const daemon::DaemonConfig& config,
                                     daemon::Daemon& daemon);

// Serves until the job ends. A second stop signal aborts it. Returns the exit code.
int serve_until_verdict(Ranks& ranks, daemon::Daemon& daemon, RankGroup& rank_group);
// Waits until the other ranks stop, too; for a rank that does not serve, or no longer does.
int wait_for_verdict(RankGroup& rank_group);

// Collective; call it after all daemons have ended. Rank 0 removes the rest of the registry.
void end_cluster(Ranks& ranks, const daemon::DaemonConfig& config);

}  // namespace benchfs::mpi
