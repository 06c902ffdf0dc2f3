#include "chunk/buffer_pool.h"

#include <fmt/format.h>

#include <algorithm>

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
  owners_.resize(count);
  free_.reserve(count);
  for (std::size_t i = count; i > 0; --i) {
    free_.push_back(static_cast<std::uint32_t>(i - 1));
  }
}

BufferPool::~BufferPool() {
  BENCHFS_CHECK(free_.size() == count_ && waiters_.empty());
}

// At least one buffer is free. Nobody holds more than the buffers in use, so count only when few
// are free.
bool BufferPool::has_share(std::uint64_t owner) const {
  std::size_t enough = 2 * (free_.size() - 1);
  if (owner == 0 || count_ - free_.size() < enough) {
    return true;
  }
  auto held = static_cast<std::size_t>(std::ranges::count(owners_, owner));
  return held == 0 || held < enough;
}

BufferPool::Lease BufferPool::take(std::uint64_t owner) {
  std::uint32_t index = free_.back();
  free_.pop_back();
  owners_[index] = owner;
  return {this, index};
}

std::optional<BufferPool::Lease> BufferPool::try_acquire() {
  if (available() == 0) {
    return std::nullopt;
  }
  return take(0);
}

rt::Task<Result<BufferPool::Lease>> BufferPool::acquire(Deadline deadline, WaitObserver* observer) {
  std::uint64_t owner = observer == nullptr ? 0 : observer->owner();
  if (available() > 0 && has_share(owner)) {
    co_return take(owner);
  }
  Waiting waiting{owner, {}, {}};
  if (co_await wait(waiting, deadline, observer) != rt::Wake::kReady) {
    co_return fail(Errc::kDeadline, fmt::format("waiting for one of {} I/O buffers", count_));
  }
  co_return std::move(waiting.lease);
}

rt::Task<rt::Wake> BufferPool::wait(Waiting& waiting, Deadline deadline, WaitObserver* observer) {
  ++stats_.waits;
  ++stats_.waiting;
  if (observer != nullptr) {
    observer->on_wait_begins();
  }
  waiters_.push_back(&waiting);
  rt::Wake wake = co_await waiting.queue.wait(deadline);
  std::erase(waiters_, &waiting);
  if (observer != nullptr) {
    observer->on_wait_ends();
  }
  --stats_.waiting;
  stats_.timeouts += wake == rt::Wake::kReady ? 0 : 1;
  co_return wake;
}

void BufferPool::give_back(std::uint32_t index) {
  owners_[index] = 0;
  free_.push_back(index);
  for (std::size_t i = 0; i < waiters_.size() && !free_.empty();) {
    Waiting& waiting = *waiters_[i];
    // wake_one() fails for a task whose deadline passed in this pass.
    if (has_share(waiting.owner) && waiting.queue.wake_one()) {
      waiting.lease = take(waiting.owner);
      waiters_.erase(waiters_.begin() + static_cast<std::ptrdiff_t>(i));
    } else {
      ++i;
    }
  }
}

}  // namespace benchfs::chunk
