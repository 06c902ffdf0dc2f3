// Starting an operation again while it runs into another one.
#pragma once

#include "base/backoff.h"
#include "rt/sync.h"

namespace benchfs::server {

inline constexpr Nanos kFirstPause = std::chrono::microseconds(200);
inline constexpr Nanos kLongestPause = std::chrono::milliseconds(20);

template <typename T>
bool is_busy(const Result<T>& done) {
  return !done && done.error().code == Errc::kBusy;
}

// Calls `attempt`, which returns a CoResult, until its answer is not kBusy or the deadline passes.
// An attempt that is busy has changed nothing and holds nothing.
template <typename Attempt>
auto retry_while_busy(Attempt attempt, Deadline deadline) -> decltype(attempt()) {
  Backoff backoff(kFirstPause, kLongestPause);
  for (;;) {
    auto done = co_await attempt();
    if (!is_busy(done) || deadline.passed()) {
      co_return done;
    }
    (void)co_await rt::sleep_for(backoff.next());
  }
}

}  // namespace benchfs::server
