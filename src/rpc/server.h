// The server side of the RPC layer of one shard: who is registered, and what is asked.
//
// A connection begins unregistered and may only register (rpc/admission.h). After that its requests
// carry the session id, are served side by side by coroutines, and are answered
// on the registered link, each exactly once. Messages that cannot be attributed to a session
// are counted and dropped; malformed requests of a session are answered with kMalformed. A client
// that stops reading, or stops responding during a transfer, loses its session.
//
// Thread: the reactor's.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "door/server_links.h"
#include "net/worker.h"
#include "rpc/admission.h"
#include "rpc/client_registry.h"
#include "rpc/forwarded_links.h"
#include "rpc/forwarder.h"
#include "rpc/request.h"
#include "rt/scope.h"
#include "rt/timer.h"

namespace benchfs::rpc {

// The ways in which a session ends.
enum class Departure : std::uint8_t {
  kGoodbye,  // the client will not come back
  kEvicted,  // another client got its place; it comes back when it has something to say
  kLost,     // the connection broke, or was closed for another reason
  kDied,     // the same, and the client's process has ended
};

// Handles the requests of a server.
class Service {
 public:
  virtual ~Service() = default;
  // Serves a request whose data has come, unless that has to wait for something: then it returns
  // false, has changed nothing that matters, and handle() is called. Most requests end here,
  // without a coroutine. It answers by Request::answer(), and what is said of handle() holds.
  virtual bool serve_at_once(Request& /*request*/) { return false; }
  // Serves one request; must answer it. Runs as a separate coroutine, which begins where the
  // message was found: it must not block, nor count on anything but Request until it first waits.
  virtual rt::Task<void> handle(Request& request) = 0;
  // A client registered (again): it has been answered, and can be notified. Or its session ended.
  virtual void on_client_registered(wire::SessionId session, std::uint64_t client_uid) = 0;
  // `process`: the client's; 0: on another node, or not known.
  virtual void on_client_gone(std::uint64_t client_uid, Departure departure, pid_t process) = 0;
  // The process of a client of this node has ended, while requests of it may still be served;
  // on_client_gone() follows.
  virtual void on_client_died(std::uint64_t /*client_uid*/) {}
  virtual void on_invalidate_ack(wire::SessionId session, std::uint64_t sequence) = 0;
  // A one-way message of a registered client, when it arrived: after the requests that were sent
  // before it have begun (those whose bytes travel apart may begin later), and also while the
  // session drains. `body` begins behind the NoticeHeader and is valid during the call. False when
  // it makes no sense, which is counted.
  virtual bool on_notice(wire::SessionId /*session*/,
                         std::uint64_t /*client_uid*/,
                         wire::Opcode /*opcode*/,
                         wire::Reader /*body*/) {
    return false;
  }
  // The server stops, and its patience with running requests is over: what their handlers wait for
  // elsewhere, such as calls to other servers, should end.
  virtual void on_stopping() {}
};

class Server final : private link::Handler, private link::Owner {
 public:
  struct Config {
    std::uint32_t max_clients = 1000;  // capacity of the registry
    // If the registry is full, a client keeps its place for at least client_turn, and a new client
    // waits for one this long before it is refused with kBusy.
    Nanos client_turn = std::chrono::milliseconds(250);
    Nanos admission_wait = std::chrono::seconds(4);
    std::uint32_t window = wire::kMaxWindow;
    std::uint64_t window_bytes = 64U << 20;
    // Room for bulk data in this server; what all clients may have under way together is about
    // twice that, so that the next transfer is there when a buffer gets free.
    std::uint64_t bulk_bytes = 64U << 20;
    std::uint32_t max_requests = 16384;  // being served at a time, all clients together
    std::uint32_t max_transfer_bytes = 1U << 20;
    std::uint32_t chunk_bytes = wire::kDefaultChunkBytes;
    std::uint32_t eager_reply_bytes = 16U << 10;  // larger reply data goes by rendezvous
    std::uint64_t run_id = 0;
    std::uint32_t max_unregistered = 1024;  // connections that have not registered yet
    Nanos register_timeout = std::chrono::seconds(10);
    Nanos client_grace = std::chrono::seconds(30);     // what a client that is gone left is kept
    Nanos directory_lease = std::chrono::seconds(10);  // told to clients
    // The time that requests aborted by a shutdown may take to end.
    Nanos end_patience = std::chrono::seconds(5);
    std::optional<cluster::Secret> secret;  // that clients must prove to know; none: anybody may
  };

