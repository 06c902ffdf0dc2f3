#include "chunk/memory_slots.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>

#include "base/check.h"

namespace benchfs::chunk {
namespace {

// Address space taken at a time: few mappings, whatever the number of chunks.
constexpr std::size_t kRegionBytes = std::size_t{1} << 30;

}  // namespace

MemorySlots::MemorySlots(const MemoryEngineConfig& config, MemoryBudget* budget)
    : budget_(budget),
      slot_bytes_(config.slot_bytes),
      limit_bytes_(config.limit_bytes),
      max_warm_bytes_(config.warm_bytes) {
  small_.is_small = true;
  large_.huge_pages = config.huge_pages;
  if (config.huge_pages) {
    large_.page_bytes = std::min<std::uint64_t>(kHugePageBytes, config.slot_bytes);
  }
}

std::uint64_t MemorySlots::cost(const MemorySlot& slot, std::uint32_t touched_end) const {
  if (touched_end == 0) {
    return 0;
  }
  std::uint64_t page = slot.is_small ? small_.page_bytes : large_.page_bytes;
  // A small slot has a page table of its own where no other slot lies in the same 2 MiB.
  std::uint64_t table = slot.is_small && slot_bytes_ >= kHugePageBytes ? kPageBytes : 0;
  return std::min<std::uint64_t>(round_up(touched_end, page) + table, slot_bytes_);
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
  std::span<std::byte> bytes(slot.data + from, slot_bytes_ - from);
  if (from == 0 && slot.is_small && slot_bytes_ % kHugePageBytes == 0) {
    Mapping::renew(bytes, small_.huge_pages);
  } else {
    BENCHFS_CHECK(madvise(bytes.data(), bytes.size(), MADV_DONTNEED) == 0);
  }
  slot.touched_end = from;
}

Result<MemorySlot*> MemorySlots::make_slot(Kind& kind) {
  if (kind.slots_left == 0) {
    std::size_t slots = std::max<std::size_t>(1, kRegionBytes / slot_bytes_);
    auto region = Mapping::create(slots * slot_bytes_, kind.huge_pages);
    if (!region) {
      return fail_errno(ENOSPC, region.error().message());
    }
    kind.regions.push_back(*std::move(region));
    kind.slots_left = slots;
  }
  std::span<std::byte> region = kind.regions.back().bytes();
  MemorySlot& slot = slots_.emplace_back();
  slot.data = region.data() + (region.size() - kind.slots_left * slot_bytes_);
  slot.is_small = kind.is_small;
  --kind.slots_left;
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
  std::uint64_t page = slot.is_small ? small_.page_bytes : large_.page_bytes;
  std::uint64_t from = round_up(end, page);
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

}  // namespace benchfs::chunk
