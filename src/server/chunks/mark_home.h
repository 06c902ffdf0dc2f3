// What the chunk half of a shard asks of the file half of the same shard.
#pragma once

#include <cstdint>
#include <optional>

#include "base/error.h"
#include "rt/task.h"
#include "wire/ids.h"
#include "wire/messages.h"

namespace benchfs::server {

class MarkHome {
 public:
  virtual ~MarkHome() = default;
  // To be awaited before take_mark() after it answered kBusy.
  virtual rt::Task<void> prepare_mark(wire::InodeId inode) = 0;
  // The shard is about to store bytes of an inode whose home is here. ESTALE: the inode is gone.
  // kNotReady: this shard has just started and may not tell yet. kBusy: clients have the attributes
  // cached.
  virtual Result<wire::MarkReply> take_mark(wire::InodeId inode,
                                            wire::ShardId shard,
                                            std::uint64_t stamp,
                                            bool is_append) = 0;
  // The exact size of a file, if its home is here and knows it without asking other shards.
  virtual std::optional<std::uint64_t> size_now(wire::InodeId inode) = 0;
};

}  // namespace benchfs::server