  static Result<std::unique_ptr<Server>> create(net::Worker& worker,
                                                Service& service,
                                                const Config& config);
  ~Server() override;

  Result<net::SocketAddress> listen(const net::SocketAddress& address);
  // The links of programs on this node: give them to the shard's door. The server outlives them.
  [[nodiscard]] door::ServerLinks& node_links() { return node_links_; }
  // What programs of this node send to others goes there; without one, nothing is forwarded. It is
  // borrowed, and closed by shutdown().
  void set_forwarder(Forwarder& forwarder) { forwarder_ = &forwarder; }
  // Registrations are refused with kNotReady until the shard knows its place.
  void set_ready(wire::ShardId self, std::uint32_t shard_count, std::uint64_t run_id);
  [[nodiscard]] bool is_ready() const { return admission_.is_open(); }

  // Stops accepting connections and requests (kNotReady), lets running requests end until the
  // deadline, tells every client (ConnectionClose, reason shutdown), closes. Requests that still
  // run are cut short then: transfers end with the connections, Service::on_stopping() is called,
  // and their deadline is now. Needed after listen().
  // Errors: kDeadline when some have not ended Config::end_patience later. Their handlers still use
  // the server and all they were given: nothing of that may be destroyed, and shutdown() may be
  // called again.
  rt::CoStatus shutdown(Deadline deadline);

  // Sends a one-way message to a client (see Link::send_and_forget); false if its session is
  // gone. When the client has left too many unread, its session ends soon.
  bool notify(wire::SessionId session, wire::Opcode opcode, std::span<const std::byte> header);

  // Shows programs of this node that what they know under this validity word may have changed.
  void invalidate(std::uint32_t word) { node_links_.invalidate(word); }

  // What the client did before is forgotten: if it comes back it is told so. False, and nothing
  // happens, while it has a session or requests that still run.
  bool forget_client(std::uint64_t client_uid) { return histories_.forget(client_uid); }

  // Changes the capacity of the registry. When clients are too many for it, the least recently used
  // leave, busy ones once their requests in flight are answered.
  void set_capacity(std::uint32_t max_clients);

  [[nodiscard]] ClientRegistry& registry() { return registry_; }
  [[nodiscard]] const Config& config() const { return config_; }
  [[nodiscard]] const Admission& admission() const { return admission_; }

  // Counts the worker's endpoints: clients, unregistered connections, other shards, and those still
  // closing.
  [[nodiscard]] std::size_t endpoint_count() const { return worker_.endpoint_count(); }
  // Links of all kinds that are not closed yet.
  [[nodiscard]] std::size_t link_count() const {
    return worker_.endpoint_count() + node_links_.size() + forwarded_links_.size();
  }

  struct Stats {
    std::uint64_t notices = 0;          // one-way messages that were understood
    std::uint64_t heartbeats = 0;       // answered; they are no requests
    std::uint64_t malformed = 0;        // answered with an error, or notices that make no sense
    std::uint64_t unattributed = 0;     // no valid session: dropped
    std::uint64_t repeated = 0;         // sent again over a new connection: not executed again
    std::uint64_t overloaded = 0;       // answered with kBusy
    std::uint64_t replies_dropped = 0;  // the client was gone
    std::uint64_t unresponsive = 0;     // sessions ended because the client did not take part
    std::uint64_t postponed = 0;        // of clients that drained: not begun, to be sent again
    std::uint32_t in_flight = 0;
  };
  // Clients that wait for a place in the registry.
  [[nodiscard]] std::uint32_t waiting() const {
    return static_cast<std::uint32_t>(waiting_.size());
  }

