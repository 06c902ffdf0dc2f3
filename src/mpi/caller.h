// A rank that calls: one client of the benchmark.
//
// The benchmark has a thread of its own, so that the main thread can hear signals and the other
// ranks meanwhile; what needs MPI it has done by the main thread (desk.h).
//
// All callers go through the same meetings: one when all are connected, one at the beginning and
// one at the end of each phase, one when all are done. Each says there whether it goes on; once one
// does not, all leave after that meeting. So nobody waits for a rank that has left: who fails comes
// to the meeting for which the others wait, and the companions make those that are in a long phase
// end it early.
//
// The first caller reports. Clocks of hosts differ, so times are sent relative to the beginning of
// their phase.
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
#include "mpi/companions.h"
#include "mpi/desk.h"
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
  // Borrows all of them. `callers` are the ranks that call, this one among them.
  Caller(Ranks& ranks,
         Ranks& callers,
         Companions& companions,
         const daemon::DaemonConfig& cluster,
         const CallerOrder& order);
  Caller(const Caller&) = delete;
  Caller& operator=(const Caller&) = delete;
  ~Caller() override;

  // Main thread: waits until all daemons serve, runs the benchmark, reports, and waits until the
  // others stop, too. A stop signal ends it early, a second one at once. Returns the exit code.
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
  void stop_companions(const daemon::Failure* failure);
  void follow_the_others();
  std::optional<Nanos> ask_rank_0();

  // --- the benchmark's thread ---
  Status work();
  Status measure(client::Client& client);
  // The texts of all on the caller that reports, in the order of ranks. Errors: kCancelled, all
  // leave.
  Result<std::vector<std::string>> meet(const std::string& text, Deadline deadline);
  // Of a caller that cannot go on, in place of the meeting that comes next for the others.
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
  Companions& companions_;
  const daemon::DaemonConfig& cluster_;
  const CallerOrder& order_;
  Deadline limit_;
  Desk desk_;
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
  bool parted_ = false;  // all have left
  bool done_ = false;
  std::optional<daemon::Failure> failure_;
};

}  // namespace benchfs::mpi
