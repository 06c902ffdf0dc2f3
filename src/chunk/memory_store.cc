#include "chunk/memory_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>

#include "base/backoff.h"
#include "base/check.h"
#include "base/log.h"
#include "base/random.h"

namespace benchfs::chunk {
namespace {

// Between looks at programs that were in a copy when their loan was taken back.
constexpr Nanos kFirstLook = std::chrono::milliseconds(1);
constexpr Nanos kLongestPause = std::chrono::seconds(1);

// Copies `range` but for the bytes of writes that have not committed: they are zeros.
void copy_settled(const MemorySlot& slot, Range range, std::byte* into) {
  std::memcpy(into, slot.data + range.begin, range.end - range.begin);
  for (Range hole : slot.writes.unsettled()) {
    Range common{std::max(hole.begin, range.begin), std::min(hole.end, range.end)};
    if (!common.empty()) {
      std::memset(into + (common.begin - range.begin), 0, common.end - common.begin);
    }
  }
}

}  // namespace

MemoryStore::MemoryStore(const MemoryEngineConfig& config, SlotFile file, MemoryGauge gauge)
    : config_(config),
      budget_(std::move(gauge)),
      slots_(config, std::move(file), &budget_),
      device_id_(random_id()) {}

MemoryStore::~MemoryStore() {
  BENCHFS_CHECK(leases_ == 0);
}

rt::CoResult<ReadLease> MemoryStore::read(
    wire::ChunkKey key, std::uint32_t offset, std::uint32_t length, Deadline, WaitObserver*) {
  if (is_closed_) {
    co_return fail(Errc::kNotReady, "the chunk store is closed");
  }
  if (length > config_.slot_bytes) {
    co_return fail_errno(EINVAL, fmt::format("a chunk read of {} bytes", length));
  }
  ReadLease lease;
  MemorySlot* slot = index_.find(key);
  if (slot == nullptr || offset >= slot->end || length == 0) {
    co_return lease;
  }
  Range range{offset, offset + std::min(length, slot->end - offset)};
  if (slot->writes.is_unsettled(range)) [[unlikely]] {
    lease.copy_ = std::make_unique_for_overwrite<std::byte[]>(range.end - range.begin);
    copy_settled(*slot, range, lease.copy_.get());
    lease.bytes_ = {lease.copy_.get(), range.end - range.begin};
    co_return lease;
  }
  lease.bytes_ = {slot->data + range.begin, range.end - range.begin};
  lease.owner_ = this;
  lease.slot_ = slot;
  ++slot->leases;
  ++leases_;
  co_return lease;
}

rt::CoResult<WriteLease> MemoryStore::begin_write(wire::ChunkKey key,
                                                  std::uint32_t offset,
                                                  std::uint32_t length,
                                                  Deadline deadline,
                                                  WaitObserver*) {
  if (length == 0 || offset > config_.slot_bytes || length > config_.slot_bytes - offset) {
    co_return fail_errno(EINVAL, fmt::format("a chunk write of {} bytes at {}", length, offset));
  }
  Range range{offset, offset + length};
  while (!is_closed_) {
    MemorySlot* slot = index_.find(key);
    if (slot != nullptr &&
        slot->writes.is_blocked({std::min(offset, slot->claimed_end), range.end})) [[unlikely]] {
      look_at_late();
      if (!slot->writes.is_blocked({std::min(offset, slot->claimed_end), range.end})) {
        continue;
      }
      rt::Wake wake = co_await write_ended_.wait(deadline);
      BENCHFS_CO_TRY_VOID(
          rt::wake_status(wake, "waiting for a write from before a truncation to end"));
      continue;
    }
    co_return lease_for_write(key, slot, range);
  }
  co_return fail(Errc::kNotReady, "the chunk store is closed");
}

Result<WriteLease> MemoryStore::lease_for_write(wire::ChunkKey key, MemorySlot* slot, Range range) {
  bool is_new = slot == nullptr;
  if (is_new) {
    BENCHFS_TRY(slot, slots_.allocate(range.end));
  }
  std::uint32_t stale_end = slot->touched_end;
  if (Status touched = slots_.touch(*slot, range.end); !touched) {
    if (is_new) {
      slots_.release(*slot);
    }
    if (std::has_single_bit(++refusals_)) {
      BENCHFS_LOG(kWarn, "{} writes refused: {}", refusals_, touched.error().message());
    }
    return std::unexpected(std::move(touched).error());
  }
  if (is_new) {
    index_.insert(key, slot);
  }
  std::uint32_t gap_end = std::min(range.begin, stale_end);
  if (gap_end > slot->claimed_end) {
    std::memset(slot->data + slot->claimed_end, 0, gap_end - slot->claimed_end);
    slot->present.add({slot->claimed_end, gap_end});
  }
  WriteLease lease;
  lease.write_id_ = slot->writes.open(range, slot->end);
  lease.existing_end_ = slot->present.end();
  slot->claimed_end = std::max(slot->claimed_end, range.end);
  lease.bytes_ = {slot->data + range.begin, range.end - range.begin};
  lease.owner_ = this;
  lease.key_ = key;
  lease.slot_ = slot;
  ++slot->leases;
  ++leases_;
  return lease;
}

// --- Programs of the node ------------------------------------------------------------------------

std::optional<SlotPlace> MemoryStore::locate(wire::ChunkKey key) const {
  const MemorySlot* slot = index_.find(key);
  if (slot == nullptr || slot->end == 0 || slot->index >= wire::kMaxPublishedSlots) {
    return {};
  }
  return SlotPlace{.slot = static_cast<std::uint32_t>(slot->index),
                   .generation = slot->published.generation,
                   .existing_end = slot->present.end(),
                   .stored_end = slot->published.end};
}

std::optional<SlotPlace> MemoryStore::hand_out(WriteLease& lease) {
  BENCHFS_CHECK(lease.owner_ == this && !lease.is_handed_out_);
  MemorySlot& slot = *lease.slot_;
  if (slot.index >= wire::kMaxPublishedSlots) {
    return {};
  }
  lease.is_handed_out_ = true;
  ++slot.fillers;
  return SlotPlace{.slot = static_cast<std::uint32_t>(slot.index),
                   .generation = slot.published.generation,
                   .existing_end = lease.existing_end_};
}

std::optional<SlotPlace> MemoryStore::lend(wire::ChunkKey key,
                                           std::uint32_t offset,
                                           std::uint32_t length,
                                           SlotLoan& loan) {
  BENCHFS_CHECK(loan.is_over());
  std::optional<SlotPlace> place = locate(key);
  if (!place || place->stored_end < offset + length) {
    return {};
  }
  MemorySlot* slot = index_.find(key);
  loan.slot_ = slot;
  loan.key_ = key;
  slot->loans.push_back(loan);
  ++slot->leases;
  ++leases_;
  return place;
}

void MemoryStore::take_back(SlotLoan& loan) {
  if (!loan.is_over()) {
    take_back(*loan.slot_);
  }
}

// Who is late is a write under way of all that was stored: a cut takes from it, and what is written
// beyond the cut waits for it if the chunk could not be moved.
void MemoryStore::take_back(MemorySlot& slot) {
  if (slot.loans.empty()) {
    return;
  }
  Range stored{0, slot.published.end};
  slots_.publish_new(slot);
  auto index = static_cast<std::uint32_t>(slot.index);
  for (auto at = slot.loans.begin(); at != slot.loans.end();) {
    SlotLoan& loan = *at++;
    if (!loan.is_writing(index)) {
      end_loan(loan);
    } else if (!loan.is_late()) {
      note_write(loan);  // what it wrote before
      loan.write_id_ = slot.writes.open(stored, UINT32_MAX);
      ++slot.fillers;
      late_.push_back(loan);
    }
  }
  if (!late_.empty() && !is_watching_) {
    is_watching_ = background_.spawn(watch_late());
  }
}

void MemoryStore::end_loan(SlotLoan& loan) {
  if (loan.is_over()) {
    return;
  }
  note_write(loan);
  MemorySlot& slot = *std::exchange(loan.slot_, nullptr);
  loan.of_slot_.unlink();
  if (loan.is_late()) {
    loan.late_.unlink();
    slot.writes.commit(loan.write_id_);
    --slot.fillers;
    write_ended_.wake_all();
  }
  unpin(slot);
}

void MemoryStore::note_write(const SlotLoan& loan) {
  std::int64_t written_at = loan.written_at();
  if (written_at != 0 && index_.find(loan.key_) == loan.slot_) {
    index_.note_write(loan.key_.inode, written_at);
  }
}

void MemoryStore::look_at_late() {
  for (auto at = late_.begin(); at != late_.end();) {
    SlotLoan& loan = *at++;
    if (!loan.is_writing(static_cast<std::uint32_t>(loan.slot_->index))) {
      end_loan(loan);
    }
  }
}

rt::Task<void> MemoryStore::watch_late() {
  Backoff pause(kFirstLook, kLongestPause);
  while (!late_.empty() && !background_.is_closed()) {
    (void)co_await rt::sleep_for(pause.next(), &background_.cancel_source());
    look_at_late();
  }
  is_watching_ = false;
}

SlotFiles MemoryStore::slot_files() const {
  return {.data = slots_.file().data_fd(), .states = slots_.file().states_fd()};
}

// --- The end of writes and reads -----------------------------------------------------------------

rt::CoStatus MemoryStore::commit(WriteLease lease, std::int64_t mtime_ns) {
  BENCHFS_CHECK(lease.owner_ == this);
  lease.owner_ = nullptr;
  MemorySlot& slot = *lease.slot_;
  auto begin = static_cast<std::uint32_t>(lease.bytes_.data() - slot.data);
  auto end = begin + static_cast<std::uint32_t>(lease.bytes_.size());
  slot.present.add({begin, std::min(end, slot.touched_end)});
  Range kept = slot.writes.commit(lease.write_id_);
  if (!slot.is_dropped && !kept.empty()) {
    slot.end = std::max(slot.end, kept.end);
    index_.note_write(lease.key_.inode, mtime_ns);
  }
  end_write(lease);
  co_return Status{};
}

void MemoryStore::end_lease(WriteLease& lease) {
  MemorySlot& slot = *lease.slot_;
  for (Range range : slot.writes.abandon(lease.write_id_)) {
    std::memset(slot.data + range.begin, 0, range.end - range.begin);
    slot.present.add(range);
  }
  end_write(lease);
}

void MemoryStore::end_lease(ReadLease& lease) {
  unpin(*lease.slot_);
}

void MemoryStore::end_write(const WriteLease& lease) {
  MemorySlot& slot = *lease.slot_;
  if (!write_ended_.empty()) {
    write_ended_.wake_all();
  }
  if (lease.is_handed_out_) {
    --slot.fillers;
  }
  if (slot.end == 0 && slot.writes.empty() && !slot.is_dropped) {  // never came to be
    index_.erase(lease.key_);
    slot.is_dropped = true;
  }
  slots_.publish(slot);
  unpin(slot);
}

void MemoryStore::unpin(MemorySlot& slot) {
  --leases_;
  if (--slot.leases == 0 && slot.is_dropped) {
    slots_.release(slot);
  }
}

// --- Cuts ----------------------------------------------------------------------------------------

void MemoryStore::drop(MemorySlot& slot) {
  take_back(slot);
  slot.is_dropped = true;
  slots_.publish_new(slot);
  if (slot.leases == 0) {
    slots_.release(slot);
  }
}

rt::CoStatus MemoryStore::truncate(wire::InodeId inode,
                                   std::uint64_t size,
                                   std::uint32_t chunk_bytes) {
  std::uint64_t whole = size / chunk_bytes;
  auto rest = static_cast<std::uint32_t>(size % chunk_bytes);
  index_.cut(inode, whole + (rest > 0 ? 1 : 0), [this](MemorySlot& slot) { drop(slot); });
  MemorySlot* slot = rest > 0 ? index_.find({inode, whole}) : nullptr;
  if (slot != nullptr && slot->claimed_end > rest) {
    take_back(*slot);
    if (slot->fillers == 0 || !move({inode, whole}, *slot, rest)) {
      cut(*slot, rest);
    }
  }
  if (slots_.has_excess() && !is_trimming_) {
    is_trimming_ = background_.spawn(trim());
  }
  co_return Status{};
}

// The bytes beyond become stale; the operation that extends the chunk zeroes them.
void MemoryStore::cut(MemorySlot& slot, std::uint32_t end) {
  slot.writes.cut(end);
  slot.end = std::min(slot.end, end);
  slot.claimed_end = end;
  slots_.publish_new(slot);
  slots_.shrink(slot, end);
}

// Moves the chunk's bytes below `end` to another slot: programs that write to this one may take as
// long as they like, and later writes must not wait for them. What is being written stores nothing.
// False when there is no memory.
bool MemoryStore::move(wire::ChunkKey key, MemorySlot& from, std::uint32_t end) {
  std::uint32_t kept = std::min(from.end, end);
  if (kept == 0) {
    index_.erase(key);
    drop(from);
    return true;
  }
  Result<MemorySlot*> to = slots_.allocate(kept);
  if (!to) {
    return false;
  }
  if (!slots_.touch(**to, kept)) {
    slots_.release(**to);
    return false;
  }
  // Nobody reads bytes here that are written after they were copied.
  slots_.publish_new(from);
  copy_settled(from, {0, kept}, (*to)->data);
  (*to)->present.add({0, kept});
  (*to)->end = kept;
  (*to)->claimed_end = kept;
  index_.replace(key, *to);
  slots_.publish(**to);
  drop(from);
  return true;
}

rt::Task<void> MemoryStore::trim() {
  while (!background_.is_closed() && slots_.trim_one()) {
    co_await rt::Yield{};
  }
  is_trimming_ = false;
}

rt::CoStatus MemoryStore::punch(wire::ChunkKey key,
                                std::uint32_t offset,
                                std::uint32_t length,
                                std::int64_t mtime_ns) {
  if (is_closed_) {
    co_return fail(Errc::kNotReady, "the chunk store is closed");
  }
  MemorySlot* slot = index_.find(key);
  if (slot != nullptr && offset < slot->end) {
    std::uint32_t bytes = std::min(length, slot->end - offset);
    std::memset(slot->data + offset, 0, bytes);
    slot->present.add({offset, offset + bytes});
    slots_.publish(*slot);
    index_.note_write(key.inode, mtime_ns);
  }
  co_return Status{};
}

std::vector<wire::ChunkEnd> MemoryStore::list(wire::InodeId inode,
                                              std::uint64_t first,
                                              std::size_t max) const {
  return index_.list(inode, first, max);
}

Extent MemoryStore::query(wire::InodeId inode, std::uint32_t chunk_bytes) const {
  return index_.query(inode, chunk_bytes);
}

rt::CoStatus MemoryStore::sync(wire::InodeId) {
  co_return Status{};
}

rt::CoResult<Space> MemoryStore::space(Deadline) {
  // Free slots that are still mapped are not lost; the shards of a daemon share the rest.
  std::uint64_t left = std::min(budget_.left() / config_.shards, config_.limit_bytes);
  std::uint64_t most = slots_.warm_bytes() + left;
  co_return Space{.total_bytes = config_.limit_bytes,
                  .free_bytes = std::min(config_.limit_bytes - slots_.used_bytes(), most),
                  .device_id = device_id_};
}

rt::CoStatus MemoryStore::close() {
  is_closed_ = true;
  write_ended_.wake_all();
  background_.close();
  co_await background_.join();
  slots_.close();
  co_return Status{};
}

namespace {

// The default limit of one shard: half of the memory that is left, divided by the shards. Other
// processes on the node, even daemons, take from the same memory.
std::uint64_t share_of(std::uint64_t left, const MemoryEngineConfig& config) {
  std::uint64_t share = left / 2 / config.shards;
  return std::max<std::uint64_t>(share - share % config.slot_bytes, config.slot_bytes);
}

}  // namespace

Result<std::unique_ptr<ChunkStore>> make_memory_store(MemoryEngineConfig config) {
  if (config.slot_bytes == 0 || config.slot_bytes % kPageBytes != 0 || config.shards == 0 ||
      (config.limit_bytes != 0 && config.limit_bytes < config.slot_bytes)) {
    return fail(
        Errc::kConfig,
        fmt::format("memory engine with a limit of {} bytes and chunks of {} bytes: chunks are "
                    "whole pages of 4096 bytes, the limit is at least one chunk",
                    config.limit_bytes,
                    config.slot_bytes));
  }
  MemoryGauge gauge(config.system_root);
  Result<MemoryLeft> left = gauge.left();
  if (config.limit_bytes == 0) {
    if (!left) {
      return fail(Errc::kConfig,
                  fmt::format("storage.memory_bytes must be set: {}", left.error().message()));
    }
    config.limit_bytes = share_of(left->bytes, config);
    BENCHFS_LOG(kInfo,
                "up to {} MiB of memory for chunks: {} has {} of {} MiB left",
                config.limit_bytes >> 20,
                left->limited_by,
                left->bytes >> 20,
                left->total_bytes >> 20);
  } else if (left && config.limit_bytes > left->bytes / config.shards) {
    BENCHFS_LOG(kWarn,
                "storage.memory_bytes allows {} MiB a shard, but {} has only {} MiB left: writes "
                "fail with ENOSPC before it is full",
                config.limit_bytes >> 20,
                left->limited_by,
                left->bytes >> 20);
  }
  BENCHFS_TRY(SlotFile file, SlotFile::create(config.slot_bytes));
  return std::make_unique<MemoryStore>(config, std::move(file), std::move(gauge));
}

}  // namespace benchfs::chunk
