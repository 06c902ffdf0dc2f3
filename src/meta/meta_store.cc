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

Result<wire::Attr> MetaStore::create(wire::InodeId parent,
                                     std::string_view name,
                                     const NewInode& inode,
                                     std::int64_t now_ns,
                                     MonoTime mono_now) {
  BENCHFS_DCHECK(wire::check_name(name) == 0);
  BENCHFS_TRY_VOID(check_new_entry(parent, mono_now));
  if (entries_.find(parent, name) != nullptr) {
    return fail_errno(EEXIST);
  }
  if (inodes_.size() >= config_.max_inodes) {
    return fail_errno(ENOSPC, "the shard's limit of inodes is reached");
  }
  if (entries_.size() >= config_.max_entries) {
    return fail_errno(ENOSPC, "the shard's limit of directory entries is reached");
  }
  wire::Attr attr = fill(inodes_.make(), inode, parent, now_ns);
  entries_.insert(parent, name, {attr.id(), attr.mode & S_IFMT});
  return attr;
}

Status MetaStore::put_entry(wire::InodeId parent,
                            std::string_view name,
                            Entry entry,
                            MonoTime mono_now) {
  BENCHFS_DCHECK(wire::check_name(name) == 0);
  BENCHFS_TRY_VOID(check_new_entry(parent, mono_now));
  if (EntryRecord* record = entries_.find(parent, name); record != nullptr) {
    record->set_entry(entry);
    return {};
  }
  if (entries_.size() >= config_.max_entries) {
    return fail_errno(ENOSPC, "the shard's limit of directory entries is reached");
  }
  entries_.insert(parent, name, entry);
  return {};
}

Status MetaStore::remove_entry(wire::InodeId parent, std::string_view name) {
  if (!entries_.erase(parent, name)) {
    return fail_errno(ENOENT);
  }
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

void MetaStore::thaw(wire::InodeId directory, std::uint64_t owner, bool removed) {
  if (!removed) {
    directories_.thaw(directory, owner);
    return;
  }
  // An inode of this shard that does not exist needs no mark, and a made-up number deserves none.
  bool exists =
      directory.home() == self_ ? inodes_.find(directory) != nullptr : parent_error(directory) == 0;
  if (exists && directory != wire::kRootInode) {
    directories_.set_removed(directory);
  }
}

Result<wire::Attr> MetaStore::open(wire::InodeId id, OpenId open, std::uint32_t open_flags) {
  const Inode* inode = inodes_.find(id);
  if (std::optional<Open> known = opens_.find(open)) {
    if (known->inode != id || inode == nullptr) {
      return fail_errno(EINVAL, "the open number is in use");
    }
    return inode->attr;
  }
  if (inode == nullptr || inode->attr.nlink == 0) {
    return fail_errno(ENOENT);
  }
  if (inode->attr.is_symlink()) {
    return fail_errno(ELOOP);
  }
  if (inode->attr.is_directory() && (open_flags & wire::kOpenWrite) != 0) {
    return fail_errno(EISDIR);
  }
  if (opens_.size() >= config_.max_opens) {
    return fail_errno(ENFILE, "the shard's limit of open files is reached");
  }
  opens_.add(open, {id, open_flags});
  return inode->attr;
}

Result<wire::Attr> MetaStore::create_open(wire::InodeId parent,
                                          std::string_view name,
                                          const NewInode& inode,
                                          OpenId open,
                                          std::uint32_t open_flags,
                                          std::int64_t now_ns,
                                          MonoTime mono_now) {
  if (opens_.size() >= config_.max_opens) {
    return fail_errno(ENFILE, "the shard's limit of open files is reached");
  }
  if (opens_.find(open)) {
    return fail_errno(EINVAL, "the open number is in use");
  }
  BENCHFS_TRY(wire::Attr attr, create(parent, name, inode, now_ns, mono_now));
  opens_.add(open, {attr.id(), open_flags});
  return attr;
}

bool MetaStore::is_unused(wire::InodeId id) const {
  const Inode* inode = inodes_.find(id);
  return inode != nullptr && inode->attr.nlink == 0 && !opens_.counts(id).any();
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
