// The chunks of one shard: bytes addressed by (inode, chunk index, offset), nothing else.
//
// One interface, two engines: segment files on io_uring, and memory. A store knows neither RPC nor
// metadata. Leases lend memory to the network, which sends from a ReadLease and receives into a
// WriteLease, so the store adds no copy.
//
// A chunk stores the bytes [0, end), where end is the highest committed byte + 1. Bytes below end
// that were never written read as zeros; earlier contents of the memory or file never show.
//
// Concurrency: operations on different ranges do not disturb each other. A read or a write that
// overlaps a write under way may see or leave a mixture of the bytes inside the overlap, nothing
// else. A truncation overtakes every write that began before it: the write's later commit succeeds
// but stores nothing beyond the cut (and nothing at all in a chunk that was dropped).
//
// Thread: one reactor's. Every call but query() may suspend. The store must outlive its leases and
// the tasks it returned.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "chunk/buffer_pool.h"
#include "chunk/slot_loan.h"
#include "rt/reactor.h"
#include "rt/sync.h"
#include "rt/task.h"
#include "rt/uring.h"
#include "wire/ids.h"
#include "wire/messages.h"

namespace benchfs::chunk {

class ReadLease;
class WriteLease;
struct MemorySlot;

namespace internal {
// The store behind a lease; hears when the lease dies.
class LeaseOwner {
 public:
  virtual void end_lease(ReadLease& lease) = 0;
  virtual void end_lease(WriteLease& lease) = 0;

 protected:
  ~LeaseOwner() = default;
};
}  // namespace internal

// Bytes of a chunk to be sent; borrowed until the lease dies. Memory engine: the chunk's own
// memory, which stays even if the chunk is dropped. File engine: a pool buffer.
class ReadLease {
 public:
  ReadLease() = default;
  ReadLease(ReadLease&& other) noexcept { swap(other); }
  ReadLease& operator=(ReadLease&& other) noexcept {
    swap(other);
    return *this;
  }
  ~ReadLease() {
    if (owner_ != nullptr) {
      owner_->end_lease(*this);
    }
  }
  [[nodiscard]] std::span<const std::byte> bytes() const { return bytes_; }
  // From now on they stay as they are.
  void detach();

 private:
  friend class FileStore;
  friend class MemoryStore;
  void swap(ReadLease& other) noexcept;

  std::span<const std::byte> bytes_;
  internal::LeaseOwner* owner_ = nullptr;
  MemorySlot* slot_ = nullptr;         // memory engine
  std::unique_ptr<std::byte[]> copy_;  // detached, or a range with a first write still under way
  BufferPool::Lease buffer_;           // file engine
};

// Room for bytes about to be received; commit() makes them part of the chunk. If it dies without
// commit, the chunk's end stays and everything beyond it stays zeros; below the end, a range of a
// memory chunk that it was to fill may be torn.
class WriteLease {
 public:
  WriteLease() = default;
  WriteLease(WriteLease&& other) noexcept { swap(other); }
  WriteLease& operator=(WriteLease&& other) noexcept {
    swap(other);
    return *this;
  }
  ~WriteLease() {
    if (owner_ != nullptr) {
      owner_->end_lease(*this);
    }
  }
  // Unspecified content until filled: fill all of it before commit().
  [[nodiscard]] std::span<std::byte> bytes() const { return bytes_; }

 private:
  friend class FileStore;
  friend class MemoryStore;
  void swap(WriteLease& other) noexcept;

