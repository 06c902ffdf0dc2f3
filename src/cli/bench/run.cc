#include "cli/bench/run.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <set>

#include "cli/bench/fleet.h"
#include "cli/bench/system_info.h"

namespace benchfs::cli::bench {
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
    phase_ = phase.payload_bytes == 0 ? phase.name
                                      : fmt::format("{} {} bytes", phase.name, phase.payload_bytes);
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

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values.empty() ? 0.0 : values[values.size() / 2];
}

class Run {
 public:
  Run(const RunOptions& options, Fleet fleet)
      : options_(options), fleet_(std::move(fleet)), progress_(options.benchmark) {}

  Result<RunOutcome> execute();

 private:
  Status start_clients();
  void describe(const std::vector<json>& hellos);
  void describe_cluster(const json& hello);
  Status run_phase(const Phase& phase);
  void keep(const Phase& phase, Measurement measurement, std::optional<double> server_cpu_s);
  Result<std::vector<json>> gather() {
    return fleet_.gather([this] { progress_.show(); });
  }

  const RunOptions& options_;
  Fleet fleet_;
  Progress progress_;
  std::optional<ServerProcesses> servers_;
  RunOutcome outcome_;
  bool all_verified_ = true;  // by phases that are not reported themselves
};

Result<RunOutcome> Run::execute() {
  outcome_.report.benchmark = options_.benchmark;
  outcome_.report.system = describe_system();
  outcome_.report.config = options_.config;
  outcome_.report.config["clients"] = options_.clients;
  BENCHFS_TRY_VOID(start_clients());
  for (;;) {
    BENCHFS_TRY(std::vector<json> messages, gather());
    if (messages.front().contains("finished")) {
      break;
    }
    BENCHFS_TRY(Phase phase, phase_from(messages.front().value("phase", json())));
    BENCHFS_TRY_VOID(run_phase(phase));
  }
  BENCHFS_TRY_VOID(fleet_.join());
  for (PhaseResult& result : outcome_.report.results) {
    result.verified = result.verified && all_verified_;
  }
  return std::move(outcome_);
}

Status Run::start_clients() {
  for (std::uint32_t rank = 0; rank < options_.clients; ++rank) {
    BENCHFS_TRY_VOID(fleet_.send_to(rank,
                                    {{"benchmark", options_.benchmark},
                                     {"config", options_.config},
                                     {"clients", options_.clients},
                                     {"rank", rank}}));
  }
  BENCHFS_TRY(std::vector<json> hellos, gather());
  describe(hellos);
  return {};
}

void Run::describe(const std::vector<json>& hellos) {
  describe_cluster(hellos.front());
  std::vector<double> init;
  std::vector<double> resident;
  for (const json& hello : hellos) {
    init.push_back(hello.value("init_ms", 0.0));
    resident.push_back(hello.value("rss_mib", 0.0));
  }
  ordered_json& system = outcome_.report.system;
  system["client_init_ms"] = median(std::move(init));
  system["client_rss_mib"] = median(std::move(resident));
  std::optional<double> server_mib = servers_->resident_mib();
  system["server_rss_mib"] = server_mib ? ordered_json(*server_mib) : ordered_json(nullptr);
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
  servers_.emplace(pids);
}

Status Run::run_phase(const Phase& phase) {
  progress_.begin(phase);
  std::optional<double> cpu_before = servers_->cpu_s();
  MonoTime start = mono_now() + kStartDelay;
  BENCHFS_TRY_VOID(fleet_.send_to_all({{"start_ns", start.time_since_epoch().count()}}));
  BENCHFS_TRY(std::vector<json> answers, gather());
  std::optional<double> cpu_after = servers_->cpu_s();
  Measurement total;
  for (const json& answer : answers) {
    BENCHFS_TRY(Measurement part, measurement_from(answer.value("measurement", json())));
    total.merge(part);
  }
  bool cpu_known = cpu_before && cpu_after;
  keep(phase, std::move(total), cpu_known ? std::optional(*cpu_after - *cpu_before) : std::nullopt);
  return {};
}

void Run::keep(const Phase& phase, Measurement measurement, std::optional<double> server_cpu_s) {
  bool verified = measurement.mismatches == 0;
  if (!verified && outcome_.mismatch.empty()) {
    outcome_.mismatch = fmt::format(
        "{}: {}, the first: {}",
        phase.name,
        measurement.mismatches == 1 ? "1 answer was wrong"
                                    : fmt::format("{} answers were wrong", measurement.mismatches),
        measurement.first_mismatch);
  }
  if (!phase.reported) {
    all_verified_ = all_verified_ && verified;
    return;
  }
  outcome_.report.results.push_back(PhaseResult{.phase = phase,
                                                .clients = options_.clients,
                                                .measurement = std::move(measurement),
                                                .server_cpu_s = server_cpu_s,
                                                .verified = verified});
}

Status write_json(const Report& report, const std::string& path) {
  std::string text = to_json(report).dump(2) + '\n';
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

Result<RunOutcome> run_benchmark(const RunOptions& options, const Context& context) {
  Fleet::Config config;
  config.clients = options.clients;
  config.arguments = {"--registry-dir", context.registry_dir};
  if (context.timeout_s) {
    config.arguments.insert(config.arguments.end(),
                            {"--timeout", fmt::format("{}", *context.timeout_s)});
  }
  config.deadline = Deadline::after(
      std::chrono::duration_cast<Nanos>(std::chrono::duration<double>(options.limit_s)));
  BENCHFS_TRY(Fleet fleet, Fleet::launch(config));
  return Run(options, std::move(fleet)).execute();
}

int run_and_report(const RunOptions& options, const Context& context) {
  std::string command = fmt::format("bench {}", options.benchmark);
  Result<RunOutcome> outcome = run_benchmark(options, context);
  if (!outcome) {
    // Other errors than those of our own system calls are whole sentences of the clients.
    const Error& error = outcome.error();
    return report(command, "", error.code == Errc::kSystem ? error.message() : error.context);
  }
  if (options.json_path != "-") {
    std::fputs(to_table(outcome->report).c_str(), stdout);
  }
  if (!options.json_path.empty()) {
    Status written = write_json(outcome->report, options.json_path);
    if (!written) {
      return report(command, "", written.error());
    }
  }
  return outcome->mismatch.empty() ? kExitOk : report(command, "", outcome->mismatch);
}

}  // namespace benchfs::cli::bench
