// Inode attributes and the end of an inode. Entries and open files are in meta_store.cc.
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/check.h"
#include "meta/meta_store.h"
#include "wire/limits.h"

namespace benchfs::meta {
namespace {

constexpr std::uint32_t kPermissionBits = 07777;

void set_mtime(Inode& inode, std::int64_t mtime_ns, std::int64_t now_ns) {
  inode.attr.mtime_ns = mtime_ns;
  inode.mtime_decided_ns = now_ns;
}

void begin_version(wire::Attr& attr) {
  ++attr.parent;
}

// What a write up to `end` at mtime_ns changes.
void take_up(wire::Attr& attr,
             std::int64_t mtime_decided_ns,
             std::uint64_t end,
             std::int64_t mtime_ns) {
  attr.size = std::max(attr.size, end);
  attr.ctime_ns = std::max(attr.ctime_ns, mtime_ns);
  if (mtime_ns > mtime_decided_ns) {
    attr.mtime_ns = mtime_ns;
  }
}

}  // namespace

wire::Attr MetaStore::carry_out(const MakeRoot& change) {
  Inode& root = inodes_.make_root();
  (void)fill(root,
             {.mode = S_IFDIR | 0755, .uid = change.uid, .gid = change.gid},
             wire::kRootInode,
             change.now_ns);
  return shown(root);
}

wire::Attr MetaStore::shown(const Inode& inode) const {
  wire::Attr attr = inode.attr;
  if (attr.is_directory() && attr.nlink != 0) {
    attr.nlink = 2 + entries_.directories_in(attr.id());
    auto elsewhere = subdirectories_elsewhere_.find(attr.id());
    attr.nlink += elsewhere == subdirectories_elsewhere_.end() ? 0 : elsewhere->second;
  }
  return attr;
}

wire::Attr MetaStore::fill(Inode& inode,
                           const NewInode& from,
                           wire::InodeId parent,
                           std::int64_t now_ns) {
  wire::Attr& attr = inode.attr;
  attr.mode = from.mode & (S_IFMT | kPermissionBits);
  BENCHFS_CHECK(attr.is_regular() || attr.is_directory() || attr.is_symlink() || attr.is_special());
  attr.uid = from.uid;
  attr.gid = from.gid;
  attr.nlink = 1;
  attr.atime_ns = attr.ctime_ns = now_ns;
  set_mtime(inode, now_ns, now_ns);
  if (attr.is_directory()) {
    attr.parent = parent.value;
  } else if (attr.is_symlink()) {
    attr.size = from.target.size();
    inode.target = std::make_unique_for_overwrite<char[]>(from.target.size());
    std::memcpy(inode.target.get(), from.target.data(), from.target.size());
  } else if (attr.is_special()) {
    attr.truncation = from.device;
  } else {
    attr.layout = from.layout;
  }
  return attr;
}

Result<wire::Attr> MetaStore::attr(wire::InodeId id) const {
  const Inode* inode = inodes_.find(id);
  if (inode == nullptr) {
    return fail_errno(ENOENT);
  }
  return shown(*inode);
}

Result<std::string_view> MetaStore::target(wire::InodeId id) const {
  const Inode* inode = inodes_.find(id);
  if (inode == nullptr) {
    return fail_errno(ENOENT);
  }
  if (!inode->attr.is_symlink()) {
    return fail_errno(EINVAL);
  }
  return inode->target_text();
}

Result<wire::Attr> MetaStore::carry_out(const SetAttr& change) {
  const wire::SetAttrRequest& request = change.request;
  Inode* inode = inodes_.find(change.inode);
  if (inode == nullptr) {
    return fail_errno(ENOENT);
  }
  wire::Attr& attr = inode->attr;
  const std::uint32_t mask = request.mask;
  if ((mask & wire::kSetMode) != 0) {
    attr.mode = (attr.mode & S_IFMT) | (request.mode & kPermissionBits);
  }
  // A file that is given away runs as its owner no longer, as on local file systems.
  if ((mask & (wire::kSetUid | wire::kSetGid)) != 0 && (mask & wire::kSetMode) == 0 &&
      attr.is_regular()) {
    attr.mode &= ~(S_ISUID | ((attr.mode & S_IXGRP) != 0 ? S_ISGID : 0U));
  }
  if ((mask & wire::kSetUid) != 0) {
    attr.uid = request.uid;
  }
  if ((mask & wire::kSetGid) != 0) {
    attr.gid = request.gid;
  }
  if ((mask & (wire::kSetAtime | wire::kSetAtimeNow)) != 0) {
    attr.atime_ns = (mask & wire::kSetAtimeNow) != 0 ? change.now_ns : request.atime_ns;
  }
  if ((mask & (wire::kSetMtime | wire::kSetMtimeNow)) != 0) {
    set_mtime(
        *inode, (mask & wire::kSetMtimeNow) != 0 ? change.now_ns : request.mtime_ns, change.now_ns);
  }
  if ((mask & ~std::uint32_t{wire::kSetSize}) != 0) {
    attr.ctime_ns = change.now_ns;
  }
  return shown(*inode);
}

Result<Inode*> MetaStore::regular_file(wire::InodeId id) const {
  Inode* inode = inodes_.find(id);
  if (inode == nullptr) {
    return fail_errno(ENOENT);
  }
  if (!inode->attr.is_regular()) {
    return fail_errno(inode->attr.is_directory() ? EISDIR : EINVAL);
  }
  return inode;
}

Status MetaStore::carry_out(const Truncate& change) {
  BENCHFS_TRY(Inode * inode, regular_file(change.inode));
  if (change.size > wire::kMaxFileBytes) {
    return fail_errno(EFBIG);
  }
  inode->attr.size = change.size;
  ++inode->attr.truncation;
  begin_version(inode->attr);
  inode->attr.ctime_ns = change.now_ns;
  set_mtime(*inode, change.now_ns, change.now_ns);
  return {};
}

Status MetaStore::carry_out(const Extend& change) {
  BENCHFS_TRY(Inode * inode, regular_file(change.inode));
  if (change.size > wire::kMaxFileBytes) {
    return fail_errno(EFBIG);
  }
  inode->attr.size = std::max(inode->attr.size, change.size);
  begin_version(inode->attr);
  inode->attr.ctime_ns = change.now_ns;
  set_mtime(*inode, change.now_ns, change.now_ns);
  return {};
}

Status MetaStore::carry_out(const BeginWrites& change) {
  BENCHFS_TRY(Inode * inode, regular_file(change.inode));
  begin_version(inode->attr);
  return {};
}

Status MetaStore::carry_out(const Settle& change) {
  BENCHFS_TRY(Inode * inode, regular_file(change.inode));
  if (change.end > wire::kMaxFileBytes) {
    return fail_errno(EFBIG);
  }
  take_up(inode->attr, inode->mtime_decided_ns, change.end, change.mtime_ns);
  inode->mtime_decided_ns = std::max(inode->mtime_decided_ns, change.mtime_ns);
  return {};
}

Result<wire::Attr> MetaStore::attr_if_settled(wire::InodeId id,
                                              std::uint64_t end,
                                              std::int64_t mtime_ns) const {
  BENCHFS_TRY(Inode * inode, regular_file(id));
  wire::Attr attr = inode->attr;
  take_up(attr, inode->mtime_decided_ns, end, mtime_ns);
  return attr;
}

Result<wire::AppendReply> MetaStore::carry_out(const Append& change) {
  BENCHFS_TRY(Inode * inode, regular_file(change.inode));
  wire::Attr& attr = inode->attr;
  if (change.length > wire::kMaxFileBytes - attr.size) {
    return fail_errno(EFBIG);
  }
  wire::AppendReply reply{
      .offset = attr.size, .truncation = attr.truncation, .length = change.length};
  if (change.length > 0) {
    attr.size += change.length;
    begin_version(attr);
    attr.ctime_ns = change.now_ns;
    set_mtime(*inode, change.now_ns, change.now_ns);
  }
  return reply;
}

Status MetaStore::carry_out(const SetParent& change) {
  Inode* inode = inodes_.find(change.directory);
  if (inode == nullptr) {
    return fail_errno(ENOENT);
  }
  if (!inode->attr.is_directory()) {
    return fail_errno(ENOTDIR);
  }
  inode->attr.parent = change.parent.value;
  return {};
}

void MetaStore::touch_parent(wire::InodeId directory, std::int64_t now_ns) {
  Inode* inode = inodes_.find(directory);
  if (inode != nullptr && inode->attr.is_directory()) {
    touch(*inode, now_ns);
  }
}

bool MetaStore::is_timed(wire::InodeId directory, std::int64_t now_ns) const {
  const Inode* inode = inodes_.find(directory);
  return inode != nullptr && inode->attr.is_directory() && is_timed(*inode, now_ns);
}

// Whoever compares the times of before and after a change sees it, though the clocks of the shards
// differ and may be set back.
void MetaStore::touch(Inode& directory, std::int64_t now_ns) {
  wire::Attr& attr = directory.attr;
  std::int64_t time = std::max(now_ns, directory.mtime_decided_ns + 1);
  set_mtime(directory, time, time);
  attr.ctime_ns = std::max(attr.ctime_ns + 1, time);
}

Status MetaStore::carry_out(const ChangeElsewhere& change) {
  Inode* inode = inodes_.find(change.directory);
  if (inode == nullptr) {
    return fail_errno(ENOENT);
  }
  if (!inode->attr.is_directory()) {
    return fail_errno(ENOTDIR);
  }
  if (change.changed_ns != 0) {
    touch(*inode, change.changed_ns);
  }
  if (change.subdirectories != 0) {
    subdirectories_elsewhere_[change.directory] = change.subdirectories;
  } else {
    subdirectories_elsewhere_.erase(change.directory);
  }
  return {};
}

Result<wire::Attr> MetaStore::carry_out(const Link& change) {
  Inode* inode = inodes_.find(change.inode);
  bool is_named = inode != nullptr && inode->attr.nlink != 0;
  if (inode == nullptr || !(is_named || inode->is_linkable)) {
    return fail_errno(ENOENT);
  }
  if (inode->attr.is_directory()) {
    return fail_errno(EPERM);
  }
  if (inode->attr.nlink >= config_.max_links) {
    return fail_errno(EMLINK);
  }
  orphan_count_ -= is_named ? 0 : 1;
  ++inode->attr.nlink;
  inode->attr.ctime_ns = change.now_ns;
  return inode->attr;
}

Result<bool> MetaStore::carry_out(const Unlink& change) {
  if (change.inode == wire::kRootInode) {
    return fail_errno(EBUSY, "the root directory cannot be removed");
  }
  Inode* inode = inodes_.find(change.inode);
  if (inode == nullptr) {
    return fail_errno(ENOENT);
  }
  if (inode->attr.nlink != 0) {
    inode->attr.ctime_ns = change.now_ns;
    inode->is_linkable &= change.was_unmade;
    orphan_count_ += --inode->attr.nlink == 0 ? 1 : 0;
  }
  return is_unused(change.inode);
}

void MetaStore::carry_out(const Erase& change) {
  wire::InodeId id = change.inode;
  BENCHFS_CHECK(is_unused(id));
  --orphan_count_;
  if (inodes_.find(id)->attr.is_directory()) {
    directories_.forget(id);
    subdirectories_elsewhere_.erase(id);
  }
  xattrs_.forget(id);
  inodes_.erase(id);
}

// --- Extended attributes -------------------------------------------------------------------------

Status MetaStore::carry_out(const SetXattr& change) {
  Inode* inode = inodes_.find(change.inode);
  if (inode == nullptr) {
    return fail_errno(ENOENT);
  }
  if (!inode->attr.is_regular() && !inode->attr.is_directory()) {
    return fail_errno(EPERM);  // as Linux: user attributes describe what has contents
  }
  BENCHFS_TRY_VOID(
      xattrs_.set(change.inode, change.name, change.value, change.flags, config_.max_xattr_bytes));
  inode->attr.ctime_ns = change.now_ns;
  return {};
}

Result<std::string_view> MetaStore::xattr(wire::InodeId id, std::string_view name) const {
  if (inodes_.find(id) == nullptr) {
    return fail_errno(ENOENT);
  }
  std::optional<std::string_view> value = xattrs_.find(id, name);
  return value ? Result<std::string_view>(*value) : fail_errno(ENODATA);
}

Result<std::string> MetaStore::list_xattrs(wire::InodeId id) const {
  if (inodes_.find(id) == nullptr) {
    return fail_errno(ENOENT);
  }
  return xattrs_.list(id);
}

}  // namespace benchfs::meta
