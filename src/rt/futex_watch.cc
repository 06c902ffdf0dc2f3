#include "rt/futex_watch.h"

#include <chrono>
#include <system_error>

#include "base/futex.h"
#include "base/signal_block.h"

namespace benchfs::rt {

// The thread looks after itself this often, should the kernel have forgotten it.
constexpr Nanos kLongestWatch = std::chrono::minutes(1);

Result<std::unique_ptr<FutexWatch>> FutexWatch::start(Reactor& reactor,
                                                      std::atomic<std::uint32_t>& word) {
  std::unique_ptr<FutexWatch> watch(new FutexWatch(reactor, word));  // lint: allow new private
  SignalBlock block;
  try {
    watch->thread_ = std::thread([self = watch.get()] { self->watch(); });
  } catch (const std::system_error& error) {
    return fail_system(error.code().value(), "starting the thread that watches a doorbell");
  }
  return watch;
}

FutexWatch::~FutexWatch() {
  word_.store(1, std::memory_order_seq_cst);
  futex_wake(word_);
  if (thread_.joinable()) {
    thread_.join();
  }
}

void FutexWatch::watch() {
  while (word_.load(std::memory_order_acquire) == 0) {
    futex_wait(word_, 0, kLongestWatch);
    rung_.store(true, std::memory_order_seq_cst);
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (reactor_.is_sleeping()) {
      reactor_.wake();
    }
  }
}

}  // namespace benchfs::rt
