// Reading and writing an open file for the functions of benchfs.h.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/error.h"
#include "capi/context.h"

namespace benchfs::capi {

Status check_transfer(const benchfs_file* file, const void* buffer, size_t size, int64_t offset);

Result<std::size_t> read_at(benchfs_file* file, void* buffer, size_t size, int64_t offset);

// The place of a write, and the number of bytes written.
struct Written {
  std::int64_t offset = 0;
  std::size_t bytes = 0;
  [[nodiscard]] std::int64_t end() const { return offset + static_cast<std::int64_t>(bytes); }
};

// At the offset, or at the end of a file that is open for appending.
Result<Written> write_at(benchfs_file* file, const void* buffer, size_t size, int64_t offset);

// After writing: what an O_SYNC file promises.
Status settle(benchfs_file* file);

}  // namespace benchfs::capi
