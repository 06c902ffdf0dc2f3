// A client's connection to one server, and the calls that wait on it.
//
//   closed --establish()--> connecting --link made--> registering --reply--> ready
//   registering --challenge: proof of the cluster secret--> registering
//   ready --ConnectionClose(eviction)--> closed   (pending calls: not executed, may be sent again)
//   any   --other ConnectionClose, error, deadline while the link holds memory, silence--> closed
//                                                 (pending calls: effect unknown)
//
// How it is made and ends is in connection.cc, registering in connection_register.cc, its calls in
// connection_calls.cc, their deadlines and the server's silence in connection_watch.cc. Every other
// message waits for the reply to RegisterClient. A connection that closed is made again by the next
// call.
//
// No transport reports a frozen server or a network that was cut. While a call waits and the server
// is silent, a heartbeat is sent, and when nothing answers it the connection is closed
// (heartbeat.h). Nothing is sent and no timer runs while no call waits.
//
// Calls that find the window full wait, first come, first served. A call with bulk data also needs
// room in the window of bytes; calls without may pass one that waits for room, but leave it a slot.
//
// Errors name the phase a call was in and for how long; the pool adds operation, node and total.
//
// Thread: the reactor's.
#pragma once

#include <array>
#include <coroutine>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "cluster/secret.h"
#include "link/link.h"
#include "net/address.h"
#include "rpc/call.h"
#include "rpc/dialer.h"
#include "rpc/exchange.h"
#include "rpc/heartbeat.h"
#include "rt/sync.h"
#include "wire/registration.h"

namespace benchfs::rpc {

// The identity of a client, which is the same on all its connections.
struct ClientIdentity {
  std::string id;         // as registered, 1..255 bytes
  std::uint64_t uid = 0;  // random, for the life of the client
  std::uint64_t run_id = 0;
  bool is_server = false;  // of the same file system
  // The secret, for servers that require a proof of it; else the reason why there is none.
  Result<cluster::Secret> secret = fail(Errc::kConfig, "this client has no cluster secret");
};

// Tells what the server knew of this client when it registered.
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
  // Whether what the server calls back is looked for in the link's validity words.
  [[nodiscard]] virtual bool looks_at_words() const { return false; }
  // A registered connection ended, for whatever reason but Connection::close().
  virtual void on_connection_lost(Connection& connection) = 0;
};

class Connection final : private link::Owner, private rt::Timer {
 public:
  using Exchange = rpc::Exchange;
  enum class State : std::uint8_t { kClosed, kConnecting, kRegistering, kReady };

  Connection(rt::Reactor& reactor,
             Dialer& dialer,
             const ClientIdentity& identity,
             wire::ShardId shard,
             std::string name,
             net::SocketAddress address,
             const Heartbeat& heartbeat,
             ConnectionObserver& observer);
  ~Connection() override;

