// The machine and the cluster a benchmark ran on, and the CPU time of the cluster's daemons.
#pragma once

#include <sys/types.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace benchfs::bench {

// What can be known without a cluster: host, cores, cpu, kernel, versions, build.
nlohmann::ordered_json describe_system();

// The command line of this process, to be repeated in a shell.
std::string command_line();

// Of a process of this host; nothing when that cannot be known.
std::optional<double> resident_bytes(pid_t pid);

// The processes of this host that serve.
class ServerProcesses {
 public:
  // `pids` as the shards said; those that are not benchfsd here are left out.
  explicit ServerProcesses(const std::vector<pid_t>& pids);
  // A child.
  explicit ServerProcesses(pid_t child) : pids_{child} {}
  // Whether all servers are here.
  [[nodiscard]] bool is_complete() const { return complete_ && !pids_.empty(); }
  // CPU seconds of all together since they started; nothing when that cannot be known.
  [[nodiscard]] std::optional<double> cpu_s() const;

 private:
  std::vector<pid_t> pids_;
  bool complete_ = true;  // false: some are elsewhere
};

}  // namespace benchfs::bench
