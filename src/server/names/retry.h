// Starting an operation again while it runs into another one.
#pragma once

#include <cerrno>
#include <utility>

#include "base/backoff.h"
#include "rt/sync.h"

namespace benchfs::server {

inline constexpr Nanos kFirstBusyPause = std::chrono::microseconds(200);
inline constexpr Nanos kLongestBusyPause = std::chrono::milliseconds(20);

template <typename T>
bool is_busy(const Result<T>& done) {
  return !done && done.error().code == Errc::kBusy;
}

// Calls `attempt`, which returns a CoResult, until its answer is not kBusy or the deadline passes.
// An attempt that is busy has changed nothing and holds nothing; its error says for whom it waits,
// and becomes that of the operation, which must not be sent again by those who sent it.
template <typename Attempt>
auto retry_while_busy(Attempt attempt, Deadline deadline) -> decltype(attempt()) {
  Backoff backoff(kFirstBusyPause, kLongestBusyPause);
  for (;;) {
    auto done = co_await attempt();
    if (!is_busy(done)) {
      co_return done;
    }
    if (deadline.passed()) {
      co_return std::unexpected(Error{Errc::kDeadline, ETIMEDOUT, std::move(done.error().context)});
    }
    (void)co_await rt::sleep_until(deadline.earlier(Deadline::after(backoff.next())));
  }
}

}  // namespace benchfs::server
