#include "door/server_links.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "wire/opcode.h"

namespace benchfs::door {
namespace {

constexpr link::Outcome kProgramDied{Errc::kDisconnected, "the program has ended", true};
constexpr link::Outcome kProgramGone{Errc::kDisconnected,
                                     "the program has ended, or left the node door"};
constexpr link::Outcome kProgramLinkClosed{Errc::kDisconnected,
                                           "the link to the program is closed"};
constexpr link::Outcome kReplyTooLong{Errc::kLimit,
                                      "the program gave its call no room for the reply"};

// Requests and replies begin with the id of the request, also those that have a message inside.
std::uint64_t request_id_of(std::span<const std::byte> header) {
  std::uint64_t id = 0;
  if (header.size() >= sizeof id) {
    std::memcpy(&id, header.data(), sizeof id);
  }
  return id;
}

bool is_one_way(std::uint16_t id, std::span<const std::byte> header) {
  auto opcode = static_cast<wire::Opcode>(id);
  return wire::is_one_way(opcode) ||
         (opcode == wire::Opcode::kForward && request_id_of(header) == 0);
}

}  // namespace

// --- What the program sends ----------------------------------------------------------------------

void ServerLink::on_call(ServerLane& lane) {
  if (!is_open_ && (lane.id() != kListenId || to_tell_.empty())) {
    return lane.refuse(Errc::kDisconnected);
  }
  if (is_open_ && lane.order() != next_order_ && early_.size() < kMaxLanes) {
    early_.push_back({&lane, {lane.header().begin(), lane.header().end()}});
    return;
  }
  next_order_ = lane.order() + 1;
  handle(lane, lane.header());
  for (;;) {
    auto next = std::ranges::find_if(
        early_, [&](const Early& early) { return early.lane->order() == next_order_; });
    if (next == early_.end()) {
      return;
    }
    Early early = std::move(*next);
    early_.erase(next);
    ++next_order_;
    handle(*early.lane, early.header);
  }
}

void ServerLink::handle(ServerLane& lane, std::span<const std::byte> header) {
  if (!is_open_ && lane.id() != kListenId) {
    return lane.refuse(Errc::kDisconnected);
  }
  if (lane.id() == kListenId) {
    if (listener_ != nullptr) {
      return lane.refuse(Errc::kMalformed);
    }
    listener_ = &lane;
    return tell_listener();
  }
  if (is_one_way(lane.id(), header)) {
    (void)links_.handler_.on_message({.id = lane.id(), .header = header, .sender = this});
    BENCHFS_CHECK(lane.answer(kTakenId, {}).has_value());
    return;
  }
  handle_request(lane, header);
}

void ServerLink::handle_request(ServerLane& lane, std::span<const std::byte> header) {
  if (lane.id() == static_cast<std::uint16_t>(wire::Opcode::kRegister)) {
    if (registering_ != nullptr) {
      return lane.refuse(Errc::kMalformed);
    }
    registering_ = &lane;
  } else {
    calls_.push_back({request_id_of(header), &lane});
  }
  link::Incoming message{.id = lane.id(),
                         .header = header,
                         .data = &lane,
                         .length = lane.data_bytes(),
                         .is_rendezvous = true,
                         .can_hold = true,
                         .sender = this,
                         .keeper = &links_};
  // Small data is copied before anybody looks at it; the rest when it is received.
  if (lane.has_near_data()) {
    message.data = lane.near_data().data();
    message.is_rendezvous = false;
  } else if (header.size() + lane.data_bytes() <= links_.small_data_.size()) {
    std::span<std::byte> small = std::span(links_.small_data_).first(lane.data_bytes());
    lane.copy_data(small);
    message.data = small.data();
    message.is_rendezvous = false;
  }
  (void)links_.handler_.on_message(message);
}

// --- What the shard sends ------------------------------------------------------------------------

ServerLane* ServerLink::take_call(std::uint16_t id, std::span<const std::byte> header) {
  if (id == wire::kRegisterReplyAmId) {
    return std::exchange(registering_, nullptr);
  }
  auto call = std::ranges::find(calls_, request_id_of(header), &Call::request_id);
  if (call == calls_.end()) {
    return nullptr;
  }
  ServerLane* lane = call->lane;
  *call = calls_.back();
  calls_.pop_back();
  return lane;
}

Errc ServerLink::answer(std::uint16_t id,
                        std::span<const std::byte> header,
                        std::span<const std::byte> data) {
  if (!is_open_) {
    return Errc::kDisconnected;
  }
  if (id <= wire::kMaxRequestOpcode) {  // no reply
    to_tell_.push_back({id, {header.begin(), header.end()}});
    ++operations_;
    tell_listener();
    return Errc::kOk;
  }
  ServerLane* lane = take_call(id, header);
  if (lane == nullptr) {
    return Errc::kOk;  // nobody waits for it
  }
  if (Status answered = lane->answer(id, header, data); !answered) {
    lane->refuse(answered.error().code);
    return answered.error().code;
  }
  return Errc::kOk;
}

void ServerLink::tell_listener() {
  if (listener_ == nullptr || to_tell_.empty()) {
    if (!is_open_ && listener_ != nullptr) {
      std::exchange(listener_, nullptr)->refuse(Errc::kDisconnected);
    }
    return;
  }
  Telling telling = std::move(to_tell_.front());
  to_tell_.pop_front();
  --operations_;
  ServerLane* lane = std::exchange(listener_, nullptr);
  if (Status told = lane->answer(telling.id, telling.header); !told) {
    lane->refuse(told.error().code);
  }
}

void ServerLink::begin_send(link::Operation& operation, const link::Message& message) {
  begin(operation);
  Errc code = answer(message.id, message.header, message.data);
  end(operation,
      code == Errc::kOk      ? link::Outcome{}
      : code == Errc::kLimit ? kReplyTooLong
                             : kProgramLinkClosed);
}

void ServerLink::begin_receive(link::Operation& operation,
                               const link::Held& held,
                               std::span<std::byte> into,
                               const net::MemoryRegion* /*region*/) {
  begin(operation);
  if (!is_open_) {  // the lane was refused with the others
    return end(operation, kProgramLinkClosed);
  }
  static_cast<ServerLane*>(held.data)->copy_data(into);
  end(operation, {});
}

void ServerLink::begin_flush(link::Operation& operation) {
  begin(operation);
  end(operation, is_open_ ? link::Outcome{} : kProgramLinkClosed);
}

void ServerLink::send_and_forget(std::uint16_t id, std::span<const std::byte> header) {
  (void)answer(id, header, {});
}

bool ServerLink::invalidate(std::uint32_t word) {
  links_.invalidate(word);
  return true;
}

// --- The end -------------------------------------------------------------------------------------

void ServerLink::close(Nanos flush) {
  if (!is_open_) {
    return;
  }
  is_open_ = false;
  if (flush <= Nanos::zero()) {
    operations_ -= static_cast<std::uint32_t>(to_tell_.size());
    to_tell_.clear();
  }
  refuse_all();
}

void ServerLink::refuse_all() {
  if (session_ == nullptr) {
    return;
  }
  tell_listener();
  for (const Call& call : std::exchange(calls_, {})) {
    call.lane->refuse(Errc::kDisconnected);
  }
  for (const Early& early : std::exchange(early_, {})) {
    early.lane->refuse(Errc::kDisconnected);
  }
  if (registering_ != nullptr) {
    std::exchange(registering_, nullptr)->refuse(Errc::kDisconnected);
  }
}

// The program may have ended: the proof needs a session without calls. Requests end by themselves;
// a living program listens again, and sends again what came too early for ever.
void ServerLink::on_trigger() {
  if (listener_ != nullptr) {
    ServerLane* lane = std::exchange(listener_, nullptr);
    BENCHFS_CHECK(lane->answer(kTakenId, {}).has_value());
  }
  for (const Early& early : std::exchange(early_, {})) {
    early.lane->refuse(Errc::kDisconnected);
  }
  if (registering_ != nullptr) {  // it may be one that gets no answer
    std::exchange(registering_, nullptr)->refuse(Errc::kDisconnected);
  }
}

void ServerLinks::forget_closed() {
  std::erase_if(links_, [](const std::unique_ptr<ServerLink>& link) {
    return !link->is_open_ && link->session_ == nullptr;
  });
}

void ServerLinks::on_call(ServerLane& lane) {
  ServerSession& session = lane.session();
  if (session.owner == nullptr) {
    forget_closed();
    auto link = std::make_unique<ServerLink>(reactor_, *this, session);
    if (!acceptor_(*link, session.peer())) {
      return lane.refuse(Errc::kLimit);
    }
    session.owner = link.get();
    links_.push_back(std::move(link));
  }
  static_cast<ServerLink*>(session.owner)->on_call(lane);
}

void ServerLinks::on_trigger(ServerSession& session) {
  if (session.owner != nullptr) {
    static_cast<ServerLink*>(session.owner)->on_trigger();
  }
}

void ServerLinks::on_death(ServerSession& session) {
  auto* link = static_cast<ServerLink*>(session.owner);
  if (link != nullptr && link->is_open_) {
    owner_.on_peer_died(*link);
  }
}

void ServerLinks::on_session_end(ServerSession& session) {
  auto* link = static_cast<ServerLink*>(session.owner);
  if (link == nullptr) {
    return;
  }
  link->session_ = nullptr;
  link->calls_.clear();
  link->registering_ = nullptr;
  link->listener_ = nullptr;
  link->early_.clear();
  if (link->is_open_) {
    owner_.on_link_failed(*link, session.has_died() ? kProgramDied : kProgramGone);
  }
  forget_closed();
}

}  // namespace benchfs::door
