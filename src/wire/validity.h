// Words by which a program of a daemon's node knows whether a directory entry that it has cached is
// still valid: nobody has to tell it, and it has to acknowledge nothing (docs/wire.md, "Validity
// words").
//
// They lie in memory that programs map read-only. A program asks for an entry and keeps the answer
// with the entry's word, which it reads then, unless the epoch has changed since before it asked;
// it uses the answer while the word is the same and the entry's lease lasts.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "wire/entry_key.h"

namespace benchfs::wire {

// Entries share them, so that one change does not end everything that a program knows.
inline constexpr std::size_t kValidityWords = 1024;

struct ValidityWords {
  std::atomic<std::uint64_t> epoch;  // grows before and after each change of a word
  alignas(64) std::atomic<std::uint32_t> words[kValidityWords];

  // Before it is answered to anybody that the entry has changed. One thread.
  void invalidate(std::uint32_t index) {
    epoch.fetch_add(1, std::memory_order_seq_cst);  // who sees the new word sees this
    words[index].fetch_add(1, std::memory_order_seq_cst);
    epoch.fetch_add(1, std::memory_order_seq_cst);
  }
};
static_assert(std::atomic<std::uint32_t>::is_always_lock_free);

inline std::uint32_t validity_word_of(EntryRef entry) {
  return static_cast<std::uint32_t>(EntryKeyHash()(entry) % kValidityWords);
}

}  // namespace benchfs::wire
