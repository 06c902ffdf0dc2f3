#include "net/opening.h"

#include <netinet/in.h>
#include <ucp/api/ucp.h>

#include <algorithm>
#include <cmath>
#include <compare>
#include <cstring>
#include <initializer_list>

namespace benchfs::net {
namespace {

// --- Messages to the listener (uct/tcp/tcp_sockcm.h, ucp/core/ucp_ep.h) ------------------------

struct RequestHeader {
  std::uint64_t length;
  std::uint8_t status;
  std::uint8_t padding[7];
};
static_assert(sizeof(RequestHeader) == 16);

// Takes values off the front; `ok` is false once there was not enough.
class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : bytes_(bytes) {}
  template <typename T>
  T take() {
    T value{};
    if (skip(sizeof(T))) {
      std::memcpy(&value, taken_, sizeof(T));
    }
    return value;
  }
  bool skip(std::size_t size) {
    ok_ = ok_ && size <= bytes_.size();
    if (ok_) {
      taken_ = bytes_.data();
      bytes_ = bytes_.subspan(size);
    }
    return ok_;
  }
  [[nodiscard]] bool ok() const { return ok_; }
  [[nodiscard]] bool at_end() const { return ok_ && bytes_.empty(); }

 private:
  std::span<const std::byte> bytes_;
  const std::byte* taken_ = nullptr;
  bool ok_ = true;
};

constexpr std::uint8_t kLast = 0x80;
constexpr std::uint8_t kHasEndpoints = 0x40;  // of an interface
constexpr std::uint8_t kHasPaths = 0x40;      // of a device
constexpr std::uint8_t kHasSystemDevice = 0x20;
constexpr std::uint8_t kEmptyDevice = 0x80;
constexpr std::uint8_t kMaxLanes = 16;
constexpr std::uint8_t kMaxMemoryDomains = 64;
// Sizes for the transport "tcp", the only one whose connection depends on the content of a request.
constexpr std::size_t kMinInterfaceAddress = 2;
constexpr std::size_t kMinEndpointAddress = 10;

enum class AddressVersion : std::uint8_t { kOne, kTwo };

// The low bits of a byte; in version 2 another byte follows if they are all set.
std::uint8_t take_extended(Reader& in,
                           std::uint8_t first,
                           std::uint8_t mask,
                           AddressVersion version) {
  auto value = static_cast<std::uint8_t>(first & mask);
  return version == AddressVersion::kTwo && value == mask ? in.take<std::uint8_t>() : value;
}

// The attributes of the transport, by which UCX chooses one.
bool take_attributes(Reader& in, AddressVersion version) {
  if (version == AddressVersion::kTwo) {
    return in.skip(8);
  }
  auto overhead = in.take<float>();
  auto bandwidth = in.take<float>();
  auto latency = in.take<float>();
  in.skip(4);  // priority and capabilities
  return in.ok() && std::isfinite(overhead) && overhead >= 0 && std::isfinite(bandwidth) &&
         bandwidth != 0 && std::isfinite(latency) && latency >= 0;
}

bool take_endpoints(Reader& in) {
  for (int i = 0; i < kMaxLanes; ++i) {
    auto length = in.take<std::uint8_t>();
    in.skip(length);
    auto lane = in.take<std::uint8_t>();
    if (!in.ok() || length < kMinEndpointAddress || (lane & 0x3f) >= kMaxLanes) {
      return false;
    }
    if ((lane & kLast) != 0) {
      return true;
    }
  }
  return false;
}

// The interfaces of one device.
bool take_interfaces(Reader& in, AddressVersion version) {
  while (true) {
    in.skip(2);  // checksum of the transport's name
    if (!take_attributes(in, version)) {
      return false;
    }
    auto flags = in.take<std::uint8_t>();
    std::uint8_t length = take_extended(in, flags, 0x3f, version);
    if (!in.skip(length) || length < kMinInterfaceAddress || (flags & kHasEndpoints) == 0 ||
        !take_endpoints(in)) {
      return false;
    }
    if ((flags & kLast) != 0) {
      return true;
    }
  }
}

// One device; clears `more` if it is the last.
bool take_device(Reader& in, AddressVersion version, bool& more) {
  auto domain = in.take<std::uint8_t>();
  std::uint8_t domain_mask = version == AddressVersion::kOne ? 0x1f : 0x7f;
  if (take_extended(in, domain, domain_mask, version) >= kMaxMemoryDomains ||
      (domain & kEmptyDevice) != 0) {
    return false;
  }
  auto flags = in.take<std::uint8_t>();
  std::uint8_t length = take_extended(in, flags, 0x1f, version);
  if ((flags & kHasPaths) != 0 && in.take<std::uint8_t>() == 0) {
    return false;
  }
  if ((flags & kHasSystemDevice) != 0) {
    in.skip(1);
  }
  more = (flags & kLast) == 0;
  return in.skip(length) && take_interfaces(in, version);
}

bool knows_requests() {
  static const bool knows = [] {
    unsigned major = 0;
    unsigned minor = 0;
    unsigned release = 0;
    ucp_get_version(&major, &minor, &release);
    return major == 1 && minor < 14;
  }();
  return knows;
}

std::size_t size_of_request(std::span<const std::byte> bytes) {
  RequestHeader header{};
  if (bytes.size() < sizeof header.length) {
    return sizeof header;
  }
  std::memcpy(&header, bytes.data(), std::min(bytes.size(), sizeof header));
  if (header.length == 0 || header.length > kMaxRequestBytes - sizeof header) {
    return 0;
  }
  if (bytes.size() < sizeof header) {
    return sizeof header;
  }
  std::size_t size = sizeof header + header.length;
  bool wrong = header.status != 0 || (bytes.size() == size && knows_requests() &&
                                      !is_request(bytes.subspan(sizeof header)));
  return wrong ? 0 : size;
}

std::size_t size_of_notice(std::span<const std::byte> bytes) {
  RequestHeader header{};
  std::memcpy(&header, bytes.data(), std::min(bytes.size(), sizeof header));
  return header.length != 0 || header.status != 0 ? 0 : sizeof header;
}

// --- Messages to the transport's port (uct/tcp/tcp.h) --------------------------------------------

constexpr std::uint64_t kMagicNumber = 0xCAFEBABE12345678;
constexpr std::uint8_t kConnectionMessage = 32;
constexpr std::uint32_t kConnectionRequest = 1;
constexpr std::uint8_t kToEndpoint = 1;

struct [[gnu::packed]] ConnectHeader {
  std::uint8_t message;
  std::uint32_t length;  // of what follows, with the address
  std::uint32_t event;
  std::uint8_t flags;
  std::uint64_t endpoint;
};
static_assert(sizeof(ConnectHeader) == 18);
constexpr std::size_t kMessageHeaderBytes = 5;

std::size_t size_of_magic(std::span<const std::byte> bytes) {
  std::byte right[sizeof kMagicNumber];
  std::memcpy(right, &kMagicNumber, sizeof right);
  return std::memcmp(bytes.data(), right, std::min(bytes.size(), sizeof right)) == 0 ? sizeof right
                                                                                     : 0;
}

// UCX's order, by which it is agreed which of two sides connects: the smaller address.
template <typename Address>
bool is_smaller(std::span<const std::byte> bytes,
                const SocketAddress& here,
                sa_family_t Address::* family,
                in_port_t Address::* port,
                std::size_t ip_offset,
                std::size_t ip_size) {
  Address theirs;
  Address ours;
  std::memcpy(&theirs, bytes.data(), sizeof theirs);
  std::memcpy(&ours, &here.storage, sizeof ours);
  if (theirs.*family != ours.*family) {
    return false;
  }
  int order = std::memcmp(reinterpret_cast<const char*>(&theirs) + ip_offset,
                          reinterpret_cast<const char*>(&ours) + ip_offset,
                          ip_size);
  return order < 0 || (order == 0 && ntohs(theirs.*port) < ntohs(ours.*port));
}

bool may_connect(std::span<const std::byte> peer, const SocketAddress& here) {
  if (here.storage.ss_family == AF_INET6) {
    return is_smaller(peer,
                      here,
                      &sockaddr_in6::sin6_family,
                      &sockaddr_in6::sin6_port,
                      offsetof(sockaddr_in6, sin6_addr),
                      sizeof(in6_addr));
  }
  return is_smaller(peer,
                    here,
                    &sockaddr_in::sin_family,
                    &sockaddr_in::sin_port,
                    offsetof(sockaddr_in, sin_addr),
                    sizeof(in_addr));
}

std::size_t size_of_connect(std::span<const std::byte> bytes, const SocketAddress& here) {
  std::size_t address_size =
      here.storage.ss_family == AF_INET6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in);
  std::size_t size = sizeof(ConnectHeader) + address_size;
  ConnectHeader header{};
  std::memcpy(&header, bytes.data(), std::min(bytes.size(), sizeof header));
  if (bytes.size() < kMessageHeaderBytes) {
    return size;
  }
  if (header.message != kConnectionMessage || header.length != size - kMessageHeaderBytes) {
    return 0;
  }
  if (bytes.size() < size) {
    return size;
  }
  // An even key is a pointer, which UCX follows; all that it makes for others are odd.
  bool right = header.event == kConnectionRequest && header.flags == kToEndpoint &&
               (header.endpoint & 1) != 0 && may_connect(bytes.subspan(sizeof header), here);
  return right ? size : 0;
}

}  // namespace

