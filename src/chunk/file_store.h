// The file engine: chunks in slots of segment files (segments.h), through io_uring.
//
// Data passes through pool buffers. A transfer goes direct (O_DIRECT) when offset and length are
// aligned, through the page cache otherwise; each slot's guard keeps the two apart. A read may
// widen to aligned borders to go direct. Chunks get their slot at their first commit; dropped slots
// are punched in the background before they are used again (slot_puncher.h), so a hole is a hole in
// the file.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "chunk/chunk_index.h"
#include "chunk/chunk_store.h"
#include "chunk/segment_io.h"
#include "chunk/segments.h"
#include "chunk/slot_puncher.h"
#include "rt/blocking_pool.h"
#include "rt/sync.h"

namespace benchfs::chunk {

class FileStore final : public ChunkStore, private internal::LeaseOwner {
 public:
  FileStore(rt::Reactor& reactor,
            FileEngineConfig config,
            BufferPool& pool,
            std::unique_ptr<Segments> segments,
            SegmentIo io);
  ~FileStore() override;

  [[nodiscard]] std::uint32_t max_transfer() const override { return max_transfer_; }
  [[nodiscard]] bool leases_hold_buffers() const override { return true; }
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
  // A write lease that lives, at the index of its buffer.
  struct OpenWrite {
    wire::ChunkKey key;
    std::uint32_t offset = 0;
    std::uint32_t end = 0;
    std::uint32_t keep_end = 0;  // truncations take away what is beyond
    bool is_open = false;
    std::uint64_t commit = 0;  // its place in the order of commits; 0: not committed yet
  };
  // Counts an operation under way, for close().
  class Activity;
  struct ReadPlan {
    Access access = Access::kBuffered;
    std::uint32_t begin = 0;  // of the transfer, in the slot
    std::uint32_t end = 0;
  };

  void end_lease(ReadLease& lease) override;
  void end_lease(WriteLease& lease) override;

  [[nodiscard]] ReadPlan plan_read(const FileSlot& slot,
                                   std::uint32_t offset,
                                   std::uint32_t length) const;
  [[nodiscard]] Access write_access(std::uint32_t begin, std::uint32_t end) const;
  // nullptr: this waited, and the slot may be there now, or may have been dropped: look again.
  rt::CoResult<FileSlot*> slot_for_write(wire::ChunkKey key);
  // Returns when no commit that began earlier stores bytes of the same range.
  rt::Task<void> wait_for_overlapped(const OpenWrite& write);
  // Stores what truncations have left of the write.
  rt::CoStatus store(const OpenWrite& write, std::span<const std::byte> bytes, std::int64_t mtime);
  rt::CoStatus write_failed(wire::ChunkKey key, FileSlot* slot, Error error);
  void cut_open_writes(wire::InodeId inode, std::uint64_t size, std::uint32_t chunk_bytes);

  const FileEngineConfig config_;
  BufferPool& pool_;
  std::unique_ptr<Segments> segments_;
  SegmentIo io_;
  SlotPuncher puncher_;
  std::uint32_t max_transfer_;
  std::uint32_t direct_alignment_;  // 0: no direct transfers
  ChunkIndex<FileSlot> index_;
  std::vector<OpenWrite> open_writes_;  // by buffer index
  std::uint64_t open_write_count_ = 0;
  std::uint64_t commits_ = 0;
  rt::WaitQueue write_ended_;
  std::uint64_t active_ = 0;
  rt::WaitQueue idle_;
  rt::BlockingPool blocking_;  // for statvfs(), which a hung file system does not answer
  Space last_space_;
  bool is_closed_ = false;
};

}  // namespace benchfs::chunk
