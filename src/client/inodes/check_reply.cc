#include "client/inodes/check_reply.h"

#include <fmt/format.h>

#include "cluster/placement.h"
#include "wire/limits.h"

namespace benchfs::client {

Status check_inode(wire::InodeId inode, std::uint32_t shard_count) {
  if (inode.home().value < shard_count) [[likely]] {
    return {};
  }
  return fail(Errc::kMalformed,
              fmt::format("a reply names inode {:#x} on shard {} of {}",
                          inode.value,
                          inode.home().value,
                          shard_count));
}

Status check_attr(const wire::Attr& attr, std::uint32_t shard_count, bool is_remote) {
  BENCHFS_TRY_VOID(check_inode(attr.id(), shard_count));
  if (is_remote) {
    return {};
  }
  if (attr.is_directory()) {
    return check_inode(wire::InodeId{attr.parent}, shard_count);
  }
  if (!attr.is_regular()) {
    return {};
  }
  bool is_placed = cluster::is_valid_layout(attr.layout) && attr.layout.width <= shard_count;
  if (is_placed && attr.size <= wire::kMaxFileBytes) [[likely]] {
    return {};
  }
  return fail(Errc::kMalformed,
              fmt::format("a reply describes inode {:#x} as {} bytes in chunks of {} on {} shards",
                          attr.inode,
                          attr.size,
                          attr.layout.chunk_bytes,
                          attr.layout.width));
}

}  // namespace benchfs::client
