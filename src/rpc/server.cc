#include "rpc/server.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "base/log.h"
#include "wire/ping.h"

namespace benchfs::rpc {
namespace {

// What a client was told before its endpoint is closed is given this long to arrive; then the close
// is forced, because a client that sleeps would hold it for ever.
constexpr Nanos kCloseFlush = std::chrono::milliseconds(500);
constexpr Nanos kSweepEvery = std::chrono::milliseconds(500);
// A transfer that has not ended this long after the caller's deadline, or after so many sweeps,
// holds a buffer for a client that does not take part in it.
constexpr Nanos kTransferGrace = std::chrono::seconds(1);
constexpr int kMaxTransferSweeps = 60;
// One-way messages and refusals queued for a client that does not read. Replies have their own
// bound, the window.
constexpr std::uint32_t kMaxQueuedMessages = 8 * wire::kMaxWindow;
// Registrations that may wait for a place, for each client that may be registered.
constexpr std::size_t kWaitingPerClient = 8;
constexpr Nanos kWarningEvery = std::chrono::minutes(1);
// Windows are cut when clients are many, but not below this.
constexpr std::uint32_t kMinWindow = 4;
// Clients that are remembered, for each that may be registered.
constexpr std::uint32_t kHistoriesPerClient = 8;

template <typename T>
std::span<const std::byte> as_header(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}

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
      histories_(std::size_t{kHistoriesPerClient} * config.max_clients) {}

Result<std::unique_ptr<Server>> Server::create(net::Worker& worker,
                                               Service& service,
                                               const Config& config) {
  std::unique_ptr<Server> server(
      new Server(worker, service, config));  // lint: allow new private constructor
  for (std::uint16_t id = 1; id <= wire::kMaxRequestOpcode; ++id) {
    auto opcode = static_cast<wire::Opcode>(id);
    if (opcode == wire::Opcode::kConnectionClose || opcode == wire::Opcode::kInvalidate) {
      continue;  // these travel the other way
    }
    BENCHFS_TRY_VOID(worker.set_handler(id, *server, true));
  }
  return server;
}

Server::~Server() {
  worker_.remove_handler(*this);
  for (Waiting& waiting : waiting_) {
    waiting.registration.endpoint->close();
  }
  for (auto& [endpoint, session] : sessions_) {
    endpoint->close();
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

// --- Connections ---------------------------------------------------------------------------------

void Server::on_endpoint_failed(net::Endpoint& endpoint, ucs_status_t status) {
  if (admission_.drop(endpoint)) {
    return;
  }
  auto waiting = std::ranges::find(
      waiting_, &endpoint, [](const Waiting& entry) { return entry.registration.endpoint; });
  if (waiting != waiting_.end()) {
    waiting_.erase(waiting);
    endpoint.close();
    return;
  }
  auto found = sessions_.find(&endpoint);
  BENCHFS_CHECK(found != sessions_.end());
  Session* session = registry_.peek(found->second);
  BENCHFS_LOG(kDebug, "client {} is gone ({})", session->client_id, ucs_status_string(status));
  end_session(*session, wire::CloseReason::kError, false);
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
  std::vector<wire::SessionId> stuck;
  registry_.for_each([&](const Session& session) {
    if (session.overrun) {
      stuck.push_back(session.id);
    }
  });
  for (auto& request : requests_) {
    if (request->transferring_ && (++request->transfer_sweeps_ > kMaxTransferSweeps ||
                                   request->deadline_.passed(now - kTransferGrace))) {
      stuck.push_back(request->transfer_session_);
    }
  }
  for (wire::SessionId id : stuck) {
    if (Session* session = registry_.peek(id)) {
      ++stats_.unresponsive;
      BENCHFS_LOG(kWarn, "client {} does not take part, closing", session->client_id);
      end_session(*session, wire::CloseReason::kError, false);
    }
  }
}

void Server::end_session(Session& session, wire::CloseReason reason, bool finally) {
  net::Endpoint* endpoint = session.endpoint;
  std::uint64_t uid = session.client_uid;
  if (reason != wire::CloseReason::kError && !finally) {
    wire::ConnectionCloseRequestHeader notice;
    notice.reason = static_cast<std::uint32_t>(reason);
    notice.session_id = session.id.value;
    endpoint->send_and_forget(static_cast<std::uint16_t>(wire::Opcode::kConnectionClose),
                              as_header(notice));
  }
  draining_ -= session.is_draining ? 1 : 0;
  sessions_.erase(endpoint);
  registry_.remove(session);
  if (!waiting_.empty()) {
    worker_.reactor().arm(admission_timer_, mono_now());
  }
  endpoint->close(reason == wire::CloseReason::kError ? Nanos::zero() : kCloseFlush);
  histories_.leave(uid, finally, mono_now());
  service_.on_client_gone(uid,
                          finally                                  ? Departure::kGoodbye
                          : reason == wire::CloseReason::kEviction ? Departure::kEvicted
                                                                   : Departure::kLost);
}

// --- Registration --------------------------------------------------------------------------------

void Server::on_register(const net::Incoming& message) {
  std::optional<Registration> registration = admission_.examine(message);
  if (!registration) {
    return;
  }
  Errc code = registration->verdict;
  if (code == Errc::kOk && waiting_.size() < kWaitingPerClient * registry_.capacity()) {
    admission_.admit(*registration);
    waiting_.push_back({*std::move(registration), Deadline::after(config_.admission_wait)});
    return admit_waiting();
  }
  registry_.count_rejected();
  admission_.refuse(*registration, code == Errc::kOk ? Errc::kBusy : code);
}

void Server::admit_waiting() {
  MonoTime now = mono_now();
  while (!waiting_.empty()) {
    Waiting& first = waiting_.front();
    if (make_room_for(first.registration, now)) {
      add_session(first.registration, now);
    } else if (first.deadline.passed(now)) {
      registry_.count_rejected();
      admission_.refuse(first.registration, Errc::kBusy);
    } else {
      return;
    }
    waiting_.pop_front();
  }
}

// False when it has to wait; the timer is armed then.
bool Server::make_room_for(const Registration& registration, MonoTime now) {
  using Kind = ClientRegistry::Room::Kind;
  Deadline again = waiting_.front().deadline;
  for (;;) {
    ClientRegistry::Room room = registry_.make_room(registration.client_id, now);
    if (room.kind == Kind::kFree) {
      return true;
    }
    if (room.kind == Kind::kReplace) {
      registry_.count_replaced();
      end_session(*room.session, wire::CloseReason::kReplaced, false);
    } else if (room.kind == Kind::kEvict) {
      evict(*room.session);
    } else if (room.kind == Kind::kDrain && draining_ < waiting_.size()) {
      registry_.drain(*room.session);
      ++draining_;
    } else {
      if (room.kind == Kind::kWait) {
        again = again.earlier(Deadline::at(room.when));
      }
      worker_.reactor().arm(admission_timer_, again.when());
      return false;
    }
  }
}

void Server::add_session(const Registration& registration, MonoTime now) {
  Session& session = registry_.add(registration.client_id,
                                   registration.header.client_uid,
                                   registration.endpoint,
                                   registration.address,
                                   now);
  ReplyHistories::Joined joined = histories_.join(session.client_uid);
  session.history = joined.history;
  session.is_remembered = joined.is_known;
  sessions_.emplace(registration.endpoint, session.id);
  service_.on_client_registered(session.client_uid);
  grant(session, registration);
  BENCHFS_LOG(kDebug, "registered client {}", session.client_id);
  if (registry_.take_warning() && now >= next_warning_) {
    next_warning_ = now + kWarningEvery;
    BENCHFS_LOG(kWarn,
                "{} of {} places for clients are taken; when all are, clients take turns. More: "
                "clients.max_clients in the configuration, or benchfs set max_clients=N",
                registry_.size(),
                registry_.capacity());
  }
}

void Server::grant(const Session& session, const Registration& registration) {
  wire::RegisterClientResponseHeader response;
  response.attempt = registration.header.attempt;
  response.run_id = config_.run_id;
  response.session_id = session.id.value;
  response.flags = session.is_remembered ? wire::kRegisterRemembered : 0;
  std::uint32_t clients = registry_.size();
  response.window = std::clamp(
      config_.max_requests / clients, std::min(kMinWindow, config_.window), config_.window);
  response.window_bytes =
      std::clamp(2 * config_.bulk_bytes / clients,
                 std::min<std::uint64_t>(config_.max_transfer_bytes, config_.window_bytes),
                 config_.window_bytes);
  response.shard = self_.value;
  response.shard_count = shard_count_;
  response.chunk_bytes = config_.chunk_bytes;
  response.max_transfer_bytes = config_.max_transfer_bytes;
  session.endpoint->send_and_forget(wire::kRegisterReplyAmId, as_header(response));
}

// --- Messages ------------------------------------------------------------------------------------

net::Disposition Server::on_message(const net::Incoming& message) {
  auto opcode = static_cast<wire::Opcode>(message.id);
  if (opcode == wire::Opcode::kRegister) {
    on_register(message);
  } else if (opcode == wire::Opcode::kGoodbye) {
    on_goodbye(message);
  } else if (opcode == wire::Opcode::kInvalidateAck) {
    on_invalidate_ack(message);
  } else {
    return on_request(opcode, message);
  }
  return net::Disposition::kDone;
}

void Server::on_goodbye(const net::Incoming& message) {
  wire::GoodbyeHeader header;
  wire::Reader reader(message.header);
  Session* session =
      reader.read(header) ? registry_.peek(wire::SessionId{header.session_id}) : nullptr;
  if (session == nullptr) {
    ++stats_.unattributed;
    return;
  }
  end_session(*session, wire::CloseReason::kShutdown, true);
}

void Server::on_invalidate_ack(const net::Incoming& message) {
  wire::InvalidateAckHeader header;
  wire::Reader reader(message.header);
  if (!reader.read(header) || registry_.peek(wire::SessionId{header.session_id}) == nullptr) {
    ++stats_.unattributed;
    return;
  }
  service_.on_invalidate_ack(wire::SessionId{header.session_id}, header.sequence);
}

net::Disposition Server::on_request(wire::Opcode opcode, const net::Incoming& message) {
  OperationStats& operation = request_stats_.operation(opcode);
  MonoTime seen = operation.stamp();
  wire::RequestHeader header;
  wire::Reader reader(message.header);
  Session* session =
      reader.read(header) ? registry_.get(wire::SessionId{header.session_id}) : nullptr;
  if (session == nullptr) {
    ++stats_.unattributed;
    admission_.drop_sender(message);
    return net::Disposition::kDone;
  }
  if (session->is_draining) [[unlikely]] {
    ++stats_.postponed;  // the notice of its eviction, which comes after the replies, says so
    return net::Disposition::kDone;
  }
  Errc code = check_request(header, *session, message);
  if (code != Errc::kOk) [[unlikely]] {
    refuse(*session, message.id, header, code);
    return net::Disposition::kDone;
  }
  ReplyHistory::Slot* kept = nullptr;
  if (!wire::is_idempotent(opcode)) {
    ReplyHistory::Lookup found = session->history->find(wire::RequestId{header.request_id});
    if (found.verdict != ReplyHistory::Verdict::kNew) [[unlikely]] {
      on_repeated(opcode, *session, found);
      return net::Disposition::kDone;
    }
    kept = found.slot;
  }
  ++stats_.in_flight;
  ++session->requests;
  MonoTime arrived = mono_now_coarse();
  registry_.begin_request(*session, arrived);
  Request* request = take_request();
  request->opcode_ = opcode;
  request->id_ = wire::RequestId{header.request_id};
  request->session_ = session->id;
  request->origin_ = session->id;
  request->kept_ = kept;
  if (kept != nullptr) {
    kept->running = request;
  }
  request->lost_data_ = false;
  request->client_uid_ = session->client_uid;
  request->deadline_ = Deadline::at(arrived + std::chrono::milliseconds(header.deadline_ms));
  request->answered_ = false;
  request->is_rendezvous_ = message.is_rendezvous;
  request->data_bytes_ = message.length;
  request->header_bytes_ = message.header.size();
  std::byte* after_header = request->bytes_.data() + message.header.size();
  std::memcpy(request->bytes_.data(), message.header.data(), message.header.size());
  bool is_short =
      !message.is_rendezvous && message.header.size() + message.length <= request->bytes_.size();
  request->holds_descriptor_ = !is_short;
  if (is_short) {
    if (message.length > 0) {
      std::memcpy(after_header, message.data, message.length);
    }
    request->data_ = after_header;
    request->trace_.begin(operation, message.length, arrived, seen);
    serve(request).handle.resume();
    return net::Disposition::kDone;
  }
  request->data_ = message.data;
  request->trace_.begin(operation, message.length, arrived, seen);
  worker_.reactor().schedule(serve(request).handle);
  return net::Disposition::kHold;
}

// The request was seen before, over a connection that is gone. Its client waits for the reply here.
void Server::on_repeated(wire::Opcode opcode, Session& session, const ReplyHistory::Lookup& found) {
  ++stats_.repeated;
  if (found.verdict == ReplyHistory::Verdict::kAnswered) {
    post(session,
         wire::reply_am_id(opcode),
         std::span(found.slot->reply).first(found.slot->reply_bytes));
  } else if (found.verdict == ReplyHistory::Verdict::kRunning) {
    Request& request = *found.slot->running;
    if (Session* before = registry_.peek(request.session_)) {
      end_request(*before);
    }
    request.session_ = session.id;
    registry_.begin_request(session, mono_now_coarse());
  }
}

Errc Server::check_request(const wire::RequestHeader& header,
                           const Session& session,
                           const net::Incoming& message) {
  std::size_t most = config_.max_transfer_bytes;
  if (message.length > most && message.id == static_cast<std::uint16_t>(wire::Opcode::kPing))
      [[unlikely]] {
    most = wire::kMaxPingBytes;
  }
  if (header.flags != 0 || wire::RequestId{header.request_id}.slot() >= wire::kMaxWindow ||
      message.header.size() > wire::kMaxHeaderBytes || message.length > most ||
      (message.length > 0 && !message.can_hold)) [[unlikely]] {
    ++stats_.malformed;
    return Errc::kMalformed;
  }
  if (stopping_) [[unlikely]] {
    return Errc::kNotReady;
  }
  if (session.in_flight >= 2 * config_.window || stats_.in_flight >= config_.max_requests)
      [[unlikely]] {
    ++stats_.overloaded;
    return Errc::kBusy;
  }
  return Errc::kOk;
}

// Queues a message nobody waits for, unless the client has left too many unread.
void Server::post(Session& session, std::uint16_t id, std::span<const std::byte> header) {
  if (session.endpoint->operations() >= kMaxQueuedMessages) {
    session.overrun = true;
    return;
  }
  session.endpoint->send_and_forget(id, header);
}

// Answers without a request object.
void Server::refuse(Session& session,
                    std::uint16_t message_id,
                    const wire::RequestHeader& header,
                    Errc code) {
  wire::ReplyHeader reply;
  reply.request_id = header.request_id;
  reply.transport = static_cast<std::uint16_t>(code);
  post(session, wire::reply_am_id(static_cast<wire::Opcode>(message_id)), as_header(reply));
}

rt::DetachedTask Server::serve(Request* request) {
  request->trace_.on_served();
  co_await service_.handle(*request);
  if (!request->answered_) {
    BENCHFS_LOG(kError, "no reply to {}; answering for it", to_string(request->opcode()));
    co_await request->reply_error(Error{Errc::kInternal, 0, {}});
  }
  request->drop_data();
  if (Session* session = registry_.peek(request->session_)) {
    end_request(*session);
  }
  give_request(request);
  if (--stats_.in_flight == 0) {
    idle_.wake_all();
  }
}

Request* Server::take_request() {
  if (free_requests_.empty()) {
    requests_.push_back(std::make_unique<Request>());
    requests_.back()->server_ = this;
    return requests_.back().get();
  }
  Request* request = free_requests_.back();
  free_requests_.pop_back();
  return request;
}

void Server::give_request(Request* request) {
  request->trace_.end();
  free_requests_.push_back(request);
}

bool Server::notify(wire::SessionId id, wire::Opcode opcode, std::span<const std::byte> header) {
  Session* session = registry_.peek(id);
  if (session == nullptr) {
    return false;
  }
  post(*session, static_cast<std::uint16_t>(opcode), header);
  return true;
}

void Server::end_request(Session& session) {
  registry_.end_request(session);
  if (session.is_draining && session.in_flight == 0) [[unlikely]] {
    evict(session);
  }
}

void Server::evict(Session& session) {
  registry_.count_eviction();
  end_session(session, wire::CloseReason::kEviction, false);
}

void Server::set_capacity(std::uint32_t max_clients) {
  using Kind = ClientRegistry::Room::Kind;
  registry_.set_capacity(max_clients);
  for (;;) {
    ClientRegistry::Room room = registry_.shed();
    if (room.kind == Kind::kEvict) {
      evict(*room.session);
    } else if (room.kind == Kind::kDrain) {
      registry_.drain(*room.session);
      ++draining_;
    } else {
      break;
    }
  }
  admit_waiting();
}

void Server::disconnect(std::string_view client_id) {
  if (Session* session = registry_.find(client_id)) {
    end_session(*session, wire::CloseReason::kError, false);
  }
}

rt::Task<void> Server::shutdown(Deadline deadline) {
  stopping_ = true;
  admission_.close();
  while (!waiting_.empty()) {
    admission_.refuse(waiting_.front().registration, Errc::kNotReady);
    waiting_.pop_front();
  }
  worker_.stop_listening();
  while (stats_.in_flight > 0 && !deadline.passed()) {
    (void)co_await rt::sleep_for(std::chrono::milliseconds(1));
  }
  background_.close();
  co_await background_.join();
  while (Session* session = registry_.oldest()) {
    end_session(*session, wire::CloseReason::kShutdown, false);
  }
  admission_.clear();
  while (stats_.in_flight > 0) {
    (void)co_await idle_.wait(Deadline::never());
  }
}

}  // namespace benchfs::rpc