  std::span<std::byte> bytes_;
  internal::LeaseOwner* owner_ = nullptr;
  wire::ChunkKey key_;
  // Memory engine:
  std::uint32_t write_id_ = 0;      // in the slot's WriteSet
  std::uint32_t existing_end_ = 0;  // memory up to here was there before
  bool is_handed_out_ = false;
  MemorySlot* slot_ = nullptr;
  BufferPool::Lease buffer_;  // file engine; its index names the entry in open_writes_
};

// The part of an inode that is stored on this shard.
struct Extent {
  std::uint64_t end = 0;  // file offset of the highest stored byte + 1; 0 when nothing is stored
  std::int64_t mtime_ns = 0;      // latest commit of the chunks that exist
  std::uint64_t chunk_count = 0;  // chunks that take space
};

struct Space {
  std::uint64_t total_bytes = 0;
  std::uint64_t free_bytes = 0;
  std::uint64_t device_id = 0;  // stores with equal ids share the space
};

// Where a chunk's bytes are in the slot file (wire/slot_state.h).
struct SlotPlace {
  std::uint32_t slot = 0;
  std::uint64_t generation = 0;
  std::uint32_t existing_end = 0;  // memory up to here is there; beyond it may be
  std::uint32_t stored_end = 0;    // bytes below are stored, and may be read and overwritten
};

// What programs of the node may map; -1: nothing. Borrowed from the store.
struct SlotFiles {
  int data = -1;    // for reading and writing
  int states = -1;  // for reading
  [[nodiscard]] bool are_open() const { return data >= 0 && states >= 0; }
};

class ChunkStore {
 public:
  virtual ~ChunkStore();

  // Largest length of one read or write, in bytes.
  [[nodiscard]] virtual std::uint32_t max_transfer() const = 0;
  // Whether a lease holds a buffer of the pool: then who waits for a second lease holds none.
  [[nodiscard]] virtual bool leases_hold_buffers() const = 0;

  // The stored bytes of [offset, offset + length), cut at the chunk's end: an empty span for an
  // absent chunk and for an offset at or beyond the end. The deadline bounds the wait for a buffer;
  // the observer (borrowed) hears of that wait.
  // Errors: EINVAL (length above max_transfer), kDeadline, EIO, kNotReady (closed).
  virtual rt::CoResult<ReadLease> read(wire::ChunkKey key,
                                       std::uint32_t offset,
                                       std::uint32_t length,
                                       Deadline deadline,
                                       WaitObserver* observer = nullptr) = 0;

  // Room for [offset, offset + length), length > 0. The deadline bounds the wait: for a buffer
  // (file), for a write from before a truncation that still fills memory in this range (memory).
  // Errors: EINVAL (beyond the slot, above max_transfer), ENOSPC (memory), kDeadline, kNotReady.
  virtual rt::CoResult<WriteLease> begin_write(wire::ChunkKey key,
                                               std::uint32_t offset,
                                               std::uint32_t length,
                                               Deadline deadline,
                                               WaitObserver* observer = nullptr) = 0;

  // Where a program of the node can read the chunk by itself; nothing where it cannot.
  [[nodiscard]] virtual std::optional<SlotPlace> locate(wire::ChunkKey /*key*/) const { return {}; }
  // Where a program of the node fills the lease's bytes by itself; nothing where it cannot. It may
  // take as long as it likes: nobody else waits for it, unless a cut finds no memory to move what
  // it keeps.
  virtual std::optional<SlotPlace> hand_out(WriteLease& /*lease*/) { return {}; }
  // Lends the chunk to a program of the node that overwrites it by itself, if the range is stored.
  virtual std::optional<SlotPlace> lend(wire::ChunkKey /*key*/,
                                        std::uint32_t /*offset*/,
                                        std::uint32_t /*length*/,
                                        SlotLoan& /*loan*/) {
    return {};
  }
  // Takes back whatever was lent of the loan's slot. What is not over then is so when its program
  // has left its copy.
  virtual void take_back(SlotLoan& /*loan*/) {}
  // The program does not use it any more, or cannot. It is not writing.
  virtual void end_loan(SlotLoan& /*loan*/) {}
  [[nodiscard]] virtual SlotFiles slot_files() const { return {}; }

  // Stores the lease's bytes; when it returns, every read sees them. `mtime_ns` is the time of the
  // write. After an error the range may hold old and new bytes, everything else is intact.
  // Errors: kNotReady (closed); file: ENOSPC, EDQUOT, ENOMEM: nothing beyond the chunk's former end
  // was stored, and the chunk stays usable; EIO and others: the chunk refuses every further write
  // with EIO until it is dropped.
  virtual rt::CoStatus commit(WriteLease lease, std::int64_t mtime_ns) = 0;

