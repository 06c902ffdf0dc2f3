#include "bench/connect_bench.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "bench/baseline_process.h"
#include "bench/collector.h"
#include "bench/idle_clients.h"
#include "bench/system_info.h"
#include "bench/worker.h"

namespace benchfs::bench {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

// Lets the server finish its background work after the clients have connected.
constexpr Nanos kSettle = std::chrono::milliseconds(200);

Nanos span_of(double seconds) {
  return std::chrono::duration_cast<Nanos>(std::chrono::duration<double>(seconds));
}

ordered_json share(std::optional<double> before, std::optional<double> after, double parts) {
  return before && after ? ordered_json((*after - *before) / parts) : ordered_json(nullptr);
}

class ConnectRun {
 public:
  ConnectRun(const ConnectConfig& config, client::Client& observer)
      : config_(config), observer_(observer), deadline_(Deadline::after(span_of(config.limit_s))) {}

  Result<Report> execute();

 private:
  Status describe();
  Status measure();
  Status measure_bare();
  Status measure_idle(IdleClients& clients);
  Result<std::unique_ptr<IdleClients>> make_idle_clients();
  // Runs `load` and adds its result to the report.
  template <typename Load>
  Status run_phase(const char* name,
                   const char* path,
                   std::uint32_t clients,
                   const ServerProcesses& servers,
                   Load load);

  const ConnectConfig& config_;
  client::Client& observer_;
  Deadline deadline_;
  std::optional<BaselineProcess> bare_;
  pid_t server_pid_ = 0;
  std::optional<ServerProcesses> server_;
  Report report_;
};

Result<Report> ConnectRun::execute() {
  if (config_.compare) {
    BENCHFS_TRY(BaselineProcess started, BaselineProcess::start(config_.registry_dir, deadline_));
    bare_.emplace(std::move(started));
  }
  BENCHFS_TRY_VOID(describe());
  ordered_json before = registry_totals(describe_shards(observer_));
  BENCHFS_TRY_VOID(measure());
  report_.registry = registry_between(before, registry_totals(describe_shards(observer_)));
  if (bare_) {
    BENCHFS_TRY_VOID(measure_bare());
    BENCHFS_TRY_VOID(bare_->stop());
  }
  return std::move(report_);
}

Status ConnectRun::describe() {
  report_.benchmark = "connect";
  report_.command = command_line();
  report_.system = describe_system();
  report_.config = {{"clients", config_.clients},
                    {"at_once", config_.at_once},
                    {"hold_s", config_.hold_s},
                    {"compare", config_.compare}};
  json shards = describe_shards(observer_);
  report_.system["servers"] = 1;
  report_.system["shards"] = 1;
  report_.system["engine"] = shards.front().value("storage", json::object()).value("engine", "?");
  server_pid_ = shards.front().value("pid", pid_t{0});
  server_.emplace(std::vector<pid_t>{server_pid_});
  return {};
}

Result<std::unique_ptr<IdleClients>> ConnectRun::make_idle_clients() {
  const cluster::ServerList& list = observer_.servers();
  BENCHFS_TRY(net::SocketAddress address,
              net::make_address(list.servers.front().ip, list.servers.front().port));
  return IdleClients::create({.registry_dir = config_.registry_dir,
                              .server = list.servers.front(),
                              .run_id = list.run_id,
                              .devices = address.is_loopback() ? "lo" : "",
                              .at_once = config_.at_once,
                              .deadline = deadline_});
}

template <typename Load>
Status ConnectRun::run_phase(const char* name,
                             const char* path,
                             std::uint32_t clients,
                             const ServerProcesses& servers,
                             Load load) {
  PhaseResult result;
  result.phase = {.name = name, .depth = 1, .path = path, .clients = clients};
  result.clients = clients;
  Round round;
  std::optional<double> before = servers.cpu_s();
  round.measurement.start = mono_now();
  BENCHFS_TRY_VOID(load(round.measurement));
  round.measurement.end = mono_now();
  std::optional<double> after = servers.cpu_s();
  if (before && after) {
    round.server_cpu_s = *after - *before;
  }
  result.verified = true;
  result.rounds.push_back(std::move(round));
  report_.results.push_back(std::move(result));
  return {};
}

Status ConnectRun::measure() {
  BENCHFS_TRY(std::unique_ptr<IdleClients> clients, make_idle_clients());
  std::optional<double> before = resident_bytes(server_pid_);
  BENCHFS_TRY_VOID(run_phase("connect", "persistent", config_.clients, *server_, [&](auto& out) {
    return clients->join(config_.clients, out);
  }));
  BENCHFS_TRY_VOID(run_phase("ping each", "persistent", config_.clients, *server_, [&](auto& out) {
    return clients->ping(out);
  }));
  clients->idle_for(kSettle);
  report_.system["server_bytes_per_client"] =
      share(before, resident_bytes(server_pid_), config_.clients);
  return measure_idle(*clients);
}

Status ConnectRun::measure_idle(IdleClients& clients) {
  std::optional<double> before = server_->cpu_s();
  MonoTime begin = mono_now();
  clients.idle_for(span_of(config_.hold_s));
  double span = std::chrono::duration<double>(mono_now() - begin).count();
  report_.system["server_idle_cpu"] = share(before, server_->cpu_s(), span);
  if (clients.registered() != config_.clients) {
    return fail(Errc::kDisconnected,
                fmt::format("{} of {} clients lost their connection while idle",
                            config_.clients - clients.registered(),
                            config_.clients));
  }
  return {};
}

Status ConnectRun::measure_bare() {
  BENCHFS_TRY(std::unique_ptr<IdleClients> clients, make_idle_clients());
  BENCHFS_TRY(net::SocketAddress address, bare_->address().socket_address());
  ServerProcesses listener(bare_->pid());
  std::optional<double> before = resident_bytes(bare_->pid());
  BENCHFS_TRY_VOID(run_phase("connect", "ucx-floor", config_.clients, listener, [&](auto& out) {
    return clients->join_bare(config_.clients, address, out);
  }));
  clients->idle_for(kSettle);
  report_.system["ucx_bytes_per_client"] =
      share(before, resident_bytes(bare_->pid()), config_.clients);
  return {};
}

}  // namespace

Result<Report> run_connect(const ConnectConfig& config, client::Client& observer) {
  return ConnectRun(config, observer).execute();
}

}  // namespace benchfs::bench
