// What travels through a daemon: a program reaches shards of other nodes through a shard of its
// own, which passes its messages on over the connection that it has (docs/wire.md, "Forwarding").
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "wire/codec.h"
#include "wire/header.h"

namespace benchfs::wire {

enum ForwardFlags : std::uint16_t {
  kForwardDied = 1U << 0,    // with id 0: the program's process has ended, for certain
  kForwardNoRoom = 1U << 1,  // with id 0, to a program: a message was too much for this way
};

// The end of a channel.
inline constexpr std::uint16_t kChannelEnd = 0;
// The process of the program has ended; what it has sent is still on its way, or served.
inline constexpr std::uint16_t kProgramDied = 0xFFFF;

// Precedes the header of the message inside.
struct ForwardHeader {
  std::uint64_t call = 0;          // of the message that is to be answered, and of its answer; or 0
  std::uint64_t channel = 0;       // given by who opened it: the program, or the daemon between
  std::uint64_t session_id = 0;    // of the daemon between at the far shard; 0 from a program
  std::uint32_t shard = 0;         // the far shard
  std::uint16_t id = kChannelEnd;  // of the message inside, or kProgramDied
  std::uint16_t flags = 0;         // ForwardFlags
};
static_assert(sizeof(ForwardHeader) == kForwardHeaderBytes);

// The call of a message: what its reply begins with, so that both sides know it without a table.
// 0: no reply is sent.
inline std::uint64_t forwarded_call(std::uint16_t id, std::span<const std::byte> header) {
  auto opcode = static_cast<Opcode>(id);
  if (is_one_way(opcode)) {
    return 0;
  }
  std::size_t at = 0;
  if (opcode == Opcode::kRegister) {
    at = offsetof(RegisterClientRequestHeader, attempt);
  } else if (id == kRegisterReplyAmId) {
    at = offsetof(RegisterClientResponseHeader, attempt);
  }
  std::uint64_t call = 0;
  if (header.size() >= at + sizeof call) {
    std::memcpy(&call, header.data() + at, sizeof call);
  }
  return call;
}
static_assert(offsetof(RegisterChallengeHeader, attempt) ==
              offsetof(RegisterClientResponseHeader, attempt));

using ForwardedHeader = HeaderBuffer<kMaxForwardedBytes>;
inline ForwardedHeader forwarded(const ForwardHeader& outer, std::span<const std::byte> inner) {
  ForwardedHeader header;
  header.append(outer);
  header.append_bytes(inner);
  return header;
}

}  // namespace benchfs::wire
