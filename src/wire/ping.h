// Limits for the size of a ping.
#pragma once

#include <cstdint>

namespace benchfs::wire {

// Data part of a ping and of its answer, whatever the largest transfer of the file system is.
inline constexpr std::uint32_t kMaxPingBytes = 4U << 20;

}  // namespace benchfs::wire