  [[nodiscard]] State state() const { return state_; }
  [[nodiscard]] wire::ShardId shard() const { return shard_; }
  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] const net::SocketAddress& address() const { return address_; }
  void set_address(const net::SocketAddress& address) { address_ = address; }
  // The server went away: it may be found at another address now.
  [[nodiscard]] bool was_lost() const { return was_lost_; }
  // The server has known this client at some time.
  [[nodiscard]] bool was_registered() const { return was_registered_; }
  // The terms that the server granted; valid once the connection was ready.
  [[nodiscard]] const wire::RegisterClientResponseHeader& grant() const { return grant_; }

  // Connects and registers unless that is done or under way; returns when ready or failed.
  rt::CoStatus establish(Deadline deadline);

  // Sends a one-way message: a NoticeHeader, `body` and `tail`, in order with the requests. False,
  // and nothing is sent, when not ready. A server that leaves kMaxUnsentNotices of them unread
  // loses the connection.
  static constexpr std::uint32_t kMaxUnsentNotices = 16384;
  bool notify(wire::Opcode opcode,
              std::span<const std::byte> body,
              std::span<const std::byte> tail);

  // Notices were sent that the server may not have read: no request that was sent later has been
  // answered. Of the last connection when it has ended.
  [[nodiscard]] bool has_unread_notices() const { return read_notices_ < stats_.notices; }

  // Says goodbye when ready, and closes. Pending calls fail with kCancelled.
  void close();

  // Called by the pool's message handler.
  void on_register_reply(const wire::RegisterReply& reply);
  link::Disposition on_reply(const wire::ReplyHeader& header, const link::Incoming& message);
  void on_connection_close(wire::CloseReason reason);
  void on_notice() { heartbeat_.heard(); }

  struct Stats {
    std::uint64_t calls = 0;
    std::uint64_t notices = 0;  // one-way messages sent
    std::uint64_t connects = 0;
    std::uint64_t evictions = 0;     // ConnectionClose with reason eviction
    std::uint64_t late_replies = 0;  // nobody waited any more
    std::uint64_t deadline_misses = 0;
    std::uint64_t heartbeats = 0;  // sent
    std::uint64_t silences = 0;    // connections closed because nothing answered one
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
  [[nodiscard]] link::Link* link() { return link_; }
  // Of a registered connection: where the server shows what it calls back; null: it tells.
  [[nodiscard]] const std::shared_ptr<const wire::ValidityWords>& validity_words() const {
    return words_;
  }
  // The server is on this node, and reached through its door.
  [[nodiscard]] bool is_near() const {
    return link_ != nullptr && link_->way() == link::Way::kDoor;
  }
  // Takes up what has come: the server may have ended the session.
  void look() {
    if (link_ != nullptr) {
      link_->look();
    }
  }

 private:
  friend class rpc::Exchange;
  struct ReplyAwaiter;
  struct RegistrationGuard;

  void on_link_failed(link::Link& link, const link::Outcome& why) override;
  void begin_watch();
  void on_timer() override;
  void end_late_calls(MonoTime now);
  void check_heartbeat(MonoTime now);
  void send_heartbeat();
  void on_silence();
  rt::CoStatus establish_once(Deadline deadline);
  rt::CoStatus do_establish(Deadline deadline);
  rt::CoStatus send_registration(Deadline deadline);
  [[nodiscard]] link::Send send_register(const wire::RegisterClientRequestHeader& header);
  bool prove_secret(wire::RegisterClientRequestHeader& header);
  [[nodiscard]] Error refusal(const wire::RegisterClientResponseHeader& reply) const;
  void shut(const Error& why, Nanos flush);
  void finish(Exchange& exchange, Error error);
  [[nodiscard]] std::string phase_text(MonoTime now) const;
  [[nodiscard]] std::string phase_text(const Exchange& exchange, MonoTime now) const;
  [[nodiscard]] Error failed_attempt(const link::Outcome& why) const;
  [[nodiscard]] Error closed_error(const Exchange& exchange) const;
  // True if slots are left besides `kept` of them, and room for this many bulk bytes. A call with
  // more than the window of bytes goes alone.
  [[nodiscard]] bool has_slot(std::uint32_t kept = 0) const {
    return state_ == State::kReady && pending_count_ + kept < grant_.window;
  }
  [[nodiscard]] bool has_room(std::uint64_t bytes) const {
    return bytes == 0 || bytes_under_way_ == 0 || bytes_under_way_ + bytes <= grant_.window_bytes;
  }
  [[nodiscard]] bool has_waiting() const { return !small_.empty() || !bulk_.empty(); }
  rt::CoStatus wait_for_turn(Exchange& exchange);
  void admit_waiting();
  Exchange* next_to_admit();
  void admit(Exchange& exchange);
  void leave(Exchange& exchange);
  void wake_waiting();
  void begin_attempt(Exchange& exchange);
  void begin_send(Exchange& exchange);
  rt::Task<void> exchange_slowly(Exchange& exchange);
  rt::Task<void> fetch_data(Exchange& exchange);
  Result<Reply> conclude(Exchange& exchange);
  [[nodiscard]] Error error_of(Exchange& exchange) const;
  [[nodiscard]] Error explained_error(const wire::ReplyHeader& header,
                                      std::span<const std::byte> text) const;

  rt::Reactor& reactor_;
  Dialer& dialer_;
  const ClientIdentity& identity_;
  wire::ShardId shard_;
  std::string name_;
  net::SocketAddress address_;
  ConnectionObserver& observer_;

  State state_ = State::kClosed;
  bool was_lost_ = false;
  std::uint64_t detours_ = 0;  // attempts that ended because a shorter way was found
  std::uint64_t epoch_ = 0;    // grows with every connection made or lost
  link::Link* link_ = nullptr;
  wire::RegisterClientResponseHeader grant_;
  std::shared_ptr<const wire::ValidityWords> words_;
  std::uint64_t attempt_ = 0;
  MonoTime attempt_began_;
  bool was_registered_ = false;
  bool was_forgotten_ = false;  // since it was last ready
  std::uint64_t memory_ = 0;    // grows when the server is found to have forgotten this client
  std::optional<wire::Challenge> challenge_;  // of this attempt, not answered yet
  Error last_error_;
  rt::WaitQueue state_changed_;

  std::array<Exchange*, wire::kMaxWindow> slots_{};
  std::vector<std::uint8_t> free_slots_;
  // Those that wait to be admitted, without and with bulk data; each first come, first served.
  CallQueue small_;
  CallQueue bulk_;
  std::uint64_t tickets_ = 0;  // given out
  std::uint64_t bytes_under_way_ = 0;
  std::uint32_t pending_count_ = 0;
  std::uint64_t sequence_;  // starts anywhere: a peer cannot guess the ids of others' requests
  std::uint64_t read_notices_ = 0;  // of stats_.notices
  Heartbeat heartbeat_;
  Stats stats_;
};

}  // namespace benchfs::rpc
