#include "bench/run.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <set>

#include "bench/baseline_process.h"
#include "bench/collector.h"
#include "bench/fleet.h"
#include "bench/rpc_bench.h"
#include "bench/system_info.h"

namespace benchfs::bench {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

// From the message to the last client until all begin: time for each to have read it.
constexpr Nanos kStartDelay = std::chrono::milliseconds(2);

// "write, 3 s" on a terminal, renewed in place.
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
  Run(const RunOptions& options, Fleet fleet, std::optional<BaselineProcess> baseline)
      : options_(options),
        fleet_(std::move(fleet)),
        baseline_(std::move(baseline)),
        progress_(options.benchmark),
        collector_(outcome_.report, options.clients) {}
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;

  Result<RunOutcome> execute();

 private:
  Status start_clients();
  Status describe(const std::vector<json>& hellos);
  void describe_cluster(const json& hello);
  Status run_phase(const Phase& phase);
  // Of the processes that serve `phase`.
  [[nodiscard]] std::optional<double> server_cpu_s(const Phase& phase) const;
  Result<std::vector<json>> gather() {
    return fleet_.gather([this] { progress_.show(); });
  }

  const RunOptions& options_;
  Fleet fleet_;
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
  BENCHFS_TRY_VOID(fleet_.join());
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
    BENCHFS_TRY_VOID(fleet_.send_to(rank, order));
  }
  BENCHFS_TRY(std::vector<json> hellos, gather());
  return describe(hellos);
}

Status Run::describe(const std::vector<json>& hellos) {
  describe_cluster(hellos.front());
  if (baseline_ && !servers_->is_complete()) {
    return fail(Errc::kInvalidArgument,
                "the baselines run on this host and the cluster does not: a comparison would "
                "mislead; benchfs_rpc_bench places them beside the servers");
  }
  std::vector<double> init;
  std::vector<double> resident;
  for (const json& hello : hellos) {
    init.push_back(hello.value("init_ms", 0.0));
    resident.push_back(hello.value("rss_mib", 0.0));
  }
  ordered_json& system = outcome_.report.system;
  system["client_init_ms"] = spread_of(std::move(init)).median;
  system["client_rss_mib"] = spread_of(std::move(resident)).median;
  std::optional<double> server_mib = servers_->resident_mib();
  system["server_rss_mib"] = server_mib ? ordered_json(*server_mib) : ordered_json(nullptr);
  return {};
}

void Run::describe_cluster(const json& hello) {
  std::vector<pid_t> pids;
  ordered_json& system = outcome_.report.system;
  json shards = hello.value("shards", json::array());
  system["servers"] = nullptr;
  system["shards"] = shards.size();
  system["engine"] = nullptr;
  std::set<std::string> nodes;
  for (const json& shard : shards) {
    pids.push_back(shard.value("pid", pid_t{0}));
    // "node_3.1" is a shard of node_3.
    std::string node_id = shard.value("node_id", "");
    nodes.insert(node_id.substr(0, node_id.find('.')));
    system["engine"] = shard.value("storage", json::object()).value("engine", "?");
  }
  system["servers"] = nodes.size();
  outcome_.report.registry = registry_totals(shards);
  servers_.emplace(pids);
}

std::optional<double> Run::server_cpu_s(const Phase& phase) const {
  bool is_baseline = path_of(phase.path).value_or(ReplyPath::kPersistent) != ReplyPath::kPersistent;
  return is_baseline ? ServerProcesses(baseline_->pid()).cpu_s() : servers_->cpu_s();
}

Status Run::run_phase(const Phase& phase) {
  progress_.begin(phase);
  std::optional<double> cpu_before = server_cpu_s(phase);
  MonoTime start = mono_now() + kStartDelay;
  BENCHFS_TRY_VOID(fleet_.send_to_all({{"start_ns", start.time_since_epoch().count()}}));
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

Status write_text(const std::string& text, const std::string& path) {
  if (path == "-") {
    std::fputs(text.c_str(), stdout);
    return {};
  }
  std::FILE* file = std::fopen(path.c_str(), "we");
  if (file == nullptr) {
    return fail_system(errno, path);
  }
  bool written = std::fputs(text.c_str(), file) >= 0;
  if (std::fclose(file) != 0 || !written) {
    return fail_system(errno, path);
  }
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
  Fleet::Config config;
  config.clients = options.clients;
  config.arguments = options.arguments;
  config.deadline = deadline;
  BENCHFS_TRY(Fleet fleet, Fleet::launch(config));
  return Run(options, std::move(fleet), std::move(baseline)).execute();
}

Status run_and_report(const RunOptions& options) {
  BENCHFS_TRY(RunOutcome outcome, run_benchmark(options));
  if (options.json_path != "-") {
    std::fputs(to_table(outcome.report).c_str(), stdout);
  }
  if (!options.json_path.empty()) {
    BENCHFS_TRY_VOID(write_text(to_json(outcome.report).dump(2) + '\n', options.json_path));
  }
  if (!options.html_path.empty()) {
    BENCHFS_TRY_VOID(write_text(to_html(outcome.report), options.html_path));
  }
  return outcome.mismatch.empty() ? Status{} : fail(Errc::kMalformed, outcome.mismatch);
}

}  // namespace benchfs::bench
