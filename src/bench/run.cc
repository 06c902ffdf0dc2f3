#include "bench/run.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

#include "bench/baseline_process.h"
#include "bench/client_processes.h"
#include "bench/collector.h"
#include "bench/publish.h"
#include "bench/rpc_bench.h"
#include "bench/system_info.h"

namespace benchfs::bench {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

// The time between the message to the last client and the common start: each must have read it.
constexpr Nanos kStartDelay = std::chrono::milliseconds(2);

// Shows "write, 3 s" on a terminal and updates it in place.
class Progress {
 public:
  explicit Progress(std::string benchmark)
      : benchmark_(std::move(benchmark)), enabled_(isatty(STDERR_FILENO) == 1) {}
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress() {
    if (enabled_) {
      std::fputs("\r\033[K", stderr);
    }
  }
  void begin(const Phase& phase) {
    phase_ = phase.payload_bytes == 0
                 ? phase.name
                 : fmt::format("{} {}", phase.name, size_text(phase.payload_bytes));
    if (!phase.path.empty()) {
      phase_ += fmt::format(", {}, round {}", phase.path, phase.round + 1);
    }
    since_ = mono_now();
    show();
  }
  void show() {
    if (enabled_) {
      double seconds = std::chrono::duration<double>(mono_now() - since_).count();
      std::string line = fmt::format("\r\033[K{}: {}, {:.1f} s", benchmark_, phase_, seconds);
      std::fputs(line.c_str(), stderr);
      std::fflush(stderr);
    }
  }

 private:
  std::string benchmark_;
  bool enabled_;
  std::string phase_ = "clients connect";
  MonoTime since_ = mono_now();
};

class Run {
 public:
  Run(const RunOptions& options, ClientProcesses processes, std::optional<BaselineProcess> baseline)
      : options_(options),
        processes_(std::move(processes)),
        baseline_(std::move(baseline)),
        progress_(options.benchmark),
        collector_(outcome_.report, options.clients) {}
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;

  Result<RunOutcome> execute();

 private:
  Status start_clients();
  Status describe(const std::vector<json>& hellos);
  void describe_servers(const json& hello);
  Status run_phase(const Phase& phase);
  // CPU time of the processes that serve `phase`.
  [[nodiscard]] std::optional<double> server_cpu_s(const Phase& phase) const;
  Result<std::vector<json>> gather() {
    return processes_.gather([this] { progress_.show(); });
  }

  const RunOptions& options_;
  ClientProcesses processes_;
  std::optional<BaselineProcess> baseline_;
  Progress progress_;
  std::optional<ServerProcesses> servers_;
  RunOutcome outcome_;
  Collector collector_;
};

Result<RunOutcome> Run::execute() {
  Report& report = outcome_.report;
  report.benchmark = options_.benchmark;
  report.command = command_line();
  report.system = describe_system();
  report.config = options_.config;
  report.config["clients"] = options_.clients;
  BENCHFS_TRY_VOID(start_clients());
  for (;;) {
    BENCHFS_TRY(std::vector<json> messages, gather());
    if (messages.front().contains("finished")) {
      report.registry = registry_between(
          report.registry, registry_totals(messages.front().value("shards", json::array())));
      break;
    }
    BENCHFS_TRY(Phase phase, phase_from(messages.front().value("phase", json())));
    BENCHFS_TRY_VOID(run_phase(phase));
  }
  BENCHFS_TRY_VOID(processes_.join());
  if (baseline_) {
    BENCHFS_TRY_VOID(baseline_->stop());
  }
  collector_.finish();
  outcome_.mismatch = collector_.mismatch();
  return std::move(outcome_);
}

Status Run::start_clients() {
  for (std::uint32_t rank = 0; rank < options_.clients; ++rank) {
    json order = {{"benchmark", options_.benchmark},
                  {"config", options_.config},
                  {"clients", options_.clients},
                  {"rank", rank}};
    if (baseline_) {
      order["baseline"] = to_message(baseline_->address());
    }
    BENCHFS_TRY_VOID(processes_.send_to(rank, order));
  }
  BENCHFS_TRY(std::vector<json> hellos, gather());
  return describe(hellos);
}

Status Run::describe(const std::vector<json>& hellos) {
  describe_servers(hellos.front());
  if (baseline_ && !servers_->is_complete()) {
    return fail(Errc::kInvalidArgument,
                "the baselines run on this host but the cluster does not, so a comparison would "
                "mislead; use benchfs_rpc_bench, which runs them beside the servers");
  }
  describe_clients(outcome_.report.system, hellos);
  return {};
}

void Run::describe_servers(const json& hello) {
  std::vector<pid_t> pids;
  json shards = hello.value("shards", json::array());
  for (const json& shard : shards) {
    pids.push_back(shard.value("pid", pid_t{0}));
  }
  describe_cluster(outcome_.report.system, shards);
  outcome_.report.registry = registry_totals(shards);
  servers_.emplace(pids);
}

std::optional<double> Run::server_cpu_s(const Phase& phase) const {
  bool is_baseline = !is_ours(path_of(phase.path).value_or(ReplyPath::kPersistent));
  return is_baseline ? ServerProcesses(baseline_->pid()).cpu_s() : servers_->cpu_s();
}

Status Run::run_phase(const Phase& phase) {
  progress_.begin(phase);
  std::optional<double> cpu_before = server_cpu_s(phase);
  MonoTime start = mono_now() + kStartDelay;
  BENCHFS_TRY_VOID(processes_.send_to_all({{"start_ns", start.time_since_epoch().count()}}));
  BENCHFS_TRY(std::vector<json> answers, gather());
  std::optional<double> cpu_after = server_cpu_s(phase);
  Measurement total;
  for (const json& answer : answers) {
    BENCHFS_TRY(Measurement part, measurement_from(answer.value("measurement", json())));
    total.merge(part);
  }
  bool cpu_known = cpu_before && cpu_after;
  collector_.add(
      phase, std::move(total), cpu_known ? std::optional(*cpu_after - *cpu_before) : std::nullopt);
  return {};
}

}  // namespace

Result<RunOutcome> run_benchmark(const RunOptions& options) {
  Deadline deadline = Deadline::after(
      std::chrono::duration_cast<Nanos>(std::chrono::duration<double>(options.limit_s)));
  std::optional<BaselineProcess> baseline;
  if (options.benchmark == "rpc" && json(options.config).get<RpcConfig>().needs_baseline()) {
    BENCHFS_TRY(BaselineProcess started, BaselineProcess::start(options.registry_dir, deadline));
    baseline.emplace(std::move(started));
  }
  ClientProcesses::Config config;
  config.clients = options.clients;
  config.arguments = options.arguments;
  config.deadline = deadline;
  BENCHFS_TRY(ClientProcesses processes, ClientProcesses::launch(config));
  return Run(options, std::move(processes), std::move(baseline)).execute();
}

Status run_and_report(const RunOptions& options) {
  BENCHFS_TRY(RunOutcome outcome, run_benchmark(options));
  BENCHFS_TRY_VOID(publish(outcome.report, {.json = options.json_path, .html = options.html_path}));
  return outcome.mismatch.empty() ? Status{} : fail(Errc::kMalformed, outcome.mismatch);
}

}  // namespace benchfs::bench
