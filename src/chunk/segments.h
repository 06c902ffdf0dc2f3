// The segment files of the file engine: their directory, their descriptors, their slots.
//
// segment_000000.dat … are sparse files of segment_slots slots each, fewer where ulimit -f or the
// file system demands smaller files. Each is opened buffered, and also with O_DIRECT where the file
// system supports it. A store owns its directory exclusively: it holds `lock` (base/file_lock.h),
// which is free when a daemon died. Chunks are worthless without the index, which lives in
// memory, so segment files of an earlier run are removed.
//
// Thread: one reactor's. open() blocks; what blocks later, creating a segment (once per
// segment_slots slots) and removing them all, runs on a helper thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "base/file_lock.h"
#include "chunk/chunk_store.h"
#include "chunk/segment_io.h"
#include "chunk/slot_guard.h"
#include "rt/blocking_pool.h"
#include "rt/uring.h"

namespace benchfs::chunk {

struct Segment;
class SegmentFile;

// Returns the space of a directory's file system. Blocks.
Result<Space> space_of(const std::string& directory);

// "segment_000000.dat" and the like.
bool is_segment_name(std::string_view name);

// end <= dirty_end. Bytes in [end, dirty_end) belong to writes under way or remain from failed
// ones; a task with exclusive access may zero them. Beyond dirty_end the file reads as zeros.
struct FileSlot {
  Segment* segment = nullptr;
  std::uint32_t index = 0;  // in the segment
  std::uint32_t end = 0;
  std::uint32_t dirty_end = 0;
  std::uint64_t write_number = 0;  // Segment::writes at its last write
  bool is_failed = false;          // a write failed and left unknown content: refuse writes
  bool is_dropped = false;         // no longer in the index
  bool is_cached = false;          // last written through the page cache
  SlotGuard guard;
};

struct Segment {
  std::uint32_t number = 0;
  std::shared_ptr<SegmentFile> file;
  IoTarget direct;  // where the file takes direct transfers
  IoTarget buffered;
  std::uint64_t writes = 0;         // completed
  std::uint64_t synced_writes = 0;  // known to be on the device
  bool is_failed = false;           // an fsync failed
  std::unique_ptr<FileSlot[]> slots;
};

class Segments {
 public:
  // Creates and locks the directory, empties it, and creates the first segment.
  static Result<std::unique_ptr<Segments>> open(rt::Uring& ring, const FileEngineConfig& config);
  Segments(const Segments&) = delete;
  Segments& operator=(const Segments&) = delete;
  ~Segments();

  // A slot that no index refers to; has_slot() must be true. If its dirty_end is above 0 the file
  // system cannot punch holes, and the caller has to zero it.
  FileSlot* allocate();
  // Makes a slot available again, unless writes to it fail. The caller must not use it afterwards.
  void release(FileSlot& slot);
  [[nodiscard]] bool has_slot();
  // Adds a segment. Those who need one at the same time wait for the same. Errors: as for creating
  // a file, kPosix (ENOSPC, EMFILE, …); kDeadline, kBusy: the file system does not answer.
  rt::CoStatus grow(rt::BlockingPool& blocking);

  [[nodiscard]] std::uint32_t slot_bytes() const { return config_.slot_bytes; }
  [[nodiscard]] std::uint64_t offset_of(const FileSlot& slot) const {
    return std::uint64_t{slot.index} * config_.slot_bytes;
  }
  // 0 where direct transfers are impossible.
  [[nodiscard]] std::uint32_t direct_alignment() const { return direct_alignment_; }
  // Removes and closes the files. An error when the file system does not answer; then that ends
  // without anybody, or with the process.
  rt::CoStatus close(rt::BlockingPool& blocking);

 private:
  // The remains of the store when it closes. Destroying them blocks.
  struct Remains {
    std::optional<FileLock> lock;
    std::vector<std::shared_ptr<SegmentFile>> files;

    Remains() = default;
    Remains(const Remains&) = delete;
    Remains& operator=(const Remains&) = delete;
    ~Remains();
  };
  Segments(rt::Uring& ring, const FileEngineConfig& config)
      : ring_(ring), config_(config), segment_slots_(config.segment_slots) {}
  // Smaller segments where the process or the file system limits the size of files.
  Status limit_segment_size();
  Status lock();
  Status remove_leftovers();
  [[nodiscard]] std::function<Result<std::shared_ptr<SegmentFile>>()> next_file() const;
  void add_segment(std::shared_ptr<SegmentFile> file);
  rt::Uring::File register_file(int fd);
  std::shared_ptr<Remains> take_remains();

  rt::Uring& ring_;
  const FileEngineConfig config_;
  std::uint64_t segment_slots_;
  std::optional<FileLock> lock_;
  std::uint32_t direct_alignment_ = 0;
  unsigned table_size_ = 0;  // entries of the ring's file table
  unsigned table_used_ = 0;
  std::vector<std::unique_ptr<Segment>> segments_;
  std::uint32_t slots_used_ = 0;  // in the last segment
  std::vector<FileSlot*> free_;
  std::shared_ptr<rt::BlockingJob<std::shared_ptr<SegmentFile>>> growing_;
};

}  // namespace benchfs::chunk
