#include "door/client_session.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <ctime>

#include "base/backoff.h"
#include "base/check.h"
#include "base/cpu_relax.h"
#include "base/futex.h"
#include "base/log.h"
#include "door/steps.h"

namespace benchfs::door {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

// Looks at the reply between two looks at the shard's progress.
constexpr std::uint32_t kLooks = 128;
// The first looks, about a microsecond, do not pause: the reply is on its way.
constexpr std::uint32_t kBusyLooks = 64;
// A shard that makes progress for this long without an answer has work that takes time.
constexpr Nanos kLongestSpin = microseconds(100);
constexpr Nanos kLongestYield = microseconds(100);
// One sleep; then the shard's life is looked at, and it is rung again.
constexpr Nanos kFirstSleep = milliseconds(1);
constexpr Nanos kLongestSleep = milliseconds(100);

std::unexpected<Error> gone() {
  return fail(Errc::kDisconnected, "the node's daemon is gone, or this is a child of fork");
}

}  // namespace

Result<std::shared_ptr<const SharedPage>> SharedPage::map(int fd) {
  auto page = std::make_shared<SharedPage>();
  BENCHFS_TRY(page->mark_, ForkMark::create());
  BENCHFS_TRY(page->mapping_, map_received(fd, sizeof(ShardPage), Mapping::Access::kRead));
  return page;
}

SharedPage::~SharedPage() {
  if (!mark_.is_set()) {
    mapping_.abandon();
  }
}

// --- Session -------------------------------------------------------------------------------------

Result<std::unique_ptr<ClientSession>> ClientSession::attach(const AttachOptions& options,
                                                             Deadline deadline) {
  BENCHFS_TRY(DoorDirectory directory, DoorDirectory::open(options.run_id, options.base));
  for (;;) {
    Result<Attachment> attachment = Attachment::begin(directory, options);
    if (attachment) {
      BENCHFS_TRY_VOID(wait_for_answer(attachment->socket(), deadline));
      return attachment->finish();
    }
    if (attachment.error().code != Errc::kBusy || deadline.passed()) {
      return std::unexpected(std::move(attachment.error()));
    }
    ::poll(nullptr, 0, kPauseAtTheDoor / milliseconds(1));
  }
}

Result<Attachment> Attachment::begin(const DoorDirectory& directory, const AttachOptions& options) {
  BENCHFS_TRY(Fd socket, directory.connect(options.shard));
  BENCHFS_TRY_VOID(send_attach(socket.get(),
                               {.run_id = options.run_id,
                                .shard = options.shard,
                                .lanes = options.wanted.lanes,
                                .area_bytes = options.wanted.area_bytes,
                                .flags = options.wants_slots ? kWantsSlots : 0U}));
  return Attachment(std::move(socket));
}

Result<std::unique_ptr<ClientSession>> Attachment::finish() {
  BENCHFS_TRY(AttachAnswer answer, receive_answer(socket_.get()));
  std::unique_ptr<ClientSession> session(new ClientSession());  // lint: allow new private
  SessionShape shape{.lanes = answer.reply.lanes,
                     .area_bytes = answer.reply.area_bytes,
                     .has_slots = answer.reply.slot_bytes != 0};
  BENCHFS_TRY(session->page_, SharedPage::map(answer.page.get()));
  BENCHFS_TRY(session->memory_,
              map_received(answer.memory.get(), shape.bytes(), Mapping::Access::kReadWrite));
  session->view_ = SessionView(session->memory_.data(), shape);
  session->view_.head().is_here.store(1, std::memory_order_relaxed);
  session->challenge_ = answer.reply.challenge;
  session->room_ = shape.area_bytes / shape.lanes / kLine * kLine;
  BENCHFS_TRY(session->socket_, OwnDescriptor::create(std::move(socket_)));
  if (answer.reply.slot_bytes != 0) {
    auto slots = ClientSlots::create(
        *session, std::move(answer.slots), answer.slot_states, answer.reply.slot_bytes);
    if (slots) {
      session->slots_ = *std::move(slots);
    } else {  // such as under a limit of address space: data goes through the lanes
      BENCHFS_LOG(kInfo, "chunks are not shared: {}", slots.error().message());
    }
  }
  at_step(Step::kAttached);
  return session;
}

