#include "door/client_links.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cerrno>

#include "base/check.h"
#include "base/log.h"
#include "door/server_links.h"
#include "wire/forward.h"

namespace benchfs::door {
namespace {

// Data that comes along; more is received when somebody has a place for it.
constexpr std::size_t kEagerBytes = 16U << 10;
// Messages that nobody waits for, which wait for a lane.
constexpr std::size_t kMostWaiting = 1U << 16;

// Looks at the lanes between two looks whether the shard is there, of a program that never sleeps.
constexpr std::uint32_t kPollsBetweenChecks = 4096;
// Looks at the lanes in a pass without a reply, when few calls wait: what else a pass looks at
// takes as long as these.
constexpr int kLooksForReplies = 8;
constexpr int kFewCalls = 2;

constexpr link::Outcome kGone{Errc::kDisconnected, "the daemon of this node is gone"};
constexpr link::Outcome kRefused{Errc::kDisconnected, "the daemon of this node ended the session"};
constexpr link::Outcome kFarGone{Errc::kDisconnected,
                                 "the daemon of this node has no connection to that shard"};
constexpr link::Outcome kTooLong{Errc::kLimit, "longer than a lane of the node door has room for"};
constexpr link::Outcome kNoMemory{Errc::kSystem,
                                  "the machine has no memory left for the node door"};

// This process or machine lacks something, which waiting for the shard does not bring.
bool is_own_lack(const Error& error) {
  return error.posix == EMFILE || error.posix == ENFILE || error.posix == ENOMEM;
}

wire::NoDoor reason_of(const Error& error) {
  using wire::NoDoor;
  if (is_own_lack(error)) {
    return NoDoor::kOwnLack;
  }
  Errc code = error.code;
  if (code == Errc::kVersion || code == Errc::kStaleRun) {
    return NoDoor::kOtherVersion;
  }
  if (code == Errc::kBusy || code == Errc::kSystem || code == Errc::kLimit) {
    return NoDoor::kNoRoom;
  }
  if (code == Errc::kUnreachable || code == Errc::kDisconnected) {
    return NoDoor::kNotHere;
  }
  return code == Errc::kDeadline ? NoDoor::kSilent : NoDoor::kRefused;
}

// Of transmit().
link::Outcome outcome_of(Errc code) {
  if (code == Errc::kOk) {
    return {};
  }
  if (code == Errc::kLimit) {
    return kTooLong;
  }
  return code == Errc::kSystem ? kNoMemory : kGone;
}

}  // namespace

ClientLink::ClientLink(ClientLinks& links,
                       std::uint32_t shard,
                       link::Owner& owner,
                       bool is_only_way,
                       const SessionShape& shape,
                       bool is_carrier)
    : Link(links.reactor_),
      links_(links),
      owner_(&owner),
      shard_(shard),
      is_only_way_(is_only_way),
      shape_(shape),
      is_carrier_(is_carrier),
      number_(++links.numbers_) {}

ClientLink::~ClientLink() {
  BENCHFS_CHECK(state_ == State::kClosed && in_use_ == 0);
}

// --- Attaching -----------------------------------------------------------------------------------

// Also a frozen shard lets a program come to its door and say what it wants.
void ClientLink::attach() {
  Result<const DoorDirectory*> directory = links_.directory();
  if (!directory) {
    return fail_to_attach(directory.error());
  }
  bool wants_slots = links_.config_.wants_slots && !is_carrier_;
  Result<Attachment> begun = Attachment::begin(
      **directory, {links_.config_.run_id, shard_, links_.config_.base, shape_, wants_slots});
  if (begun) {
    attachment_.emplace(*std::move(begun));
    reactor_.add_poller(*this);
    reactor_.arm(*this, attach_by_.when());
  } else if (begun.error().code == Errc::kBusy && !attach_by_.passed()) {
    reactor_.arm(*this, mono_now() + kPauseAtTheDoor);
  } else {
    fail_to_attach(begun.error());
  }
}

void ClientLink::fail_to_attach(const Error& error) {
  text_ = fmt::format("the node door did not open: {}", error.message());
  links_.note_failure(shard_, reason_of(error));
  BENCHFS_LOG(kInfo, "shard {}: {}", shard_, text_);
  if (is_only_way_ && is_own_lack(error)) {  // the shard is well
    return fail({Errc::kSystem, text_.c_str(), false, error.posix});
  }
  bool is_final = is_only_way_ && (error.code == Errc::kStaleRun || error.code == Errc::kVersion);
  fail({is_final ? error.code : Errc::kUnreachable, text_.c_str()});
}

void ClientLink::finish_attaching() {
  Result<std::unique_ptr<ClientSession>> finished = attachment_->finish();
  if (!finished && finished.error().code == Errc::kNotReady) {
    return;
  }
  stop_attaching();
  if (!finished) {
    return fail_to_attach(finished.error());
  }
  use(*std::move(finished));
}

void ClientLink::stop_attaching() {
  if (attachment_) {
    reactor_.remove_poller(*this);
    attachment_.reset();
  }
  disarm();
}

void ClientLink::use(std::unique_ptr<ClientSession> session) {
  session_ = std::move(session);
  links_.share_windows();
  used_.reserve(session_->shape().lanes);
  for (std::uint32_t i = 0; i < session_->shape().lanes; ++i) {
    used_.emplace_back(*session_->take_lane());
  }
  state_ = State::kOpen;
  reactor_.add_poller(*this);
  listen();
  for (link::Operation* flush : std::exchange(flushes_, {})) {
    end(*flush, {});
  }
  for (ChannelLink* channel : channels_) {
    channel->on_attached();
  }
  send_waiting();
}

void ClientLink::begin_flush(link::Operation& operation) {
  begin(operation);
  if (state_ == State::kAttaching) {
    flushes_.push_back(&operation);
    return leave_pending(operation);
  }
  end(operation, state_ == State::kOpen ? link::Outcome{} : why_not_open());
}

// --- Sending -------------------------------------------------------------------------------------

Errc ClientLink::transmit(const link::Message& message,
                          ChannelLink* channel,
                          bool is_ahead,
                          std::uint32_t* used_lane) {
  std::size_t lanes = used_.size() - (is_ahead ? 0 : used_.size() / kLanesToOneAhead);
  auto index = static_cast<std::uint32_t>(std::countr_one(in_use_));
  if (static_cast<std::size_t>(std::popcount(in_use_)) >= lanes) {
    return Errc::kBusy;
  }
  Used& used = used_[index];
  Message out{
      .id = message.id, .header = message.header, .data = message.data, .order = order_ + 1};
  Status sent = channel == nullptr ? used.lane.send(out) : send_in(*channel, used.lane, out);
  if (!sent) [[unlikely]] {
    return sent.error().code;
  }
  ++order_;
  used.channel = channel;
  if (channel != nullptr) {
    ++channel->in_use_;
  }
  in_use_ |= std::uint64_t{1} << index;
  if (used_lane != nullptr) {
    *used_lane = index;
  }
  return Errc::kOk;
}

Status ClientLink::send_in(const ChannelLink& channel, ClientLane& lane, Message message) {
  if (message.header.size() > wire::kMaxHeaderBytes) {
    return benchfs::fail(Errc::kLimit, "");
  }
  const wire::ForwardedHeader header =
      wire::forwarded({.call = wire::forwarded_call(message.id, message.header),
                       .channel = channel.number_,
                       .shard = channel.shard_,
                       .id = message.id},
                      message.header);
  message.id = static_cast<std::uint16_t>(wire::Opcode::kForward);
  message.header = header.bytes();
  return lane.send(message);
}

// Nothing of the same channel waits, and it has not all its lanes.
bool ClientLink::may_go(const ChannelLink* channel) const {
  return state_ == State::kOpen &&
         (channel == nullptr ? waiting_.empty() : channel->in_queue_ == 0 && !is_full(*channel));
}

bool ClientLink::are_half_free() const {
  return 2 * static_cast<std::uint32_t>(std::popcount(in_use_)) < shape_.lanes;
}

bool ClientLink::is_full(const ChannelLink& channel) const {
  return channel.in_use_ >= (are_half_free() ? ChannelLink::kWindow : 1);
}

void ClientLink::begin_send(link::Operation& operation, const link::Message& message) {
  begin(operation);
  if (!is_open()) {
    return end(operation, why_not_open());
  }
  Errc code = may_go(nullptr) ? transmit(message) : Errc::kBusy;
  if (code == Errc::kBusy) {
    waiting_.push_back({.operation = &operation, .message = message, .header = {}});
    return leave_pending(operation);
  }
  end(operation, outcome_of(code));
}

void ClientLink::begin_send_in(ChannelLink& channel,
                               link::Operation& operation,
                               const link::Message& message) {
  Errc code = may_go(&channel) ? transmit(message, &channel) : Errc::kBusy;
  if (code == Errc::kBusy) {
    waiting_.push_back(
        {.operation = &operation, .message = message, .header = {}, .channel = &channel});
    ++channel.in_queue_;
    return channel.leave_pending(operation);
  }
  channel.end(operation, outcome_of(code));
}

void ClientLink::send_and_forget(std::uint16_t id, std::span<const std::byte> header) {
  if (!is_open()) {
    return;
  }
  if (may_go(nullptr) && transmit({.id = id, .header = header, .data = {}}) != Errc::kBusy) {
    return;
  }
  if (waiting_.size() < kMostWaiting) {
    waiting_.push_back({.operation = nullptr,
                        .message = {.id = id, .header = {}, .data = {}},
                        .header = {header.begin(), header.end()}});
    ++operations_;
  }
}

void ClientLink::send_and_forget_in(ChannelLink& channel,
                                    std::uint16_t id,
                                    std::span<const std::byte> header) {
  bool is_gone = may_go(&channel) &&
                 transmit({.id = id, .header = header, .data = {}}, &channel) != Errc::kBusy;
  if (!is_gone && waiting_.size() < kMostWaiting) {
    waiting_.push_back({.operation = nullptr,
                        .message = {.id = id, .header = {}, .data = {}},
                        .header = {header.begin(), header.end()},
                        .channel = &channel});
    ++channel.in_queue_;
    ++channel.operations_;
  }
}

void ClientLink::send_ahead(Waiting waiting) {
  waiting.message.header = waiting.header;
  if (state_ == State::kOpen && ahead_.empty() &&
      transmit(waiting.message, waiting.channel, true) != Errc::kBusy) {
    return;
  }
  if (ahead_.size() < kMostWaiting) {
    ++(waiting.channel == nullptr ? operations_ : waiting.channel->operations_);
    ahead_.push_back(std::move(waiting));
  }
}

void ClientLink::send_ahead(std::uint16_t id, std::span<const std::byte> header) {
  if (is_open()) {
    send_ahead({.operation = nullptr,
                .message = {.id = id, .header = {}, .data = {}},
                .header = {header.begin(), header.end()}});
  }
}

void ClientLink::send_ahead_in(ChannelLink& channel,
                               std::uint16_t id,
                               std::span<const std::byte> header) {
  // Heartbeats keep their lane until the far shard answers: those of many that do not would leave
  // none for the others.
  if (id == static_cast<std::uint16_t>(wire::Opcode::kPing) && !are_half_free()) {
    return send_and_forget_in(channel, id, header);
  }
  send_ahead({.operation = nullptr,
              .message = {.id = id, .header = {}, .data = {}},
              .header = {header.begin(), header.end()},
              .channel = &channel});
}

// A message has gone, or will not go.
void ClientLink::settle(const Waiting& waiting, const link::Outcome& outcome) {
  auto settle_at = [&](auto& link) {
    if (waiting.operation == nullptr) {
      --link.operations_;
    } else {
      link.end(*waiting.operation, outcome);
    }
  };
  if (waiting.channel == nullptr) {
    settle_at(*this);
  } else {
    --waiting.channel->in_queue_;
    settle_at(*waiting.channel);
  }
}

void ClientLink::send_waiting() {
  while (state_ == State::kOpen && !ahead_.empty()) {
    Waiting& next = ahead_.front();
    next.message.header = next.header;
    if (transmit(next.message, next.channel, true) == Errc::kBusy) {
      return;
    }
    --(next.channel == nullptr ? operations_ : next.channel->operations_);
    ahead_.pop_front();
  }
  for (auto next = waiting_.begin(); state_ == State::kOpen && next != waiting_.end();) {
    if (next->channel != nullptr && is_full(*next->channel)) {
      ++next;
      continue;
    }
    if (next->operation == nullptr) {
      next->message.header = next->header;
    }
    Errc code = transmit(next->message, next->channel);
    if (code == Errc::kBusy) {
      return;
    }
    settle(*next, outcome_of(code));
    next = waiting_.erase(next);
  }
}

// --- Channels ------------------------------------------------------------------------------------

// What waits will not go; the lanes of the rest are free when the shard has answered it.
void ClientLink::give_up(ChannelLink& channel, const link::Outcome& why) {
  channel.operations_ -= static_cast<std::uint32_t>(
      std::erase_if(ahead_, [&](const Waiting& ahead) { return ahead.channel == &channel; }));
  std::erase_if(waiting_, [&](const Waiting& waiting) {
    bool is_of_it = waiting.channel == &channel;
    if (is_of_it) {
      settle(waiting, why);
    }
    return is_of_it;
  });
  for (Used& used : used_) {
    if (used.channel == &channel) {
      used.channel = nullptr;
    }
  }
  std::erase(channels_, &channel);
}

void ClientLink::remove(ChannelLink& channel) {
  give_up(channel, kLinkClosed);
  wire::ForwardHeader end{.channel = channel.number_, .shard = channel.shard_};
  send_and_forget(static_cast<std::uint16_t>(wire::Opcode::kForward),
                  std::as_bytes(std::span(&end, 1)));
  if (channels_.empty()) {
    close();
  }
}

void ClientLink::take_held(const link::Held& held, std::span<std::byte> into) {
  std::uint32_t lane = ClientLinks::lane_of(held.data);
  used_[lane].lane.copy_data(used_[lane].reply, into);
  release(lane);
}

// A message of the far shard that is no reply; without one inside, the channel has ended.
void ClientLink::on_channel_told(std::uint16_t id, std::span<const std::byte> header) {
  wire::ForwardHeader outer;
  if (id != static_cast<std::uint16_t>(wire::Opcode::kForwardNotice) ||
      !wire::Reader(header).read(outer)) {
    return;
  }
  auto found = std::ranges::find(channels_, outer.channel, &ChannelLink::number_);
  if (found == channels_.end()) {
    return;
  }
  ChannelLink& channel = **found;
  if (outer.id == wire::kChannelEnd) {
    if ((outer.flags & wire::kForwardNoRoom) != 0) {
      links_.note_failure(channel.shard_, wire::NoDoor::kNoRoom);
    }
    end_channel(channel);
  } else {
    channel.has_heard_ = true;
    (void)links_.handler_.on_message(
        {.id = outer.id, .header = header.subspan(sizeof outer), .sender = &channel});
  }
}

// The far end is gone.
void ClientLink::end_channel(ChannelLink& channel) {
  give_up(channel, kFarGone);
  channel.fail(kFarGone);
  if (channels_.empty()) {
    close();
  }
}

// The message inside a reply. False when it is nobody's any more.
bool ClientLink::unwrap(const Used& used,
                        std::span<const std::byte> header,
                        link::Incoming& message) {
  wire::ForwardHeader outer;
  bool is_reply = used.reply.id == wire::reply_am_id(wire::Opcode::kForward);
  if (used.channel == nullptr || !is_reply || !wire::Reader(header).read(outer) ||
      outer.id == wire::kChannelEnd) {
    return false;
  }
  used.channel->has_heard_ = true;
  message.id = outer.id;
  message.header = header.subspan(sizeof outer);
  message.sender = used.channel;
  return true;
}

// Takes a lane before the messages that wait for one.
void ClientLink::listen() {
  std::uint32_t lane = kMaxLanes;
  if (transmit({.id = kListenId, .header = {}, .data = {}}, nullptr, true, &lane) != Errc::kOk) {
    return fail(kGone);
  }
  listener_ = lane;
}

// --- Receiving -----------------------------------------------------------------------------------

bool ClientLink::poll() {
  if (state_ == State::kAttaching) {
    finish_attaching();
    return state_ != State::kAttaching;
  }
  if (!session_->is_mapped()) {  // a child of fork
    fail(kGone);
    return true;
  }
  bool is_gone = !session_->is_attached();
  if (announces_) {
    announces_ = false;
    for (std::uint64_t left = in_use_; left != 0; left &= left - 1) {
      used_[static_cast<std::size_t>(std::countr_zero(left))].lane.announce_on_socket(false);
    }
    is_gone |= !session_->drain_socket();
  } else if (++polls_ % kPollsBetweenChecks == 0) {
    is_gone |= !session_->drain_socket();
  }
  bool worked = look_at_all();
  if (std::uint64_t calls = in_use_ & ~listener_bit();
      calls != 0 && std::popcount(calls) <= kFewCalls) {
    for (int i = 1; i < kLooksForReplies && !worked && state_ == State::kOpen; ++i) {
      worked = look_at_calls();
    }
  }
  if ((is_refused_ || is_gone) && state_ == State::kOpen) {
    // What was answered or told before that is visible now.
    look_at_all();
    fail(is_refused_ ? kRefused : kGone);
  }
  return worked || is_gone;
}

bool ClientLink::is_under_way() {
  bool waits = state_ == State::kOpen && (in_use_ & ~listener_bit()) != 0;
  if (!waits || is_carrier_ || !session_->is_mapped()) {  // a carrier waits for other nodes
    return false;
  }
  std::uint64_t before = std::exchange(progress_, session_->progress());
  return progress_ != before;
}

void ClientLink::look() {
  if (state_ == State::kOpen && session_->is_mapped()) {
    look_at_all();
    if (is_refused_ && state_ == State::kOpen) {
      look_at_all();
      fail(kRefused);
    }
  }
}

bool ClientLink::look_at_calls() {
  bool worked = false;
  for (std::uint64_t left = in_use_; left != 0 && state_ == State::kOpen; left &= left - 1) {
    auto index = static_cast<std::size_t>(std::countr_zero(left));
    if (is_in_use(index) && index != listener_) {
      worked |= look(used_[index]);
    }
  }
  return worked;
}

// What the shard tells comes after the replies that it sent before: they are visible once it is.
bool ClientLink::look_at_all() {
  bool worked = look_at_calls();
  if (state_ == State::kOpen && listener_ < kMaxLanes && used_[listener_].lane.has_reply()) {
    worked |= look_at_calls();
    if (state_ == State::kOpen) {
      worked |= look(used_[listener_]);
    }
  }
  return worked;
}

bool ClientLink::look(Used& used) {
  if (used.is_held || !used.lane.has_reply()) {
    return false;
  }
  ring_after_ = kFirstQuiet;
  std::array<std::byte, wire::kMaxForwardedBytes> bytes;
  Result<Reply> reply = used.lane.receive_header(bytes);
  if (!reply) {
    listener_ = used.lane.index() == listener_ ? kMaxLanes : listener_;
    finish(used);
    is_refused_ = true;
    return true;
  }
  used.reply = *reply;
  deliver(used, std::span(bytes).first(reply->header_bytes));
  return true;
}

void ClientLink::deliver(Used& used, std::span<const std::byte> header) {
  if (used.lane.index() == listener_) {
    return deliver_told(used, header);
  }
  link::Incoming message{.id = used.reply.id,
                         .header = header,
                         .data = links_.hold(*this, used.lane.index()),
                         .length = used.reply.data_bytes,
                         .is_rendezvous = used.reply.data_bytes > kEagerBytes,
                         .can_hold = true,
                         .sender = this,
                         .keeper = &links_};
  if (used.reply.id == kTakenId || (is_carrier_ && !unwrap(used, header, message))) {
    finish(used);
    return send_waiting();
  }
  std::array<std::byte, kEagerBytes> data;
  if (!message.is_rendezvous) {
    used.lane.copy_data(used.reply, std::span(data).first(message.length));
    message.data = data.data();
    finish(used);
    (void)links_.handler_.on_message(message);
    return send_waiting();
  }
  used.is_held = true;
  if (links_.handler_.on_message(message) == link::Disposition::kDone && state_ == State::kOpen) {
    release(used.lane.index());
  }
}

// The next thing may be told at once; the lane is free, so that listening takes it again.
void ClientLink::deliver_told(Used& used, std::span<const std::byte> header) {
  std::uint16_t id = used.reply.id;
  finish(used);
  listener_ = kMaxLanes;
  listen();
  if (id == kTakenId || !is_open()) {
    return;
  }
  if (is_carrier_) {
    return on_channel_told(id, header);
  }
  (void)links_.handler_.on_message({.id = id, .header = header, .sender = this});
}

void ClientLink::finish(Used& used) {
  std::uint32_t index = used.lane.index();
  used.lane.finish();
  used.is_held = false;
  if (used.channel != nullptr) {
    --std::exchange(used.channel, nullptr)->in_use_;
  }
  in_use_ &= ~(std::uint64_t{1} << index);
}

void ClientLink::begin_receive(link::Operation& operation,
                               const link::Held& held,
                               std::span<std::byte> into,
                               const net::MemoryRegion* /*region*/) {
  begin(operation);
  if (state_ != State::kOpen) {
    return end(operation, why_not_open());
  }
  take_held(held, into);
  end(operation, {});
}

void ClientLink::release(std::uint32_t lane) {
  finish(used_[lane]);
  send_waiting();
}

// --- Sleeping ------------------------------------------------------------------------------------

bool ClientLink::prepare_to_sleep() {
  if (state_ != State::kOpen) {
    return true;
  }
  announces_ = true;
  bool waits_for_replies = (in_use_ & ~listener_bit()) != 0;
  if (waits_for_replies && !is_armed()) {
    reactor_.arm(*this, mono_now() + ring_after_);
  }
  for (std::uint64_t left = in_use_; left != 0; left &= left - 1) {
    Used& used = used_[static_cast<std::size_t>(std::countr_zero(left))];
    if (!used.is_held) {
      used.lane.announce_on_socket(true);
    }
  }
  for (std::uint64_t left = in_use_; left != 0; left &= left - 1) {
    Used& used = used_[static_cast<std::size_t>(std::countr_zero(left))];
    if (!used.is_held && used.lane.has_reply()) {
      return false;
    }
  }
  return true;
}

// --- The end -------------------------------------------------------------------------------------

void ClientLink::fail(const link::Outcome& why) {
  if (!is_open()) {
    return;
  }
  end_all(why);
  state_ = State::kFailed;
  failure_ = why;
  reactor_.arm(*this, mono_now());
}

void ClientLink::on_timer() {
  if (state_ == State::kAttaching) {
    if (attachment_) {  // the time is over
      stop_attaching();
      fail_to_attach(Error{Errc::kDeadline, 0, "the daemon does not answer at its door"});
    } else {
      attach();
    }
  } else if (state_ == State::kOpen) {
    for (std::uint64_t left = in_use_; left != 0; left &= left - 1) {
      used_[static_cast<std::size_t>(std::countr_zero(left))].lane.ring_again();
    }
    ring_after_ = std::min(2 * ring_after_, kLongestQuiet);  // armed before the next sleep
  } else if (state_ == State::kFailed && owner_ != nullptr) {
    owner_->on_link_failed(*this, failure_);
  }
}

link::Outcome ClientLink::why_not_open() const {
  return state_ == State::kFailed ? failure_ : kLinkClosed;
}

void ClientLink::end_all(const link::Outcome& why) {
  stop_attaching();
  if (state_ == State::kOpen) {
    reactor_.remove_poller(*this);
    used_.clear();
    in_use_ = 0;
    ClientSession::end(std::move(session_));
  }
  for (link::Operation* flush : std::exchange(flushes_, {})) {
    end(*flush, why);
  }
  for (const Waiting& ahead : std::exchange(ahead_, {})) {
    --(ahead.channel == nullptr ? operations_ : ahead.channel->operations_);
  }
  for (const Waiting& waiting : std::exchange(waiting_, {})) {
    settle(waiting, why);
  }
  for (ChannelLink* channel : std::exchange(channels_, {})) {
    channel->fail(why);
  }
}

void ClientLink::close(Nanos /*flush*/) {
  if (state_ == State::kClosed) {
    return;
  }
  if (is_open()) {
    end_all(kLinkClosed);
  }
  state_ = State::kClosed;
  owner_ = nullptr;
  disarm();
  links_.bury();
}

// --- All of them ---------------------------------------------------------------------------------

ClientLinks::ClientLinks(rt::Reactor& reactor, link::Handler& handler, Config config)
    : reactor_(reactor), handler_(handler), config_(std::move(config)) {
  if (Result<const DoorDirectory*> now = directory(); !now) {
    BENCHFS_LOG(kDebug, "there is no node door here: {}", now.error().message());
  }
}

ClientLinks::~ClientLinks() {
  disarm();
  on_timer();
  BENCHFS_CHECK(links_.empty() && channels_.empty());
}

Result<const DoorDirectory*> ClientLinks::directory() const {
  if (!directory_ || !directory_->is_there()) {
    directory_.reset();
    BENCHFS_TRY(DoorDirectory now, DoorDirectory::open(config_.run_id, config_.base));
    directory_.emplace(std::move(now));
  }
  return &*directory_;
}

bool ClientLinks::has_door(std::uint32_t shard) const {
  Result<const DoorDirectory*> now = directory();
  return now.has_value() && (*now)->has(shard);
}

wire::NoDoor ClientLinks::take_failure(std::uint32_t shard) {
  auto failed = failed_.extract(shard);
  return failed ? failed.mapped() : wire::NoDoor::kUnsaid;
}

wire::NoDoor ClientLinks::why_no_door() const {
  Result<const DoorDirectory*> now = directory();
  if (now) {
    return wire::NoDoor::kNotHere;
  }
  if (now.error().posix != ENOENT) {
    return wire::NoDoor::kNotPrivate;
  }
  return has_doors_of_others(config_.base) ? wire::NoDoor::kOtherUser : wire::NoDoor::kNone;
}

void* ClientLinks::hold(const ClientLink& link, std::uint32_t lane) {
  return reinterpret_cast<void*>(link.number_ * kMaxLanes + lane);
}

std::uint32_t ClientLinks::lane_of(const void* held) {
  return static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(held) % kMaxLanes);
}

