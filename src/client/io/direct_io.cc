#include "client/io/direct_io.h"

#include <bit>
#include <functional>

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

link::SharedSlots* DirectIo::slots_of(wire::ShardId shard) {
  if (shard.value >= backend_.pool.size()) [[unlikely]] {
    return nullptr;
  }
  rpc::Connection& connection = backend_.pool.at(shard);
  bool is_ready = connection.state() == rpc::Connection::State::kReady;
  return is_ready ? connection.link()->shared_slots() : nullptr;
}

DirectIo::Known& DirectIo::known(const link::SharedSlots& slots, wire::ChunkKey key) {
  constexpr std::size_t kEntries = 4096;
  if (known_.empty()) {
    known_.resize(kEntries);
  }
  Known& entry = known_[std::hash<wire::ChunkKey>()(key) % known_.size()];
  if (entry.key != key || entry.session != slots.number()) {
    entry = {.key = key, .session = slots.number()};
  }
  return entry;
}

link::SlotRead DirectIo::read_known(link::SharedSlots& slots,
                                    wire::ChunkKey key,
                                    std::uint32_t offset,
                                    std::span<std::byte> into) {
  Known& entry = known(slots, key);
  if (entry.slot == wire::kNoSlot) {
    return link::SlotRead::kMoved;
  }
  link::SlotRead how = slots.read(entry.slot, entry.generation, offset, into);
  if (how == link::SlotRead::kMoved) {
    entry.slot = wire::kNoSlot;
  }
  return how;
}

bool DirectIo::read_now(wire::ShardId shard,
                        wire::ChunkKey key,
                        std::uint32_t offset,
                        std::span<std::byte> into) {
  link::SharedSlots* slots = slots_of(shard);
  return slots != nullptr && read_known(*slots, key, offset, into) == link::SlotRead::kDone;
}

rt::Task<bool> DirectIo::read(wire::ShardId shard,
                              wire::ChunkKey key,
                              std::uint32_t offset,
                              std::span<std::byte> into,
                              Deadline by) {
  link::SharedSlots* slots = slots_of(shard);
  if (slots == nullptr) {
    co_return false;
  }
  link::SlotRead how = read_known(*slots, key, offset, into);
  if (how != link::SlotRead::kMoved) {
    co_return how == link::SlotRead::kDone;
  }
  if (into.size() < backend_.config.direct_bytes && ++known(*slots, key).reads < kReadsUntilAsked) {
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
  entry.slot = place->slot;
  entry.generation = place->generation;
  entry.reads = 0;
  co_return read_known(*slots, key, offset, into) == link::SlotRead::kDone;
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
  std::uint64_t session = slots->number();
  wire::BeginFillRequest begin;
  begin.inode = key.inode.value;
  begin.index = key.index;
  begin.offset = offset;
  begin.length = static_cast<std::uint32_t>(from.size());
  begin.truncation = truncation;
  begin.number = ++fills_;
  begin.place = place.number();
  rpc::Call begin_call = rpc::make_call(begin);
  BENCHFS_CO_TRY(rpc::Reply begun, co_await backend_.pool.call(shard, begin_call, by));
  BENCHFS_CO_TRY(wire::BeginFillReply room, begun.as<wire::BeginFillReply>());
  if (room.slot == wire::kNoSlot) {
    co_return false;
  }
  slots = slots_of(shard);
  bool is_filled = slots != nullptr && slots->number() == session &&
                   slots->fill(room.slot, offset, room.existing_end, from).has_value();
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
