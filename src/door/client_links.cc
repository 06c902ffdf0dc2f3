#include "door/client_links.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cerrno>

#include "base/check.h"
#include "base/log.h"
#include "door/server_links.h"

namespace benchfs::door {
namespace {

// Data that comes along; more is received when somebody has a place for it.
constexpr std::size_t kEagerBytes = 16U << 10;
// Messages that nobody waits for, which wait for a lane.
constexpr std::size_t kMostWaiting = 1U << 16;

// When too many are there.
constexpr Nanos kPauseAtTheDoor = std::chrono::milliseconds(1);

// Looks at the lanes between two looks whether the shard is there, of a program that never sleeps.
constexpr std::uint32_t kPollsBetweenChecks = 4096;
// Looks at the lanes in a pass without a reply, when few calls wait: what else a pass looks at
// takes as long as these.
constexpr int kLooksInAPass = 8;
constexpr int kFewCalls = 2;

constexpr link::Outcome kClosed{Errc::kCancelled, "the link was closed"};
constexpr link::Outcome kGone{Errc::kDisconnected, "the daemon of this node is gone"};
constexpr link::Outcome kRefused{Errc::kDisconnected, "the daemon of this node ended the session"};
constexpr link::Outcome kTooLong{Errc::kLimit, "longer than a lane of the node door has room for"};
constexpr link::Outcome kNoMemory{Errc::kSystem,
                                  "the machine has no memory left for the node door"};

// This process or machine lacks something, which waiting for the shard does not bring.
bool is_own_lack(const Error& error) {
  return error.posix == EMFILE || error.posix == ENFILE || error.posix == ENOMEM;
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
                       bool is_only_way)
    : Link(links.reactor_),
      links_(links),
      owner_(&owner),
      shard_(shard),
      is_only_way_(is_only_way),
      number_(++links.numbers_) {}

ClientLink::~ClientLink() {
  BENCHFS_CHECK(state_ == State::kClosed && in_use_ == 0);
}

// --- Attaching -----------------------------------------------------------------------------------

// Also a frozen shard lets a program come to its door and say what it wants.
void ClientLink::attach() {
  Result<DoorDirectory> directory = links_.directory();
  if (!directory) {
    return fail_to_attach(directory.error());
  }
  Result<Attachment> begun = Attachment::begin(*directory,
                                               {links_.config_.run_id,
                                                shard_,
                                                links_.config_.base,
                                                links_.config_.shape,
                                                links_.config_.wants_slots});
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
  links_.failed_.insert(shard_);
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
  state_ = State::kOpen;
  reactor_.add_poller(*this);
  listen();
  for (link::Operation* flush : std::exchange(flushes_, {})) {
    end(*flush, {});
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

Errc ClientLink::transmit(const link::Message& message, std::uint32_t* used_lane) {
  Result<ClientLane> lane = session_->take_lane();
  if (!lane) {
    return lane.error().code;
  }
  Status sent = lane->send(
      {.id = message.id, .header = message.header, .data = message.data, .order = order_ + 1});
  if (!sent) {
    return sent.error().code;
  }
  ++order_;
  std::uint32_t index = lane->index();
  used_[index].emplace(*std::move(lane));
  in_use_ |= std::uint64_t{1} << index;
  if (used_lane != nullptr) {
    *used_lane = index;
  }
  return Errc::kOk;
}

void ClientLink::begin_send(link::Operation& operation, const link::Message& message) {
  begin(operation);
  if (!is_open()) {
    return end(operation, why_not_open());
  }
  Errc code = state_ == State::kOpen && waiting_.empty() ? transmit(message) : Errc::kBusy;
  if (code == Errc::kBusy) {
    waiting_.push_back({.operation = &operation, .message = message, .header = {}});
    return leave_pending(operation);
  }
  end(operation, outcome_of(code));
}

void ClientLink::send_and_forget(std::uint16_t id, std::span<const std::byte> header) {
  if (!is_open()) {
    return;
  }
  bool may_go = state_ == State::kOpen && waiting_.empty();
  if (may_go && transmit({.id = id, .header = header, .data = {}}) != Errc::kBusy) {
    return;
  }
  if (waiting_.size() < kMostWaiting) {
    Waiting waiting{
        .operation = nullptr, .message = {.id = id, .header = {}, .data = {}}, .header = {}};
    waiting.header.assign(header.begin(), header.end());
    waiting_.push_back(std::move(waiting));
    ++operations_;
  }
}

void ClientLink::send_waiting() {
  while (state_ == State::kOpen && !waiting_.empty()) {
    Waiting& first = waiting_.front();
    if (first.operation == nullptr) {
      first.message.header = first.header;
    }
    Errc code = transmit(first.message);
    if (code == Errc::kBusy) {
      return;
    }
    link::Operation* operation = first.operation;
    waiting_.pop_front();
    if (operation == nullptr) {
      --operations_;
    } else {
      end(*operation, outcome_of(code));
    }
  }
}

// Takes a lane before the messages that wait for one.
void ClientLink::listen() {
  std::uint32_t lane = kMaxLanes;
  if (transmit({.id = kListenId, .header = {}, .data = {}}, &lane) != Errc::kOk) {
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
  if (!session_->is_attached()) {  // a child of fork
    fail(kGone);
    return true;
  }
  bool is_gone = false;
  if (announces_) {
    announces_ = false;
    for (std::uint64_t left = in_use_; left != 0; left &= left - 1) {
      used_[static_cast<std::size_t>(std::countr_zero(left))]->lane.announce_on_socket(false);
    }
    is_gone = !session_->drain_socket();
  } else if (++polls_ % kPollsBetweenChecks == 0) {
    is_gone = !session_->drain_socket();
  }
  bool worked = look_at_all();
  if (std::uint64_t calls = in_use_ & ~listener_bit();
      calls != 0 && std::popcount(calls) <= kFewCalls) {
    for (int i = 1; i < kLooksInAPass && !worked && state_ == State::kOpen; ++i) {
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

bool ClientLink::look_at_calls() {
  bool worked = false;
  for (std::uint64_t left = in_use_; left != 0 && state_ == State::kOpen; left &= left - 1) {
    auto index = static_cast<std::size_t>(std::countr_zero(left));
    if (used_[index] && index != listener_) {
      worked |= look(*used_[index]);
    }
  }
  return worked;
}

// What the shard tells comes after the replies that it sent before: they are visible once it is.
bool ClientLink::look_at_all() {
  bool worked = look_at_calls();
  if (state_ == State::kOpen && listener_ < kMaxLanes && used_[listener_]->lane.has_reply()) {
    worked |= look_at_calls();
    if (state_ == State::kOpen) {
      worked |= look(*used_[listener_]);
    }
  }
  return worked;
}

bool ClientLink::look(Used& used) {
  if (used.is_held || !used.lane.has_reply()) {
    return false;
  }
  ring_after_ = kFirstQuiet;
  std::array<std::byte, wire::kMaxHeaderBytes> bytes;
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
    // The next thing may be told at once; the lane is free, so that listening takes it again.
    std::uint16_t id = used.reply.id;
    finish(used);
    listener_ = kMaxLanes;
    listen();
    if (id != kTakenId && is_open()) {
      (void)links_.handler_.on_message({.id = id, .header = header, .sender = this});
    }
    return;
  }
  if (used.reply.id == kTakenId) {
    finish(used);
    return send_waiting();
  }
  link::Incoming message{.id = used.reply.id,
                         .header = header,
                         .data = links_.hold(*this, used.lane.index()),
                         .length = used.reply.data_bytes,
                         .is_rendezvous = used.reply.data_bytes > kEagerBytes,
                         .can_hold = true,
                         .sender = this,
                         .keeper = &links_};
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

void ClientLink::finish(Used& used) {
  std::uint32_t index = used.lane.index();
  if (used.lane.is_outstanding() && used.lane.has_reply()) {
    used.lane.finish();
  }
  used_[index].reset();
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
  std::uint32_t lane = ClientLinks::lane_of(held.data);
  used_[lane]->lane.copy_data(used_[lane]->reply, into);
  release(lane);
  end(operation, {});
}

void ClientLink::release(std::uint32_t lane) {
  finish(*used_[lane]);
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
    Used& used = *used_[static_cast<std::size_t>(std::countr_zero(left))];
    if (!used.is_held) {
      used.lane.announce_on_socket(true);
    }
  }
  for (std::uint64_t left = in_use_; left != 0; left &= left - 1) {
    Used& used = *used_[static_cast<std::size_t>(std::countr_zero(left))];
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
      used_[static_cast<std::size_t>(std::countr_zero(left))]->lane.ring_again();
    }
    ring_after_ = std::min(2 * ring_after_, kLongestQuiet);  // armed before the next sleep
  } else if (state_ == State::kFailed && owner_ != nullptr) {
    owner_->on_link_failed(*this, failure_);
  }
}

link::Outcome ClientLink::why_not_open() const {
  return state_ == State::kFailed ? failure_ : kClosed;
}

void ClientLink::end_all(const link::Outcome& why) {
  stop_attaching();
  if (state_ == State::kOpen) {
    reactor_.remove_poller(*this);
    for (std::optional<Used>& used : used_) {
      used.reset();
    }
    in_use_ = 0;
    session_.reset();
  }
  for (link::Operation* flush : std::exchange(flushes_, {})) {
    end(*flush, why);
  }
  for (Waiting& waiting : std::exchange(waiting_, {})) {
    if (waiting.operation != nullptr) {
      end(*waiting.operation, why);
    } else {
      --operations_;
    }
  }
}

void ClientLink::close(Nanos /*flush*/) {
  if (state_ == State::kClosed) {
    return;
  }
  if (is_open()) {
    end_all(kClosed);
  }
  state_ = State::kClosed;
  owner_ = nullptr;
  disarm();
  links_.bury();
}

// --- All of them ---------------------------------------------------------------------------------

ClientLinks::ClientLinks(rt::Reactor& reactor, link::Handler& handler, Config config)
    : reactor_(reactor), handler_(handler), config_(std::move(config)) {
  if (auto first = DoorDirectory::open(config_.run_id, config_.base)) {
    first_directory_.emplace(*std::move(first));
  }
}

ClientLinks::~ClientLinks() {
  disarm();
  on_timer();
  BENCHFS_CHECK(links_.empty());
}

Result<DoorDirectory> ClientLinks::directory() const {
  Result<DoorDirectory> now = DoorDirectory::open(config_.run_id, config_.base);
  return !now && first_directory_ ? *first_directory_ : std::move(now);
}

bool ClientLinks::has_door(std::uint32_t shard) const {
  Result<DoorDirectory> now = directory();
  return now.has_value() && now->has(shard);
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

link::Link* ClientLinks::connect(std::uint32_t shard, link::Owner& owner, bool is_only_way) {
  ClientLink* link =
      links_.emplace_back(std::make_unique<ClientLink>(*this, shard, owner, is_only_way)).get();
  link->attach_by_ = Deadline::after(config_.attach_patience);
  link->attach();
  return link;
}

void ClientLinks::bury() {
  if (!is_armed()) {
    reactor_.arm(*this, mono_now());
  }
}

void ClientLinks::on_timer() {
  std::erase_if(links_,
                [](const auto& link) { return link->state_ == ClientLink::State::kClosed; });
}

}  // namespace benchfs::door
