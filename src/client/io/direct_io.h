// Reading and writing chunks of shards of this node that share their memory: by the program's own
// copies (docs/wire.md, "Slots").
//
// A chunk whose place is known is read without asking anybody. A write that makes a chunk longer
// asks for room, fills it, and tells that it is there. One that overwrites what is stored gets the
// chunk lent, and further ones ask nobody. What cannot be done in this way is left to an ordinary
// request.
//
// Nothing here lasts longer than the ordinary request that may follow: both end at `by`.
//
// Thread: the client's reactor, or whoever has its place (Driver::run_now).
// Buffers are borrowed until the task completes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>
#include <vector>

#include "base/error.h"
#include "base/hash.h"
#include "client/backend.h"
#include "link/link.h"
#include "wire/ids.h"

namespace benchfs::client {

class DirectIo {
 public:
  explicit DirectIo(Backend& backend) : backend_(backend) {}
  DirectIo(const DirectIo&) = delete;
  DirectIo& operator=(const DirectIo&) = delete;

  // Finds bytes of a chunk, if they are all there and its place is known. They are read by
  // SharedSlots::read(), by any thread.
  void find_to_read(wire::ShardId shard,
                    wire::ChunkKey key,
                    std::uint32_t offset,
                    std::size_t length,
                    link::SlotRange& found);
  // Reads them, after it has asked for the place if that is worth while: when much is read, or the
  // chunk is read again and again. `expected`: from there to the end of the file, as far as known.
  rt::Task<bool> read(wire::ShardId shard,
                      wire::ChunkKey key,
                      std::uint32_t offset,
                      std::span<std::byte> into,
                      std::uint64_t expected,
                      Deadline by);

  // Finds stored bytes of a chunk that was lent. They are overwritten by SharedSlots::overwrite(),
  // by any thread.
  void find_to_write(wire::ShardId shard,
                     wire::ChunkKey key,
                     std::uint32_t offset,
                     std::size_t length,
                     link::SlotRange& found);
  // Whether a write is better tried by write(): when it is long, or the chunk is overwritten again
  // and again.
  [[nodiscard]] bool may_write(wire::ShardId shard,
                               wire::ChunkKey key,
                               std::uint32_t offset,
                               std::size_t length);
  // False: not written, to be sent. Errors: the shard's. `truncation`:
  // wire::WriteChunkRequest::truncation.
  rt::CoResult<bool> write(wire::ShardId shard,
                           wire::ChunkKey key,
                           std::uint32_t offset,
                           std::span<const std::byte> from,
                           std::uint64_t truncation,
                           Deadline by);

 private:
  static constexpr std::uint8_t kReadsUntilAsked = 4;
  static constexpr std::uint8_t kWritesUntilAsked = 4;  // over what was written before
  static constexpr std::size_t kEntries = 4096;
  static constexpr std::size_t kWays = 4;

  // What is known of a chunk. Of chunks with the same hash kWays have an entry; another one takes
  // that which was not used for longest.
  struct Known {
    wire::ChunkKey key;
    std::uint64_t session = 0;  // SharedSlots::number(); 0: nothing
    std::uint64_t generation = 0;
    BootTime lent_until{};  // epoch: not lent
    std::uint32_t slot = wire::kNoSlot;
    std::uint32_t loan = wire::kNoPlace;  // its place, also when it has ended
    std::uint32_t written_end = 0;        // of writes of this program
    std::uint32_t used_at = 0;            // by uses_
    std::uint8_t reads = 0;               // while its place is not known
    std::uint8_t writes = 0;              // since it was asked for
  };
  struct FreeMemory {
    void operator()(Known* memory) const { std::free(memory); }
  };
  // One of the places for fills at a shard, while it lives.
  class Place;
  // The places for loans of a session.
  struct Loans {
    std::uint64_t session = 0;
    std::uint32_t next = 0;             // that is taken away from its chunk
    std::vector<std::uint32_t> owners;  // entries, by place
  };

  [[nodiscard]] link::SharedSlots* slots_of(wire::ShardId shard) {
    rpc::Connection* connection =
        shard.value < backend_.pool.size() ? &backend_.pool.at(shard) : nullptr;
    bool is_ready = connection != nullptr && connection->state() == rpc::Connection::State::kReady;
    return is_ready ? connection->link()->shared_slots() : nullptr;
  }
  [[nodiscard]] std::size_t index_of(const Known& entry) const {
    return static_cast<std::size_t>(&entry - known_.get());
  }
  Known& known(const link::SharedSlots& slots, wire::ChunkKey key);
  link::SlotCopy find_known(link::SharedSlots& slots,
                            wire::ChunkKey key,
                            std::uint32_t offset,
                            std::size_t length,
                            link::SlotRange& found);
  link::SlotCopy read_known(link::SharedSlots& slots,
                            wire::ChunkKey key,
                            std::uint32_t offset,
                            std::span<std::byte> into);
  static link::SlotCopy find_lent(link::SharedSlots& slots,
                                  Known& entry,
                                  std::uint32_t offset,
                                  std::size_t length,
                                  link::SlotRange& found);
  // Overwrites under a loan.
  static bool write_lent(link::SharedSlots& slots,
                         Known& entry,
                         std::uint32_t offset,
                         std::span<const std::byte> from);
  // A place for the loan of a chunk: its own, or that of the chunk which has had one for longest.
  std::uint32_t place_of_loan(wire::ShardId shard,
                              const link::SharedSlots& slots,
                              wire::ChunkKey key);

  Backend& backend_;
  // By hash, zeroes first, which are nothing; null until a shard shares its memory. Most of it is
  // never touched.
  std::unique_ptr<Known[], FreeMemory> known_;
  std::uint32_t uses_ = 0;  // grows with each entry that is taken: else threads would wait for it
  std::vector<std::uint64_t> places_;  // that are taken, a bit each, by shard
  std::vector<Loans> loans_;           // by shard
  std::uint64_t fills_ = 0;
};

}  // namespace benchfs::client
