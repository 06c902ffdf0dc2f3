// All connections of one client, one a server, made on first use.
//
// call() brings a request to a server whatever happens to the connection: it connects and registers
// when needed, comes back after an eviction without the caller noticing, repeats idempotent
// requests whose connection broke, and gives up at the deadline or when the server stays
// unreachable for Config::connect_patience. The deadline covers all of that. A server that was lost
// is looked up again in the server list, once a second at most. Daemon shards use it too, to talk
// to each other.
//
// Errors other than kPosix name operation, node, phase and elapsed time:
//   open on node_3: no reply within 2.000 s (waiting for the reply for 1.998 s; connected)
//
// Thread: the reactor's.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cluster/server_list.h"
#include "net/worker.h"
#include "rpc/connection.h"
#include "rpc/pooled_call.h"
#include "rpc/transport.h"
#include "rt/blocking_pool.h"
#include "rt/scope.h"

namespace benchfs::rpc {

// What a server waits for when it revokes a lease.
struct Revocation {
  std::uint64_t sequence = 0;
  std::uint64_t session_id = 0;
};

// Receives the messages that servers send a client on their own initiative.
class NoticeHandler {
 public:
  virtual ~NoticeHandler() = default;
  // Forget the cached entry (parent, name), or the attributes of `parent` when there is no name, or
  // everything when parent is 0. True: it is forgotten. False: it will be, and the server is told
  // then with ConnectionPool::acknowledge().
  virtual bool on_invalidate(wire::InodeId parent,
                             std::string_view name,
                             const Revocation& revocation) = 0;
  // Whether it looks at the validity words of links, in on_registered() and from then on, so that
  // it need not be told of directory entries.
  [[nodiscard]] virtual bool looks_at_words() const { return false; }
  // The client is registered with this server (again). Called before any waiting call is sent; it
  // may call ConnectionPool::notify().
  virtual void on_registered(wire::ShardId /*shard*/, Registered /*how*/) {}
  // The connection to this server ended, whatever ended it, and not because the pool was closed.
  // The server can no longer say what to forget; by default everything is forgotten.
  virtual void on_connection_lost(wire::ShardId /*shard*/) {
    on_invalidate(wire::InodeId{}, {}, {});
  }
};

// Receives what far shards send to programs of this node.
class ForwardedHandler {
 public:
  virtual ~ForwardedHandler() = default;
  virtual link::Disposition on_forwarded(const link::Incoming& message) = 0;
  // The connection to this shard ended, and not because the pool was closed.
  virtual void on_far_lost(wire::ShardId shard) = 0;
};

class ConnectionPool final : private link::Handler, private ConnectionObserver {
 public:
  using ListReader = std::function<Result<cluster::ServerList>(std::uint64_t run_id)>;
  struct Config {
    Nanos connect_timeout = std::chrono::seconds(5);   // one attempt to connect and register
    Nanos connect_patience = std::chrono::seconds(3);  // attempts are repeated for this long
    // A server from which nothing arrives for this long while a call waits is dead: 100 ms at
    // least.
    Nanos silence_limit = std::chrono::milliseconds(1800);
    // The silence after which a heartbeat is sent; zero: a quarter of the limit.
    Nanos heartbeat_after = Nanos::zero();
    // Reads the server list, when a server was lost: it may have restarted elsewhere. May block: it
    // runs on a helper thread, and must own what it uses.
    ListReader read_list;
    Nanos list_interval = std::chrono::seconds(1);  // between two readings
    Transport transport = Transport::kUcx;
    std::string door_base = {};  // as in door::DoorDirectory
    door::SessionShape door_shape = door::kProgramShape;
    bool forwarded = false;    // shards of other nodes are reached through those of this one
    bool wants_slots = false;  // to read and fill chunks of its node by itself
  };
  // Reads the server list of a directory.
  static ListReader list_reader(std::string registry_dir);

  static Result<std::unique_ptr<ConnectionPool>> create(net::Worker& worker,
                                                        ClientIdentity identity,
                                                        Config config);
  // With a worker that is made when the network is needed first.
  static Result<std::unique_ptr<ConnectionPool>> create(rt::Reactor& reactor,
                                                        UcxDialer::Source worker,
                                                        ClientIdentity identity,
                                                        Config config);

  // The servers in shard order. Call once, before the first call().
  Status set_servers(const cluster::ServerList& list);
  void set_notice_handler(NoticeHandler* handler) { notices_ = handler; }
  void set_forwarded_handler(ForwardedHandler* handler) { forwarded_ = handler; }
  // What on_invalidate() was asked to forget is forgotten. Does nothing when the session has ended:
  // the server asks again in the next one.
  void acknowledge(const Revocation& revocation);

