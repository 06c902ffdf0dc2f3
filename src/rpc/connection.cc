#include "rpc/connection.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "base/random.h"

namespace benchfs::rpc {
namespace {

// How often pending calls are checked against their deadlines.
constexpr Nanos kSweepEvery = std::chrono::milliseconds(5);
// A registration whose caller has no deadline.
constexpr Nanos kLongestRegistration = std::chrono::seconds(30);
// What was sent before a close on purpose is given this long to leave.
constexpr Nanos kCloseFlush = std::chrono::milliseconds(200);

const char* phase_name(bool sending, bool receiving) {
  return sending     ? "sending the request"
         : receiving ? "receiving the reply"
                     : "waiting for the reply";
}

// A code that a server sent as a refusal; what cannot be one counts as "refused".
Errc refusal_code(std::uint32_t number) {
  auto code = static_cast<Errc>(number);
  bool is_one = code == Errc::kMalformed || code == Errc::kVersion || code == Errc::kStaleRun ||
                code == Errc::kNotReady || code == Errc::kBusy;
  return is_one ? code : Errc::kRefused;
}

}  // namespace

// Suspends the calling coroutine until its reply, its deadline or the end of the connection.
struct Connection::ReplyAwaiter {
  Pending& pending;
  [[nodiscard]] bool await_ready() const { return pending.phase == Pending::Phase::kDone; }
  void await_suspend(std::coroutine_handle<> handle) const { pending.handle = handle; }
  void await_resume() const {}
};

Connection::Connection(net::Worker& worker,
                       const ClientIdentity& identity,
                       wire::ShardId shard,
                       std::string name,
                       net::SocketAddress address)
    : worker_(worker),
      identity_(identity),
      shard_(shard),
      name_(std::move(name)),
      address_(address),
      sequence_(random_id()) {
  for (std::uint32_t slot = wire::kMaxWindow; slot > 0; --slot) {
    free_slots_.push_back(static_cast<std::uint8_t>(slot - 1));
  }
}

Connection::~Connection() {
  BENCHFS_CHECK(pending_count_ == 0);
  shut(Error{Errc::kCancelled, 0, "the client is closing"}, Nanos::zero());
}

// --- Life ----------------------------------------------------------------------------------------

rt::CoStatus Connection::establish(Deadline deadline) {
  if (state_ == State::kReady) {
    co_return Status{};
  }
  if (state_ == State::kClosed) {
    co_return co_await do_establish(deadline);
  }
  while (state_ == State::kConnecting || state_ == State::kRegistering) {
    rt::Wake wake = co_await state_changed_.wait(deadline);
    if (wake != rt::Wake::kReady) {
      co_return fail(Errc::kDeadline,
                     fmt::format("connecting to {} at {}", name_, address_.to_string()));
    }
  }
  if (state_ == State::kReady) {
    co_return Status{};
  }
  co_return std::unexpected(last_error_);
}

rt::CoStatus Connection::do_establish(Deadline deadline) {
  state_ = State::kConnecting;
  ++epoch_;
  ++stats_.connects;
  auto endpoint = worker_.connect(address_, *this);
  if (!endpoint) {
    Error error =
        std::move(endpoint.error())
            .with_prefix(fmt::format("connecting to {} at {}", name_, address_.to_string()));
    shut(error, Nanos::zero());
    co_return std::unexpected(error);
  }
  endpoint_ = *endpoint;
  state_ = State::kRegistering;
  Status registered = co_await send_registration(deadline);
  if (!registered) {
    shut(registered.error(), Nanos::zero());
    co_return registered;
  }
  co_return Status{};
}

// A peer that accepts the connection and then says nothing must not hold the registration for ever:
// the deadline closes the endpoint, which ends the send too.
struct Connection::RegistrationGuard final : rt::Timer {
  RegistrationGuard(Connection& connection, Deadline deadline)
      : connection_(connection), epoch_(connection.epoch_) {
    connection.worker_.reactor().arm(
        *this, deadline.earlier(Deadline::after(kLongestRegistration)).when());
  }
  void on_timer() override {
    if (connection_.epoch_ != epoch_ || connection_.state_ != State::kRegistering) {
      return;
    }
    connection_.shut(Error{Errc::kDeadline,
                           0,
                           fmt::format("registering with {} at {}",
                                       connection_.name_,
                                       connection_.address_.to_string())},
                     Nanos::zero());
  }

