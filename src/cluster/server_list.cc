#include "cluster/server_list.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <compare>
#include <utility>

#include "base/check.h"
#include "base/hash.h"
#include "cluster/placement.h"
#include "wire/limits.h"

namespace benchfs::cluster {
namespace {

constexpr std::size_t kShownBytes = 80;  // of a damaged line, in messages

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\r';
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && is_blank(text.front())) {
    text.remove_prefix(1);
  }
  while (!text.empty() && is_blank(text.back())) {
    text.remove_suffix(1);
  }
  return text;
}

std::string printable(std::string_view text) {
  std::string out;
  for (char c : text.substr(0, kShownBytes)) {
    auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7f) {
      out += c;
    } else {
      out += fmt::format("\\x{:02x}", byte);
    }
  }
  if (text.size() > kShownBytes) {
    out += "...";
  }
  return out;
}

template <typename T>
bool parse_number(std::string_view text, T& out, int base = 10) {
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out, base);
  return error == std::errc() && end == text.data() + text.size();
}

bool is_node_id(std::string_view id) {
  auto allowed = [](char c) {
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
           c == '.' || c == '-';
  };
  return !id.empty() && id.size() <= kMaxNodeIdBytes && id.front() != '.' &&
         std::ranges::all_of(id, allowed);
}

// Returns what is wrong with `ip`; empty if a client can connect to it.
std::string_view check_ip(const std::string& ip) {
  std::array<unsigned char, sizeof(in6_addr)> bytes{};
  bool is_v6 = ip.find(':') != std::string::npos;
  if (inet_pton(is_v6 ? AF_INET6 : AF_INET, ip.c_str(), bytes.data()) != 1) {
    return "no numeric IPv4 or IPv6 address";
  }
  // A listener on "any address" would write this if the address were not resolved.
  if (std::ranges::all_of(bytes, [](unsigned char byte) { return byte == 0; })) {
    return "the unspecified address cannot be connected to";
  }
  return {};
}

// Returns what is wrong with the server's line; empty if nothing is.
std::string_view find_fault(const Server& server) {
  if (!is_node_id(server.node_id)) {
    return "node id must be 1 to 64 of A-Z a-z 0-9 _ . - and not start with a dot";
  }
  if (server.port == 0) {
    return "port must be 1 to 65535";
  }
  return check_ip(server.ip);
}

// Parses "ip:port" or "[ip]:port" into `server`. Returns what is wrong; empty if nothing is.
std::string_view parse_address(std::string_view text, Server& server) {
  std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) {
    return "the port is missing";
  }
  std::string_view ip = text.substr(0, colon);
  if (ip.starts_with('[') && ip.ends_with(']')) {
    ip = ip.substr(1, ip.size() - 2);
    if (ip.find(':') == std::string_view::npos) {
      return "brackets are for IPv6 addresses";
    }
  } else if (ip.find(':') != std::string_view::npos) {
    return "an IPv6 address needs brackets: [ip]:port";
  }
  if (!parse_number(text.substr(colon + 1), server.port)) {
    return "port must be 1 to 65535";
  }
  server.ip = ip;
  return {};
}

struct Entry {
  Server server;
  std::size_t line = 0;
};

class Parser {
 public:
  ParsedServerList run(std::string_view text) {
    while (!text.empty()) {
      ++line_;
      std::size_t end = text.find('\n');
      std::string_view line = text.substr(0, end);
      if (end == std::string_view::npos) {
        damage(line, "the line does not end; its writer is not done or was killed", true);
        break;
      }
      take_line(line);
      text.remove_prefix(end + 1);
    }
    finish();
    return std::move(parsed_);
  }

 private:
  void damage(std::string_view line, std::string reason, bool unfinished = false) {
    damage_at(line_, line, std::move(reason), unfinished);
  }
  void damage_at(std::size_t number, std::string_view line, std::string reason, bool unfinished) {
    if (parsed_.damage) {
      return;
    }
    ServerListError error;
    error.problem = ServerListProblem::kMalformed;
    error.line = number;
    error.content = printable(line);
    error.reason = std::move(reason);
    error.unfinished = unfinished;
    parsed_.damage = std::move(error);
  }

