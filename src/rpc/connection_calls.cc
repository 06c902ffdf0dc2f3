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

std::string printable(std::string_view text) {
  std::string result(text);
  std::ranges::replace_if(result, [](unsigned char c) { return c < ' ' || c > '~'; }, '?');
  return result;
}

}  // namespace

// --- One call ------------------------------------------------------------------------------------

// Suspends the calling coroutine until its reply, its deadline or the end of the connection.
struct Connection::ReplyAwaiter {
  Exchange& exchange;
  [[nodiscard]] bool await_ready() const { return exchange.phase_ == CallPhase::kDone; }
  void await_suspend(std::coroutine_handle<> handle) const { exchange.handle_ = handle; }
  void await_resume() const {}
};

Exchange::~Exchange() {
  if (has_slot()) {
    connection_.leave(*this);
  }
}

bool Exchange::is_forgotten() const {
  return has_slot() && connection_.memory_ != memory_;
}

Result<Reply> Exchange::await_resume() {
  return connection_.conclude(*this);
}

bool Exchange::leave_at_once(std::coroutine_handle<> caller) {
  bool is_first = !has_slot() && outcome_ == Outcome::kOpen;
  if (!is_first || connection_.has_waiting() || !connection_.has_slot()) [[unlikely]] {
    return false;
  }
  room_ = bulk_bytes(call_);
  if (!connection_.has_room(room_)) [[unlikely]] {
    return false;
  }
  connection_.admit(*this);
  connection_.begin_send(*this);
  if (send_.is_pending() || !send_.outcome().ok()) [[unlikely]] {
    return false;
  }
  phase_ = CallPhase::kWaitingForReply;
  handle_ = caller;
  return true;
}

bool Exchange::try_begin(std::coroutine_handle<> caller, Sequel& sequel) {
  if (!leave_at_once(caller)) {
    return false;
  }
  sequel_ = &sequel;
  return true;
}

std::coroutine_handle<> Exchange::await_suspend(std::coroutine_handle<> caller) {
  sequel_ = nullptr;
  if (leave_at_once(caller)) [[likely]] {
    return std::noop_coroutine();
  }
  detour_.emplace(connection_.exchange_slowly(*this));
  return detour_->start(caller);
}

bool Exchange::has_failed() const {
  if (outcome_ != Outcome::kReplied || reply_header_.transport != 0) {
    return true;
  }
  return reply_header_.status == 0 && reply_.body_bytes < call_.reply_bytes;
}

std::coroutine_handle<> Exchange::next() {
  if (sequel_ != nullptr && (sequel_->wants_each_ || needs_sequel())) [[unlikely]] {
    return std::exchange(sequel_, nullptr)->go_on(handle_);
  }
  if (!held_.is_empty() && !detour_) [[unlikely]] {
    detour_.emplace(connection_.fetch_data(*this));
    return detour_->start(handle_);
  }
  return handle_;
}

rt::CoResult<Reply> Exchange::end_slowly() {
  if (!held_.is_empty()) {
    co_await connection_.fetch_data(*this);
  }
  co_return connection_.conclude(*this);
}

// The call ends with this error, unless it has ended or its reply is here.
void Connection::finish(Exchange& exchange, Error error) {
  if (exchange.phase_ == CallPhase::kDone || exchange.outcome_ != Exchange::Outcome::kOpen) {
    return;
  }
  if (error.code != Errc::kDeadline) {
    error.context += ", " + phase_text(exchange, mono_now());
  }
  exchange.fail_with(std::move(error));
  if (exchange.phase_ == CallPhase::kWaitingForReply) {
    exchange.phase_ = CallPhase::kDone;
    reactor_.schedule(exchange.next());
  }
  // Else the coroutine is resumed when its turn comes, or when the link lets go of the call's
  // memory.
}

