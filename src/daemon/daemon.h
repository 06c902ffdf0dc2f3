// The shards of one process, each on its own thread, and their common life.
//
//   prepare: make directories, take the node id -> serve: create every shard -> ready -> serve ->
//   stop all
//
// The main thread sleeps on a descriptor until a signal arrives or a shard ends. The first SIGTERM
// or SIGINT stops all shards cleanly, the second at once; a shard that fails stops the others.
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

// Why a daemon cannot start or go on.
struct Failure {
  int exit_code = 0;  // of sysexits.h
  std::string text;   // one line for people: what, and what to do next
};

// Daemons that start and end together with this one. Called by the main thread.
class Companions {
 public:
  virtual ~Companions() = default;
  // All shards of this daemon listen and are in the server list.
  virtual void on_listening() = 0;
  // The daemon begins to stop: for this reason of its own, or (nullptr) because of a signal or of
  // poll(). May come again with a failure after it came without.
  virtual void on_stopping(const Failure* failure) = 0;
  // Asked every few milliseconds while the daemon runs. True when it shall stop.
  virtual bool poll() = 0;
};

// SIGTERM and SIGINT are only seen by Daemon in the calling thread and those it makes from now on.
void block_stop_signals();

class Daemon {
 public:
  // `config` is borrowed, and `companions` unless it is nullptr. `ready_fd` (or -1) is told
  // "ready\n" when all shards listen, and closed.
  Daemon(const DaemonConfig& config, int ready_fd, Companions* companions = nullptr)
      : config_(config), ready_fd_(ready_fd), companions_(companions) {}
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;
  ~Daemon();

  // Signals, directories, the node id. Call once, before other threads exist: it blocks the signals
  // in all of them.
  std::expected<void, Failure> prepare();
  // After prepare(): runs until stopped. Returns the exit code. Failures are told to the
  // companions; without any they are logged.
  int serve();
  // Both; what goes wrong is logged.
  int run();

  // Stop signals so far.
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
  std::expected<void, Failure> take_node_id(const std::string& pid_dir);
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
  Companions* companions_;
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