ClientSession::~ClientSession() {
  if (page_ == nullptr) {  // it was not made
    return;
  }
  if (page_->is_there()) {
    BENCHFS_CHECK((taken_.load() & ~left_.load()) == 0);
    slots_.reset();  // while the memory is mapped nobody else gets what is filled here
    if (memory_.is_mapped()) {
      view_.head().is_here.store(0, std::memory_order_release);
    }
    memory_ = Mapping();  // before the socket tells the shard to look
  } else {                // nothing is mapped here
    if (slots_ != nullptr) {
      slots_->abandon();
    }
    memory_.abandon();
  }
}

void ClientSession::end(std::unique_ptr<ClientSession> session) {
  if (session->slots_ == nullptr || !session->is_mapped()) {  // a child of fork copies nothing
    return;
  }
  // Who copies may have to wait for memory of its own, for ever: the shard learns of the end now,
  // and its memory is proven free when the copy is over.
  if (session->slots_->is_copied() && session->socket_.is_ours()) {
    ::shutdown(session->socket_.get(), SHUT_RDWR);
  }
  if (session->slots_->leave_to_copiers()) {
    (void)session.release();
  }
}

ClientSession::Life ClientSession::look_at_shard() {
  if (!is_attached()) {
    return Life::kGone;
  }
  bool is_ours = socket_.is_ours();
  // Announcements that nobody has read hide the end from recv().
  // Not by poll(), at which a thread is cancelled.
  pollfd end{.fd = socket_.get(), .events = POLLRDHUP, .revents = 0};
  timespec at_once{};
  auto has_ended = [&] { return ::syscall(SYS_ppoll, &end, 1, &at_once, nullptr, 0) == 1; };
  if (page().bell.load(std::memory_order_acquire) != 0 || (is_ours && has_ended())) {
    is_gone_.store(true, std::memory_order_relaxed);
    return Life::kGone;
  }
  return is_ours ? Life::kThere : Life::kUnknown;
}

bool ClientSession::drain_socket() {
  if (!socket_.is_ours()) {
    return true;  // nobody tells us any more; who looks at the lanes still sees the replies
  }
  char byte = 0;
  ssize_t got = 0;
  do {
    got = ::recv(socket_.get(), &byte, 1, MSG_DONTWAIT);  // one announcement
  } while (got > 0);
  if (got == 0 || page().bell.load(std::memory_order_acquire) != 0) {
    is_gone_.store(true, std::memory_order_relaxed);
    return false;
  }
  return true;
}

bool ClientSession::claim(std::uint32_t index) {
  std::uint64_t bit = std::uint64_t{1} << index;
  if ((taken_.fetch_or(bit, std::memory_order_acquire) & bit) == 0) {
    return true;
  }
  // Taken: by a thread, or by a call that was given up and may have ended.
  if ((left_.load(std::memory_order_relaxed) & bit) == 0 ||
      (left_.fetch_and(~bit, std::memory_order_acquire) & bit) == 0) {
    return false;
  }
  Private& lane = lanes_[index];
  if (view_.lane(index).reply.sequence.load(std::memory_order_acquire) != lane.sequence) {
    left_.fetch_or(bit, std::memory_order_release);
    return false;
  }
  lane.is_outstanding = false;
  return true;
}

Result<ClientLane> ClientSession::take_lane() {
  if (!is_attached()) {
    return gone();
  }
  for (std::uint32_t i = 0; i < shape().lanes; ++i) {
    bool may_be_free = ((taken_.load(std::memory_order_relaxed) >> i) & 1) == 0 ||
                       ((left_.load(std::memory_order_relaxed) >> i) & 1) != 0;
    if (may_be_free && claim(i)) {
      at_step(Step::kLaneTaken);
      return ClientLane(*this, i);
    }
  }
  return fail(Errc::kBusy, "every lane to the node's daemon is taken");
}