// Of a call that was not sent, because the connection closed before its turn.
Error Connection::closed_error(const Exchange& exchange) const {
  return Error{
      Errc::kUnknownSession,
      0,
      fmt::format(
          "the connection closed ({}), {}", last_error_.context, phase_text(exchange, mono_now()))};
}

// --- The window ----------------------------------------------------------------------------------

rt::CoStatus Connection::wait_for_turn(Exchange& exchange) {
  exchange.enter(CallPhase::kWaitingForSlot);
  if (state_ != State::kReady) {
    co_return std::unexpected(closed_error(exchange));
  }
  exchange.room_ = bulk_bytes(exchange.call_);
  exchange.ticket_ = ++tickets_;
  rt::WaitQueue turn;
  exchange.turn_ = &turn;
  std::uint64_t epoch = epoch_;
  (exchange.room_ > 0 ? bulk_ : small_).push_back(exchange);
  admit_waiting();
  while (!exchange.has_slot() && epoch_ == epoch) {
    rt::Wake wake = co_await turn.wait(exchange.deadline_);
    if (wake != rt::Wake::kReady && !exchange.has_slot() && epoch_ == epoch) {
      exchange.queue_hook_.unlink();
      admit_waiting();  // the next one may fit
      co_return fail(Errc::kDeadline, phase_text(exchange, mono_now()) + "; connected");
    }
  }
  if (epoch_ != epoch) {
    co_return std::unexpected(closed_error(exchange));
  }
  co_return Status{};
}

void Connection::admit_waiting() {
  while (Exchange* next = next_to_admit()) {
    next->queue_hook_.unlink();
    admit(*next);
    (void)next->turn_->wake_one();
  }
}

// Of those that wait, who may go now. The first one does, unless it waits for room: then a call
// without bulk may pass, but leaves it a slot.
Exchange* Connection::next_to_admit() {
  Exchange* small = small_.empty() ? nullptr : &small_.front();
  Exchange* bulk = bulk_.empty() ? nullptr : &bulk_.front();
  bool is_bulk_first = bulk != nullptr && (small == nullptr || bulk->ticket_ < small->ticket_);
  if (is_bulk_first && has_room(bulk->room_)) {
    return has_slot() ? bulk : nullptr;
  }
  return small != nullptr && has_slot(is_bulk_first ? 1 : 0) ? small : nullptr;
}

// Gives the call its slot and its room.
void Connection::admit(Exchange& exchange) {
  std::uint8_t slot = free_slots_.back();
  free_slots_.pop_back();
  slots_[slot] = &exchange;
  exchange.id_ = wire::RequestId::make(slot, shard_, ++sequence_);
  exchange.memory_ = memory_;
  bytes_under_way_ += exchange.room_;
  ++pending_count_;
  ++stats_.calls;
  if (!is_armed()) [[unlikely]] {
    begin_watch();
  }
}

void Connection::leave(Exchange& exchange) {
  std::uint32_t slot = exchange.id_.slot();
  slots_[slot] = nullptr;
  free_slots_.push_back(static_cast<std::uint8_t>(slot));
  bytes_under_way_ -= exchange.room_;
  --pending_count_;
  if (has_waiting()) [[unlikely]] {
    admit_waiting();
  }
}

// The connection ended: they find out.
void Connection::wake_waiting() {
  for (CallQueue* queue : {&small_, &bulk_}) {
    while (!queue->empty()) {
      Exchange& exchange = queue->front();
      queue->pop_front();
      (void)exchange.turn_->wake_one();
    }
  }
}

// --- Sending and receiving -----------------------------------------------------------------------

// When it ends at once with an error, nothing left.
void Connection::begin_send(Exchange& exchange) {
  exchange.epoch_ = epoch_;
  exchange.notices_ = stats_.notices;
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
  link_->begin_send(exchange.send_,
                    {
                        .id = static_cast<std::uint16_t>(call.opcode),
                        .header = std::as_const(header).bytes(),
                        .data = call.data,
                        .protocol = call.rendezvous     ? link::Protocol::kRendezvous
                                    : call.data.empty() ? link::Protocol::kAuto
                                                        : link::Protocol::kEager,
                        .region = call.region,
                    });
  exchange.was_sent_ = exchange.send_.is_pending() || exchange.send_.outcome().ok();
}