  // Drops every byte of the inode at or beyond file offset `size`; 0 drops all. `chunk_bytes` is
  // the file's chunk size. Whole chunks leave the index at once and without I/O; their space is
  // returned in the background, counts as free from now on, and is used again only after the I/O
  // under way in it. A cut inside a chunk waits for that chunk's I/O and zeroes its tail. Errors
  // (file): what the device answers when the tail cannot be zeroed.
  virtual rt::CoStatus truncate(wire::InodeId inode,
                                std::uint64_t size,
                                std::uint32_t chunk_bytes) = 0;

  // Turns the stored bytes of [offset, offset + length) into zeros; the chunk keeps its end. The
  // file engine gives their space back. A write under way in the range may win. Errors (file): what
  // the device answers.
  virtual rt::CoStatus punch(wire::ChunkKey key,
                             std::uint32_t offset,
                             std::uint32_t length,
                             std::int64_t mtime_ns) = 0;

  // The chunks of the inode that have stored bytes, from `first` on, by index; at most `max`.
  [[nodiscard]] virtual std::vector<wire::ChunkEnd> list(wire::InodeId inode,
                                                         std::uint64_t first,
                                                         std::size_t max) const = 0;

  [[nodiscard]] virtual Extent query(wire::InodeId inode, std::uint32_t chunk_bytes) const = 0;

  // File engine: puts everything committed to the inode before the call on the device. Memory
  // engine: does nothing. After an error the segment refuses further writes and syncs with EIO.
  virtual rt::CoStatus sync(wire::InodeId inode) = 0;

  // Space in total and free now. File engine: a helper thread asks the file system; when it does
  // not answer by the deadline, or within a second, the last answer counts.
  virtual rt::CoResult<Space> space(Deadline deadline) = 0;

  // Refuses new operations (kNotReady), waits for those under way, then closes and removes the
  // files. Leases may die later.
  virtual rt::CoStatus close() = 0;
};

// Lets a test make chosen ring operations fail, come back short, or wait. The test sets and changes
// it.
struct IoFaults {
  enum class Operation : std::uint8_t { kNone, kRead, kWrite, kPunch, kSync };
  Operation operation = Operation::kNone;
  std::uint64_t skip = 0;   // operations of the kind that pass first
  std::uint64_t count = 1;  // how many are hit then
  int result = 0;           // -errno; 0: half of the bytes are transferred
  std::uint64_t hits = 0;   // how many were

  Operation gated = Operation::kNone;
  rt::Event* gate = nullptr;  // operations of the kind `gated` start when it is set
};

struct FileEngineConfig {
  std::string directory;         // made if missing; for this store alone
  std::uint32_t slot_bytes = 0;  // the file system's chunk size
  std::uint64_t segment_slots = 1024;
  bool direct = true;          // O_DIRECT for aligned transfers, where the file system can
  IoFaults* faults = nullptr;  // borrowed
};

// Opens the store in its directory: takes the lock (EBUSY-like kConfig error when another daemon
// has it), removes segment files of an earlier run, registers the pool's region as buffer 0 of the
// ring and a file table. Blocks. The reactor, the ring and the pool are borrowed; the ring's
// registrations are the store's alone.
Result<std::unique_ptr<ChunkStore>> open_file_store(rt::Reactor& reactor,
                                                    rt::Uring& ring,
                                                    BufferPool& pool,
                                                    FileEngineConfig config);

struct MemoryEngineConfig {
  std::uint32_t slot_bytes = 0;   // the file system's chunk size
  std::uint64_t limit_bytes = 0;  // memory for chunks, in touched pages; 0: a share of what is left
  std::uint32_t shards = 1;       // that share the memory left, this one included
  std::string system_root;        // for tests: where proc and the cgroup mounts are looked for
  std::uint64_t warm_bytes = std::uint64_t{256} << 20;  // freed memory kept mapped for reuse
};

// Whatever the limit, the store refuses to grow (ENOSPC) when the machine or a memory cgroup of
// this process has little left (memory_budget.h).
Result<std::unique_ptr<ChunkStore>> make_memory_store(MemoryEngineConfig config);

}  // namespace benchfs::chunk
