// Links of a program to the shards of its node: what a connection over UCX is for other nodes. See
// server_links.h for the other half.
//
// Each message takes a lane until it is answered; when all are taken the next ones wait, first
// come, first served. Nothing is woken while the program is awake: the reactor looks at the lanes
// that are in use. The directory of doors is on the node, so that looking there does not block a
// reactor.
//
// In a child of fork a link fails like one whose shard is gone.
//
// Thread: the reactor's.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "door/channel_link.h"
#include "door/client_session.h"
#include "link/link.h"
#include "rt/poller.h"
#include "rt/timer.h"
#include "wire/header.h"

namespace benchfs::door {

class ClientLinks;

class ClientLink final : public link::Link, private rt::Poller, private rt::Timer {
 public:
  ClientLink(ClientLinks& links,
             std::uint32_t shard,
             link::Owner& owner,
             bool is_only_way,
             const SessionShape& shape,
             bool is_carrier);
  ~ClientLink() override;

  [[nodiscard]] bool is_open() const override {
    return state_ == State::kAttaching || state_ == State::kOpen;
  }
  void begin_send(link::Operation& operation, const link::Message& message) override;
  void begin_receive(link::Operation& operation,
                     const link::Held& held,
                     std::span<std::byte> into,
                     const net::MemoryRegion* region) override;
  void begin_flush(link::Operation& operation) override;
  void send_and_forget(std::uint16_t id, std::span<const std::byte> header) override;
  void send_ahead(std::uint16_t id, std::span<const std::byte> header) override;
  [[nodiscard]] bool is_attached() const { return state_ == State::kOpen; }
  [[nodiscard]] link::SharedSlots* shared_slots() override {
    return state_ == State::kOpen && session_->is_attached() ? session_->slots() : nullptr;
  }
  void look() override;
  [[nodiscard]] link::Way way() const override { return link::Way::kDoor; }
  [[nodiscard]] std::optional<wire::Challenge> take_challenge() override {
    return state_ == State::kOpen ? session_->take_challenge() : std::nullopt;
  }
  [[nodiscard]] std::shared_ptr<const wire::ValidityWords> validity_words() const override {
    return state_ == State::kOpen ? session_->validity_words() : nullptr;
  }
  using link::Link::close;
  // What waits for a lane is dropped; what has one arrives, whatever `flush` is.
  void close(Nanos flush) override;

  // Of the channels that travel in this link. What a channel sends waits for a lane when it has its
  // part of them; the operation is the channel's.
  void add(ChannelLink& channel) { channels_.push_back(&channel); }
  // Its calls are given up, and the far shard is told that the channel ends. The last one takes the
  // link along.
  void remove(ChannelLink& channel);
  void begin_send_in(ChannelLink& channel,
                     link::Operation& operation,
                     const link::Message& message);
  void send_and_forget_in(ChannelLink& channel,
                          std::uint16_t id,
                          std::span<const std::byte> header);
  void send_ahead_in(ChannelLink& channel, std::uint16_t id, std::span<const std::byte> header);
  void take_held(const link::Held& held, std::span<std::byte> into);

 private:
  friend class ClientLinks;
  // Asleep, with calls that are not answered: the shard is rung again after this long, then after
  // twice as long, and so on.
  static constexpr Nanos kFirstQuiet = std::chrono::milliseconds(1);
  static constexpr Nanos kLongestQuiet = std::chrono::milliseconds(100);
  enum class State : std::uint8_t { kAttaching, kOpen, kFailed, kClosed };

  // Of so many lanes one is taken only by messages that go ahead of others.
  static constexpr std::size_t kLanesToOneAhead = 16;

  // A lane, and what is in it when it is in use: a message, and its reply once it is there.
  struct Used {
    explicit Used(ClientLane taken) : lane(std::move(taken)) {}
    ClientLane lane;
    ChannelLink* channel = nullptr;  // whose message it is, until it ends
    bool is_held = false;            // its data has not been received yet
    Reply reply;
  };
  struct Waiting {
    link::Operation* operation = nullptr;  // null: nobody waits, and the header is here
    link::Message message;
    std::vector<std::byte> header;
    ChannelLink* channel = nullptr;
  };

  bool poll() override;
  bool prepare_to_sleep() override;
  bool is_under_way() override;
  [[nodiscard]] int fd() const override {
    return session_ != nullptr ? session_->socket() : attachment_->socket();
  }
  // Goes on attaching, rings again, or tells the owner that the link failed.
  void on_timer() override;
  void release(std::uint32_t lane);