// Another attempt, with the slot and the id of the one before.
void Connection::begin_attempt(Exchange& exchange) {
  exchange.outcome_ = Exchange::Outcome::kOpen;
  exchange.error_ = Error{Errc::kOk};
  exchange.held_ = {};
  exchange.header_.clear();
  exchange.was_sent_ = false;
  exchange.memory_ = memory_;  // what was forgotten did not matter, else it would not come again
  exchange.enter(CallPhase::kSending);
}

// No slot was free, or the request did not leave at once, or it is sent again.
rt::Task<void> Connection::exchange_slowly(Exchange& exchange) {
  bool is_under_way = exchange.has_slot() && exchange.phase_ != CallPhase::kDone;
  if (!is_under_way) {
    begin_attempt(exchange);
    Status ready = !exchange.has_slot()      ? co_await wait_for_turn(exchange)
                   : state_ == State::kReady ? Status{}
                                             : std::unexpected(closed_error(exchange));
    if (!ready) {
      exchange.fail_with(std::move(ready.error()));
      co_return;
    }
    if (exchange.outcome_ != Exchange::Outcome::kOpen) {
      co_return;  // its deadline came with its turn
    }
    exchange.enter(CallPhase::kSending);
    begin_send(exchange);
  }
  link::Outcome sent = co_await link::Completion{exchange.send_};
  bool is_current = epoch_ == exchange.epoch_;  // else shut() has said why
  if (is_current && !sent.ok()) {
    shut(link::error_of(sent, fmt::format("sending to {}", name_)), Nanos::zero());
  } else if (is_current && exchange.outcome_ == Exchange::Outcome::kOpen) {
    exchange.enter(CallPhase::kWaitingForReply);
    co_await ReplyAwaiter{exchange};
  }
  if (!exchange.held_.is_empty()) {
    co_await fetch_data(exchange);
  }
}

// The second half of a rendezvous reply: pulls the bytes into the caller's memory.
rt::Task<void> Connection::fetch_data(Exchange& exchange) {
  exchange.outcome_ = Exchange::Outcome::kOpen;
  exchange.enter(CallPhase::kReceiving);
  if (epoch_ != exchange.epoch_) {
    exchange.held_.release();
    exchange.fail_with(
        Error{Errc::kDisconnected,
              0,
              fmt::format("{}, {}", last_error_.context, phase_text(exchange, mono_now()))});
    co_return;
  }
  link::Outcome received = co_await link_->receive(
      exchange.held_, exchange.call_.into.first(exchange.held_bytes_), exchange.call_.region);
  if (received.ok()) {
    exchange.outcome_ = Exchange::Outcome::kReplied;
  } else if (exchange.outcome_ == Exchange::Outcome::kOpen) {
    exchange.fail_with(link::error_of(
        received,
        fmt::format(
            "{} at {}, {}", name_, address_.to_string(), phase_text(exchange, mono_now()))));
  }
}

Result<Reply> Connection::conclude(Exchange& exchange) {
  exchange.phase_ = CallPhase::kDone;
  if (exchange.outcome_ != Exchange::Outcome::kReplied) [[unlikely]] {
    return std::unexpected(exchange.error_.code == Errc::kOk ? last_error_
                                                             : std::move(exchange.error_));
  }
  const wire::ReplyHeader& header = exchange.reply_header_;
  if (header.transport != 0 || header.status != 0) [[unlikely]] {
    return std::unexpected(error_of(exchange));
  }
  if (exchange.reply_.body_bytes < exchange.call_.reply_bytes) [[unlikely]] {
    return fail(Errc::kMalformed,
                fmt::format("the reply has {} bytes, and this operation's {}",
                            exchange.reply_.body_bytes,
                            exchange.call_.reply_bytes));
  }
  return exchange.reply_;
}