  [[nodiscard]] const Stats& stats() const { return stats_; }
  // Null: nothing is forwarded.
  [[nodiscard]] const Forwarder* forwarder() const { return forwarder_; }
  [[nodiscard]] const RequestStats& request_stats() const { return request_stats_; }
  // The requests whose handler has not ended, in no order: visit(const Request&).
  template <typename Visit>
  void for_each_request(Visit visit) const {
    for (const std::unique_ptr<Request>& request : requests_) {
      if (request->trace().phase() != Phase::kNone) {
        visit(*request);
      }
    }
  }

 private:
  friend class ServerTestPeer;

  // The number of clients that are remembered when max_clients may be registered.
  static std::size_t histories_for(std::uint32_t max_clients) {
    return std::size_t{8} * max_clients;
  }
  Server(net::Worker& worker, Service& service, const Config& config);
  link::Disposition on_message(const link::Incoming& message) override;
  void on_link_failed(link::Link& link, const link::Outcome& why) override;
  void on_peer_died(link::Link& link) override;

  link::Disposition on_request(wire::Opcode opcode, const link::Incoming& message);
  link::Disposition on_forward(const link::Incoming& message);
  void on_program_forward(const link::Incoming& message);
  void drop_unattributed(const link::Incoming& message);
  void on_register(const link::Incoming& message);
  void on_goodbye(const link::Incoming& message);
  void on_invalidate_ack(const link::Incoming& message);
  void on_heartbeat(Session& session,
                    const wire::RequestHeader& header,
                    const link::Incoming& message);
  void on_notice(wire::Opcode opcode, const link::Incoming& message);
  void admit_waiting();
  bool make_room_for(const Registration& registration, MonoTime now);
  void add_session(const Registration& registration, MonoTime now);
  void grant(const Session& session, const Registration& registration);
  void evict(Session& session);
  void end_request(Session& session);
  void end_session(Session& session, wire::CloseReason reason, Departure departure);
  void answer(Session& session,
              std::uint16_t message_id,
              const wire::RequestHeader& header,
              Errc code);
  rt::DetachedTask serve(Request* request);
  rt::DetachedTask end_when_sent(Request* request);
  void end(Request* request);
  void on_repeated(wire::Opcode opcode, Session& session, const ReplyHistory::Lookup& found);
  Errc check_request(const wire::RequestHeader& header,
                     const Session& session,
                     const link::Incoming& message);
  void post(Session& session, std::uint16_t id, std::span<const std::byte> header);
  rt::Task<void> sweep();
  void sweep_sessions(MonoTime now);
  rt::Task<void> requests_end(Deadline deadline);
  void cut_requests_short();
  [[nodiscard]] Error stuck_requests() const;
  Request* take_request();
  void give_request(Request* request);

  net::Worker& worker_;
  Service& service_;
  Config config_;
  bool stopping_ = false;
  wire::ShardId self_;
  std::uint32_t shard_count_ = 0;
  Admission admission_;
  // Registrations that are in order and wait for a place, first come, first served. Their links
  // are ours.
  struct Waiting {
    Registration registration;
    Deadline deadline;
  };
  struct AdmissionTimer final : rt::Timer {
    explicit AdmissionTimer(Server& owner) : server(owner) {}
    void on_timer() override { server.admit_waiting(); }
    Server& server;
  };
  std::deque<Waiting> waiting_;
  AdmissionTimer admission_timer_{*this};
  std::uint32_t draining_ = 0;
  MonoTime next_warning_;  // that places are short
  ClientRegistry registry_;
  ReplyHistories histories_;
  std::unordered_map<link::Link*, wire::SessionId> sessions_;
  std::vector<std::unique_ptr<Request>> requests_;
  std::vector<Request*> free_requests_;
  rt::WaitQueue idle_;    // no request is being served
  rt::Scope background_;  // sweeps
  Stats stats_;
  RequestStats request_stats_;
  door::ServerLinks node_links_;
  ForwardedLinks forwarded_links_;
  Forwarder* forwarder_ = nullptr;
  ReplyWay replies_{registry_, config_.eager_reply_bytes, stats_.replies_dropped};
};

}  // namespace benchfs::rpc
