#include "wire/opcode.h"

namespace benchfs::wire {

std::string_view to_string(Opcode opcode) {
  switch (opcode) {
    case Opcode::kReadChunk:
      return "read chunk";
    case Opcode::kWriteChunk:
      return "write chunk";
    case Opcode::kFsyncChunks:
      return "fsync chunks";
    case Opcode::kTruncateChunks:
      return "truncate chunks";
    case Opcode::kQueryChunks:
      return "query chunks";
    case Opcode::kMark:
      return "mark";
    case Opcode::kNewLife:
      return "new life";
    case Opcode::kPunchChunk:
      return "punch chunk";
    case Opcode::kCopyChunk:
      return "copy chunk";
    case Opcode::kListChunks:
      return "list chunks";
    case Opcode::kLocateChunk:
      return "locate chunk";
    case Opcode::kBeginFill:
      return "begin fill";
    case Opcode::kEndFill:
      return "end fill";
    case Opcode::kGetXattr:
      return "get xattr";
    case Opcode::kSetXattr:
      return "set xattr";
    case Opcode::kLookup:
      return "lookup";
    case Opcode::kOpen:
      return "open";
    case Opcode::kMkdir:
      return "mkdir";
    case Opcode::kUnlink:
      return "unlink";
    case Opcode::kSetAttr:
      return "setattr";
    case Opcode::kReaddir:
      return "readdir";
    case Opcode::kRename:
      return "rename";
    case Opcode::kRmdir:
      return "rmdir";
    case Opcode::kSymlink:
      return "symlink";
    case Opcode::kMakeSpecial:
      return "make special";
    case Opcode::kGetAttr:
      return "getattr";
    case Opcode::kReadlink:
      return "readlink";
    case Opcode::kOpenInode:
      return "open inode";
    case Opcode::kOpenUnnamed:
      return "open unnamed";
    case Opcode::kAppend:
      return "append";
    case Opcode::kFsync:
      return "fsync";
    case Opcode::kLock:
      return "lock";
    case Opcode::kShutdown:
      return "shutdown";
    case Opcode::kPing:
      return "ping";
    case Opcode::kStatfs:
      return "statfs";
    case Opcode::kStats:
      return "stats";
    case Opcode::kInstallEntry:
      return "install entry";
    case Opcode::kFreezeDirectory:
      return "freeze directory";
    case Opcode::kThawDirectory:
      return "thaw directory";
    case Opcode::kForgetInode:
      return "forget inode";
    case Opcode::kSetParent:
      return "set parent";
    case Opcode::kLockRenames:
      return "lock renames";
    case Opcode::kSetCapacity:
      return "set capacity";
    case Opcode::kUnlockRenames:
      return "unlock renames";
    case Opcode::kInodeRange:
      return "inode range";
    case Opcode::kSettleInstall:
      return "settle install";
    case Opcode::kLink:
      return "link";
    case Opcode::kLinkInode:
      return "link inode";
    case Opcode::kMarkDirectory:
      return "mark directory";
    case Opcode::kQueryDirectory:
      return "query directory";
    case Opcode::kRegister:
      return "register";
    case Opcode::kConnectionClose:
      return "connection close";
    case Opcode::kInvalidate:
      return "invalidate";
    case Opcode::kInvalidateAck:
      return "invalidate ack";
    case Opcode::kGoodbye:
      return "goodbye";
    case Opcode::kCloseNotice:
      return "close notice";
    case Opcode::kOpensNotice:
      return "opens notice";
    case Opcode::kForward:
      return "forward";
    case Opcode::kForwardNotice:
      return "forward notice";
  }
  return "unknown";
}

}  // namespace benchfs::wire
