// Notices when a signal handler calls us although it has interrupted one of our functions in the
// same thread: that call must not wait for locks that its own thread holds. And keeps a thread that
// is cancelled (pthread_cancel(3)) from ending in the middle of one.
#pragma once

#include <pthread.h>

#include <atomic>
#include <csignal>

namespace benchfs::capi {

namespace internal {
inline thread_local volatile std::sig_atomic_t is_inside = 0;
}

// Marks the calling thread as inside one of our functions, in which nothing is a cancellation
// point.
class Inside {
 public:
  Inside() : is_first_(internal::is_inside == 0) {
    internal::is_inside = 1;
    std::atomic_signal_fence(std::memory_order_seq_cst);
  }
  Inside(const Inside&) = delete;
  Inside& operator=(const Inside&) = delete;
  ~Inside() {
    std::atomic_signal_fence(std::memory_order_seq_cst);
    if (is_first_) {
      internal::is_inside = 0;
    }
  }
  // False: the thread was inside already, so this call comes from a signal handler.
  [[nodiscard]] bool is_first() const { return is_first_; }

 private:
  bool is_first_;
};

// The same for any function. Costs two locked instructions more.
class Entry {
 public:
  Entry() {
    if (is_first()) {
      ::pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state_);
    }
  }
  Entry(const Entry&) = delete;
  Entry& operator=(const Entry&) = delete;
  ~Entry() {
    if (is_first()) {
      ::pthread_setcancelstate(cancel_state_, nullptr);
    }
  }
  [[nodiscard]] bool is_first() const { return inside_.is_first(); }

 private:
  Inside inside_;
  int cancel_state_ = PTHREAD_CANCEL_ENABLE;
};

// Exists while one of our functions calls back into the program, which may call us.
class Outside {
 public:
  Outside() { internal::is_inside = 0; }
  Outside(const Outside&) = delete;
  Outside& operator=(const Outside&) = delete;
  ~Outside() { internal::is_inside = 1; }
};

}  // namespace benchfs::capi
