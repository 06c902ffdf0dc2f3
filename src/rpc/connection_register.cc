// The registration of a Connection, which is the second part of its life; see connection.cc for the
// others.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "base/random.h"
#include "rpc/connection.h"
#include "wire/registration.h"

namespace benchfs::rpc {
namespace {

// A registration whose caller has no deadline.
constexpr Nanos kLongestRegistration = std::chrono::seconds(30);

// A code that a server sent as a refusal; what cannot be one counts as "refused".
Errc refusal_code(std::uint32_t number) {
  auto code = static_cast<Errc>(number);
  bool is_one = code == Errc::kMalformed || code == Errc::kVersion || code == Errc::kStaleRun ||
                code == Errc::kNotReady || code == Errc::kBusy;
  return is_one ? code : Errc::kRefused;
}

}  // namespace

// A peer that accepts the connection and then says nothing must not hold the registration for ever:
// the deadline closes the link, which ends the send too.
struct Connection::RegistrationGuard final : rt::Timer {
  RegistrationGuard(Connection& connection, Deadline deadline)
      : connection_(connection), epoch_(connection.epoch_) {
    connection.reactor_.arm(*this, deadline.earlier(Deadline::after(kLongestRegistration)).when());
  }
  void on_timer() override {
    if (connection_.epoch_ != epoch_ || connection_.state_ == State::kReady) {
      return;
    }
    connection_.shut(Error{Errc::kDeadline, 0, connection_.phase_text(mono_now())}, Nanos::zero());
  }

 private:
  Connection& connection_;
  std::uint64_t epoch_;
};

rt::CoStatus Connection::send_registration(Deadline deadline) {
  std::uint64_t epoch = epoch_;
  attempt_ = random_id();
  challenge_.reset();
  wire::RegisterClientRequestHeader header;
  header.client_id_len = static_cast<std::uint32_t>(identity_.id.size());
  header.run_id = identity_.run_id;
  header.client_uid = identity_.uid;
  header.attempt = attempt_;
  fill_random(std::as_writable_bytes(std::span(header.nonce)));
  RegistrationGuard guard(*this, deadline);
  link::Outcome sent = co_await link_->flush();  // connected
  if (sent.ok() && epoch_ == epoch) {
    state_ = State::kRegistering;
    words_ = observer_.looks_at_words() ? link_->validity_words() : nullptr;
    header.flags = (words_ != nullptr ? wire::kRegisterLooksAtWords : 0U) |
                   (identity_.is_server ? wire::kRegisterIsServer : 0U);
    header.no_door = dialer_.no_door(shard_);
    challenge_ = identity_.secret ? link_->take_challenge() : std::nullopt;
    if (challenge_) {
      (void)prove_secret(header);
    }
    sent = co_await send_register(header);
  }
  while (sent.ok() && epoch_ == epoch && state_ == State::kRegistering) {
    if (!challenge_) {
      (void)co_await state_changed_.wait(Deadline::never());  // bounded by the guard
    } else if (prove_secret(header)) {
      sent = co_await send_register(header);
    }
  }
  if (epoch_ == epoch && state_ == State::kReady) {
    co_return Status{};
  }
  if (epoch_ != epoch) {
    co_return std::unexpected(last_error_);
  }
  co_return std::unexpected(failed_attempt(sent));
}

link::Send Connection::send_register(const wire::RegisterClientRequestHeader& header) {
  return link_->send({
      .id = static_cast<std::uint16_t>(wire::Opcode::kRegister),
      .header = std::as_bytes(std::span(&header, 1)),
      .data = std::as_bytes(std::span(identity_.id)),
      .protocol = link::Protocol::kEager,
      .shows_sender = true,
  });
}

// Answers the challenge in `header`; without a secret the connection ends.
bool Connection::prove_secret(wire::RegisterClientRequestHeader& header) {
  auto message =
      wire::registration_to_prove(*std::exchange(challenge_, std::nullopt), header, identity_.id);
  if (identity_.secret) {
    header.proof = identity_.secret->prove(message.bytes());
    return true;
  }
  shut(Error{Errc::kRefused,
             0,
             fmt::format("{} at {} wants proof of the cluster secret, but {}",
                         name_,
                         address_.to_string(),
                         identity_.secret.error().context)},
       Nanos::zero());
  return false;
}

// The message for the user when a server refuses this client.
Error Connection::refusal(const wire::RegisterClientResponseHeader& reply) const {
  Errc code = refusal_code(reply.error_code);
  std::string why;
  if (code == Errc::kVersion) {
    why = fmt::format(
        ": it speaks protocol {} and this client {}; use servers and clients of one BenchFS "
        "version",
        reply.version,
        wire::kProtocolVersion);
  } else if (code == Errc::kStaleRun) {
    why = fmt::format(
        ": it serves run {:016x} and the server list says {:016x}; connect again, and if that does "
        "not help, remove the list and start the servers again",
        reply.run_id,
        identity_.run_id);
  } else if (code == Errc::kRefused && identity_.secret) {
    why = fmt::format(
        ": cluster secret {} is not the server's; the file is of another cluster, or was replaced "
        "while the server ran: start the servers again",
        identity_.secret->path());
  }
  std::string text = fmt::format(
      "{} at {} refused the registration of {}{}", name_, address_.to_string(), identity_.id, why);
  return Error{code, 0, std::move(text)};
}

void Connection::on_register_reply(const wire::RegisterReply& reply) {
  auto status = static_cast<wire::RegisterStatus>(reply.status);
  if (status == wire::RegisterStatus::kChallenge) {
    challenge_ = reply.challenge;
    state_changed_.wake_all();
    return;
  }
  if (status != wire::RegisterStatus::kOk) {
    shut(refusal(reply), Nanos::zero());
    return;
  }
  if (was_registered_ && (reply.flags & wire::kRegisterRemembered) == 0) {
    was_forgotten_ = true;  // the next registration, which may be another one, is remembered
  }
  if (dialer_.has_shorter_way(shard_)) {
    ++detours_;
    shut(Error{Errc::kBusy, 0, fmt::format("the door of {} has opened meanwhile", name_)},
         Nanos::zero());
    return;
  }
  grant_ = reply;
  grant_.window = std::clamp<std::uint32_t>(grant_.window, 1, wire::kMaxWindow);
  Registered how = !was_registered_                       ? Registered::kFirst
                   : std::exchange(was_forgotten_, false) ? Registered::kForgotten
                                                          : Registered::kRemembered;
  memory_ += how == Registered::kForgotten ? 1 : 0;
  was_registered_ = true;
  state_ = State::kReady;
  was_lost_ = false;
  read_notices_ = stats_.notices;  // those of earlier sessions count for nothing
  heartbeat_.heard();
  observer_.on_registered(*this, how);
  state_changed_.wake_all();
  BENCHFS_LOG(kDebug, "registered with {} at {}", name_, address_.to_string());
}

}  // namespace benchfs::rpc
