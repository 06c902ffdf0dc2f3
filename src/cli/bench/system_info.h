// The machine and the cluster a benchmark ran on, and the CPU time of the cluster's daemons.
#pragma once

#include <sys/types.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

namespace benchfs::cli::bench {

// What can be known without a cluster: host, cores, cpu, kernel, versions, build.
nlohmann::ordered_json describe_system();

// The daemons of this host that serve the cluster.
class ServerProcesses {
 public:
  // `pids` as the shards said; those that are not benchfsd here are left out.
  explicit ServerProcesses(const std::vector<pid_t>& pids);
  // CPU seconds of all together since they started; nothing when that cannot be known.
  [[nodiscard]] std::optional<double> cpu_s() const;
  [[nodiscard]] std::optional<double> resident_mib() const;

 private:
  std::vector<pid_t> pids_;
  bool complete_ = true;  // false: some are elsewhere
};

}  // namespace benchfs::cli::bench