void ClientSession::give_back(ClientLane& lane) {
  std::uint64_t bit = std::uint64_t{1} << lane.index_;
  if (lanes_[lane.index_].is_outstanding) {
    left_.fetch_or(bit, std::memory_order_release);
  } else {
    taken_.fetch_and(~bit, std::memory_order_release);
  }
}

// --- Lane ----------------------------------------------------------------------------------------

ClientLane::~ClientLane() {
  if (session_ != nullptr) {
    session_->give_back(*this);
  }
}

const std::byte* ClientLane::far() const {
  return session_->view_.area() + index_ * session_->room_;
}

Status ClientLane::send(const Message& message) {
  ClientSession::Private& own = session_->lanes_[index_];
  BENCHFS_CHECK(!own.is_outstanding && message.id != 0);
  if (!session_->is_attached()) {
    return gone();
  }
  const Parts parts(message.header.size(), message.data.size());
  if (message.header.size() > wire::kMaxForwardedBytes || parts.far() > session_->room_)
      [[unlikely]] {
    return fail(Errc::kLimit,
                fmt::format("a request of {} and {} bytes for a lane with room for {}",
                            message.header.size(),
                            message.data.size(),
                            session_->room_));
  }
  if (parts.far() > own.backed) [[unlikely]] {
    BENCHFS_TRY_VOID(back(session_->memory_,
                          session_->view_.shape().area_offset() + index_ * session_->room_,
                          parts.far()));
    own.backed = static_cast<std::uint32_t>(parts.far());
  }
  LaneMessage& request = memory().request;
  MessageFrame frame{.id = message.id,
                     .header_bytes = static_cast<std::uint16_t>(message.header.size()),
                     .far_offset = index_ * session_->room_,
                     .far_bytes = session_->room_,
                     .data_bytes = static_cast<std::uint32_t>(message.data.size()),
                     .order = message.order};
  if (parts.far() > 0) {
    std::byte* far = session_->view_.area() + frame.far_offset;
    put(far, message.header.data() + parts.near_header, parts.far_header);
    put(far + parts.far_header, message.data.data(), parts.far_data);
  }
  put_lines(
      request, frame, message.header.first(parts.near_header), message.data.first(parts.near_data));
  at_step(Step::kRequestWritten);
  own.is_outstanding = true;
  request.sequence.store(++own.sequence, std::memory_order_release);
  at_step(Step::kSequenceStored);
  // Either the shard sees the request before it sleeps, or we see that it sleeps.
  full_fence();
  at_step(Step::kFenced);
  if (memory().ssleep.load(std::memory_order_relaxed) != 0) {
    ring();
  }
  at_step(Step::kSent);
  return {};
}

void ClientLane::ring() {
  session_->view_.head().bell.fetch_add(1, std::memory_order_seq_cst);
  at_step(Step::kBellRaised);
  futex_wake(session_->page().bell);
}

void ClientLane::ring_again() {
  if (!has_reply() && memory().ssleep.load(std::memory_order_relaxed) != 0) {
    ring();
  }
}

Result<Reply> ClientLane::receive(std::span<std::byte> header,
                                  std::span<std::byte> data,
                                  Deadline deadline) {
  BENCHFS_CHECK(is_outstanding());
  if (!session_->page_->is_there()) {
    return gone();
  }
  BENCHFS_TRY_VOID(wait(deadline));
  BENCHFS_TRY(Reply reply, receive_header(header));
  if (reply.data_bytes > data.size()) {
    finish();
    return fail(Errc::kLimit, "a reply is longer than expected");
  }
  copy_data(reply, data.first(reply.data_bytes));
  finish();
  return reply;
}

