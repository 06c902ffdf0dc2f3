// How a client makes a link to a server.
#pragma once

#include <cstdint>
#include <functional>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "base/error.h"
#include "door/client_links.h"
#include "link/link.h"
#include "net/address.h"
#include "net/worker.h"
#include "wire/header.h"
#include "wire/ids.h"

namespace benchfs::rpc {

class Dialer {
 public:
  virtual ~Dialer() = default;
  // Starts to connect; a refusal is reported to the owner as a failure.
  virtual Result<link::Link*> connect(wire::ShardId shard,
                                      const net::SocketAddress& address,
                                      link::Owner& owner) = 0;
  // Why the last connect() went over the network; kUnsaid if it did not.
  [[nodiscard]] virtual wire::NoDoor no_door(wire::ShardId /*shard*/) const {
    return wire::NoDoor::kUnsaid;
  }
  // A shorter way to it than the one of the last connect() has opened since.
  [[nodiscard]] virtual bool has_shorter_way(wire::ShardId /*shard*/) const { return false; }
};

// Over the network.
class UcxDialer final : public Dialer {
 public:
  // Makes the worker when the first connection needs it; who gives it keeps the worker.
  using Source = std::function<Result<net::Worker*>()>;

  UcxDialer(link::Handler& handler, Source source)
      : handler_(handler), source_(std::move(source)) {}
  ~UcxDialer() override;
  // Asks for the worker if there is none yet.
  Status open();
  Result<link::Link*> connect(wire::ShardId shard,
                              const net::SocketAddress& address,
                              link::Owner& owner) override;
  [[nodiscard]] wire::NoDoor no_door(wire::ShardId /*shard*/) const override {
    return wire::NoDoor::kNotWanted;
  }

 private:
  link::Handler& handler_;
  Source source_;
  net::Worker* worker_ = nullptr;
};

// Through the door of the shard when it has one on this node; through a shard of this node that
// forwards, if there is one; else as `other` does. After an attempt that did not get through, the
// next one goes the other way: the door may be that of another node, on a file system that both
// use, or not ours to enter. A server that is just starting takes connections a moment before its
// door is open.
class NodeDialer final : public Dialer {
 public:
  struct Ways {
    bool only_node = false;  // never the other way
    bool forwarded = false;  // shards of other nodes through those of this one
  };
  NodeDialer(door::ClientLinks& links, Dialer& other, Ways ways)
      : links_(links), other_(other), ways_(ways) {}
  Result<link::Link*> connect(wire::ShardId shard,
                              const net::SocketAddress& address,
                              link::Owner& owner) override;
  [[nodiscard]] wire::NoDoor no_door(wire::ShardId shard) const override {
    auto found = no_door_.find(shard.value);
    return found == no_door_.end() ? wire::NoDoor::kUnsaid : found->second;
  }
  [[nodiscard]] bool has_shorter_way(wire::ShardId shard) const override {
    return without_door_.contains(shard.value) && links_.has_door(shard.value);
  }

 private:
  door::ClientLinks& links_;
  Dialer& other_;
  Ways ways_;
  std::unordered_set<std::uint32_t> without_door_;  // when they were last connected to
  std::unordered_map<std::uint32_t, wire::NoDoor> no_door_;
};

}  // namespace benchfs::rpc
