// Which pages of a slot's memory exist. Who only reads a page that does not exist through a mapping
// makes it, and is charged for it.
//
// Chunks are mostly written from their beginning on, which costs a number; pages beyond a gap cost
// a bit each until the gap is closed.
#pragma once

#include <cstdint>
#include <vector>

#include "chunk/write_set.h"

namespace benchfs::chunk {

class PresentPages {
 public:
  // The pages of bytes [0, end()) exist.
  [[nodiscard]] std::uint32_t end() const { return end_; }
  // These bytes were written.
  void add(Range written);
  // The memory from `at` on, a multiple of the page size, was given back.
  void cut(std::uint32_t at);

 private:
  std::uint32_t end_ = 0;
  std::vector<std::uint64_t> beyond_;  // a bit for each page of the slot; empty without gaps
};

}  // namespace benchfs::chunk
