// Whether a memory store may take more memory: never what would leave the machine, or a cgroup of
// the process, with less than a reserve. The kernel would kill the daemon with all it holds.
//
// Others take memory, too, so the store asks as it grows, the more often the less is left.
//
// Thread: one reactor's.
#pragma once

#include <cstdint>
#include <string>

#include "base/error.h"
#include "chunk/memory_gauge.h"

namespace benchfs::chunk {

class MemoryBudget {
 public:
  explicit MemoryBudget(MemoryGauge gauge) : gauge_(std::move(gauge)) {}

  // Takes `bytes`. Error: ENOSPC, naming what is full.
  Status take(std::uint64_t bytes);
  // The memory that may still be taken now; unlimited where the kernel does not tell.
  [[nodiscard]] std::uint64_t left() const;

 private:
  MemoryGauge gauge_;
  std::uint64_t credit_ = 0;  // may be taken without looking again
};

}  // namespace benchfs::chunk
