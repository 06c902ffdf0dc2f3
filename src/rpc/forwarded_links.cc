#include "rpc/forwarded_links.h"

#include "base/check.h"

namespace benchfs::rpc {
namespace {

constexpr link::Outcome kClosed{Errc::kDisconnected, "the link to the program is closed"};
constexpr link::Outcome kDied{Errc::kDisconnected, "the program has ended", true};
constexpr link::Outcome kLeft{Errc::kDisconnected, "the program has ended, or closed the channel"};
constexpr link::Outcome kCarrierGone{Errc::kDisconnected,
                                     "the shard that forwards for the program is gone"};

// A shard that forwards and leaves so much unread stands still, and its programs come another way.
constexpr std::uint32_t kMostUnread = 16384;

constexpr Nanos kLookAgain = std::chrono::milliseconds(100);

constexpr bool is_reply(std::uint16_t id) {
  return id > wire::kMaxRequestOpcode;
}

constexpr std::uint16_t outer_id(std::uint16_t id) {
  return is_reply(id) ? wire::reply_am_id(wire::Opcode::kForward)
                      : static_cast<std::uint16_t>(wire::Opcode::kForwardNotice);
}

wire::ForwardedHeader wrap(std::uint64_t channel,
                           std::uint16_t id,
                           std::span<const std::byte> header) {
  return wire::forwarded(
      {.call = is_reply(id) ? wire::forwarded_call(id, header) : 0, .channel = channel, .id = id},
      header);
}

}  // namespace

// --- One link ------------------------------------------------------------------------------------

void ForwardedLink::send_and_forget(std::uint16_t id, std::span<const std::byte> header) {
  if (is_open_ && carrier_->operations() < kMostUnread) {
    const wire::ForwardedHeader whole = wrap(channel_, id, header);
    if (!carrier_->send_soon({.id = outer_id(id), .header = whole.bytes()})) {
      carrier_->send_and_forget(outer_id(id), whole.bytes());
    }
  }
}

void ForwardedLink::begin_send(link::Operation& operation, const link::Message& message) {
  begin(operation);
  if (!is_open_) {
    return end(operation, kClosed);
  }
  if (message.data.empty()) {
    send_and_forget(message.id, message.header);
    return end(operation, {});
  }
  const wire::ForwardedHeader whole = wrap(channel_, message.id, message.header);
  link::Message outer = message;
  outer.id = outer_id(message.id);
  outer.header = whole.bytes();
  if (carrier_->operations() < kMostUnread && carrier_->send_soon(outer)) {
    return end(operation, {});
  }
  send_data(operation, message).handle.resume();
  leave_pending(operation);
}

rt::DetachedTask ForwardedLink::send_data(link::Operation& operation, link::Message message) {
  ++sending_;
  const wire::ForwardedHeader whole = wrap(channel_, message.id, message.header);
  message.id = outer_id(message.id);
  message.header = whole.bytes();
  link::Outcome sent = co_await carrier_->send(message);
  --sending_;
  end(operation, sent);
}

void ForwardedLink::begin_receive(link::Operation& operation,
                                  const link::Held& held,
                                  std::span<std::byte> into,
                                  const net::MemoryRegion* region) {
  if (is_open_) {
    return carrier_->begin_receive(operation, held, into, region);
  }
  begin(operation);
  held.keeper->release(held.data);
  end(operation, kClosed);
}

void ForwardedLink::begin_flush(link::Operation& operation) {
  begin(operation);
  end(operation, is_open_ ? link::Outcome{} : kClosed);
}

void ForwardedLink::close(Nanos /*flush*/) {
  if (!is_open_) {
    return;
  }
  send_and_forget(wire::kChannelEnd, {});
  is_open_ = false;
  links_.on_closed(*this);
}

// --- All of them ---------------------------------------------------------------------------------

ForwardedLinks::~ForwardedLinks() {
  on_timer();
  disarm();
  BENCHFS_CHECK(open_.empty() && closed_.empty());
}

link::Disposition ForwardedLinks::on_message(link::Link& carrier,
                                             const wire::ForwardHeader& outer,
                                             const link::Incoming& message) {
  auto found = open_.find(Key{&carrier, outer.channel});
  ForwardedLink* link = found != open_.end() ? found->second.get() : nullptr;
  if (outer.id == wire::kChannelEnd) {
    if (link != nullptr) {
      owner_.on_link_failed(*link, (outer.flags & wire::kForwardDied) != 0 ? kDied : kLeft);
    }
    return link::Disposition::kDone;
  }
  if (outer.id == wire::kProgramDied) {
    if (link != nullptr) {
      owner_.on_peer_died(*link);
    }
    return link::Disposition::kDone;
  }
  bool is_first = outer.id == static_cast<std::uint16_t>(wire::Opcode::kRegister);
  if (link == nullptr && is_first) {
    link = accept(carrier, outer.channel);
  }
  if (link == nullptr) {
    if (carrier.operations() < kMostUnread) {
      const wire::ForwardedHeader end = wrap(outer.channel, wire::kChannelEnd, {});
      carrier.send_and_forget(outer_id(wire::kChannelEnd), end.bytes());
    }
    return link::Disposition::kDone;
  }
  link::Incoming inner = message;
  inner.id = outer.id;
  inner.header = message.header.subspan(sizeof outer);
  inner.sender = link;
  return handler_.on_message(inner);
}

ForwardedLink* ForwardedLinks::accept(link::Link& carrier, std::uint64_t channel) {
  auto link = std::make_unique<ForwardedLink>(reactor_, *this, carrier, channel);
  ForwardedLink* accepted = link.get();
  if (!acceptor_(*link)) {
    return nullptr;
  }
  open_.emplace(Key{&carrier, channel}, std::move(link));
  return accepted;
}

void ForwardedLinks::on_carrier_end(const link::Link& carrier) {
  std::vector<ForwardedLink*> with_it;
  for (auto& [key, link] : open_) {
    if (key.carrier == &carrier) {
      with_it.push_back(link.get());
    }
  }
  for (ForwardedLink* link : with_it) {
    owner_.on_link_failed(*link, kCarrierGone);
  }
}

void ForwardedLinks::on_closed(const ForwardedLink& link) {
  auto found = open_.find(Key{link.carrier_, link.channel_});
  closed_.push_back(std::move(found->second));
  open_.erase(found);
  if (!is_armed()) {
    reactor_.arm(*this, mono_now());
  }
}

void ForwardedLinks::on_timer() {
  std::erase_if(closed_, [](const auto& link) { return link->sending_ == 0; });
  if (!closed_.empty()) {  // data of theirs is still on its way
    reactor_.arm(*this, mono_now() + kLookAgain);
  }
}

}  // namespace benchfs::rpc
