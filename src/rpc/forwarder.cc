#include "rpc/forwarder.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/backoff.h"
#include "base/check.h"
#include "base/log.h"
#include "wire/validity.h"

namespace benchfs::rpc {
namespace {

constexpr auto kForward = static_cast<std::uint16_t>(wire::Opcode::kForward);
constexpr auto kForwardReply = wire::reply_am_id(wire::Opcode::kForward);
constexpr auto kForwardNotice = static_cast<std::uint16_t>(wire::Opcode::kForwardNotice);

constexpr Nanos kConnectPatience = std::chrono::seconds(5);
constexpr Nanos kFirstReachPause = std::chrono::milliseconds(1);
constexpr Nanos kLongestReachPause = std::chrono::milliseconds(100);
// What a program was told before its link is closed is given this long to arrive.
constexpr Nanos kProgramFlush = std::chrono::milliseconds(500);
// Late calls are looked for this often. The time that a caller gives up by itself comes first.
constexpr Nanos kLateCallsEvery = std::chrono::milliseconds(500);
constexpr Nanos kGrace = std::chrono::seconds(2);
constexpr Nanos kRegistrationPatience = std::chrono::seconds(30);
// Messages that wait for one shard: to be connected, or to be read by it.
constexpr std::size_t kMostWaiting = 1U << 14;
// Of one program. It has one, and others that it has just closed.
constexpr std::size_t kChannelsPerShard = 4;
// One-way messages that a program leaves unread.
constexpr std::uint32_t kMostUnreadByProgram = 8 * wire::kMaxWindow;
// The longest message, a ping, has less.
constexpr std::size_t kMostData = std::size_t{8} << 20;

MonoTime give_up_at(std::uint16_t id, std::span<const std::byte> header) {
  MonoTime now = mono_now_coarse();
  wire::RequestHeader request;
  if (id == static_cast<std::uint16_t>(wire::Opcode::kRegister) ||
      !wire::Reader(header).read(request)) {
    return now + kRegistrationPatience;
  }
  return now + std::chrono::milliseconds(request.deadline_ms) + kGrace;
}

// The far shard is there, and does not take us yet.
bool is_only_starting(Errc code) {
  return code == Errc::kNotReady || code == Errc::kBusy;
}

std::span<const std::byte> as_header(const wire::ForwardHeader& outer) {
  return std::as_bytes(std::span(&outer, 1));
}

// Ends a call of a program without a reply.
void give_up(link::Link& program, std::uint64_t call) {
  program.send_and_forget(kForwardReply, as_header({.call = call}));
}

void tell_end(link::Link& program, std::uint64_t channel, std::uint16_t flags = 0) {
  program.send_and_forget(kForwardNotice, as_header({.channel = channel, .flags = flags}));
}

// A link of a program takes what it is given at once.
void answer(link::Link& program,
            const wire::ForwardHeader& outer,
            std::span<const std::byte> header,
            std::span<const std::byte> data) {
  const wire::ForwardedHeader whole = wire::forwarded(outer, header);
  link::Operation sending;
  program.begin_send(sending, {.id = kForwardReply, .header = whole.bytes(), .data = data});
  BENCHFS_CHECK(!sending.is_pending());
}

}  // namespace

Forwarder::Forwarder(rt::Reactor& reactor, ConnectionPool& pool) : reactor_(reactor), pool_(pool) {
  pool_.set_forwarded_handler(this);
}

Forwarder::~Forwarder() {
  BENCHFS_CHECK(programs_.empty() && tasks_ == 0);
  pool_.set_forwarded_handler(nullptr);
}

// --- From programs -------------------------------------------------------------------------------

bool Forwarder::on_message(const link::Incoming& message) {
  if (is_closed_) {
    return false;
  }
  link::Link& program = *message.sender;
  programs_.try_emplace(&program);
  far_.resize(pool_.size());
  wire::ForwardHeader outer;
  if (!wire::Reader(message.header).read(outer)) {
    drop(program, false);
    return true;
  }
  auto channel = find_or_open(program, outer);
  if (channel != channels_.end() && outer.id != wire::kChannelEnd &&
      outer.id != wire::kProgramDied) {
    Header header = message.header.subspan(sizeof outer);
    if (outer.call != 0) {
      channel->second.calls.push_back({outer.call, give_up_at(outer.id, header)});
      if (!is_armed()) {
        reactor_.arm(*this, mono_now() + kLateCallsEvery);
      }
    }
    pass_on(channel, outer.id, header, message);
    return true;
  }
  if (channel != channels_.end()) {
    end(channel, Knows::kProgram);
  } else if (program.operations() >= kMostUnreadByProgram) {
    drop(program, false);
    return true;
  } else if (outer.id != wire::kChannelEnd) {
    tell_end(program, outer.channel);
  }
  if (outer.call != 0) {
    give_up(program, outer.call);
  }
  return true;
}

Forwarder::Channels::iterator Forwarder::find_or_open(link::Link& program,
                                                      const wire::ForwardHeader& outer) {
  Numbers& numbers = programs_[&program];
  if (auto found = numbers.find(outer.channel); found != numbers.end()) {
    return channels_.find(found->second);
  }
  bool is_first = outer.id == static_cast<std::uint16_t>(wire::Opcode::kRegister);
  std::size_t most = kChannelsPerShard * pool_.size();
  if (!is_first || outer.shard >= pool_.size() || numbers.size() >= most) {
    return channels_.end();
  }
  numbers.emplace(outer.channel, ++numbers_);
  return channels_
      .emplace(numbers_,
               Channel{.program = &program,
                       .number = outer.channel,
                       .shard = wire::ShardId{outer.shard},
                       .calls = {}})
      .first;
}

Forwarder::Data Forwarder::copy_data(const link::Incoming& message) {
  Data data{std::make_unique_for_overwrite<std::byte[]>(message.length), message.length};
  if (message.is_rendezvous) {
    link::Operation receiving;
    message.sender->begin_receive(receiving, message.held(), data.span(), nullptr);
    BENCHFS_CHECK(!receiving.is_pending());
  } else {
    std::memcpy(data.bytes.get(), message.data, message.length);
  }
  return data;
}

void Forwarder::pass_on(const Channels::iterator& channel,
                        std::uint16_t id,
                        Header header,
                        const link::Incoming& message) {
  Data data = message.length > 0 ? copy_data(message) : Data{};
  std::uint64_t call = wire::forwarded_call(id, header);
  ++(call != 0 ? stats_.calls : stats_.notices);
  stats_.bytes_in += data.size;
  send(channel->second.shard,
       {.call = call, .channel = channel->first, .shard = channel->second.shard.value, .id = id},
       header,
       std::move(data));
}

void Forwarder::on_program_died(const link::Link& program) {
  std::vector<std::pair<std::uint64_t, wire::ShardId>> its;  // sending may end one
  for (const auto& [number, channel] : channels_) {
    if (channel.program == &program) {
      its.emplace_back(number, channel.shard);
    }
  }
  for (const auto& [number, shard] : its) {
    send(shard, {.channel = number, .shard = shard.value, .id = wire::kProgramDied}, {}, {});
  }
}

bool Forwarder::drop(link::Link& program, bool has_died) {
  auto found = programs_.find(&program);
  if (found == programs_.end()) {
    return false;
  }
  while (!found->second.empty()) {
    end(channels_.find(found->second.begin()->second),
        Knows::kProgram,
        has_died ? wire::kForwardDied : 0);
  }
  programs_.erase(found);
  program.close(kProgramFlush);
  return true;
}

// --- To far shards -------------------------------------------------------------------------------

void Forwarder::send(wire::ShardId shard,
                     const wire::ForwardHeader& outer,
                     Header header,
                     Data data) {
  Far& far = far_[shard.value];
  Connection& connection = pool_.at(shard);
  bool is_ready = far.waiting.empty() && connection.state() == Connection::State::kReady;
  if (is_ready && connection.link()->operations() < kMostWaiting) {
    wire::ForwardHeader known = outer;
    known.session_id = connection.grant().session_id;
    const wire::ForwardedHeader whole = wire::forwarded(known, header);
    link::Message message{.id = kForward, .header = whole.bytes(), .data = data.span()};
    if (connection.link()->send_soon(message)) {
      return;
    }
    if (data.size == 0) {
      connection.link()->send_and_forget(kForward, whole.bytes());
      return;
    }
    Outgoing outgoing{outer, {header.begin(), header.end()}, std::move(data)};
    transmit(connection, std::move(outgoing)).handle.resume();
    return;
  }
  if (is_ready || far.waiting.size() >= kMostWaiting) {  // it reads nothing
    auto channel = channels_.find(outer.channel);
    if (channel != channels_.end()) {
      end(channel, Knows::kFar);
    }
    return;
  }
  far.waiting.push_back({outer, {header.begin(), header.end()}, std::move(data)});
  if (!far.is_connecting) {
    far.is_connecting = true;
    connect(shard).handle.resume();
  }
}

// A connection that failed ends its channels. One that goes on may have no room for a message,
// which ends its channel: nothing in it gets lost.
rt::DetachedTask Forwarder::transmit(Connection& far, Outgoing message) {
  ++tasks_;
  message.outer.session_id = far.grant().session_id;
  const wire::ForwardedHeader whole = wire::forwarded(message.outer, message.header);
  bool is_small = message.data.size <= wire::kMaxClientIdBytes;
  link::Outcome sent = co_await far.link()->send(
      {.id = kForward,
       .header = whole.bytes(),
       .data = message.data.span(),
       .protocol = is_small ? link::Protocol::kEager : link::Protocol::kAuto});
  bool goes_on = far.state() == Connection::State::kReady && far.link()->is_open();
  auto channel = sent.ok() || !goes_on ? channels_.end() : channels_.find(message.outer.channel);
  if (channel != channels_.end()) {
    BENCHFS_LOG(kInfo, "{}: nothing can be forwarded: {}", far.name(), sent.text);
    ++stats_.ended;
    end(channel, Knows::kNobody, wire::kForwardNoRoom);
  }
  end_task();
}

rt::DetachedTask Forwarder::connect(wire::ShardId shard) {
  ++tasks_;
  Connection& connection = pool_.at(shard);
  Deadline deadline = Deadline::after(kConnectPatience);
  Backoff pause(kFirstReachPause, kLongestReachPause);
  Status connected = co_await pool_.reach(shard, deadline);
  while (!connected && is_only_starting(connected.error().code) && !is_closed_ &&
         !deadline.passed()) {
    (void)co_await rt::sleep_for(pause.next());
    connected = co_await pool_.reach(shard, deadline);
  }
  Far& far = far_[shard.value];
  far.is_connecting = false;
  if (connected && connection.state() == Connection::State::kReady) {
    while (!far.waiting.empty() && connection.state() == Connection::State::kReady) {
      Outgoing message = std::move(far.waiting.front());
      far.waiting.pop_front();
      if (message.outer.id == wire::kChannelEnd || channels_.contains(message.outer.channel)) {
        transmit(connection, std::move(message)).handle.resume();
      }
    }
  } else {
    if (!connected) {
      BENCHFS_LOG(kInfo, "nothing can be forwarded: {}", connected.error().message());
    }
    end_all_of(shard);
  }
  end_task();
}

void Forwarder::end_all_of(wire::ShardId shard) {
  if (shard.value < far_.size()) {
    far_[shard.value].waiting.clear();
  }
  for (auto next = channels_.begin(); next != channels_.end();) {
    auto channel = next++;
    if (channel->second.shard == shard) {
      ++stats_.ended;
      end(channel, Knows::kFar);
    }
  }
}

void Forwarder::on_far_lost(wire::ShardId shard) {
  end_all_of(shard);
}

// --- From far shards -----------------------------------------------------------------------------

link::Disposition Forwarder::on_forwarded(const link::Incoming& message) {
  wire::ForwardHeader outer;
  bool is_read =
      message.header.size() <= wire::kMaxForwardedBytes && wire::Reader(message.header).read(outer);
  auto found = is_read ? channels_.find(outer.channel) : channels_.end();
  if (found == channels_.end() || pool_.at(found->second.shard).link() == nullptr) {
    return link::Disposition::kDone;
  }
  Channel& channel = found->second;
  Header header = message.header.subspan(sizeof outer);
  if (outer.id == wire::kChannelEnd || message.length > kMostData) {
    ++stats_.ended;
    end(found, Knows::kFar);
    return link::Disposition::kDone;
  }
  if (message.id == kForwardNotice) {
    ++stats_.notices;
    if (invalidate(found, outer.id, header)) {
      return link::Disposition::kDone;
    }
    if (channel.program->operations() >= kMostUnreadByProgram) {
      drop(*channel.program, false);
      return link::Disposition::kDone;
    }
    outer.channel = channel.number;
    const wire::ForwardedHeader whole = wire::forwarded(outer, header);
    channel.program->send_and_forget(kForwardNotice, whole.bytes());
    return link::Disposition::kDone;
  }
  if (message.is_rendezvous) {
    Data into{std::make_unique_for_overwrite<std::byte[]>(message.length), message.length};
    fetch(*pool_.at(channel.shard).link(),
          message.held(),
          std::move(into),
          outer,
          {header.begin(), header.end()})
        .handle.resume();
    return link::Disposition::kHold;
  }
  if (take_call(channel, outer.call)) {
    outer.channel = channel.number;
    stats_.bytes_out += message.length;
    answer(*channel.program,
           outer,
           header,
           {static_cast<const std::byte*>(message.data), message.length});
  }
  return link::Disposition::kDone;
}

// The program may stand still, and need not do anything.
bool Forwarder::invalidate(const Channels::iterator& channel, std::uint16_t id, Header header) {
  wire::InvalidateHeader what;
  if (id != static_cast<std::uint16_t>(wire::Opcode::kInvalidate) ||
      !wire::Reader(header).read(what) || (what.flags & wire::kInvalidateByWord) == 0 ||
      what.word >= wire::kValidityWords || !channel->second.program->invalidate(what.word)) {
    return false;
  }
  wire::InvalidateAckHeader ack{what.sequence, what.session_id};
  send(channel->second.shard,
       {.channel = channel->first,
        .shard = channel->second.shard.value,
        .id = static_cast<std::uint16_t>(wire::Opcode::kInvalidateAck)},
       std::as_bytes(std::span(&ack, 1)),
       {});
  return true;
}

// The channel may end meanwhile, and the call be given up.
rt::DetachedTask Forwarder::fetch(link::Link& far,
                                  link::Held held,
                                  Data into,
                                  wire::ForwardHeader outer,
                                  std::vector<std::byte> header) {
  ++tasks_;
  link::Outcome received = co_await far.receive(held, into.span());
  auto found = channels_.find(outer.channel);
  if (received.ok() && found != channels_.end() && take_call(found->second, outer.call)) {
    outer.channel = found->second.number;
    stats_.bytes_out += into.size;
    answer(*found->second.program, outer, header, into.span());
  }
  end_task();
}

// --- Channels ------------------------------------------------------------------------------------

bool Forwarder::take_call(Channel& channel, std::uint64_t call) {
  auto found = std::ranges::find(channel.calls, call, &Call::id);
  if (found == channel.calls.end()) {
    return false;
  }
  *found = channel.calls.back();
  channel.calls.pop_back();
  return true;
}

void Forwarder::end(const Channels::iterator& channel, Knows knows, std::uint16_t flags) {
  Channel ended = std::move(channel->second);
  std::uint64_t number = channel->first;
  channels_.erase(channel);
  programs_[ended.program].erase(ended.number);
  for (const Call& call : ended.calls) {
    give_up(*ended.program, call.id);
  }
  if (knows != Knows::kProgram) {
    tell_end(*ended.program, ended.number, flags);
  }
  if (knows != Knows::kFar && pool_.at(ended.shard).state() == Connection::State::kReady) {
    send(ended.shard, {.channel = number, .shard = ended.shard.value, .flags = flags}, {}, {});
  }
}

void Forwarder::on_timer() {
  MonoTime now = mono_now();
  bool is_any_left = false;
  for (auto& [number, channel] : channels_) {
    std::erase_if(channel.calls, [&](const Call& call) {
      if (now < call.by) {
        return false;
      }
      ++stats_.late;
      give_up(*channel.program, call.id);
      return true;
    });
    is_any_left |= !channel.calls.empty();
  }
  if (is_any_left) {
    reactor_.arm(*this, now + kLateCallsEvery);
  }
}

void Forwarder::close() {
  is_closed_ = true;
  while (!programs_.empty()) {
    drop(*programs_.begin()->first, false);
  }
  disarm();
}

void Forwarder::end_task() {
  if (--tasks_ == 0) {
    idle_.wake_all();
  }
}

rt::Task<void> Forwarder::join() {
  while (tasks_ > 0) {
    (void)co_await idle_.wait(Deadline::never());
  }
}

}  // namespace benchfs::rpc
