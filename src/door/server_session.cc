#include "door/server_session.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>

#include "base/check.h"
#include "base/futex.h"
#include "door/door.h"
#include "door/steps.h"

namespace benchfs::door {
namespace {

// More than any core copies.
constexpr std::uint64_t kMostBytesInNano = 1024;

// What a program says of the copies of one of its threads in `age`; nothing if that cannot be.
link::CopyTotals believable(const CopyCounts& counts, Nanos age) {
  link::CopyTotals said{
      .reads = counts.reads.load(std::memory_order_relaxed),
      .bytes_read = counts.bytes_read.load(std::memory_order_relaxed),
      .overwrites = counts.overwrites.load(std::memory_order_relaxed),
      .bytes_overwritten = counts.bytes_overwritten.load(std::memory_order_relaxed)};
  auto nanos = static_cast<std::uint64_t>(age.count());
  bool can_be = std::max(said.reads, said.overwrites) <= nanos &&
                std::max(said.bytes_read, said.bytes_overwritten) <= nanos * kMostBytesInNano;
  return can_be ? said : link::CopyTotals{};
}

}  // namespace

Status ServerLane::take(std::span<std::byte, wire::kMaxForwardedBytes> long_header) {
  // The acquire that orders what follows after the client's stores.
  sequence_ = memory_->request.sequence.load(std::memory_order_acquire);
  const LaneMessage& request = memory_->request;
  copy_once(&frame_, &request.frame, sizeof frame_);
  const SessionShape& shape = session_->shape_;
  std::uint64_t far_end = std::uint64_t{frame_.far_offset} + frame_.far_bytes;
  const Parts parts(frame_.header_bytes, frame_.data_bytes);
  if (frame_.header_bytes > wire::kMaxForwardedBytes || far_end > shape.area_bytes ||
      parts.far() > frame_.far_bytes) [[unlikely]] {
    frame_.far_bytes = 0;  // nothing of it is used
    return fail(Errc::kMalformed, "");
  }
  if (Status backed = back_range(parts.far()); !backed) [[unlikely]] {
    frame_.far_bytes = 0;
    return backed;
  }
  copy_once(near_.data(), request.near, parts.near_header + parts.near_data);
  header_ = std::span(near_).first(parts.near_header);
  if (parts.far_header > 0) {
    std::memcpy(long_header.data(), near_.data(), parts.near_header);
    copy_once(long_header.data() + parts.near_header,
              session_->view_.area() + frame_.far_offset,
              parts.far_header);
    header_ = std::span(long_header).first(frame_.header_bytes);
  }
  return {};
}

Status ServerLane::back_range(std::size_t bytes) {
  std::size_t begin = frame_.far_offset;
  std::size_t end = begin + bytes;
  if (bytes == 0 || (begin >= backed_begin_ && end <= backed_end_)) {
    return {};
  }
  BENCHFS_TRY_VOID(back(session_->memory_->get(), session_->shape_.area_offset() + begin, bytes));
  bool is_longer = begin <= backed_end_ && end >= backed_begin_;
  backed_begin_ = is_longer ? std::min(begin, backed_begin_) : begin;
  backed_end_ = is_longer ? std::max(end, backed_end_) : end;
  return {};
}

void ServerLane::copy_data(std::span<std::byte> into) const {
  BENCHFS_CHECK(in_service_ && into.size() == frame_.data_bytes);
  const Parts parts(frame_.header_bytes, frame_.data_bytes);
  put(into.data(), near_.data() + parts.near_header, parts.near_data);
  copy_once(
      into.data(), session_->view_.area() + frame_.far_offset + parts.far_header, parts.far_data);
}

std::size_t ServerLane::room_for_data(std::size_t header_bytes) const {
  const Parts header(header_bytes, 0);
  std::size_t far = frame_.far_bytes - std::min<std::size_t>(frame_.far_bytes, header.far_header);
  return std::max(far, kNearBytes - header.near_header);
}

Status ServerLane::answer(std::uint16_t id,
                          std::span<const std::byte> header,
                          std::span<const std::byte> data) {
  BENCHFS_CHECK(in_service_);
  const Parts parts(header.size(), data.size());
  if (header.size() > wire::kMaxForwardedBytes || parts.far() > frame_.far_bytes) [[unlikely]] {
    return fail(Errc::kLimit, "a reply is longer than its lane has room for");
  }
  BENCHFS_TRY_VOID(back_range(parts.far()));
  MessageFrame frame{.id = id,
                     .header_bytes = static_cast<std::uint16_t>(header.size()),
                     .far_offset = frame_.far_offset,
                     .far_bytes = static_cast<std::uint32_t>(parts.far()),
                     .data_bytes = static_cast<std::uint32_t>(data.size())};
  if (parts.far() > 0) {
    std::byte* far = session_->view_.area() + frame_.far_offset;
    put(far, header.data() + parts.near_header, parts.far_header);
    put(far + parts.far_header, data.data(), parts.far_data);
  }
  put_lines(memory_->reply, frame, header.first(parts.near_header), data.first(parts.near_data));
  publish();
  return {};
}

void ServerLane::refuse(Errc code) {
  auto number = static_cast<std::uint16_t>(code);
  BENCHFS_CHECK(answer(0, std::as_bytes(std::span(&number, 1))).has_value());
}

void ServerLane::publish() {
  at_step(Step::kReplyWritten);
  in_service_ = false;
  memory_->reply.sequence.store(sequence_, std::memory_order_release);
  at_step(Step::kReplyPublished);
  // Either the client sees the reply before it sleeps, or we see that it is about to.
  full_fence();
  if (std::uint32_t sleep = memory_->csleep.load(std::memory_order_relaxed); sleep != kAwake) {
    if (sleep == kAsleepOnSocket) {
      session_->door_.announce(*session_);
    } else {
      futex_wake(memory_->reply.sequence);
    }
  }
  session_->door_.on_answered(*this);
}

Result<std::unique_ptr<ServerSession>> ServerSession::create(Door& door,
                                                             SessionShape shape,
                                                             PeerIdentity peer,
                                                             std::uint64_t number) {
  BENCHFS_TRY(SharedMemory memory, create_session_memory(shape.bytes(), shape.area_offset()));
  if (shape.has_slots) {
    BENCHFS_TRY_VOID(
        back(memory.fd.get(), shape.copiers_offset(), shape.bytes() - shape.copiers_offset()));
  }
  std::unique_ptr<ServerSession> session(
      new ServerSession(door, shape, peer, number));  // lint: allow new private constructor
  session->memory_ = std::make_shared<const Fd>(std::move(memory.fd));
  session->mapping_ = std::move(memory.mapping);
  session->view_ = SessionView(session->mapping_.data(), shape);
  for (std::uint32_t i = 0; i < shape.lanes; ++i) {
    ServerLane& lane = session->lanes_[i];
    lane.session_ = session.get();
    lane.memory_ = &session->view_.lane(i);
    lane.memory_->ssleep.store(1, std::memory_order_relaxed);  // its client has no memory yet
  }
  return session;
}

// --- A program that has the slots ----------------------------------------------------------------

// While the session's end is being proven its memory is not mapped here, and the program may still
// write to it.
void ServerSession::read_at(std::size_t offset, void* into, std::size_t bytes) const {
  ssize_t got = ::pread(memory_->get(), into, bytes, static_cast<off_t>(offset));
  BENCHFS_CHECK(got == static_cast<ssize_t>(bytes));
}

bool ServerSession::was_here() const {
  std::uint32_t word = 0;
  read_at(offsetof(SessionHead, is_here), &word, sizeof word);
  return word == 1;
}

template <typename Visit>
void ServerSession::look_at_copiers(Visit visit) const {
  if (is_mapped()) {
    for (std::uint32_t i = 0; i < wire::kMaxCopiers; ++i) {
      visit(view_.copier(i));
    }
    return;
  }
  std::array<CopierMemory, wire::kMaxCopiers> copiers;
  read_at(shape_.copiers_offset(), copiers.data(), sizeof copiers);
  std::ranges::for_each(copiers, visit);
}

std::unique_ptr<link::Loan>* ServerSession::write_loan(std::uint32_t place) {
  if (!shape_.has_slots || place >= wire::kMaxWriteLoans) {
    return nullptr;
  }
  write_loans_.resize(wire::kMaxWriteLoans);
  return &write_loans_[place];
}

bool ServerSession::is_writing(std::uint32_t slot) const {
  bool is_named = false;
  look_at_copiers([&](const CopierMemory& copier) {
    is_named |= copier.busy.load(std::memory_order_acquire) == std::uint64_t{slot} + 1;
  });
  return is_named;
}

std::int64_t ServerSession::written_at(std::uint32_t place) const {
  if (is_mapped()) {
    return view_.loan(place).written_at.load(std::memory_order_acquire);
  }
  std::int64_t at = 0;
  read_at(shape_.loans_offset() + place * sizeof(LoanMemory), &at, sizeof at);
  return at;
}

link::CopyTotals ServerSession::copies() const {
  link::CopyTotals totals;
  if (shape_.has_slots) {
    Nanos age = mono_now() - since_;
    look_at_copiers(
        [&](const CopierMemory& copier) { totals.add(believable(copier.counts, age)); });
  }
  return totals;
}

void ServerSession::end_loans() {
  fills_.clear();
  write_loans_.clear();
}

Status ServerSession::map() {
  BENCHFS_TRY(mapping_, Mapping::map(memory_->get(), shape_.bytes(), Mapping::Access::kReadWrite));
  view_ = SessionView(mapping_.data(), shape_);
  for (std::uint32_t i = 0; i < shape_.lanes; ++i) {
    lanes_[i].memory_ = &view_.lane(i);
  }
  return {};
}

void ServerSession::unmap() {
  BENCHFS_CHECK(in_service_ == 0);
  for (ServerLane& lane : lanes_) {
    lane.memory_ = nullptr;
  }
  view_ = SessionView();
  mapping_ = Mapping();
}

}  // namespace benchfs::door
