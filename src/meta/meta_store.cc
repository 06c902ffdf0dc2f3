// Entries, directory removal and open files. Inode attributes are in meta_store_inodes.cc.
#include "meta/meta_store.h"

#include <sys/stat.h>

#include <cerrno>

#include "base/check.h"
#include "wire/limits.h"
#include "wire/name.h"

namespace benchfs::meta {

MetaStore::MetaStore(wire::ShardId self, std::uint32_t shard_count, Config config)
    : self_(self), shard_count_(shard_count), config_(config), inodes_(self, config.first_counter) {
  BENCHFS_CHECK(self.value < shard_count && shard_count <= wire::kMaxShards);
  BENCHFS_CHECK(config.max_opens <= UINT32_MAX);
}

int MetaStore::parent_error(wire::InodeId parent) const {
  if (parent.home() != self_) {
    bool possible = parent.home().value < shard_count_ && parent.counter() != 0;
    return possible && !directories_.is_removed(parent) ? 0 : ESTALE;
  }
  const Inode* inode = inodes_.find(parent);
  if (inode == nullptr || inode->attr.nlink == 0) {
    return ESTALE;
  }
  if (!inode->attr.is_directory()) {
    return ENOTDIR;
  }
  return directories_.is_removed(parent) ? ESTALE : 0;
}

Status MetaStore::check_new_entry(wire::InodeId parent, MonoTime mono_now) const {
  if (int error = parent_error(parent); error != 0) {
    return fail_errno(error);
  }
  if (directories_.is_frozen(parent, mono_now)) {
    return fail(Errc::kBusy, "directory is being removed");
  }
  return {};
}

Result<Entry> MetaStore::find(wire::InodeId parent, std::string_view name) const {
  if (int error = parent_error(parent); error != 0) {
    return fail_errno(error);
  }
  const EntryRecord* record = entries_.find(parent, name);
  if (record == nullptr) {
    return fail_errno(ENOENT);
  }
  return record->entry();
}

Result<wire::Attr> MetaStore::carry_out(const Create& change) {
  BENCHFS_TRY(wire::Attr attr, begin(change));
  finish(change, attr);
  return attr;
}

Result<wire::Attr> MetaStore::begin(const Create& change) {
  BENCHFS_DCHECK(wire::check_name(change.name) == 0);
  BENCHFS_TRY_VOID(check_new_entry(change.parent, change.mono_now));
  if (entries_.find(change.parent, change.name) != nullptr) {
    return fail_errno(EEXIST);
  }
  BENCHFS_TRY_VOID(check_new_inode());
  if (entries_.size() >= config_.max_entries) {
    return fail_errno(ENOSPC, "the shard's limit of directory entries is reached");
  }
  Inode& inode = inodes_.make();
  (void)fill(inode, change.inode, change.parent, change.now_ns);
  return shown(inode);
}

void MetaStore::finish(const Create& change, const wire::Attr& begun) {
  entries_.insert(change.parent, change.name, {begun.id(), begun.mode & S_IFMT});
  touch_parent(change.parent, change.now_ns);
}

Status MetaStore::carry_out(const PutEntry& change) {
  BENCHFS_DCHECK(wire::check_name(change.name) == 0);
  BENCHFS_TRY_VOID(check_new_entry(change.parent, change.mono_now));
  if (EntryRecord* record = entries_.find(change.parent, change.name); record != nullptr) {
    entries_.set_entry(*record, change.entry);
  } else if (entries_.size() < config_.max_entries) {
    entries_.insert(change.parent, change.name, change.entry);
  } else {
    return fail_errno(ENOSPC, "the shard's limit of directory entries is reached");
  }
  touch_parent(change.parent, change.now_ns);
  return {};
}

Status MetaStore::carry_out(const RemoveEntry& change) {
  if (!entries_.erase(change.parent, change.name)) {
    return fail_errno(ENOENT);
  }
  touch_parent(change.parent, change.now_ns);
  return {};
}

Result<MetaStore::Page> MetaStore::list(wire::InodeId directory,
                                        std::string_view cursor,
                                        std::size_t max_bytes,
                                        std::vector<std::byte>& out) const {
  if (int error = parent_error(directory); error != 0) {
    return fail_errno(error);
  }
  Page page = entries_.list(directory, cursor, max_bytes, out);
  if (page.entry_count == 0 && !page.at_end) {
    return fail_errno(EINVAL, "the page is too small for one entry");
  }
  return page;
}

Status MetaStore::freeze(wire::InodeId directory,
                         std::uint64_t owner,
                         MonoTime until,
                         MonoTime mono_now) {
  if (directory == wire::kRootInode) {
    return fail_errno(EBUSY, "the root directory cannot be removed");
  }
  if (int error = parent_error(directory); error != 0) {
    return fail_errno(error);
  }
  if (has_entries(directory)) {
    return fail_errno(ENOTEMPTY);
  }
  if (!directories_.freeze(directory, owner, until, mono_now)) {
    return fail(Errc::kBusy, "directory is being removed by another request");
  }
  return {};
}

void MetaStore::carry_out(const RemoveDirectory& change) {
  wire::InodeId directory = change.directory;
  // An inode of this shard that does not exist needs no mark, and a made-up number deserves none.
  bool exists =
      directory.home() == self_ ? inodes_.find(directory) != nullptr : parent_error(directory) == 0;
  if (exists && directory != wire::kRootInode) {
    directories_.set_removed(directory);
  }
}

Result<wire::Attr> MetaStore::carry_out(const OpenInode& change) {
  const Inode* inode = inodes_.find(change.inode);
  if (std::optional<Open> known = opens_.find(change.open)) {
    if (known->inode != change.inode || inode == nullptr) {
      return fail_errno(EINVAL, "the open number is in use");
    }
    return shown(*inode);
  }
  bool may_be_unlinked =
      (change.open_flags & wire::kOpenUnlinked) != 0 && opens_.counts(change.inode).any();
  if (inode == nullptr || (inode->attr.nlink == 0 && !may_be_unlinked)) {
    return fail_errno(ENOENT);
  }
  if (inode->attr.is_symlink()) {
    return fail_errno(ELOOP);
  }
  if (inode->attr.is_special()) {
    return fail_errno(ENXIO);  // only a kernel could open it
  }
  if (inode->attr.is_directory() && (change.open_flags & wire::kOpenWrite) != 0) {
    return fail_errno(EISDIR);
  }
  if (opens_.size() >= config_.max_opens) {
    return fail_errno(ENFILE, "the shard's limit of open files is reached");
  }
  opens_.add(change.open, {change.inode, change.open_flags});
  return shown(*inode);
}

Status MetaStore::check_new_inode() const {
  if (inodes_.size() >= config_.max_inodes) {
    return fail_errno(ENOSPC, "the shard's limit of inodes is reached");
  }
  return {};
}

Status MetaStore::check_new_open(OpenId open) const {
  if (opens_.size() >= config_.max_opens) {
    return fail_errno(ENFILE, "the shard's limit of open files is reached");
  }
  if (opens_.find(open)) {
    return fail_errno(EINVAL, "the open number is in use");
  }
  return {};
}

Result<wire::Attr> MetaStore::carry_out(const CreateUnnamed& change) {
  BENCHFS_TRY_VOID(check_new_open(change.open));
  if (int error = parent_error(change.parent); error != 0) {
    return fail_errno(error);
  }
  BENCHFS_TRY_VOID(check_new_inode());
  Inode& inode = inodes_.make();
  (void)fill(inode, change.inode, change.parent, change.now_ns);
  inode.attr.nlink = 0;
  inode.is_linkable = (change.open_flags & wire::kOpenExclusive) == 0;
  ++orphan_count_;
  opens_.add(change.open, {inode.attr.id(), change.open_flags});
  return shown(inode);
}

Result<wire::Attr> MetaStore::carry_out(const CreateOpen& change) {
  BENCHFS_TRY(wire::Attr attr, begin(change));
  finish(change, attr);
  return attr;
}

Result<wire::Attr> MetaStore::begin(const CreateOpen& change) {
  BENCHFS_TRY_VOID(check_new_open(change.open));
  return begin(change.create);
}

void MetaStore::finish(const CreateOpen& change, const wire::Attr& begun) {
  finish(change.create, begun);
  opens_.add(change.open, {begun.id(), change.open_flags});
}

bool MetaStore::is_unused(wire::InodeId id) const {
  const Inode* inode = inodes_.find(id);
  return inode != nullptr && inode->attr.nlink == 0 && !opens_.counts(id).any();
}

bool MetaStore::ends_with_its_name(wire::InodeId id) const {
  const Inode* inode = inodes_.find(id);
  return inode != nullptr && inode->attr.nlink == 1 && !opens_.counts(id).any();
}

bool MetaStore::has_writers(wire::InodeId id) const {
  return opens_.counts(id).writers() > 0;
}

MetaStore::Stats MetaStore::stats() const {
  return {.inode_count = inodes_.size(),
          .entry_count = entries_.size(),
          .open_count = opens_.size(),
          .orphan_count = orphan_count_};
}

}  // namespace benchfs::meta
