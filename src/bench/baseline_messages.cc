#include "bench/baseline_messages.h"

#include <fmt/format.h>

#include <cstdlib>
#include <nlohmann/json.hpp>

namespace benchfs::bench {
namespace {

// UCX addresses are some hundred bytes a transport.
constexpr std::size_t kMaxWorkerAddress = 65536;

}  // namespace

std::string_view name_of(ReplyPath path) {
  switch (path) {
    case ReplyPath::kPersistent:
      return "persistent";
    case ReplyPath::kNode:
      return "node";
    case ReplyPath::kReplyEndpoint:
      return "reply-ep";
    case ReplyPath::kNewEndpoint:
      return "new-endpoint";
    case ReplyPath::kFloor:
      return "ucx-floor";
  }
  return "";
}

std::optional<ReplyPath> path_of(std::string_view name) {
  for (ReplyPath path : kAllPaths) {
    if (name_of(path) == name) {
      return path;
    }
  }
  return std::nullopt;
}

Result<net::SocketAddress> BaselineAddress::socket_address() const {
  std::size_t colon = socket.rfind(':');
  auto port = std::strtoul(socket.c_str() + colon + 1, nullptr, 10);
  return net::make_address(socket.substr(0, colon), static_cast<std::uint16_t>(port));
}

nlohmann::json to_message(const BaselineAddress& address) {
  return {{"socket", address.socket}, {"devices", address.devices}, {"worker", address.worker}};
}

Result<BaselineAddress> baseline_address_from(const nlohmann::json& message) {
  try {
    BaselineAddress address{.socket = message.at("socket"),
                            .devices = message.at("devices"),
                            .worker = message.at("worker")};
    if (address.socket.empty() || address.worker.empty() ||
        address.worker.size() > kMaxWorkerAddress) {
      return fail(Errc::kMalformed, "the address of the baseline server is not complete");
    }
    return address;
  } catch (const nlohmann::json::exception& error) {
    return fail(Errc::kMalformed, error.what());
  }
}

}  // namespace benchfs::bench
