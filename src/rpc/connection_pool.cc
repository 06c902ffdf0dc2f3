#include "rpc/connection_pool.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "base/backoff.h"
#include "base/check.h"
#include "base/log.h"
#include "cluster/server_list_file.h"

namespace benchfs::rpc {
namespace {

constexpr Nanos kFirstPause = std::chrono::milliseconds(1);
constexpr Nanos kLongestPause = std::chrono::milliseconds(100);
// The time that an attempt to reach a lost server waits for the server list.
constexpr Nanos kListPatience = std::chrono::milliseconds(250);
// With this many operations under way, revocations are no longer acknowledged: the server does
// not read.
constexpr std::uint32_t kMaxQueuedAcks = 8 * wire::kMaxWindow;

// The server did not execute the request, whatever the operation.
bool was_not_executed(Errc code) {
  return code == Errc::kUnknownSession || code == Errc::kNotReady || code == Errc::kBusy;
}

bool is_connection_trouble(Errc code) {
  return code == Errc::kUnreachable || code == Errc::kDisconnected || code == Errc::kTransport;
}

// Completes the error of an attempt for the caller. `attempts`: how many there were.
std::unexpected<Error> explain(Error error,
                               const Call& call,
                               const Connection& connection,
                               Deadline deadline,
                               MonoTime began,
                               int attempts) {
  std::string what = fmt::format("{} on {}: ", wire::to_string(call.opcode), connection.name());
  std::string tries = attempts > 1 ? fmt::format(", {} attempts", attempts) : "";
  if (error.code == Errc::kDeadline) {
    error.context = fmt::format("{}no reply within {:.3f} s{} ({})",
                                what,
                                seconds(deadline.when() - began),
                                tries,
                                error.context);
  } else {
    error.context = fmt::format(
        "{}{} (after {:.3f} s{})", what, error.context, seconds(mono_now() - began), tries);
  }
  return std::unexpected(std::move(error));
}

std::unexpected<Error> explain_connect(Error error,
                                       std::uint32_t servers,
                                       int attempts,
                                       MonoTime began) {
  std::string others = servers > 1 ? fmt::format("; none of {} servers answered", servers) : "";
  error.context = fmt::format("{}{} (after {:.3f} s, {} attempts)",
                              error.context,
                              others,
                              seconds(mono_now() - began),
                              attempts);
  return std::unexpected(std::move(error));
}

}  // namespace

Result<std::unique_ptr<ConnectionPool>> ConnectionPool::create(net::Worker& worker,
                                                               ClientIdentity identity,
                                                               Config config) {
  BENCHFS_TRY(
      auto pool,
      create(
          worker.reactor(), [&worker] { return &worker; }, std::move(identity), std::move(config)));
  BENCHFS_TRY_VOID(pool->ucx_.open());
  return pool;
}

Result<std::unique_ptr<ConnectionPool>> ConnectionPool::create(rt::Reactor& reactor,
                                                               UcxDialer::Source worker,
                                                               ClientIdentity identity,
                                                               Config config) {
  if (identity.id.empty() || identity.id.size() > wire::kMaxClientIdBytes) {
    return fail(Errc::kInvalidArgument,
                fmt::format("a client id has 1 to {} bytes", wire::kMaxClientIdBytes));
  }
  return std::unique_ptr<ConnectionPool>(new ConnectionPool(  // lint: allow new private constructor
      reactor,
      std::move(worker),
      std::move(identity),
      std::move(config)));
}

Status ConnectionPool::set_servers(const cluster::ServerList& list) {
  BENCHFS_CHECK(connections_.empty());
  identity_.run_id = list.run_id;
  ConnectionObserver& observer = *this;
  Dialer* dialer = &ucx_;
  if (config_.transport != Transport::kUcx) {
    link::Handler& handler = *this;
    node_.emplace(reactor_,
                  handler,
                  door::ClientLinks::Config{.run_id = list.run_id,
                                            .base = config_.door_base,
                                            .shape = config_.door_shape,
                                            .wants_slots = config_.wants_slots});
    dialer =
        &node_dialer_.emplace(*node_,
                              ucx_,
                              NodeDialer::Ways{.only_node = config_.transport == Transport::kNode,
                                               .forwarded = config_.forwarded});
  }
  for (const cluster::Server& server : list.servers) {
    BENCHFS_TRY(net::SocketAddress address, net::make_address(server.ip, server.port));
    wire::ShardId shard{static_cast<std::uint32_t>(connections_.size())};
    connections_.push_back(
        std::make_unique<Connection>(reactor_,
                                     *dialer,
                                     identity_,
                                     shard,
                                     server.node_id,
                                     address,
                                     Heartbeat(config_.silence_limit, config_.heartbeat_after),
                                     observer));
  }
  return {};
}

void ConnectionPool::close() {
  closing_.cancel();
  for (auto& connection : connections_) {
    connection->close();
  }
}

rt::CoStatus ConnectionPool::connect(wire::ShardId shard, Deadline deadline) {
  wire::PingRequest ping;
  Call call = make_call(ping);
  Result<Reply> reply = co_await this->call(shard, call, deadline);
  if (!reply) {
    co_return std::unexpected(reply.error());
  }
  co_return Status{};
}

// Connected and registered, or the error of one attempt. kDeadline is the call's own deadline.
rt::CoStatus ConnectionPool::reach(Connection& connection, Deadline deadline) {
  if (connection.state() == Connection::State::kClosed && connection.was_lost()) {
    co_await read_list(deadline);
    if (connection.state() == Connection::State::kClosed) {
      refresh_address(connection);
    }
  }
  Status ready =
      co_await connection.establish(deadline.earlier(Deadline::after(config_.connect_timeout)));
  if (!ready && ready.error().code == Errc::kDeadline) {
    if (!deadline.passed()) {
      co_return fail(Errc::kUnreachable,
                     fmt::format("{} at {} does not answer, {}",
                                 connection.name(),
                                 connection.address().to_string(),
                                 ready.error().context));
    }
    ready.error().context += "; not connected";
  }
  co_return ready;
}

// One attempt of connect_any(). A server that does not answer must leave time for the others.
rt::CoStatus ConnectionPool::try_to_reach(Connection& connection, Deadline deadline) {
  constexpr Nanos kAtLeast = std::chrono::milliseconds(250);
  Nanos share = std::max(deadline.remaining(mono_now()) / 4, kAtLeast);
  Deadline attempt = deadline.earlier(Deadline::after(share));
  Status ready = co_await reach(connection, attempt);
  if (!ready && ready.error().code == Errc::kDeadline && !deadline.passed()) {
    ready.error().code = Errc::kUnreachable;
    ready.error().context = fmt::format("{} at {} does not answer, {}",
                                        connection.name(),
                                        connection.address().to_string(),
                                        ready.error().context);
  }
  co_return ready;
}

rt::CoResult<wire::ShardId> ConnectionPool::connect_any(wire::ShardId first, Deadline deadline) {
  if (connections_.empty()) {
    co_return fail(Errc::kConfig, "the server list is empty");
  }
  MonoTime began = mono_now();
  Deadline patience = Deadline::after(config_.connect_patience);
  Backoff pause(kFirstPause, kLongestPause);
  std::optional<Error> why;  // of the server that should have been the one
  for (int attempts = 1;; ++attempts) {
    bool is_any_alive = false;
    for (std::uint32_t i = 0; i < size(); ++i) {
      wire::ShardId shard{(first.value + i) % size()};
      Status ready = co_await try_to_reach(at(shard), deadline);
      if (ready) {
        co_return shard;
      }
      Error& error = ready.error();
      bool is_alive = error.code == Errc::kNotReady || error.code == Errc::kBusy;
      is_any_alive = is_any_alive || is_alive;
      bool is_final = !is_alive && !is_connection_trouble(error.code) &&
                      error.code != Errc::kDeadline && error.code != Errc::kUnknownSession;
      if (is_final || i == 0) {
        why = std::move(error);
      }
      if (is_final || deadline.passed() || closing_.is_cancelled()) {
        co_return explain_connect(*std::move(why), size(), attempts, began);
      }
    }
    if (!is_any_alive && patience.passed()) {
      co_return explain_connect(*std::move(why), size(), attempts, began);
    }
    (void)co_await rt::sleep_until(deadline.earlier(Deadline::after(pause.next())), &closing_);
  }
}

// Connects and sends until there is an answer, or a reason to give up. `error` is that of the
// attempt before, kOk if there was none.
rt::CoResult<Reply> ConnectionPool::call_again(Connection& connection,
                                               Connection::Exchange& exchange,
                                               const Call& call,
                                               Deadline deadline,
                                               Error error) {
  int attempts = error.code == Errc::kOk ? 0 : 1;
  Backoff pause(kFirstPause, kLongestPause);
  Deadline patience = Deadline::after(config_.connect_patience);
  bool is_reachable = true;      // in the last attempt
  bool is_broken = false;        // the same: the connection, before there was an answer
  std::optional<Error> cut_off;  // in any attempt: the server may have executed it
  auto judge = [&] {
    is_broken = is_connection_trouble(error.code) && !exchange.is_answered();
    if (is_broken && exchange.was_sent()) {
      cut_off = error;
    }
  };
  judge();
  for (;; ++attempts) {
    if (error.code != Errc::kOk) {
      bool may_repeat = was_not_executed(error.code) || is_broken;
      bool gave_up = !is_reachable && !was_not_executed(error.code) && patience.passed();
      bool is_lost = cut_off && exchange.is_forgotten() && !wire::is_idempotent(call.opcode);
      if (!may_repeat || gave_up || is_lost || deadline.passed()) {
        if (cut_off && (is_lost || is_connection_trouble(error.code))) {
          cut_off->code = Errc::kDisconnected;  // the effect may have happened
          error = *std::move(cut_off);
        } else if (error.code == Errc::kUnknownSession || (is_broken && is_reachable)) {
          error.code = Errc::kDeadline;  // only that keeps it from being sent again
        }
        co_return explain(std::move(error), call, connection, deadline, exchange.began(), attempts);
      }
      if (error.code != Errc::kUnknownSession || connection.state() != Connection::State::kClosed) {
        (void)co_await rt::sleep_until(deadline.earlier(Deadline::after(pause.next())), &closing_);
      }
    }
    if (closing_.is_cancelled()) {
      error = Error{Errc::kCancelled, 0, "the client is closing"};
      co_return explain(std::move(error), call, connection, deadline, exchange.began(), attempts);
    }
    if (connection.state() != Connection::State::kReady) {
      Status ready = co_await reach(connection, deadline);
      is_reachable = ready.has_value();
      if (!ready) {
        error = std::move(ready.error());
        is_broken = is_connection_trouble(error.code);
        continue;
      }
      if (cut_off && exchange.is_forgotten() && !wire::is_idempotent(call.opcode)) {
        continue;  // decided above
      }
    }
    if (attempts == 0) {
      exchange.begin_late();
    }
    Result<Reply> reply = co_await exchange;
    if (reply || reply.error().code == Errc::kPosix) {
      co_return reply;
    }
    patience = Deadline::after(config_.connect_patience);
    error = std::move(reply.error());
    judge();
  }
}

ConnectionPool::ListReader ConnectionPool::list_reader(std::string registry_dir) {
  return [dir = std::move(registry_dir)](std::uint64_t run_id) -> Result<cluster::ServerList> {
    auto list = cluster::read_server_list(dir, run_id);
    if (!list) {
      return std::unexpected(list.error().to_error());
    }
    return std::move(*list);
  };
}

// Reads the list, or waits for a reading under way, unless it was read a moment ago. The wait is
// short: a shared file system that hangs must not keep us from a server that is where it was.
rt::Task<void> ConnectionPool::read_list(Deadline deadline) {
  if (!config_.read_list) {
    co_return;
  }
  if (reading_ == nullptr) {
    if (mono_now() < next_reading_) {
      co_return;
    }
    auto job = blocking_.submit<cluster::ServerList>(
        [read = config_.read_list, run_id = identity_.run_id] { return read(run_id); });
    if (!job) {
      co_return;
    }
    reading_ = *std::move(job);
  }
  auto reading = reading_;
  if (co_await reading->wait(deadline.earlier(Deadline::after(kListPatience)), &closing_) &&
      reading_ == reading) {
    reading_ = nullptr;
    next_reading_ = mono_now() + config_.list_interval;
    if (reading->result()) {
      list_ = *reading->result();
    }
  }
}

void ConnectionPool::refresh_address(Connection& connection) {
  auto server = std::ranges::find(list_.servers, connection.name(), &cluster::Server::node_id);
  if (server == list_.servers.end()) {
    return;
  }
  Result<net::SocketAddress> address = net::make_address(server->ip, server->port);
  if (address && address->to_string() != connection.address().to_string()) {
    BENCHFS_LOG(kInfo, "{} moved to {}", connection.name(), address->to_string());
    connection.set_address(*address);
  }
}

void ConnectionPool::on_registered(Connection& connection, Registered how) {
  if (notices_ != nullptr) {
    notices_->on_registered(connection.shard(), how);
  }
}

void ConnectionPool::on_connection_lost(Connection& connection) {
  if (notices_ != nullptr) {
    notices_->on_connection_lost(connection.shard());
  }
  if (forwarded_ != nullptr) {
    forwarded_->on_far_lost(connection.shard());
  }
}

link::Disposition ConnectionPool::on_message(const link::Incoming& message) {
  wire::Reader reader(message.header);
  if (message.id == wire::kRegisterReplyAmId) {
    wire::RegisterReply reply;
    if (wire::read_register_reply(message.header, reply)) {
      for (auto& connection : connections_) {
        if (connection->has_attempt(reply.attempt)) {
          connection->on_register_reply(reply);
        }
      }
    }
    return link::Disposition::kDone;
  }
  if (message.id == static_cast<std::uint16_t>(wire::Opcode::kConnectionClose)) {
    wire::ConnectionCloseRequestHeader close;
    if (reader.read(close)) {
      for (auto& connection : connections_) {
        if (connection->has_session(close.session_id)) {
          connection->on_connection_close(static_cast<wire::CloseReason>(close.reason));
        }
      }
    }
    return link::Disposition::kDone;
  }
  if (message.id == static_cast<std::uint16_t>(wire::Opcode::kInvalidate)) {
    on_invalidate(message);
    return link::Disposition::kDone;
  }
  if (message.id == wire::reply_am_id(wire::Opcode::kForward) ||
      message.id == static_cast<std::uint16_t>(wire::Opcode::kForwardNotice)) {
    return forwarded_ != nullptr ? forwarded_->on_forwarded(message) : link::Disposition::kDone;
  }
  wire::ReplyHeader header;
  if (!reader.read(header)) {
    return link::Disposition::kDone;
  }
  wire::ShardId shard = wire::RequestId{header.request_id}.shard();
  if (shard.value >= connections_.size()) {
    return link::Disposition::kDone;
  }
  return connections_[shard.value]->on_reply(header, message);
}

void ConnectionPool::on_invalidate(const link::Incoming& message) {
  wire::Reader reader(message.header);
  wire::InvalidateHeader header;
  if (!reader.read(header)) {
    return;
  }
  std::string_view name = reader.read_text(header.name_bytes);
  if (!reader.ok()) {
    return;
  }
  for (auto& connection : connections_) {
    if (connection->has_session(header.session_id)) {
      connection->on_notice();
    }
  }
  if ((header.flags & wire::kInvalidateByWord) != 0) {  // nobody has shown it
    header.parent = 0;
    name = {};
  }
  Revocation revocation{header.sequence, header.session_id};
  if (notices_ == nullptr ||
      notices_->on_invalidate(wire::InodeId{header.parent}, name, revocation)) {
    acknowledge(revocation);
  }
}

void ConnectionPool::acknowledge(const Revocation& revocation) {
  wire::InvalidateAckHeader ack{revocation.sequence, revocation.session_id};
  for (auto& connection : connections_) {
    if (!connection->has_session(revocation.session_id)) {
      continue;
    }
    link::Link& link = *connection->link();
    if (link.operations() < kMaxQueuedAcks) {
      link.send_ahead(static_cast<std::uint16_t>(wire::Opcode::kInvalidateAck),
                      std::as_bytes(std::span(&ack, 1)));
    }
  }
}

}  // namespace benchfs::rpc
