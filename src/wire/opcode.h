// Operation numbers. The active-message id of a request is its opcode; the reply comes on
// reply_am_id(). Numbers below 50 follow the earlier implementation where it had the operation.
#pragma once

#include <cstdint>
#include <string_view>

namespace benchfs::wire {

enum class Opcode : std::uint16_t {
  // Chunks.
  kReadChunk = 12,
  kWriteChunk = 13,
  kFsyncChunks = 14,     // all chunks of one inode on this shard
  kTruncateChunks = 15,  // shard to shard
  kQueryChunks = 16,     // shard to shard: highest byte stored
  kMark = 17,            // shard to shard: bytes are stored here that the home does not know of
  kNewLife = 18,         // shard to shard: the sender started again
  kPunchChunk = 19,      // stored bytes become zeros
  kCopyChunk = 73,       // stored bytes become bytes of another chunk
  kListChunks = 62,      // of one inode on this shard
  kLocateChunk = 68,     // where a program of the node finds a chunk's bytes by itself
  kBeginFill = 66,       // room for a write whose bytes such a program brings by itself
  kEndFill = 67,         // they are there

  // Names and inodes.
  kLookup = 20,
  kOpen = 21,
  kMkdir = 22,
  kUnlink = 23,
  kSetAttr = 24,
  kReaddir = 26,
  kRename = 27,
  kRmdir = 28,
  kSymlink = 29,
  kMakeSpecial = 31,
  kGetAttr = 33,
  kReadlink = 34,
  kOpenInode = 35,
  kLink = 36,
  kAppend = 37,
  kFsync = 38,
  kLock = 61,
  kGetXattr = 63,
  kSetXattr = 64,
  kOpenUnnamed = 70,  // a new file without a name

  // Benchmarks and administration.
  kShutdown = 25,
  kPing = 30,
  kStatfs = 39,
  kStats = 40,

  // Shard to shard, in the service of one of the above.
  kInstallEntry = 41,
  kFreezeDirectory = 42,
  kThawDirectory = 43,
  kForgetInode = 44,
  kSetParent = 45,
  kLockRenames = 46,
  kUnlockRenames = 47,
  kInodeRange = 49,
  kSettleInstall = 32,
  kLinkInode = 58,
  kMarkDirectory = 59,
  kQueryDirectory = 60,

  // Administration.
  kSetCapacity = 48,

  // Connections. Register follows the requirement (50, reply 151).
  kRegister = 50,
  // One way, no reply.
  kConnectionClose = 52,  // server to client
  kInvalidate = 53,       // server to client
  kInvalidateAck = 54,    // client to server
  kGoodbye = 55,          // client to server: closing on purpose
  kCloseNotice = 56,      // client to server: a file was closed
  kOpensNotice = 57,      // client to server: which files are open
  // A message inside (wire/forward.h), to a shard of another node and back.
  kForward = 71,
  kForwardNotice = 72,  // server to client: not an answer
};

inline constexpr std::uint16_t kMaxRequestOpcode = 99;
inline constexpr std::uint16_t kBundleAmId = 100;  // messages inside (net/bundle.h)
inline constexpr std::uint16_t kRegisterReplyAmId = 151;

constexpr std::uint16_t reply_am_id(Opcode opcode) {
  return opcode == Opcode::kRegister ? kRegisterReplyAmId
                                     : static_cast<std::uint16_t>(static_cast<int>(opcode) + 100);
}

// True when executing the operation a second time leaves the same state and the same answer,
// whatever others did in between; for the data of a file: as if the write had come later. The
// replies to all others are kept (rpc/reply_history.h).
constexpr bool is_idempotent(Opcode opcode);

// A one-way message of a client to its server that a file service acts on; no reply is sent.
constexpr bool is_notice(Opcode opcode) {
  return opcode == Opcode::kCloseNotice || opcode == Opcode::kOpensNotice;
}

// A message to a server that is never answered.
constexpr bool is_one_way(Opcode opcode) {
  return is_notice(opcode) || opcode == Opcode::kGoodbye || opcode == Opcode::kInvalidateAck;
}

// Lower-case name for messages, e.g. "write chunk".
std::string_view to_string(Opcode opcode);

constexpr bool is_idempotent(Opcode opcode) {
  switch (opcode) {
    case Opcode::kReadChunk:
    case Opcode::kWriteChunk:
    case Opcode::kFsyncChunks:
    case Opcode::kTruncateChunks:
    case Opcode::kQueryChunks:
    case Opcode::kLookup:
    case Opcode::kReaddir:
    case Opcode::kGetAttr:
    case Opcode::kReadlink:
    case Opcode::kFsync:
    case Opcode::kPing:
    case Opcode::kStatfs:
    case Opcode::kStats:
    case Opcode::kSetCapacity:
    case Opcode::kShutdown:
    case Opcode::kFreezeDirectory:
    case Opcode::kThawDirectory:
    case Opcode::kForgetInode:
    case Opcode::kSetParent:
    case Opcode::kUnlockRenames:
    case Opcode::kInodeRange:
    case Opcode::kSettleInstall:
    case Opcode::kMark:
    case Opcode::kMarkDirectory:
    case Opcode::kQueryDirectory:
    case Opcode::kNewLife:
    case Opcode::kPunchChunk:
    case Opcode::kListChunks:
    case Opcode::kLocateChunk:
    case Opcode::kBeginFill:
    case Opcode::kEndFill:
    case Opcode::kGetXattr:
      return true;
    case Opcode::kCopyChunk:
    case Opcode::kSetAttr:
    case Opcode::kSetXattr:
    case Opcode::kOpen:
    case Opcode::kOpenInode:
    case Opcode::kOpenUnnamed:
    case Opcode::kAppend:
    case Opcode::kMkdir:
    case Opcode::kUnlink:
    case Opcode::kRename:
    case Opcode::kRmdir:
    case Opcode::kSymlink:
    case Opcode::kMakeSpecial:
    case Opcode::kInstallEntry:
    case Opcode::kLink:
    case Opcode::kLinkInode:
    case Opcode::kLock:
    case Opcode::kLockRenames:
    case Opcode::kRegister:
    case Opcode::kConnectionClose:
    case Opcode::kInvalidate:
    case Opcode::kInvalidateAck:
    case Opcode::kGoodbye:
    case Opcode::kCloseNotice:
    case Opcode::kOpensNotice:
    case Opcode::kForward:
    case Opcode::kForwardNotice:
      return false;
  }
  return false;
}

}  // namespace benchfs::wire
