// The metadata of one shard: the directory entries that hash to it, and the inodes made on it.
//
// Single-threaded and synchronous; knows nothing of RPC, other shards or clocks. What happens to it
// is a change (meta/change.h), and apply() carries it out: the place where a log of them goes. Only
// freezes are no changes: a shard that starts again has forgotten them.
#pragma once

#include <tsl/robin_map.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "meta/change.h"
#include "meta/directory_states.h"
#include "meta/entry.h"
#include "meta/entry_table.h"
#include "meta/inode_table.h"
#include "meta/open_table.h"
#include "meta/xattr_table.h"
#include "wire/attr.h"
#include "wire/ids.h"

namespace benchfs::meta {

class MetaStore {
 public:
  struct Config {
    // About 100 bytes each. ENOSPC beyond.
    std::uint64_t max_inodes = std::uint64_t{64} << 20;
    // About 100 bytes each. ENOSPC beyond.
    std::uint64_t max_entries = std::uint64_t{64} << 20;
    // Opens not yet closed, of all clients; below 2^32. ENFILE beyond.
    std::uint64_t max_opens = std::uint64_t{16} << 20;
    // Names of one inode. EMLINK beyond.
    std::uint32_t max_links = INT32_MAX;
    // Names and values of extended attributes, of all inodes. ENOSPC beyond.
    std::uint64_t max_xattr_bytes = std::uint64_t{256} << 20;
    // The counter of the first new inode. A shard that starts again without its inodes must not
    // give out their numbers once more: clients may have them open, and other shards still hold
    // their chunks, their entries, and that they were removed.
    std::uint64_t first_counter = 0;
  };

  MetaStore(wire::ShardId self, std::uint32_t shard_count, Config config);

  // Carries out one change, or returns its error and changes nothing.
  template <typename C>
  typename C::Outcome apply(const C& change) {
    return carry_out(change);
  }

  // CreateOpen in two steps, between which nothing else happens to the store: whoever asked can be
  // answered after the first, in which all is that can fail.
  Result<wire::Attr> begin(const CreateOpen& change);
  void finish(const CreateOpen& change, const wire::Attr& begun);

  // --- entries; ESTALE and ENOTDIR as in meta/change.h ---

  // ENOENT.
  [[nodiscard]] Result<Entry> find(wire::InodeId parent, std::string_view name) const;

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

  // How many of them are directories.
  [[nodiscard]] std::uint32_t directories_in(wire::InodeId directory) const {
    return entries_.directories_in(directory);
  }

  // --- removing a directory: freeze on all shards, then thaw on all, or RemoveDirectory ---

  // Refuses new entries until `until`. Idempotent for the same owner, and moves `until` then.
  // ENOTEMPTY when it has entries here, EBUSY for the root, Errc::kBusy while another owner's
  // freeze lasts.
  Status freeze(wire::InodeId directory, std::uint64_t owner, MonoTime until, MonoTime mono_now);
  // Allows entries again if `owner` froze it. Idempotent.
  void thaw(wire::InodeId directory, std::uint64_t owner) { directories_.thaw(directory, owner); }
  [[nodiscard]] bool has_frozen() const { return directories_.has_frozen(); }
  [[nodiscard]] bool is_frozen(wire::InodeId directory, MonoTime mono_now) const {
    return directories_.is_frozen(directory, mono_now);
  }

  // --- inodes of this shard: ENOENT for all others ---

  [[nodiscard]] Result<wire::Attr> attr(wire::InodeId id) const;
  // Borrowed until the inode is gone. EINVAL when it is no symlink.
  [[nodiscard]] Result<std::string_view> target(wire::InodeId id) const;
  // An extended attribute, or all names with a NUL behind each. Borrowed until it is changed.
  // ENODATA.
  [[nodiscard]] Result<std::string_view> xattr(wire::InodeId id, std::string_view name) const;
  [[nodiscard]] Result<std::string> list_xattrs(wire::InodeId id) const;
  // What attr() would be after Settle. Errors as Settle's.
  [[nodiscard]] Result<wire::Attr> attr_if_settled(wire::InodeId id,
                                                   std::uint64_t end,
                                                   std::int64_t mtime_ns) const;

