// A fixed number of page-aligned buffers of equal size, for data on its way between network and
// disk.
//
// All buffers lie in one contiguous mapping, so that io_uring and UCX each register it once. A
// lease holds one buffer and returns it when it dies. Tasks that find the pool empty wait, first
// come, first served: this is the flow control of the data path.
//
// Shares: an owner that holds a buffer gets another one only if it then holds at most twice as many
// as are free. A greedy owner therefore leaves a third of the pool to others, two leave a fifth,
// and clients that stopped responding during their transfers cannot block the rest. Owners over
// their share are skipped until they fit again.
//
// Thread: one reactor's. The pool must outlive its leases.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "chunk/mapping.h"
#include "rt/sync.h"
#include "rt/task.h"

namespace benchfs::chunk {

// Hears when a task starts to wait for a buffer and when the wait is over, with or without one.
class WaitObserver {
 public:
  virtual void on_wait_begins() = 0;
  virtual void on_wait_ends() = 0;
  // The owner whose share is charged; 0: no owner.
  [[nodiscard]] virtual std::uint64_t owner() const { return 0; }

 protected:
  ~WaitObserver() = default;
};

class BufferPool {
 public:
  class Lease {
   public:
    Lease() = default;
    Lease(Lease&& other) noexcept
        : pool_(std::exchange(other.pool_, nullptr)), index_(other.index_) {}
    Lease& operator=(Lease&& other) noexcept {
      std::swap(pool_, other.pool_);
      std::swap(index_, other.index_);
      return *this;
    }
    ~Lease() {
      if (pool_ != nullptr) {
        pool_->give_back(index_);
      }
    }

    explicit operator bool() const { return pool_ != nullptr; }
    // The whole buffer. It still holds the bytes of its last use.
    [[nodiscard]] std::span<std::byte> span() const { return pool_->buffer(index_); }
    // Below count().
    [[nodiscard]] std::uint32_t index() const { return index_; }

   private:
    friend class BufferPool;
    Lease(BufferPool* pool, std::uint32_t index) : pool_(pool), index_(index) {}
    BufferPool* pool_ = nullptr;
    std::uint32_t index_ = 0;
  };

  // Rounds buffer_bytes up to whole pages. Only memory that is touched or registered is used.
  static Result<std::unique_ptr<BufferPool>> create(std::size_t buffer_bytes, std::size_t count);
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;
  ~BufferPool();

  // Suspends until a buffer is free. The observer is borrowed. Error: kDeadline.
  rt::Task<Result<Lease>> acquire(Deadline deadline, WaitObserver* observer = nullptr);
  // nullopt when no buffer is free. Never overtakes waiting tasks.
  std::optional<Lease> try_acquire();

  [[nodiscard]] std::span<std::byte> region() const { return mapping_.bytes(); }
  [[nodiscard]] std::size_t buffer_bytes() const { return buffer_bytes_; }
  [[nodiscard]] std::size_t count() const { return count_; }
  [[nodiscard]] std::size_t available() const { return free_.size(); }

  struct Stats {
    std::uint64_t waits = 0;     // acquisitions that had to wait
    std::uint64_t timeouts = 0;  // waits that ended without a buffer
    std::uint32_t waiting = 0;   // tasks that wait now
  };
  [[nodiscard]] const Stats& stats() const { return stats_; }

 private:
  BufferPool(Mapping mapping, std::size_t buffer_bytes, std::size_t count);
  [[nodiscard]] std::span<std::byte> buffer(std::uint32_t index) const {
    return mapping_.bytes().subspan(index * buffer_bytes_, buffer_bytes_);
  }
  // A waiting task; lives in its coroutine's frame.
  struct Waiting {
    std::uint64_t owner;
    rt::WaitQueue queue;  // holds this task alone
    Lease lease;          // the buffer, once it is assigned
  };
  [[nodiscard]] bool has_share(std::uint64_t owner) const;
  Lease take(std::uint64_t owner);
  rt::Task<rt::Wake> wait(Waiting& waiting, Deadline deadline, WaitObserver* observer);
  void give_back(std::uint32_t index);

  Mapping mapping_;
  std::size_t buffer_bytes_;
  std::size_t count_;
  std::vector<std::uint32_t> free_;    // last in, first out: the warmest is used next
  std::vector<std::uint64_t> owners_;  // by buffer
  std::vector<Waiting*> waiters_;      // in order of arrival
  Stats stats_;
};

}  // namespace benchfs::chunk
