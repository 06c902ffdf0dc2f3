// Starting the daemons of a local cluster in the background.
#pragma once

#include <csignal>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/safe_dir.h"
#include "cli/cluster/launch_record.h"

namespace benchfs::cli {

struct LaunchedDaemon {
  std::string node_id;
  pid_t pid = 0;
};

// While it lives, Ctrl-C and SIGTERM do not end this process but are remembered, so that the
// daemons started so far can be stopped.
class StopSignals {
 public:
  StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;
  ~StopSignals();
  // Readable once a signal came; -1 when that cannot be told.
  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] bool came() const;

 private:
  sigset_t before_{};
  Fd fd_;
};

// benchfsd beside this program, else the one in PATH. Errors: kSystem.
Result<std::string> find_daemon_program();

// Starts the daemons `node_ids` of the plan as process groups of their own, with output to the
// registry's log directory, and returns when all listen. On failure none is left running, and the
// context ends with what the failed daemon said. Errors: kUnreachable (one ended), kDeadline,
// kCancelled (a stop signal came), kSystem.
Result<std::vector<LaunchedDaemon>> launch_daemons(const LaunchPlan& plan,
                                                   const std::vector<std::string>& node_ids,
                                                   const SafeDir& registry,
                                                   const StopSignals& signals,
                                                   Deadline deadline);

// Stops daemons that this process started.
void stop_launched(const std::vector<LaunchedDaemon>& daemons);

}  // namespace benchfs::cli
