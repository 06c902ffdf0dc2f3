#include "net/testing/raw_bytes.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>
#include <utility>

namespace benchfs::net::testing {
namespace {

// Recorded from UCX 1.13.1 over tcp: endpoint 3, error handling by peer, one device, one interface
// with one endpoint. The zeros at kPortsAt are ports.
constexpr std::array<unsigned char, 47> kRequest = {
    0x03, 0,    0,    0,    0,    0,    0,    0,    0x01, 0x02, 0,    0,    0x21, 0x80, 0xcf, 0x19,
    0x17, 0xb7, 0x51, 0x38, 0x53, 0x9e, 0x3e, 0x4b, 0xd7, 0xe0, 0x37, 0x37, 0x01, 0x13, 0x23, 0,
    0xc2, 0,    0,    0x0a, 0,    0,    0x03, 0,    0,    0,    0,    0,    0,    0,    0x81};
constexpr std::size_t kPortsAt[] = {33, 36};

template <typename T>
Bytes bytes_of(const T& value) {
  auto bytes = std::as_bytes(std::span(&value, 1));
  return {bytes.begin(), bytes.end()};
}

Bytes with(Bytes bytes, std::size_t at, std::uint64_t value, std::size_t size) {
  std::memcpy(bytes.data() + at, &value, size);
  return bytes;
}

// Inodes of the sockets of a process.
std::set<unsigned long> sockets_of(pid_t process) {
  std::set<unsigned long> inodes;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(fmt::format("/proc/{}/fd", process), error), end;
       entry != end;
       entry.increment(error)) {
    unsigned long inode = 0;
    std::error_code gone;
    std::string target = std::filesystem::read_symlink(*entry, gone);
    if (!gone && std::sscanf(target.c_str(), "socket:[%lu]", &inode) == 1) {
      inodes.insert(inode);
    }
  }
  return inodes;
}

}  // namespace

RawConnection::RawConnection(const SocketAddress& address) {
  fd_ = ::socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  timeval patience{.tv_sec = 10, .tv_usec = 0};
  ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  ::setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  if (fd_ >= 0 && ::connect(fd_, address.get(), address.length) != 0) {
    ::close(std::exchange(fd_, -1));
  }
}

RawConnection::~RawConnection() {
  if (fd_ >= 0) {
    ::close(fd_);
  }
}

bool RawConnection::send(std::span<const std::byte> bytes) const {
  return ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
         static_cast<ssize_t>(bytes.size());
}

Bytes RawConnection::receive(std::size_t size) const {
  Bytes bytes(size);
  std::size_t received = 0;
  while (received < size) {
    ssize_t more = ::recv(fd_, bytes.data() + received, size - received, 0);
    if (more <= 0) {
      break;
    }
    received += static_cast<std::size_t>(more);
  }
  bytes.resize(received);
  return bytes;
}

bool RawConnection::wait_for_end() const {
  std::array<std::byte, 4096> dropped;
  ssize_t received = 1;
  while (received > 0) {
    received = ::recv(fd_, dropped.data(), dropped.size(), 0);
  }
  return received == 0 || errno == ECONNRESET;
}

void RawConnection::reset() {
  linger now{.l_onoff = 1, .l_linger = 0};
  ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  ::close(std::exchange(fd_, -1));
}

Bytes good_request(std::uint16_t port) {
  Bytes bytes = with(Bytes(kRequestHeaderBytes + kRequest.size()), 0, kRequest.size(), 8);
  std::memcpy(bytes.data() + kRequestHeaderBytes, kRequest.data(), kRequest.size());
  for (std::size_t at : kPortsAt) {
    bytes = with(std::move(bytes), kRequestHeaderBytes + at, htons(port), 2);
  }
  return bytes;
}

Bytes good_notice() {
  return Bytes(kRequestHeaderBytes);
}

Bytes good_connect(const SocketAddress& peer, std::uint64_t endpoint) {
  std::size_t address_size =
      peer.storage.ss_family == AF_INET6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in);
  Bytes bytes = bytes_of(std::uint64_t{0xCAFEBABE12345678});
  bytes = std::move(bytes) + bytes_of(std::uint8_t{32});
  bytes = std::move(bytes) + bytes_of(static_cast<std::uint32_t>(13 + address_size));
  bytes = std::move(bytes) + bytes_of(std::uint32_t{1}) + bytes_of(std::uint8_t{1});
  bytes = std::move(bytes) + bytes_of(endpoint);
  auto address = std::as_bytes(std::span(&peer.storage, 1)).first(address_size);
  return std::move(bytes) + Bytes(address.begin(), address.end());
}

Bytes random_bytes(Random& random, std::size_t size) {
  Bytes bytes(size);
  for (std::byte& byte : bytes) {
    byte = static_cast<std::byte>(random.next());
  }
  return bytes;
}