 private:
  Connection& connection_;
  std::uint64_t epoch_;
};

rt::CoStatus Connection::send_registration(Deadline deadline) {
  std::uint64_t epoch = epoch_;
  attempt_ = random_id();
  wire::RegisterClientRequestHeader header;
  header.client_id_len = static_cast<std::uint32_t>(identity_.id.size());
  header.run_id = identity_.run_id;
  header.client_uid = identity_.uid;
  header.attempt = attempt_;
  RegistrationGuard guard(*this, deadline);
  ucs_status_t sent = co_await endpoint_->flush();  // connected
  if (sent == UCS_OK && epoch_ == epoch) {
    sent = co_await endpoint_->send({
        .id = static_cast<std::uint16_t>(wire::Opcode::kRegister),
        .header = std::as_bytes(std::span(&header, 1)),
        .data = std::as_bytes(std::span(identity_.id)),
        .protocol = net::Protocol::kEager,
        .with_reply_endpoint = true,
    });
  }
  while (sent == UCS_OK && epoch_ == epoch && state_ == State::kRegistering) {
    (void)co_await state_changed_.wait(Deadline::never());  // bounded by the guard
  }
  if (epoch_ == epoch && state_ == State::kReady) {
    co_return Status{};
  }
  if (epoch_ != epoch) {
    co_return std::unexpected(last_error_);
  }
  co_return std::unexpected(
      net::ucx_error(sent, fmt::format("registering with {} at {}", name_, address_.to_string())));
}

void Connection::on_register_reply(const wire::RegisterClientResponseHeader& header) {
  if (header.status != 0) {
    shut(Error{refusal_code(header.error_code),
               0,
               fmt::format("{} at {} refused the registration of {} (it runs {:016x}, the list "
                           "says {:016x}; protocol {} and {})",
                           name_,
                           address_.to_string(),
                           identity_.id,
                           header.run_id,
                           identity_.run_id,
                           header.version,
                           wire::kProtocolVersion)},
         Nanos::zero());
    return;
  }
  grant_ = header;
  grant_.window = std::clamp<std::uint32_t>(grant_.window, 1, wire::kMaxWindow);
  state_ = State::kReady;
  state_changed_.wake_all();
  BENCHFS_LOG(kDebug, "registered with {} at {}", name_, address_.to_string());
}

void Connection::on_connection_close(wire::CloseReason reason) {
  // Only sessions whose requests are all answered are evicted: what still waits here was not
  // executed. For other reasons requests may be under way.
  bool evicted = reason == wire::CloseReason::kEviction;
  stats_.evictions += evicted ? 1 : 0;
  shut(Error{evicted ? Errc::kUnknownSession : Errc::kDisconnected,
             0,
             fmt::format("{} closed the connection", name_)},
       Nanos::zero());
}

void Connection::on_endpoint_failed(net::Endpoint&, ucs_status_t status) {
  shut(net::ucx_error(status, fmt::format("connection to {} at {}", name_, address_.to_string())),
       Nanos::zero());
}

void Connection::close() {
  if (state_ == State::kReady) {
    wire::GoodbyeHeader goodbye{grant_.session_id};
    endpoint_->send_and_forget(static_cast<std::uint16_t>(wire::Opcode::kGoodbye),
                               std::as_bytes(std::span(&goodbye, 1)));
  }
  shut(Error{Errc::kCancelled, 0, "the client is closing"},
       state_ == State::kReady ? kCloseFlush : Nanos::zero());
}

void Connection::shut(const Error& why, Nanos flush) {
  if (state_ == State::kClosed && endpoint_ == nullptr) {
    return;
  }
  state_ = State::kClosed;
  ++epoch_;
  last_error_ = why;
  net::Endpoint* endpoint = std::exchange(endpoint_, nullptr);
  for (Pending* pending : slots_) {
    if (pending != nullptr) {
      finish(*pending, why);
    }
  }
  if (endpoint != nullptr) {
    endpoint->close(flush);  // completes sends and receives in flight
  }
  state_changed_.wake_all();
  while (!slot_freed_.empty()) {
    pass_slot_on();
  }
}

// --- Calls ---------------------------------------------------------------------------------------

void Connection::finish(Pending& pending, Error error) {
  bool was_waiting = pending.phase == Pending::Phase::kWaiting;
  if (pending.phase == Pending::Phase::kDone || pending.has_reply) {
    return;
  }
  pending.error = std::move(error);
  if (was_waiting) {
    pending.phase = Pending::Phase::kDone;
    worker_.reactor().schedule(pending.handle);
  }
  // Else UCX holds memory of the call; the coroutine is resumed when that operation ends.
}

void Connection::pass_slot_on() {
  if (slot_freed_.wake_one()) {
    ++promised_;
  }
}

rt::CoStatus Connection::wait_for_slot(const Call& call, Deadline deadline) {
  while (state_ == State::kReady && pending_count_ + promised_ >= grant_.window) {
    rt::Wake wake = co_await slot_freed_.wait(deadline);
    if (wake != rt::Wake::kReady) {
      co_return fail(
          Errc::kDeadline,
          fmt::format(
              "{} on {}: waiting for a free slot of the window", to_string(call.opcode), name_));
    }
    --promised_;
  }
  if (state_ != State::kReady) {
    pass_slot_on();
    co_return fail(Errc::kUnknownSession,
                   fmt::format("{}: connection to {} closed", to_string(call.opcode), name_));
  }
  co_return Status{};
}

rt::CoResult<Reply> Connection::exchange(const Call& call, Deadline deadline) {
  if (state_ != State::kReady || pending_count_ + promised_ >= grant_.window) [[unlikely]] {
    BENCHFS_CO_TRY_VOID(co_await wait_for_slot(call, deadline));
  }
  std::uint8_t slot = free_slots_.back();
  free_slots_.pop_back();
  Pending pending;
  pending.id = wire::RequestId::make(slot, shard_, ++sequence_);
  pending.call = &call;
  pending.deadline = deadline;
  slots_[slot] = &pending;
  ++pending_count_;
  ++stats_.calls;
  if (!is_armed()) {
    worker_.reactor().arm(*this, mono_now() + kSweepEvery);
  }

  std::uint64_t epoch = epoch_;
  wire::HeaderBuffer<> header;
  fill_header(pending, header);
  ucs_status_t sent = co_await endpoint_->send({
      .id = static_cast<std::uint16_t>(call.opcode),
      .header = std::as_const(header).bytes(),
      .data = call.data,
      .protocol = call.rendezvous     ? net::Protocol::kRendezvous
                  : call.data.empty() ? net::Protocol::kAuto
                                      : net::Protocol::kEager,
      .region = call.region,
  });
  if (sent != UCS_OK && epoch_ == epoch) {
    shut(net::ucx_error(sent, fmt::format("sending to {}", name_)), Nanos::zero());
  }
  if (!pending.has_reply && sent == UCS_OK && epoch_ == epoch) {
    pending.phase = Pending::Phase::kWaiting;
    co_await ReplyAwaiter{pending};
  }
  if (pending.descriptor != nullptr) {
    co_await fetch_data(pending, epoch);
  }
  pending.phase = Pending::Phase::kDone;

  slots_[slot] = nullptr;
  free_slots_.push_back(slot);
  --pending_count_;
  pass_slot_on();
  co_return conclude(pending);
}

void Connection::fill_header(const Pending& pending, wire::HeaderBuffer<>& header) const {
  const Call& call = *pending.call;
  wire::RequestHeader request;
  request.request_id = pending.id.value;
  request.session_id = grant_.session_id;
  request.opcode = static_cast<std::uint16_t>(call.opcode);
  auto left = std::chrono::duration_cast<std::chrono::microseconds>(pending.deadline.remaining());
  request.deadline_us = static_cast<std::uint32_t>(
      std::clamp<std::int64_t>(left.count(), 0, std::numeric_limits<std::uint32_t>::max()));
  header.append(request);
  header.append_text({reinterpret_cast<const char*>(call.body.data()), call.body.size()});
  header.append_text(call.name);
  header.append_text(call.second_name);
}

// The second half of a rendezvous reply: pulls the bytes into the caller's memory.
rt::Task<void> Connection::fetch_data(Pending& pending, std::uint64_t epoch) {
  if (epoch_ != epoch) {
    worker_.release(pending.descriptor);
    pending.has_reply = false;
    pending.error = Error{Errc::kDisconnected, 0, "the connection ended before the reply's data"};
    co_return;
  }
  pending.has_reply = false;
  pending.phase = Pending::Phase::kReceiving;
  ucs_status_t received =
      co_await worker_.receive(*endpoint_,
                               pending.descriptor,
                               pending.call->into.first(pending.descriptor_bytes),
                               pending.call->region);
  if (received == UCS_OK) {
    pending.has_reply = true;
  } else if (epoch_ == epoch) {
    pending.error = net::ucx_error(received, "receiving the reply");
  }
}

Result<Reply> Connection::conclude(Pending& pending) {
  if (!pending.has_reply) {
    Error error = pending.error.code == Errc::kOk ? last_error_ : std::move(pending.error);
    return std::unexpected(std::move(error).with_prefix(
        fmt::format("{} on {}", to_string(pending.call->opcode), name_)));
  }
  auto transport = static_cast<Errc>(pending.header.transport);
  if (transport != Errc::kOk) {
    // A number below the blocks of the RPC layer would claim to be the file system's answer.
    return fail(transport < Errc::kInvalidArgument ? Errc::kMalformed : transport,
                fmt::format("{} on {}", to_string(pending.call->opcode), name_));
  }
  if (pending.header.status != 0) {
    return std::unexpected(Error::from_errno(pending.header.status));
  }
  return pending.reply;
}

net::Disposition Connection::on_reply(const wire::ReplyHeader& header,
                                      const net::Incoming& message) {
  wire::RequestId id{header.request_id};
  Pending* pending = id.slot() < slots_.size() ? slots_[id.slot()] : nullptr;
  if (pending == nullptr || pending->id != id || pending->has_reply ||
      pending->phase == Pending::Phase::kDone) {
    ++stats_.late_replies;
    return net::Disposition::kDone;
  }
  auto body = message.header.subspan(sizeof(wire::ReplyHeader));
  net::Disposition disposition = net::Disposition::kDone;
  pending->header = header;
  pending->reply.body_bytes = static_cast<std::uint32_t>(std::min(body.size(), kMaxReplyBody));
  std::memcpy(pending->reply.body.data(), body.data(), pending->reply.body_bytes);
  pending->reply.data_bytes = static_cast<std::uint32_t>(message.length);
  if (message.length > pending->call->into.size()) {
    pending->header.transport = static_cast<std::uint16_t>(Errc::kMalformed);
  } else if (message.is_rendezvous) {
    pending->descriptor = message.data;
    pending->descriptor_bytes = static_cast<std::uint32_t>(message.length);
    disposition = net::Disposition::kHold;
  } else if (message.length > 0) {
    std::memcpy(pending->call->into.data(), message.data, message.length);
  }
  pending->has_reply = true;
  if (pending->phase == Pending::Phase::kWaiting) {
    pending->phase = Pending::Phase::kDone;
    worker_.reactor().schedule(pending->handle);
  }
  return disposition;
}

void Connection::on_timer() {
  MonoTime now = mono_now();
  for (Pending* pending : slots_) {
    if (pending == nullptr || pending->phase == Pending::Phase::kDone ||
        !pending->deadline.passed(now)) {
      continue;
    }
    bool sending = pending->phase == Pending::Phase::kSending;
    bool receiving = pending->phase == Pending::Phase::kReceiving;
    ++stats_.deadline_misses;
    Error error{Errc::kDeadline, 0, phase_name(sending, receiving)};
    finish(*pending, error);
    if (sending || receiving) {
      // UCX still holds the caller's memory; only closing the endpoint gives it back.
      pending->error = error;
      pending->has_reply = true;  // keeps shut() from overwriting the error
      shut(Error{Errc::kDisconnected, 0, fmt::format("{} does not take part", name_)},
           Nanos::zero());
      pending->has_reply = false;
      break;
    }
  }
  if (pending_count_ > 0) {
    worker_.reactor().arm(*this, now + kSweepEvery);
  }
}

}  // namespace benchfs::rpc
