#include "chunk/buffer_pool.h"

#include <fmt/format.h>

#include "base/check.h"

namespace benchfs::chunk {

Result<std::unique_ptr<BufferPool>> BufferPool::create(std::size_t buffer_bytes,
                                                       std::size_t count) {
  if (buffer_bytes == 0 || count == 0 || count > UINT32_MAX) {
    return fail(Errc::kInvalidArgument,
                fmt::format("a buffer pool of {} buffers of {} bytes", count, buffer_bytes));
  }
  buffer_bytes = round_up(buffer_bytes, kPageBytes);
  BENCHFS_TRY(Mapping mapping, Mapping::create(buffer_bytes * count, true));
  auto* pool = new BufferPool(  // lint: allow new private constructor
      std::move(mapping),
      buffer_bytes,
      count);
  return std::unique_ptr<BufferPool>(pool);
}

BufferPool::BufferPool(Mapping mapping, std::size_t buffer_bytes, std::size_t count)
    : mapping_(std::move(mapping)), buffer_bytes_(buffer_bytes), count_(count) {
  free_.reserve(count);
  for (std::size_t i = count; i > 0; --i) {
    free_.push_back(static_cast<std::uint32_t>(i - 1));
  }
}

BufferPool::~BufferPool() {
  BENCHFS_CHECK(free_.size() == count_ && promised_ == 0);
}

BufferPool::Lease BufferPool::take() {
  std::uint32_t index = free_.back();
  free_.pop_back();
  return {this, index};
}

std::optional<BufferPool::Lease> BufferPool::try_acquire() {
  if (available() == 0) {
    return std::nullopt;
  }
  return take();
}

rt::Task<Result<BufferPool::Lease>> BufferPool::acquire(Deadline deadline, WaitObserver* observer) {
  if (available() == 0) {
    if (co_await wait(deadline, observer) != rt::Wake::kReady) {
      co_return fail(Errc::kDeadline, fmt::format("waiting for one of {} I/O buffers", count_));
    }
    --promised_;
  }
  co_return take();
}

rt::Task<rt::Wake> BufferPool::wait(Deadline deadline, WaitObserver* observer) {
  ++stats_.waits;
  ++stats_.waiting;
  if (observer != nullptr) {
    observer->on_wait_begins();
  }
  rt::Wake wake = co_await waiters_.wait(deadline);
  if (observer != nullptr) {
    observer->on_wait_ends();
  }
  --stats_.waiting;
  stats_.timeouts += wake == rt::Wake::kReady ? 0 : 1;
  co_return wake;
}

void BufferPool::give_back(std::uint32_t index) {
  free_.push_back(index);
  if (waiters_.wake_one()) {
    ++promised_;
  }
}

}  // namespace benchfs::chunk
