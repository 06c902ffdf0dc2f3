// A client's connection to one server, and the calls that wait on it.
//
//   closed --establish()--> connecting --endpoint made--> registering --reply--> ready
//   registering --challenge: proof of the cluster secret--> registering
//   ready --ConnectionClose(eviction)--> closed   (pending calls: not executed, may be sent again)
//   any   --other ConnectionClose, error, deadline while UCX holds memory, silence--> closed
//                                                 (pending calls: effect unknown)
//
// How it is made and ends is in connection.cc, registering in connection_register.cc, its calls in
// connection_calls.cc, their deadlines and the server's silence in connection_watch.cc. Every other
// message waits for the reply to RegisterClient. A connection that closed is made again by the next
// call.
//
// No transport reports a frozen server or a network that was cut. While a call waits, a silent
// server is asked for a sign of life, and the connection to one that gives none is closed
// (heartbeat.h). Nothing is sent and no timer runs while no call waits.
//
// Errors name the phase a call was in and for how long; the pool adds operation, node and total.
//
// Thread: the reactor's.
#pragma once

#include <array>
#include <coroutine>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "cluster/secret.h"
#include "net/worker.h"
#include "rpc/call.h"
#include "rpc/heartbeat.h"
#include "rt/sync.h"
#include "wire/registration.h"

namespace benchfs::rpc {

// Who a client is; the same on all its connections.
struct ClientIdentity {
  std::string id;         // as registered, 1..255 bytes
  std::uint64_t uid = 0;  // random, for the life of the client
  std::uint64_t run_id = 0;
  // For servers that want it proved; else why there is none.
  Result<cluster::Secret> secret = fail(Errc::kConfig, "this client has no cluster secret");
};

class Connection;

// What a server knew of this client when it registered.
enum class Registered : std::uint8_t {
  kFirst,       // nothing: the client registers there for the first time
  kRemembered,  // what the client did before
  kForgotten,   // nothing any more: it restarted, or the client was away for too long
};

class ConnectionObserver {
 public:
  virtual ~ConnectionObserver() = default;
  // Called before anything but the registration is sent.
  virtual void on_registered(Connection& connection, Registered how) = 0;
  // A registered connection ended, for whatever reason but Connection::close().
  virtual void on_connection_lost(Connection& connection) = 0;
};

class Connection final : private net::EndpointOwner, private rt::Timer {
 public:
  enum class State : std::uint8_t { kClosed, kConnecting, kRegistering, kReady };

  Connection(net::Worker& worker,
             const ClientIdentity& identity,
             wire::ShardId shard,
             std::string name,
             net::SocketAddress address,
             Nanos silence_limit,
             ConnectionObserver& observer);
  ~Connection() override;

  [[nodiscard]] State state() const { return state_; }
  [[nodiscard]] wire::ShardId shard() const { return shard_; }
  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] const net::SocketAddress& address() const { return address_; }
  void set_address(const net::SocketAddress& address) { address_ = address; }
  // The server went away by itself: it may be found at another address now.
  [[nodiscard]] bool was_lost() const { return was_lost_; }
  // What the server granted; valid once it was ready.
  [[nodiscard]] const wire::RegisterClientResponseHeader& grant() const { return grant_; }

  // Connects and registers unless that is done or under way; returns when ready or failed.
  rt::CoStatus establish(Deadline deadline);

  class Exchange;

  // Sends a one-way message: a NoticeHeader, `body` and `tail`, in order with the requests. False,
  // and nothing is sent, when not ready. A server that leaves kMaxUnsentNotices of them unread
  // loses the connection.
  static constexpr std::uint32_t kMaxUnsentNotices = 16384;
  bool notify(wire::Opcode opcode,
              std::span<const std::byte> body,
              std::span<const std::byte> tail);

  // Says goodbye when ready, and closes. Pending calls fail with kCancelled.
  void close();