  void take_line(std::string_view line) {
    if (line.size() > kMaxServerLineBytes) {
      damage(line, fmt::format("longer than {} bytes", kMaxServerLineBytes));
      return;
    }
    std::string_view text = trim(line);
    if (text.empty()) {
      return;
    }
    std::string_view fault =
        text.front() == '#' ? take_comment(trim(text.substr(1))) : take_server(text);
    if (!fault.empty()) {
      damage(line, std::string(fault));
    }
  }

  std::string_view take_comment(std::string_view text) {
    constexpr std::string_view kRunId = "run_id:";
    constexpr std::string_view kExpected = "expected_servers:";
    if (text.starts_with(kRunId)) {
      std::string_view value = trim(text.substr(kRunId.size()));
      std::uint64_t run_id = 0;
      if (value.size() != 16 || !parse_number(value, run_id, 16) || run_id == 0) {
        return "run_id must be 16 hex digits, not all zero";
      }
      return set_once(parsed_.list.run_id, run_id, "contradicts an earlier run_id");
    }
    if (text.starts_with(kExpected)) {
      std::uint32_t expected = 0;
      if (!parse_number(trim(text.substr(kExpected.size())), expected) || expected == 0 ||
          expected > wire::kMaxShards) {
        return "expected_servers must be 1 to 4096";
      }
      return set_once(parsed_.list.expected, expected, "contradicts an earlier expected_servers");
    }
    return {};
  }
  static_assert(wire::kMaxShards == 4096, "the message above names the limit");

  template <typename T>
  static std::string_view set_once(T& field, T value, std::string_view contradiction) {
    if (field != 0 && field != value) {
      return contradiction;
    }
    field = value;
    return {};
  }

  std::string_view take_server(std::string_view text) {
    std::size_t space = std::min(text.find_first_of(" \t"), text.size());
    Entry entry{.server = {.node_id = std::string(text.substr(0, space)), .ip = {}}, .line = line_};
    std::string_view address = trim(text.substr(space));
    if (address.empty()) {
      return "the address is missing: the form is node_id ip:port";
    }
    if (std::string_view fault = parse_address(address, entry.server); !fault.empty()) {
      return fault;
    }
    if (std::string_view fault = find_fault(entry.server); !fault.empty()) {
      return fault;
    }
    entries_.push_back(std::move(entry));
    return {};
  }

  // Orders the servers, keeps the last line of each, and checks the number.
  void finish() {
    std::ranges::sort(entries_, [](const Entry& a, const Entry& b) {
      return a.server.node_id == b.server.node_id
                 ? a.line < b.line
                 : natural_less(a.server.node_id, b.server.node_id);
    });
    const Entry* latest = nullptr;
    for (std::size_t i = 0; i < entries_.size(); ++i) {
      Entry& entry = entries_[i];
      if (i + 1 < entries_.size() && entries_[i + 1].server.node_id == entry.server.node_id) {
        continue;
      }
      latest = latest == nullptr || entry.line > latest->line ? &entry : latest;
      parsed_.list.servers.push_back(entry.server);
    }
    std::size_t limit = parsed_.list.expected != 0 ? parsed_.list.expected : wire::kMaxShards;
    if (parsed_.list.servers.size() > limit) {
      std::string line = format_server_line(latest->server);
      line.pop_back();
      damage_at(
          latest->line,
          line,
          fmt::format("{} servers are listed, {} are allowed", parsed_.list.servers.size(), limit),
          false);
    }
  }

  ParsedServerList parsed_;
  std::vector<Entry> entries_;
  std::size_t line_ = 0;
};

// Cuts the digits at the front of `text` off and returns them without leading zeros.
std::string_view take_digits(std::string_view& text) {
  std::size_t end = 0;
  while (end < text.size() && is_digit(text[end])) {
    ++end;
  }
  std::string_view digits = text.substr(0, end);
  text.remove_prefix(end);
  digits.remove_prefix(std::min(digits.find_first_not_of('0'), digits.size()));
  return digits;
}

}  // namespace

