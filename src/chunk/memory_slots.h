// The storage of the memory engine's chunks: the slots of a SlotFile.
//
// A slot takes slot_bytes of address space, and memory for the pages that were touched. There are
// two kinds: small slots are for chunks that begin as a small file, so that such a file does not
// pay for the memory that a large one has left. The limit counts the touched pages of slots in use,
// and the page table of a small one. Freed slots stay mapped, the most recently freed one is used
// next; the memory of the oldest goes back to the kernel when the limit needs it, and by trim_one()
// when free slots hold more than warm_bytes.
//
// Thread: one reactor's. Slots are owned by the pool and stay where they are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "base/error.h"
#include "chunk/chunk_store.h"
#include "chunk/memory_budget.h"
#include "chunk/present_pages.h"
#include "chunk/slot_file.h"
#include "chunk/slot_loan.h"
#include "chunk/write_set.h"

namespace benchfs::chunk {

// end <= claimed_end <= touched_end. Bytes below claimed_end are committed, zero, or unsettled in
// `writes`; [claimed_end, touched_end) is stale; beyond, memory is as the kernel gave it: zero.
struct MemorySlot {
  std::byte* data = nullptr;
  std::size_t index = 0;      // in the file
  wire::SlotState published;  // as programs of the node see it
  std::uint32_t end = 0;
  std::uint32_t claimed_end = 0;
  std::uint32_t touched_end = 0;
  PresentPages present;
  std::uint32_t leases = 0;   // that point here
  std::uint32_t fillers = 0;  // of them, those of programs that may be writing here
  bool is_small = false;
  bool is_dropped = false;  // in no index any more; free when its last lease dies
  WriteSet writes;
  boost::intrusive::list<
      SlotLoan,
      boost::intrusive::member_hook<SlotLoan, SlotLoan::Hook, &SlotLoan::of_slot_>,
      boost::intrusive::constant_time_size<false>>
      loans;
};

class MemorySlots {
 public:
  // A chunk whose first write ends up to here gets a small slot.
  static constexpr std::uint32_t kSmallBytes = 64U << 10;

  // The budget is borrowed; nullptr: only the limit counts.
  MemorySlots(const MemoryEngineConfig& config, SlotFile file, MemoryBudget* budget = nullptr);

  // A slot for a chunk whose first write ends at `first_end`. Errors: ENOSPC.
  Result<MemorySlot*> allocate(std::uint32_t first_end);
  // Makes [0, end) usable. Errors: ENOSPC.
  Status touch(MemorySlot& slot, std::uint32_t end);
  // Gives back memory of whole pages beyond `end`, if no lease points at the slot.
  void shrink(MemorySlot& slot, std::uint32_t end);
  void release(MemorySlot& slot);
  // Gives the memory of one free slot back to the kernel. False: none holds more than it may. Takes
  // up to a millisecond.
  bool trim_one();
  [[nodiscard]] bool has_excess() const { return warm_bytes_ > max_warm_bytes_ || !grown_.empty(); }

  // Tells programs how much of the slot they may read by themselves.
  void publish(MemorySlot& slot);
  // The same, when bytes that they may be reading are about to become others.
  void publish_new(MemorySlot& slot);

  // Gives all memory back. No slot is used any more.
  void close();

  [[nodiscard]] const SlotFile& file() const { return file_; }
  [[nodiscard]] std::uint64_t used_bytes() const { return used_bytes_; }
  [[nodiscard]] std::uint64_t warm_bytes() const { return warm_bytes_; }

 private:
  struct Kind {
    bool is_small = false;
    std::span<std::byte> unused;    // never used slots
    std::size_t first_unused = 0;   // index of the first of them
    std::deque<MemorySlot*> warm;   // free, touched; newest last
    std::vector<MemorySlot*> cold;  // free, untouched
  };

  [[nodiscard]] std::uint64_t cost(const MemorySlot& slot, std::uint32_t touched_end) const;
  Status reserve(std::uint64_t bytes);
  // Gives memory of one free slot back to the kernel. False: there is none.
  bool cool_any();
  bool cool_oldest(Kind& kind);
  // Makes a freed small slot that had grown small again.
  bool cut_grown();
  void discard(MemorySlot& slot, std::uint32_t from);
  Result<MemorySlot*> make_slot(Kind& kind);

  void publish(MemorySlot& slot, wire::SlotState state);

  SlotFile file_;
  MemoryBudget* budget_;
  std::uint32_t slot_bytes_;
  std::uint64_t limit_bytes_;
  std::uint64_t max_warm_bytes_;
  std::uint64_t used_bytes_ = 0;  // by slots in use
  std::uint64_t warm_bytes_ = 0;  // by free slots
  Kind small_;
  Kind large_;
  std::deque<MemorySlot*> grown_;  // free small slots with more memory than a small file needs
  std::deque<MemorySlot> slots_;
};

}  // namespace benchfs::chunk
