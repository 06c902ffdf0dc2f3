// Returns dropped slots of the file engine to the free list, in the background.
//
// A dropped slot is owed: the puncher waits for the I/O that is still under way in it, punches its
// bytes out of the segment file, so that the disk has the space back and the slot reads as zeros,
// and releases it. It gathers slots for a moment, because neighbours are punched together, and what
// frees many files is not disturbed by as many punches. Only a writer that finds the disk or the
// segments full waits for this, and then nothing is gathered. The list is bounded by the number of
// slots that exist.
//
// Thread: one reactor's. stop() before the segments close.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "chunk/segment_io.h"
#include "chunk/segments.h"
#include "rt/scope.h"
#include "rt/sync.h"

namespace benchfs::chunk {

class SlotPuncher {
 public:
  SlotPuncher(Segments& segments, SegmentIo& io) : segments_(segments), io_(io) {}

  // Frees a slot that has just left the index.
  void free_later(FileSlot& slot);
  // Suspends until the slots that wait for nothing but their punch are free. False, without
  // suspending, when there are none.
  rt::Task<bool> catch_up();
  // Gives up what is still owed and waits for the punch under way.
  rt::Task<void> stop();

  // Zeroes [slot.end, slot.dirty_end) and gives its space back. Needs exclusive access.
  rt::CoStatus scrub(FileSlot& slot);

  // Zeroes [begin, end) of a chunk and gives its space back. Needs exclusive access.
  rt::CoStatus punch(FileSlot& slot, std::uint32_t begin, std::uint32_t end);

  // Space that is on its way back to the file system.
  [[nodiscard]] std::uint64_t owed_bytes() const { return owed_bytes_; }
  // Slots freed since the start.
  [[nodiscard]] std::uint64_t slots_freed() const { return slots_freed_; }

 private:
  // Waits for the I/O under way in the slot, of which `counted` bytes are in owed_bytes_.
  rt::Task<void> wait_for_io(FileSlot* slot, std::uint32_t counted);
  // Punches until no slot is idle.
  rt::Task<void> punch_all();
  // Punches neighbouring slots of one segment.
  rt::Task<void> punch_run(std::span<FileSlot* const> run);
  void add_idle(FileSlot& slot);

  Segments& segments_;
  SegmentIo& io_;
  rt::Scope scope_;
  std::vector<FileSlot*> idle_;  // owed, without I/O under way
  bool is_punching_ = false;
  bool is_stopped_ = false;
  bool can_punch_ = true;
  std::uint64_t owed_bytes_ = 0;
  std::uint64_t slots_idle_ = 0;   // added to idle_ since the start
  std::uint64_t slots_freed_ = 0;  // released, or lost
  std::uint32_t waiters_ = 0;      // for progress
  rt::WaitQueue progress_;
  rt::WaitQueue hurry_;  // ends the gathering
};

}  // namespace benchfs::chunk
