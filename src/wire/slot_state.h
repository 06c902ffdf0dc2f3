// What a chunk shard publishes of the slots of its memory, for programs of its node that map them
// (docs/wire.md, "Slots").
//
// Slot i lies at [i * chunk size, (i + 1) * chunk size) of the slot file, its state at
// i * kSlotStateBytes of the state file. The state is one word: how many bytes from the slot's
// beginning may be read without asking, and the slot's generation. The generation changes before
// the slot's bytes become another chunk's, or are cut: who reads the same generation after a copy
// as before it has copied bytes of the chunk. It changes as well before a program that overwrites
// bytes by itself (a write loan) must no longer do so.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "wire/limits.h"

namespace benchfs::wire {

struct SlotState {
  static constexpr unsigned kEndBits = 28;
  static constexpr std::uint64_t kMaxGeneration = (std::uint64_t{1} << (64 - kEndBits)) - 1;

  std::uint64_t generation = 0;
  std::uint32_t end = 0;  // of what may be read

  [[nodiscard]] constexpr std::uint64_t word() const { return generation << kEndBits | end; }
  static constexpr SlotState of(std::uint64_t word) {
    return {.generation = word >> kEndBits,
            .end = static_cast<std::uint32_t>(word & ((std::uint64_t{1} << kEndBits) - 1))};
  }
};
static_assert(kMaxChunkBytes < std::uint64_t{1} << SlotState::kEndBits);

using SlotWord = std::atomic<std::uint64_t>;
static_assert(SlotWord::is_always_lock_free && sizeof(SlotWord) == 8);

// A cache line each: another slot's writer disturbs no reader.
inline constexpr std::size_t kSlotStateBytes = 64;
// Slots that are published; those beyond are reached by requests only.
inline constexpr std::uint32_t kMaxPublishedSlots = 1U << 20;
// Fills that a program has under way at one shard.
inline constexpr std::uint32_t kMaxLoans = 64;
// Chunks of one shard that a program may overwrite by itself at a time.
inline constexpr std::uint32_t kMaxWriteLoans = 1024;
// Threads of a program that copy at the same time.
inline constexpr std::uint32_t kMaxCopiers = 63;
inline constexpr std::size_t kSlotStatesBytes = kSlotStateBytes * kMaxPublishedSlots;

}  // namespace benchfs::wire
