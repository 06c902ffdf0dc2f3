// One client of a benchmark, from inside.
//
// A benchmark is a sequence of phases that all its clients go through together. Worker runs them. A
// Coordinator makes the clients wait for each other and delivers their measurements to the one that
// reports: over a socket to the parent process in `benchfs bench`, over MPI in benchfs_rpc_bench.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <utility>

#include "base/error.h"
#include "bench/phase.h"
#include "client/client.h"
#include "rpc/transport.h"

namespace benchfs::bench {

class Coordinator {
 public:
  virtual ~Coordinator() = default;
  // Returns when every client has reached this phase, in all of them at about the same moment.
  virtual Status begin(const Phase& phase) = 0;
  // Delivers what this client measured in it.
  virtual Status finish(const Phase& phase, const Measurement& measurement) = 0;
  // Becomes true when the benchmark should stop early; long phases poll it. nullptr: never.
  [[nodiscard]] virtual const std::atomic<bool>* ends_early() const { return nullptr; }
};

// The statistics of every shard as parsed JSON; an empty object for a shard that does not answer.
nlohmann::json describe_shards(client::Client& client);
// Counts the requests that all shards have received from clients and from each other, without pings
// and requests for statistics.
std::uint64_t count_requests(client::Client& client);

// As the environment says, or in one way only.
using Connect =
    std::function<Result<std::unique_ptr<client::Client>>(std::optional<rpc::Transport> only)>;

// The means that a benchmark works with.
class Worker {
 public:
  Worker(Coordinator& coordinator,
         client::Client& client,
         std::uint32_t rank,
         std::uint32_t clients,
         Connect connect = {})
      : coordinator_(coordinator),
        client_(client),
        rank_(rank),
        clients_(clients),
        connect_(std::move(connect)) {}

  [[nodiscard]] client::Client& client() { return client_; }
  [[nodiscard]] client::FileSystem& fs() { return client_.fs(); }
  // One more client. Errors: kInvalidArgument: this benchmark makes no others.
  [[nodiscard]] Result<std::unique_ptr<client::Client>> connect(rpc::Transport only) const;
  [[nodiscard]] std::uint32_t rank() const { return rank_; }
  [[nodiscard]] std::uint32_t clients() const { return clients_; }
  [[nodiscard]] const std::atomic<bool>* ends_early() const { return coordinator_.ends_early(); }
  [[nodiscard]] bool takes_part(const Phase& phase) const {
    return phase.clients == 0 || rank_ < phase.clients;
  }

  // Waits until every client has reached this phase, runs `load` and reports what it measured.
  // `load` is a function (Measurement&) -> Status.
  template <typename Load>
  Status run_here(const Phase& phase, Load load) {
    auto measurement = std::make_unique<Measurement>();
    std::uint64_t requests_before = phase.counts_requests ? count_requests(client_) : 0;
    BENCHFS_TRY_VOID(coordinator_.begin(phase));
    if (takes_part(phase)) {
      start(*measurement);
      Status done = load(*measurement);
      if (!done) {
        return std::unexpected(std::move(done).error().with_prefix(phase.name));
      }
      end(*measurement);
    }
    if (phase.counts_requests) {
      measurement->requests = count_requests(client_) - requests_before;
    }
    return coordinator_.finish(phase, *measurement);
  }
  // The same with a task (Measurement&) -> rt::CoStatus that runs in the client.
  template <typename Load>
  Status run(const Phase& phase, Load load) {
    return run_here(phase,
                    [&](Measurement& measurement) { return client_.run(load(measurement)); });
  }
  // The same for a phase in which only rank 0 works while the others wait.
  template <typename Load>
  Status run_alone(const Phase& phase, Load load) {
    return run(phase, [&](Measurement& measurement) {
      return rank_ == 0 ? load(measurement) : nothing();
    });
  }

 private:
  static void start(Measurement& measurement);
  static void end(Measurement& measurement);
  static rt::CoStatus nothing();

  Coordinator& coordinator_;
  client::Client& client_;
  std::uint32_t rank_;
  std::uint32_t clients_;
  Connect connect_;
};

// Connects and completes one operation. Puts the cost into `hello`: init_ms, rss_mib.
Result<std::unique_ptr<client::Client>> connect_timed(const Connect& connect,
                                                      nlohmann::json& hello);

// A client process of `benchfs bench`: connects, then follows the orders on standard input. Returns
// the exit code.
int run_worker(const Connect& connect);

// Runs lane(0) … lane(count - 1) concurrently and returns the first error, if any. A single lane is
// awaited directly.
rt::CoStatus run_lanes(std::uint32_t count, std::function<rt::CoStatus(std::uint32_t)> lane);

}  // namespace benchfs::bench
