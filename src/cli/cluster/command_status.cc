// benchfs status: how every server of the list is.
#include <CLI/CLI.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "cli/cluster/registry.h"
#include "cli/command.h"
#include "cluster/server_list_file.h"
#include "rt/scope.h"

namespace benchfs::cli {
namespace {

using nlohmann::json;

constexpr std::string_view kName = "status";
// A server that takes longer is shown as dead: the answer about the others must come within a
// second.
constexpr Nanos kTimeout = std::chrono::milliseconds(400);

struct ServerStatus {
  cluster::Server server;
  pid_t pid = 0;         // 0: not known
  bool is_dead = false;  // no use asking it
  std::string problem;
  json stats;

  [[nodiscard]] bool is_alive() const { return problem.empty(); }
};

rt::Task<void> ask(client::FileSystem* fs, wire::ShardId shard, ServerStatus* out) {
  Result<std::string> text = co_await fs->shard_stats(shard);
  if (!text) {
    out->problem = text.error().message();
    co_return;
  }
  out->stats = json::parse(*text, nullptr, false);
  if (!out->stats.is_object()) {
    out->problem = "answered with something that is not a JSON object";
  }
}

rt::CoStatus ask_all(client::FileSystem* fs, std::span<ServerStatus> servers) {
  rt::Scope scope;
  rt::Group group(scope);
  for (std::size_t i = 0; i < servers.size(); ++i) {
    if (!servers[i].is_dead) {
      group.add(ask(fs, wire::ShardId{static_cast<std::uint32_t>(i)}, &servers[i]));
    }
  }
  (void)co_await group.wait();
  co_await scope.join();
  co_return Status{};
}

// A client starts at the server its id hashes to: here one that is not known to be dead.
struct Start {
  std::string client_id;
  std::size_t server = 0;
};
Start pick_start(const cluster::ServerList& list, std::span<const ServerStatus> servers) {
  for (;;) {
    std::string id = fmt::format("status:{:016x}", random_id());
    std::size_t server = cluster::select_server_by_hash(id, list).value;
    if (!servers[server].is_dead) {
      return {std::move(id), server};
    }
  }
}

// Each round ends the query or finds one more server dead.
void query(const Context& context,
           const cluster::ServerList& list,
           std::span<ServerStatus> servers) {
  Nanos timeout = context.timeout(kTimeout);
  while (!std::ranges::all_of(servers, &ServerStatus::is_dead)) {
    Start start = pick_start(list, servers);
    client::Options options;
    options.client_id = start.client_id;
    options.helper_thread = false;
    options.list_timeout = timeout;
    options.connect_timeout = timeout;
    options.file_system.call_timeout = timeout;
    options.pool.connect_timeout = timeout;
    options.pool.connect_patience = Nanos::zero();
    Result<std::unique_ptr<client::Client>> client = context.connect(std::move(options));
    if (client) {
      (void)(*client)->run(ask_all(&(*client)->fs(), servers));
      return;
    }
    servers[start.server].is_dead = true;
    servers[start.server].problem = client.error().message();
  }
}

std::vector<ServerStatus> look(const Context& context, const cluster::ServerList& list) {
  std::vector<DaemonInfo> daemons = find_daemons(context.registry_dir);
  std::vector<ServerStatus> servers;
  for (const cluster::Server& server : list.servers) {
    ServerStatus status{.server = server, .problem = {}, .stats = {}};
    const DaemonInfo* daemon = daemon_of(daemons, server.node_id);
    // A daemon removes its pid file when it stops, so none means that it did.
    status.pid = daemon == nullptr ? 0 : daemon->process.pid;
    status.is_dead = daemon == nullptr || daemon->state == DaemonState::kDead;
    if (status.is_dead) {
      status.problem =
          daemon == nullptr ? "stopped" : fmt::format("process {} is gone", daemon->process.pid);
    }
    servers.push_back(std::move(status));
  }
  query(context, list, servers);
  return servers;
}

void print_json(const Context& context,
                const cluster::ServerList& list,
                std::span<const ServerStatus> servers) {
  json out;
  out["registry_dir"] = context.registry_dir;
  out["run_id"] = fmt::format("{:016x}", list.run_id);
  out["alive"] = std::ranges::all_of(servers, &ServerStatus::is_alive);
  out["servers"] = json::array();
  for (const ServerStatus& status : servers) {
    json one = {{"node_id", status.server.node_id},
                {"address", status.server.address()},
                {"pid", status.pid},
                {"alive", status.is_alive()}};
    if (status.is_alive()) {
      one["stats"] = status.stats;
    } else {
      one["problem"] = status.problem;
    }
    out["servers"].push_back(std::move(one));
  }
  fmt::print("{}\n", out.dump(2));
}

std::string human_bytes(double bytes) {
  const char* const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  std::size_t unit = 0;
  while (bytes >= 1024 && unit + 1 < std::size(units)) {
    bytes /= 1024;
    ++unit;
  }
  return fmt::format("{:.{}f} {}", bytes, unit == 0 ? 0 : 1, units[unit]);
}

std::string human_time(double seconds) {
  auto s = static_cast<std::uint64_t>(seconds);
  if (s < 60) {
    return fmt::format("{:.1f} s", seconds);
  }
  return s < 3600 ? fmt::format("{} min {} s", s / 60, s % 60)
                  : fmt::format("{} h {} min", s / 3600, s / 60 % 60);
}

double number(const json& stats, const char* pointer) {
  json::json_pointer path(pointer);
  const json found = stats.contains(path) ? stats.at(path) : json();
  return found.is_number() ? found.get<double>() : 0.0;
}

void print_table(std::span<const ServerStatus> servers) {
  constexpr std::string_view kRow =
      "{:<10} {:<21} {:>7} {:<5} {:>12} {:>10} {:>7} {:>10} {:>9} {}\n";
  fmt::print(kRow,
             "SERVER",
             "ADDRESS",
             "PROCESS",
             "STATE",
             "UPTIME",
             "MEMORY",
             "CLIENTS",
             "REQUESTS",
             "INODES",
             "SPACE");
  for (const ServerStatus& status : servers) {
    const std::string pid = status.pid == 0 ? "-" : fmt::to_string(status.pid);
    if (!status.is_alive()) {
      fmt::print("{:<10} {:<21} {:>7} dead  {}\n",
                 status.server.node_id,
                 status.server.address(),
                 pid,
                 status.problem);
      continue;
    }
    const json& stats = status.stats;
    fmt::print(kRow,
               status.server.node_id,
               status.server.address(),
               pid,
               "alive",
               human_time(number(stats, "/uptime_s")),
               human_bytes(number(stats, "/memory_bytes")),
               number(stats, "/registry/clients"),
               number(stats, "/rpc/requests"),
               number(stats, "/metadata/inodes"),
               fmt::format("{} of {} free",
                           human_bytes(number(stats, "/storage/free_bytes")),
                           human_bytes(number(stats, "/storage/total_bytes"))));
  }
}

int run_status(const Context& context, bool as_json) {
  auto list = cluster::read_server_list(context.registry_dir);
  if (!list) {
    return report(kName, "", list.error().to_error());
  }
  if (!list->recovered.empty()) {
    report(kName, "", list->recovered);
  }
  std::vector<ServerStatus> servers = look(context, *list);
  if (as_json) {
    print_json(context, *list, servers);
  } else {
    print_table(servers);
  }
  return std::ranges::all_of(servers, &ServerStatus::is_alive) ? kExitOk : kExitFailed;
}

}  // namespace

void add_status_command(CLI::App& app, Context& context) {
  auto as_json = std::make_shared<bool>(false);
  CLI::App* status = app.add_subcommand("status", "Show how the servers are; 1 if any is dead");
  status->footer(
      "Exit code 1 when a server is dead: its process is gone, or it did not answer within\n"
      "--timeout (0.4 s); a busy one may need more.");
  status->add_flag("--json", *as_json, "Print one JSON object with all counters");
  status->callback([&context, as_json] { context.exit_code = run_status(context, *as_json); });
}

}  // namespace benchfs::cli
