// The server of the baselines beside the daemon of this rank, on its own thread.
#pragma once

#include <memory>
#include <thread>

#include "base/clock.h"
#include "base/error.h"
#include "bench/baseline_server.h"
#include "daemon/daemon_config.h"

namespace benchfs::mpi {

class BaselineThread {
 public:
  // Listens on the address of this daemon's shards, and serves at once.
  static Result<std::unique_ptr<BaselineThread>> start(const daemon::DaemonConfig& config);
  BaselineThread(const BaselineThread&) = delete;
  BaselineThread& operator=(const BaselineThread&) = delete;
  // Stops the server; takes at most a second per client that is still connected.
  ~BaselineThread();

  [[nodiscard]] const bench::BaselineAddress& address() const { return server_->address(); }
  // Processor time of the thread so far.
  [[nodiscard]] Nanos cpu_time();

 private:
  BaselineThread(std::unique_ptr<bench::BaselineServer> server, int stop_fd);

  std::unique_ptr<bench::BaselineServer> server_;
  int stop_fd_;
  std::thread thread_;
};

}  // namespace benchfs::mpi
