// The memory of a file of which the process has shared mappings.
//
// All of them are mappings of one memory file (memfd) in which each byte is where the file has it,
// so they see each other at once. Beside the bytes it has a base: what the file had when this
// process last read or wrote it. What differs is what the program stored.
//
// Children of fork() have the same memory. Whoever calls these functions holds its mutex.
#pragma once

#include <pthread.h>
#include <sys/types.h>

#include <algorithm>
#include <cstdint>

#include "preload/descriptions.h"
#include "preload/real.h"

namespace benchfs::preload {

inline constexpr off_t kPage = 4096;
inline constexpr off_t kLongest = off_t{1} << 60;  // where a mapping may end

inline off_t page_down(off_t offset) {
  return offset & ~(kPage - 1);
}

inline off_t page_up(off_t offset) {
  return page_down(offset + kPage - 1);
}

// A range of the file that its memory has. Without `begin` no memory of this process shows it.
struct Mapping {
  char* begin = nullptr;
  off_t size = 0;  // of whole pages
  off_t offset = 0;
  Mapping* next = nullptr;

  [[nodiscard]] char* end() const { return begin + size; }
  [[nodiscard]] off_t offset_end() const { return offset + size; }
  [[nodiscard]] bool overlaps(const char* from, const char* to) const {
    return begin != nullptr && begin < to && end() > from;
  }
};

struct MappedMemory {
  std::uint64_t inode = 0;
  int memory_file = -1;
  pthread_mutex_t* mutex = nullptr;    // of the bytes and the base, which children of fork() share
  Description* description = nullptr;  // kept open; may write if `is_writable`
  bool is_writable = false;            // else there is no base
  std::uint32_t forks = 0;             // when it was made
  off_t begin = 0;                     // what the views of the library show
  off_t end = 0;
  char* bytes_view = nullptr;
  char* base_view = nullptr;
  Mapping* mappings = nullptr;
  MappedMemory* next = nullptr;

  [[nodiscard]] char* bytes(off_t offset) const { return bytes_view + (offset - begin); }
  [[nodiscard]] char* base(off_t offset) const { return base_view + (offset - begin); }
};

// Calls for what there is in [begin, end); the rest has never been touched.
template <typename Call>
void each_touched(const MappedMemory& memory, off_t begin, off_t end, Call call) {
  begin = std::max(begin, memory.begin);
  end = std::min(end, memory.end);
  while (begin < end) {
    off_t from = real().lseek(memory.memory_file, begin, SEEK_DATA);
    if (from < 0 || from >= end) {
      return;
    }
    off_t to = std::min(real().lseek(memory.memory_file, from, SEEK_HOLE), end);
    call(from, to);
    begin = to;
  }
}

// Calls for the parts of [begin, end) that mappings cover; for some more than once.
template <typename Call>
void each_covered(const MappedMemory& memory, off_t begin, off_t end, Call call) {
  for (Mapping* mapping = memory.mappings; mapping != nullptr; mapping = mapping->next) {
    off_t from = std::max(begin, mapping->offset);
    off_t to = std::min(end, mapping->offset_end());
    if (from < to) {
      call(from, to);
    }
  }
}

// Calls for the parts of [begin, end) that no mapping covers. 0 or the first error of a call.
template <typename Call>
int each_uncovered(const MappedMemory& memory, off_t begin, off_t end, Call call) {
  while (begin < end) {
    off_t covered_to = begin;
    off_t next = end;
    each_covered(memory, begin, end, [&](off_t from, off_t to) {
      covered_to = from == begin ? std::max(covered_to, to) : covered_to;
      next = std::min(next, from);
    });
    if (covered_to == begin) {
      if (int error = call(begin, next); error != 0) {
        return error;
      }
    }
    begin = std::max(covered_to, next);
  }
  return 0;
}

// The memory of the file, with nothing in it. nullptr with errno.
MappedMemory* make_memory(Description& description);
void discard(MappedMemory& memory);
// Makes bytes() and base() good for [begin, end), too. 0 or a negative errno value.
int extend_views(MappedMemory& memory, off_t begin, off_t end);

// Zeroes bytes and base, and gives the memory of whole pages back.
void zero(MappedMemory& memory, off_t begin, off_t end);
// From now on the bytes are what the file has.
void copy_to_base(MappedMemory& memory, off_t begin, off_t end);
// Reads what the file has in [begin, end) to memory that is zero. 0 or a negative errno value:
// -ENOMEM when that is too much to have it in so many copies; holes do not count.
int fill(Description& description, char* memory, off_t begin, off_t end, int copies);
// Writes what has changed in the pages of [begin, end), as far as the file reaches. 0 or the first
// error.
int write_back(MappedMemory& memory, off_t begin, off_t end);

}  // namespace benchfs::preload
