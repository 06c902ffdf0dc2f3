#include "rt/frame_pool.h"

#include <algorithm>
#include <array>
#include <new>
#include <numeric>
#include <utility>

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

void* allocate_new(std::size_t size);

// Trivially constructed and destroyed, so that using it needs no check whether it was.
class Pool {
 public:
  void empty() {
    for (FreeBlock*& head : heads_) {
      while (head != nullptr) {
        give_back(std::exchange(head, head->next));
      }
    }
    counts_.fill(kMaxFreePerClass);  // a frame freed later in the thread's end is not kept
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
    return allocate_new(index < kClassCount ? (index + 1) * kClassBytes : size);
  }

  void give(void* frame, std::size_t size) noexcept {
    std::size_t index = (size - 1) / kClassBytes;
    if (index >= kClassCount || counts_[index] >= kMaxFreePerClass) {
      give_back(frame);
      return;
    }
    auto* block = static_cast<FreeBlock*>(frame);
    block->next = heads_[index];
    heads_[index] = block;
    ++counts_[index];
  }

  void* allocate(std::size_t size) {
    ++stats_.allocations;
    return ::operator new(size);
  }
  void give_back(void* block) noexcept {
    ++returned_;
    ::operator delete(block);
  }

  // Counting is left to the few blocks that come from the allocator or go there.
  [[nodiscard]] FramePoolStats stats() const {
    FramePoolStats stats = stats_;
    std::uint64_t pooled = std::reduce(counts_.begin(), counts_.end(), std::uint64_t{0});
    stats.live = static_cast<std::int64_t>(stats.allocations - returned_ - pooled);
    return stats;
  }

 private:
  std::array<FreeBlock*, kClassCount> heads_{};
  std::array<std::uint32_t, kClassCount> counts_{};
  FramePoolStats stats_;
  std::uint64_t returned_ = 0;  // to the allocator
};

constinit thread_local Pool own_pool;

// Empties the thread's pool when the thread ends.
struct PoolEnd {
  PoolEnd() = default;
  PoolEnd(const PoolEnd&) = delete;
  PoolEnd& operator=(const PoolEnd&) = delete;
  ~PoolEnd() { own_pool.empty(); }
  void touch() {}
};
thread_local PoolEnd pool_end;

void* allocate_new(std::size_t size) {
  pool_end.touch();
  return own_pool.allocate(size);
}

}  // namespace

#ifdef BENCHFS_FRAME_POOL_OFF
void* allocate_frame(std::size_t size) {
  return allocate_new(size);
}
void free_frame(void* frame, std::size_t) noexcept {
  own_pool.give_back(frame);
}
#else
void* allocate_frame(std::size_t size) {
  return own_pool.take(size);
}
void free_frame(void* frame, std::size_t size) noexcept {
  own_pool.give(frame, size);
}
#endif

FramePoolStats frame_pool_stats() {
  return own_pool.stats();
}

}  // namespace benchfs::rt
