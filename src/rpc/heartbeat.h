// Decides when the peer of a connection counts as dead although its endpoint reports no failure: a
// frozen process, a node that lost its power, a network that was cut.
//
//   begin()         a call starts to wait and none did before
//   heard()         anything arrived
//   check(now)      every few milliseconds while a call waits
//
// After a quarter of the limit in silence the peer is to be asked for a sign of life (once); after
// the limit it is dead. A peer that is slow with one operation answers the question. Only time in
// which we looked counts: when a check comes late, because this process itself was stopped or
// starved, the peer's answers may still be unread, and the silence begins anew.
//
// Pure: no clock, no timer, no I/O.
#pragma once

#include <chrono>
#include <cstdint>

#include "base/clock.h"

namespace benchfs::rpc {

class Heartbeat {
 public:
  enum class Verdict : std::uint8_t { kAlive, kAsk, kDead };
  // A check that comes later than this after the one before it says nothing about the peer.
  static constexpr Nanos kAway = std::chrono::milliseconds(250);

  // Slot part of the id of a question, which is a ping beside the window.
  static constexpr std::uint32_t kSlot = 255;

  explicit Heartbeat(Nanos limit) : limit_(limit) {}

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
      asked_ = silence_ >= limit_ / 4;
      return asked_ ? Verdict::kAsk : Verdict::kAlive;
    }
    return silence_ >= limit_ ? Verdict::kDead : Verdict::kAlive;
  }
  // How long nothing has arrived, as of the last check.
  [[nodiscard]] Nanos silence() const { return silence_; }
  // The peer was asked and has not answered.
  [[nodiscard]] bool is_doubtful() const { return asked_ && !heard_; }

 private:
  void restart() {
    silence_ = Nanos::zero();
    heard_ = false;
    asked_ = false;
  }

  Nanos limit_;
  MonoTime checked_at_{};
  Nanos silence_{};
  bool heard_ = false;
  bool asked_ = false;
};

}  // namespace benchfs::rpc