  // From the pool's message handler.
  void on_register_reply(const wire::RegisterReply& reply);
  net::Disposition on_reply(const wire::ReplyHeader& header, const net::Incoming& message);
  void on_connection_close(wire::CloseReason reason);
  void on_notice() { heartbeat_.heard(); }

  struct Stats {
    std::uint64_t calls = 0;
    std::uint64_t notices = 0;  // one-way messages sent
    std::uint64_t connects = 0;
    std::uint64_t evictions = 0;     // ConnectionClose with reason eviction
    std::uint64_t late_replies = 0;  // nobody waited any more
    std::uint64_t deadline_misses = 0;
    std::uint64_t heartbeats = 0;  // signs of life asked for
    std::uint64_t silences = 0;    // connections closed for want of one
  };
  [[nodiscard]] const Stats& stats() const { return stats_; }
  // Every call that holds a slot of the window now.
  [[nodiscard]] std::vector<WaitingCall> waiting() const;
  [[nodiscard]] bool has_session(std::uint64_t session) const {
    return state_ == State::kReady && grant_.session_id == session;
  }
  [[nodiscard]] bool has_attempt(std::uint64_t attempt) const {
    return state_ == State::kRegistering && attempt_ == attempt;
  }
  [[nodiscard]] net::Endpoint* endpoint() { return endpoint_; }

 private:
  struct ReplyAwaiter;
  struct RegistrationGuard;

  void on_endpoint_failed(net::Endpoint& endpoint, ucs_status_t status) override;
  void begin_watch();
  void on_timer() override;
  void end_late_calls(MonoTime now);
  void check_heartbeat(MonoTime now);
  void ask_for_a_sign_of_life();
  void on_silence();
  rt::CoStatus do_establish(Deadline deadline);
  rt::CoStatus send_registration(Deadline deadline);
  [[nodiscard]] net::Send send_register(const wire::RegisterClientRequestHeader& header);
  bool prove_secret(wire::RegisterClientRequestHeader& header);
  [[nodiscard]] Error refusal(const wire::RegisterClientResponseHeader& reply) const;
  void shut(const Error& why, Nanos flush);
  void finish(Exchange& exchange, Error error);
  [[nodiscard]] std::string phase_text(MonoTime now) const;
  [[nodiscard]] std::string phase_text(const Exchange& exchange, MonoTime now) const;
  // Room in the window of requests, and in that of bytes for a call with so many bulk bytes. A call
  // with more than the window of bytes goes alone.
  [[nodiscard]] bool has_free_slot() const {
    return state_ == State::kReady && pending_count_ + promised_ < grant_.window;
  }
  [[nodiscard]] bool has_room(std::uint64_t bytes) const {
    return bytes == 0 || bytes_under_way_ == 0 || bytes_under_way_ + bytes <= grant_.window_bytes;
  }
  [[nodiscard]] Error closed_error(const Exchange& exchange) const;
  rt::CoStatus wait_for_slot(Exchange& exchange);
  rt::CoStatus wait_for_room(Exchange& exchange);
  void free_room(Exchange& exchange);
  void pass_slot_on();
  void take_slot(Exchange& exchange);
  void give_slot(Exchange& exchange);
  ucs_status_t begin_send(Exchange& exchange);
  rt::Task<void> exchange_slowly(Exchange& exchange);
  rt::Task<void> fetch_data(Exchange& exchange);
  Result<Reply> conclude(Exchange& exchange);

  net::Worker& worker_;
  const ClientIdentity& identity_;
  wire::ShardId shard_;
  std::string name_;
  net::SocketAddress address_;
  ConnectionObserver& observer_;

  State state_ = State::kClosed;
  bool was_lost_ = false;
  std::uint64_t epoch_ = 0;  // grows with every connection made or lost
  net::Endpoint* endpoint_ = nullptr;
  wire::RegisterClientResponseHeader grant_;
  std::uint64_t attempt_ = 0;
  MonoTime attempt_began_;
  bool was_registered_ = false;
  std::uint64_t memory_ = 0;  // grows when the server is found to have forgotten this client
  std::optional<wire::Challenge> challenge_;  // of this attempt, not answered yet
  Error last_error_;
  rt::WaitQueue state_changed_;

