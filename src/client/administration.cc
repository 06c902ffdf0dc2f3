#include "client/administration.h"

#include <unordered_map>
#include <utility>
#include <vector>

namespace benchfs::client {

rt::Task<void> Administration::statfs_shard(wire::ShardId shard,
                                            Deadline by,
                                            Result<wire::StatfsReply>* out) {
  wire::StatfsRequest request;
  rpc::Call call = rpc::make_call(request);
  Result<rpc::Reply> reply = co_await backend_.pool.call(shard, call, by);
  if (!reply) {
    *out = std::unexpected(std::move(reply.error()));
    co_return;
  }
  *out = reply->as<wire::StatfsReply>();
}

rt::CoResult<Statfs> Administration::statfs() {
  Deadline by = backend_.administration_deadline();
  std::vector<Result<wire::StatfsReply>> answers(backend_.pool.size(), wire::StatfsReply{});
  rt::Group group(backend_.scope);
  for (std::uint32_t shard = 0; shard < backend_.pool.size(); ++shard) {
    group.add(statfs_shard(wire::ShardId{shard}, by, &answers[shard]));
  }
  (void)co_await group.wait();
  Statfs sum;
  sum.shard_count = backend_.pool.size();
  std::unordered_map<std::uint64_t, bool> devices;  // shards on one device share its space
  for (std::uint32_t shard = 0; shard < backend_.pool.size(); ++shard) {
    Result<wire::StatfsReply>& answer = answers[shard];
    if (!answer) {
      co_return std::unexpected(std::move(answer.error()));
    }
    sum.inode_count += answer->inode_count;
    sum.chunk_bytes = backend_.pool.at(wire::ShardId{shard}).grant().chunk_bytes;
    if (devices.emplace(answer->device, true).second) {
      sum.total_bytes += answer->total_bytes;
      sum.free_bytes += answer->free_bytes;
    }
  }
  co_return sum;
}

rt::CoResult<std::string> Administration::shard_stats(wire::ShardId shard) {
  return section(shard, wire::StatsRequest{});
}

rt::CoResult<std::string> Administration::shard_requests(wire::ShardId shard, std::uint32_t limit) {
  wire::StatsRequest request;
  request.section = static_cast<std::uint32_t>(wire::StatsSection::kRequests);
  request.limit = limit;
  return section(shard, request);
}

rt::CoResult<std::string> Administration::section(wire::ShardId shard, wire::StatsRequest request) {
  rpc::Call call = rpc::make_call(request);
  std::string text(wire::kMaxStatsBytes, '\0');
  call.into = std::as_writable_bytes(std::span(text));
  Result<rpc::Reply> reply =
      co_await backend_.pool.call(shard, call, backend_.administration_deadline());
  if (!reply) {
    co_return std::unexpected(std::move(reply.error()));
  }
  text.resize(reply->data_bytes);
  co_return text;
}

rt::CoStatus Administration::ping(wire::ShardId shard,
                                  std::span<const std::byte> data,
                                  std::span<std::byte> into) {
  wire::PingRequest request;
  request.reply_bytes = static_cast<std::uint32_t>(into.size());
  rpc::Call call = rpc::make_call(request);
  call.data = data;
  call.into = into;
  call.rendezvous = data.size() > backend_.config.eager_bytes;
  Result<rpc::Reply> reply =
      co_await backend_.pool.call(shard, call, backend_.administration_deadline());
  if (!reply) {
    co_return std::unexpected(std::move(reply.error()));
  }
  co_return Status{};
}

rt::CoStatus Administration::set_capacity(wire::ShardId shard, std::uint32_t max_clients) {
  wire::SetCapacityRequest request{.max_clients = max_clients};
  Result<rpc::Reply> reply =
      co_await backend_.pool.call(shard, rpc::make_call(request), backend_.metadata_deadline());
  co_return reply ? Status{} : std::unexpected(std::move(reply.error()));
}

}  // namespace benchfs::client
