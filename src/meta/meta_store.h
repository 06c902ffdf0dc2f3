// The metadata of one shard: the directory entries that hash to it, and the inodes made on it.
//
// Single-threaded and synchronous; knows nothing of RPC, other shards or clocks. Every method that
// changes something is one atomic change with all its inputs as arguments, times included, and
// either happens whole or returns an error and changes nothing. Wall times (`now_ns`, nanoseconds
// since the epoch) are stored in inodes; monotonic times only decide whether a freeze has ended.
//
// An entry's parent may live on another shard. What is known of it is checked by every entry method
// that takes it: ESTALE when it was removed (or never existed, if it would live here), ENOTDIR when
// it is an inode of this shard but no directory. Names must have passed wire::check_name().
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "meta/directory_states.h"
#include "meta/entry.h"
#include "meta/entry_table.h"
#include "meta/inode_table.h"
#include "meta/open_table.h"
#include "wire/attr.h"
#include "wire/ids.h"
#include "wire/messages.h"

namespace benchfs::meta {

struct NewInode {
  std::uint32_t mode = 0;  // with S_IFMT: regular file, directory or symlink
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  wire::Layout layout;      // regular files
  std::string_view target;  // symlinks; copied
};

class MetaStore {
 public:
  struct Config {
    // About 100 bytes each. ENOSPC beyond.
    std::uint64_t max_inodes = std::uint64_t{64} << 20;
    // About 100 bytes each. ENOSPC beyond.
    std::uint64_t max_entries = std::uint64_t{64} << 20;
    // Opens not yet closed, of all clients; below 2^32. ENFILE beyond.
    std::uint64_t max_opens = std::uint64_t{16} << 20;
    // The counter of the first new inode. A shard that starts again without its inodes must not
    // give out their numbers once more: clients may have them open, and other shards still hold
    // their chunks, their entries, and that they were removed.
    std::uint64_t first_counter = 0;
  };

  MetaStore(wire::ShardId self, std::uint32_t shard_count, Config config);

  // Makes the root directory, mode 040755. Once, on shard 0, before anything else.
  wire::Attr make_root(std::uint32_t uid, std::uint32_t gid, std::int64_t now_ns);

  // --- entries ---

  // ENOENT.
  [[nodiscard]] Result<Entry> find(wire::InodeId parent, std::string_view name) const;
  // Makes an inode here and its entry. EEXIST, ENOSPC; Errc::kBusy while the parent is frozen.
  Result<wire::Attr> create(wire::InodeId parent,
                            std::string_view name,
                            const NewInode& inode,
                            std::int64_t now_ns,
                            MonoTime mono_now);
  // Inserts or replaces; what the entry led to before is the caller's to unlink. ENOSPC;
  // Errc::kBusy while the parent is frozen.
  Status put_entry(wire::InodeId parent, std::string_view name, Entry entry, MonoTime mono_now);
  // ENOENT. The inode stays; see unlink(). Works for removed parents too.
  Status remove_entry(wire::InodeId parent, std::string_view name);

  using Page = EntryTable::Page;
  // Appends packed wire::DirEntryHeader + name to `out`, at most max_bytes, for the entries here
  // whose names follow `cursor` in byte order. EINVAL when not even the first one fits.
  Result<Page> list(wire::InodeId directory,
                    std::string_view cursor,
                    std::size_t max_bytes,
                    std::vector<std::byte>& out) const;
  [[nodiscard]] bool has_entries(wire::InodeId directory) const {
    return entries_.has_entries(directory);
  }

  // --- removing a directory: freeze on all shards, then thaw on all ---

  // Refuses new entries until `until`. Idempotent for the same owner, and moves `until` then.
  // ENOTEMPTY when it has entries here, EBUSY for the root, Errc::kBusy while another owner's
  // freeze lasts.
  Status freeze(wire::InodeId directory, std::uint64_t owner, MonoTime until, MonoTime mono_now);
  // Allows entries again if `owner` froze it, or, with `removed`, marks the directory as gone for
  // ever whatever its state was. Idempotent.
  void thaw(wire::InodeId directory, std::uint64_t owner, bool removed);
  [[nodiscard]] bool is_frozen(wire::InodeId directory, MonoTime mono_now) const {
    return directories_.is_frozen(directory, mono_now);
  }

  // --- inodes of this shard: ENOENT for all others ---

