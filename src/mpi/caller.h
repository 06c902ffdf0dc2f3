// A rank that calls: one client of the benchmark.
//
// The benchmark runs on its own thread, so that the main thread can handle signals and the other
// ranks; MPI calls go through the main thread (main_thread.h).
//
// All callers go through the same meetings: one when all are connected, one at the beginning and
// one at the end of each phase, one when all are done. In each meeting every caller says whether it
// goes on; if one does not, all leave after that meeting, so nobody waits for a rank that has left.
// A rank that fails still comes to the next meeting, and the rank group ends a long phase of the
// others early.
//
// The first caller reports. Clocks of hosts differ, so times are relative to the beginning of their
// phase.
#pragma once

#include <atomic>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "bench/collector.h"
#include "bench/publish.h"
#include "bench/report.h"
#include "bench/rpc_bench.h"
#include "bench/worker.h"
#include "daemon/daemon.h"
#include "daemon/daemon_config.h"
#include "mpi/main_thread.h"
#include "mpi/rank_group.h"
#include "mpi/ranks.h"

namespace benchfs::mpi {

struct CallerOrder {
  bench::RpcConfig config;
  bench::BaselineAddress baseline;  // when config.needs_baseline()
  double limit_s = 600;             // for the whole benchmark
  bench::ReportFiles files;
  nlohmann::ordered_json placement;  // of the ranks, for the report
};

class Caller final : public bench::Coordinator {
 public:
  // Borrows all arguments. `callers` are the ranks that call, including this one.
  Caller(Ranks& ranks,
         Ranks& callers,
         RankGroup& rank_group,
         const daemon::DaemonConfig& cluster,
         const CallerOrder& order);
  Caller(const Caller&) = delete;
  Caller& operator=(const Caller&) = delete;
  ~Caller() override;

  // Main thread: waits until all daemons serve, runs the benchmark, reports, and waits until the
  // other ranks stop, too. A stop signal ends it early, a second one at once. Returns the exit
  // code.
  int run();

  // bench::Coordinator, on the benchmark's thread.
  Status begin(const bench::Phase& phase) override;
  Status finish(const bench::Phase& phase, const bench::Measurement& measurement) override;
  [[nodiscard]] const std::atomic<bool>* ends_early() const override { return &ends_early_; }

 private:
  // --- main thread ---
  void run_benchmark();
  void look();
  void on_signal();
  void stop_group(const daemon::Failure* failure);
  void follow_the_others();
  std::optional<Nanos> ask_rank_0();

  // --- the benchmark's thread ---
  Status work();
  Status measure(client::Client& client);
  // Returns the texts of all callers, in rank order, to the caller that reports. Errors: kCancelled
  // (all leave).
  Result<std::vector<std::string>> meet(const std::string& text, Deadline deadline);
  // Called instead of the next meeting by a caller that cannot go on.
  void leave(const Error& error);
  void conclude();
  void fail_with(daemon::Failure failure);
  [[nodiscard]] bool reports() const { return callers_.rank() == 0; }
  [[nodiscard]] bool leaves() const { return ends_early_.load(std::memory_order_relaxed); }
  [[nodiscard]] Deadline soon() const;
  [[nodiscard]] Deadline end_of_phase() const;
  Result<std::unique_ptr<client::Client>> connect() const;
  std::optional<double> server_cpu_s(const bench::Phase& phase);
  Status describe(const std::vector<std::string>& hellos, const nlohmann::json& shards);

  Ranks& ranks_;
  Ranks& callers_;
  RankGroup& rank_group_;
  const daemon::DaemonConfig& cluster_;
  const CallerOrder& order_;
  Deadline limit_;
  MainThread main_thread_;
  std::atomic<bool> ends_early_ = false;

  // --- main thread ---
  int signal_fd_ = -1;
  int signals_ = 0;

  // --- the benchmark's thread, and the main thread after it has ended ---
  client::Client* client_ = nullptr;
  MonoTime phase_began_;
  std::optional<double> cpu_before_;
  bench::Report report_;
  bench::Collector collector_;
  bool parted_ = false;  // all callers have left
  bool done_ = false;
  std::optional<daemon::Failure> failure_;
};

}  // namespace benchfs::mpi
