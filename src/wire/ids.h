// Strong types for the identifiers that travel.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>

#include "base/hash.h"

namespace benchfs::wire {

// Index of a shard in the complete server list (natural order of the node ids).
struct ShardId {
  std::uint32_t value = 0;
  friend auto operator<=>(const ShardId&, const ShardId&) = default;
};

// An inode number: the shard that made it, and a counter of that shard that never repeats.
// The inode lives on that shard for ever. 0 is no inode; the root is counter 1 of shard 0.
struct InodeId {
  std::uint64_t value = 0;

  static constexpr int kCounterBits = 48;
  static constexpr InodeId make(ShardId home, std::uint64_t counter) {
    return InodeId{(std::uint64_t{home.value} << kCounterBits) | counter};
  }
  [[nodiscard]] constexpr ShardId home() const {
    return ShardId{static_cast<std::uint32_t>(value >> kCounterBits)};
  }
  [[nodiscard]] constexpr std::uint64_t counter() const {
    return value & ((std::uint64_t{1} << kCounterBits) - 1);
  }
  [[nodiscard]] constexpr bool is_valid() const { return value != 0; }
  friend auto operator<=>(const InodeId&, const InodeId&) = default;
};

inline constexpr InodeId kRootInode = InodeId::make(ShardId{0}, 1);

// One chunk of one file. Index 0 holds the first chunk_bytes bytes.
struct ChunkKey {
  InodeId inode;
  std::uint64_t index = 0;
  friend auto operator<=>(const ChunkKey&, const ChunkKey&) = default;
};

// A registration at one server: slot of its registry in the low 24 bits, unpredictable generation
// above. 0 is no session.
struct SessionId {
  std::uint64_t value = 0;
  static constexpr int kSlotBits = 24;
  static constexpr SessionId make(std::uint32_t slot, std::uint64_t generation) {
    return SessionId{(generation << kSlotBits) | slot};
  }
  [[nodiscard]] constexpr std::uint32_t slot() const {
    return static_cast<std::uint32_t>(value & ((1U << kSlotBits) - 1));
  }
  [[nodiscard]] constexpr bool is_valid() const { return value != 0; }
  friend auto operator<=>(const SessionId&, const SessionId&) = default;
};

// A request of one client: its window slot in the low 8 bits, the shard it was sent to in the next
// 12 (a reply does not say where it came from), a sequence of the client above. Never repeats.
struct RequestId {
  std::uint64_t value = 0;
  static constexpr int kSlotBits = 8;
  static constexpr int kShardBits = 12;
  static constexpr RequestId make(std::uint32_t slot, ShardId shard, std::uint64_t sequence) {
    return RequestId{(sequence << (kSlotBits + kShardBits)) |
                     (std::uint64_t{shard.value} << kSlotBits) | slot};
  }
  [[nodiscard]] constexpr std::uint32_t slot() const {
    return static_cast<std::uint32_t>(value & ((1U << kSlotBits) - 1));
  }
  [[nodiscard]] constexpr ShardId shard() const {
    return ShardId{static_cast<std::uint32_t>((value >> kSlotBits) & ((1U << kShardBits) - 1))};
  }
  [[nodiscard]] constexpr std::uint64_t sequence() const {
    return value >> (kSlotBits + kShardBits);
  }
  friend auto operator<=>(const RequestId&, const RequestId&) = default;
};

}  // namespace benchfs::wire

template <>
struct std::hash<benchfs::wire::InodeId> {
  std::size_t operator()(benchfs::wire::InodeId id) const noexcept {
    return benchfs::mix64(id.value);
  }
};
template <>
struct std::hash<benchfs::wire::ChunkKey> {
  std::size_t operator()(const benchfs::wire::ChunkKey& key) const noexcept {
    return benchfs::mix64(benchfs::mix64(key.inode.value) ^ key.index);
  }
};
