// Sends the servers of a list a query or a setting, all at once, for `status`, `stats` and `set`.
//
// Single-threaded, blocking. A server that does not answer in time does not delay the others.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "cli/command.h"
#include "cluster/server_list.h"

namespace benchfs::cli {

enum class ServerState : std::uint8_t {
  kAlive,   // answered
  kSilent,  // did not, but its process exists, or is on another host and cannot be seen from here
  kDead,    // its process is gone
};

struct ServerStatus {
  cluster::Server server;
  wire::ShardId shard;   // its line in the server list
  pid_t pid = 0;         // 0: not known
  bool is_asked = true;  // false: asking is pointless or not wanted
  ServerState state = ServerState::kAlive;
  std::string problem;    // unless it is alive
  nlohmann::json answer;  // an object when it is alive

  [[nodiscard]] bool is_alive() const { return state == ServerState::kAlive; }
};

// "alive", "silent", "dead"
const char* to_string(ServerState state);

struct Question {
  enum class Subject : std::uint8_t {
    kCounters,
    kRequests,    // under way, at most `number` from each server
    kMaxClients,  // tells each server to have room for `number` clients; the answer is empty
  };
  Subject subject = Subject::kCounters;
  std::uint32_t number = 0;
  // Node id of the only server to ask; empty: all of them.
  std::string server = {};
};

// Returns the servers in list order. Each has 0.4 s to connect and to answer, or --timeout. Errors:
// no such server.
Result<std::vector<ServerStatus>> survey(const Context& context,
                                         const cluster::ServerList& list,
                                         const Question& question);

// The server list of the context; a recovered one is reported to standard error.
Result<cluster::ServerList> read_list(const Context& context, std::string_view command);

// {"registry_dir", "run_id", "alive", "servers": [{"node_id", "address", "pid", "state", "alive",
// then `answer_key` or "problem"}]}
nlohmann::json survey_json(const Context& context,
                           const cluster::ServerList& list,
                           std::span<const ServerStatus> servers,
                           const char* answer_key);

// The names of a restarted server's files are gone, and so is the data it held.
bool was_restarted(const ServerStatus& status);
// "3 files to free, 1 truncation (node_1 silent for 12 s)" from the section `owed`; empty: nothing.
std::string owed_text(const nlohmann::json& answer);

// Why clients came over the network and not through the node door: "2 were told to use it; ...";
// empty: none did.
std::string no_door_text(const nlohmann::json& answer);

// kExitOk when all are alive, kExitFailed when any is dead, else kExitSilent.
int exit_code_of(std::span<const ServerStatus> servers);

// The number at a JSON pointer, 0 when there is none: a server of another version may not have it.
double number(const nlohmann::json& answer, const char* pointer);
// "12.3 s", "3 min 4 s", "2 h 5 min".
std::string human_time(double seconds);

}  // namespace benchfs::cli
