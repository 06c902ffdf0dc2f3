// Fixed limits of the protocol and the file system, related by static assertions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace benchfs::wire {

inline constexpr std::uint32_t kProtocolVersion = 6;

// Longest component of a path and longest path, as in Linux (NAME_MAX, PATH_MAX without the NUL).
inline constexpr std::size_t kMaxNameBytes = 255;
inline constexpr std::size_t kMaxPathBytes = 4095;
inline constexpr int kMaxSymlinkDepth = 40;

// The header part of a message: our header, the operation's fixed part and at most two names.
// UCX 1.13 allows about 8100 bytes and aborts above, so ours is far below.
inline constexpr std::size_t kMaxHeaderBytes = 1024;
// The same for a message inside another one (wire/forward.h).
inline constexpr std::size_t kForwardHeaderBytes = 32;
inline constexpr std::size_t kMaxForwardedBytes = kMaxHeaderBytes + kForwardHeaderBytes;

// Longest client id (the text a client registers with).
inline constexpr std::size_t kMaxClientIdBytes = 255;

// Chunk sizes a file may have: powers of two.
inline constexpr std::uint32_t kMinChunkBytes = 64U << 10;
inline constexpr std::uint32_t kMaxChunkBytes = 64U << 20;
inline constexpr std::uint32_t kDefaultChunkBytes = 4U << 20;

// The namespace of the extended attributes that servers keep.
inline constexpr std::string_view kXattrNamespace = "user.";
// Extended attributes, as in Linux: the longest name (its namespace included) and value. All names
// of an inode with a NUL each, and all names and values together.
inline constexpr std::size_t kMaxXattrNameBytes = 255;
inline constexpr std::size_t kMaxXattrValueBytes = 64U << 10;
inline constexpr std::size_t kMaxXattrListBytes = 64U << 10;
inline constexpr std::size_t kMaxXattrBytes = 128U << 10;

// Largest file: chunk indexes and offsets stay within int64.
inline constexpr std::uint64_t kMaxFileBytes = std::uint64_t{1} << 62;

// The longest lease under which a client uses names and attributes without asking; changes wait for
// clients that do not answer as long.
inline constexpr std::uint32_t kMaxExactLeaseMs = 10'000;

// Requests one client may have outstanding at one server; the slot part of a request id. The limit
// of 64 keeps a client that sleeps from filling its shared-memory FIFO of 256 entries.
inline constexpr std::uint32_t kMaxWindow = 64;

// Slot part of the id of a heartbeat: a ping beside the window, which is answered whatever else the
// session does.
inline constexpr std::uint32_t kHeartbeatSlot = 255;
static_assert(kHeartbeatSlot >= kMaxWindow);

// A text that explains the error of a reply.
inline constexpr std::size_t kMaxErrorText = 200;

// Clients registered at one shard; the slot part of a session id has room for more.
inline constexpr std::uint32_t kMaxClients = 1U << 20;

inline constexpr std::uint32_t kMaxShards = 4096;

// The largest answer to a Stats request.
inline constexpr std::uint32_t kMaxStatsBytes = 256U << 10;

// One page of a listing.
inline constexpr std::uint32_t kMaxReaddirBytes = 256U << 10;

static_assert(2 * kMaxNameBytes + 256 <= kMaxHeaderBytes, "a rename fits in one header");
static_assert(kMaxFileBytes / kMinChunkBytes < (std::uint64_t{1} << 62));

}  // namespace benchfs::wire
