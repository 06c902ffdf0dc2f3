// Decides when the peer of a connection counts as dead although its endpoint reports no failure: a
// frozen process, a node that lost its power, a network that was cut.
//
//   begin()         a call starts to wait and none did before
//   heard()         anything arrived
//   check(now)      every few milliseconds while a call waits
//
// After `ask_after` in silence a heartbeat is to be sent (once); after the limit the peer is dead.
// A peer that is slow with one operation answers the heartbeat. Only time in which we looked
// counts: when a check comes late, because this process itself was stopped or starved, the peer's
// answers may still be unread, and the silence begins anew.
//
// Pure: no clock, no timer, no I/O.
#pragma once

#include <chrono>
#include <cstdint>

#include "base/clock.h"

namespace benchfs::rpc {

class Heartbeat {
 public:
  enum class Verdict : std::uint8_t { kAlive, kSendHeartbeat, kDead };
  // A check that comes later than this after the one before it says nothing about the peer.
  static constexpr Nanos kAway = std::chrono::milliseconds(250);

  // `ask_after` defaults to a quarter of the limit.
  explicit Heartbeat(Nanos limit, Nanos ask_after = Nanos::zero())
      : limit_(limit), ask_after_(ask_after > Nanos::zero() ? ask_after : limit / 4) {}

  void begin(MonoTime now) {
    checked_at_ = now;
    restart();
  }
  void heard() { heard_ = true; }
  [[nodiscard]] Verdict check(MonoTime now) {
    Nanos step = now - checked_at_;
    checked_at_ = now;
    if (heard_ || step > kAway) {
      restart();
      return Verdict::kAlive;
    }
    silence_ += step;
    if (!asked_) {
      asked_ = silence_ >= ask_after_;
      return asked_ ? Verdict::kSendHeartbeat : Verdict::kAlive;
    }
    return silence_ >= limit_ ? Verdict::kDead : Verdict::kAlive;
  }
  // The time since the last arrival, as of the last check.
  [[nodiscard]] Nanos silence() const { return silence_; }
  // A heartbeat was sent and nothing has come since.
  [[nodiscard]] bool is_doubtful() const { return asked_ && !heard_; }

 private:
  void restart() {
    silence_ = Nanos::zero();
    heard_ = false;
    asked_ = false;
  }

  Nanos limit_;
  Nanos ask_after_;
  MonoTime checked_at_{};
  Nanos silence_{};
  bool heard_ = false;
  bool asked_ = false;
};

}  // namespace benchfs::rpc
