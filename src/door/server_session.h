// The shard's half of one client's session: its memory and its lanes.
//
// The shard believes nothing that it reads there: it copies, then checks, then uses the copy. What
// it needs for its decisions (sequences, sizes, what is in service) lies in its private memory and
// is only published. A client that writes anything, or is killed or stopped at any instant, damages
// its own session.
//
// Thread: the shard's reactor.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "door/attach.h"
#include "door/layout.h"
#include "door/shared_memory.h"
#include "link/link.h"

namespace benchfs::door {

class Door;
class ServerSession;

// One lane, and the call that is on it. A handler gets it when a call arrives and answers it once;
// until then the session lives and no other call comes on this lane.
class ServerLane {
 public:
  // What kind of message, and its header: valid until the handler returns.
  [[nodiscard]] std::uint16_t id() const { return frame_.id; }
  [[nodiscard]] std::span<const std::byte> header() const { return header_; }
  [[nodiscard]] std::uint32_t order() const { return frame_.order; }
  // Until it is answered: the data that came along, which lies in the client's memory.
  [[nodiscard]] std::size_t data_bytes() const { return frame_.data_bytes; }
  // The same for data that came in the lane and was copied: valid until the handler returns.
  [[nodiscard]] bool has_near_data() const {
    return frame_.data_bytes > 0 && header_.size() + frame_.data_bytes <= kNearBytes;
  }
  [[nodiscard]] std::span<std::byte> near_data() {
    return std::span(near_).subspan(header_.size(), frame_.data_bytes);
  }
  // Copies the data, once; `into` has data_bytes().
  void copy_data(std::span<std::byte> into) const;
  // How much data a reply with a header of this size may have.
  [[nodiscard]] std::size_t room_for_data(std::size_t header_bytes) const;

  // Ends the call. What was given is copied. Errors, after which the call is still to be answered:
  // kLimit (more than there is room for), kSystem (the machine has no memory).
  Status answer(std::uint16_t id,
                std::span<const std::byte> header,
                std::span<const std::byte> data = {});
  // Ends the call with an error of the door.
  void refuse(Errc code);

  [[nodiscard]] ServerSession& session() const { return *session_; }

 private:
  friend class Door;
  friend class ServerSession;

  [[nodiscard]] bool has_request() const {
    return memory_->request.sequence.load(std::memory_order_acquire) != sequence_;
  }
  // Copies and checks the request that is there.
  Status take(std::span<std::byte, wire::kMaxForwardedBytes> long_header);
  void publish();
  // The first `bytes` of the call's range of the area are there.
  Status back_range(std::size_t bytes);

  ServerSession* session_ = nullptr;
  LaneMemory* memory_ = nullptr;  // null while the session is not mapped
  std::uint32_t sequence_ = 0;    // of the last request taken; never read back
  std::uint32_t quiet_ = 0;       // looks since the last request
  bool in_service_ = false;
  bool is_hot_ = false;  // the door looks at it in each pass
  MessageFrame frame_;
  // What is there of the area, for the calls of this lane.
  std::size_t backed_begin_ = 0;
  std::size_t backed_end_ = 0;
  std::array<std::byte, kNearBytes> near_{};
  std::span<const std::byte> header_;
};

class ServerSession final : public link::Borrower {
 public:
  // Errors: kSystem.
  static Result<std::unique_ptr<ServerSession>> create(Door& door,
                                                       SessionShape shape,
                                                       PeerIdentity peer,
                                                       std::uint64_t number);

  [[nodiscard]] const PeerIdentity& peer() const { return peer_; }
  [[nodiscard]] std::uint64_t number() const { return number_; }  // never used twice by a door
  [[nodiscard]] std::uint32_t in_service() const { return in_service_; }
  [[nodiscard]] bool is_mapped() const { return mapping_.is_mapped(); }
  // At the end of the session: so has the process that attached, or it has become another program
  // where the door does not see processes.
  [[nodiscard]] bool has_died() const { return has_died_; }

  // For the door, and whoever keeps something for the session.
  void* owner = nullptr;

  // Null unless it is of a program that has the slots.
  [[nodiscard]] link::Borrower* borrower() { return shape_.has_slots ? this : nullptr; }
  [[nodiscard]] link::Loans fills() override { return fills_; }
  [[nodiscard]] std::unique_ptr<link::Loan>* write_loan(std::uint32_t place) override;
  [[nodiscard]] bool is_writing(std::uint32_t slot) const override;
  [[nodiscard]] std::int64_t written_at(std::uint32_t place) const override;
  [[nodiscard]] link::CopyTotals copies() const;
  // That the program was told when it attached; once.
  [[nodiscard]] std::optional<wire::Challenge> take_challenge() {
    return std::exchange(challenge_, std::nullopt);
  }

 private:
  friend class Door;
  friend class ServerLane;

  ServerSession(Door& door, SessionShape shape, PeerIdentity peer, std::uint64_t number)
      : door_(door), shape_(shape), peer_(peer), number_(number), lanes_(shape.lanes) {}
  Status map();
  // No call is in service.
  void unmap();
  // Everything lent ends: the program cannot write any more.
  void end_loans();
  // The client has not left by itself, as it says; the session is not mapped.
  [[nodiscard]] bool was_here() const;
  // Of the session's memory, which is not mapped.
  void read_at(std::size_t offset, void* into, std::size_t bytes) const;
  template <typename Visit>
  void look_at_copiers(Visit visit) const;

  Door& door_;
  std::optional<wire::Challenge> challenge_;
  void* member_ = nullptr;  // the door's
  SessionShape shape_;
  PeerIdentity peer_;
  std::uint64_t number_;
  MonoTime since_ = mono_now();
  std::shared_ptr<const Fd> memory_;  // shared with the thread that proves the session's end
  Mapping mapping_;
  SessionView view_;
  std::uint32_t bell_ = 0;  // as last seen
  std::vector<ServerLane> lanes_;
  std::uint32_t in_service_ = 0;
  std::uint64_t calls_ = 0;
  bool has_died_ = false;
  std::vector<std::unique_ptr<link::Loan>> fills_;
  std::vector<std::unique_ptr<link::Loan>> write_loans_;  // none until one is made
};

}  // namespace benchfs::door
