#include "cli/cluster/survey.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "base/random.h"
#include "cli/cluster/registry.h"
#include "cluster/server_list_file.h"
#include "rt/scope.h"

namespace benchfs::cli {
namespace {

using nlohmann::json;

// A server that takes longer is shown as silent, so that the command ends within a second.
constexpr Nanos kTimeout = std::chrono::milliseconds(400);

void be_silent(ServerStatus& status, std::string problem) {
  status.state = ServerState::kSilent;
  status.problem = std::move(problem);
}

void be_dead(ServerStatus& status, const DaemonInfo* daemon) {
  status.state = ServerState::kDead;
  // A daemon that shuts down cleanly removes its pid file.
  status.problem =
      daemon == nullptr ? "stopped" : fmt::format("process {} is gone", daemon->process.pid);
}

rt::Task<void> ask(client::FileSystem* fs, const Question* question, ServerStatus* out) {
  Result<std::string> text;
  switch (question->subject) {
    case Question::Subject::kCounters:
      text = co_await fs->shard_stats(out->shard);
      break;
    case Question::Subject::kRequests:
      text = co_await fs->shard_requests(out->shard, question->number);
      break;
    case Question::Subject::kMaxClients: {
      Status set = co_await fs->set_capacity(out->shard, question->number);
      text = set ? Result<std::string>("{}") : std::unexpected(std::move(set.error()));
      break;
    }
  }
  if (!text) {
    be_silent(*out, text.error().message());
    co_return;
  }
  out->answer = json::parse(*text, nullptr, false);
  if (!out->answer.is_object()) {
    be_silent(*out, "answered with something that is not a JSON object");
  }
}

rt::CoStatus ask_all(client::FileSystem* fs,
                     const Question* question,
                     std::span<ServerStatus> servers) {
  rt::Scope scope;
  rt::Group group(scope);
  for (ServerStatus& server : servers) {
    if (server.is_asked) {
      group.add(ask(fs, question, &server));
    }
  }
  (void)co_await group.wait();
  co_await scope.join();
  co_return Status{};
}

// A client connects first to the server its id hashes to, so pick an id that leads to one we ask.
struct Start {
  std::string client_id;
  std::size_t server = 0;
};
Start pick_start(const cluster::ServerList& list, std::span<const ServerStatus> servers) {
  for (;;) {
    std::string id = fmt::format("status:{:016x}", random_id());
    std::size_t server = cluster::select_server_by_hash(id, list).value;
    if (servers[server].is_asked) {
      return {std::move(id), server};
    }
  }
}

// Each round ends the query or finds one more server that does not answer.
void query(const Context& context,
           const cluster::ServerList& list,
           const Question& question,
           std::span<ServerStatus> servers) {
  Nanos timeout = context.timeout(kTimeout);
  while (std::ranges::any_of(servers, &ServerStatus::is_asked)) {
    Start start = pick_start(list, servers);
    client::Options options;
    options.client_id = start.client_id;
    options.helper_thread = false;
    options.list_timeout = timeout;
    options.connect_timeout = timeout;
    options.file_system.timeouts = client::Timeouts::all(timeout);
    options.pool.connect_timeout = timeout;
    options.pool.connect_patience = Nanos::zero();
    Result<std::unique_ptr<client::Client>> client = context.connect(std::move(options));
    if (client) {
      (void)(*client)->run(ask_all(&(*client)->fs(), &question, servers));
      return;
    }
    servers[start.server].is_asked = false;
    be_silent(servers[start.server], client.error().message());
  }
}

// Finds out why servers do not answer, as far as this host can tell.
void look_closer(const Context& context, std::span<ServerStatus> servers) {
  std::optional<std::vector<DaemonInfo>> daemons = look_for_daemons(context.registry_dir);
  if (!daemons) {
    return;
  }
  for (ServerStatus& status : servers) {
    if (status.state != ServerState::kSilent) {
      continue;
    }
    const DaemonInfo* daemon = daemon_of(*daemons, status.server.node_id);
    if (daemon == nullptr || daemon->state == DaemonState::kDead) {  // it ended meanwhile
      be_dead(status, daemon);
    } else if (daemon->state == DaemonState::kElsewhere) {
      status.problem += fmt::format("; check process {} on {}, which is not visible from here",
                                    daemon->process.pid,
                                    daemon->process.host);
    } else if (is_stopped(daemon->process)) {
      status.problem = fmt::format("process {0} is stopped; resume it with 'kill -CONT {0}'",
                                   daemon->process.pid);
    } else {
      status.problem += fmt::format("; process {} exists", daemon->process.pid);
    }
  }
}

std::vector<ServerStatus> look(const Context& context, const cluster::ServerList& list) {
  std::optional<std::vector<DaemonInfo>> daemons = look_for_daemons(context.registry_dir);
  std::vector<ServerStatus> servers;
  for (const cluster::Server& server : list.servers) {
    ServerStatus status{.server = server,
                        .shard = {static_cast<std::uint32_t>(servers.size())},
                        .problem = {},
                        .answer = {}};
    const DaemonInfo* daemon = daemons ? daemon_of(*daemons, server.node_id) : nullptr;
    status.pid = daemon == nullptr ? 0 : daemon->process.pid;
    status.is_asked = !daemons || (daemon != nullptr && daemon->state != DaemonState::kDead);
    if (!status.is_asked) {
      be_dead(status, daemon);
    } else if (daemon != nullptr &&
               is_stopped(daemon->process)) {  // it cannot answer: do not wait for it
      status.is_asked = false;
      be_silent(status, "");
    }
    servers.push_back(std::move(status));
  }
  return servers;
}

}  // namespace

Result<cluster::ServerList> read_list(const Context& context, std::string_view command) {
  auto list = cluster::read_server_list(context.registry_dir);
  if (!list) {
    return std::unexpected(list.error().to_error());
  }
  if (!list->recovered.empty()) {
    report(command, "", list->recovered);
  }
  return std::move(*list);
}

Result<std::vector<ServerStatus>> survey(const Context& context,
                                         const cluster::ServerList& list,
                                         const Question& question) {
  std::vector<ServerStatus> servers = look(context, list);
  auto is_wanted = [&](const ServerStatus& status) {
    return question.server.empty() || status.server.node_id == question.server;
  };
  if (std::ranges::none_of(servers, is_wanted)) {
    return fail(Errc::kInvalidArgument,
                fmt::format("{}: no such server; the list has {} to {}",
                            question.server,
                            servers.front().server.node_id,
                            servers.back().server.node_id));
  }
  for (ServerStatus& status : servers) {
    status.is_asked = status.is_asked && is_wanted(status);
  }
  query(context, list, question, servers);
  look_closer(context, servers);
  std::erase_if(servers, [&](const ServerStatus& status) { return !is_wanted(status); });
  return servers;
}

json survey_json(const Context& context,
                 const cluster::ServerList& list,
                 std::span<const ServerStatus> servers,
                 const char* answer_key) {
  json out;
  out["registry_dir"] = context.registry_dir;
  out["run_id"] = fmt::format("{:016x}", list.run_id);
  out["alive"] = exit_code_of(servers) == kExitOk;
  out["servers"] = json::array();
  for (const ServerStatus& status : servers) {
    json one = {{"node_id", status.server.node_id},
                {"address", status.server.address()},
                {"pid", status.pid},
                {"state", to_string(status.state)},
                {"alive", status.is_alive()}};
    if (status.is_alive()) {
      one[answer_key] = status.answer;
    } else {
      one["problem"] = status.problem;
    }
    out["servers"].push_back(std::move(one));
  }
  return out;
}

const char* to_string(ServerState state) {
  switch (state) {
    case ServerState::kAlive:
      return "alive";
    case ServerState::kSilent:
      return "silent";
    case ServerState::kDead:
      return "dead";
  }
  return "?";
}

int exit_code_of(std::span<const ServerStatus> servers) {
  auto has = [servers](ServerState state) {
    return std::ranges::find(servers, state, &ServerStatus::state) != servers.end();
  };
  return has(ServerState::kDead) ? kExitFailed : has(ServerState::kSilent) ? kExitSilent : kExitOk;
}

double number(const json& answer, const char* pointer) {
  json::json_pointer path(pointer);
  if (!answer.contains(path)) {
    return 0.0;
  }
  const json& found = answer.at(path);
  return found.is_number() ? found.get<double>() : 0.0;
}

bool was_restarted(const ServerStatus& status) {
  return status.is_alive() && status.answer.value("restarted", false);
}

std::string no_door_text(const json& answer) {
  constexpr std::pair<std::string_view, std::string_view> kReasons[] = {
      {"not_wanted", "told to use it (BENCHFS_TRANSPORT=ucx)"},
      {"none", "no daemon on the node, or a container without the directory of its door"},
      {"other_user", "doors of other users only"},
      {"not_private", "a directory of doors that is not private to the user"},
      {"not_here", "not on this server's node, or its door was gone"},
      {"refused", "refused at the door"},
      {"no_room", "no room at the door"},
      {"silent", "no answer at the door"},
      {"other_version", "a door of another version or run"},
      {"own_lack", "no descriptors or memory in the program"},
      {"unsaid", "for reasons that they did not say"},
  };
  const json::json_pointer where("/registry/no_door");
  std::string text;
  for (const auto& [name, meaning] : kReasons) {
    std::uint64_t count = answer.contains(where) ? answer.at(where).value(name, 0U) : 0;
    if (count > 0) {
      text += fmt::format("{}{} {}", text.empty() ? "" : "; ", count, meaning);
    }
  }
  return text;
}

std::string owed_text(const json& answer) {
  if (!answer.contains("owed") || !answer["owed"].is_object()) {
    return {};
  }
  std::string text;
  for (const auto& [key, value] : answer["owed"].items()) {
    if (!value.is_number_unsigned() || value.get<std::uint64_t>() == 0) {
      continue;
    }
    auto count = value.get<std::uint64_t>();
    std::string what = key;
    std::ranges::replace(what, '_', ' ');
    // "files to free": the noun is the first word.
    std::size_t noun_end = std::min(what.find(' '), what.size());
    if (count == 1 && noun_end > 0 && what[noun_end - 1] == 's') {
      what.erase(noun_end - 1, 1);
    }
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count, what);
  }
  if (text.empty()) {
    return text;
  }
  std::string silent;
  if (answer["owed"].contains("silent") && answer["owed"]["silent"].is_array()) {
    for (const json& one : answer["owed"]["silent"]) {
      silent += fmt::format("{}{} silent for {}",
                            silent.empty() ? "" : ", ",
                            one.value("node_id", "?"),
                            human_time(one.value("seconds", 0.0)));
    }
  }
  return silent.empty() ? text : fmt::format("{} ({})", text, silent);
}

std::string human_time(double seconds) {
  auto s = static_cast<std::uint64_t>(seconds);
  if (s < 60) {
    return fmt::format("{:.1f} s", seconds);
  }
  return s < 3600 ? fmt::format("{} min {} s", s / 60, s % 60)
                  : fmt::format("{} h {} min", s / 3600, s / 60 % 60);
}

}  // namespace benchfs::cli
