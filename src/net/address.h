// Socket addresses as "ip:port" and "[ipv6]:port".
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <string>

#include "base/error.h"

namespace benchfs::net {

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t length = 0;

  [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  [[nodiscard]] std::string ip() const;
  [[nodiscard]] std::uint16_t port() const;
  [[nodiscard]] std::string to_string() const;
  [[nodiscard]] bool is_loopback() const;
  [[nodiscard]] bool is_any() const;
};

// `ip` is numeric. Errors: kInvalidArgument.
Result<SocketAddress> make_address(const std::string& ip, std::uint16_t port);

}  // namespace benchfs::net