  std::array<Exchange*, wire::kMaxWindow> slots_{};
  std::vector<std::uint8_t> free_slots_;
  // First come, first served: a freed slot is promised to the first that waits, so that callers who
  // come back at once cannot take it.
  rt::WaitQueue slot_freed_;
  rt::WaitQueue room_freed_;
  std::uint64_t bytes_under_way_ = 0;
  std::uint32_t pending_count_ = 0;
  std::uint32_t promised_ = 0;
  std::uint64_t sequence_;  // starts anywhere: a peer cannot guess the ids of others' requests
  Heartbeat heartbeat_;
  Stats stats_;
};

// One call on the ready connection: awaited, sends the request and gives its reply as a
// Result<Reply>. Errors: kDeadline; kUnknownSession (not executed: establish and send again); those
// of a broken connection (effect unknown if was_sent()); kPosix (the file system's answer); what
// the server's RPC layer said.
//
// It may be awaited again after an error, once the connection is ready again: it keeps its slot of
// the window and its request id until it is destroyed, so that the server knows it again.
//
// Lives in its caller's frame, which a request that leaves at once and a reply that arrives whole
// never leave; everything else is exchange_slowly().
class Connection::Exchange {
 public:
  // `now` may be of the coarse clock.
  Exchange(Connection& connection, const Call& call, Deadline deadline, MonoTime now)
      : connection_(connection), call_(call), deadline_(deadline), began_(now), phase_began_(now) {}
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;
  ~Exchange() {
    connection_.free_room(*this);
    if (has_slot_) {
      connection_.give_slot(*this);
    }
  }

  [[nodiscard]] MonoTime began() const { return began_; }
  // Before the first attempt, when the connection had to be made first: sending begins now.
  void begin_late() { enter(CallPhase::kSending); }
  // The last error came from the server: the request arrived, and sending it again changes nothing
  // unless the error says so.
  [[nodiscard]] bool is_answered() const { return has_reply_; }
  // In the last attempt UCX took the request: the server may have it.
  [[nodiscard]] bool was_sent() const { return was_sent_; }
  // The server does not know any more whether it has executed the request.
  [[nodiscard]] bool is_forgotten() const { return has_slot_ && connection_.memory_ != memory_; }

  [[nodiscard]] bool await_ready() const { return false; }
  std::coroutine_handle<> await_suspend(std::coroutine_handle<> caller);
  Result<Reply> await_resume() { return connection_.conclude(*this); }

 private:
  friend class Connection;

  void enter(CallPhase phase) {
    phase_ = phase;
    phase_began_ = mono_now();
  }

  Connection& connection_;
  const Call& call_;
  Deadline deadline_;
  MonoTime began_;
  MonoTime phase_began_;
  wire::RequestId id_;
  std::uint64_t epoch_ = 0;   // of the connection it was sent on
  std::uint64_t memory_ = 0;  // of the server, when it was last sent
  CallPhase phase_ = CallPhase::kSending;
  bool has_slot_ = false;
  bool was_sent_ = false;
  std::uint64_t room_ = 0;  // bytes it has in the window of bytes
  bool has_reply_ = false;
  std::uint32_t descriptor_bytes_ = 0;
  void* descriptor_ = nullptr;      // a rendezvous reply to be fetched
  std::coroutine_handle<> handle_;  // resumed when it is over
  std::optional<net::Send> send_;
  std::optional<rt::Task<void>> detour_;  // the coroutine of what did not go at once
  Error error_{Errc::kOk};
  wire::ReplyHeader reply_header_;
  Reply reply_;
  wire::HeaderBuffer<> header_;
};

}  // namespace benchfs::rpc
