#include "rpc/server.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/log.h"

namespace benchfs::rpc {
namespace {

constexpr Nanos kSweepEvery = std::chrono::milliseconds(500);
constexpr std::size_t kNamedRequests = 4;  // of those that keep a server from stopping
// One-way messages and refusals queued for a client that does not read. Replies have their own
// bound, the window.
constexpr std::uint32_t kMaxQueuedMessages = 8 * wire::kMaxWindow;

}  // namespace

Server::Server(net::Worker& worker, Service& service, const Config& config)
    : worker_(worker),
      service_(service),
      config_(config),
      admission_(worker,
                 *this,
                 {.max_unregistered = config.max_unregistered,
                  .register_timeout = config.register_timeout,
                  .secret = config.secret}),
      registry_({.capacity = config.max_clients, .turn = config.client_turn}),
      histories_(histories_for(config.max_clients)),
      node_links_(
          worker.reactor(),
          *this,
          *this,
          [this](link::Link& link, const door::PeerIdentity&) { return admission_.accept(link); }),
      forwarded_links_(worker.reactor(), *this, *this, [this](link::Link& link) {
        return admission_.accept(link);
      }) {}

Result<std::unique_ptr<Server>> Server::create(net::Worker& worker,
                                               Service& service,
                                               const Config& config) {
  std::unique_ptr<Server> server(
      new Server(worker, service, config));  // lint: allow new private constructor
  for (std::uint16_t id = 1; id <= wire::kMaxRequestOpcode; ++id) {
    auto opcode = static_cast<wire::Opcode>(id);
    if (opcode == wire::Opcode::kConnectionClose || opcode == wire::Opcode::kInvalidate ||
        opcode == wire::Opcode::kForwardNotice) {
      continue;  // these travel the other way
    }
    BENCHFS_TRY_VOID(worker.set_handler(id, *server, true));
  }
  return server;
}

Server::~Server() {
  BENCHFS_CHECK(stats_.in_flight == 0);
  worker_.remove_handler(*this);
  admission_.clear();
  for (Waiting& waiting : waiting_) {
    waiting.registration.link->close();
  }
  for (auto& [link, session] : sessions_) {  // before those that they live in
    if (link->way() == link::Way::kForwarded) {
      link->close();
    }
  }
  for (auto& [link, session] : sessions_) {
    link->close();
  }
}

Result<net::SocketAddress> Server::listen(const net::SocketAddress& address) {
  BENCHFS_TRY(net::SocketAddress bound, worker_.listen(address, admission_));
  BENCHFS_TRY_VOID(admission_.watch(bound));
  background_.spawn(sweep());
  return bound;
}

void Server::set_ready(wire::ShardId self, std::uint32_t shard_count, std::uint64_t run_id) {
  self_ = self;
  shard_count_ = shard_count;
  config_.run_id = run_id;
  admission_.open(run_id);
}

void Server::on_link_failed(link::Link& link, const link::Outcome& why) {
  if (admission_.drop(link) || (forwarder_ != nullptr && forwarder_->drop(link, why.is_death))) {
    return;
  }
  auto waiting = std::ranges::find(
      waiting_, &link, [](const Waiting& entry) { return entry.registration.link; });
  if (waiting != waiting_.end()) {
    waiting_.erase(waiting);
    link.close();
    return;
  }
  auto found = sessions_.find(&link);
  BENCHFS_CHECK(found != sessions_.end());
  Session* session = registry_.peek(found->second);
  BENCHFS_LOG(kDebug, "client {} is gone ({})", session->client_id, why.text);
  end_session(
      *session, wire::CloseReason::kError, why.is_death ? Departure::kDied : Departure::kLost);
}

void Server::on_peer_died(link::Link& link) {
  if (forwarder_ != nullptr) {
    forwarder_->on_program_died(link);
  }
  auto found = sessions_.find(&link);
  if (found != sessions_.end()) {
    service_.on_client_died(registry_.peek(found->second)->client_uid);
  }
}

rt::Task<void> Server::sweep() {
  while (co_await rt::sleep_for(kSweepEvery, &background_.cancel_source()) !=
         rt::Wake::kCancelled) {
    MonoTime now = mono_now();
    admission_.sweep(now);
    sweep_sessions(now);
    histories_.expire(now - config_.client_grace);
  }
}

// Ends the sessions of clients that are alive, but do not take part.
void Server::sweep_sessions(MonoTime now) {
  struct Stuck {
    wire::SessionId session;
    std::string what;
  };
  std::vector<Stuck> stuck;
  registry_.for_each([&](const Session& session) {
    if (session.overrun) {
      stuck.push_back({session.id, "leaves too many messages unread"});
    }
  });
  for (auto& request : requests_) {
    if (wire::SessionId peer = request->find_idle_peer(now); peer.is_valid()) {
      stuck.push_back({peer,
                       fmt::format("does not take part in {}, {} after {:.3f} s",
                                   to_string(request->opcode()),
                                   to_string(request->trace().phase()),
                                   seconds(now - request->trace().arrived()))});
    }
  }
  for (const Stuck& one : stuck) {
    Session* session = registry_.peek(one.session);
    if (session != nullptr && session->link->way() == link::Way::kForwarded) {
      // Transfers are those of the shard between: it has a buffer for each.
      session = registry_.peek(sessions_.at(&forwarded_links_.carrier_of(*session->link)));
    }
    if (session != nullptr) {
      ++stats_.unresponsive;
      BENCHFS_LOG(kWarn, "client {} {}, closing", session->client_id, one.what);
      end_session(*session, wire::CloseReason::kError, Departure::kLost);
    }
  }
}

bool Server::notify(wire::SessionId id, wire::Opcode opcode, std::span<const std::byte> header) {
  Session* session = registry_.peek(id);
  if (session == nullptr) {
    return false;
  }
  post(*session, static_cast<std::uint16_t>(opcode), header);
  return true;
}

// Queues a message nobody waits for, unless the client has left too many unread.
void Server::post(Session& session, std::uint16_t id, std::span<const std::byte> header) {
  if (session.link->operations() >= kMaxQueuedMessages) {
    session.overrun = true;
    return;
  }
  session.link->send_and_forget(id, header);
}

rt::CoStatus Server::shutdown(Deadline deadline) {
  stopping_ = true;
  admission_.close();
  while (!waiting_.empty()) {
    admission_.refuse(waiting_.front().registration, Errc::kNotReady);
    waiting_.pop_front();
  }
  worker_.stop_listening();
  co_await requests_end(deadline);
  if (forwarder_ != nullptr) {
    forwarder_->close();
  }
  background_.close();
  co_await background_.join();
  while (Session* session = registry_.oldest()) {
    end_session(*session, wire::CloseReason::kShutdown, Departure::kLost);
  }
  admission_.clear();
  if (stats_.in_flight > 0) {
    cut_requests_short();
    co_await requests_end(Deadline::after(config_.end_patience));
  }
  if (stats_.in_flight > 0) {
    co_return std::unexpected(stuck_requests());
  }
  co_return Status{};
}

// Or the deadline comes first.
rt::Task<void> Server::requests_end(Deadline deadline) {
  while (stats_.in_flight > 0 && !deadline.passed()) {
    (void)co_await idle_.wait(deadline);
  }
}

void Server::cut_requests_short() {
  BENCHFS_LOG(kInfo, "{} requests are cut short", stats_.in_flight);
  MonoTime now = mono_now();
  for (auto& request : requests_) {
    request->shorten(now);
  }
  service_.on_stopping();
}

Error Server::stuck_requests() const {
  MonoTime now = mono_now();
  std::string text = fmt::format("stopping: {} requests do not end", stats_.in_flight);
  std::size_t named = 0;
  for_each_request([&](const Request& request) {
    if (++named <= kNamedRequests) {
      text += fmt::format("{} {} of client {:016x}, {} after {:.3f} s",
                          named == 1 ? ":" : ";",
                          to_string(request.opcode()),
                          request.client_uid(),
                          to_string(request.trace().phase()),
                          seconds(now - request.trace().arrived()));
    }
  });
  return Error{Errc::kDeadline, 0, std::move(text)};
}

}  // namespace benchfs::rpc
