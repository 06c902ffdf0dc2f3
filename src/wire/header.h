// The headers in front of every message. Little-endian, trivially copyable, checked for size.
//
// An active message has a header part and a data part. The header part of a request is
// RequestHeader, then the operation's fixed struct (wire/messages.h), then names without
// separators. The header part of a reply is ReplyHeader, then the operation's fixed reply. Bulk
// bytes, listings and link targets travel in the data part. Registration has separate headers,
// given by the requirement.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "wire/ids.h"
#include "wire/limits.h"
#include "wire/opcode.h"

namespace benchfs::wire {

static_assert(std::endian::native == std::endian::little,
              "the wire format is little-endian and copied as it is");

// The operation is the id of the active message. In UCX's shared-memory FIFO 28 bytes of a message
// share the cache line that announces it: this header and a word of data do.
#pragma pack(push, 4)
struct RequestHeader {
  std::uint64_t request_id = 0;        // RequestId
  std::uint64_t session_id = 0;        // SessionId
  std::uint32_t deadline_ms : 24 = 0;  // time the caller will still wait; the largest is "longer"
  std::uint32_t flags : 8 = 0;         // 0 for now; unknown flags are malformed
};
#pragma pack(pop)
inline constexpr std::uint32_t kLongestDeadlineMs = (1U << 24) - 1;
static_assert(sizeof(RequestHeader) == 20 && std::is_trivially_copyable_v<RequestHeader>);

// The operation's fixed reply follows it. An error is followed by nothing, or by a text of at most
// kMaxErrorText bytes that says what failed and on which node.
struct ReplyHeader {
  std::uint64_t request_id = 0;
  std::uint16_t transport = 0;  // Errc of the RPC layer; kOk when the operation ran
  std::uint16_t flags = 0;
  std::int32_t status = 0;  // 0 or a positive errno: the file system's answer
};
static_assert(sizeof(ReplyHeader) == 16 && std::is_trivially_copyable_v<ReplyHeader>);

// --- Registration (requirement section 3.4; extended at the end) ---------------------------------

// Data part: the client id, client_id_len bytes of text. The fields up to `attempt` stay where they
// are in all versions, so that every version is told apart and gets an answer.
// Why a client that comes over the network did not come through a node door.
enum class NoDoor : std::uint32_t {
  kUnsaid,      // or it came through one
  kNotWanted,   // it was told to use the network (BENCHFS_TRANSPORT=ucx)
  kNone,        // no daemon of this run on its node, or a container that does not show its door
  kOtherUser,   // doors of other users only
  kNotPrivate,  // the directory of doors can be entered by others, or is not its user's
  kNotHere,     // there are doors on its node, but this shard has none there
  kRefused,     // by the daemon, or somebody else was at the door
  kNoRoom,      // too many at the door, or no memory for it at the daemon
  kSilent,      // no answer in time
  kOtherVersion,
  kOwnLack,  // of descriptors or memory in the program
};
inline constexpr std::size_t kNoDoorReasons = 11;

struct RegisterClientRequestHeader {
  std::uint32_t client_id_len = 0;
  NoDoor no_door = NoDoor::kUnsaid;  // any number may come
  std::uint32_t version = kProtocolVersion;
  std::uint32_t flags = 0;
  std::uint64_t run_id = 0;           // of the server list; 0 = any
  std::uint64_t client_uid = 0;       // random, made once in the life of the client
  std::uint64_t attempt = 0;          // echoed in the response
  std::uint8_t nonce[16] = {};        // random, the client's part of what it proves
  std::array<std::byte, 32> proof{};  // 0, or the answer to a challenge (wire/registration.h)
};
static_assert(sizeof(RegisterClientRequestHeader) == 88);
inline constexpr std::size_t kRegisterFixedBytes = offsetof(RegisterClientRequestHeader, nonce);
static_assert(kRegisterFixedBytes == 40);

enum RegisterFlags : std::uint32_t {
  // The client looks at the validity words of its link: it need not be told what they show.
  kRegisterLooksAtWords = 1U << 0,
  // It is a server of the same file system.
  kRegisterIsServer = 1U << 1,
};

using Challenge = std::array<std::byte, 32>;

enum class RegisterStatus : std::uint32_t {
  kOk = 0,
  kError = 1,
  kChallenge = 2,  // prove the cluster secret: register again on this connection
};

// The answer to RegisterClient, but when status is kChallenge. Both forms are short enough for UCX
// to put them into one cell of the client's queue in shared memory; a longer message takes a page
// more of the server's memory for each client.
struct RegisterClientResponseHeader {
  std::uint32_t status = 0;      // RegisterStatus: kOk or kError
  std::uint32_t error_code = 0;  // Errc when status is kError
  std::uint32_t version = kProtocolVersion;
  std::uint32_t window = 0;  // requests the client may have outstanding here
  std::uint64_t attempt = 0;
  std::uint64_t session_id = 0;
  std::uint64_t run_id = 0;
  std::uint32_t shard = 0;               // this server's shard index
  std::uint32_t shard_count = 0;         // shards in the file system
  std::uint32_t chunk_bytes = 0;         // of new files
  std::uint32_t max_transfer_bytes = 0;  // largest data part of one request or reply
  std::uint64_t window_bytes = 0;        // bulk bytes the client may have outstanding here
  std::uint32_t flags = 0;               // kRegisterRemembered or 0
  // The time after a request for a directory's name during which the client may use the answer.
  std::uint32_t directory_lease_ms = 0;
};
static_assert(sizeof(RegisterClientResponseHeader) == 72);

// The answer when status is kChallenge.
struct RegisterChallengeHeader {
  std::uint32_t status = static_cast<std::uint32_t>(RegisterStatus::kChallenge);
  std::uint32_t error_code = 0;  // 0
  std::uint32_t version = kProtocolVersion;
  std::uint32_t padding = 0;
  std::uint64_t attempt = 0;
  Challenge challenge{};  // random, used once
};
static_assert(sizeof(RegisterChallengeHeader) == 56);

// The server remembers what it answered to this client before: requests may be sent again.
inline constexpr std::uint32_t kRegisterRemembered = 1;

enum class CloseReason : std::uint32_t { kEviction = 0, kShutdown = 1, kError = 2, kReplaced = 3 };

struct ConnectionCloseRequestHeader {
  std::uint32_t reason = 0;  // CloseReason
  std::uint32_t padding = 0;
  std::uint64_t session_id = 0;
};
static_assert(sizeof(ConnectionCloseRequestHeader) == 16);

// Precedes every one-way message of a client that concerns its session.
struct NoticeHeader {
  std::uint64_t session_id = 0;
};

struct GoodbyeHeader {
  std::uint64_t session_id = 0;
};

// A server asks a client to forget the cached entry `name` (follows) of directory `parent`, or
// every cached entry when parent is 0. The client answers with the same sequence.
//
// With kInvalidateByWord no name follows, and the client is not told: the shard that passes the
// message on shows it in the word of this number, and answers.
enum InvalidateFlags : std::uint16_t {
  kInvalidateByWord = 1U << 0,
};
struct InvalidateHeader {
  std::uint64_t sequence = 0;
  std::uint64_t session_id = 0;
  std::uint64_t parent = 0;
  std::uint16_t name_bytes = 0;
  std::uint16_t flags = 0;  // InvalidateFlags
  std::uint16_t word = 0;
  std::uint16_t padding = 0;
};
static_assert(sizeof(InvalidateHeader) == 32);

struct InvalidateAckHeader {
  std::uint64_t sequence = 0;
  std::uint64_t session_id = 0;
};

}  // namespace benchfs::wire