  void attach();
  void finish_attaching();
  void stop_attaching();
  void use(std::unique_ptr<ClientSession> session);
  void fail_to_attach(const Error& error);
  // With the lane that it took, if it went. kBusy: none is free for it.
  Errc transmit(const link::Message& message,
                ChannelLink* channel = nullptr,
                bool is_ahead = false,
                std::uint32_t* lane = nullptr);
  static Status send_in(const ChannelLink& channel, ClientLane& lane, Message message);
  [[nodiscard]] bool may_go(const ChannelLink* channel) const;
  [[nodiscard]] bool are_half_free() const;
  [[nodiscard]] bool is_full(const ChannelLink& channel) const;
  void give_up(ChannelLink& channel, const link::Outcome& why);
  void end_channel(ChannelLink& channel);
  void settle(const Waiting& waiting, const link::Outcome& outcome);
  void send_ahead(Waiting waiting);
  void send_waiting();
  void listen();
  bool look_at_calls();
  bool look_at_all();
  bool look(Used& used);
  void deliver(Used& used, std::span<const std::byte> header);
  void deliver_told(Used& used, std::span<const std::byte> header);
  void on_channel_told(std::uint16_t id, std::span<const std::byte> header);
  static bool unwrap(const Used& used, std::span<const std::byte> header, link::Incoming& message);
  void finish(Used& used);
  [[nodiscard]] bool is_in_use(std::size_t lane) const { return ((in_use_ >> lane) & 1) != 0; }
  [[nodiscard]] std::uint64_t listener_bit() const {
    return listener_ < kMaxLanes ? std::uint64_t{1} << listener_ : 0;
  }
  void fail(const link::Outcome& why);
  void end_all(const link::Outcome& why);
  [[nodiscard]] link::Outcome why_not_open() const;

  ClientLinks& links_;
  link::Owner* owner_;
  std::uint32_t shard_;
  bool is_only_way_;
  SessionShape shape_;
  bool is_carrier_;       // of channels, and of nothing else
  std::uint64_t number_;  // never used again
  State state_ = State::kAttaching;
  link::Outcome failure_;
  std::string text_;                      // of the failure
  std::optional<Attachment> attachment_;  // polled while it is there
  Deadline attach_by_ = Deadline::never();
  std::unique_ptr<ClientSession> session_;  // the same
  std::vector<Used> used_;                  // all lanes of the session
  std::uint64_t in_use_ = 0;                // bit per lane
  std::uint32_t listener_ = kMaxLanes;
  std::uint32_t order_ = 0;
  std::uint32_t polls_ = 0;
  std::uint64_t progress_ = 0;  // of the shard, when it was last looked at
  bool announces_ = false;      // lanes were told that we sleep
  Nanos ring_after_ = kFirstQuiet;
  bool is_refused_ = false;    // the shard ends the session
  std::deque<Waiting> ahead_;  // of what waits
  std::deque<Waiting> waiting_;
  std::vector<link::Operation*> flushes_;
  std::vector<ChannelLink*> channels_;
};

class ClientLinks final : private rt::Timer, private link::Keeper, private link::Owner {
 public:
  struct Config {
    std::uint64_t run_id = 0;
    std::string base = {};  // as in DoorDirectory
    SessionShape shape = kProgramShape;
    bool wants_slots = false;
    Nanos attach_patience = std::chrono::seconds(5);
  };
  // All are borrowed.
  ClientLinks(rt::Reactor& reactor, link::Handler& handler, Config config);
  // All links are closed, and drained.
  ~ClientLinks();

  // A link that attaches; that it cannot is reported to the owner as a failure. A daemon of another
  // run or version, which would not let in later either, is kStaleRun or kVersion if there is no
  // other way to the shard; else kUnreachable, because the door may be another shard's.
  link::Link* connect(std::uint32_t shard, link::Owner& owner, bool is_only_way);
  // A link to a shard of another node, which travels through `near`, a shard of this one.
  link::Link* connect_through(std::uint32_t near,
                              std::uint32_t shard,
                              link::Owner& owner,
                              bool is_only_way);
  // Those that are not closed and forgotten.
  [[nodiscard]] std::size_t size() const { return links_.size() + channels_.size(); }
  // Whether a shard of this run has its door here.
  [[nodiscard]] bool has_door(std::uint32_t shard) const;
  // The shard of this node through which `shard` is reached: the shards share the others among
  // them. After a failure it is another one.
  [[nodiscard]] std::optional<std::uint32_t> nearest(std::uint32_t shard) const;
  // Why the last attempt to reach it failed; told once, kUnsaid if none did.
  wire::NoDoor take_failure(std::uint32_t shard);
  // Why there is no door to it, where has_door() is false.
  [[nodiscard]] wire::NoDoor why_no_door() const;

 private:
  friend class ClientLink;
  friend class ChannelLink;
  void on_link_failed(link::Link& link, const link::Outcome& /*why*/) override { link.close(); }
  ClientLink& add_link(std::uint32_t shard,
                       link::Owner& owner,
                       bool is_only_way,
                       const SessionShape& shape,
                       bool is_carrier);
  void note_failure(std::uint32_t shard, wire::NoDoor why) {
    failed_[shard] = why;
    ++failures_;
  }
  [[nodiscard]] Result<const DoorDirectory*> directory() const;
  // Those that a client may have mapped are divided by its sessions.
  void share_windows();
  void on_timer() override;  // frees closed links
  void bury();
  // What a handler keeps of a reply whose data is still in its lane.
  static void* hold(const ClientLink& link, std::uint32_t lane);
  static std::uint32_t lane_of(const void* held);
  void release(void* held) override;

  rt::Reactor& reactor_;
  link::Handler& handler_;
  Config config_;
  // Kept while it is there, also for a program that changes its root directory.
  mutable std::optional<DoorDirectory> directory_;
  std::vector<std::unique_ptr<ClientLink>> links_;
  std::vector<std::unique_ptr<ChannelLink>> channels_;
  std::uint64_t numbers_ = 0;                               // given to links and channels
  std::uint64_t failures_ = 0;                              // to attach, and of channels
  std::unordered_map<std::uint32_t, wire::NoDoor> failed_;  // by shard
};

}  // namespace benchfs::door
