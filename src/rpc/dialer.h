// How a client makes a link to a server.
#pragma once

#include "base/error.h"
#include "link/link.h"
#include "net/address.h"
#include "net/worker.h"

namespace benchfs::rpc {

class Dialer {
 public:
  virtual ~Dialer() = default;
  // Starts to connect; a refusal is reported to the owner as a failure.
  virtual Result<link::Link*> connect(const net::SocketAddress& address, link::Owner& owner) = 0;
};

class UcxDialer final : public Dialer {
 public:
  explicit UcxDialer(net::Worker& worker) : worker_(worker) {}
  Result<link::Link*> connect(const net::SocketAddress& address, link::Owner& owner) override {
    return worker_.connect(address, owner);
  }

 private:
  net::Worker& worker_;
};

}  // namespace benchfs::rpc
