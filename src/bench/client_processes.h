// The child processes of a benchmark as their parent sees them: its clients, or the baseline
// server.
//
// Each runs this program again with a hidden command (bench-worker). It is started before the
// parent touches UCX and gets its orders over a socket on its standard input. When one dies or
// stays silent past the deadline, the waiting call returns an error that names it, and the
// destructor kills them all.
#pragma once

#include <sys/types.h>

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "bench/channel.h"

namespace benchfs::bench {

class ClientProcesses {
 public:
  struct Config {
    std::uint32_t clients = 1;
    std::vector<std::string> arguments;     // of this program, before the command
    std::string command = "bench-worker";   // each of them runs this
    std::string what = "client";            // what messages call one of them
    Deadline deadline = Deadline::never();  // for everything
  };
  static Result<ClientProcesses> launch(const Config& config);
  ClientProcesses(ClientProcesses&&) = default;
  ClientProcesses& operator=(ClientProcesses&&) = delete;
  ~ClientProcesses();

  Status send_to(std::uint32_t rank, const nlohmann::json& message);
  Status send_to_all(const nlohmann::json& message);
  // Receives one message from each, ordered by rank. A message {"error": text} from any of them is
  // an error. Calls `on_tick` a few times a second while it waits.
  Result<std::vector<nlohmann::json>> gather(const std::function<void()>& on_tick);
  [[nodiscard]] pid_t pid(std::uint32_t rank) const { return members_[rank].pid; }
  // Waits until all have exited.
  Status join();

 private:
  struct Member {
    pid_t pid = -1;
    Channel channel;
  };
  explicit ClientProcesses(const Config& config) : deadline_(config.deadline), what_(config.what) {}
  // Receives from one process; true when `answer` holds a whole message.
  Result<bool> hear(std::uint32_t rank, nlohmann::json& answer);
  std::string how_it_ended(std::uint32_t rank);

  Deadline deadline_;
  std::string what_;
  std::vector<Member> members_;
};

}  // namespace benchfs::bench
