#include "bench/idle_clients.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "base/random.h"
#include "bench/baseline_messages.h"
#include "bench/worker.h"
#include "rpc/connection_pool.h"
#include "rt/sync.h"
#include "wire/messages.h"

namespace benchfs::bench {
namespace {

// The number of shards that a request id can distinguish.
constexpr std::uint32_t kNumbers = 1U << wire::RequestId::kShardBits;
constexpr Nanos kConnectTimeout = std::chrono::seconds(30);
constexpr Nanos kPingTimeout = std::chrono::seconds(10);
constexpr Nanos kBetweenMessages = std::chrono::milliseconds(10);
constexpr Nanos kDrain = std::chrono::seconds(10);

void count(Measurement& out, MonoTime begin) {
  out.latency.record(static_cast<std::uint64_t>((mono_now() - begin).count()));
  ++out.operations;
}

}  // namespace

Result<std::unique_ptr<IdleClients>> IdleClients::create(const Config& config) {
  std::unique_ptr<IdleClients> clients(
      new IdleClients(config));  // lint: allow new private constructor
  BENCHFS_TRY_VOID(clients->set_up());
  return clients;
}

Status IdleClients::set_up() {
  BENCHFS_TRY(address_, net::make_address(config_.server.ip, config_.server.port));
  secret_ = cluster::Secret::read(config_.registry_dir);
  BENCHFS_TRY(reactor_, rt::Reactor::create());
  BENCHFS_TRY(context_, net::Context::create({.devices = config_.devices}));
  BENCHFS_TRY(worker_, net::Worker::create(*context_, *reactor_, net::Worker::Threads::kSingle));
  dialer_.emplace(*worker_);
  for (std::uint16_t id : {std::uint16_t{kBaselineWelcome},
                           wire::kRegisterReplyAmId,
                           wire::reply_am_id(wire::Opcode::kPing),
                           static_cast<std::uint16_t>(wire::Opcode::kConnectionClose)}) {
    BENCHFS_TRY_VOID(worker_->set_handler(id, *this, false));
  }
  return {};
}

IdleClients::~IdleClients() {
  if (worker_ == nullptr) {
    return;
  }
  rt::Reactor::Binding binding(*reactor_);
  for (auto& member : members_) {
    member->connection->close();
  }
  for (net::Endpoint* endpoint : bare_) {
    endpoint->close(Nanos{});
  }
  worker_->drain(Deadline::after(kDrain));
  members_.clear();
  worker_->remove_handler(*this);
}

link::Disposition IdleClients::on_message(const link::Incoming& message) {
  if (message.id == kBaselineWelcome) {
    return link::Disposition::kDone;
  }
  wire::Reader reader(message.header);
  if (message.id == wire::kRegisterReplyAmId) {
    wire::RegisterReply reply;
    if (wire::read_register_reply(message.header, reply)) {
      // Search from the end: the newest members are the ones that wait.
      for (std::size_t i = members_.size(); i-- > 0;) {
        rpc::Connection& connection = *members_[i]->connection;
        if (connection.has_attempt(reply.attempt)) {
          connection.on_register_reply(reply);
          break;
        }
      }
    }
  } else if (message.id == static_cast<std::uint16_t>(wire::Opcode::kConnectionClose)) {
    wire::ConnectionCloseRequestHeader close;
    if (reader.read(close)) {
      for (auto& member : members_) {
        if (member->connection->has_session(close.session_id)) {
          member->connection->on_connection_close(static_cast<wire::CloseReason>(close.reason));
        }
      }
    }
  } else {
    wire::ReplyHeader header;
    if (reader.read(header)) {
      // A member ignores replies to requests that it did not send.
      std::uint32_t number = wire::RequestId{header.request_id}.shard().value;
      for (; number < members_.size(); number += kNumbers) {
        (void)members_[number]->connection->on_reply(header, message);
      }
    }
  }
  return link::Disposition::kDone;
}

void IdleClients::on_link_failed(link::Link&, const link::Outcome&) {
  // The destructor closes it: a task that joins over it may be about to send, and gets the error
  // then.
}

Status IdleClients::join(std::uint32_t clients, Measurement& out) {
  char host[256] = "?";
  gethostname(host, sizeof host - 1);
  std::size_t first = members_.size();
  for (std::uint32_t i = 0; i < clients; ++i) {
    std::size_t number = members_.size();
    auto member = std::make_unique<Member>();
    member->identity = {.id = fmt::format("{:.200}:{}:{}", host, getpid(), number),
                        .uid = random_id(),
                        .run_id = config_.run_id,
                        .secret = secret_};
    member->connection = std::make_unique<rpc::Connection>(
        *reactor_,
        *dialer_,
        member->identity,
        wire::ShardId{static_cast<std::uint32_t>(number % kNumbers)},
        config_.server.node_id,
        address_,
        rpc::Heartbeat(rpc::ConnectionPool::Config().silence_limit),
        unobserved_);
    members_.push_back(std::move(member));
  }
  std::size_t next = first;
  return reactor_->block_on(
      run_lanes(std::min(config_.at_once, clients), [&](std::uint32_t) -> rt::CoStatus {
        while (next < members_.size()) {
          BENCHFS_CO_TRY_VOID(co_await join_one(*members_[next++], out));
        }
        co_return Status{};
      }));
}

rt::CoStatus IdleClients::join_one(Member& member, Measurement& out) {
  MonoTime begin = mono_now();
  Deadline deadline = config_.deadline.earlier(Deadline::after(kConnectTimeout));
  Status ready = co_await member.connection->establish(deadline);
  if (!ready) {
    co_return std::unexpected(std::move(ready.error()).with_prefix(member.identity.id));
  }
  count(out, begin);
  co_return Status{};
}

Status IdleClients::ping(Measurement& out) {
  return reactor_->block_on(ping_all(out));
}

rt::CoStatus IdleClients::ping_all(Measurement& out) {
  for (auto& member : members_) {
    rpc::Call call{.opcode = wire::Opcode::kPing};
    MonoTime begin = mono_now();
    rpc::Connection::Exchange exchange(
        *member->connection, call, Deadline::after(kPingTimeout), begin);
    Result<rpc::Reply> reply = co_await exchange;
    if (!reply) {
      co_return std::unexpected(std::move(reply.error()).with_prefix(member->identity.id));
    }
    count(out, begin);
  }
  co_return Status{};
}

Status IdleClients::join_bare(std::uint32_t clients,
                              const net::SocketAddress& address,
                              Measurement& out) {
  std::uint32_t next = 0;
  BENCHFS_TRY_VOID(reactor_->block_on(
      run_lanes(std::min(config_.at_once, clients), [&](std::uint32_t) -> rt::CoStatus {
        while (next < clients) {
          ++next;
          BENCHFS_CO_TRY(net::Endpoint * endpoint, worker_->connect(address, *this));
          bare_.push_back(endpoint);
          BENCHFS_CO_TRY_VOID(co_await join_one_bare(*endpoint, out));
        }
        co_return Status{};
      })));
  return reactor_->block_on(greet_all());
}

rt::CoStatus IdleClients::greet(net::Endpoint& endpoint) {
  static constexpr BaselineHeader kHeader{};
  static constexpr std::array<std::byte, 8> kNoAddress{};
  link::Outcome outcome = co_await endpoint.send({.id = kBaselineHello,
                                                  .header = std::as_bytes(std::span(&kHeader, 1)),
                                                  .data = kNoAddress,
                                                  .shows_sender = true});
  if (!outcome.ok()) {
    co_return std::unexpected(link::error_of(outcome, "connecting to a bare UCX listener"));
  }
  co_return Status{};
}

rt::CoStatus IdleClients::greet_all() {
  for (net::Endpoint* endpoint : bare_) {
    BENCHFS_CO_TRY_VOID(co_await greet(*endpoint));
  }
  co_return Status{};
}

// Together with greet_all() it exchanges as many messages, at about the same moments, as a client
// that registers, proves its identity and pings. Over shared memory most messages touch a new page
// of the peer's FIFO, which is mapped for each connection.
rt::CoStatus IdleClients::join_one_bare(net::Endpoint& endpoint, Measurement& out) {
  MonoTime begin = mono_now();
  link::Outcome outcome = co_await endpoint.flush();
  count(out, begin);
  if (!outcome.ok()) {
    co_return std::unexpected(link::error_of(outcome, "connecting to a bare UCX listener"));
  }
  for (int i = 0; i < 2; ++i) {
    (void)co_await rt::sleep_for(kBetweenMessages);  // lets the others proceed
    BENCHFS_CO_TRY_VOID(co_await greet(endpoint));
  }
  co_return Status{};
}

void IdleClients::idle_for(Nanos span) {
  bool never = false;
  rt::Reactor::Binding binding(*reactor_);
  Deadline end = Deadline::after(span);
  while (!end.passed()) {
    (void)reactor_->run_until(never, end);
  }
}

std::uint32_t IdleClients::registered() const {
  return static_cast<std::uint32_t>(std::ranges::count_if(members_, [](const auto& member) {
    return member->connection->state() == rpc::Connection::State::kReady;
  }));
}

}  // namespace benchfs::bench
