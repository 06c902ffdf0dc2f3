// How a client makes a link to a server.
#pragma once

#include "base/error.h"
#include "door/client_links.h"
#include "link/link.h"
#include "net/address.h"
#include "net/worker.h"

namespace benchfs::rpc {

class Dialer {
 public:
  virtual ~Dialer() = default;
  // Starts to connect; a refusal is reported to the owner as a failure.
  virtual Result<link::Link*> connect(wire::ShardId shard,
                                      const net::SocketAddress& address,
                                      link::Owner& owner) = 0;
};

class UcxDialer final : public Dialer {
 public:
  explicit UcxDialer(net::Worker& worker) : worker_(worker) {}
  Result<link::Link*> connect(wire::ShardId /*shard*/,
                              const net::SocketAddress& address,
                              link::Owner& owner) override {
    return worker_.connect(address, owner);
  }

 private:
  net::Worker& worker_;
};

// Through the door of the shard when it has one on this node; else as `other` does. After an attempt
// that did not get in, the next one goes the other way: the door may be that of another node, on a
// file system that both use, or not ours to enter.
class NodeDialer final : public Dialer {
 public:
  // `only`: never the other way.
  NodeDialer(door::ClientLinks& links, Dialer& other, bool only)
      : links_(links), other_(other), only_(only) {}
  Result<link::Link*> connect(wire::ShardId shard,
                              const net::SocketAddress& address,
                              link::Owner& owner) override {
    bool through_door =
        only_ || (!links_.take_failure(shard.value) && links_.has_door(shard.value));
    return through_door ? links_.connect(shard.value, owner)
                        : other_.connect(shard, address, owner);
  }

 private:
  door::ClientLinks& links_;
  Dialer& other_;
  bool only_;
};

}  // namespace benchfs::rpc
