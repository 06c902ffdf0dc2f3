// Starting the daemons of a local cluster in the background.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"

namespace benchfs::cli {

struct LaunchPlan {
  std::string program;       // benchfsd
  std::string registry_dir;  // absolute, exists
  std::uint32_t servers = 4;
  std::uint32_t shards = 1;
  std::uint64_t run_id = 0;
  std::vector<std::string> arguments;  // more, the same for every daemon

  // node_0, node_1, …
  [[nodiscard]] std::vector<std::string> node_ids() const;
};

struct LaunchedDaemon {
  std::string node_id;
  pid_t pid = 0;
};

// benchfsd beside this program, else the one in PATH. Errors: kSystem.
Result<std::string> find_daemon_program();

// Starts node_0 … as process groups of their own, with output to the registry's log directory, and
// returns when all listen. On failure none is left running, and the context ends with what the
// failed daemon said. Errors: kUnreachable (one ended), kDeadline, kSystem.
Result<std::vector<LaunchedDaemon>> launch_daemons(const LaunchPlan& plan, Deadline deadline);

// Stops daemons that this process started.
void stop_launched(const std::vector<LaunchedDaemon>& daemons);

}  // namespace benchfs::cli
