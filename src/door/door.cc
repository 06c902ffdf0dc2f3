#include "door/door.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/backoff.h"
#include "base/check.h"
#include "base/descriptors.h"
#include "base/futex.h"
#include "base/log.h"
#include "base/random.h"
#include "door/steps.h"
#include "wire/slot_state.h"

namespace benchfs::door {
namespace {

using std::chrono::milliseconds;

// Looks without a request until a lane is cold, divided among the hot ones: a second look costs a
// cache line each.
constexpr std::size_t kQuietLooks = 1U << 16;
// Passes between two looks at sockets, which cost a system call; after a sleep at once.
constexpr std::uint32_t kEventsEvery = 256;
constexpr int kMostEvents = 64;  // handled in a pass
// Looks at the lanes in a pass without a request, when few are hot: the network and the timers,
// which a pass looks at once, take as long as these.
constexpr int kLooksForRequests = 8;
constexpr std::size_t kFewLanes = 4;
// Kept back when a program comes in: it needs 4, UCX aborts the process when it finds none.
constexpr std::size_t kSpareDescriptors = 40;
constexpr Nanos kPauseWithoutDescriptors = milliseconds(10);
// After a ring all bells are looked at again, this long after it, then after eight times as long.
constexpr Nanos kFirstLookAgain = milliseconds(1);
constexpr Nanos kLastLookAgain = milliseconds(512);
constexpr int kLookAgainFactor = 8;
// A session ends within this, unless its program lives on without its descriptors.
constexpr Nanos kSoonOver = std::chrono::seconds(1);
constexpr Nanos kFirstProof = milliseconds(1);
constexpr Nanos kLongestProof = std::chrono::seconds(1);  // pause between two
// Between the end of a process's memory and its own.
constexpr Nanos kDeathPatience = milliseconds(50);
constexpr Nanos kProofDeadline = std::chrono::seconds(10);
// Between two looks at who is silent and not seen, and how many proofs begin in one.
constexpr Nanos kTrySilentEvery = std::chrono::seconds(1);
constexpr std::size_t kMostTried = 64;
#ifndef SO_PEERPIDFD
constexpr int SO_PEERPIDFD = 77;  // Linux 6.5
#endif

}  // namespace

Door::Door(rt::Reactor& reactor, rt::BlockingPool& pool, CallHandler& handler, DoorConfig config)
    : reactor_(reactor), pool_(pool), handler_(handler), config_(std::move(config)) {
  pause_.door = this;
  look_again_.door = this;
  try_silent_.door = this;
}

Result<std::unique_ptr<Door>> Door::open(rt::Reactor& reactor,
                                         rt::BlockingPool& pool,
                                         CallHandler& handler,
                                         DoorConfig config) {
  std::unique_ptr<Door> door(
      new Door(reactor, pool, handler, std::move(config)));  // lint: allow new private constructor
  BENCHFS_TRY_VOID(door->start());
  return door;
}

Status Door::start() {
  BENCHFS_CHECK(config_.most.is_valid());
  BENCHFS_TRY(page_memory_, create_published_memory(sizeof(ShardPage)));
  page_ = reinterpret_cast<ShardPage*>(page_memory_.mapping.data());
  events_ = Fd(epoll_create1(EPOLL_CLOEXEC));
  if (!events_.is_open()) {
    return fail_system(errno, "creating the event descriptor of the node door");
  }
  BENCHFS_TRY(DoorDirectory directory, DoorDirectory::create(config_.run_id, config_.base));
  directory_ = std::make_unique<DoorDirectory>(std::move(directory));
  BENCHFS_TRY(listener_.fd, directory_->listen(config_.shard));
  if (!watch(listener_, EPOLLIN)) {
    return fail_system(errno, "watching the node door");
  }
  BENCHFS_TRY(bell_, rt::FutexWatch::start(reactor_, page_->bell));
  reactor_.add_poller(*this);
  handler_.on_page(page_);
  is_open_ = true;
  return {};
}

Door::~Door() {
  BENCHFS_CHECK(!is_open_ && sessions_.empty());
  handler_.on_page(nullptr);
}

rt::Task<void> Door::close() {
  is_open_ = false;
  pause_.disarm();
  look_again_.disarm();
  try_silent_.disarm();
  unwatch(listener_);
  directory_->remove(config_.shard);
  bell_.reset();  // sets the word that says "closed"
  for (const Member& member : sessions_) {
    if (member.session->is_mapped()) {
      cool(*member.session);  // nothing is taken any more while proofs end
    }
  }
  scope_.close();
  co_await scope_.join();
  while (!sessions_.empty()) {
    ServerSession& session = *sessions_.front().session;
    if (session.is_mapped()) {
      for (ServerLane& lane : session.lanes_) {
        if (lane.in_service_) {
          lane.refuse(Errc::kDisconnected);
        }
        futex_wake(lane.memory_->reply.sequence);
      }
    }
    end(sessions_.front());
  }
  guests_.clear();
  reactor_.remove_poller(*this);
}

// --- Attaching -----------------------------------------------------------------------------------

bool Door::watch(Source& source, std::uint32_t events) const {
  epoll_event event{};
  event.events = events;
  event.data.ptr = &source;
  return epoll_ctl(events_.get(), EPOLL_CTL_ADD, source.fd.get(), &event) == 0;
}

void Door::unwatch(const Source& source) const {
  if (!source.fd.is_open()) {
    return;
  }
  epoll_ctl(events_.get(), EPOLL_CTL_DEL, source.fd.get(), nullptr);
}

bool Door::handle_events() {
  passes_since_events_ = 0;
  // One at a time: handling one may end what another belongs to.
  epoll_event event{};
  int handled = 0;
  while (handled < kMostEvents && epoll_wait(events_.get(), &event, 1, 0) == 1) {
    handle(*static_cast<Source*>(event.data.ptr));
    ++handled;
  }
  return handled > 0;
}

void Door::handle(Source& source) {
  switch (source.kind) {
    case Source::Kind::kListener:
      return let_in();
    case Source::Kind::kGuest:
      return hear(*static_cast<Guest*>(source.owner));
    case Source::Kind::kSession:
      unwatch(source);
      return on_trigger(*static_cast<Member*>(source.owner));
  }
}

void Door::let_in() {
  bool has_room = has_free_descriptors(kSpareDescriptors);
  bool is_room_coming = (!has_room || sessions_.size() >= config_.most_sessions) &&
                        std::ranges::any_of(sessions_, [now = mono_now()](const Member& one) {
                          return one.is_ending && now - one.ending_since < kSoonOver;
                        });
  if (is_room_coming) {  // who is at the door waits
    unwatch(listener_);
    return reactor_.arm(pause_, mono_now() + kPauseWithoutDescriptors);
  }
  Fd socket(accept4(listener_.fd.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!socket.is_open()) {
    if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
      unwatch(listener_);
      reactor_.arm(pause_, mono_now() + kPauseWithoutDescriptors);
    }
    return;
  }
  if (!has_room) {  // the network turns it away in time, too
    ++stats_.refused;
    return;
  }
  Result<PeerIdentity> peer = accepted_peer(socket.get(), geteuid());
  if (!peer) {
    ++stats_.refused;
    return;
  }
  if (guests_.size() >= config_.most_unattached) {
    ++stats_.dropped;
    drop(guests_.front());
  }
  Guest& guest = guests_.emplace_back();
  guest.self = std::prev(guests_.end());
  guest.door = this;
  guest.peer = *peer;
  guest.socket = {.kind = Source::Kind::kGuest, .fd = std::move(socket), .owner = &guest};
  if (!watch(guest.socket, EPOLLIN)) {
    return drop(guest);
  }
  reactor_.arm(guest, mono_now() + config_.patience);
}

void Door::Pause::on_timer() {
  if (!door->watch(door->listener_, EPOLLIN)) {
    door->reactor_.arm(*this, mono_now() + kPauseWithoutDescriptors);
  }
}

void Door::Guest::on_timer() {
  ++door->stats_.dropped;
  door->drop(*this);
}

void Door::drop(Guest& guest) {
  unwatch(guest.socket);
  guests_.erase(guest.self);
}

Errc Door::check(const AttachRequest& request) const {
  if (request.version != kDoorVersion) {
    return Errc::kVersion;
  }
  if (request.run_id != config_.run_id || request.shard != config_.shard) {
    return Errc::kStaleRun;
  }
  if ((request.flags & ~kWantsSlots) != 0 ||
      !SessionShape{request.lanes, request.area_bytes}.is_valid()) {
    return Errc::kMalformed;
  }
  return sessions_.size() < config_.most_sessions ? Errc::kOk : Errc::kLimit;
}

void Door::refuse(Guest& guest, Errc why) {
  if (guest.socket.fd.is_open()) {
    (void)answer_attach(guest.socket.fd.get(),
                        {.status = static_cast<std::uint32_t>(why), .run_id = config_.run_id},
                        {});
  }
}

void Door::hear(Guest& guest) {
  Result<AttachRequest> request = receive_attach(guest.socket.fd.get());
  if (!request && request.error().code == Errc::kNotReady) {
    return;
  }
  if (!request) {
    ++(request.error().code == Errc::kDisconnected ? stats_.dropped : stats_.refused);
  } else if (Errc refusal = check(*request); refusal != Errc::kOk) {
    ++stats_.refused;
    refuse(guest, refusal);
  } else if (Status attached = attach(guest, *request); !attached) {
    BENCHFS_LOG(kWarn, "a program did not get in: {}", attached.error().message());
    ++stats_.refused;
    refuse(guest, attached.error().code);
  }
  drop(guest);
}

// Through the socket also a process of another PID namespace, which has no number here.
Fd Door::open_process(const Guest& guest) const {
  int process = -1;
  socklen_t size = sizeof process;
  if (!config_.sees_processes) {
    return Fd();
  }
  if (getsockopt(guest.socket.fd.get(), SOL_SOCKET, SO_PEERPIDFD, &process, &size) != 0 &&
      guest.peer.pid != 0) {
    process = static_cast<int>(::syscall(SYS_pidfd_open, guest.peer.pid, 0));
  }
  return Fd(process);
}

Status Door::attach(Guest& guest, const AttachRequest& request) {
  bool has_slots = (request.flags & kWantsSlots) != 0 && config_.slots >= 0;
  SessionShape shape{.lanes = std::min(request.lanes, config_.most.lanes),
                     .area_bytes = std::min(request.area_bytes, config_.most.area_bytes),
                     .has_slots = has_slots};
  BENCHFS_TRY(std::unique_ptr<ServerSession> session,
              ServerSession::create(*this, shape, guest.peer, next_number_));
  Fd process = open_process(guest);
  unwatch(guest.socket);
  Member& member = sessions_.emplace_back();
  member.self = std::prev(sessions_.end());
  member.session = std::move(session);
  member.session->member_ = &member;
  member.socket = {
      .kind = Source::Kind::kSession, .fd = std::move(guest.socket.fd), .owner = &member};
  AttachReply reply{.lanes = shape.lanes, .area_bytes = shape.area_bytes, .run_id = config_.run_id};
  if (!watch(member.socket, EPOLLRDHUP)) {
    int error = errno;
    sessions_.erase(member.self);
    return fail_system(error, "watching a program's socket");
  }
  member.process = {.kind = Source::Kind::kSession, .fd = std::move(process), .owner = &member};
  if (member.process.fd.is_open()) {
    watch(member.process, EPOLLIN);
  } else {
    try_silent_.begin();
  }
  ++next_number_;
  ++stats_.attached;
  fill_random(reply.challenge);
  member.session->challenge_ = reply.challenge;
  std::array<int, 4> descriptors{
      page_memory_.fd.get(), member.session->memory_->get(), config_.slots, config_.slot_states};
  if (has_slots) {
    reply.slot_bytes = config_.slot_bytes;
    member.session->fills_.resize(wire::kMaxLoans);
  }
  // If it is gone, its socket says so.
  (void)answer_attach(
      member.socket.fd.get(), reply, std::span(descriptors).first(has_slots ? 4 : 2));
  look_again_.begin();  // its first ring may be its last, and not be heard
  return {};
}

// --- Calls ---------------------------------------------------------------------------------------

bool Door::poll() {
  page_->progress.store(++progress_, std::memory_order_relaxed);
  if (is_marked_idle_) {
    is_marked_idle_ = false;
    for (ServerLane* lane : hot_) {
      lane->memory_->ssleep.store(0, std::memory_order_relaxed);
    }
  }
  bool worked = false;
  if (is_open_ && bell_->take_rung()) {
    ++stats_.rings;
    look_again_.begin();
    worked |= answer_rings();
  }
  worked |= look_at_hot();
  for (int i = 1; i < kLooksForRequests && !worked && hot_.size() <= kFewLanes; ++i) {
    worked = std::ranges::any_of(hot_, &is_asking) && look_at_hot();
  }
  if (++passes_since_events_ >= kEventsEvery) {
    worked |= handle_events();
  }
  return worked;
}

bool Door::prepare_to_sleep() {
  for (ServerLane* lane : hot_) {
    if (!lane->in_service_) {
      lane->memory_->ssleep.store(1, std::memory_order_relaxed);
    }
  }
  is_marked_idle_ = true;
  passes_since_events_ = kEventsEvery;
  at_step(Step::kMarkedIdle);
  // Either a client sees that it must ring, or we see its request.
  full_fence();
  if (is_open_ && bell_->is_rung()) {
    return false;
  }
  return std::ranges::none_of(hot_, &is_asking);
}

bool Door::is_asking(const ServerLane* lane) {
  return !lane->in_service_ && lane->has_request();
}

bool Door::look_at_hot() {
  bool worked = false;
  for (std::size_t i = 0; i < hot_.size();) {
    ServerLane* lane = hot_[i];
    worked |= look(*lane);
    i += i < hot_.size() && hot_[i] == lane ? 1 : 0;  // a lane that is cold has left its place
  }
  return worked;
}

bool Door::look(ServerLane& lane) {
  if (lane.in_service_) {
    return false;
  }
  if (lane.has_request()) {
    serve(lane);
    return true;
  }
  if (++lane.quiet_ > kQuietLooks / hot_.size()) {
    make_cold(lane);
  }
  return false;
}

void Door::serve(ServerLane& lane) {
  lane.quiet_ = 0;
  lane.in_service_ = true;
  ++lane.session_->in_service_;
  ++lane.session_->calls_;
  ++stats_.calls;
  Status taken = lane.take(long_header_);
  at_step(Step::kRequestCopied);
  if (taken) {
    handler_.on_call(lane);
  } else {
    if (taken.error().code == Errc::kMalformed) {
      ++stats_.malformed;
    } else {
      BENCHFS_LOG(kWarn, "a call of a program was refused: {}", taken.error().message());
    }
    lane.refuse(taken.error().code);
  }
}

void Door::make_hot(ServerLane& lane) {
  lane.is_hot_ = true;
  lane.quiet_ = 0;
  lane.memory_->ssleep.store(0, std::memory_order_relaxed);
  hot_.push_back(&lane);
}

void Door::make_cold(ServerLane& lane) {
  lane.memory_->ssleep.store(1, std::memory_order_relaxed);
  full_fence();
  if (lane.has_request()) {
    lane.memory_->ssleep.store(0, std::memory_order_relaxed);
    return;
  }
  lane.is_hot_ = false;
  auto place = std::ranges::find(hot_, &lane);
  *place = hot_.back();
  hot_.pop_back();
}

void Door::LookAgain::begin() {
  after = kFirstLookAgain;
  door->reactor_.arm(*this, mono_now_coarse() + after);
}

void Door::LookAgain::on_timer() {
  door->answer_rings();
  after *= kLookAgainFactor;
  if (after <= kLastLookAgain) {
    door->reactor_.arm(*this, mono_now() + after);
  }
}

bool Door::answer_rings() {
  bool worked = false;
  for (Member& member : sessions_) {
    ServerSession& session = *member.session;
    if (!session.is_mapped()) {
      continue;
    }
    std::uint32_t bell = session.view_.head().bell.load(std::memory_order_acquire);
    if (bell != session.bell_) {
      session.bell_ = bell;
      worked |= look_at(session);
    }
  }
  return worked;
}

bool Door::look_at(ServerSession& session) {
  bool worked = false;
  for (ServerLane& lane : session.lanes_) {
    if (is_asking(&lane)) {
      if (!lane.is_hot_) {
        make_hot(lane);
      }
      serve(lane);
      worked = true;
    }
  }
  return worked;
}

// A program that does not read them has enough of them to be awake.
void Door::announce(const ServerSession& session) const {
  char byte = 0;
  (void)::send(static_cast<Member*>(session.member_)->socket.fd.get(),
               &byte,
               1,
               MSG_DONTWAIT | MSG_NOSIGNAL);
}

void Door::on_answered(ServerLane& lane) {
  if (--lane.session_->in_service_ == 0) {
    static_cast<Member*>(lane.session_->member_)->idle.set();
  }
}

// --- The end of a session ------------------------------------------------------------------------

bool Door::has_died(const Member& member) {
  pollfd process{.fd = member.process.fd.get(), .events = POLLIN, .revents = 0};
  return member.process.fd.is_open() && ::poll(&process, 1, 0) == 1;
}

void Door::on_trigger(Member& member) {
  if (!member.is_dead && has_died(member)) {
    member.is_dead = true;
    handler_.on_death(*member.session);
  }
  if (!member.is_ending) {
    member.ending_since = mono_now();
    member.is_ending = true;
  }
  begin_proof(member);
}

void Door::begin_proof(Member& member) {
  if (!member.is_proving) {
    member.is_proving = scope_.spawn(prove_end(member));
  }
}

void Door::TrySilent::begin() {
  if (!is_armed()) {
    door->reactor_.arm(*this, mono_now() + kTrySilentEvery);
  }
}

// A program that has not yet called may not have mapped its memory: it has nothing either.
void Door::TrySilent::on_timer() {
  std::size_t tried = 0;
  bool is_needed = false;
  for (Member& member : door->sessions_) {
    ServerSession& session = *member.session;
    if (member.process.fd.is_open() || member.is_ending) {
      continue;
    }
    is_needed = true;
    if (session.number() <= up_to) {
      continue;
    }
    if (tried == kMostTried) {
      return begin();
    }
    bool is_silent = std::exchange(member.calls_seen, session.calls_) == session.calls_;
    if (is_silent && session.calls_ > 0) {
      door->begin_proof(member);
      ++tried;
    }
    up_to = session.number();
  }
  up_to = 0;
  if (is_needed) {
    begin();
  }
}

rt::Task<void> Door::prove_end(Member& member) {
  ServerSession& session = *member.session;
  rt::CancelSource& cancel = scope_.cancel_source();
  Backoff pause(kFirstProof, kLongestProof);
  while (!cancel.is_cancelled()) {
    if (session.in_service() > 0) {
      handler_.on_trigger(session);
    }
    if (session.in_service() > 0 && !member.is_ending) {
      break;
    }
    if (session.in_service() > 0) {
      member.idle.reset();
      (void)co_await member.idle.wait(Deadline::never(), &cancel);
      continue;
    }
    if (session.is_mapped()) {
      // Sent, but the client did not live to ring; or since the last pass over the hot lanes.
      if (look_at(session)) {
        if (!member.is_ending) {
          break;
        }
        continue;
      }
      cool(session);
      session.unmap();
    }
    at_step(Step::kUnmapped);
    if (WriterProof proof = co_await try_to_prove(session); proof != WriterProof::kSomebody) {
      session.has_died_ = member.process.fd.is_open()
                              ? co_await wait_for_death(member)
                              : proof == WriterProof::kNobody && session.was_here();
      end(member);
      co_return;
    }
    if (cancel.is_cancelled()) {  // the proof may have come all the same
      co_return;
    }
    if (Status mapped = session.map(); !mapped) {
      BENCHFS_LOG(kWarn, "a program cannot be served: {}", mapped.error().message());
    } else {
      full_fence();
      look_at(session);
    }
    if (!member.is_ending && session.is_mapped()) {
      break;
    }
    (void)co_await rt::sleep_for(pause.next(), &cancel);
  }
  member.is_proving = false;
}

rt::Task<WriterProof> Door::try_to_prove(ServerSession& session) {
  std::shared_ptr<const Fd> memory = session.memory_;
  Result<WriterProof> proof =
      co_await pool_.run<WriterProof>([memory] { return prove_no_writer(memory->get()); },
                                      Deadline::after(kProofDeadline),
                                      &scope_.cancel_source());
  co_return proof ? *proof : WriterProof::kSomebody;
}

rt::Task<bool> Door::wait_for_death(Member& member) {
  Deadline patience = Deadline::after(kDeathPatience);
  while (member.process.fd.is_open()) {
    if (has_died(member)) {
      co_return true;
    }
    if (patience.passed() ||
        co_await rt::sleep_for(kFirstProof, &scope_.cancel_source()) == rt::Wake::kCancelled) {
      break;
    }
  }
  co_return false;
}

link::CopyTotals Door::copies() const {
  link::CopyTotals totals = ended_copies_;
  for (const Member& member : sessions_) {
    totals.add(member.session->copies());
  }
  return totals;
}

// No lane is looked at any more; who calls rings.
void Door::cool(ServerSession& session) {
  for (ServerLane& lane : session.lanes_) {
    lane.memory_->ssleep.store(1, std::memory_order_relaxed);
    lane.is_hot_ = false;
  }
  std::erase_if(hot_, [&](const ServerLane* lane) { return lane->session_ == &session; });
}

void Door::end(Member& member) {
  BENCHFS_CHECK(member.session->in_service() == 0);
  // Closing is not enough while a child of fork has the descriptor too.
  unwatch(member.socket);
  unwatch(member.process);
  handler_.on_session_end(*member.session);
  member.session->end_loans();
  ended_copies_.add(member.session->copies());
  ++stats_.ended;
  sessions_.erase(member.self);
}

}  // namespace benchfs::door
