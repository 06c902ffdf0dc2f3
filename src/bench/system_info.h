// Describes the machine that a benchmark ran on, and measures the CPU time of the cluster's
// daemons.
#pragma once

#include <sys/types.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace benchfs::bench {

// Describes this machine: host, cores, cpu, kernel, versions, build.
nlohmann::ordered_json describe_system();

// The command line of this process, quoted for a shell.
std::string command_line();

// The resident memory of a process of this host, if it can be read.
std::optional<double> resident_bytes(pid_t pid);

// The server processes of this host.
class ServerProcesses {
 public:
  // `pids` are those that the shards report; any that is not a benchfsd of this host is ignored.
  explicit ServerProcesses(const std::vector<pid_t>& pids);
  // One child process.
  explicit ServerProcesses(pid_t child) : pids_{child} {}
  // True if all servers run on this host.
  [[nodiscard]] bool is_complete() const { return complete_ && !pids_.empty(); }
  // Total CPU seconds of all since they started, if they can be read.
  [[nodiscard]] std::optional<double> cpu_s() const;

 private:
  std::vector<pid_t> pids_;
  bool complete_ = true;  // false if some run elsewhere
};

}  // namespace benchfs::bench
