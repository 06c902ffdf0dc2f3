// Signals that arrive while their thread is inside the library wait for the end of the call, as the
// kernel lets them wait for that of a read from a disk. So a handler may open and read files below
// the prefix, and may leave with siglongjmp(): it never interrupts a function that has locks.
#pragma once

#include <atomic>
#include <cstdint>

namespace benchfs::preload {

namespace internal {
// Of the thread. How many of the objects below exist, how often a handler of the program was
// called, and which signals wait.
struct Inside {
  int depth;
  std::uint32_t handled;
  std::uint64_t waiting;
};
extern thread_local Inside inside __attribute__((tls_model("initial-exec")));
void let_handlers_run();
}  // namespace internal

inline void defer_signals() {
  ++internal::inside.depth;
  std::atomic_signal_fence(std::memory_order_seq_cst);
}
// A handler may run in here, and not return. Nothing may be held any more.
inline void allow_signals() {
  std::atomic_signal_fence(std::memory_order_seq_cst);
  if (--internal::inside.depth == 0 && internal::inside.waiting != 0) [[unlikely]] {
    internal::let_handlers_run();
  }
}

// Changes when a handler of the program runs in this thread.
inline std::uint32_t handler_runs() {
  std::atomic_signal_fence(std::memory_order_seq_cst);
  return internal::inside.handled;
}

class Deferral {
 public:
  Deferral() { defer_signals(); }
  Deferral(const Deferral&) = delete;
  Deferral& operator=(const Deferral&) = delete;
  ~Deferral() { allow_signals(); }
};

// Exists while a function of ours becomes another program: no signal waits.
class Interruptible {
 public:
  Interruptible() : depth_(internal::inside.depth) {
    if (depth_ > 0) {
      internal::inside.depth = 1;
      allow_signals();
    }
  }
  Interruptible(const Interruptible&) = delete;
  Interruptible& operator=(const Interruptible&) = delete;
  ~Interruptible() {
    internal::inside.depth = depth_;
    std::atomic_signal_fence(std::memory_order_seq_cst);
  }

 private:
  int depth_;
};

}  // namespace benchfs::preload
