// The child processes of a benchmark, as their parent sees them: its clients, the baseline server.
//
// Each is this program run again with a hidden command (bench-worker), begun before the parent ever
// touched UCX, and told what to do over a socket on its standard input. When one dies or is silent
// past the deadline, the call that waits says which, and the destructor ends them all.
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

class Fleet {
 public:
  struct Config {
    std::uint32_t clients = 1;
    std::vector<std::string> arguments;     // of this program, before the command
    std::string command = "bench-worker";   // that each of them runs
    std::string what = "client";            // one of them is called in messages
    Deadline deadline = Deadline::never();  // for everything
  };
  static Result<Fleet> launch(const Config& config);
  Fleet(Fleet&&) = default;
  Fleet& operator=(Fleet&&) = delete;
  ~Fleet();

  Status send_to(std::uint32_t rank, const nlohmann::json& message);
  Status send_to_all(const nlohmann::json& message);
  // One message from each, in the order of ranks. A message {"error": text} from any is an error.
  // `on_tick` is called a few times a second meanwhile.
  Result<std::vector<nlohmann::json>> gather(const std::function<void()>& on_tick);
  [[nodiscard]] pid_t pid(std::uint32_t rank) const { return members_[rank].pid; }
  // Waits until all have ended of their own accord.
  Status join();

 private:
  struct Member {
    pid_t pid = -1;
    Channel channel;
  };
  explicit Fleet(const Config& config) : deadline_(config.deadline), what_(config.what) {}
  // Receives from one member; true when a whole message is in `answer`.
  Result<bool> hear(std::uint32_t rank, nlohmann::json& answer);
  std::string how_it_ended(std::uint32_t rank);

  Deadline deadline_;
  std::string what_;
  std::vector<Member> members_;
};

}  // namespace benchfs::bench
