// Starting an operation again while it runs into another one.
#pragma once

#include "base/backoff.h"
#include "rt/sync.h"

namespace benchfs::server {

inline constexpr Nanos kFirstPause = std::chrono::microseconds(200);
inline constexpr Nanos kLongestPause = std::chrono::milliseconds(20);

// Calls `attempt`, which returns a CoResult, until its answer is not kBusy or the deadline passes.
// An attempt that is busy has changed nothing and holds nothing.
template <typename Attempt>
auto retry_while_busy(Attempt attempt, Deadline deadline) -> decltype(attempt()) {
  Backoff backoff(kFirstPause, kLongestPause);
  for (;;) {
    auto done = co_await attempt();
    if (done || done.error().code != Errc::kBusy || deadline.passed()) {
      co_return done;
    }
    (void)co_await rt::sleep_for(backoff.next());
  }
}

}  // namespace benchfs::server