// Version 1 (the default before UCX 1.16): endpoint id, error handling mode, kind of address, index
// of the device. Version 2, which the environment may choose: endpoint id, flags.
bool is_request(std::span<const std::byte> request) {
  Reader in(request);
  if (in.take<std::uint64_t>() == 0) {  // no endpoint
    return false;
  }
  auto header = in.take<std::uint8_t>();
  switch (header >> 5) {
    case 0: {
      constexpr std::uint8_t kConnectionManagerAddress = 2;
      bool is_known = header <= 1 && in.take<std::uint8_t>() == kConnectionManagerAddress;
      if (!is_known || !in.skip(1)) {
        return false;
      }
      break;
    }
    case 1:
      break;
    default:
      return false;
  }
  auto first = in.take<std::uint8_t>();
  auto version = static_cast<AddressVersion>(first & 0x0f);
  if (version != AddressVersion::kOne && version != AddressVersion::kTwo) {
    return false;
  }
  std::uint8_t flags = version == AddressVersion::kOne ? first >> 4 : in.take<std::uint8_t>();
  in.skip((flags & 2) != 0 ? 8 : 0);  // id of the worker
  in.skip((flags & 4) != 0 ? 8 : 0);  // id of the client
  bool more = true;
  while (more) {
    if (!take_device(in, version, more)) {
      return false;
    }
  }
  return in.at_end();
}

std::size_t expected_size(Stage stage,
                          std::span<const std::byte> bytes,
                          const SocketAddress& here) {
  switch (stage) {
    case Stage::kRequest:
      return size_of_request(bytes);
    case Stage::kNotice:
      return size_of_notice(bytes);
    case Stage::kMagic:
      return size_of_magic(bytes);
    case Stage::kConnect:
      return size_of_connect(bytes, here);
    case Stage::kTrusted:
    case Stage::kAnswer:
    case Stage::kQuiet:
    case Stage::kRefused:
      break;
  }
  return bytes.empty() ? 1 : 0;  // nothing is expected
}

Stage after(Stage stage) {
  switch (stage) {
    case Stage::kRequest:
      return Stage::kAnswer;
    case Stage::kAnswer:
      return Stage::kNotice;
    case Stage::kNotice:
      return Stage::kQuiet;
    case Stage::kMagic:
      return Stage::kConnect;
    case Stage::kConnect:
      return Stage::kTrusted;
    case Stage::kTrusted:
    case Stage::kQuiet:
    case Stage::kRefused:
      break;
  }
  return stage;
}

}  // namespace benchfs::net
