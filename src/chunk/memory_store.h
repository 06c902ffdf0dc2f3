// The memory engine: chunks in slots of memory (memory_slots.h). Leases point straight at the
// chunk, so nothing is copied; programs of the node can copy from it and into it by themselves.
// Only a write that meets one from before a truncation suspends.
#pragma once

#include <cstdint>

#include "chunk/chunk_index.h"
#include "chunk/chunk_store.h"
#include "chunk/memory_slots.h"
#include "rt/scope.h"
#include "rt/sync.h"

namespace benchfs::chunk {

class MemoryStore final : public ChunkStore, private internal::LeaseOwner {
 public:
  MemoryStore(const MemoryEngineConfig& config, SlotFile file, MemoryGauge gauge);
  ~MemoryStore() override;

  [[nodiscard]] std::uint32_t max_transfer() const override { return config_.slot_bytes; }
  [[nodiscard]] bool leases_hold_buffers() const override { return false; }
  rt::CoResult<ReadLease> read(wire::ChunkKey key,
                               std::uint32_t offset,
                               std::uint32_t length,
                               Deadline deadline,
                               WaitObserver* observer) override;
  rt::CoResult<WriteLease> begin_write(wire::ChunkKey key,
                                       std::uint32_t offset,
                                       std::uint32_t length,
                                       Deadline deadline,
                                       WaitObserver* observer) override;
  [[nodiscard]] std::optional<SlotPlace> locate(wire::ChunkKey key) const override;
  std::optional<SlotPlace> hand_out(WriteLease& lease) override;
  std::optional<SlotPlace> lend(wire::ChunkKey key,
                                std::uint32_t offset,
                                std::uint32_t length,
                                SlotLoan& loan) override;
  void take_back(SlotLoan& loan) override;
  void end_loan(SlotLoan& loan) override;
  [[nodiscard]] SlotFiles slot_files() const override;
  rt::CoStatus commit(WriteLease lease, std::int64_t mtime_ns) override;
  rt::CoStatus truncate(wire::InodeId inode,
                        std::uint64_t size,
                        std::uint32_t chunk_bytes) override;
  rt::CoStatus punch(wire::ChunkKey key,
                     std::uint32_t offset,
                     std::uint32_t length,
                     std::int64_t mtime_ns) override;
  [[nodiscard]] std::vector<wire::ChunkEnd> list(wire::InodeId inode,
                                                 std::uint64_t first,
                                                 std::size_t max) const override;
  [[nodiscard]] Extent query(wire::InodeId inode, std::uint32_t chunk_bytes) const override;
  rt::CoStatus sync(wire::InodeId inode) override;
  rt::CoResult<Space> space(Deadline deadline) override;
  rt::CoStatus close() override;

 private:
  void end_lease(ReadLease& lease) override;
  void end_lease(WriteLease& lease) override;

  Result<WriteLease> lease_for_write(wire::ChunkKey key, MemorySlot* slot, Range range);
  void end_write(const WriteLease& lease);
  void cut(MemorySlot& slot, std::uint32_t end);
  bool move(wire::ChunkKey key, MemorySlot& from, std::uint32_t end);
  void unpin(MemorySlot& slot);
  void drop(MemorySlot& slot);
  void take_back(MemorySlot& slot);
  void note_write(const SlotLoan& loan);
  // Those that are late and no longer write are over.
  void look_at_late();
  rt::Task<void> watch_late();
  // Gives excess free memory back to the kernel, a slot a pass.
  rt::Task<void> trim();

  MemoryEngineConfig config_;
  MemoryBudget budget_;
  MemorySlots slots_;
  ChunkIndex<MemorySlot> index_;
  rt::WaitQueue write_ended_;  // wakes writes blocked by one from before a truncation
  std::uint64_t device_id_;
  std::uint64_t leases_ = 0;
  std::uint64_t refusals_ = 0;  // writes that found no memory
  boost::intrusive::list<SlotLoan,
                         boost::intrusive::member_hook<SlotLoan, SlotLoan::Hook, &SlotLoan::late_>,
                         boost::intrusive::constant_time_size<false>>
      late_;
  rt::Scope background_;
  bool is_trimming_ = false;
  bool is_watching_ = false;  // those that are late
  bool is_closed_ = false;
};

}  // namespace benchfs::chunk