  [[nodiscard]] Result<wire::Attr> attr(wire::InodeId id) const;
  // Borrowed until the inode is gone. EINVAL when it is no symlink.
  [[nodiscard]] Result<std::string_view> target(wire::InodeId id) const;
  // Mode bits, owner and times as in request.mask; never the size, see set_size().
  Result<wire::Attr> set_attr(wire::InodeId id,
                              const wire::SetAttrRequest& request,
                              std::int64_t now_ns);
  // Cuts a regular file to `size`: a truncation. EISDIR, EINVAL (symlink), EFBIG.
  Status set_size(wire::InodeId id, std::uint64_t size, std::int64_t now_ns);
  // Makes a regular file longer; no truncation. Never shorter. Errors as set_size().
  Status extend(wire::InodeId id, std::uint64_t size, std::int64_t now_ns);
  // Takes up what chunk shards answer: the size grows to `end`, the times to mtime_ns (of the last
  // write; 0 = none). A write from before the last utimens() does not change mtime. Errors as
  // set_size().
  Status settle(wire::InodeId id, std::uint64_t end, std::int64_t mtime_ns);
  // What attr() would be after settle(), which is not done.
  [[nodiscard]] Result<wire::Attr> attr_if_settled(wire::InodeId id,
                                                   std::uint64_t end,
                                                   std::int64_t mtime_ns) const;
  // Reserves [offset, offset + length) at the end of a regular file. Errors as set_size(). The
  // caller takes up first what plain writers have written.
  Result<wire::AppendReply> note_append(wire::InodeId id,
                                        std::uint64_t length,
                                        std::int64_t now_ns);
  // After a rename moved the directory. ENOTDIR.
  Status set_parent(wire::InodeId id, wire::InodeId parent);
  // An entry of the directory changed. Does nothing when the directory does not live here.
  void touch_entry_change(wire::InodeId directory, std::int64_t now_ns);
  // Drops the name of an inode. True when nobody has it open either: the caller frees what it has
  // elsewhere, and erases it. Idempotent. EBUSY for the root.
  Result<bool> unlink(wire::InodeId id, std::int64_t now_ns);
  // The inode must exist, without a name and not open.
  void erase(wire::InodeId id);

  // --- open inodes of this shard, see OpenTable ---

  // An open that is known is the same open: nothing changes. ENOENT (also when it has no name any
  // more), EISDIR (directory for writing), ELOOP (symlink), ENFILE; EINVAL when the number is that
  // of another inode's open.
  Result<wire::Attr> open(wire::InodeId id, OpenId open, std::uint32_t open_flags);
  // create() and open(), one change.
  Result<wire::Attr> create_open(wire::InodeId parent,
                                 std::string_view name,
                                 const NewInode& inode,
                                 OpenId open,
                                 std::uint32_t open_flags,
                                 std::int64_t now_ns,
                                 MonoTime mono_now);
  [[nodiscard]] std::optional<Open> find_open(OpenId open) const { return opens_.find(open); }
  // Whose inodes may be unused afterwards: see is_unused().
  std::optional<Open> close(OpenId open) { return opens_.remove(open); }
  std::vector<Open> close_all(std::uint64_t client_uid) { return opens_.remove_all(client_uid); }
  std::vector<Open> keep_only(std::uint64_t client_uid,
                              std::uint64_t from,
                              std::uint64_t to,
                              std::span<const std::uint64_t> kept) {
    return opens_.keep_only(client_uid, from, to, kept);
  }
  // It exists, has no name, and nobody has it open.
  [[nodiscard]] bool is_unused(wire::InodeId id) const;
  // Open for writing by anybody.
  [[nodiscard]] bool has_writers(wire::InodeId id) const;

  struct Stats {
    std::uint64_t inode_count = 0;  // orphans included
    std::uint64_t entry_count = 0;
    std::uint64_t open_count = 0;
    std::uint64_t orphan_count = 0;  // without a name
  };
  [[nodiscard]] Stats stats() const;
  // See InodeTable.
  [[nodiscard]] const InodeTable& inodes() const { return inodes_; }

 private:
  // 0, or the errno for operations with this parent.
  [[nodiscard]] int parent_error(wire::InodeId parent) const;
  // The same for new entries, and kBusy.
  [[nodiscard]] Status check_new_entry(wire::InodeId parent, MonoTime mono_now) const;
  [[nodiscard]] Result<Inode*> regular_file(wire::InodeId id) const;
  [[nodiscard]] static wire::Attr fill(Inode& inode,
                                       const NewInode& from,
                                       wire::InodeId parent,
                                       std::int64_t now_ns);

  wire::ShardId self_;
  std::uint32_t shard_count_;
  Config config_;
  EntryTable entries_;
  InodeTable inodes_;
  OpenTable opens_;
  DirectoryStates directories_;
  std::uint64_t orphan_count_ = 0;
};

}  // namespace benchfs::meta
