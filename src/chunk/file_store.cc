#include "chunk/file_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

#include "base/check.h"
#include "base/log.h"
#include "chunk/mapping.h"

namespace benchfs::chunk {
namespace {

// An unaligned read of at least this much is widened to go direct; a smaller one would transfer
// much more than it needs, and small reads come in rows that the page cache serves.
constexpr std::uint32_t kMinWidenedRead = 64U << 10;

// The time that the file system may take to report its free space before the last answer is used.
constexpr Nanos kSpacePatience = std::chrono::seconds(1);

std::unexpected<Error> closed() {
  return fail(Errc::kNotReady, "the chunk store is closed");
}

// Errors after which the content of the slot is still known.
bool leaves_slot_usable(int posix) {
  return posix == ENOSPC || posix == EDQUOT || posix == EFBIG || posix == ENOMEM;
}

}  // namespace

class FileStore::Activity {
 public:
  explicit Activity(FileStore* store) : store_(store) { ++store_->active_; }
  Activity(const Activity&) = delete;
  Activity& operator=(const Activity&) = delete;
  ~Activity() {
    if (--store_->active_ == 0) {
      store_->idle_.wake_all();
    }
  }

 private:
  FileStore* store_;
};

FileStore::FileStore(rt::Reactor& reactor,
                     FileEngineConfig config,
                     BufferPool& pool,
                     std::unique_ptr<Segments> segments,
                     SegmentIo io)
    : config_(std::move(config)),
      pool_(pool),
      segments_(std::move(segments)),
      io_(io),
      puncher_(*segments_, io_),
      max_transfer_(static_cast<std::uint32_t>(
          std::min<std::size_t>(pool.buffer_bytes(), config_.slot_bytes))),
      direct_alignment_(segments_->direct_alignment()),
      open_writes_(pool.count()),
      blocking_(reactor) {
  if (direct_alignment_ > 0 && pool.buffer_bytes() % direct_alignment_ != 0) {
    direct_alignment_ = 0;
  }
}

FileStore::~FileStore() {
  BENCHFS_CHECK(active_ == 0 && open_write_count_ == 0);
}

FileStore::ReadPlan FileStore::plan_read(const FileSlot& slot,
                                         std::uint32_t offset,
                                         std::uint32_t length) const {
  ReadPlan buffered{Access::kBuffered, offset, offset + length};
  // Data that went through the page cache is likely still there; a direct read would flush it
  // first.
  if (direct_alignment_ == 0 || slot.is_cached) {
    return buffered;
  }
  ReadPlan direct{Access::kDirect,
                  static_cast<std::uint32_t>(round_down(offset, direct_alignment_)),
                  static_cast<std::uint32_t>(round_up(offset + length, direct_alignment_))};
  bool is_aligned =
      direct.begin == offset && (direct.end == buffered.end || buffered.end == slot.end);
  bool fits = direct.end - direct.begin <= pool_.buffer_bytes();
  return fits && (is_aligned || length >= kMinWidenedRead) ? direct : buffered;
}

rt::CoResult<ReadLease> FileStore::read(wire::ChunkKey key,
                                        std::uint32_t offset,
                                        std::uint32_t length,
                                        Deadline deadline,
                                        WaitObserver* observer) {
  if (is_closed_) {
    co_return closed();
  }
  if (length > max_transfer_) {
    co_return fail_errno(EINVAL, fmt::format("a chunk read of {} bytes", length));
  }
  Activity activity(this);
  ReadLease lease;
  FileSlot* slot = index_.find(key);
  if (slot == nullptr || offset >= slot->end || length == 0) {
    co_return lease;
  }
  BENCHFS_CO_TRY(lease.buffer_, co_await pool_.acquire(deadline, observer));
  slot = index_.find(key);  // again: the wait may have been long
  if (slot == nullptr || offset >= slot->end) {
    co_return ReadLease{};
  }
  std::uint32_t stored = std::min(length, slot->end - offset);
  ReadPlan plan = plan_read(*slot, offset, stored);
  // A concurrent truncation queues behind: what it removes is still there for this read.
  SlotGuard::Hold hold = co_await slot->guard.enter(plan.access);
  std::span<std::byte> into = lease.buffer_.span().first(plan.end - plan.begin);
  const Segment& segment = *slot->segment;
  BENCHFS_CO_TRY_VOID(
      co_await io_.read(plan.access == Access::kDirect ? segment.direct : segment.buffered,
                        into,
                        segments_->offset_of(*slot) + plan.begin));
  lease.bytes_ = into.subspan(offset - plan.begin, stored);
  co_return lease;
}

rt::CoResult<WriteLease> FileStore::begin_write(wire::ChunkKey key,
                                                std::uint32_t offset,
                                                std::uint32_t length,
                                                Deadline deadline,
                                                WaitObserver* observer) {
  if (is_closed_) {
    co_return closed();
  }
  if (length == 0 || length > max_transfer_ || offset > config_.slot_bytes ||
      length > config_.slot_bytes - offset) {
    co_return fail_errno(EINVAL, fmt::format("a chunk write of {} bytes at {}", length, offset));
  }
  Activity activity(this);
  WriteLease lease;
  BENCHFS_CO_TRY(lease.buffer_, co_await pool_.acquire(deadline, observer));
  if (is_closed_) {
    co_return closed();
  }
  lease.bytes_ = lease.buffer_.span().first(length);
  lease.key_ = key;
  lease.owner_ = this;
  open_writes_[lease.buffer_.index()] = {.key = key,
                                         .offset = offset,
                                         .end = offset + length,
                                         .keep_end = offset + length,
                                         .is_open = true};
  ++open_write_count_;
  co_return lease;
}

void FileStore::end_lease(ReadLease&) {}

void FileStore::end_lease(WriteLease& lease) {
  open_writes_[lease.buffer_.index()].is_open = false;
  --open_write_count_;
  write_ended_.wake_all();
}

Access FileStore::write_access(std::uint32_t begin, std::uint32_t end) const {
  bool is_aligned = direct_alignment_ > 0 && (begin | end) % direct_alignment_ == 0;
  return is_aligned ? Access::kDirect : Access::kBuffered;
}

rt::CoResult<FileSlot*> FileStore::slot_for_write(wire::ChunkKey key) {
  FileSlot* slot = index_.find(key);
  if (slot != nullptr) {
    co_return slot;
  }
  if (!segments_->has_slot() && co_await puncher_.catch_up()) {
    co_return nullptr;
  }
  if (!segments_->has_slot()) {
    BENCHFS_CO_TRY_VOID(co_await segments_->grow(blocking_));
    co_return nullptr;
  }
  slot = segments_->allocate();
  index_.insert(key, slot);
  if (slot->dirty_end > 0) {  // no holes here: the bytes of its former chunk are still in it
    SlotGuard::Hold hold = co_await slot->guard.enter(Access::kExclusive);
    if (Status scrubbed = co_await puncher_.scrub(*slot); !scrubbed) {
      slot->is_failed = true;
      co_return std::unexpected(std::move(scrubbed).error());
    }
    co_return index_.find(key);
  }
  co_return slot;
}

// A write whose connection broke comes again while the device still stores its first copy. Whatever
// is written after the answer to the second must not be overwritten by the first.
rt::Task<void> FileStore::wait_for_overlapped(const OpenWrite& write) {
  auto is_in_the_way = [&](const OpenWrite& other) {
    return other.is_open && other.commit != 0 && other.commit < write.commit &&
           other.key == write.key && other.offset < write.end && write.offset < other.end;
  };
  while (std::ranges::any_of(open_writes_, is_in_the_way)) {
    (void)co_await write_ended_.wait(Deadline::never());  // as long as the device takes
  }
}

rt::CoStatus FileStore::commit(WriteLease lease, std::int64_t mtime_ns) {
  BENCHFS_CHECK(lease.owner_ == this);
  if (is_closed_) {
    co_return closed();
  }
  Activity activity(this);
  OpenWrite& write = open_writes_[lease.buffer_.index()];
  write.commit = ++commits_;
  if (open_write_count_ > 1) {
    co_await wait_for_overlapped(write);
  }
  std::uint64_t freed = puncher_.slots_freed();
  Status stored = co_await store(write, lease.bytes_, mtime_ns);
  if (stored || !stored.error().is_posix(ENOSPC)) {
    co_return stored;
  }
  // The space of removed files may be on its way back, or have come back since.
  (void)co_await puncher_.catch_up();
  if (puncher_.slots_freed() != freed) {
    co_return co_await store(write, lease.bytes_, mtime_ns);
  }
  co_return stored;
}

rt::CoStatus FileStore::store(const OpenWrite& write,
                              std::span<const std::byte> bytes,
                              std::int64_t mtime_ns) {
  while (write.keep_end > write.offset) {
    BENCHFS_CO_TRY(FileSlot * slot, co_await slot_for_write(write.key));
    if (slot == nullptr) {
      continue;
    }
    std::uint32_t end = write.keep_end;
    Access access = write_access(write.offset, end);
    SlotGuard::Hold hold = co_await slot->guard.enter(access);
    if (slot->is_dropped || write.keep_end != end) {
      continue;  // truncated while we waited
    }
    Segment& segment = *slot->segment;
    if (slot->is_failed || segment.is_failed) {
      co_return fail_errno(EIO, "an earlier write to this chunk failed");
    }
    slot->dirty_end = std::max(slot->dirty_end, end);
    Status written =
        co_await io_.write(access == Access::kDirect ? segment.direct : segment.buffered,
                           bytes.first(end - write.offset),
                           segments_->offset_of(*slot) + write.offset);
    slot->is_cached = access == Access::kBuffered;
    slot->write_number = ++segment.writes;
    if (!written) {
      hold.release();
      Error error = std::move(written).error();
      if (error.posix == EFBIG) {  // a limit on the size of files that came later: no space
        error.posix = ENOSPC;
      }
      co_return co_await write_failed(write.key, slot, std::move(error));
    }
    // A concurrent truncation waits for the guard and then removes the bytes beyond keep_end.
    if (!slot->is_dropped && write.keep_end > write.offset) {
      slot->end = std::max(slot->end, write.keep_end);
      index_.note_write(write.key.inode, mtime_ns);
    }
    co_return Status{};
  }
  co_return Status{};
}

rt::CoStatus FileStore::write_failed(wire::ChunkKey key, FileSlot* slot, Error error) {
  if (!leaves_slot_usable(error.posix) && !slot->is_failed) {
    slot->is_failed = true;
    BENCHFS_LOG(kError, "the chunk takes no more writes: {}", error.message());
  }
  if (slot->is_dropped) {
    co_return std::unexpected(std::move(error));
  }
  SlotGuard::Hold hold = co_await slot->guard.enter(Access::kExclusive);
  if (!slot->is_dropped && !slot->is_failed) {
    if (Status scrubbed = co_await puncher_.scrub(*slot); !scrubbed) {
      slot->is_failed = true;
    } else if (slot->end == 0 && !slot->is_dropped && !slot->guard.has_waiters()) {
      hold.release();
      index_.erase(key);
      segments_->release(*slot);
    }
  }
  co_return std::unexpected(std::move(error));
}

void FileStore::cut_open_writes(wire::InodeId inode,
                                std::uint64_t size,
                                std::uint32_t chunk_bytes) {
  if (open_write_count_ == 0) {
    return;
  }
  for (OpenWrite& write : open_writes_) {
    if (write.is_open && write.key.inode == inode) {
      std::uint64_t start = write.key.index * chunk_bytes;
      std::uint64_t cut = size > start ? size - start : 0;
      write.keep_end = static_cast<std::uint32_t>(std::min<std::uint64_t>(write.keep_end, cut));
    }
  }
}

rt::CoStatus FileStore::truncate(wire::InodeId inode,
                                 std::uint64_t size,
                                 std::uint32_t chunk_bytes) {
  if (is_closed_) {
    co_return closed();
  }
  Activity activity(this);
  cut_open_writes(inode, size, chunk_bytes);
  std::uint64_t whole = size / chunk_bytes;
  auto rest = static_cast<std::uint32_t>(size % chunk_bytes);
  index_.cut(
      inode, whole + (rest > 0 ? 1 : 0), [this](FileSlot& slot) { puncher_.free_later(slot); });
  FileSlot* slot = rest > 0 ? index_.find({inode, whole}) : nullptr;
  Status status;
  if (slot != nullptr && slot->dirty_end > rest) {
    slot->end = std::min(slot->end, rest);
    // Queued before anybody can write beyond the cut again.
    SlotGuard::Hold hold = co_await slot->guard.enter(Access::kExclusive);
    if (!slot->is_dropped) {
      status = co_await puncher_.scrub(*slot);
      slot->is_failed |= !status;
    }
  }
  co_return status;
}

rt::CoStatus FileStore::punch(wire::ChunkKey key,
                              std::uint32_t offset,
                              std::uint32_t length,
                              std::int64_t mtime_ns) {
  if (is_closed_) {
    co_return closed();
  }
  Activity activity(this);
  FileSlot* slot = index_.find(key);
  if (slot == nullptr || offset >= slot->end) {
    co_return Status{};
  }
  SlotGuard::Hold hold = co_await slot->guard.enter(Access::kExclusive);
  if (slot->is_dropped || offset >= slot->end) {
    co_return Status{};  // truncated while we waited
  }
  Segment& segment = *slot->segment;
  if (slot->is_failed || segment.is_failed) {
    co_return fail_errno(EIO, "an earlier write to this chunk failed");
  }
  std::uint32_t end = offset + std::min(length, slot->end - offset);
  Status punched = co_await puncher_.punch(*slot, offset, end);
  slot->write_number = ++segment.writes;
  if (punched && !slot->is_dropped) {
    index_.note_write(key.inode, mtime_ns);
  }
  co_return punched;
}

std::vector<wire::ChunkEnd> FileStore::list(wire::InodeId inode,
                                            std::uint64_t first,
                                            std::size_t max) const {
  return index_.list(inode, first, max);
}

Extent FileStore::query(wire::InodeId inode, std::uint32_t chunk_bytes) const {
  return index_.query(inode, chunk_bytes);
}

rt::CoStatus FileStore::sync(wire::InodeId inode) {
  if (is_closed_) {
    co_return closed();
  }
  Activity activity(this);
  std::vector<Segment*> segments;
  index_.for_each(inode, [&segments](const FileSlot& slot) {
    bool is_synced = slot.write_number <= slot.segment->synced_writes && !slot.segment->is_failed;
    if (!is_synced && std::ranges::find(segments, slot.segment) == segments.end()) {
      segments.push_back(slot.segment);
    }
  });
  for (Segment* segment : segments) {
    if (segment->is_failed) {
      co_return fail_errno(EIO, "an earlier sync of the chunk's segment failed");
    }
    std::uint64_t writes = segment->writes;
    Status synced = co_await io_.sync(segment->buffered);
    if (!synced) {
      segment->is_failed = true;
      BENCHFS_LOG(kError, "the segment takes no more writes: {}", synced.error().message());
      co_return synced;
    }
    segment->synced_writes = std::max(segment->synced_writes, writes);
  }
  co_return Status{};
}

rt::CoResult<Space> FileStore::space(Deadline deadline) {
  if (is_closed_) {
    co_return closed();
  }
  Activity activity(this);
  Result<Space> now =
      co_await blocking_.run<Space>([directory = config_.directory] { return space_of(directory); },
                                    deadline.earlier(Deadline::after(kSpacePatience)));
  if (now) {
    last_space_ = *now;
  } else if (now.error().code != Errc::kDeadline && now.error().code != Errc::kBusy) {
    co_return now;
  }
  Space space = last_space_;
  space.free_bytes = std::min(space.free_bytes + puncher_.owed_bytes(), space.total_bytes);
  co_return space;
}

rt::CoStatus FileStore::close() {
  is_closed_ = true;
  while (active_ > 0) {
    (void)co_await idle_.wait(Deadline::never());
  }
  co_await puncher_.stop();
  co_return co_await segments_->close(blocking_);
}

Result<std::unique_ptr<ChunkStore>> open_file_store(rt::Reactor& reactor,
                                                    rt::Uring& ring,
                                                    BufferPool& pool,
                                                    FileEngineConfig config) {
  if (config.directory.empty() || config.slot_bytes == 0 || config.slot_bytes % kPageBytes != 0 ||
      config.segment_slots == 0 || config.segment_slots > (std::uint64_t{1} << 20)) {
    return fail(
        Errc::kConfig,
        fmt::format("file engine in directory '{}' with chunks of {} bytes and {} chunks a "
                    "segment: chunks are whole pages of 4096 bytes, a segment has 1 to 2^20",
                    config.directory,
                    config.slot_bytes,
                    config.segment_slots));
  }
  BENCHFS_TRY(std::unique_ptr<Segments> segments, Segments::open(ring, config));
  std::span<std::byte> fixed = pool.region();
  iovec region{fixed.data(), fixed.size()};
  if (Status registered = ring.register_buffers({&region, 1}); !registered) {
    BENCHFS_LOG(kWarn, "going on with unregistered buffers: {}", registered.error().message());
    fixed = {};
  }
  SegmentIo io(ring, fixed, config.faults);
  return std::make_unique<FileStore>(reactor, std::move(config), pool, std::move(segments), io);
}

}  // namespace benchfs::chunk
