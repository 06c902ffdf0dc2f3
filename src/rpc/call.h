// A call: what a client wants sent, and what comes back.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <type_traits>

#include "base/clock.h"
#include "base/error.h"
#include "wire/codec.h"
#include "wire/header.h"
#include "wire/messages.h"

namespace benchfs::net {
class MemoryRegion;
}

namespace benchfs::rpc {

// Used in texts.
constexpr double seconds(Nanos span) {
  return std::chrono::duration<double>(span).count();
}

// The phase that a call has reached. The caller's error names it.
enum class CallPhase : std::uint8_t {
  kConnecting,
  kRegistering,
  kWaitingForSlot,  // or for room
  kSending,
  kWaitingForReply,
  kReceiving,
  kDone,
};

constexpr std::string_view to_string(CallPhase phase) {
  switch (phase) {
    case CallPhase::kConnecting:
      return "connecting";
    case CallPhase::kRegistering:
      return "registering";
    case CallPhase::kWaitingForSlot:
      return "waiting for a slot";
    case CallPhase::kSending:
      return "sending";
    case CallPhase::kWaitingForReply:
      return "waiting for the reply";
    case CallPhase::kReceiving:
      return "receiving the reply";
    case CallPhase::kDone:
      return "done";
  }
  return "?";
}

// A call under way, as a list of them shows it.
struct WaitingCall {
  wire::Opcode opcode = wire::Opcode::kPing;
  CallPhase phase = CallPhase::kWaitingForReply;
  Nanos age{};
};

// Fixed replies are small; everything larger is data.
inline constexpr std::size_t kMaxReplyBody = 128;
// The header of a reply with what follows it: its body, or the text that explains an error.
inline constexpr std::size_t kMaxReply =
    sizeof(wire::ReplyHeader) + std::max(kMaxReplyBody, wire::kMaxErrorText);

// One request. All spans are borrowed until the call returns; `into` may have been written to in
// part when the call fails.
struct Call {
  wire::Opcode opcode = wire::Opcode::kPing;
  std::span<const std::byte> body;  // the operation's fixed struct, as bytes
  std::string_view name;            // follows the fixed struct
  std::string_view second_name;
  std::uint16_t reply_bytes = 0;    // of the operation's fixed reply; a shorter one is malformed
  std::span<const std::byte> data;  // bulk to send
  std::span<std::byte> into;        // room for bulk to receive
  bool rendezvous = false;          // send `data` by rendezvous whatever its size
  const net::MemoryRegion* region = nullptr;
};

struct Reply {
  static constexpr std::size_t kShortBody = 32;
  std::uint32_t body_bytes = 0;
  std::uint32_t data_bytes = 0;  // of Call::into that were filled
  std::array<std::byte, kMaxReplyBody> body;

  // Copies what is there: replies pass through several hands, and most are short.
  Reply() = default;
  Reply(const Reply& other) { *this = other; }
  Reply& operator=(const Reply& other) {
    body_bytes = other.body_bytes;
    data_bytes = other.data_bytes;
    std::memcpy(body.data(), other.body.data(), kShortBody);
    if (body_bytes > kShortBody) {
      std::memcpy(body.data(), other.body.data(), kMaxReplyBody);
    }
    return *this;
  }

  // The operation's fixed reply. A call from make_call() has it: the connection has checked.
  template <typename T>
  [[nodiscard]] Result<T> as() const {
    static_assert(sizeof(T) <= kMaxReplyBody);
    if constexpr (std::is_empty_v<T>) {
      return T{};
    }
    if (body_bytes < sizeof(T)) {
      return fail(Errc::kMalformed, "the reply is shorter than its operation's");
    }
    T value;
    std::memcpy(&value, body.data(), sizeof(T));
    return value;
  }
};

template <typename Request>
Call make_call(const Request& request, std::string_view name = {}, std::string_view second = {}) {
  Call call;
  call.opcode = Request::kOpcode;
  if constexpr (!std::is_empty_v<typename Request::Reply>) {
    call.reply_bytes = sizeof(typename Request::Reply);
  }
  call.body = std::as_bytes(std::span(&request, 1));
  call.name = name;
  call.second_name = second;
  return call;
}

}  // namespace benchfs::rpc
