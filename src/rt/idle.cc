#include "rt/idle.h"

#include <sched.h>

#include <algorithm>

#include "base/cpu_relax.h"

namespace benchfs::rt {
bool IdleStrategy::on_idle() {
  if (idle_passes_++ == 0) {
    if (yielding_) {  // and then work came
      patience_ = std::min(2 * patience_, config_.yield);
      vain_phases_ = 0;
    }
    yielding_ = contended_ > 0;
    if (yielding_) {
      now_ = idle_since_ = mono_now();
    }
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

}  // namespace benchfs::rt
