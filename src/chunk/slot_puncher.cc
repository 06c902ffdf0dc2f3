#include "chunk/slot_puncher.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/log.h"

namespace benchfs::chunk {
namespace {

// A thousand times as long as an unlink takes. Writers that need the space end it.
constexpr Nanos kGather = std::chrono::milliseconds(2);

}  // namespace

void SlotPuncher::free_later(FileSlot& slot) {
  slot.is_dropped = true;
  owed_bytes_ += slot.dirty_end;
  if (slot.guard.is_idle()) {
    add_idle(slot);
  } else {
    scope_.spawn(wait_for_io(&slot, slot.dirty_end));
  }
}

void SlotPuncher::add_idle(FileSlot& slot) {
  idle_.push_back(&slot);
  ++slots_idle_;
  if (!is_punching_) {
    is_punching_ = true;
    scope_.spawn(punch_all());
  }
}

rt::Task<void> SlotPuncher::wait_for_io(FileSlot* slot, std::uint32_t counted) {
  while (!slot->guard.is_idle()) {
    SlotGuard::Hold hold = co_await slot->guard.enter(Access::kExclusive);
  }
  owed_bytes_ -= counted - slot->dirty_end;  // a truncation may have punched the tail meanwhile
  add_idle(*slot);
}

rt::Task<void> SlotPuncher::punch_all() {
  while (!idle_.empty() && !is_stopped_) {
    if (waiters_ == 0) {
      (void)co_await hurry_.wait(Deadline::after(kGather));
    }
    std::vector<FileSlot*> slots = std::exchange(idle_, {});
    std::ranges::sort(slots, {}, [](const FileSlot* slot) {
      return std::pair(slot->segment->number, slot->index);
    });
    for (std::size_t begin = 0; begin < slots.size() && !is_stopped_;) {
      std::size_t end = begin + 1;
      while (end < slots.size() && slots[end]->segment == slots[begin]->segment &&
             slots[end]->index == slots[end - 1]->index + 1) {
        ++end;
      }
      co_await punch_run(std::span(slots).subspan(begin, end - begin));
      begin = end;
    }
  }
  is_punching_ = false;
}

rt::Task<void> SlotPuncher::punch_run(std::span<FileSlot* const> run) {
  std::uint64_t bytes = 0;
  for (const FileSlot* slot : run) {
    bytes += slot->dirty_end;
  }
  if (can_punch_ && bytes > 0) {
    // Whole slots: a hole that ends inside a block would leave the block allocated.
    Status punched = co_await io_.punch(run.front()->segment->buffered,
                                        segments_.offset_of(*run.front()),
                                        run.size() * segments_.slot_bytes());
    can_punch_ = punched || punched.error().posix != EOPNOTSUPP;
    for (FileSlot* slot : run) {
      if (punched) {
        slot->dirty_end = 0;
      } else if (can_punch_) {
        slot->is_failed = true;  // never used again: it would show old bytes
      }
    }
    if (!punched && can_punch_) {
      BENCHFS_LOG(kError, "{} slots are lost: {}", run.size(), punched.error().message());
    }
  }
  owed_bytes_ -= bytes;
  slots_freed_ += run.size();
  for (FileSlot* slot : run) {
    segments_.release(*slot);
  }
  progress_.wake_all();
}

rt::Task<bool> SlotPuncher::catch_up() {
  std::uint64_t target = slots_idle_;
  if (slots_freed_ == target || is_stopped_) {
    co_return false;
  }
  ++waiters_;
  hurry_.wake_all();
  while (slots_freed_ < target && !is_stopped_) {
    (void)co_await progress_.wait(Deadline::never());
  }
  --waiters_;
  co_return true;
}

rt::CoStatus SlotPuncher::scrub(FileSlot& slot) {
  if (slot.dirty_end <= slot.end) {
    co_return Status{};
  }
  const std::uint32_t end = slot.end;  // another truncation may lower it while this one punches
  std::uint64_t begin = segments_.offset_of(slot) + end;
  IoTarget target = slot.segment->buffered;
  if (can_punch_) {
    // Punch to the end of the slot: a hole that ends inside a block would leave the block
    // allocated.
    Status punched = co_await io_.punch(target, begin, segments_.slot_bytes() - end);
    can_punch_ = punched || punched.error().posix != EOPNOTSUPP;
    if (can_punch_) {
      BENCHFS_CO_TRY_VOID(std::move(punched));
    }
  }
  if (!can_punch_) {
    BENCHFS_CO_TRY_VOID(co_await io_.write_zeros(target, begin, slot.dirty_end - end));
    slot.is_cached = true;
  }
  slot.dirty_end = end;
  co_return Status{};
}

rt::CoStatus SlotPuncher::punch(FileSlot& slot, std::uint32_t begin, std::uint32_t end) {
  std::uint64_t at = segments_.offset_of(slot) + begin;
  IoTarget target = slot.segment->buffered;
  if (can_punch_) {
    Status punched = co_await io_.punch(target, at, end - begin);
    can_punch_ = punched || punched.error().posix != EOPNOTSUPP;
    if (can_punch_) {
      co_return punched;
    }
  }
  Status written = co_await io_.write_zeros(target, at, end - begin);
  slot.is_cached = true;
  co_return written;
}

rt::Task<void> SlotPuncher::stop() {
  is_stopped_ = true;
  hurry_.wake_all();
  progress_.wake_all();
  scope_.close();
  co_await scope_.join();
}

}  // namespace benchfs::chunk
