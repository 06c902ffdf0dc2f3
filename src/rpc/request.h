// A request being served: its header, its data, and the one reply it gets.
//
// Lives in the server's pool from the arrival of the message until its reply has left. The session
// may end before that (the client died): then receive() fails, reply() drops, and the handler ends.
// A client that stops responding during a transfer loses its session some time after the deadline.
#pragma once

#include <array>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>

#include "base/clock.h"
#include "base/error.h"
#include "link/link.h"
#include "rpc/call.h"
#include "rpc/client_registry.h"
#include "rpc/reply_history.h"
#include "rpc/request_stats.h"
#include "rt/task.h"
#include "wire/codec.h"
#include "wire/header.h"

namespace benchfs::rpc {

// Where replies go.
struct ReplyWay {
  ClientRegistry& registry;
  const std::uint32_t& eager_bytes;  // larger data goes by rendezvous
  std::uint64_t& dropped;            // replies whose client was gone
};

class Request {
 public:
  // Header and data of a message up to this are copied; the data of a larger one must be held.
  static constexpr std::size_t kMaxCopied = wire::kMaxHeaderBytes;

  explicit Request(ReplyWay& way) : way_(way) {}
  Request(const Request&) = delete;
  Request& operator=(const Request&) = delete;

  [[nodiscard]] wire::Opcode opcode() const { return opcode_; }
  [[nodiscard]] wire::SessionId session_id() const { return session_; }
  [[nodiscard]] std::uint64_t client_uid() const { return client_uid_; }
  // When the caller stops waiting, less the time that the reply needs; the work need not go on
  // after that.
  [[nodiscard]] Deadline deadline() const { return deadline_; }

  // The operation's fixed struct and names; check ok() of the reader afterwards.
  [[nodiscard]] wire::Reader reader() const {
    return wire::Reader(std::span(bytes_).subspan(sizeof(wire::RequestHeader),
                                                  header_bytes_ - sizeof(wire::RequestHeader)));
  }

  // The data part. Eager data can be looked at in place, unaligned, until handle() ends; rendezvous
  // data only received.
  [[nodiscard]] std::size_t data_bytes() const { return data_bytes_; }
  [[nodiscard]] bool is_rendezvous() const { return is_rendezvous_; }
  [[nodiscard]] std::span<const std::byte> eager_data() const {
    return is_rendezvous_ ? std::span<const std::byte>()
                          : std::span(static_cast<const std::byte*>(data_.data), data_bytes_);
  }
  // Brings the data into `into`, whose size must be data_bytes(). Call once. Suspends; `into` is
  // the link's until it returns. Errors: kDisconnected.
  [[nodiscard]] rt::CoStatus receive(std::span<std::byte> into,
                                     const net::MemoryRegion* region = nullptr);

  // The program that sent it, if it has our slots; null for those of other nodes, and when it is
  // gone.
  [[nodiscard]] link::Borrower* borrower() const {
    Session* session = way_.registry.peek(origin_);
    return session == nullptr ? nullptr : session->link->borrower();
  }

  // Sends the reply; exactly one a request. `data` is borrowed until it returns, which for bulk is
  // when the client has it. Service::serve_at_once() answers by the functions after these, whose
  // data is borrowed until the request has ended.
  class ReplySend;
  template <typename Body>
  [[nodiscard]] ReplySend reply(const Body& body,
                                std::span<const std::byte> data = {},
                                const net::MemoryRegion* region = nullptr);
  // A failure: kPosix errors go as the file system's answer, others as the RPC layer's. The context
  // goes with it, as far as it fits: it should name the node that failed.
  [[nodiscard]] ReplySend reply_error(const Error& error);
  template <typename Body>
  void answer(const Body& body, std::span<const std::byte> data = {});
  void answer_error(const Error& error);
  [[nodiscard]] bool is_answered() const { return answered_; }
  // Its reply is not kept: its caller gave it up.
  void detach_from_history() {
    kept_ = nullptr;
    given_up_ = true;
  }
  // Whether somebody still waits for the reply, as far as is known here: the deadline has not
  // passed, the client is there, and it has not used the request's place for another one.
  [[nodiscard]] bool is_awaited() const {
    return !given_up_ && !deadline_.passed() && way_.registry.peek(session_) != nullptr;
  }

  // The progress of the request. A handler reports when it waits for a buffer, and when it has one.
  [[nodiscard]] RequestTrace& trace() { return trace_; }
  [[nodiscard]] const RequestTrace& trace() const { return trace_; }

