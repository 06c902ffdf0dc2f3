// A program of the node that overwrites a chunk by itself, as long as it likes (docs/wire.md,
// "Slots").
//
// For the file's home it is a write under way: while the loan lasts the mark of this shard is not
// settled, and whoever asks for the attributes asks this shard, which looks up when the program
// last wrote. Sizes do not change under it. Whoever needs the file at rest, or the chunk's bytes
// for something else, takes the loan back without waiting for the program.
//
// Thread: the shard's.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

#include "base/check.h"
#include "base/clock.h"
#include "chunk/chunk_store.h"
#include "link/link.h"
#include "server/chunks/chunk_files.h"
#include "wire/messages.h"

namespace benchfs::server {

class WriteLoan final : public link::Loan, public ChunkFiles::Loan {
 public:
  // Store and borrower outlive it; the place is its own there.
  WriteLoan(chunk::ChunkStore& store,
            link::Borrower& borrower,
            std::uint32_t place,
            std::uint64_t number,
            ChunkFiles::Write write)
      : ChunkFiles::Loan(std::move(write)),
        store_(store),
        borrower_(borrower),
        place_(place),
        number_(number),
        before_(borrower.written_at(place)) {}
  ~WriteLoan() override { store_.end_loan(*this); }

  // The range is stored.
  [[nodiscard]] wire::BeginFillReply lend(wire::ChunkKey key,
                                          std::uint32_t offset,
                                          std::uint32_t length) {
    std::optional<chunk::SlotPlace> lent = store_.lend(key, offset, length, *this);
    BENCHFS_CHECK(lent.has_value());
    slot_ = lent->slot;
    return {.slot = lent->slot, .existing_end = lent->existing_end, .generation = lent->generation};
  }

  // Of the request that asked for it.
  [[nodiscard]] std::uint64_t number() const { return number_; }
  // Whether its program may be in a copy.
  [[nodiscard]] bool is_busy() const { return !is_over() && is_writing(slot_); }
  [[nodiscard]] bool is_writing(std::uint32_t slot) const override {
    return borrower_.is_writing(slot);
  }
  // A time that has not come yet is not believed.
  [[nodiscard]] std::int64_t written_at() const override {
    std::int64_t at = borrower_.written_at(place_);
    return at <= 0 || at == before_ ? 0 : std::min(at, wall_now_ns());
  }

 private:
  chunk::ChunkStore& store_;
  link::Borrower& borrower_;
  std::uint32_t place_;
  std::uint64_t number_;
  std::int64_t before_;  // of an earlier loan in the place
  std::uint32_t slot_ = wire::kNoSlot;
};

}  // namespace benchfs::server
