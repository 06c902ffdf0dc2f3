// Wakes a reactor when somebody wakes a futex.
//
// A futex is a doorbell that needs no descriptor in the process that rings, and that works through
// a read-only mapping; but a reactor sleeps on descriptors. So a thread sleeps on the futex for it.
// The word never changes while the watch lives, so a ring that comes while the thread is not yet
// back in its wait is lost: who rings repeats it until it is heard.
//
// Thread: the reactor's.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>

#include "base/error.h"
#include "rt/reactor.h"

namespace benchfs::rt {

class FutexWatch {
 public:
  // Watches while `word` is 0. Both are borrowed. Errors: kSystem (no thread).
  static Result<std::unique_ptr<FutexWatch>> start(Reactor& reactor,
                                                   std::atomic<std::uint32_t>& word);
  FutexWatch(const FutexWatch&) = delete;
  FutexWatch& operator=(const FutexWatch&) = delete;
  // Sets the word to 1, wakes all who sleep on it, and waits for the thread.
  ~FutexWatch();

  // Whether somebody rang since the last call.
  bool take_rung() {
    return rung_.load(std::memory_order_relaxed) &&
           rung_.exchange(false, std::memory_order_acquire);
  }
  // Before the reactor sleeps.
  [[nodiscard]] bool is_rung() const { return rung_.load(std::memory_order_seq_cst); }

 private:
  FutexWatch(Reactor& reactor, std::atomic<std::uint32_t>& word) : reactor_(reactor), word_(word) {}
  void watch();

  Reactor& reactor_;
  std::atomic<std::uint32_t>& word_;
  std::atomic<bool> rung_{false};
  std::thread thread_;
};

}  // namespace benchfs::rt
