// The server list: which shards there are, in which order, and how to reach them.
//
// This header is the text and its meaning, pure and thread-free; cluster/server_list_file.h is the
// file in the registry directory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "wire/ids.h"

namespace benchfs::cluster {

inline constexpr std::size_t kMaxNodeIdBytes = 64;
inline constexpr std::size_t kMaxServerLineBytes = 256;
inline constexpr std::size_t kMaxServerListBytes = std::size_t{4} << 20;

struct Server {
  std::string node_id;
  std::string ip;  // numeric IPv4 or IPv6, without brackets
  std::uint16_t port = 0;

  // "ip:port" or "[ip]:port".
  [[nodiscard]] std::string address() const;
  friend bool operator==(const Server&, const Server&) = default;
};

struct ServerList {
  std::uint64_t run_id = 0;     // 0: the list does not say
  std::uint32_t expected = 0;   // servers of the complete list; 0: the list does not say
  std::vector<Server> servers;  // natural order of node ids; the index is the shard index
  // Not empty when the file was damaged and the list was rebuilt: a sentence naming line and
  // content, for the caller to log as a warning.
  std::string recovered;
};

enum class ServerListProblem : std::uint8_t {
  kMissing,     // no such file
  kUnreadable,  // it exists, but reading failed
  kMalformed,   // a line does not parse, or contradicts another
  kIncomplete,  // fewer servers than expected
  kStale,       // another run than the wanted one wrote it
  kEmpty,       // no server at all
};

struct ServerListError {
  ServerListProblem problem = ServerListProblem::kMissing;
  std::string path;              // of the list; empty from parse_server_list
  std::size_t line = 0;          // kMalformed: counted from 1
  std::string content;           // kMalformed: that line, made printable
  std::string reason;            // kMalformed: what is wrong with it
  bool unfinished = false;       // kMalformed: it is the last line, and its newline is missing
  int system_errno = 0;          // kUnreadable
  std::uint32_t have = 0;        // kIncomplete
  std::uint32_t expected = 0;    // kIncomplete, kEmpty
  std::uint64_t found_run = 0;   // kStale; 0: the list names none
  std::uint64_t wanted_run = 0;  // kStale

  // True when reading again later can succeed because servers are still writing.
  [[nodiscard]] bool is_transient() const;
  // Codes: kConfig (missing with ENOENT, malformed), kSystem (unreadable), kNotReady (incomplete,
  // empty), kStaleRun.
  [[nodiscard]] Error to_error() const;
};

// What a text holds, also when a line of it is damaged. If several lines have the same node id, the
// last counts. Completeness is not judged here.
struct ParsedServerList {
  ServerList list;                        // every intact line
  std::optional<ServerListError> damage;  // kMalformed: the first damaged line
};
ParsedServerList parse_server_list(std::string_view text);

// The comment lines at the top and the line of one server, each with its newline.
std::string format_server_list_header(std::uint64_t run_id, std::uint32_t expected);
std::string format_server_line(const Server& server);

// kConfig for a node id, address or port that no reader would accept.
Status check_server(const Server& server);

// True when `a` comes before `b`: runs of digits compare as numbers, everything else by byte. A
// total order: ids that differ only in leading zeros compare by byte.
bool natural_less(std::string_view a, std::string_view b);

// The server a client talks to first; spreads clients evenly. The list is not empty.
wire::ShardId select_server_by_hash(std::string_view client_id, const ServerList& list);

}  // namespace benchfs::cluster
