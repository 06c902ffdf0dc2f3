// The segment files of the file engine: their directory, their descriptors, their slots.
//
// segment_000000.dat … are sparse files of segment_slots slots each, opened once: buffered, and
// with O_DIRECT where the file system takes it. The directory belongs to one store at a time:
// `lock` in it is held with flock(), so a daemon that died leaves no lock behind. Chunk contents
// are worthless without the index, which lives in memory; segment files of an earlier run are
// therefore removed.
//
// Thread: one reactor's. Calls block for the system calls of creating a segment (once in
// segment_slots slots), of opening and of closing.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "chunk/chunk_store.h"
#include "chunk/segment_io.h"
#include "chunk/slot_guard.h"
#include "rt/uring.h"

namespace benchfs::chunk {

struct Segment;

// end <= dirty_end. Bytes in [end, dirty_end) belong to writes under way or are left-overs of
// failed ones, which whoever has exclusive access may zero; beyond dirty_end the file reads as
// zeros.
struct FileSlot {
  Segment* segment = nullptr;
  std::uint32_t index = 0;  // in the segment
  std::uint32_t end = 0;
  std::uint32_t dirty_end = 0;
  std::uint64_t write_number = 0;  // of its last write, as counted by the segment
  bool is_failed = false;          // a write failed, its content is unknown: no more writes
  bool is_dropped = false;         // in no index any more
  bool is_cached = false;          // last written through the page cache
  SlotGuard guard;
};

struct Segment {
  std::uint32_t number = 0;
  int direct_fd = -1;  // -1: no O_DIRECT
  int buffered_fd = -1;
  IoTarget direct;
  IoTarget buffered;
  std::uint64_t writes = 0;         // completed
  std::uint64_t synced_writes = 0;  // known to be on the device
  bool is_failed = false;           // an fsync failed
  std::unique_ptr<FileSlot[]> slots;
};

class Segments {
 public:
  // Makes and locks the directory, cleans it and makes the first segment.
  static Result<std::unique_ptr<Segments>> open(rt::Uring& ring, const FileEngineConfig& config);
  Segments(const Segments&) = delete;
  Segments& operator=(const Segments&) = delete;
  ~Segments();

  // A slot that is in no index. dirty_end > 0: the file system cannot punch holes, the caller
  // zeroes it. Errors: those of creating a file, as kPosix (ENOSPC, EMFILE, …).
  Result<FileSlot*> allocate();
  // Makes a slot available again, unless writes to it fail. Nobody may use it any more.
  void release(FileSlot& slot);
  // False: allocate() would have to create a segment.
  [[nodiscard]] bool has_slot() const;

  [[nodiscard]] std::uint32_t slot_bytes() const { return config_.slot_bytes; }
  [[nodiscard]] std::uint64_t offset_of(const FileSlot& slot) const {
    return std::uint64_t{slot.index} * config_.slot_bytes;
  }
  // 0: direct transfers are not possible.
  [[nodiscard]] std::uint32_t direct_alignment() const { return direct_alignment_; }
  [[nodiscard]] Result<Space> space() const;
  // Closes and removes the files.
  void close();

 private:
  Segments(rt::Uring& ring, const FileEngineConfig& config) : ring_(ring), config_(config) {}
  Status lock();
  Status remove_leftovers();
  Status add_segment();
  Status open_direct(Segment& segment, const std::string& path);
  rt::Uring::File register_file(int fd);
  [[nodiscard]] std::string path_of(std::uint32_t number) const;

  rt::Uring& ring_;
  const FileEngineConfig config_;
  int lock_fd_ = -1;
  std::uint32_t direct_alignment_ = 0;
  unsigned table_size_ = 0;  // of the ring's table of registered files
  unsigned table_used_ = 0;
  std::vector<std::unique_ptr<Segment>> segments_;
  std::uint32_t slots_used_ = 0;  // of the last segment
  std::vector<FileSlot*> free_;
};

}  // namespace benchfs::chunk