Result<Reply> ClientLane::receive_header(std::span<std::byte> header) {
  at_step(Step::kReplySeen);
  const LaneMessage& reply = memory().reply;
  MessageFrame frame;
  copy_once(&frame, &reply.frame, sizeof frame);
  const Parts parts(frame.header_bytes, frame.data_bytes);
  if (frame.header_bytes > wire::kMaxForwardedBytes || parts.far() > session_->room_) {
    finish();
    return fail(Errc::kMalformed, "a reply of the node's daemon");
  }
  if (frame.id == 0) {
    std::uint16_t code = 0;
    copy_once(&code, reply.near, sizeof code);
    finish();
    return fail(static_cast<Errc>(code), "the node door refused a call");
  }
  if (frame.header_bytes > header.size()) {
    finish();
    return fail(Errc::kLimit, "a reply is longer than expected");
  }
  copy_once(header.data(), reply.near, parts.near_header);
  copy_once(header.data() + parts.near_header, far(), parts.far_header);
  return Reply{.id = frame.id, .header_bytes = frame.header_bytes, .data_bytes = frame.data_bytes};
}

void ClientLane::copy_data(const Reply& reply, std::span<std::byte> into) const {
  BENCHFS_CHECK(into.size() == reply.data_bytes);
  const Parts parts(reply.header_bytes, reply.data_bytes);
  copy_once(into.data(), memory().reply.near + parts.near_header, parts.near_data);
  copy_once(into.data(), far() + parts.far_header, parts.far_data);
}

void ClientLane::finish() {
  session_->lanes_[index_].is_outstanding = false;
  at_step(Step::kReplyCopied);
}

void ClientLane::announce_on_socket(bool wanted) {
  memory().csleep.store(wanted ? kAsleepOnSocket : kAwake, std::memory_order_relaxed);
  if (wanted) {
    at_step(Step::kMarkedAsleep);
    full_fence();
  }
}

Status ClientLane::wait(Deadline deadline) {
  std::uint64_t progress = 0;
  MonoTime since{};  // the first look at the clock
  MonoTime stood{};  // since when the shard makes no progress; 0: it makes some
  for (std::uint32_t looks = 1; !has_reply(); ++looks) {
    if (looks < kBusyLooks) {
      continue;
    }
    if (looks % kLooks != 0) {
      cpu_relax();
      continue;
    }
    MonoTime now = mono_now();
    since = since == MonoTime{} ? now : since;
    std::uint64_t seen = session_->progress();
    if (seen != progress) {
      progress = seen;
      stood = MonoTime{};
    } else {
      stood = stood == MonoTime{} ? now : stood;
      sched_yield();
    }
    bool is_stuck = stood != MonoTime{} && now - stood >= kLongestYield;
    if (is_stuck || now - since >= kLongestSpin + kLongestYield || deadline.passed(now)) {
      return sleep(deadline);
    }
  }
  return {};
}

Status ClientLane::sleep(Deadline deadline) {
  LaneMemory& lane = memory();
  Backoff pause(kFirstSleep, kLongestSleep);
  Status ended;
  lane.csleep.store(kAsleepOnReply, std::memory_order_relaxed);
  at_step(Step::kMarkedAsleep);
  // Either we see the reply, or the shard sees that we sleep.
  full_fence();
  while (!has_reply()) {
    if (!session_->check_shard()) {
      // It may have answered before it went.
      ended = has_reply() ? Status{} : gone();
      break;
    }
    MonoTime now = mono_now();
    if (deadline.passed(now)) {
      ended = fail(Errc::kDeadline, "the node's daemon has not answered");
      break;
    }
    if (lane.ssleep.load(std::memory_order_relaxed) != 0) {
      ring();  // again: the watch on the bell may have been between two waits
    }
    std::uint32_t old = lane.reply.sequence.load(std::memory_order_acquire);
    if (old == session_->lanes_[index_].sequence) {
      break;
    }
    at_step(Step::kBeforeSleep);
    futex_wait(lane.reply.sequence, old, std::min(pause.next(), deadline.remaining(now)));
  }
  lane.csleep.store(kAwake, std::memory_order_relaxed);
  return ended;
}

}  // namespace benchfs::door
