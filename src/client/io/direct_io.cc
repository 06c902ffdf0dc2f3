#include "client/io/direct_io.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <utility>

#include "base/check.h"
#include "wire/slot_state.h"

namespace benchfs::client {

class DirectIo::Place {
 public:
  Place(std::vector<std::uint64_t>& taken, wire::ShardId shard) {
    if (taken.size() <= shard.value) {
      taken.resize(shard.value + 1);
    }
    auto free = static_cast<std::uint32_t>(std::countr_one(taken[shard.value]));
    if (free < wire::kMaxLoans) {
      taken_ = &taken;
      shard_ = shard;
      number_ = free;
      taken[shard.value] |= bit();
    }
  }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;
  ~Place() {
    if (is_taken()) {
      (*taken_)[shard_.value] &= ~bit();
    }
  }
  [[nodiscard]] bool is_taken() const { return taken_ != nullptr; }
  [[nodiscard]] std::uint32_t number() const { return number_; }

 private:
  [[nodiscard]] std::uint64_t bit() const { return std::uint64_t{1} << number_; }
  std::vector<std::uint64_t>* taken_ = nullptr;
  wire::ShardId shard_;
  std::uint32_t number_ = 0;
};
static_assert(wire::kMaxLoans <= 64);

DirectIo::Known& DirectIo::known(const link::SharedSlots& slots, wire::ChunkKey key) {
  if (known_ == nullptr) [[unlikely]] {
    known_.reset(static_cast<Known*>(std::calloc(kEntries, sizeof(Known))));
    BENCHFS_CHECK(known_ != nullptr);
  }
  // Chunks of one file follow each other.
  std::size_t first = (mix64(key.inode.value) + key.index) * kWays % kEntries;
  std::span ways(known_.get() + first, kWays);
  auto entry = std::ranges::find_if(ways, [&](const Known& known) {
    return known.key == key && known.session == slots.number();
  });
  if (entry == ways.end()) [[unlikely]] {
    entry = std::ranges::max_element(
        ways, {}, [&](const Known& known) { return uses_ - known.used_at; });
    *entry = {.key = key, .session = slots.number()};
    ++uses_;
  }
  if (entry->used_at != uses_) {
    entry->used_at = uses_;
  }
  return *entry;
}

link::SlotCopy DirectIo::find_known(link::SharedSlots& slots,
                                    wire::ChunkKey key,
                                    std::uint32_t offset,
                                    std::size_t length,
                                    link::SlotRange& found) {
  Known& entry = known(slots, key);
  if (entry.slot == wire::kNoSlot) {
    return link::SlotCopy::kMoved;
  }
  link::SlotRight right{.slot = entry.slot, .generation = entry.generation};
  link::SlotCopy how = slots.find(right, offset, length, found);
  if (how == link::SlotCopy::kMoved) {
    entry.slot = wire::kNoSlot;
    entry.lent_until = {};
  }
  return how;
}

link::SlotCopy DirectIo::read_known(link::SharedSlots& slots,
                                    wire::ChunkKey key,
                                    std::uint32_t offset,
                                    std::span<std::byte> into) {
  link::SlotRange range;
  link::SlotCopy how = find_known(slots, key, offset, into.size(), range);
  return how == link::SlotCopy::kDone ? slots.read(range, into.data()) : how;
}

void DirectIo::find_to_read(wire::ShardId shard,
                            wire::ChunkKey key,
                            std::uint32_t offset,
                            std::size_t length,
                            link::SlotRange& found) {
  if (link::SharedSlots* slots = slots_of(shard); slots != nullptr) {
    find_known(*slots, key, offset, length, found);
  }
}

rt::Task<bool> DirectIo::read(wire::ShardId shard,
                              wire::ChunkKey key,
                              std::uint32_t offset,
                              std::span<std::byte> into,
                              std::uint64_t expected,
                              Deadline by) {
  link::SharedSlots* slots = slots_of(shard);
  if (slots == nullptr) {
    co_return false;
  }
  link::SlotCopy how = read_known(*slots, key, offset, into);
  if (how != link::SlotCopy::kMoved) {
    co_return how == link::SlotCopy::kDone;
  }
  if (std::min<std::uint64_t>(into.size(), expected) < backend_.config.direct_bytes &&
      ++known(*slots, key).reads < kReadsUntilAsked) {
    co_return false;
  }
  std::uint64_t session = slots->number();
  wire::LocateChunkRequest request;
  request.inode = key.inode.value;
  request.index = key.index;
  rpc::Call call = rpc::make_call(request);
  Result<rpc::Reply> reply = co_await backend_.pool.call(shard, call, by);
  Result<wire::LocateChunkReply> place =
      reply ? reply->as<wire::LocateChunkReply>() : std::unexpected(std::move(reply.error()));
  slots = slots_of(shard);
  // The answer may be that of another daemon, about another memory.
  if (!place || place->slot == wire::kNoSlot || slots == nullptr || slots->number() != session) {
    co_return false;
  }
  Known& entry = known(*slots, key);
  if (entry.slot != place->slot || entry.generation != place->generation) {
    entry.lent_until = {};  // who knows where the chunk is may read it, and no more
  }
  entry.slot = place->slot;
  entry.generation = place->generation;
  entry.reads = 0;
  co_return read_known(*slots, key, offset, into) == link::SlotCopy::kDone;
}

// --- Writing -------------------------------------------------------------------------------------

link::SlotCopy DirectIo::find_lent(link::SharedSlots& slots,
                                   Known& entry,
                                   std::uint32_t offset,
                                   std::size_t length,
                                   link::SlotRange& found) {
  if (entry.lent_until == BootTime{}) {
    return link::SlotCopy::kMoved;
  }
  if (entry.lent_until != BootTime::max() && boot_now() >= entry.lent_until) {
    entry.lent_until = {};
    return link::SlotCopy::kMoved;
  }
  link::SlotRight right{.slot = entry.slot,
                        .place = entry.loan,
                        .generation = entry.generation,
                        .until = entry.lent_until};
  link::SlotCopy how = slots.find(right, offset, length, found);
  if (how == link::SlotCopy::kMoved) {
    entry.lent_until = {};
  }
  return how;
}

bool DirectIo::write_lent(link::SharedSlots& slots,
                          Known& entry,
                          std::uint32_t offset,
                          std::span<const std::byte> from) {
  link::SlotRange range;
  link::SlotCopy how = find_lent(slots, entry, offset, from.size(), range);
  if (how == link::SlotCopy::kDone) {
    how = slots.overwrite(range, from.data());
  }
  if (how == link::SlotCopy::kMoved) {
    entry.lent_until = {};
  }
  return how == link::SlotCopy::kDone;
}

void DirectIo::find_to_write(wire::ShardId shard,
                             wire::ChunkKey key,
                             std::uint32_t offset,
                             std::size_t length,
                             link::SlotRange& found) {
  if (link::SharedSlots* slots = slots_of(shard); slots != nullptr) {
    find_lent(*slots, known(*slots, key), offset, length, found);
  }
}

bool DirectIo::may_write(wire::ShardId shard,
                         wire::ChunkKey key,
                         std::uint32_t offset,
                         std::size_t length) {
  link::SharedSlots* slots = slots_of(shard);
  if (slots == nullptr || backend_.config.direct_bytes == 0) {
    return false;
  }
  if (length >= backend_.config.direct_bytes) {
    return true;
  }
  Known& entry = known(*slots, key);
  auto end = static_cast<std::uint32_t>(offset + length);
  bool is_over_own = end <= entry.written_end;
  entry.written_end = std::max(entry.written_end, end);
  if (!is_over_own || ++entry.writes < kWritesUntilAsked) {
    return false;
  }
  entry.writes = 0;
  return true;
}

std::uint32_t DirectIo::place_of_loan(wire::ShardId shard,
                                      const link::SharedSlots& slots,
                                      wire::ChunkKey key) {
  loans_.resize(std::max<std::size_t>(loans_.size(), shard.value + 1));
  Loans& loans = loans_[shard.value];
  if (loans.session != slots.number()) {
    loans = {.session = slots.number()};
    loans.owners.resize(wire::kMaxWriteLoans, kEntries);
  }
  Known& entry = known(slots, key);
  std::size_t index = index_of(entry);
  if (entry.loan != wire::kNoPlace && loans.owners[entry.loan] == index) {
    return entry.loan;
  }
  // Who copies under a loan keeps it: the shard learns of no copy under what its place was before.
  std::uint32_t place = loans.next++ % wire::kMaxWriteLoans;
  while (slots.is_in_use(place)) {
    place = loans.next++ % wire::kMaxWriteLoans;
  }
  std::uint32_t owner = std::exchange(loans.owners[place], static_cast<std::uint32_t>(index));
  if (owner != kEntries && known_[owner].session == loans.session && known_[owner].loan == place) {
    known_[owner].loan = wire::kNoPlace;
    known_[owner].lent_until = {};
  }
  entry.loan = place;
  entry.lent_until = {};
  return place;
}

rt::CoResult<bool> DirectIo::write(wire::ShardId shard,
                                   wire::ChunkKey key,
                                   std::uint32_t offset,
                                   std::span<const std::byte> from,
                                   std::uint64_t truncation,
                                   Deadline by) {
  link::SharedSlots* slots = slots_of(shard);
  Place place(places_, shard);
  if (slots == nullptr || !place.is_taken()) {
    co_return false;
  }
  if (truncation == wire::kAnyTruncation && write_lent(*slots, known(*slots, key), offset, from)) {
    co_return true;
  }
  std::uint64_t session = slots->number();
  bool is_long = from.size() >= backend_.config.direct_bytes;
  wire::BeginFillRequest begin;
  begin.inode = key.inode.value;
  begin.index = key.index;
  begin.offset = offset;
  begin.length = static_cast<std::uint32_t>(from.size());
  begin.truncation = truncation;
  begin.number = ++fills_;
  begin.place = is_long ? place.number() : wire::kNoPlace;
  begin.loan = place_of_loan(shard, *slots, key);
  BootTime asked_at = boot_now();
  rpc::Call begin_call = rpc::make_call(begin);
  BENCHFS_CO_TRY(rpc::Reply begun, co_await backend_.pool.call(shard, begin_call, by));
  BENCHFS_CO_TRY(wire::BeginFillReply room, begun.as<wire::BeginFillReply>());
  slots = slots_of(shard);
  bool is_same = slots != nullptr && slots->number() == session;
  if (room.slot == wire::kNoSlot || (room.loan_ms != 0 && !is_same)) {
    co_return false;
  }
  if (room.loan_ms != 0) {
    Known& entry = known(*slots, key);
    // Meanwhile its place may have gone to another chunk, and its entry to another chunk, too.
    bool has_place = entry.loan == begin.loan;
    if (has_place && loans_[shard.value].owners[begin.loan] == index_of(entry)) {
      entry.slot = room.slot;
      entry.generation = room.generation;
      entry.loan = begin.loan;
      entry.lent_until = room.loan_ms == wire::kLoanForEver
                             ? BootTime::max()
                             : asked_at + std::chrono::milliseconds(room.loan_ms);
      entry.reads = 0;
    }
    co_return write_lent(*slots, entry, offset, from);
  }
  bool is_filled = is_same && slots->fill(room.slot, offset, room.existing_end, from).has_value();
  wire::EndFillRequest end;
  end.number = begin.number;
  end.place = place.number();
  end.flags = is_filled ? 0U : wire::kFillGivenUp;
  rpc::Call end_call = rpc::make_call(end);
  Result<rpc::Reply> ended = co_await backend_.pool.call(shard, end_call, by);
  if (!is_filled) {
    co_return false;
  }
  if (!ended) {
    co_return std::unexpected(std::move(ended.error()));
  }
  BENCHFS_CO_TRY(wire::EndFillReply answer, ended->as<wire::EndFillReply>());
  co_return answer.is_stored != 0;
}

}  // namespace benchfs::client
