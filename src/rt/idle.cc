#include "rt/idle.h"

#include <sched.h>

#include <algorithm>

#include "base/cpu_relax.h"

namespace benchfs::rt {
bool IdleStrategy::on_idle(bool is_under_way) {
  if (idle_passes_++ == 0) {
    if (looks_left_ > 0) {  // and then work came
      looks_ = std::min(2 * looks_, kMostLooks);
      vain_looks_ = 0;
    } else if (yielding_) {
      patience_ = std::min(2 * patience_, config_.yield);
      vain_phases_ = 0;
    }
    yielding_ = contended_ > 0;
    looks_left_ = yielding_ ? looks_ : 0;
    if (yielding_) {
      now_ = idle_since_ = mono_now();
    }
  }
  if (looks_left_ > 0 && look_again(is_under_way)) {
    return false;
  }
  if (!yielding_) {
    if (idle_passes_ < kBusyPasses) {
      return false;
    }
    if (idle_passes_ == kBusyPasses) {
      idle_since_ = mono_now();
    }
    cpu_relax();
    if (idle_passes_ % kClockEvery == 0) {
      now_ = mono_now();
      yielding_ = now_ - idle_since_ >= config_.spin;
    }
    return false;
  }
  MonoTime before = now_;  // but for the pass in between, which found nothing and was short
  if (before - idle_since_ >= (contended_ > 0 ? patience_ : config_.yield)) {
    if (contended_ > 0) {
      patience_ = ++vain_phases_ % kProbeEvery == 0
                      ? config_.yield / 4
                      : std::max(patience_ / 2, std::min(kLeastPatience, config_.yield));
    }
    yielding_ = false;
    return true;
  }
  sched_yield();
  now_ = mono_now();
  if (now_ - before > kLongYield) {
    contended_ = kContendedYields;
  } else if (contended_ > 0) {
    --contended_;
  }
  return false;
}

// No longer than it would spin on a core of its own.
bool IdleStrategy::look_again(bool is_under_way) {
  looks_left_ = is_under_way ? looks_ : looks_left_ - 1;
  if (idle_passes_ >= kBusyPasses) {
    cpu_relax();
  }
  bool is_late = idle_passes_ >= kLooksInAll * looks_;
  if (!is_late && idle_passes_ % kClockEvery == 0) {
    is_late = mono_now() - idle_since_ >= config_.spin;
  }
  if (looks_left_ > 0 && !is_late) {
    return true;
  }
  looks_left_ = 0;
  looks_ = ++vain_looks_ % kProbeEvery == 0 ? kMostLooks : std::max(looks_ / 2, kLeastLooks);
  now_ = idle_since_ = mono_now();
  return false;
}

}  // namespace benchfs::rt