// A link that has ended has given its lanes back.
void ClientLinks::release(void* held) {
  std::uintptr_t number = reinterpret_cast<std::uintptr_t>(held) / kMaxLanes;
  auto link = std::ranges::find(links_, number, [](const auto& one) { return one->number_; });
  if (link != links_.end() && (*link)->state_ == ClientLink::State::kOpen) {
    (*link)->release(lane_of(held));
  }
}

void ClientLinks::share_windows() {
  std::vector<ClientSlots*> all;
  for (const auto& link : links_) {
    if (link->session_ != nullptr && link->session_->slots() != nullptr) {
      all.push_back(link->session_->slots());
    }
  }
  for (ClientSlots* slots : all) {
    slots->limit_windows(ClientSlots::kMostWindows / all.size());
  }
}

ClientLink& ClientLinks::add_link(std::uint32_t shard,
                                  link::Owner& owner,
                                  bool is_only_way,
                                  const SessionShape& shape,
                                  bool is_carrier) {
  ClientLink& link = *links_.emplace_back(
      std::make_unique<ClientLink>(*this, shard, owner, is_only_way, shape, is_carrier));
  link.attach_by_ = Deadline::after(config_.attach_patience);
  link.attach();
  return link;
}

link::Link* ClientLinks::connect(std::uint32_t shard, link::Owner& owner, bool is_only_way) {
  return &add_link(shard, owner, is_only_way, config_.shape, false);
}

