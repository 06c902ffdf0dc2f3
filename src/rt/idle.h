// Decides how a reactor waits when nothing is ready: it spins, then yields, then sleeps.
//
// Spinning answers in a fraction of a microsecond but burns a core that may belong to the
// application; sleeping costs tens of microseconds to wake. So: spin for `spin`, then give the core
// away with sched_yield between polls until `yield` has passed, then sleep. When sched_yield takes
// long, another process ran on this core: the machine is oversubscribed, spinning only keeps the
// peer from running, and the strategy yields at once until yields become short again.
//
// A yield offers the core only to the same scheduling group (Linux makes one of each session and
// each cgroup). The peer may belong to another group, which gets the core only when this one
// sleeps. So on a contended core yielding must pay: a phase that ends without work halves the time
// that the next one may yield, and a phase that ends with work doubles it.
//
// A switch to another process and back takes several times as long as the answer of a peer that
// runs on another core. So as long as somebody is seen to work on what is waited for, a phase looks
// and keeps the core, also a contended one. Looking must pay, too: a peer that shares this core
// does nothing meanwhile.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

#include "base/clock.h"

namespace benchfs::rt {

struct IdleConfig {
  Nanos spin = std::chrono::microseconds(20);    // poll without giving up the core
  Nanos yield = std::chrono::microseconds(100);  // then poll with yields, measured from idle start
  // Until yields show that it is not: who is woken runs on the core of who woke it, for a while.
  bool begins_contended = false;
};

class IdleStrategy {
 public:
  explicit IdleStrategy(IdleConfig config)
      : config_(config),
        contended_(config.begins_contended ? kContendedYields : 0),
        patience_(config.yield) {}

  // Work was found: the next idle phase starts anew.
  void on_work() { idle_passes_ = 0; }

  // No work was found: spins or yields once. True when it is time to sleep.
  // `is_under_way`: as Poller::is_under_way() says; looked at on a contended core only.
  bool on_idle(bool is_under_way = false);

  // If the last step was a yield, the time when it ended. Saves callers a look at the clock, which
  // costs a tenth of a switch between processes.
  [[nodiscard]] std::optional<MonoTime> just_yielded() const {
    return is_spinning() ? std::nullopt : std::optional(now_);
  }

  [[nodiscard]] bool is_contended() const { return contended_ > 0; }
  // The time that a phase may yield on a contended core; at most config.yield.
  [[nodiscard]] Nanos patience() const { return patience_; }
  // The looks in a row without any progress that end looking, on a contended core.
  [[nodiscard]] std::uint32_t looks() const { return looks_; }
  // True between work and the first yield, while passes are short.
  [[nodiscard]] bool is_spinning() const {
    return idle_passes_ == 0 || !yielding_ || looks_left_ > 0;
  }

 private:
  // A longer yield means that another process ran on the core: an empty yield takes 0.2-0.5 us, two
  // context switches take at least 1.5 us.
  static constexpr Nanos kLongYield = std::chrono::nanoseconds(1200);
  static constexpr int kContendedYields = 64;  // evidence kept after a long yield
  // One or two yields. Without any, the reactor would sleep while it waits for peers of its own
  // group, which costs five times as much.
  static constexpr Nanos kLeastPatience = std::chrono::microseconds(2);
  // When all peers sleep they answer so late that no short yield ever pays, and all would keep
  // sleeping. So after this many vain phases one phase yields for a quarter of config.yield.
  static constexpr std::uint32_t kProbeEvery = 64;
  // A pass of a shard that finds nothing takes some looks of a client, one that serves several.
  static constexpr std::uint32_t kMostLooks = 64;
  static constexpr std::uint32_t kLeastLooks = 2;
  // With progress all the time: who makes it may wait itself, for somebody who needs this core.
  static constexpr std::uint32_t kLooksInAll = 16;  // times looks_
  static constexpr std::uint32_t kClockEvery = 32;  // spins between two looks at the clock
  // The first spins, about a microsecond, use neither clock nor pause: each would delay an answer
  // that is already on its way by 50 ns.
  static constexpr std::uint32_t kBusyPasses = 64;

  bool look_again(bool is_under_way);

  IdleConfig config_;
  MonoTime idle_since_{};
  MonoTime now_{};  // while yielding: when the last yield ended
  std::uint32_t idle_passes_ = 0;
  bool yielding_ = false;
  int contended_;
  std::uint32_t vain_phases_ = 0;  // on a contended core, since the last phase that brought work
  Nanos patience_;
  std::uint32_t looks_ = kMostLooks;
  std::uint32_t looks_left_ = 0;  // in this phase, until there is progress again
  std::uint32_t vain_looks_ = 0;  // phases, since the last one in which looking brought work
};

}  // namespace benchfs::rt
