// A program's half of a session with a shard of its node.
//
// A thread takes a lane and calls; each has its own, so threads do not hand anything to each other.
// While the shard's progress word moves the reply is nanoseconds away and the caller spins; when it
// stands still it yields, then it sleeps on the reply. Nothing here needs a thread of its own, a
// signal, or a descriptor that must stay open.
//
// Over fork the child has no session: calls end with kDisconnected, and it attaches by itself.
// Thread: any.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include "base/error.h"
#include "base/fd.h"
#include "base/own_descriptor.h"
#include "door/attach.h"
#include "door/client_slots.h"
#include "door/layout.h"
#include "door/shared_memory.h"

namespace benchfs::door {

// Between two attempts to attach, when too many are at the door.
inline constexpr Nanos kPauseAtTheDoor = std::chrono::milliseconds(1);

struct Message {
  std::uint16_t id = 0;  // not 0
  std::span<const std::byte> header;
  std::span<const std::byte> data;
  std::uint32_t order = 0;  // see MessageFrame
};

struct Reply {
  std::uint16_t id = 0;
  std::size_t header_bytes = 0;
  std::size_t data_bytes = 0;
};

class ClientSession;

// The page of a shard in this process. In a child of fork it is not there, and not touched.
class SharedPage {
 public:
  // Errors: kMalformed, kSystem.
  static Result<std::shared_ptr<const SharedPage>> map(int fd);
  SharedPage() = default;
  SharedPage(const SharedPage&) = delete;
  SharedPage& operator=(const SharedPage&) = delete;
  ~SharedPage();

  [[nodiscard]] bool is_there() const { return mark_.is_set(); }
  [[nodiscard]] const ShardPage& operator*() const { return *data(); }
  [[nodiscard]] const ShardPage* operator->() const { return data(); }

 private:
  [[nodiscard]] const ShardPage* data() const {
    return reinterpret_cast<const ShardPage*>(mapping_.data());
  }
  ForkMark mark_;
  Mapping mapping_;
};

// A lane that this thread has. Destroyed with a call outstanding, the lane stays with the shard
// until its reply is there.
class ClientLane {
 public:
  ClientLane(ClientLane&& other) noexcept
      : session_(std::exchange(other.session_, nullptr)), index_(other.index_) {}
  ClientLane& operator=(ClientLane&&) = delete;
  ~ClientLane();

  // Sends a request; no call is outstanding. Copies what it is given.
  // Errors: kLimit (longer than a lane has room for), kSystem (the machine has no memory),
  // kDisconnected.
  Status send(const Message& message);
  // Whether the reply is there.
  [[nodiscard]] inline bool has_reply() const;
  // Waits for the reply and copies it. Errors: kDeadline (the call is still outstanding, and may be
  // executed); kDisconnected (likewise, but nobody will answer); kMalformed, kLimit (longer than
  // what is given to hold it); what the shard refused it with.
  Result<Reply> receive(std::span<std::byte> header, std::span<std::byte> data, Deadline deadline);

  // The same in parts, for who looks at many lanes: the header of a reply that is there; its data,
  // once; then the lane is free for the next call. Errors of the first as receive(), the lane is
  // free then.
  Result<Reply> receive_header(std::span<std::byte> header);
  void copy_data(const Reply& reply, std::span<std::byte> into) const;
  void finish();
  // Whether a reply that comes is announced by a byte on the session's socket. After `true` look
  // once more: the reply may have been there before.
  void announce_on_socket(bool wanted);

  // Rings again when the shard has not seen the call: a ring is lost if it comes while the shard's
  // thread that waits for one is just awake.
  void ring_again();

  [[nodiscard]] inline bool is_outstanding() const;
  [[nodiscard]] std::uint32_t index() const { return index_; }

 private:
  friend class ClientSession;
  friend class ClientLaneTestPeer;
  ClientLane(ClientSession& session, std::uint32_t index) : session_(&session), index_(index) {}
  [[nodiscard]] inline LaneMemory& memory() const;
  [[nodiscard]] const std::byte* far() const;  // the lane's part of the area
  Status wait(Deadline deadline);
  Status sleep(Deadline deadline);
  void ring();

  ClientSession* session_;
  std::uint32_t index_;
};

struct AttachOptions {
  std::uint64_t run_id = 0;
  std::uint32_t shard = 0;
  std::string base = {};  // as in DoorDirectory
  SessionShape wanted{.lanes = 8, .area_bytes = 8U << 20};
  bool wants_slots = false;
};

// Attaching without blocking: begin(), and finish() when the socket is readable.
class Attachment {
 public:
  // Errors: kBusy (too many are at the door: try again), and as ClientSession::attach().
  static Result<Attachment> begin(const DoorDirectory& directory, const AttachOptions& options);
  [[nodiscard]] int socket() const { return socket_.get(); }
  // Errors: kNotReady (no answer yet), and as ClientSession::attach(); it is over then.
  Result<std::unique_ptr<ClientSession>> finish();

