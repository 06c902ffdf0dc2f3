// The daemons that a registry directory knows, and how they are stopped. Its files:
//
//   server_list.txt, server_list.d/   written by the servers (cluster/server_list_file.h)
//   secret                            written by the servers (cluster/secret.h)
//   pid/NODE                          written and locked by a living daemon (base/pid_file.h); a
//                                     daemon that did not shut down cleanly leaves it behind
//   log/NODE.log                      output of a daemon that `benchfs up` started
//   launch.json                       how `benchfs up` started the daemons (cluster/launch.h)
//
// Single-threaded, blocking.
#pragma once

#include <csignal>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/file_lock.h"
#include "base/process_record.h"
#include "base/safe_dir.h"

namespace benchfs::cli {

inline constexpr const char* kServerListName = "server_list.txt";
inline constexpr const char* kCopiesName = "server_list.d";
inline constexpr const char* kPidName = "pid";
inline constexpr const char* kSecretName = "secret";
inline constexpr const char* kLogName = "log";
inline constexpr const char* kLaunchName = "launch.json";

// Holds an exclusive lock on the directory, so that one `up`, `down` or `restart` works at a time.
class RegistryLock {
 public:
  // Errors: kBusy, kConfig (the directory is not ours, or others may write to it), kSystem.
  static Result<RegistryLock> acquire(const std::string& path);
  [[nodiscard]] const SafeDir& dir() const { return dir_; }

 private:
  RegistryLock(SafeDir dir, FileLock lock) : dir_(std::move(dir)), lock_(std::move(lock)) {}
  SafeDir dir_;
  FileLock lock_;
};

enum class DaemonState {
  kRunning,  // on this host: a daemon of this user's that holds this very pid file open
  kDead,
  kElsewhere,  // on another host, or in a container that hides its processes: alive as far as known
};

struct DaemonInfo {
  std::string node_id;
  ProcessRecord process;
  DaemonState state = DaemonState::kDead;
  std::vector<std::string> data_dirs;  // one per shard with the file engine
};

// Returns the daemons in natural order of node ids; empty when there is no pid directory or it is
// not ours.
std::vector<DaemonInfo> find_daemons(const SafeDir& dir);
// Does the same, also in a directory of a user whom clients trust, whose daemons that live are
// elsewhere for us. Nothing when this user may not see what is there.
std::optional<std::vector<DaemonInfo>> look_for_daemons(const std::string& path);

// The daemon that serves a shard ("node_0" has the shard "node_0", or "node_0.0", …); nullptr if
// none is known.
const DaemonInfo* daemon_of(std::span<const DaemonInfo> daemons, const std::string& shard_id);

// Sends SIGTERM to the running daemons, waits until they have ended, sends SIGKILL at the deadline
// and waits once more. Only the processes that find_daemons() saw get a signal. Returns the node
// ids that had to be killed. Errors: kDeadline (some do not end), kSystem.
Result<std::vector<std::string>> stop_daemons(std::span<const DaemonInfo> daemons,
                                              Deadline deadline);

std::string pid_directory(const std::string& dir);

}  // namespace benchfs::cli
