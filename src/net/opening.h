// Recognises the first bytes that UCX peers send when they connect to us over TCP.
//
// UCX trusts these bytes: a length that is too large or a message out of turn aborts the process
// (an assertion, in Debian's build), a short address makes it read beyond the message. Stages of a
// connection to the listener, whose messages have a header of 16 bytes (length, status):
//
//   kRequest  the connecting side: ids and the packed address of the peer
//   kAnswer   our turn: nothing may come until the answer is sent
//   kNotice   the peer has the answer: a header, without more
//   kQuiet    nothing more comes but the end
//
// and of one to the port of the transport "tcp": kMagic (8 bytes) and kConnect (which endpoint is
// meant). After that it is kTrusted: UCX's own protocol, which has no defence against a peer that
// speaks it and lies.
//
// The layout is that of UCX 1.13. The header, the magic number and kConnect are the same up
// to 1.19; the request is looked into before 1.14 only, its length always. Pure functions, any
// thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "net/address.h"

namespace benchfs::net {

enum class Stage : std::uint8_t {
  kTrusted,
  kRequest,
  kAnswer,
  kNotice,
  kQuiet,
  kMagic,
  kConnect,
  kRefused,
};

// UCX reads at most this much of a message to the listener (TCP_CM_PRIV_DATA_LEN and the header).
constexpr std::size_t kMaxRequestBytes = 2048 + 16;

// The size of the message that begins with `bytes`, as far as they tell: larger than they are if
// some are missing, the same if the message is complete and right; 0 if no peer sends this. `here`
// is our address of the connection; only kConnect needs it.
std::size_t expected_size(Stage stage,
                          std::span<const std::byte> bytes,
                          const SocketAddress& here = {});

// The stage after a complete message.
Stage after(Stage stage);

// Whether the request of a connection (without its header) has the layout of UCX before 1.14.
bool is_request(std::span<const std::byte> request);

}  // namespace benchfs::net