  // Awaited at once; `call` is borrowed until then.
  [[nodiscard]] PooledCall call(wire::ShardId shard, const Call& call, Deadline deadline) {
    return {*this, shard, call, deadline};
  }
  // Sends a one-way message, in order with the requests to this server, and does not wait: it
  // arrives unless the connection is lost. False, and nothing is sent, when not connected. A
  // request whose bytes travel apart may be served after a notice that was sent later.
  template <typename Notice>
  bool notify(wire::ShardId shard, const Notice& body, std::span<const std::byte> tail = {}) {
    static_assert(wire::is_notice(Notice::kOpcode));
    return shard.value < connections_.size() &&
           connections_[shard.value]->notify(
               Notice::kOpcode, std::as_bytes(std::span(&body, 1)), tail);
  }
  // Connects and registers if need be, in one attempt. A server that was lost is looked up in the
  // list first.
  [[nodiscard]] rt::CoStatus reach(wire::ShardId shard, Deadline deadline) {
    return reach(at(shard), deadline);
  }
  // The same, as a call does it; for reading the grant.
  [[nodiscard]] rt::CoStatus connect(wire::ShardId shard, Deadline deadline);
  // Connects to and registers with one server, whichever answers: `first`, or else the ones after
  // it in turn. Gives up at the deadline, after Config::connect_patience in which none could be
  // reached, or when one refuses this client for good.
  [[nodiscard]] rt::CoResult<wire::ShardId> connect_any(wire::ShardId first, Deadline deadline);

  [[nodiscard]] std::uint32_t size() const {
    return static_cast<std::uint32_t>(connections_.size());
  }
  [[nodiscard]] Connection& at(wire::ShardId shard) { return *connections_[shard.value]; }
  [[nodiscard]] const ClientIdentity& identity() const { return identity_; }
  // Whether a server has a door on this node, and whether one that has passes on what is for the
  // others.
  [[nodiscard]] bool has_door(wire::ShardId shard) const {
    return node_ && node_->has_door(shard.value);
  }
  [[nodiscard]] bool is_forwarded_here() const {
    return node_ && config_.forwarded && node_->nearest(0).has_value();
  }
  // Links through the node door that are not closed yet.
  [[nodiscard]] std::size_t node_link_count() const { return node_ ? node_->size() : 0; }

  // Says goodbye to every server; Worker::drain() waits until that is done. Calls under way end
  // with kCancelled, and so do later ones. Idempotent.
  void close();

 private:
  friend class PooledCall;
  ConnectionPool(rt::Reactor& reactor,
                 UcxDialer::Source worker,
                 ClientIdentity identity,
                 Config config)
      : reactor_(reactor),
        identity_(std::move(identity)),
        config_(std::move(config)),
        blocking_(reactor),
        ucx_(*this, std::move(worker)) {}
  link::Disposition on_message(const link::Incoming& message) override;
  void on_registered(Connection& connection, Registered how) override;
  void on_connection_lost(Connection& connection) override;
  [[nodiscard]] bool looks_at_words() const override {
    return notices_ != nullptr && notices_->looks_at_words();
  }
  void on_invalidate(const link::Incoming& message);
  rt::Task<void> read_list(Deadline deadline);
  void refresh_address(Connection& connection);
  rt::CoStatus try_to_reach(Connection& connection, Deadline deadline);
  rt::CoStatus reach(Connection& connection, Deadline deadline);
  rt::CoResult<Reply> call_again(Connection& connection,
                                 Connection::Exchange& exchange,
                                 const Call& call,
                                 Deadline deadline,
                                 Error error);

  rt::Reactor& reactor_;
  ClientIdentity identity_;
  Config config_;
  NoticeHandler* notices_ = nullptr;
  ForwardedHandler* forwarded_ = nullptr;
  std::vector<std::unique_ptr<Connection>> connections_;
  rt::CancelSource closing_;
  rt::BlockingPool blocking_;
  // One reading at a time, shared by all who wait for a lost server.
  std::shared_ptr<rt::BlockingJob<cluster::ServerList>> reading_;
  UcxDialer ucx_;
  std::optional<door::ClientLinks> node_;  // once the run is known, if it is wanted
  std::optional<NodeDialer> node_dialer_;
  MonoTime next_reading_;
  cluster::ServerList list_;  // as last read
};

}  // namespace benchfs::rpc
