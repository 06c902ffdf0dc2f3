// Watches a Connection while calls wait on it: their deadlines, and whether the server is alive.
#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"
#include "rpc/connection.h"

namespace benchfs::rpc {
namespace {

// The interval at which pending calls are checked against their deadlines.
constexpr Nanos kDeadlinesEvery = std::chrono::milliseconds(5);

}  // namespace

void Connection::begin_watch() {
  MonoTime now = mono_now();
  heartbeat_.begin(now);
  reactor_.arm(*this, now + kDeadlinesEvery);
}

void Connection::on_timer() {
  MonoTime now = mono_now();
  end_late_calls(now);
  check_heartbeat(now);
  if (pending_count_ > 0) {
    reactor_.arm(*this, now + kDeadlinesEvery);
  }
}

void Connection::end_late_calls(MonoTime now) {
  for (Exchange* exchange : slots_) {
    if (exchange == nullptr || exchange->phase_ == CallPhase::kDone ||
        !exchange->deadline_.passed(now)) {
      continue;
    }
    bool sending = exchange->phase_ == CallPhase::kSending;
    bool receiving = exchange->phase_ == CallPhase::kReceiving;
    ++stats_.deadline_misses;
    std::string heard = heartbeat_.is_doubtful() ? fmt::format("nothing heard for {:.3f} s",
                                                               seconds(heartbeat_.silence()))
                                                 : "connected";
    Error error{Errc::kDeadline, 0, phase_text(*exchange, now) + "; " + heard};
    finish(*exchange, error);
    if (sending || receiving) {
      // The link still holds the caller's memory; only closing it gives that back.
      std::string what = receiving ? "stopped sending" : "stopped receiving";
      shut(Error{Errc::kDisconnected, 0, fmt::format("{} {}", name_, what)}, Nanos::zero());
      break;
    }
  }
}

void Connection::check_heartbeat(MonoTime now) {
  if (state_ != State::kReady || pending_count_ == 0) {
    return;
  }
  switch (heartbeat_.check(now)) {
    case Heartbeat::Verdict::kAlive:
      return;
    case Heartbeat::Verdict::kSendHeartbeat:
      send_heartbeat();
      return;
    case Heartbeat::Verdict::kDead:
      on_silence();
      return;
  }
}

// A ping beside the window: the server answers it whatever else it is busy with.
void Connection::send_heartbeat() {
  ++stats_.heartbeats;
  wire::RequestHeader ping;
  ping.request_id = wire::RequestId::make(wire::kHeartbeatSlot, shard_, ++sequence_).value;
  ping.session_id = grant_.session_id;
  ping.deadline_ms = wire::kLongestDeadlineMs;
  link_->send_ahead(static_cast<std::uint16_t>(wire::Opcode::kPing),
                    std::as_bytes(std::span(&ping, 1)));
}

void Connection::on_silence() {
  ++stats_.silences;
  std::string what = fmt::format("{} at {} has been silent for {:.3f} s",
                                 name_,
                                 address_.to_string(),
                                 seconds(heartbeat_.silence()));
  std::vector<WaitingCall> calls = waiting();
  auto oldest = std::ranges::max_element(calls, {}, &WaitingCall::age);
  if (oldest != calls.end()) {
    BENCHFS_LOG(kWarn,
                "{}, closing the connection; {} calls wait, the oldest, {}, for {:.3f} s",
                what,
                calls.size(),
                to_string(oldest->opcode),
                seconds(oldest->age));
  }
  shut(Error{Errc::kDisconnected, 0, what}, Nanos::zero());
}

}  // namespace benchfs::rpc
