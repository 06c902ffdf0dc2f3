#include "cluster/placement.h"

#include <algorithm>
#include <bit>

#include "base/check.h"
#include "base/hash.h"
#include "wire/limits.h"

namespace benchfs::cluster {

wire::ShardId entry_shard(wire::InodeId parent, std::string_view name, std::uint32_t shard_count) {
  BENCHFS_DCHECK(shard_count > 0);
  if (shard_count == 1) {
    return {};
  }
  return wire::ShardId{scale_hash(hash_text(name, mix64(parent.value)), shard_count)};
}

bool is_valid_layout(const wire::Layout& layout) {
  return std::has_single_bit(layout.chunk_bytes) && layout.chunk_bytes >= wire::kMinChunkBytes &&
         layout.chunk_bytes <= wire::kMaxChunkBytes && layout.width > 0 &&
         layout.width <= wire::kMaxShards && layout.first_shard < layout.width;
}

wire::Layout make_layout(wire::ShardId home, std::uint32_t shard_count, std::uint32_t chunk_bytes) {
  BENCHFS_CHECK(shard_count <= wire::kMaxShards && home.value < shard_count);
  wire::Layout layout{
      chunk_bytes, static_cast<std::uint16_t>(home.value), static_cast<std::uint16_t>(shard_count)};
  BENCHFS_CHECK(is_valid_layout(layout));
  return layout;
}

ChunkSpans::ChunkSpans(const wire::Layout& layout,
                       std::uint64_t offset,
                       std::uint64_t length,
                       std::uint32_t max_bytes)
    : chunk_bytes_(layout.chunk_bytes),
      max_bytes_(max_bytes),
      offset_(offset),
      end_(offset + length) {
  BENCHFS_CHECK(is_valid_layout(layout) && max_bytes > 0);
  BENCHFS_CHECK(offset <= wire::kMaxFileBytes && length <= wire::kMaxFileBytes - offset);
}

ChunkSpans::Iterator::Iterator(std::uint32_t chunk_bytes,
                               std::uint32_t max_bytes,
                               std::uint64_t begin,
                               std::uint64_t end)
    : chunk_bytes_(chunk_bytes), max_bytes_(max_bytes), end_(end) {
  move_to(begin);
}

void ChunkSpans::Iterator::move_to(std::uint64_t file_offset) {
  auto in_chunk = static_cast<std::uint32_t>(file_offset & (chunk_bytes_ - 1));
  std::uint32_t to_cut = std::min(max_bytes_ - in_chunk % max_bytes_, chunk_bytes_ - in_chunk);
  span_.index = file_offset / chunk_bytes_;
  span_.offset = in_chunk;
  span_.length = static_cast<std::uint32_t>(std::min<std::uint64_t>(to_cut, end_ - file_offset));
  span_.file_offset = file_offset;
}

}  // namespace benchfs::cluster
