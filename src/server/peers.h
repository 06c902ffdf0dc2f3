// The other shards, as a shard sees them: the connection pool, and itself.
#pragma once

#include <cerrno>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "rpc/connection_pool.h"
#include "rt/scope.h"

namespace benchfs::server {

struct Peers {
  wire::ShardId self;
  std::uint32_t shard_count = 1;
  rpc::ConnectionPool* pool = nullptr;
  rt::Scope* scope = nullptr;            // of the shard; fan-outs run in it
  rt::CancelSource* stopping = nullptr;  // cancelled when the shard begins to stop
  // Of this shard; grows with its starts.
  std::uint64_t life = static_cast<std::uint64_t>(wall_now_ns());

  // For messages.
  [[nodiscard]] std::string name_of(wire::ShardId shard) const {
    return is_self(shard) ? "this server" : pool->at(shard).name();
  }
  // "what, waits for node_1, waits for node_2".
  [[nodiscard]] std::string waits_text(std::string what,
                                       const std::vector<wire::ShardId>& shards) const {
    for (wire::ShardId shard : shards) {
      what += ", waits for " + name_of(shard);
    }
    return what;
  }
  // Of a wait that ended at its deadline.
  [[nodiscard]] Error waits_error(std::string what,
                                  const std::vector<wire::ShardId>& shards) const {
    return Error{Errc::kDeadline, ETIMEDOUT, waits_text(std::move(what), shards)};
  }
  // Of an operation that starts over because another one is under way.
  [[nodiscard]] std::unexpected<Error> busy(std::string what,
                                            const std::vector<wire::ShardId>& shards) const {
    return fail(Errc::kBusy, waits_text(std::move(what), shards));
  }
  [[nodiscard]] bool is_self(wire::ShardId shard) const { return shard == self; }

  // One typed call to another shard.
  template <typename Request>
  rt::CoResult<typename Request::Reply> call(wire::ShardId shard,
                                             Request request,
                                             Deadline deadline,
                                             std::string_view name = {}) const {
    rpc::Call call = rpc::make_call(request, name);
    Result<rpc::Reply> reply = co_await pool->call(shard, call, deadline);
    if (!reply) {
      co_return std::unexpected(std::move(reply.error()));
    }
    if constexpr (std::is_same_v<typename Request::Reply, wire::NoReply>) {
      co_return wire::NoReply{};
    } else {
      co_return reply->template as<typename Request::Reply>();
    }
  }
};

}  // namespace benchfs::server
