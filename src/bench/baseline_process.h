// Runs the baseline server in its own process, so that its CPU time can be measured and none of our
// code shares it.
#pragma once

#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "bench/baseline_messages.h"
#include "bench/client_processes.h"

namespace benchfs::bench {

class BaselineProcess {
 public:
  // Reachable by the clients of this cluster: over loopback when the cluster uses loopback.
  static Result<BaselineProcess> start(const std::string& registry_dir, Deadline deadline);

  [[nodiscard]] const BaselineAddress& address() const { return address_; }
  [[nodiscard]] pid_t pid() const { return process_.pid(0); }
  // Shuts it down cleanly; the destructor kills it.
  Status stop();

 private:
  BaselineProcess(ClientProcesses process, BaselineAddress address)
      : process_(std::move(process)), address_(std::move(address)) {}
  ClientProcesses process_;
  BaselineAddress address_;
};

// The command bench-baseline: reads from standard input where to listen and serves until that
// closes.
int run_baseline_process();

}  // namespace benchfs::bench
