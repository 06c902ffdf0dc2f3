// The file system as a whole, and its servers one by one.
//
// Thread: the client's reactor. Buffers are borrowed until the task completes.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "base/error.h"
#include "client/backend.h"
#include "wire/messages.h"

namespace benchfs::client {

// The number of files has no table and no limit of its own: each takes memory of its server. So
// programs that look whether there is room for files are told this many, always.
inline constexpr std::uint64_t kFreeInodes = std::uint64_t{1} << 32;

struct Statfs {
  std::uint64_t total_bytes = 0;
  std::uint64_t free_bytes = 0;
  std::uint64_t inode_count = 0;
  std::uint32_t chunk_bytes = 0;
  std::uint32_t shard_count = 0;
};

class Administration {
 public:
  explicit Administration(Backend& backend) : backend_(backend) {}
  Administration(const Administration&) = delete;
  Administration& operator=(const Administration&) = delete;

  rt::CoResult<Statfs> statfs();
  // What a shard tells about itself, as a JSON object: its counters, or the requests under way
  // there, at most `limit` of them.
  rt::CoResult<std::string> shard_stats(wire::ShardId shard);
  rt::CoResult<std::string> shard_requests(wire::ShardId shard, std::uint32_t limit);
  rt::CoStatus ping(wire::ShardId shard,
                    std::span<const std::byte> data,
                    std::span<std::byte> into);
  // Changes how many clients a shard registers at a time (1 to wire::kMaxClients).
  rt::CoStatus set_capacity(wire::ShardId shard, std::uint32_t max_clients);

 private:
  rt::CoResult<std::string> section(wire::ShardId shard, wire::StatsRequest request);
  rt::Task<void> statfs_shard(wire::ShardId shard, Deadline by, Result<wire::StatfsReply>* out);

  Backend& backend_;
};

}  // namespace benchfs::client
