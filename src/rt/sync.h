// Waiting inside one reactor: wait queues, events, sleeping, cancellation.
//
// Nothing here crosses threads. Every wait takes a deadline; most can also be cancelled. Wake-ups
// are scheduled, never resumed in place, and first come, first served.
#pragma once

#include <boost/intrusive/list.hpp>
#include <coroutine>
#include <cstdint>

#include "base/check.h"
#include "base/clock.h"
#include "base/error.h"
#include "rt/reactor.h"
#include "rt/timer.h"

namespace benchfs::rt {

enum class Wake : std::uint8_t { kReady, kDeadline, kCancelled };

// The error of a wait that did not end in kReady.
inline Status wake_status(Wake wake, const char* what) {
  switch (wake) {
    case Wake::kReady:
      return {};
    case Wake::kDeadline:
      return fail(Errc::kDeadline, what);
    case Wake::kCancelled:
      return fail(Errc::kCancelled, what);
  }
  return fail(Errc::kInternal, what);
}

class CancelSource;

namespace internal {

// A suspended coroutine that may be woken by its queue, its deadline or its cancel source,
// whichever comes first. Lives in the coroutine's frame.
class Waiter : public Timer {
 public:
  boost::intrusive::list_member_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>>
      queue_hook;
  boost::intrusive::list_member_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>>
      cancel_hook;

  void on_timer() override { finish(Wake::kDeadline); }
  void finish(Wake wake) {
    result_ = wake;
    queue_hook.unlink();
    cancel_hook.unlink();
    disarm();
    reactor_->schedule(handle_);
  }

 protected:
  void prepare(std::coroutine_handle<> handle, Deadline deadline) {
    handle_ = handle;
    reactor_ = Reactor::current();
    if (!deadline.is_never()) {
      reactor_->arm(*this, deadline.when());
    }
  }
  Wake result_ = Wake::kReady;

 private:
  std::coroutine_handle<> handle_;
  Reactor* reactor_ = nullptr;
};

using WaiterQueue = boost::intrusive::list<
    Waiter,
    boost::intrusive::member_hook<Waiter,
                                  boost::intrusive::list_member_hook<
                                      boost::intrusive::link_mode<boost::intrusive::auto_unlink>>,
                                  &Waiter::queue_hook>,
    boost::intrusive::constant_time_size<false>>;
using CancelQueue = boost::intrusive::list<
    Waiter,
    boost::intrusive::member_hook<Waiter,
                                  boost::intrusive::list_member_hook<
                                      boost::intrusive::link_mode<boost::intrusive::auto_unlink>>,
                                  &Waiter::cancel_hook>,
    boost::intrusive::constant_time_size<false>>;

}  // namespace internal

// Asks every wait that was given this source to end with kCancelled, and all later ones at once.
class CancelSource {
 public:
  CancelSource() = default;
  CancelSource(const CancelSource&) = delete;
  CancelSource& operator=(const CancelSource&) = delete;
  ~CancelSource() { BENCHFS_CHECK(waiters_.empty()); }

  void cancel() {
    cancelled_ = true;
    while (!waiters_.empty()) {
      waiters_.front().finish(Wake::kCancelled);
    }
  }
  [[nodiscard]] bool is_cancelled() const { return cancelled_; }

 private:
  friend class WaitQueue;
  internal::CancelQueue waiters_;
  bool cancelled_ = false;
};

// The primitive under all others. Must outlive its waiters.
class WaitQueue {
 public:
  WaitQueue() = default;
  WaitQueue(const WaitQueue&) = delete;
  WaitQueue& operator=(const WaitQueue&) = delete;
  ~WaitQueue() { BENCHFS_CHECK(waiters_.empty()); }

  class Awaiter : public internal::Waiter {
   public:
    Awaiter(WaitQueue* queue, Deadline deadline, CancelSource* cancel)
        : queue_(queue), deadline_(deadline), cancel_(cancel) {}
    [[nodiscard]] bool await_ready() {
      if (cancel_ != nullptr && cancel_->is_cancelled()) {
        result_ = Wake::kCancelled;
        return true;
      }
      return false;
    }
    void await_suspend(std::coroutine_handle<> handle) {
      prepare(handle, deadline_);
      if (queue_ != nullptr) {
        queue_->waiters_.push_back(*this);
      }
      if (cancel_ != nullptr) {
        cancel_->waiters_.push_back(*this);
      }
    }
    [[nodiscard]] Wake await_resume() const { return result_; }

   private:
    WaitQueue* queue_;
    Deadline deadline_;
    CancelSource* cancel_;
  };

  [[nodiscard]] Awaiter wait(Deadline deadline, CancelSource* cancel = nullptr) {
    return {this, deadline, cancel};
  }
  bool wake_one() {
    if (waiters_.empty()) {
      return false;
    }
    waiters_.front().finish(Wake::kReady);
    return true;
  }
  void wake_all() {
    while (wake_one()) {
    }
  }
  [[nodiscard]] bool empty() const { return waiters_.empty(); }

 private:
  internal::WaiterQueue waiters_;
};

// Suspends until `deadline` (kDeadline) or cancellation.
inline WaitQueue::Awaiter sleep_until(Deadline deadline, CancelSource* cancel = nullptr) {
  return {nullptr, deadline, cancel};
}
inline WaitQueue::Awaiter sleep_for(Nanos span, CancelSource* cancel = nullptr) {
  return sleep_until(Deadline::after(span), cancel);
}

// Set once or many times; stays set until reset.
class Event {
 public:
  void set() {
    set_ = true;
    queue_.wake_all();
  }
  void reset() { set_ = false; }
  [[nodiscard]] bool is_set() const { return set_; }
  [[nodiscard]] bool has_waiters() const { return !queue_.empty(); }
  [[nodiscard]] Task<Wake> wait(Deadline deadline, CancelSource* cancel = nullptr) {
    while (!set_) {
      Wake wake = co_await queue_.wait(deadline, cancel);
      if (wake != Wake::kReady) {
        co_return wake;
      }
    }
    co_return Wake::kReady;
  }

 private:
  bool set_ = false;
  WaitQueue queue_;
};

}  // namespace benchfs::rt
