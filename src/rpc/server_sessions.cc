// The sessions of a Server: who gets one, in turn when places are short, what it is granted, and
// how it ends.
#include <algorithm>

#include "base/log.h"
#include "rpc/server.h"

namespace benchfs::rpc {
namespace {

// What a client was told before its link is closed is given this long to arrive; then the close
// is forced, because a client that sleeps would hold it for ever.
constexpr Nanos kClientFlush = std::chrono::milliseconds(500);
// Registrations that may wait for a place, for each client that may be registered.
constexpr std::size_t kWaitingPerClient = 8;
constexpr Nanos kWarningEvery = std::chrono::minutes(1);
// Windows are cut when clients are many, but not below this.
constexpr std::uint32_t kMinWindow = 4;

template <typename T>
std::span<const std::byte> as_header(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}

}  // namespace

void Server::on_register(const link::Incoming& message) {
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
    ClientRegistry::Room room = registry_.make_room(
        registration.client_id, now, registration.link->way() == link::Way::kForwarded);
    if (room.kind == Kind::kFree) {
      return true;
    }
    if (room.kind == Kind::kReplace) {
      registry_.count_replaced();
      end_session(*room.session, wire::CloseReason::kReplaced, Departure::kLost);
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
                                   registration.link,
                                   registration.address,
                                   now,
                                   registration.link->way() == link::Way::kForwarded);
  session.looks_at_words = (registration.header.flags & wire::kRegisterLooksAtWords) != 0;
  session.is_server = (registration.header.flags & wire::kRegisterIsServer) != 0;
  session.no_door = registration.header.no_door;
  ReplyHistories::Joined joined = histories_.join(session.client_uid, now);
  session.history = joined.history;
  session.is_remembered = joined.is_known;
  sessions_.emplace(registration.link, session.id);
  grant(session, registration);
  service_.on_client_registered(session.id, session.client_uid);
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
  response.directory_lease_ms = static_cast<std::uint32_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(config_.directory_lease).count());
  session.link->send_and_forget(wire::kRegisterReplyAmId, as_header(response));
}

void Server::on_goodbye(const link::Incoming& message) {
  wire::GoodbyeHeader header;
  wire::Reader reader(message.header);
  Session* session =
      reader.read(header) ? registry_.peek(wire::SessionId{header.session_id}) : nullptr;
  if (session == nullptr) {
    ++stats_.unattributed;
    return;
  }
  end_session(*session, wire::CloseReason::kShutdown, Departure::kGoodbye);
}

void Server::end_session(Session& session, wire::CloseReason reason, Departure departure) {
  link::Link* link = session.link;
  std::uint64_t uid = session.client_uid;
  pid_t process = link->peer_process();
  if (reason != wire::CloseReason::kError && departure != Departure::kGoodbye) {
    wire::ConnectionCloseRequestHeader notice;
    notice.reason = static_cast<std::uint32_t>(reason);
    notice.session_id = session.id.value;
    link->send_and_forget(static_cast<std::uint16_t>(wire::Opcode::kConnectionClose),
                          as_header(notice));
  }
  draining_ -= session.is_draining ? 1 : 0;
  sessions_.erase(link);
  registry_.remove(session);
  if (!waiting_.empty()) {
    worker_.reactor().arm(admission_timer_, mono_now());
  }
  forwarded_links_.on_carrier_end(*link);
  link->close(reason == wire::CloseReason::kError ? Nanos::zero() : kClientFlush);
  histories_.leave(uid, departure == Departure::kGoodbye, mono_now());
  service_.on_client_gone(uid, departure, process);
}

void Server::evict(Session& session) {
  registry_.count_eviction();
  end_session(session, wire::CloseReason::kEviction, Departure::kEvicted);
}

void Server::set_capacity(std::uint32_t max_clients) {
  using Kind = ClientRegistry::Room::Kind;
  registry_.set_capacity(max_clients);
  histories_.set_limit(histories_for(max_clients), mono_now());
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

}  // namespace benchfs::rpc
