// Memory for coroutine frames: free lists of size classes, one set a thread.
//
// In steady state a frame costs no allocation: a finished frame of the same class is reused. A
// block may be freed on another thread than the one that took it; it joins that thread's list.
// Sanitizer builds pass everything through to the allocator, so that a use after free is seen.
#pragma once

#include <cstddef>
#include <cstdint>

namespace benchfs::rt {

void* allocate_frame(std::size_t size);
void free_frame(void* frame, std::size_t size) noexcept;

// `live` is negative where frames end on another thread than they began; the sum over all threads
// is the number of frames there are.
struct FramePoolStats {
  std::uint64_t allocations = 0;  // blocks taken from the allocator by this thread
  std::uint64_t reuses = 0;
  std::size_t largest_frame = 0;
  std::int64_t live = 0;  // frames this thread allocated less those it freed
};
FramePoolStats frame_pool_stats();  // of the calling thread

}  // namespace benchfs::rt
