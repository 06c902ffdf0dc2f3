// What a connection over UCX is for the programs of other nodes: the links of a shard to the
// programs that are attached to its door.
//
// A program sends each message as a call on a lane, and each call is answered once: a request by
// its reply, a one-way message at once by an empty answer. One lane waits for what the shard has to
// tell (docs/wire.md, "The node door"). Messages are handled in the order in which they were sent.
//
// Operations on these links end at once: what is sent is copied into the client's memory. Data of
// requests stays there until the handler receives it, which copies it once.
//
// Thread: the shard's reactor.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "door/door.h"
#include "link/link.h"

namespace benchfs::door {

// Messages of the links themselves; the others have ids of wire/opcode.h.
inline constexpr std::uint16_t kTakenId = 0xFFFE;   // the answer to a one-way message
inline constexpr std::uint16_t kListenId = 0xFFFF;  // answered with what the shard has to tell

class ServerLinks;

class ServerLink final : public link::Link {
 public:
  ServerLink(rt::Reactor& reactor, ServerLinks& links, ServerSession& session)
      : Link(reactor), links_(links), session_(&session), process_(session.peer().pid) {}

  [[nodiscard]] bool is_open() const override { return is_open_; }
  [[nodiscard]] link::Way way() const override { return link::Way::kDoor; }
  void begin_send(link::Operation& operation, const link::Message& message) override;
  void begin_receive(link::Operation& operation,
                     const link::Held& held,
                     std::span<std::byte> into,
                     const net::MemoryRegion* region) override;
  void begin_flush(link::Operation& operation) override;
  void send_and_forget(std::uint16_t id, std::span<const std::byte> header) override;
  [[nodiscard]] pid_t peer_process() const override { return process_; }
  [[nodiscard]] link::Borrower* borrower() override {
    return session_ == nullptr ? nullptr : session_->borrower();
  }
  [[nodiscard]] std::optional<wire::Challenge> take_challenge() override {
    return session_ == nullptr ? std::nullopt : session_->take_challenge();
  }
  bool invalidate(std::uint32_t word) override;
  using link::Link::close;
  void close(Nanos flush) override;

 private:
  friend class ServerLinks;
  struct Call {
    std::uint64_t request_id = 0;
    ServerLane* lane = nullptr;
  };
  struct Early {
    ServerLane* lane = nullptr;
    std::vector<std::byte> header;
  };
  struct Telling {
    std::uint16_t id = 0;
    std::vector<std::byte> header;
  };

  void on_call(ServerLane& lane);
  void handle(ServerLane& lane, std::span<const std::byte> header);
  void handle_request(ServerLane& lane, std::span<const std::byte> header);
  ServerLane* take_call(std::uint16_t id, std::span<const std::byte> header);
  Errc answer(std::uint16_t id, std::span<const std::byte> header, std::span<const std::byte> data);
  void tell_listener();
  void on_trigger();
  void refuse_all();

  ServerLinks& links_;
  ServerSession* session_;  // null once it has ended
  pid_t process_;
  bool is_open_ = true;
  std::uint32_t next_order_ = 1;
  std::vector<Early> early_;  // sent after one that has not come yet
  std::vector<Call> calls_;   // to be answered
  ServerLane* registering_ = nullptr;
  ServerLane* listener_ = nullptr;
  std::deque<Telling> to_tell_;
};

class ServerLinks final : public CallHandler, private link::Keeper {
 public:
  // Decides about a new link: false, and the program is told that there is no room.
  using Acceptor = std::function<bool(link::Link& link, const PeerIdentity& peer)>;

  // All are borrowed.
  ServerLinks(rt::Reactor& reactor, link::Handler& handler, link::Owner& owner, Acceptor acceptor)
      : reactor_(reactor), handler_(handler), owner_(owner), acceptor_(std::move(acceptor)) {}

  // Those that are not closed and forgotten.
  [[nodiscard]] std::size_t size() const { return links_.size(); }

  // Shows all programs of this node that have ever come in that what they know under the word of
  // this number may have changed.
  void invalidate(std::uint32_t word) {
    if (page_ != nullptr) {
      page_->validity.invalidate(word);
    }
  }

  void on_page(ShardPage* page) override { page_ = page; }
  void on_call(ServerLane& lane) override;
  void on_trigger(ServerSession& session) override;
  void on_death(ServerSession& session) override;
  void on_session_end(ServerSession& session) override;

 private:
  friend class ServerLink;
  void release(void* held) override { (void)held; }
  void forget_closed();

  rt::Reactor& reactor_;
  link::Handler& handler_;
  link::Owner& owner_;
  Acceptor acceptor_;
  ShardPage* page_ = nullptr;  // while there is a door
  std::vector<std::unique_ptr<ServerLink>> links_;
  std::array<std::byte, wire::kMaxHeaderBytes> small_data_{};
};

}  // namespace benchfs::door