Bytes text(const std::string& text) {
  auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

Bytes operator+(Bytes first, const Bytes& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

std::vector<Garbage> common_garbage(Random& random) {
  Bytes hello_of_tls = text(std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11));
  std::vector<Garbage> garbage = {
      {"64 bytes of ff", Bytes(64, std::byte{0xff})},
      {"64 zeros", Bytes(64)},
      {"a megabyte of zeros", Bytes(1 << 20)},
      {"HTTP", text("GET / HTTP/1.1\r\nHost: server\r\nAccept: */*\r\n\r\n")},
      {"TLS", std::move(hello_of_tls) + random_bytes(random, 500)},
      {"SSH", text("SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n")},
      {"a telnet of new lines", text("\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n")},
  };
  for (std::size_t size : {17U, 64U, 1000U, 4096U, 100'000U}) {
    garbage.push_back({fmt::format("{} random bytes", size), random_bytes(random, size)});
  }
  return garbage;
}

std::vector<Garbage> almost_requests(Random& random) {
  const Bytes good = good_request();
  std::vector<Garbage> garbage;
  for (std::uint64_t length :
       {~0ULL, 1ULL << 63, (1ULL << 63) - 1, ~0ULL - 15, 1ULL << 32, 2049ULL}) {
    garbage.push_back({fmt::format("length {:#x}", length), with(good, 0, length, 8)});
  }
  for (std::uint64_t length : {0U, 1U, 10U, 11U, 12U, 46U}) {
    garbage.push_back({fmt::format("length {} and more bytes", length), with(good, 0, length, 8)});
  }
  for (std::uint64_t length : {48U, 100U, 2048U}) {
    garbage.push_back({fmt::format("length {} and zeros", length),
                       with(good, 0, length, 8) + Bytes(length - kRequest.size())});
    garbage.push_back(
        {fmt::format("length {}, then random bytes", length),
         with(Bytes(kRequestHeaderBytes), 0, length, 8) + random_bytes(random, length)});
  }
  garbage.push_back({"a bad status", with(good, 8, 0xff, 1)});
  garbage.push_back({"no endpoint", with(good, kRequestHeaderBytes, 0, 8)});
  garbage.push_back({"twice the same", good + good});
  garbage.push_back({"with garbage behind", good + random_bytes(random, 100)});
  garbage.push_back({"a version of the far future", with(good, kRequestHeaderBytes + 8, 0xff, 1)});
  garbage.push_back(
      {"an address of the far future", with(good, kRequestHeaderBytes + 11, 0x0f, 1)});
  garbage.push_back({"more devices", with(good, kRequestHeaderBytes + 13, 0, 1)});
  garbage.push_back({"more interfaces", with(good, kRequestHeaderBytes + 32, 0x42, 1)});
  garbage.push_back({"more endpoints", with(good, kRequestHeaderBytes + 46, 1, 1)});
  garbage.push_back({"not a number", with(good, kRequestHeaderBytes + 20, 0x7fc00000, 4)});
  return garbage;
}

std::vector<Garbage> almost_connects(const SocketAddress& address, Random& random) {
  SocketAddress peer = make_address(address.ip(), 1).value();
  const Bytes good = good_connect(peer);
  const Bytes magic(good.begin(), good.begin() + kMagicBytes);
  constexpr std::size_t kLengthAt = kMagicBytes + 1;
  constexpr std::size_t kEventAt = kLengthAt + 4;
  constexpr std::size_t kEndpointAt = kEventAt + 5;
  std::vector<Garbage> garbage = {
      {"nobody's endpoint", good},
      {"nobody's endpoint and garbage", good + random_bytes(random, 100)},
      {"a pointer for an endpoint", good_connect(peer, 0x1000)},
      {"no endpoint", good_connect(peer, 0)},
      {"the address of the server itself", good_connect(address)},
      {"a larger address", good_connect(make_address("255.255.255.255", 65535).value())},
      {"an address of another family", with(good, kEndpointAt + 8, AF_UNIX, 2)},
      {"not to an endpoint", with(good, kEventAt + 4, 0, 1)},
      {"an unknown event", with(good, kEventAt, 0x70, 4)},
      {"an acknowledgement", with(good, kEventAt, 2, 4)},
      {"a goodbye", with(good, kEventAt, 4, 4)},
      {"a magic number off by one", with(good, 0, 0x79, 1)},
  };
  for (std::uint64_t length : {0U, 3U, 4U, 28U, 30U, 8192U, 0xffffffffU}) {
    garbage.push_back({fmt::format("a length of {}", length), with(good, kLengthAt, length, 4)});
  }
  for (unsigned id = 0; id < 40; ++id) {
    if (id == 32) {
      continue;  // this is right
    }
    garbage.push_back({fmt::format("message {} first", id),
                       with(good, kMagicBytes, id, 1) + random_bytes(random, 200)});
  }
  for (std::size_t size : {5U, 100U, 10'000U}) {
    garbage.push_back({"random bytes after the magic number", magic + random_bytes(random, size)});
    garbage.push_back({"zeros after the magic number", magic + Bytes(size)});
  }
  return garbage;
}

std::vector<SocketAddress> listening_addresses(pid_t process) {
  constexpr unsigned kListens = 10;
  std::set<unsigned long> ours = sockets_of(process);
  std::vector<SocketAddress> addresses;
  std::ifstream table(fmt::format("/proc/{}/net/tcp", process));
  for (std::string line; std::getline(table, line);) {
    unsigned ip = 0;
    unsigned port = 0;
    unsigned state = 0;
    unsigned long inode = 0;
    if (std::sscanf(line.c_str(),
                    " %*u: %x:%x %*x:%*x %x %*x:%*x %*x:%*x %*x %*u %*u %lu",
                    &ip,
                    &port,
                    &state,
                    &inode) != 4 ||
        state != kListens || !ours.contains(inode)) {
      continue;
    }
    char text[INET_ADDRSTRLEN] = "";
    in_addr address{.s_addr = ip == INADDR_ANY ? htonl(INADDR_LOOPBACK) : ip};
    ::inet_ntop(AF_INET, &address, text, sizeof text);
    addresses.push_back(make_address(text, static_cast<std::uint16_t>(port)).value());
  }
  return addresses;
}

}  // namespace benchfs::net::testing