 private:
  explicit Attachment(Fd socket) : socket_(std::move(socket)) {}
  Fd socket_;
};

class ClientSession {
 public:
  // Blocks until the deadline. Errors: kUnreachable, kRefused, kVersion, kStaleRun, kLimit and
  // others: this way is not open, and the text says why.
  static Result<std::unique_ptr<ClientSession>> attach(const AttachOptions& options,
                                                       Deadline deadline);
  ClientSession(const ClientSession&) = delete;
  ClientSession& operator=(const ClientSession&) = delete;
  // No lane is taken any more.
  ~ClientSession();

  // Errors: kBusy (all are taken), kDisconnected.
  Result<ClientLane> take_lane();
  // False in a child of fork, where nothing of it is mapped.
  [[nodiscard]] bool is_mapped() const { return page_->is_there(); }
  // The same, and once the shard is known to be gone: by any thread, before what it answered last
  // was looked at.
  [[nodiscard]] bool is_attached() const {
    return is_mapped() && !is_gone_.load(std::memory_order_relaxed);
  }
  // Looks whether the shard is there. Costs a system call or two.
  enum class Life : std::uint8_t {
    kThere,
    kGone,
    kUnknown,  // the program has closed the socket that would tell
  };
  Life look_at_shard();
  bool check_shard() { return look_at_shard() != Life::kGone; }

  // For poll(): readable when a reply was announced, or the shard is gone. May be another's by now.
  [[nodiscard]] int socket() const { return socket_.get(); }
  // Reads announcements. False: the shard is gone.
  bool drain_socket();

  // How often the shard has looked for messages; while it serves one it does not.
  [[nodiscard]] std::uint64_t progress() const {
    return page().progress.load(std::memory_order_relaxed);
  }
  // They may be kept for longer than the session.
  [[nodiscard]] std::shared_ptr<const wire::ValidityWords> validity_words() const {
    return {page_, &page().validity};
  }
  // That the shard told; once.
  [[nodiscard]] std::optional<wire::Challenge> take_challenge() {
    return std::exchange(challenge_, std::nullopt);
  }
  // Null where the shard shares none.
  [[nodiscard]] ClientSlots* slots() const { return slots_.get(); }
  // Ends it, or leaves that to threads that still copy.
  static void end(std::unique_ptr<ClientSession> session);
  // What the shard looks at of this program's own copies.
  [[nodiscard]] CopierMemory& copier(std::uint32_t number) { return view_.copier(number); }
  [[nodiscard]] LoanMemory& loan(std::uint32_t place) { return view_.loan(place); }

  [[nodiscard]] const SessionShape& shape() const { return view_.shape(); }
  // Bytes that a call may have beside its lane.
  [[nodiscard]] std::uint32_t room_of_lane() const { return room_; }

 private:
  friend class ClientLane;
  friend class ClientLaneTestPeer;
  friend class Attachment;

  // What no other process sees of a lane.
  struct alignas(kLine) Private {
    std::uint32_t sequence = 0;
    std::uint32_t backed = 0;  // bytes of its room that are there
    bool is_outstanding = false;
  };

  ClientSession() = default;
  [[nodiscard]] const ShardPage& page() const { return **page_; }
  bool claim(std::uint32_t index);
  void give_back(ClientLane& lane);

  std::shared_ptr<const SharedPage> page_;
  Mapping memory_;
  SessionView view_;
  std::unique_ptr<ClientSlots> slots_;
  std::optional<wire::Challenge> challenge_;
  std::uint32_t room_ = 0;
  OwnDescriptor socket_;
  std::atomic<bool> is_gone_{false};
  std::atomic<std::uint64_t> taken_{0};  // bit per lane
  std::atomic<std::uint64_t> left_{0};   // taken by nobody, with a call that was given up
  std::array<Private, kMaxLanes> lanes_{};
};

inline LaneMemory& ClientLane::memory() const {
  return session_->view_.lane(index_);
}

inline bool ClientLane::is_outstanding() const {
  return session_->lanes_[index_].is_outstanding;
}

inline bool ClientLane::has_reply() const {
  return memory().reply.sequence.load(std::memory_order_acquire) ==
         session_->lanes_[index_].sequence;
}

}  // namespace benchfs::door
