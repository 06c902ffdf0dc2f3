// The baseline server as a process of its own, so that its CPU time is known and nothing of ours
// runs in it.
#pragma once

#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "bench/baseline_messages.h"
#include "bench/fleet.h"

namespace benchfs::bench {

class BaselineProcess {
 public:
  // Where clients of this cluster reach it: over loopback when the cluster is there.
  static Result<BaselineProcess> start(const std::string& registry_dir, Deadline deadline);

  [[nodiscard]] const BaselineAddress& address() const { return address_; }
  [[nodiscard]] pid_t pid() const { return process_.pid(0); }
  // Ends it in order; the destructor kills it.
  Status stop();

 private:
  BaselineProcess(Fleet process, BaselineAddress address)
      : process_(std::move(process)), address_(std::move(address)) {}
  Fleet process_;
  BaselineAddress address_;
};

// The command bench-baseline: told where to listen on standard input, serves until that closes.
int run_baseline_process();

}  // namespace benchfs::bench
