#include "rt/frame_pool.h"

#include <algorithm>
#include <array>
#include <new>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define BENCHFS_FRAME_POOL_OFF 1
#endif
#endif

namespace benchfs::rt {
namespace {

constexpr std::size_t kClassBytes = 128;
constexpr std::size_t kClassCount = 32;           // frames up to 4 KiB are pooled
constexpr std::uint32_t kMaxFreePerClass = 4096;  // bounds what a burst leaves behind

struct FreeBlock {
  FreeBlock* next;
};

class Pool {
 public:
  Pool() = default;
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;
  ~Pool() {
    for (FreeBlock* block : heads_) {
      while (block != nullptr) {
        FreeBlock* next = block->next;
        ::operator delete(block);
        block = next;
      }
    }
  }

  void* take(std::size_t size) {
    stats_.largest_frame = std::max(stats_.largest_frame, size);
    std::size_t index = (size - 1) / kClassBytes;
    if (index < kClassCount && heads_[index] != nullptr) {
      FreeBlock* block = heads_[index];
      heads_[index] = block->next;
      --counts_[index];
      ++stats_.reuses;
      return block;
    }
    ++stats_.allocations;
    return ::operator new(index < kClassCount ? (index + 1) * kClassBytes : size);
  }

  void give(void* frame, std::size_t size) noexcept {
    std::size_t index = (size - 1) / kClassBytes;
    if (index >= kClassCount || counts_[index] >= kMaxFreePerClass) {
      ::operator delete(frame);
      return;
    }
    auto* block = static_cast<FreeBlock*>(frame);
    block->next = heads_[index];
    heads_[index] = block;
    ++counts_[index];
  }

  [[nodiscard]] const FramePoolStats& stats() const { return stats_; }
  FramePoolStats& stats() { return stats_; }

 private:
  std::array<FreeBlock*, kClassCount> heads_{};
  std::array<std::uint32_t, kClassCount> counts_{};
  FramePoolStats stats_;
};

thread_local Pool pool;

}  // namespace

#ifdef BENCHFS_FRAME_POOL_OFF
void* allocate_frame(std::size_t size) {
  ++pool.stats().allocations;
  return ::operator new(size);
}
void free_frame(void* frame, std::size_t) noexcept {
  ::operator delete(frame);
}
#else
void* allocate_frame(std::size_t size) {
  return pool.take(size);
}
void free_frame(void* frame, std::size_t size) noexcept {
  pool.give(frame, size);
}
#endif

FramePoolStats frame_pool_stats() {
  return pool.stats();
}

}  // namespace benchfs::rt
