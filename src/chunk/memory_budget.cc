#include "chunk/memory_budget.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <limits>

namespace benchfs::chunk {
namespace {

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;

std::uint64_t reserve_of(std::uint64_t total) {
  return std::clamp(total / 32, 32 * kMiB, 1024 * kMiB);
}

std::uint64_t spare(const MemoryLeft& left) {
  return left.bytes - std::min(left.bytes, reserve_of(left.total_bytes));
}

}  // namespace

Status MemoryBudget::take(std::uint64_t bytes) {
  if (bytes <= credit_) {
    credit_ -= bytes;
    return {};
  }
  Result<MemoryLeft> left = gauge_.left();
  if (!left) {  // an unusual kernel: the configured limit remains
    return {};
  }
  std::uint64_t most = spare(*left);
  if (bytes > most) {
    credit_ = 0;
    return fail_errno(ENOSPC,
                      fmt::format("{} has {} of {} MiB left, {} are kept in reserve",
                                  left->limited_by,
                                  left->bytes / kMiB,
                                  left->total_bytes / kMiB,
                                  reserve_of(left->total_bytes) / kMiB));
  }
  // Shards that grow at once, each by a 64th of what is left, do not reach the reserve.
  credit_ = std::max(bytes, std::min(most, std::clamp(most / 64, kMiB, 64 * kMiB))) - bytes;
  return {};
}

std::uint64_t MemoryBudget::left() const {
  Result<MemoryLeft> left = gauge_.left();
  return left ? spare(*left) : std::numeric_limits<std::uint64_t>::max();
}

}  // namespace benchfs::chunk
