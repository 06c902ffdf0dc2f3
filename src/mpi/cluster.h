// The file system whose daemons are ranks of this job: from its settings to its end.
//
// Every rank reads its settings; rank 0 takes the registry directory over from a dead run and
// begins the list with a fresh run id and the number of shards; the ranks that serve take their
// node ids and run their daemons. Between these steps all ranks agree.
#pragma once

#include <expected>

#include "base/clock.h"
#include "daemon/command_line.h"
#include "daemon/daemon.h"
#include "daemon/daemon_config.h"
#include "mpi/agreement.h"
#include "mpi/companions.h"
#include "mpi/ranks.h"

namespace benchfs::mpi {

// Collective. Prints on rank 0 what benchfsd --print-config would. Returns the exit code.
int print_config(Ranks& ranks, const daemon::CommandLine& line, daemon::DaemonConfig& config);

// Collective. Up to the list that rank 0 began: `config`, whose fields are the defaults, is that of
// this rank, with node id, run id and number of shards. `serves`: whether this rank will; rank 0
// does. Returns until when all must be ready, or the exit code (agreement.h).
std::expected<Deadline, int> begin_cluster(Ranks& ranks,
                                           const daemon::CommandLine& line,
                                           bool serves,
                                           daemon::DaemonConfig& config);

// Of a rank other than 0: waits until the list that rank 0 began is visible here.
Outcome<void> see_registry(const daemon::DaemonConfig& config);
// Of a rank that serves: the directory is the one that rank 0 prepared, the daemon can begin.
Outcome<std::int64_t> prepare_daemon(const Ranks& ranks,
                                     const daemon::DaemonConfig& config,
                                     daemon::Daemon& daemon);

// Serves until the job ends. A second stop signal ends it at once. Returns the exit code.
int serve_until_verdict(Ranks& ranks, daemon::Daemon& daemon, Companions& companions);
// The same for a rank that does not serve (any more): waits until the others stop, too.
int wait_for_verdict(Companions& companions);

// Collective, after all daemons have ended; rank 0 removes what is left of the registry.
void end_cluster(Ranks& ranks, const daemon::DaemonConfig& config);

}  // namespace benchfs::mpi
