// Where things live. Every client and server computes the same answer from the same list.
//
// Directory entries are spread by hash of (parent, name). The chunks of a file go round the shards
// from its inode's home, so that chunk 0 and the inode are together and the balance is exact.
// The functions are frozen: a file system written with others could not be read. Pure, any thread.
#pragma once

#include <cstdint>
#include <iterator>
#include <string_view>

#include "wire/attr.h"
#include "wire/ids.h"

namespace benchfs::cluster {

// Maps a hash uniformly to [0, count) by multiplication: takes the high bits, needs no division.
constexpr std::uint32_t scale_hash(std::uint64_t hash, std::uint32_t count) {
  using Wide = unsigned __int128;
  return static_cast<std::uint32_t>((Wide{hash} * count) >> 64);
}

// The shard of the entry `name` in directory `parent`. shard_count > 0.
wire::ShardId entry_shard(wire::InodeId parent, std::string_view name, std::uint32_t shard_count);

// False for a layout that no file can have; check layouts that come from a peer before use.
bool is_valid_layout(const wire::Layout& layout);

// The layout of a new file whose inode lives on `home`. chunk_bytes is a power of two within
// wire::kMinChunkBytes and wire::kMaxChunkBytes; home < shard_count <= wire::kMaxShards.
wire::Layout make_layout(wire::ShardId home, std::uint32_t shard_count, std::uint32_t chunk_bytes);

// The shard of chunk `index`. The layout is valid.
inline wire::ShardId chunk_shard(const wire::Layout& layout, std::uint64_t index) {
  std::uint64_t count = layout.first_shard + index;
  std::uint64_t width = layout.width;
  bool is_power_of_2 = (width & (width - 1)) == 0;  // mostly; a division takes as long as the rest
  return wire::ShardId{
      static_cast<std::uint32_t>(is_power_of_2 ? count & (width - 1) : count % width)};
}

// The shards that a file of `size` bytes may have chunks on, in the order of its chunks: the home
// first, each once. UINT64_MAX gives all shards of the layout. For range-for; the layout is valid.
class LayoutShards {
 public:
  LayoutShards(const wire::Layout& layout, std::uint64_t size)
      : layout_(layout), count_(count(layout, size)) {}

  class Iterator {
   public:
    using value_type = wire::ShardId;
    using difference_type = std::ptrdiff_t;
    Iterator(const wire::Layout& layout, std::uint32_t index) : layout_(layout), index_(index) {}
    wire::ShardId operator*() const { return chunk_shard(layout_, index_); }
    Iterator& operator++() {
      ++index_;
      return *this;
    }
    void operator++(int) { ++*this; }
    friend bool operator==(const Iterator& a, const Iterator& b) { return a.index_ == b.index_; }

   private:
    wire::Layout layout_;
    std::uint32_t index_;
  };
  [[nodiscard]] Iterator begin() const { return {layout_, 0}; }
  [[nodiscard]] Iterator end() const { return {layout_, count_}; }
  [[nodiscard]] std::uint32_t size() const { return count_; }

 private:
  static std::uint32_t count(const wire::Layout& layout, std::uint64_t size) {
    std::uint64_t chunks = size / layout.chunk_bytes + (size % layout.chunk_bytes != 0 ? 1 : 0);
    return static_cast<std::uint32_t>(chunks < layout.width ? chunks : layout.width);
  }
  wire::Layout layout_;
  std::uint32_t count_;
};

// A piece of one chunk.
struct ChunkSpan {
  std::uint64_t index = 0;        // of the chunk
  std::uint32_t offset = 0;       // bytes from the start of the chunk
  std::uint32_t length = 0;       // bytes, > 0
  std::uint64_t file_offset = 0;  // bytes from the start of the file
  friend bool operator==(const ChunkSpan&, const ChunkSpan&) = default;
};

// The byte range [offset, offset + length) of a file, cut at chunk boundaries and, inside a chunk,
// at multiples of max_bytes: only the first and the last piece can be unaligned.
// Range-for gives the spans in order of offset; nothing is allocated. length 0 gives none.
// The layout is valid, the range ends at or below wire::kMaxFileBytes, max_bytes > 0.
class ChunkSpans {
 public:
  ChunkSpans(const wire::Layout& layout,
             std::uint64_t offset,
             std::uint64_t length,
             std::uint32_t max_bytes);

  class Iterator {
   public:
    using value_type = ChunkSpan;
    using difference_type = std::ptrdiff_t;

    Iterator(std::uint32_t chunk_bytes,
             std::uint32_t max_bytes,
             std::uint64_t begin,
             std::uint64_t end);
    const ChunkSpan& operator*() const { return span_; }
    const ChunkSpan* operator->() const { return &span_; }
    Iterator& operator++() {
      move_to(span_.file_offset + span_.length);
      return *this;
    }
    void operator++(int) { ++*this; }
    friend bool operator==(const Iterator& it, std::default_sentinel_t) {
      return it.span_.length == 0;
    }

   private:
    void move_to(std::uint64_t file_offset);

    std::uint32_t chunk_bytes_;
    std::uint32_t max_bytes_;
    std::uint64_t end_;
    ChunkSpan span_;
  };

  [[nodiscard]] Iterator begin() const { return {chunk_bytes_, max_bytes_, offset_, end_}; }
  [[nodiscard]] std::default_sentinel_t end() const { return {}; }

 private:
  std::uint32_t chunk_bytes_;
  std::uint32_t max_bytes_;
  std::uint64_t offset_;
  std::uint64_t end_;
};

}  // namespace benchfs::cluster
