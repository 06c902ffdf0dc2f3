// The shards of one process, each on its own thread, and their common life.
//
//   prepare: make directories, take the node id -> serve: create every shard -> ready -> serve ->
//   stop all
//
// The main thread sleeps until a signal arrives or a shard ends. The first SIGTERM or SIGINT shuts
// all shards down cleanly, the second kills them; a shard that fails stops the others.
#pragma once

#include <expected>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/pid_file.h"
#include "daemon/daemon_config.h"
#include "server/shard.h"

namespace benchfs::daemon {

// The reason why a daemon cannot start or continue.
struct Failure {
  int exit_code = 0;  // one of sysexits.h
  std::string text;   // one line for the user: what happened, and what to do
};

// The daemons that start and stop together with this one. Called by the main thread.
class DaemonGroup {
 public:
  virtual ~DaemonGroup() = default;
  // All shards of this daemon listen and are in the server list.
  virtual void on_listening() = 0;
  // The daemon begins to stop: because of `failure`, or (nullptr) because of a signal or of poll().
  // May be called again with a failure after a call without.
  virtual void on_stopping(const Failure* failure) = 0;
  // Called every few milliseconds while the daemon runs. True when it is to stop.
  virtual bool poll() = 0;
};

// In the calling thread, and in those it creates from now on, only Daemon sees SIGTERM and SIGINT.
void block_stop_signals();

class Daemon {
 public:
  // `config` is borrowed, and `group` unless it is nullptr. When all shards listen, "ready\n" is
  // written to `ready_fd` (unless it is -1), which is then closed.
  Daemon(const DaemonConfig& config, int ready_fd, DaemonGroup* group = nullptr)
      : config_(config), ready_fd_(ready_fd), group_(group) {}
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;
  ~Daemon();

  // Sets up signals, directories and the node id. Call once, before other threads exist, because it
  // blocks the signals in all of them.
  std::expected<void, Failure> prepare();
  // Runs until stopped; call prepare() first. Returns the exit code. Failures are reported to the
  // group; without a group they are logged.
  int serve();
  // Calls both; failures are logged.
  int run();

  // Stop signals received so far.
  [[nodiscard]] int signals() const { return signals_; }

 private:
  enum class State : int { kStarting, kServing, kEnded };
  struct Slot {
    server::ShardConfig config;
    std::thread thread;
    // Guarded by mutex_ from here on.
    State state = State::kStarting;
    server::Shard* shard = nullptr;  // while it may be stopped
    std::optional<Error> error;
  };

  int watch();
  [[nodiscard]] std::uint32_t places_for_clients() const;
  std::expected<void, Failure> take_node_id(const SafeDir& pid_dir);
  void report(const Failure& failure);
  void run_shard(Slot& slot);
  void change(Slot& slot, State state, server::Shard* shard, std::optional<Error> error);
  void stop_all();
  bool look_at_shards();
  std::string names_of_running();
  int read_signals();
  void announce_ready();
  void remove_directories();

  const DaemonConfig& config_;
  int ready_fd_;
  DaemonGroup* group_;
  int signal_fd_ = -1;
  int event_fd_ = -1;  // counts changes of slots
  std::optional<PidFile> pid_file_;
  std::vector<std::unique_ptr<Slot>> slots_;
  int signals_ = 0;
  int exit_code_ = 0;
  bool listening_ = false;

  std::mutex mutex_;
  int stops_ = 0;  // written by the main thread under mutex_
};

}  // namespace benchfs::daemon