  // --- For the server ---

  struct Arrival {
    wire::Opcode opcode;
    wire::RequestId id;
    const Session& session;
    Deadline deadline;
    ReplyHistory::Slot* kept;  // where its reply is kept; null for idempotent operations
    MonoTime arrived;
    MonoTime seen;  // as the operation's statistics time it
  };
  // Takes the message over. kDone: all of it was copied. kHold: its data stays where it is, and
  // drop_data() lets go of what the handler did not receive.
  link::Disposition begin(const link::Incoming& message,
                          const Arrival& arrival,
                          OperationStats& operation);
  void drop_data();
  // After an answer(): what it waits for, if it has not left.
  [[nodiscard]] link::Operation* sending() { return send_.is_pending() ? &send_ : nullptr; }
  void end_reply();
  // Its client came back: this session gets the reply.
  void answer_to(wire::SessionId session) { session_ = session; }
  // Its work need not go on after `when`.
  void shorten(MonoTime when) { deadline_ = deadline_.earlier(Deadline::at(when)); }
  // Called at each sweep. The session that does not take part in a transfer, if there is one: the
  // transfer holds a buffer long after the caller's deadline, or for many sweeps.
  wire::SessionId find_idle_peer(MonoTime now);

 private:
  template <typename Body>
  void set_body(const Body& body, bool has_data);
  void set_error(const Error& error);
  void set_reply(Errc transport, int status, std::span<const std::byte> body, bool has_data);
  // True when it is over.
  bool begin_reply(std::span<const std::byte> data, const net::MemoryRegion* region);
  void answer_now(std::span<const std::byte> data) {
    if (begin_reply(data, nullptr)) {
      end_reply();
    }
  }
  void begin_transfer(wire::SessionId with) {
    transferring_ = true;
    transfer_sweeps_ = 0;
    transfer_session_ = with;
  }

  ReplyWay& way_;
  wire::Opcode opcode_ = wire::Opcode::kPing;
  wire::RequestId id_;
  wire::SessionId session_;  // that gets the reply
  wire::SessionId origin_;   // that has the data: another one once the request was sent again
  wire::SessionId transfer_session_;
  std::uint64_t client_uid_ = 0;
  Deadline deadline_ = Deadline::never();
  RequestTrace trace_;
  ReplyHistory::Slot* kept_ = nullptr;
  bool answered_ = false;
  bool given_up_ = false;
  bool lost_data_ = false;  // its data did not arrive: it was not executed
  bool is_rendezvous_ = false;
  bool holds_data_ = false;
  bool transferring_ = false;  // the link moves data or the reply
  std::uint8_t transfer_sweeps_ = 0;
  link::Held data_;
  std::size_t data_bytes_ = 0;
  std::size_t header_bytes_ = 0;
  std::array<std::byte, kMaxCopied> bytes_;
  std::size_t reply_bytes_ = 0;
  std::array<std::byte, kMaxReply> reply_;
  link::Operation send_;       // of the reply
  bool was_sendable_ = false;  // its session was there
};

// A reply on its way; awaited once, at once.
class Request::ReplySend {
 public:
  ReplySend(Request& request, std::span<const std::byte> data, const net::MemoryRegion* region)
      : request_(request), data_(data), region_(region) {}
  ReplySend(const ReplySend&) = delete;
  ReplySend& operator=(const ReplySend&) = delete;

  bool await_ready() { return request_.begin_reply(data_, region_); }
  void await_suspend(std::coroutine_handle<> handle) { request_.send_.await_suspend(handle); }
  void await_resume() { request_.end_reply(); }

 private:
  Request& request_;
  std::span<const std::byte> data_;
  const net::MemoryRegion* region_;
};

template <typename Body>
void Request::set_body(const Body& body, bool has_data) {
  static_assert(sizeof(Body) <= kMaxReplyBody);
  if constexpr (std::is_empty_v<Body>) {
    set_reply(Errc::kOk, 0, {}, has_data);
  } else {
    set_reply(Errc::kOk, 0, std::as_bytes(std::span(&body, 1)), has_data);
  }
}

template <typename Body>
Request::ReplySend Request::reply(const Body& body,
                                  std::span<const std::byte> data,
                                  const net::MemoryRegion* region) {
  set_body(body, !data.empty());
  return {*this, data, region};
}

template <typename Body>
void Request::answer(const Body& body, std::span<const std::byte> data) {
  set_body(body, !data.empty());
  answer_now(data);
}

}  // namespace benchfs::rpc
