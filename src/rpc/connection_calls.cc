// The calls of a Connection: their way through the window, to the server and back.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "rpc/connection.h"

namespace benchfs::rpc {
namespace {

// Calls with at most so many bytes of data do not count in the window of bytes.
constexpr std::uint64_t kSmallBytes = 16U << 10;
// Data that travels with the message is the server's own affair; bulk takes its buffers.
std::uint64_t bulk_bytes(const Call& call) {
  std::uint64_t bytes = call.data.size() + call.into.size();
  return bytes > kSmallBytes ? bytes : 0;
}

}  // namespace

// Suspends the calling coroutine until its reply, its deadline or the end of the connection.
struct Connection::ReplyAwaiter {
  Exchange& exchange;
  [[nodiscard]] bool await_ready() const { return exchange.phase_ == CallPhase::kDone; }
  void await_suspend(std::coroutine_handle<> handle) const { exchange.handle_ = handle; }
  void await_resume() const {}
};
void Connection::finish(Exchange& exchange, Error error) {
  if (exchange.phase_ == CallPhase::kDone || exchange.has_reply_) {
    return;
  }
  if (error.code != Errc::kDeadline) {
    error.context += ", " + phase_text(exchange, mono_now());
  }
  exchange.error_ = std::move(error);
  if (exchange.phase_ == CallPhase::kWaitingForReply) {
    exchange.phase_ = CallPhase::kDone;
    worker_.reactor().schedule(exchange.handle_);
  }
  // Else UCX holds memory of the call; the coroutine is resumed when that operation ends.
}

void Connection::pass_slot_on() {
  if (slot_freed_.wake_one()) {
    ++promised_;
  }
}

rt::CoStatus Connection::wait_for_slot(Exchange& exchange) {
  exchange.enter(CallPhase::kWaitingForSlot);
  while (state_ == State::kReady && !has_free_slot()) {
    rt::Wake wake = co_await slot_freed_.wait(exchange.deadline_);
    if (wake != rt::Wake::kReady) {
      co_return fail(Errc::kDeadline, phase_text(exchange, mono_now()) + "; connected");
    }
    --promised_;
  }
  if (state_ != State::kReady) {
    pass_slot_on();
    co_return std::unexpected(closed_error(exchange));
  }
  co_return Status{};
}

// Of a call that was not sent, because the connection closed before its turn.
Error Connection::closed_error(const Exchange& exchange) const {
  return Error{
      Errc::kUnknownSession,
      0,
      fmt::format(
          "the connection closed ({}), {}", last_error_.context, phase_text(exchange, mono_now()))};
}

// First come, first served; small requests do not wait behind bulk.
rt::CoStatus Connection::wait_for_room(Exchange& exchange) {
  std::uint64_t bytes = bulk_bytes(exchange.call_);
  if (bytes == exchange.room_) {
    co_return Status{};
  }
  exchange.enter(CallPhase::kWaitingForSlot);
  bool is_first = room_freed_.empty();
  while (state_ == State::kReady && !(is_first && has_room(bytes))) {
    rt::Wake wake = co_await room_freed_.wait(exchange.deadline_);
    if (wake != rt::Wake::kReady) {
      (void)room_freed_.wake_one();  // its turn, had it just come, is the next one's
      co_return fail(Errc::kDeadline,
                     fmt::format("{} in the window of {} bytes; connected",
                                 phase_text(exchange, mono_now()),
                                 grant_.window_bytes));
    }
    is_first = true;
  }
  exchange.room_ = bytes;
  bytes_under_way_ += bytes;
  (void)room_freed_.wake_one();  // the next may fit too
  co_return Status{};
}

void Connection::free_room(Exchange& exchange) {
  if (exchange.room_ > 0) {
    bytes_under_way_ -= std::exchange(exchange.room_, 0);
    (void)room_freed_.wake_one();
  }
}

void Connection::take_slot(Exchange& exchange) {
  std::uint8_t slot = free_slots_.back();
  free_slots_.pop_back();
  slots_[slot] = &exchange;
  exchange.has_slot_ = true;
  exchange.id_ = wire::RequestId::make(slot, shard_, ++sequence_);
  exchange.memory_ = memory_;
  ++pending_count_;
  ++stats_.calls;
  if (!is_armed()) [[unlikely]] {
    begin_watch();
  }
}

void Connection::give_slot(Exchange& exchange) {
  std::uint32_t slot = exchange.id_.slot();
  slots_[slot] = nullptr;
  free_slots_.push_back(static_cast<std::uint8_t>(slot));
  --pending_count_;
  pass_slot_on();
}

// UCS_INPROGRESS: the operation in `send_` goes on. Errors: nothing left.
ucs_status_t Connection::begin_send(Exchange& exchange) {
  exchange.epoch_ = epoch_;
  exchange.phase_ = CallPhase::kSending;
  const Call& call = exchange.call_;
  wire::RequestHeader request;
  request.request_id = exchange.id_.value;
  request.session_id = grant_.session_id;
  auto left = std::chrono::ceil<std::chrono::milliseconds>(
      exchange.deadline_.remaining(exchange.phase_began_));
  request.deadline_ms =
      static_cast<std::uint32_t>(std::min<std::int64_t>(left.count(), wire::kLongestDeadlineMs));
  wire::HeaderBuffer<>& header = exchange.header_;
  header.append(request);
  header.append_text({reinterpret_cast<const char*>(call.body.data()), call.body.size()});
  header.append_text(call.name);
  header.append_text(call.second_name);
  exchange.send_.emplace(*endpoint_,
                         net::Send::Message{
                             .id = static_cast<std::uint16_t>(call.opcode),
                             .header = std::as_const(header).bytes(),
                             .data = call.data,
                             .protocol = call.rendezvous     ? net::Protocol::kRendezvous
                                         : call.data.empty() ? net::Protocol::kAuto
                                                             : net::Protocol::kEager,
                             .region = call.region,
                         });
  bool is_over = exchange.send_->await_ready();
  ucs_status_t status = is_over ? exchange.send_->await_resume() : UCS_INPROGRESS;
  exchange.was_sent_ = status == UCS_OK || status == UCS_INPROGRESS;
  return status;
}

std::coroutine_handle<> Connection::Exchange::await_suspend(std::coroutine_handle<> caller) {
  std::uint64_t bytes = bulk_bytes(call_);
  if (!has_slot_ && room_ == 0 && connection_.has_free_slot() && connection_.room_freed_.empty() &&
      connection_.has_room(bytes)) [[likely]] {
    room_ = bytes;
    connection_.bytes_under_way_ += bytes;
    connection_.take_slot(*this);
    if (connection_.begin_send(*this) == UCS_OK) [[likely]] {
      phase_ = CallPhase::kWaitingForReply;
      handle_ = caller;
      return std::noop_coroutine();
    }
  }
  detour_.emplace(connection_.exchange_slowly(*this));
  return detour_->start(caller);
}

// No slot was free, or the request did not leave at once, or it is sent again.
rt::Task<void> Connection::exchange_slowly(Exchange& exchange) {
  if (!exchange.has_slot_) {
    Status room = co_await wait_for_room(exchange);
    if (!room) {
      exchange.error_ = std::move(room.error());
      co_return;
    }
    Status free = co_await wait_for_slot(exchange);
    if (!free) {
      exchange.error_ = std::move(free.error());
      co_return;
    }
    exchange.enter(CallPhase::kSending);
    take_slot(exchange);
    begin_send(exchange);
  } else if (exchange.phase_ == CallPhase::kDone) {
    exchange.has_reply_ = false;
    exchange.descriptor_ = nullptr;
    exchange.error_ = Error{Errc::kOk};
    exchange.header_.clear();
    exchange.was_sent_ = false;
    exchange.memory_ = memory_;  // what was forgotten did not matter, else it would not come again
    if (state_ != State::kReady) {
      exchange.enter(CallPhase::kSending);
      exchange.error_ = closed_error(exchange);
      co_return;
    }
    exchange.enter(CallPhase::kSending);
    begin_send(exchange);
  }
  ucs_status_t sent = co_await net::Completion{*exchange.send_};
  bool is_current = epoch_ == exchange.epoch_;  // else shut() has said why
  if (is_current && sent != UCS_OK) {
    shut(net::ucx_error(sent, fmt::format("sending to {}", name_)), Nanos::zero());
  } else if (is_current && !exchange.has_reply_) {
    exchange.enter(CallPhase::kWaitingForReply);
    co_await ReplyAwaiter{exchange};
  }
  if (exchange.descriptor_ != nullptr) {
    co_await fetch_data(exchange);
  }
}

// The second half of a rendezvous reply: pulls the bytes into the caller's memory.
rt::Task<void> Connection::fetch_data(Exchange& exchange) {
  exchange.has_reply_ = false;
  if (epoch_ != exchange.epoch_) {
    worker_.release(exchange.descriptor_);
    exchange.enter(CallPhase::kReceiving);
    exchange.error_ =
        Error{Errc::kDisconnected,
              0,
              fmt::format("{}, {}", last_error_.context, phase_text(exchange, mono_now()))};
    co_return;
  }
  exchange.enter(CallPhase::kReceiving);
  ucs_status_t received =
      co_await worker_.receive(*endpoint_,
                               exchange.descriptor_,
                               exchange.call_.into.first(exchange.descriptor_bytes_),
                               exchange.call_.region);
  if (received == UCS_OK) {
    exchange.has_reply_ = true;
  } else if (epoch_ == exchange.epoch_) {
    exchange.error_ = net::ucx_error(
        received,
        fmt::format("{} at {}, {}", name_, address_.to_string(), phase_text(exchange, mono_now())));
  }
}

Result<Reply> Connection::conclude(Exchange& exchange) {
  exchange.phase_ = CallPhase::kDone;
  if (!exchange.has_slot_) [[unlikely]] {
    return std::unexpected(std::move(exchange.error_));
  }
  if (!exchange.has_reply_) [[unlikely]] {
    return std::unexpected(exchange.error_.code == Errc::kOk ? last_error_
                                                             : std::move(exchange.error_));
  }
  auto transport = static_cast<Errc>(exchange.reply_header_.transport);
  if (transport != Errc::kOk) [[unlikely]] {
    if (exchange.error_.code != Errc::kOk) {  // on_reply() could not use it
      return std::unexpected(std::move(exchange.error_));
    }
    // A number below the blocks of the RPC layer would claim to be the file system's answer.
    return transport < Errc::kInvalidArgument
               ? fail(Errc::kMalformed,
                      fmt::format("the reply says {}, which no server does",
                                  exchange.reply_header_.transport))
               : fail(transport, "refused by the server");
  }
  if (exchange.reply_header_.status != 0) {
    return std::unexpected(Error::from_errno(exchange.reply_header_.status));
  }
  return exchange.reply_;
}

net::Disposition Connection::on_reply(const wire::ReplyHeader& header,
                                      const net::Incoming& message) {
  heartbeat_.heard();
  wire::RequestId id{header.request_id};
  if (id.slot() == Heartbeat::kSlot) [[unlikely]] {
    return net::Disposition::kDone;
  }
  Exchange* exchange = id.slot() < slots_.size() ? slots_[id.slot()] : nullptr;
  if (exchange == nullptr || exchange->id_ != id || exchange->has_reply_ ||
      exchange->phase_ == CallPhase::kDone) {
    ++stats_.late_replies;
    return net::Disposition::kDone;
  }
  auto body = message.header.subspan(sizeof(wire::ReplyHeader));
  net::Disposition disposition = net::Disposition::kDone;
  exchange->reply_header_ = header;
  exchange->reply_.body_bytes = static_cast<std::uint32_t>(std::min(body.size(), kMaxReplyBody));
  std::memcpy(exchange->reply_.body.data(), body.data(), exchange->reply_.body_bytes);
  exchange->reply_.data_bytes = static_cast<std::uint32_t>(message.length);
  if (message.length > exchange->call_.into.size()) {
    exchange->reply_header_.transport = static_cast<std::uint16_t>(Errc::kMalformed);
    exchange->error_ = Error{Errc::kMalformed,
                             0,
                             fmt::format("the reply brings {} bytes, there is room for {}",
                                         message.length,
                                         exchange->call_.into.size())};
  } else if (message.is_rendezvous) {
    exchange->descriptor_ = message.data;
    exchange->descriptor_bytes_ = static_cast<std::uint32_t>(message.length);
    disposition = net::Disposition::kHold;
  } else if (message.length > 0) {
    std::memcpy(exchange->call_.into.data(), message.data, message.length);
  }
  exchange->has_reply_ = true;
  if (exchange->phase_ == CallPhase::kWaitingForReply) {
    exchange->phase_ = CallPhase::kDone;
    std::coroutine_handle<> next = exchange->handle_;
    if (exchange->descriptor_ != nullptr && !exchange->detour_) {
      exchange->detour_.emplace(fetch_data(*exchange));
      next = exchange->detour_->start(next);
    }
    worker_.reactor().schedule(next);
  }
  return disposition;
}

}  // namespace benchfs::rpc
