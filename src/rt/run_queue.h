// Coroutines that are ready to resume, first in first out. Grows by doubling, never shrinks.
#pragma once

#include <coroutine>
#include <cstddef>
#include <vector>

namespace benchfs::rt {

class RunQueue {
 public:
  void push(std::coroutine_handle<> handle) {
    if (size_ == ring_.size()) {
      grow();
    }
    ring_[(head_ + size_) & (ring_.size() - 1)] = handle;
    ++size_;
  }
  std::coroutine_handle<> pop() {
    std::coroutine_handle<> handle = ring_[head_];
    head_ = (head_ + 1) & (ring_.size() - 1);
    --size_;
    return handle;
  }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] bool empty() const { return size_ == 0; }

 private:
  void grow() {
    std::vector<std::coroutine_handle<>> bigger(ring_.size() * 2);
    for (std::size_t i = 0; i < size_; ++i) {
      bigger[i] = ring_[(head_ + i) & (ring_.size() - 1)];
    }
    ring_ = std::move(bigger);
    head_ = 0;
  }

  std::vector<std::coroutine_handle<>> ring_ = std::vector<std::coroutine_handle<>>(64);
  std::size_t head_ = 0;
  std::size_t size_ = 0;
};

}  // namespace benchfs::rt
