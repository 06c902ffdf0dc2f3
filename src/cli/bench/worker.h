// One client process of a benchmark, seen from inside.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "base/error.h"
#include "cli/bench/channel.h"
#include "cli/bench/phase.h"
#include "cli/command.h"
#include "client/client.h"

namespace benchfs::cli::bench {

// What a benchmark gets to work with.
class Worker {
 public:
  Worker(Channel& channel, client::Client& client, std::uint32_t rank, std::uint32_t clients)
      : channel_(channel), client_(client), rank_(rank), clients_(clients) {}

  [[nodiscard]] client::Client& client() { return client_; }
  [[nodiscard]] client::FileSystem& fs() { return client_.fs(); }
  [[nodiscard]] std::uint32_t rank() const { return rank_; }
  [[nodiscard]] std::uint32_t clients() const { return clients_; }

  // Waits until every client has come to this phase, runs `load` (a task) in the client, and
  // reports what it measured. `load` is a function (Measurement&) -> rt::CoStatus.
  template <typename Load>
  Status run(const Phase& phase, Load load) {
    auto measurement = std::make_unique<Measurement>();
    BENCHFS_TRY_VOID(begin(phase, *measurement));
    Status done = client_.run(load(*measurement));
    if (!done) {
      return std::unexpected(std::move(done).error().with_prefix(phase.name));
    }
    return finish(*measurement);
  }
  // The same for a phase that only rank 0 works in while the others wait.
  template <typename Load>
  Status run_alone(const Phase& phase, Load load) {
    return run(phase, [&](Measurement& measurement) {
      return rank_ == 0 ? load(measurement) : nothing();
    });
  }

 private:
  Status begin(const Phase& phase, Measurement& measurement);
  Status finish(Measurement& measurement);
  static rt::CoStatus nothing();

  Channel& channel_;
  client::Client& client_;
  std::uint32_t rank_;
  std::uint32_t clients_;
};

// The command bench-worker: connects, then does what standard input tells. Returns the exit code.
int run_worker(const Context& context);

// Runs lane(0) … lane(count - 1) side by side; the first error, if any. One lane is awaited
// directly.
rt::CoStatus run_lanes(std::uint32_t count, std::function<rt::CoStatus(std::uint32_t)> lane);

}  // namespace benchfs::cli::bench
