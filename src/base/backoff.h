// The pauses between attempts at something that may succeed later: each twice as long as the one
// before, up to a longest one.
#pragma once

#include <algorithm>

#include "base/clock.h"

namespace benchfs {

class Backoff {
 public:
  constexpr Backoff(Nanos first, Nanos longest) : first_(first), longest_(longest), next_(first) {}

  // The pause to make before the next attempt.
  constexpr Nanos next() {
    Nanos pause = std::min(next_, longest_);
    next_ = std::min(2 * pause, longest_);
    return pause;
  }
  // Starts over, after progress.
  constexpr void reset() { next_ = first_; }

 private:
  Nanos first_;
  Nanos longest_;
  Nanos next_;
};

}  // namespace benchfs
