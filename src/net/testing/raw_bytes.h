// Peers that speak TCP and not UCX, or only the beginning of it, for tests.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/random.h"
#include "net/address.h"

namespace benchfs::net::testing {

using Bytes = std::vector<std::byte>;

// A TCP connection, blocking, ten seconds at most.
class RawConnection {
 public:
  // is_open() is false if nobody listens.
  explicit RawConnection(const SocketAddress& address);
  RawConnection(RawConnection&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  RawConnection& operator=(RawConnection&&) = delete;
  ~RawConnection();

  [[nodiscard]] bool is_open() const { return fd_ >= 0; }
  // False if the other side ended the connection.
  bool send(std::span<const std::byte> bytes) const;
  // Up to `size` bytes; fewer if the other side ended the connection.
  [[nodiscard]] Bytes receive(std::size_t size) const;
  // Waits for the other side to end the connection, dropping what it sends; false if it does not.
  [[nodiscard]] bool wait_for_end() const;
  // Ends it with a reset instead of a FIN.
  void reset();

 private:
  int fd_ = -1;
};

// The first bytes that a client with UCX 1.13 sends to a listener: header and request. `port` is
// the port that it names for its transport.
Bytes good_request(std::uint16_t port = 1);
constexpr std::size_t kRequestHeaderBytes = 16;
// The bytes that it sends when it has the answer.
Bytes good_notice();
// The first bytes that it sends to the port of a transport; `peer` is the address of its own
// transport, which must be the smaller one.
Bytes good_connect(const SocketAddress& peer, std::uint64_t endpoint = 0x7fffffff01);
constexpr std::size_t kMagicBytes = 8;

Bytes random_bytes(Random& random, std::size_t size);
Bytes text(const std::string& text);
Bytes operator+(Bytes first, const Bytes& second);

// Things that strangers send to an open port, without a wrong word of UCX's own.
struct Garbage {
  std::string name;
  Bytes bytes;
};
std::vector<Garbage> common_garbage(Random& random);
// Almost what a peer sends to a listener, or to a transport at `address`.
std::vector<Garbage> almost_requests(Random& random);
std::vector<Garbage> almost_connects(const SocketAddress& address, Random& random);

// Addresses at which a process listens for TCP connections.
std::vector<SocketAddress> listening_addresses(pid_t process);

}  // namespace benchfs::net::testing