  // A change at `now_ns` of an entry of this directory makes that its mtime and ctime. False: they
  // become later, because the clock has been set back, or the directory does not live here.
  [[nodiscard]] bool is_timed(wire::InodeId directory, std::int64_t now_ns) const;

  // --- open inodes of this shard, see OpenTable ---

  [[nodiscard]] std::optional<Open> find_open(OpenId open) const { return opens_.find(open); }
  // It exists, has no name, and nobody has it open.
  [[nodiscard]] bool is_unused(wire::InodeId id) const;
  // It has one name, and nobody has it open: it ends with that name.
  [[nodiscard]] bool ends_with_its_name(wire::InodeId id) const;
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
  wire::Attr carry_out(const MakeRoot& change);
  Result<wire::Attr> carry_out(const Create& change);
  Result<wire::Attr> begin(const Create& change);
  void finish(const Create& change, const wire::Attr& begun);
  Result<wire::Attr> carry_out(const CreateOpen& change);
  Result<wire::Attr> carry_out(const CreateUnnamed& change);
  Status carry_out(const PutEntry& change);
  Status carry_out(const RemoveEntry& change);
  void carry_out(const RemoveDirectory& change);
  Result<wire::Attr> carry_out(const SetAttr& change);
  Status carry_out(const Truncate& change);
  Status carry_out(const Extend& change);
  Status carry_out(const Settle& change);
  Result<wire::AppendReply> carry_out(const Append& change);
  Status carry_out(const BeginWrites& change);
  Status carry_out(const SetParent& change);
  Status carry_out(const ChangeElsewhere& change);
  Result<wire::Attr> carry_out(const Link& change);
  Status carry_out(const SetXattr& change);
  Result<bool> carry_out(const Unlink& change);
  void carry_out(const Erase& change);
  Result<wire::Attr> carry_out(const OpenInode& change);
  std::optional<Open> carry_out(const Close& change) { return opens_.remove(change.open); }
  std::vector<Open> carry_out(const CloseAll& change) {
    return opens_.remove_all(change.client_uid);
  }
  std::vector<Open> carry_out(const KeepOnly& change) {
    return opens_.keep_only(change.client_uid, change.from, change.to, change.kept);
  }

  // 0, or the errno for operations with this parent.
  [[nodiscard]] int parent_error(wire::InodeId parent) const;
  // The same for new entries, and kBusy.
  [[nodiscard]] Status check_new_entry(wire::InodeId parent, MonoTime mono_now) const;
  // Whether one more open fits, and its number is free.
  [[nodiscard]] Status check_new_open(OpenId open) const;
  [[nodiscard]] Status check_new_inode() const;
  [[nodiscard]] Result<Inode*> regular_file(wire::InodeId id) const;
  // An entry of the directory changed. Nothing when the directory does not live here.
  void touch_parent(wire::InodeId directory, std::int64_t now_ns);
  static void touch(Inode& directory, std::int64_t now_ns);
  [[nodiscard]] static bool is_timed(const Inode& directory, std::int64_t now_ns) {
    return now_ns > directory.mtime_decided_ns && now_ns > directory.attr.ctime_ns;
  }
  // As it is shown: a directory has two names of its own, and one in each of its directories.
  [[nodiscard]] wire::Attr shown(const Inode& inode) const;
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
  XattrTable xattrs_;
  DirectoryStates directories_;
  // Directories in directories of this shard, whose entries other shards have.
  tsl::robin_map<wire::InodeId, std::uint32_t> subdirectories_elsewhere_;
  std::uint64_t orphan_count_ = 0;
};

}  // namespace benchfs::meta
