// The daemons that a registry directory knows, and how they are stopped. Its files:
//
//   server_list.txt, server_list.d/   of the servers (cluster/server_list_file.h)
//   secret                            of the servers (cluster/secret.h)
//   pid/NODE                          of a living daemon, locked by it (base/pid_file.h); one that
//                                     did not end in order leaves it
//   log/NODE.log                      output of daemons that `benchfs up` started
//
// Single-threaded, blocking.
#pragma once

#include <csignal>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/pid_file.h"

namespace benchfs::cli {

// Holds an exclusive lock on the directory, so that one `up` or `down` is at work at a time.
class RegistryLock {
 public:
  // Errors: kBusy, kSystem.
  static Result<RegistryLock> acquire(const std::string& dir);
  RegistryLock(RegistryLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  RegistryLock& operator=(RegistryLock&&) = delete;
  ~RegistryLock();

 private:
  explicit RegistryLock(int fd) : fd_(fd) {}
  int fd_;
};

enum class DaemonState {
  kRunning,  // on this host, and surely the daemon that wrote the file
  kDead,
  kElsewhere,  // its pid file names another host: unknown
};

struct DaemonInfo {
  std::string node_id;
  ProcessRecord process;
  DaemonState state = DaemonState::kDead;
};

// In natural order of node ids; empty when there is no such directory.
std::vector<DaemonInfo> find_daemons(const std::string& dir);

// The daemon that serves a shard ("node_0" has the shard "node_0", or "node_0.0", …); nullptr if
// none is known.
const DaemonInfo* daemon_of(std::span<const DaemonInfo> daemons, const std::string& shard_id);

// Sends SIGTERM to the running ones, waits until they ended, sends SIGKILL at the deadline and
// waits once more. Only processes that still are the daemon of the pid file get a signal. Returns
// the node ids that had to be killed. Errors: kDeadline (some do not end), kSystem.
Result<std::vector<std::string>> stop_daemons(std::span<const DaemonInfo> daemons,
                                              Deadline deadline);

std::string pid_directory(const std::string& dir);

}  // namespace benchfs::cli
