// The reply paths that the benchmark compares: their names, their messages and the
// address of their server.
//
// The baselines are bare UCX: a process with one UCX worker, without coroutines, sessions or
// request matching. Only the benchmark uses them.
#pragma once

#include <array>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "net/address.h"

namespace benchfs::bench {

enum class ReplyPath : std::uint8_t {
  kPersistent,     // ours: the accepted endpoint of a registered session
  kNode,           // ours: through the node door
  kReplyEndpoint,  // client connects by worker address, the server replies on UCX's reply endpoint
  kNewEndpoint,    // the server makes an endpoint for each reply and closes it
  kFloor,          // bare UCX echo on the accepted endpoint
};
inline constexpr std::array kAllPaths = {ReplyPath::kPersistent,
                                         ReplyPath::kNode,
                                         ReplyPath::kReplyEndpoint,
                                         ReplyPath::kNewEndpoint,
                                         ReplyPath::kFloor};
// "persistent", "reply-ep", "new-endpoint", "ucx-floor".
std::string_view name_of(ReplyPath path);
// Whether our shards answer, and not the baseline server.
constexpr bool is_ours(ReplyPath path) {
  return path == ReplyPath::kPersistent || path == ReplyPath::kNode;
}
std::optional<ReplyPath> path_of(std::string_view name);

// The address of a BaselineServer.
struct BaselineAddress {
  std::string socket;                // "ip:port"
  std::string devices;               // network devices of both sides, as in net::ContextConfig
  std::vector<std::uint8_t> worker;  // UCX's own address
  [[nodiscard]] bool is_set() const { return !socket.empty(); }
  [[nodiscard]] Result<net::SocketAddress> socket_address() const;
};
nlohmann::json to_message(const BaselineAddress& address);
Result<BaselineAddress> baseline_address_from(const nlohmann::json& message);

// Active messages between BaselineClient and BaselineServer. All carry a BaselineHeader; the data
// part of a request is the payload.
enum BaselineMessage : unsigned {
  kBaselineHello = 1,    // data: the client's worker address
  kBaselineWelcome = 2,  // header.client: the number of this client
  kBaselineRequest = 3,  // answered on the endpoint of the hello
  kBaselineReplyEpRequest = 4,
  kBaselineNewEpRequest = 5,
  kBaselineReply = 6,
};

struct BaselineHeader {
  std::uint32_t client = 0;
  std::uint32_t lane = 0;         // of the client's outstanding requests
  std::uint32_t sequence = 0;     // comes back
  std::uint32_t reply_bytes = 0;  // of the request's data, and zeros beyond it
};

}  // namespace benchfs::bench
