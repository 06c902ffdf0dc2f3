// Sleeping and waking on a word of shared memory. The word may be mapped read-only.
#pragma once

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <climits>
#include <cstdint>
#include <ctime>

#include "base/clock.h"

namespace benchfs {

static_assert(std::atomic<std::uint32_t>::is_always_lock_free &&
              sizeof(std::atomic<std::uint32_t>) == sizeof(std::uint32_t));

// Sleeps while the word is `expected`, at most for `most`. Wakes up without a reason, too.
inline void futex_wait(const std::atomic<std::uint32_t>& word, std::uint32_t expected, Nanos most) {
  timespec timeout{.tv_sec = most.count() / 1'000'000'000, .tv_nsec = most.count() % 1'000'000'000};
  ::syscall(SYS_futex, &word, FUTEX_WAIT, expected, &timeout, nullptr, 0);
}

// Wakes everybody: a sleeper who should not be there takes nobody else's wake-up.
// Returns how many.
inline long futex_wake(const std::atomic<std::uint32_t>& word) {
  return ::syscall(SYS_futex, &word, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

}  // namespace benchfs
