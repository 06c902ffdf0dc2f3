// Reading and writing chunks of shards of this node that share their memory: by the program's own
// copies (docs/wire.md, "Slots").
//
// A chunk whose place is known is read without asking anybody. A write asks for room, fills it, and
// tells that it is there: the bytes are copied once. What cannot be done in this way is left to an
// ordinary request.
//
// Nothing here lasts longer than the ordinary request that may follow: both end at `by`.
//
// Thread: the client's reactor. Buffers are borrowed until the task completes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/error.h"
#include "client/backend.h"
#include "link/link.h"
#include "wire/ids.h"

namespace benchfs::client {

class DirectIo {
 public:
  explicit DirectIo(Backend& backend) : backend_(backend) {}
  DirectIo(const DirectIo&) = delete;
  DirectIo& operator=(const DirectIo&) = delete;

  // Reads bytes of a chunk if they are all there and its place is known. False: not read.
  bool read_now(wire::ShardId shard,
                wire::ChunkKey key,
                std::uint32_t offset,
                std::span<std::byte> into);
  // The same, after it has asked for the place if that is worth while: when much is read, or the
  // chunk is read again and again.
  rt::Task<bool> read(wire::ShardId shard,
                      wire::ChunkKey key,
                      std::uint32_t offset,
                      std::span<std::byte> into,
                      Deadline by);

  // Whether a write of this length is better done by write().
  [[nodiscard]] bool may_fill(wire::ShardId shard, std::size_t length) {
    return length >= backend_.config.direct_bytes && slots_of(shard) != nullptr;
  }
  // False: not written, to be sent. Errors: the shard's. `truncation`:
  // wire::WriteChunkRequest::truncation.
  rt::CoResult<bool> write(wire::ShardId shard,
                           wire::ChunkKey key,
                           std::uint32_t offset,
                           std::span<const std::byte> from,
                           std::uint64_t truncation,
                           Deadline by);

 private:
  static constexpr std::uint8_t kReadsUntilAsked = 4;

  // What is known of a chunk; another one with the same hash takes its entry.
  struct Known {
    wire::ChunkKey key;
    std::uint64_t session = 0;  // SharedSlots::number(); 0: nothing
    std::uint64_t generation = 0;
    std::uint32_t slot = wire::kNoSlot;
    std::uint8_t reads = 0;  // while its place is not known
  };
  // One of the places for fills at a shard, while it lives.
  class Place;

  [[nodiscard]] link::SharedSlots* slots_of(wire::ShardId shard);
  Known& known(const link::SharedSlots& slots, wire::ChunkKey key);
  link::SlotRead read_known(link::SharedSlots& slots,
                            wire::ChunkKey key,
                            std::uint32_t offset,
                            std::span<std::byte> into);

  Backend& backend_;
  std::vector<Known> known_;           // empty until a shard shares its memory
  std::vector<std::uint64_t> places_;  // that are taken, a bit each, by shard
  std::uint64_t fills_ = 0;
};

}  // namespace benchfs::client
