// The record of how `benchfs up` started its daemons, kept in the registry directory for `benchfs
// restart`.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/safe_dir.h"

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

// Errors: kConfig, kSystem.
Status write_launch_record(const SafeDir& dir, const LaunchPlan& plan);
// Errors: kConfig (not a record), kSystem (ENOENT: `benchfs up` did not start this cluster).
Result<LaunchPlan> read_launch_record(const SafeDir& dir);

}  // namespace benchfs::cli
