#include "rpc/request.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace benchfs::rpc {
namespace {

// A transfer that has not ended this long after the caller's deadline, or after so many sweeps,
// holds a buffer for a client that does not take part in it.
constexpr Nanos kTransferGrace = std::chrono::seconds(1);
constexpr int kMaxTransferSweeps = 60;

}  // namespace

link::Disposition Request::begin(const link::Incoming& message,
                                 const Arrival& arrival,
                                 OperationStats& operation) {
  opcode_ = arrival.opcode;
  id_ = arrival.id;
  session_ = arrival.session.id;
  origin_ = arrival.session.id;
  client_uid_ = arrival.session.client_uid;
  kept_ = arrival.kept;
  if (kept_ != nullptr) {
    kept_->running = this;
  }
  lost_data_ = false;
  answered_ = false;
  deadline_ = arrival.deadline;
  is_rendezvous_ = message.is_rendezvous;
  data_bytes_ = message.length;
  header_bytes_ = message.header.size();
  std::memcpy(bytes_.data(), message.header.data(), header_bytes_);
  holds_data_ = message.is_rendezvous || header_bytes_ + data_bytes_ > bytes_.size();
  if (holds_data_) {
    data_ = message.held();
  } else {
    data_ = {bytes_.data() + header_bytes_, nullptr};
    if (data_bytes_ > 0) {
      std::memcpy(data_.data, message.data, data_bytes_);
    }
  }
  trace_.begin(operation, data_bytes_, arrival.arrived, arrival.seen);
  return holds_data_ ? link::Disposition::kHold : link::Disposition::kDone;
}

rt::CoStatus Request::receive(std::span<std::byte> into, const net::MemoryRegion* region) {
  BENCHFS_CHECK(into.size() == data_bytes_);
  if (data_bytes_ == 0) {
    co_return Status{};
  }
  if (!is_rendezvous_) {
    std::memcpy(into.data(), data_.data, data_bytes_);
    co_return Status{};
  }
  Session* session = way_.registry.peek(origin_);
  if (session == nullptr) {
    lost_data_ = true;
    co_return fail(Errc::kDisconnected, "the client is gone");
  }
  BENCHFS_CHECK(holds_data_);
  holds_data_ = false;
  begin_transfer(origin_);
  trace_.on_receiving();
  link::Outcome outcome = co_await session->link->receive(data_, into, region);
  transferring_ = false;
  trace_.on_received();
  if (!outcome.ok()) {
    lost_data_ = true;
    co_return std::unexpected(link::error_of(outcome, "receiving the data of a request"));
  }
  co_return Status{};
}

void Request::drop_data() {
  if (holds_data_) {
    holds_data_ = false;
    data_.release();
  }
}

wire::SessionId Request::find_idle_peer(MonoTime now) {
  bool is_idle = transferring_ && (++transfer_sweeps_ > kMaxTransferSweeps ||
                                   deadline_.passed(now - kTransferGrace));
  return is_idle ? transfer_session_ : wire::SessionId{};
}

Request::ReplySend Request::reply_error(const Error& error) {
  set_error(error);
  return {*this, {}, nullptr};
}

void Request::answer_error(const Error& error) {
  set_error(error);
  answer_now({});
}

void Request::set_error(const Error& error) {
  bool is_answer = error.code == Errc::kPosix || error.code == Errc::kSystem;
  is_answer ? trace_.count_error() : trace_.count_failure();
  auto text = std::as_bytes(std::span(error.context));
  set_reply(is_answer ? Errc::kOk : error.code,
            is_answer ? error.to_errno() : 0,
            text.first(std::min(text.size(), wire::kMaxErrorText)),
            false);
}

void Request::set_reply(Errc transport,
                        int status,
                        std::span<const std::byte> body,
                        bool has_data) {
  BENCHFS_CHECK(!answered_);
  answered_ = true;
  if (lost_data_) {
    transport = Errc::kNotReady;  // to be sent again, if anybody still asks
  }
  wire::ReplyHeader header;
  header.request_id = id_.value;
  header.transport = static_cast<std::uint16_t>(transport);
  header.status = status;
  std::memcpy(reply_.data(), &header, sizeof header);
  if (!body.empty()) {
    std::memcpy(reply_.data() + sizeof header, body.data(), body.size());
  }
  reply_bytes_ = sizeof header + body.size();
  if (kept_ != nullptr) [[unlikely]] {
    if (lost_data_ || has_data) {  // data is only said of a symbolic link, which has no effect
      ReplyHistory::forget(*kept_);
    } else {
      ReplyHistory::answer(*kept_, std::span(reply_).first(reply_bytes_));
    }
    kept_ = nullptr;
  }
}

bool Request::begin_reply(std::span<const std::byte> data, const net::MemoryRegion* region) {
  trace_.on_sending(data.size());
  Session* session = way_.registry.peek(session_);
  was_sendable_ = session != nullptr;
  if (!was_sendable_) [[unlikely]] {
    return true;
  }
  begin_transfer(session_);
  session->link->begin_send(
      send_,
      {
          .id = wire::reply_am_id(opcode_),
          .header = std::span(reply_).first(reply_bytes_),
          .data = data,
          .protocol = data.empty()                     ? link::Protocol::kAuto
                      : data.size() > way_.eager_bytes ? link::Protocol::kRendezvous
                                                       : link::Protocol::kEager,
          .region = region,
      });
  return !send_.is_pending();
}

void Request::end_reply() {
  transferring_ = false;
  trace_.on_sent();
  if (!was_sendable_ || !send_.outcome().ok()) [[unlikely]] {
    ++way_.dropped;
  }
}

}  // namespace benchfs::rpc
