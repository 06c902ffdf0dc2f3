// Ctrl-C of a benchmark: its client processes end, and the files it made are removed.
#pragma once

#include <atomic>
#include <csignal>
#include <string>
#include <thread>

#include "cli/command.h"

namespace benchfs::cli {

// While it lives, SIGINT and SIGTERM end the client processes of this process instead of it, so
// that the benchmark fails and its caller can clean up. A second signal ends the program.
class BenchInterrupt {
 public:
  BenchInterrupt();
  BenchInterrupt(const BenchInterrupt&) = delete;
  BenchInterrupt& operator=(const BenchInterrupt&) = delete;
  ~BenchInterrupt();
  [[nodiscard]] bool came() const { return came_; }

 private:
  void watch();

  sigset_t before_{};
  int wake_fd_ = -1;
  std::atomic<bool> came_{false};
  std::thread watcher_;
};

// Removes what a benchmark that did not end left in `directory`; nothing when it is not there.
void remove_bench_files(const Context& context,
                        const std::string& command,
                        const std::string& directory);

}  // namespace benchfs::cli
