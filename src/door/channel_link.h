// A link of a program to a shard of another node: its messages travel inside those of a link to a
// shard of this node, which passes them on (wire/forward.h, rpc/forwarder.h).
//
// All channels through one shard share the lanes of one session. Each may use kWindow of them while
// more than half are free, and else one, so that shards that do not answer leave lanes for the
// others; further messages wait.
//
// Thread: the reactor's.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "link/link.h"
#include "rt/timer.h"

namespace benchfs::door {

// Of a link of a program.
inline constexpr link::Outcome kLinkClosed{Errc::kCancelled, "the link was closed"};

class ClientLink;
class ClientLinks;

class ChannelLink final : public link::Link, private rt::Timer {
 public:
  static constexpr std::uint32_t kWindow = 8;

  // `carrier` is open, and says when it is not any more.
  ChannelLink(ClientLinks& links,
              ClientLink& carrier,
              std::uint32_t shard,
              std::uint64_t number,
              link::Owner& owner);
  ~ChannelLink() override;

  [[nodiscard]] bool is_open() const override { return state_ == State::kOpen; }
  void begin_send(link::Operation& operation, const link::Message& message) override;
  void begin_receive(link::Operation& operation,
                     const link::Held& held,
                     std::span<std::byte> into,
                     const net::MemoryRegion* region) override;
  void begin_flush(link::Operation& operation) override;
  void send_and_forget(std::uint16_t id, std::span<const std::byte> header) override;
  void send_ahead(std::uint16_t id, std::span<const std::byte> header) override;
  void look() override;
  [[nodiscard]] link::Way way() const override { return link::Way::kForwarded; }
  [[nodiscard]] std::shared_ptr<const wire::ValidityWords> validity_words() const override;
  using link::Link::close;
  void close(Nanos flush) override;

 private:
  friend class ClientLink;
  friend class ClientLinks;
  enum class State : std::uint8_t { kOpen, kFailed, kClosed };

  void on_timer() override;  // tells the owner that the link failed
  // The carrier is attached; or it, or the far end, is gone: it has dropped what was under way.
  void on_attached();
  void fail(const link::Outcome& why);
  void end_flushes(const link::Outcome& outcome);
  [[nodiscard]] link::Outcome why_not_open() const;

  ClientLinks& links_;
  ClientLink* carrier_;  // while it is open
  link::Owner* owner_;
  std::uint32_t shard_;
  std::uint64_t number_;  // of the channel
  State state_ = State::kOpen;
  link::Outcome failure_;
  std::string text_;            // of the failure
  bool has_heard_ = false;      // of the far shard
  std::uint32_t in_use_ = 0;    // lanes
  std::uint32_t in_queue_ = 0;  // messages that wait for one
  std::vector<link::Operation*> flushes_;
};

}  // namespace benchfs::door
