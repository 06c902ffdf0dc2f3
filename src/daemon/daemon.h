// The shards of one process, each on its own thread, and their common life.
//
//   make directories, take the node id -> create every shard -> ready -> serve -> stop all
//
// The main thread sleeps on a descriptor until a signal arrives or a shard ends. The first SIGTERM
// or SIGINT stops all shards cleanly, the second at once; a shard that fails stops the others.
#pragma once

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

class Daemon {
 public:
  // `config` is borrowed. `ready_fd` (or -1) is told "ready\n" when all shards listen, and closed.
  Daemon(const DaemonConfig& config, int ready_fd) : config_(config), ready_fd_(ready_fd) {}
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;
  ~Daemon();

  // Runs until stopped; logs what goes wrong. Returns a code of sysexits.h. Call once, before other
  // threads exist: it blocks the signals in all of them.
  int run();

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

  int prepare();
  int watch();
  void run_shard(Slot& slot);
  void change(Slot& slot, State state, server::Shard* shard, std::optional<Error> error);
  void stop_all();
  bool look_at_shards();
  int read_signals();
  void announce_ready();
  void remove_directories();

  const DaemonConfig& config_;
  int ready_fd_;
  int signal_fd_ = -1;
  int event_fd_ = -1;  // counts changes of slots
  std::optional<PidFile> pid_file_;
  std::vector<std::unique_ptr<Slot>> slots_;
  int signals_ = 0;
  int exit_code_ = 0;

  std::mutex mutex_;
  int stops_ = 0;  // written by the main thread under mutex_
};

}  // namespace benchfs::daemon
