// The file system as a whole, and its servers.

#include <unordered_map>
#include <utility>
#include <vector>

#include "client/file_system.h"

namespace benchfs::client {

rt::Task<void> FileSystem::statfs_shard(wire::ShardId shard,
                                        Deadline by,
                                        Result<wire::StatfsReply>* out) {
  wire::StatfsRequest request;
  rpc::Call call = rpc::make_call(request);
  Result<rpc::Reply> reply = co_await pool_.call(shard, call, by);
  if (!reply) {
    *out = std::unexpected(std::move(reply.error()));
    co_return;
  }
  *out = reply->as<wire::StatfsReply>();
}

rt::CoResult<Statfs> FileSystem::statfs() {
  Deadline by = administration_deadline();
  std::vector<Result<wire::StatfsReply>> answers(pool_.size(), wire::StatfsReply{});
  rt::Group group(scope_);
  for (std::uint32_t shard = 0; shard < pool_.size(); ++shard) {
    group.add(statfs_shard(wire::ShardId{shard}, by, &answers[shard]));
  }
  (void)co_await group.wait();
  Statfs sum;
  sum.shard_count = pool_.size();
  std::unordered_map<std::uint64_t, bool> devices;  // shards on one device share its space
  for (std::uint32_t shard = 0; shard < pool_.size(); ++shard) {
    Result<wire::StatfsReply>& answer = answers[shard];
    if (!answer) {
      co_return std::unexpected(std::move(answer.error()));
    }
    sum.inode_count += answer->inode_count;
    sum.chunk_bytes = pool_.at(wire::ShardId{shard}).grant().chunk_bytes;
    if (devices.emplace(answer->device, true).second) {
      sum.total_bytes += answer->total_bytes;
      sum.free_bytes += answer->free_bytes;
    }
  }
  co_return sum;
}

rt::CoResult<std::string> FileSystem::shard_stats(wire::ShardId shard) {
  return shard_section(shard, wire::StatsRequest{});
}

rt::CoResult<std::string> FileSystem::shard_requests(wire::ShardId shard, std::uint32_t limit) {
  wire::StatsRequest request;
  request.section = static_cast<std::uint32_t>(wire::StatsSection::kRequests);
  request.limit = limit;
  return shard_section(shard, request);
}

rt::CoResult<std::string> FileSystem::shard_section(wire::ShardId shard,
                                                    wire::StatsRequest request) {
  rpc::Call call = rpc::make_call(request);
  std::string text(wire::kMaxStatsBytes, '\0');
  call.into = std::as_writable_bytes(std::span(text));
  Result<rpc::Reply> reply = co_await pool_.call(shard, call, administration_deadline());
  if (!reply) {
    co_return std::unexpected(std::move(reply.error()));
  }
  text.resize(reply->data_bytes);
  co_return text;
}

rt::CoStatus FileSystem::ping(wire::ShardId shard,
                              std::span<const std::byte> data,
                              std::span<std::byte> into) {
  wire::PingRequest request;
  request.reply_bytes = static_cast<std::uint32_t>(into.size());
  rpc::Call call = rpc::make_call(request);
  call.data = data;
  call.into = into;
  call.rendezvous = data.size() > config_.eager_bytes;
  Result<rpc::Reply> reply = co_await pool_.call(shard, call, administration_deadline());
  if (!reply) {
    co_return std::unexpected(std::move(reply.error()));
  }
  co_return Status{};
}

rt::CoStatus FileSystem::set_capacity(wire::ShardId shard, std::uint32_t max_clients) {
  wire::SetCapacityRequest request{.max_clients = max_clients};
  Result<rpc::Reply> reply = co_await pool_.call(shard, rpc::make_call(request), deadline());
  co_return reply ? Status{} : std::unexpected(std::move(reply.error()));
}

rt::CoStatus FileSystem::connect(wire::ShardId shard, Deadline by) {
  wire::PingRequest request;
  rpc::Call call = rpc::make_call(request);
  Result<rpc::Reply> reply = co_await pool_.call(shard, call, by);
  if (!reply) {
    co_return std::unexpected(std::move(reply.error()));
  }
  co_return Status{};
}

}  // namespace benchfs::client
