#include "cli/cluster/in_flight.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "cli/files/format.h"

namespace benchfs::cli {
namespace {

using nlohmann::json;

std::string seconds_text(const json& request, const char* key) {
  return fmt::format("{:.2f} s", number(request, key) / 1000);
}

std::string client_text(const json& request) {
  std::string uid = request.value("client_uid", "?");
  return request.contains("client") ? request.value("client", "?")
                                    : fmt::format("gone, was uid {}", uid);
}

}  // namespace

InFlight merge_requests(std::span<const ServerStatus> servers, std::uint32_t limit) {
  InFlight merged;
  std::vector<json> requests;
  for (const ServerStatus& status : servers) {
    if (!status.is_alive()) {
      continue;
    }
    merged.total += static_cast<std::uint64_t>(number(status.answer, "/in_flight"));
    for (json request : status.answer.value("requests", json::array())) {
      request["server"] = status.server.node_id;
      requests.push_back(std::move(request));
    }
  }
  std::ranges::sort(
      requests, std::greater(), [](const json& request) { return number(request, "/age_ms"); });
  requests.resize(std::min<std::size_t>(limit, requests.size()));
  merged.requests = json(std::move(requests));
  return merged;
}

std::string in_flight_table(const InFlight& in_flight) {
  if (in_flight.total == 0) {
    return "no request is waiting\n";
  }
  constexpr std::string_view kRow = "{:>10} {:<10} {:<20} {:<20} {:>10} {:>10}  {}\n";
  std::string text =
      fmt::format(kRow, "AGE", "SERVER", "OPERATION", "PHASE", "TIME LEFT", "DATA", "CLIENT");
  for (const json& request : in_flight.requests) {
    text += fmt::format(kRow,
                        seconds_text(request, "/age_ms"),
                        request.value("server", "?"),
                        request.value("operation", "?"),
                        request.value("phase", "?"),
                        seconds_text(request, "/deadline_ms"),
                        format_bytes(static_cast<std::uint64_t>(number(request, "/data_bytes"))),
                        printable(client_text(request)));
  }
  if (in_flight.total > in_flight.requests.size()) {
    text += fmt::format("… and {} more; --limit shows them\n",
                        in_flight.total - in_flight.requests.size());
  }
  return text;
}

}  // namespace benchfs::cli
