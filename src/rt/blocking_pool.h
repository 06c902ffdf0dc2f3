// Runs functions that may block: they read a file of a shared file system, or ask it for its free
// space. It has one helper thread, a bounded queue, and a deadline for every waiter.
//
// A function that hangs keeps the helper, and so all that are submitted later, but neither the
// reactor nor the end of the process: a waiter leaves at its deadline, and the function ends
// without one. So it must own everything it uses.
//
// Thread: the reactor's, but for the functions. The pool may die while functions run.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "base/error.h"
#include "rt/reactor.h"
#include "rt/sync.h"

namespace benchfs::rt {

namespace internal {
class BlockingQueue;

class BlockingWork {
 public:
  virtual ~BlockingWork() = default;
  virtual void run() = 0;  // on the helper thread

  [[nodiscard]] bool is_done() const { return is_done_; }

 protected:
  friend class BlockingQueue;
  bool is_done_ = false;  // both: reactor's thread
  WaitQueue done_;
};
}  // namespace internal

// One function that was submitted, and its result.
template <typename T>
class BlockingJob final : public internal::BlockingWork {
 public:
  explicit BlockingJob(std::function<Result<T>()> function) : function_(std::move(function)) {}

  // True when it is done; false when the deadline came first, or the cancellation.
  Task<bool> wait(Deadline deadline, CancelSource* cancel = nullptr) {
    while (!is_done_) {
      if (co_await done_.wait(deadline, cancel) != Wake::kReady) {
        co_return is_done_;
      }
    }
    co_return true;
  }
  [[nodiscard]] const Result<T>& result() const { return *result_; }

  void run() override {
    result_.emplace(function_());
    function_ = nullptr;
  }

 private:
  std::function<Result<T>()> function_;
  std::optional<Result<T>> result_;
};

class BlockingPool {
 public:
  static constexpr std::size_t kMaxQueued = 64;

  // The thread is started with the first job. `reactor` is borrowed.
  explicit BlockingPool(Reactor& reactor);
  BlockingPool(const BlockingPool&) = delete;
  BlockingPool& operator=(const BlockingPool&) = delete;
  ~BlockingPool();

  // Errors: kBusy (kMaxQueued functions wait behind one that does not end), kSystem (no thread).
  template <typename T>
  Result<std::shared_ptr<BlockingJob<T>>> submit(std::function<Result<T>()> function) {
    auto job = std::make_shared<BlockingJob<T>>(std::move(function));
    BENCHFS_TRY_VOID(enqueue(job));
    return job;
  }
  // Submits and waits. Errors: also kDeadline, kCancelled, and those of the function.
  template <typename T>
  CoResult<T> run(std::function<Result<T>()> function,
                  Deadline deadline,
                  CancelSource* cancel = nullptr) {
    auto job = submit<T>(std::move(function));
    if (!job) {
      co_return std::unexpected(job.error());
    }
    if (!co_await (*job)->wait(deadline, cancel)) {
      bool is_cancelled = cancel != nullptr && cancel->is_cancelled();
      co_return fail(is_cancelled ? Errc::kCancelled : Errc::kDeadline,
                     "a blocking operation has not ended");
    }
    co_return (*job)->result();
  }

 private:
  Status enqueue(std::shared_ptr<internal::BlockingWork> work);

  std::shared_ptr<internal::BlockingQueue> queue_;
};

}  // namespace benchfs::rt
