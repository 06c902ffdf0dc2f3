// The far end of channels (rpc/forwarder.h): programs of other nodes that come through a shard of
// theirs. To the server each is a link of its own, which lives in the link of that shard, the
// carrier, and ends with it.
//
// Thread: the reactor's.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include "link/link.h"
#include "rt/task.h"
#include "rt/timer.h"
#include "wire/forward.h"

namespace benchfs::rpc {

class ForwardedLinks;

class ForwardedLink final : public link::Link {
 public:
  ForwardedLink(rt::Reactor& reactor,
                ForwardedLinks& links,
                link::Link& carrier,
                std::uint64_t channel)
      : Link(reactor), links_(links), carrier_(&carrier), channel_(channel) {}

  [[nodiscard]] bool is_open() const override { return is_open_; }
  [[nodiscard]] link::Way way() const override { return link::Way::kForwarded; }
  // Operations end with those of the carrier that they are: closing this link does not end them.
  void begin_send(link::Operation& operation, const link::Message& message) override;
  void begin_receive(link::Operation& operation,
                     const link::Held& held,
                     std::span<std::byte> into,
                     const net::MemoryRegion* region) override;
  void begin_flush(link::Operation& operation) override;
  void send_and_forget(std::uint16_t id, std::span<const std::byte> header) override;
  using link::Link::close;
  void close(Nanos flush) override;

 private:
  friend class ForwardedLinks;
  rt::DetachedTask send_data(link::Operation& operation, link::Message message);

  ForwardedLinks& links_;
  link::Link* carrier_;  // null once it is closed
  std::uint64_t channel_;
  bool is_open_ = true;
  std::uint32_t sending_ = 0;  // operations that are under way in the carrier
};

class ForwardedLinks final : private rt::Timer {
 public:
  // Decides about a new link: false, and it is closed at once.
  using Acceptor = std::function<bool(link::Link& link)>;
  // All are borrowed.
  ForwardedLinks(rt::Reactor& reactor,
                 link::Handler& handler,
                 link::Owner& owner,
                 Acceptor acceptor)
      : reactor_(reactor), handler_(handler), owner_(owner), acceptor_(std::move(acceptor)) {}
  ~ForwardedLinks() override;

  // A message that came over `carrier` with another one inside.
  link::Disposition on_message(link::Link& carrier,
                               const wire::ForwardHeader& outer,
                               const link::Incoming& message);
  // The carrier is about to be closed.
  void on_carrier_end(const link::Link& carrier);

  // Of a link that is open.
  [[nodiscard]] static link::Link& carrier_of(const link::Link& link) {
    return *static_cast<const ForwardedLink&>(link).carrier_;
  }
  // Those that are open.
  [[nodiscard]] std::size_t size() const { return open_.size(); }

 private:
  friend class ForwardedLink;
  struct Key {
    const link::Link* carrier = nullptr;
    std::uint64_t channel = 0;
    friend bool operator==(const Key&, const Key&) = default;
  };
  struct Hash {
    std::size_t operator()(const Key& key) const {
      return std::hash<const void*>()(key.carrier) ^ std::hash<std::uint64_t>()(key.channel << 8U);
    }
  };
  ForwardedLink* accept(link::Link& carrier, std::uint64_t channel);
  void on_closed(const ForwardedLink& link);
  void on_timer() override;  // frees closed links

  rt::Reactor& reactor_;
  link::Handler& handler_;
  link::Owner& owner_;
  Acceptor acceptor_;
  std::unordered_map<Key, std::unique_ptr<ForwardedLink>, Hash> open_;
  std::vector<std::unique_ptr<ForwardedLink>> closed_;
};

}  // namespace benchfs::rpc