std::string Server::address() const {
  bool is_v6 = ip.find(':') != std::string::npos;
  return is_v6 ? fmt::format("[{}]:{}", ip, port) : fmt::format("{}:{}", ip, port);
}

bool ServerListError::is_transient() const {
  switch (problem) {
    case ServerListProblem::kMissing:
    case ServerListProblem::kIncomplete:
    case ServerListProblem::kEmpty:
      return true;
    case ServerListProblem::kMalformed:
      return unfinished;
    case ServerListProblem::kUnreadable:
    case ServerListProblem::kStale:
      return false;
  }
  return false;
}

Error ServerListError::to_error() const {
  switch (problem) {
    case ServerListProblem::kMissing:
      return Error{Errc::kConfig, ENOENT, fmt::format("server list {}", path)};
    case ServerListProblem::kUnreadable:
      return reason.empty()
                 ? Error::from_system(system_errno, fmt::format("server list {}", path))
                 : Error{Errc::kConfig, 0, fmt::format("server list refused: {}", reason)};
    case ServerListProblem::kMalformed:
      return Error{Errc::kConfig,
                   0,
                   fmt::format("server list {} line {}: {}: '{}'", path, line, reason, content)};
    case ServerListProblem::kIncomplete:
      return Error{Errc::kNotReady,
                   0,
                   fmt::format("server list {}: {} of {} servers are there", path, have, expected)};
    case ServerListProblem::kEmpty:
      return Error{Errc::kNotReady, 0, fmt::format("server list {}: no server is there", path)};
    case ServerListProblem::kStale:
      return Error{
          Errc::kStaleRun,
          0,
          found_run == 0
              ? fmt::format("server list {} names no run, wanted is run {:016x}", path, wanted_run)
              : fmt::format("server list {} is of run {:016x}, wanted is run {:016x}",
                            path,
                            found_run,
                            wanted_run)};
  }
  return Error{Errc::kInternal, 0, path};
}

ParsedServerList parse_server_list(std::string_view text) {
  return Parser().run(text);
}

std::string format_server_list_header(std::uint64_t run_id, std::uint32_t expected) {
  return fmt::format(
      "# BenchFS Server List\n"
      "# Format: node_id ip:port\n"
      "# run_id: {:016x}\n"
      "# expected_servers: {}\n",
      run_id,
      expected);
}

std::string format_server_line(const Server& server) {
  return fmt::format("{} {}\n", server.node_id, server.address());
}

Status check_server(const Server& server) {
  if (std::string_view fault = find_fault(server); !fault.empty()) {
    return fail(Errc::kConfig,
                fmt::format("server '{}' at '{}': {}",
                            printable(server.node_id),
                            printable(server.address()),
                            fault));
  }
  return {};
}

bool natural_less(std::string_view a, std::string_view b) {
  std::string_view rest_a = a;
  std::string_view rest_b = b;
  while (!rest_a.empty() && !rest_b.empty()) {
    std::strong_ordering order = std::strong_ordering::equal;
    if (is_digit(rest_a.front()) && is_digit(rest_b.front())) {
      std::string_view number_a = take_digits(rest_a);
      std::string_view number_b = take_digits(rest_b);
      order = number_a.size() <=> number_b.size();
      order = order != 0 ? order : number_a <=> number_b;
    } else {
      order =
          static_cast<unsigned char>(rest_a.front()) <=> static_cast<unsigned char>(rest_b.front());
      rest_a.remove_prefix(1);
      rest_b.remove_prefix(1);
    }
    if (order != 0) {
      return order < 0;
    }
  }
  if (rest_a.empty() != rest_b.empty()) {
    return rest_a.empty();
  }
  return a < b;
}

wire::ShardId select_server_by_hash(std::string_view client_id, const ServerList& list) {
  BENCHFS_CHECK(!list.servers.empty());
  auto count = static_cast<std::uint32_t>(list.servers.size());
  return wire::ShardId{scale_hash(hash_text(client_id), count)};
}

}  // namespace benchfs::cluster
