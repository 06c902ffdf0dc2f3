// What can happen to the metadata of a shard, each change as one value with all its inputs, times
// included: MetaStore::apply() is the only function that carries them out, whole or not at all. The
// same changes applied to an empty store make the same store.
//
// Names, targets and lists are borrowed. Names have passed wire::check_name(). `now_ns` is wall
// time, in nanoseconds since the epoch, and is stored; `mono_now` only decides whether a directory
// is frozen, which nobody remembers over a restart.
//
// An entry's parent may live on another shard. What is known of it is checked by every change that
// makes an entry: ESTALE when it was removed (or never existed, if it would live here), ENOTDIR
// when it is an inode of this shard but no directory, Errc::kBusy while it is frozen. Making or
// removing an entry sets the times of a parent that lives here, to later ones than before.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "meta/entry.h"
#include "meta/open_table.h"
#include "wire/attr.h"
#include "wire/ids.h"
#include "wire/messages.h"

namespace benchfs::meta {

struct NewInode {
  std::uint32_t mode = 0;  // with S_IFMT
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  wire::Layout layout;       // regular files
  std::string_view target;   // symlinks
  std::uint32_t device = 0;  // devices
};

// Makes the root directory, mode 040755. Once, on shard 0, before anything else.
struct MakeRoot {
  using Outcome = wire::Attr;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::int64_t now_ns = 0;
};

// --- entries ---

// Makes an inode here and its entry. EEXIST, ENOSPC.
struct Create {
  using Outcome = Result<wire::Attr>;
  wire::InodeId parent;
  std::string_view name;
  NewInode inode;
  std::int64_t now_ns = 0;
  MonoTime mono_now;
};

// The same, and opens it. Also ENFILE, and EINVAL when the number is that of another open.
struct CreateOpen {
  using Outcome = Result<wire::Attr>;
  Create create;
  OpenId open;
  std::uint32_t open_flags = 0;
};

// Makes a file without a name, in the directory only as far as that must exist, and opens it. With
// wire::kOpenExclusive it never gets a name. Errors as CreateOpen's.
struct CreateUnnamed {
  using Outcome = Result<wire::Attr>;
  wire::InodeId parent;
  NewInode inode;
  OpenId open;
  std::uint32_t open_flags = 0;
  std::int64_t now_ns = 0;
};

// Inserts or replaces; what the entry led to before is the caller's to unlink. ENOSPC.
struct PutEntry {
  using Outcome = Status;
  wire::InodeId parent;
  std::string_view name;
  Entry entry;
  std::int64_t now_ns = 0;
  MonoTime mono_now;
};

// ENOENT. The inode stays; see Unlink. Works for removed parents too.
struct RemoveEntry {
  using Outcome = Status;
  wire::InodeId parent;
  std::string_view name;
  std::int64_t now_ns = 0;
};

// The directory is gone for ever, frozen or not. Idempotent; nothing for an inode of this shard
// that does not exist, nor for the root.
struct RemoveDirectory {
  using Outcome = void;
  wire::InodeId directory;
};

// --- inodes of this shard: ENOENT for all others ---

// Mode bits, owner and times as in request.mask; never the size, see Truncate.
struct SetAttr {
  using Outcome = Result<wire::Attr>;
  wire::InodeId inode;
  wire::SetAttrRequest request;
  std::int64_t now_ns = 0;
};

// Cuts a regular file to `size`. EISDIR, EINVAL (symlink), EFBIG.
struct Truncate {
  using Outcome = Status;
  wire::InodeId inode;
  std::uint64_t size = 0;
  std::int64_t now_ns = 0;
};

// Makes a regular file longer; no truncation. Never shorter. Errors as Truncate.
struct Extend {
  using Outcome = Status;
  wire::InodeId inode;
  std::uint64_t size = 0;
  std::int64_t now_ns = 0;
};

// A shard is about to store bytes of a regular file at rest: its contents have a new version
// (wire::Attr::content_version()). Truncate, Extend and Append do the same. Errors as Truncate.
struct BeginWrites {
  using Outcome = Status;
  wire::InodeId inode;
};

// Takes up what chunk shards answer: the size grows to `end`, the times to mtime_ns (of the last
// write; 0 = none). A write from before the last utimens() does not change mtime. Errors as
// Truncate.
struct Settle {
  using Outcome = Status;
  wire::InodeId inode;
  std::uint64_t end = 0;
  std::int64_t mtime_ns = 0;
};

// Reserves `length` bytes at the end of a regular file. Errors as Truncate. The caller takes up
// first what plain writers have written.
struct Append {
  using Outcome = Result<wire::AppendReply>;
  wire::InodeId inode;
  std::uint64_t length = 0;
  std::int64_t now_ns = 0;
};

// After a rename moved the directory. ENOTDIR.
struct SetParent {
  using Outcome = Status;
  wire::InodeId directory;
  wire::InodeId parent;
};

// Takes up what other shards did to a directory: a change of its entries at changed_ns by their
// clocks (0: none), and how many entries they have that are directories. mtime and ctime grow with
// a change, whatever the clocks say. ENOTDIR.
struct ChangeElsewhere {
  using Outcome = Status;
  wire::InodeId directory;
  std::int64_t changed_ns = 0;
  std::uint32_t subdirectories = 0;
};

// Gives an inode one more name. ENOENT when it has none, unless it was made without and has never
// lost one; EPERM for a directory, EMLINK.
struct Link {
  using Outcome = Result<wire::Attr>;
  wire::InodeId inode;
  std::int64_t now_ns = 0;
};

// Extended attributes of a regular file or directory; EPERM for others. `flags`: those of
// wire::SetXattrFlags, with their errors. ENOSPC: beyond the limits.
struct SetXattr {
  using Outcome = Status;
  wire::InodeId inode;
  std::string_view name;
  std::string_view value;
  std::uint32_t flags = 0;
  std::int64_t now_ns = 0;
};

// Drops one name of an inode; nothing when it has none. True when it has none now and nobody has it
// open: the caller frees what it has elsewhere, and erases it. EBUSY for the root.
struct Unlink {
  using Outcome = Result<bool>;
  wire::InodeId inode;
  std::int64_t now_ns = 0;
  bool was_unmade = false;  // the name was counted, but nobody ever saw it
};

// The inode must exist, without a name and not open.
struct Erase {
  using Outcome = void;
  wire::InodeId inode;
};

// --- opens of inodes of this shard, see OpenTable ---

// An open that is known is the same open: nothing changes. ENOENT (also when it has no name; with
// wire::kOpenUnlinked, only when nobody has it open either), EISDIR (directory for writing), ELOOP
// (symlink), ENFILE; EINVAL when the number is that of another inode's open.
struct OpenInode {
  using Outcome = Result<wire::Attr>;
  wire::InodeId inode;
  OpenId open;
  std::uint32_t open_flags = 0;
};

// The inode may be unused afterwards: see MetaStore::is_unused(). So it is for the next two.
struct Close {
  using Outcome = std::optional<Open>;
  OpenId open;
};

struct CloseAll {
  using Outcome = std::vector<Open>;
  std::uint64_t client_uid = 0;
};

// Closes the client's opens with from <= number < to, but for those in `kept` (ascending).
struct KeepOnly {
  using Outcome = std::vector<Open>;
  std::uint64_t client_uid = 0;
  std::uint64_t from = 0;
  std::uint64_t to = 0;
  std::span<const std::uint64_t> kept;
};

using Change = std::variant<MakeRoot,
                            Create,
                            CreateOpen,
                            CreateUnnamed,
                            PutEntry,
                            RemoveEntry,
                            RemoveDirectory,
                            SetAttr,
                            Truncate,
                            Extend,
                            BeginWrites,
                            Settle,
                            Append,
                            SetParent,
                            ChangeElsewhere,
                            Link,
                            SetXattr,
                            Unlink,
                            Erase,
                            OpenInode,
                            Close,
                            CloseAll,
                            KeepOnly>;

}  // namespace benchfs::meta
