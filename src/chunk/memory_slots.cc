#include "chunk/memory_slots.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cerrno>

#include "base/check.h"
#include "chunk/mapping.h"

namespace benchfs::chunk {
namespace {

// Address space taken at a time: few mappings, whatever the number of chunks.
constexpr std::size_t kRegionBytes = std::size_t{1} << 30;

}  // namespace

MemorySlots::MemorySlots(const MemoryEngineConfig& config, SlotFile file, MemoryBudget* budget)
    : file_(std::move(file)),
      budget_(budget),
      slot_bytes_(config.slot_bytes),
      limit_bytes_(config.limit_bytes),
      max_warm_bytes_(config.warm_bytes) {
  small_.is_small = true;
}

std::uint64_t MemorySlots::cost(const MemorySlot& slot, std::uint32_t touched_end) const {
  if (touched_end == 0) {
    return 0;
  }
  // A small slot has a page table of its own where no other slot lies in the same 2 MiB.
  std::uint64_t table = slot.is_small && slot_bytes_ >= kHugePageBytes ? kPageBytes : 0;
  return std::min<std::uint64_t>(round_up(touched_end, kPageBytes) + table, slot_bytes_);
}

Status MemorySlots::reserve(std::uint64_t bytes) {
  if (used_bytes_ + bytes > limit_bytes_) {
    return fail_errno(
        ENOSPC,
        fmt::format("{} of {} bytes of chunk memory are in use (storage.memory_bytes)",
                    used_bytes_,
                    limit_bytes_));
  }
  while (used_bytes_ + warm_bytes_ + bytes > limit_bytes_ && cool_any()) {
  }
  if (budget_ != nullptr) {
    Status granted = budget_->take(bytes);
    while (!granted && cool_any()) {  // free slots hold memory that serves as well
      granted = budget_->take(bytes);
    }
    BENCHFS_TRY_VOID(std::move(granted));
  }
  used_bytes_ += bytes;
  return {};
}

bool MemorySlots::cool_any() {
  return cut_grown() || cool_oldest(large_) || cool_oldest(small_);
}

bool MemorySlots::cool_oldest(Kind& kind) {
  if (kind.warm.empty()) {
    return false;
  }
  MemorySlot* slot = kind.warm.front();
  kind.warm.pop_front();
  kind.cold.push_back(slot);
  warm_bytes_ -= cost(*slot, slot->touched_end);
  discard(*slot, 0);
  return true;
}

bool MemorySlots::cut_grown() {
  if (grown_.empty()) {
    return false;
  }
  MemorySlot* slot = grown_.back();
  grown_.pop_back();
  warm_bytes_ -= cost(*slot, slot->touched_end);
  discard(*slot, kSmallBytes);
  warm_bytes_ += cost(*slot, slot->touched_end);
  small_.warm.push_back(slot);
  return true;
}

void MemorySlots::discard(MemorySlot& slot, std::uint32_t from) {
  if (from < slot_bytes_) {
    SlotFile::punch({slot.data + from, slot_bytes_ - from});
  }
  if (from == 0 && slot.is_small && slot_bytes_ % kHugePageBytes == 0) {
    file_.renew({slot.data, slot_bytes_}, slot.index);
  }
  slot.touched_end = from;
  slot.present.cut(from);
}

Result<MemorySlot*> MemorySlots::make_slot(Kind& kind) {
  if (kind.unused.empty()) {
    kind.first_unused = file_.slots();
    auto region = file_.grow(std::max<std::size_t>(1, kRegionBytes / slot_bytes_));
    if (!region) {
      return fail_errno(ENOSPC, region.error().message());
    }
    kind.unused = *region;
  }
  MemorySlot& slot = slots_.emplace_back();
  slot.data = kind.unused.data();
  slot.index = kind.first_unused++;
  slot.is_small = kind.is_small;
  kind.unused = kind.unused.subspan(slot_bytes_);
  return &slot;
}

Result<MemorySlot*> MemorySlots::allocate(std::uint32_t first_end) {
  Kind& kind = first_end <= kSmallBytes ? small_ : large_;
  if (kind.is_small && kind.warm.empty()) {
    cut_grown();
  }
  if (!kind.warm.empty()) {
    MemorySlot* slot = kind.warm.back();
    std::uint64_t bytes = cost(*slot, slot->touched_end);
    kind.warm.pop_back();
    warm_bytes_ -= bytes;
    if (used_bytes_ + bytes <= limit_bytes_) {
      used_bytes_ += bytes;
    } else {
      discard(*slot, 0);
    }
    return slot;
  }
  if (!kind.cold.empty()) {
    MemorySlot* slot = kind.cold.back();
    kind.cold.pop_back();
    return slot;
  }
  return make_slot(kind);
}

Status MemorySlots::touch(MemorySlot& slot, std::uint32_t end) {
  if (end <= slot.touched_end) {
    return {};
  }
  std::uint64_t more = cost(slot, end) - cost(slot, slot.touched_end);
  if (more > 0) {
    BENCHFS_TRY_VOID(reserve(more));
  }
  if (Status backed = file_.back(slot.index, end); !backed) {
    used_bytes_ -= more;
    return fail_errno(ENOSPC, backed.error().message());
  }
  slot.touched_end = end;
  return {};
}

void MemorySlots::release(MemorySlot& slot) {
  BENCHFS_DCHECK(slot.leases == 0 && slot.writes.empty());
  used_bytes_ -= cost(slot, slot.touched_end);
  slot.end = 0;
  slot.claimed_end = 0;
  slot.is_dropped = false;
  Kind& kind = slot.is_small ? small_ : large_;
  if (slot.touched_end == 0) {
    kind.cold.push_back(&slot);
    return;
  }
  // A small slot that has grown would make the next small file pay for all of it.
  bool has_grown = slot.is_small && slot.touched_end > kSmallBytes;
  (has_grown ? grown_ : kind.warm).push_back(&slot);
  warm_bytes_ += cost(slot, slot.touched_end);
}

void MemorySlots::shrink(MemorySlot& slot, std::uint32_t end) {
  std::uint64_t from = round_up(end, kPageBytes);
  if (slot.leases > 0 || from >= slot.touched_end) {
    return;
  }
  used_bytes_ -= cost(slot, slot.touched_end);
  discard(slot, static_cast<std::uint32_t>(from));
  used_bytes_ += cost(slot, slot.touched_end);
}

bool MemorySlots::trim_one() {
  return cut_grown() ||
         (warm_bytes_ > max_warm_bytes_ && (cool_oldest(large_) || cool_oldest(small_)));
}

void MemorySlots::close() {
  for (MemorySlot& slot : slots_) {
    slot.end = 0;
    publish_new(slot);
  }
  file_.punch_all();
}

// Up to the first byte whose write has not ended, and to the first page that does not exist.
void MemorySlots::publish(MemorySlot& slot) {
  std::uint32_t end = slot.is_dropped ? 0 : std::min(slot.end, slot.present.end());
  for (Range range : slot.writes.unsettled()) {
    end = std::min(end, range.begin);
  }
  publish(slot, {.generation = slot.published.generation, .end = end});
}

void MemorySlots::publish_new(MemorySlot& slot) {
  // A generation that comes again could be taken for an old one.
  if (slot.published.generation < wire::SlotState::kMaxGeneration) {
    ++slot.published.generation;
  }
  publish(slot);
  // Nobody reads bytes that are changed after this under the old generation.
  std::atomic_thread_fence(std::memory_order_seq_cst);
}

void MemorySlots::publish(MemorySlot& slot, wire::SlotState state) {
  slot.published = state;
  if (state.generation == wire::SlotState::kMaxGeneration) {
    state.end = 0;
  }
  if (wire::SlotWord* word = file_.state(slot.index); word != nullptr) {
    word->store(state.word(), std::memory_order_release);
  }
}

}  // namespace benchfs::chunk
