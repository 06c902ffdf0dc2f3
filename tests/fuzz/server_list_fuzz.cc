// The server list is written by other processes and by people: any bytes must give a list that
// keeps its promises, and formatting that list must lead back to it.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "cluster/server_list.h"
#include "wire/limits.h"

using benchfs::cluster::parse_server_list;
using benchfs::cluster::ParsedServerList;
using benchfs::cluster::Server;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  ParsedServerList parsed = parse_server_list(text);
  const auto& list = parsed.list;
  BENCHFS_CHECK(
      std::ranges::is_sorted(list.servers, benchfs::cluster::natural_less, &Server::node_id));
  if (parsed.damage) {
    BENCHFS_CHECK(parsed.damage->line > 0);
    BENCHFS_CHECK(!parsed.damage->to_error().message().empty());
    return 0;
  }
  BENCHFS_CHECK(list.servers.size() <= benchfs::wire::kMaxShards);
  BENCHFS_CHECK(list.expected == 0 || list.servers.size() <= list.expected);
  std::string again;
  if (list.run_id != 0 && list.expected != 0) {
    again = benchfs::cluster::format_server_list_header(list.run_id, list.expected);
  }
  for (const Server& server : list.servers) {
    BENCHFS_CHECK(benchfs::cluster::check_server(server).has_value());
    again += benchfs::cluster::format_server_line(server);
  }
  ParsedServerList second = parse_server_list(again);
  BENCHFS_CHECK(!second.damage && second.list.servers == list.servers);
  return 0;
}
