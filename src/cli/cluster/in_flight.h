// The requests that wait on the servers for their replies, as `status --in-flight` shows them.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>

#include "cli/cluster/survey.h"

namespace benchfs::cli {

struct InFlight {
  std::uint64_t total = 0;  // on all servers that answered
  nlohmann::json requests;  // array, oldest first; each as the server wrote it, with its "server"
};

// Merges what the servers answered and cuts it to `limit`.
InFlight merge_requests(std::span<const ServerStatus> servers, std::uint32_t limit);

std::string in_flight_table(const InFlight& in_flight);

}  // namespace benchfs::cli