// What a reply that is not a success says.
Error Connection::error_of(Exchange& exchange) const {
  if (exchange.error_.code != Errc::kOk) {  // on_reply() could not use it, or what failed elsewhere
    return std::move(exchange.error_);
  }
  const wire::ReplyHeader& header = exchange.reply_header_;
  auto transport = static_cast<Errc>(header.transport);
  if (transport == Errc::kOk) {
    return Error::from_errno(header.status);
  }
  // A number below the blocks of the RPC layer would claim to be the file system's answer.
  return transport < Errc::kInvalidArgument
             ? Error{Errc::kMalformed,
                     0,
                     fmt::format("the reply says {}, which no server does", header.transport)}
             : Error{transport, 0, "refused by the server"};
}

// The error of a reply that comes with a text: what failed, and on which node.
Error Connection::explained_error(const wire::ReplyHeader& header,
                                  std::span<const std::byte> text) const {
  std::string_view said(reinterpret_cast<const char*>(text.data()),
                        std::min(text.size(), wire::kMaxErrorText));
  auto transport = static_cast<Errc>(header.transport);
  if (transport == Errc::kOk) {
    return Error::from_errno(header.status, fmt::format("{}: {}", name_, printable(said)));
  }
  return transport < Errc::kInvalidArgument ? Error{Errc::kOk}
                                            : Error{transport, 0, printable(said)};
}

link::Disposition Connection::on_reply(const wire::ReplyHeader& header,
                                       const link::Incoming& message) {
  heartbeat_.heard();
  wire::RequestId id{header.request_id};
  if (id.slot() == wire::kHeartbeatSlot) [[unlikely]] {
    return link::Disposition::kDone;
  }
  Exchange* exchange = id.slot() < slots_.size() ? slots_[id.slot()] : nullptr;
  if (exchange == nullptr || exchange->id_ != id ||
      exchange->outcome_ != Exchange::Outcome::kOpen ||
      (exchange->phase_ != CallPhase::kSending &&
       exchange->phase_ != CallPhase::kWaitingForReply)) {
    ++stats_.late_replies;
    return link::Disposition::kDone;
  }
  auto body = message.header.subspan(sizeof(wire::ReplyHeader));
  link::Disposition disposition = link::Disposition::kDone;
  exchange->reply_header_ = header;
  exchange->reply_.body_bytes = static_cast<std::uint32_t>(std::min(body.size(), kMaxReplyBody));
  std::memcpy(exchange->reply_.body.data(), body.data(), exchange->reply_.body_bytes);
  exchange->reply_.data_bytes = static_cast<std::uint32_t>(message.length);
  if ((header.transport != 0 || header.status != 0) && !body.empty()) [[unlikely]] {
    exchange->error_ = explained_error(header, body);
  }
  if (message.length > exchange->call_.into.size()) {
    exchange->reply_header_.transport = static_cast<std::uint16_t>(Errc::kMalformed);
    exchange->error_ = Error{Errc::kMalformed,
                             0,
                             fmt::format("the reply brings {} bytes, there is room for {}",
                                         message.length,
                                         exchange->call_.into.size())};
  } else if (message.is_rendezvous) {
    exchange->held_ = message.held();
    exchange->held_bytes_ = static_cast<std::uint32_t>(message.length);
    disposition = link::Disposition::kHold;
  } else if (message.length > 0) {
    std::memcpy(exchange->call_.into.data(), message.data, message.length);
  }
  if (header.transport == 0) {  // it was served, so what came before it was read
    read_notices_ = std::max(read_notices_, exchange->notices_);
  }
  exchange->outcome_ = Exchange::Outcome::kReplied;
  if (exchange->phase_ == CallPhase::kWaitingForReply) {
    exchange->phase_ = CallPhase::kDone;
    reactor_.schedule(exchange->next());
  }
  return disposition;
}

}  // namespace benchfs::rpc