// The links of channels are owned by this.
link::Link* ClientLinks::connect_through(std::uint32_t near,
                                         std::uint32_t shard,
                                         link::Owner& owner,
                                         bool is_only_way) {
  link::Owner& self = *this;
  auto found = std::ranges::find_if(links_, [&](const auto& link) {
    return link->is_carrier_ && link->shard_ == near && link->is_open();
  });
  ClientLink& carrier =
      found != links_.end() ? **found : add_link(near, self, is_only_way, kForwardShape, true);
  ChannelLink& channel = *channels_.emplace_back(
      std::make_unique<ChannelLink>(*this, carrier, shard, ++numbers_, owner));
  if (carrier.is_open()) {
    carrier.add(channel);
  } else {
    channel.fail(carrier.failure_);
  }
  return &channel;
}

std::optional<std::uint32_t> ClientLinks::nearest(std::uint32_t shard) const {
  Result<const DoorDirectory*> now = directory();
  std::vector<std::uint32_t> here = now ? (*now)->shards() : std::vector<std::uint32_t>{};
  if (here.empty()) {
    return std::nullopt;
  }
  std::ranges::sort(here);
  return here[(shard + failures_) % here.size()];
}

void ClientLinks::bury() {
  if (!is_armed()) {
    reactor_.arm(*this, mono_now());
  }
}

void ClientLinks::on_timer() {
  std::erase_if(channels_,
                [](const auto& link) { return link->state_ == ChannelLink::State::kClosed; });
  std::erase_if(links_,
                [](const auto& link) { return link->state_ == ClientLink::State::kClosed; });
}

}  // namespace benchfs::door
