// Files below the prefix in memory, which is filled by reads, and written back.
#pragma once

#include <sys/types.h>

#include <cstddef>

#include "preload/descriptions.h"
#include "preload/entry.h"
#include "preload/real.h"

namespace benchfs::preload {

struct MappedMemory;

namespace internal {
// A bit for each file of which the process has shared mappings; files may have the same.
extern std::atomic<std::uint64_t> mapped_inodes;
inline std::uint64_t mapped_bit(std::uint64_t inode) {
  return std::uint64_t{1} << (inode % 64);
}
bool begin_change(const void* address, std::size_t size);
void end_change(void* address, std::size_t size, bool is_changed);
}  // namespace internal

inline bool may_be_mapped(const Description& description) {
  std::uint64_t bits = internal::mapped_inodes.load(std::memory_order_relaxed);
  return bits != 0 && (bits & internal::mapped_bit(description.shared->inode)) != 0;
}

// What this process has mapped shared of a file, while a call reads or changes the file. No other
// call does, and nothing is written back. Does nothing for a file that is not mapped.
class MappedFile {
 public:
  explicit MappedFile(const Description& description) {
    if (may_be_mapped(description)) [[unlikely]] {
      take_hold(description.shared->inode);
    }
  }
  // The file that has this number.
  explicit MappedFile(std::uint64_t inode) {
    if ((internal::mapped_inodes & internal::mapped_bit(inode)) != 0) [[unlikely]] {
      take_hold(inode);
    }
  }
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile() {
    if (memory_ != nullptr) [[unlikely]] {
      let_go();
    }
  }
  explicit operator bool() const { return memory_ != nullptr; }
  // -EDEADLK in a signal handler that interrupted another call on a mapped file; then the call
  // fails.
  [[nodiscard]] int error() const { return error_; }

  int write_back();
  // After a read: the program sees what it stored.
  void show(void* buffer, ssize_t size, off_t offset);
  // After a write: the mappings see it.
  void take(const void* buffer, ssize_t size, off_t offset);
  // After these bytes of the file became zeros.
  void zero(off_t begin, off_t end);

 private:
  void take_hold(std::uint64_t inode);
  void let_go();

  MappedMemory* memory_ = nullptr;
  int error_ = 0;
};

// Writes what the program changed in shared mappings, before it ends or becomes another program.
void write_back_mappings();
// The same for one file of which a descriptor was closed, if it was the last.
void write_back_at_close(const Description& description);
// Whether part of it is a shared mapping of ours.
bool has_mapping(const void* address, std::size_t size);
// Calls what takes this memory away, or puts other memory there, and returns something else than
// `failure` then. What it showed of files is written back.
template <typename Result, typename Call>
Result change_memory(void* address, std::size_t size, Result failure, Call call) {
  bool is_ours = internal::begin_change(address, size);
  Result result = call();
  if (is_ours) [[unlikely]] {
    internal::end_change(address, size, result != failure);
  }
  return result;
}
// mmap() of an open file.
void* map_open(Counter& counter,
               void* address,
               std::size_t size,
               int protection,
               int flags,
               Description& description,
               off_t offset);
// mmap() of anything else.
inline void* map_other(
    void* address, std::size_t size, int protection, int flags, int fd, off_t offset) {
  auto call = [&] { return real().mmap(address, size, protection, flags, fd, offset); };
  return (flags & MAP_FIXED) != 0 ? change_memory(address, size, MAP_FAILED, call) : call();
}
// In both processes after fork().
void note_fork_of_mappings();
// Around fork() in a process of several threads: none of them changes the mappings.
void hold_mappings(const timespec& until);
void let_mappings_go();
// In the child of fork().
void forget_mapping_lock();

}  // namespace benchfs::preload
