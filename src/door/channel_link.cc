#include "door/channel_link.h"

#include <utility>

#include "base/check.h"
#include "door/client_links.h"

namespace benchfs::door {

ChannelLink::ChannelLink(ClientLinks& links,
                         ClientLink& carrier,
                         std::uint32_t shard,
                         std::uint64_t number,
                         link::Owner& owner)
    : Link(links.reactor_),
      links_(links),
      carrier_(&carrier),
      owner_(&owner),
      shard_(shard),
      number_(number) {}

ChannelLink::~ChannelLink() {
  BENCHFS_CHECK(state_ == State::kClosed);
}

void ChannelLink::begin_send(link::Operation& operation, const link::Message& message) {
  begin(operation);
  if (!is_open()) {
    return end(operation, why_not_open());
  }
  carrier_->begin_send_in(*this, operation, message);
}

void ChannelLink::send_and_forget(std::uint16_t id, std::span<const std::byte> header) {
  if (is_open()) {
    carrier_->send_and_forget_in(*this, id, header);
  }
}

void ChannelLink::send_ahead(std::uint16_t id, std::span<const std::byte> header) {
  if (is_open()) {
    carrier_->send_ahead_in(*this, id, header);
  }
}

void ChannelLink::begin_receive(link::Operation& operation,
                                const link::Held& held,
                                std::span<std::byte> into,
                                const net::MemoryRegion* /*region*/) {
  begin(operation);
  if (!is_open()) {
    held.keeper->release(held.data);
    return end(operation, why_not_open());
  }
  carrier_->take_held(held, into);
  end(operation, {});
}

void ChannelLink::begin_flush(link::Operation& operation) {
  begin(operation);
  if (is_open() && !carrier_->is_attached()) {
    flushes_.push_back(&operation);
    return leave_pending(operation);
  }
  end(operation, is_open() ? link::Outcome{} : why_not_open());
}

void ChannelLink::look() {
  if (is_open()) {
    carrier_->look();
  }
}

std::shared_ptr<const wire::ValidityWords> ChannelLink::validity_words() const {
  return is_open() ? carrier_->validity_words() : nullptr;
}

void ChannelLink::end_flushes(const link::Outcome& outcome) {
  for (link::Operation* flush : std::exchange(flushes_, {})) {
    end(*flush, outcome);
  }
}

void ChannelLink::on_attached() {
  end_flushes({});
}

// The next attempt goes another way, if there is one, when this one led nowhere.
void ChannelLink::fail(const link::Outcome& why) {
  if (!has_heard_) {
    links_.note_failure(shard_, wire::NoDoor::kSilent);
  }
  carrier_ = nullptr;
  end_flushes(why);
  state_ = State::kFailed;
  text_ = why.text;  // it may be the carrier's
  failure_ = why;
  failure_.text = text_.c_str();
  links_.reactor_.arm(*this, mono_now());
}

void ChannelLink::on_timer() {
  if (state_ == State::kFailed && owner_ != nullptr) {
    owner_->on_link_failed(*this, failure_);
  }
}

link::Outcome ChannelLink::why_not_open() const {
  return state_ == State::kFailed ? failure_ : kLinkClosed;
}

// Calls without an answer: the shard between may be the one that stands still.
void ChannelLink::close(Nanos /*flush*/) {
  if (state_ == State::kClosed) {
    return;
  }
  if (is_open()) {
    if (!has_heard_ || in_use_ > 0) {
      links_.note_failure(shard_, wire::NoDoor::kSilent);
    }
    std::exchange(carrier_, nullptr)->remove(*this);
    end_flushes(kLinkClosed);
  }
  state_ = State::kClosed;
  owner_ = nullptr;
  disarm();
  links_.bury();
}

}  // namespace benchfs::door
