#include "client/nodes/nodes.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>

#include "client/inodes/lost_file.h"

namespace benchfs::client {
namespace {

Status check_name(std::string_view name) {
  return name.size() > wire::kMaxNameBytes ? fail_errno(ENAMETOOLONG) : Status{};
}

}  // namespace

template <typename T>
rt::CoResult<T> Nodes::explain(wire::InodeId inode, Result<T> result, Deadline by) {
  if (result || !is_gone(result.error())) [[likely]] {
    co_return result;
  }
  co_return std::unexpected(
      co_await open_files_.explain_gone(inode, std::move(result.error()), by));
}

template <typename T>
rt::CoResult<T> Nodes::in_directory(wire::InodeId directory, Result<T> result, Deadline by) {
  if (result || !result.error().is_posix(ESTALE)) [[likely]] {
    co_return result;
  }
  co_return std::unexpected(
      co_await open_files_.explain_gone(directory, std::move(result.error()), by));
}

void Nodes::remember(const wire::Attr& attr, BootTime asked_at) {
  if (attr.is_directory()) {
    std::uint32_t lease_ms = backend_.pool.at(attr.id().home()).grant().directory_lease_ms;
    directories_.put_permissions(attr, asked_at, std::chrono::milliseconds(lease_ms));
  }
}

Nanos Nodes::lease_of(wire::ShardId shard) const {
  std::uint32_t lease_ms = backend_.pool.at(shard).grant().directory_lease_ms;
  return std::chrono::milliseconds(std::min(lease_ms, wire::kMaxExactLeaseMs));
}

void Nodes::keep_attr(const Found& found, const NodeCache::Question& question) {
  if ((found.flags & wire::kAttrLeased) != 0) {
    cache_.put_attr(found.attr, found.target, question, lease_of(found.attr.id().home()));
  }
}

rt::CoResult<Found> Nodes::ask_attr(wire::InodeId inode, Deadline by, std::uint32_t more_flags) {
  NodeCache::Question question = cache_.ask();
  std::uint32_t flags = cache_.is_enabled() ? wire::kGetAttrLease | more_flags : 0U;
  Result<Found> found = co_await inodes_.get_attr(inode, by, flags);
  if (found) {
    remember(found->attr, question.asked_at);
    keep_attr(*found, question);
  }
  co_return found;
}

// --- Inodes --------------------------------------------------------------------------------------

rt::CoResult<wire::Attr> Nodes::get_attr(wire::InodeId inode) {
  if (const NodeCache::KnownAttr* known = cache_.find_attr(inode)) {
    co_return known->attr;
  }
  Deadline by = backend_.metadata_deadline();
  BENCHFS_CO_TRY(Found found, co_await explain(inode, co_await ask_attr(inode, by), by));
  co_return found.attr;
}

rt::CoStatus Nodes::renew_attr(wire::InodeId inode) {
  Deadline by = backend_.metadata_deadline();
  BENCHFS_CO_TRY_VOID(
      co_await explain(inode, co_await ask_attr(inode, by, wire::kGetAttrRest), by));
  co_return Status{};
}

rt::CoResult<wire::Attr> Nodes::set_attr(wire::InodeId inode, wire::SetAttrRequest request) {
  Deadline by = backend_.metadata_deadline();
  BootTime asked_at = boot_now();
  BENCHFS_CO_TRY(Found found,
                 co_await explain(inode, co_await inodes_.set_attr(inode, request, by), by));
  remember(found.attr, asked_at);
  co_return found.attr;
}

rt::CoResult<std::string> Nodes::readlink(wire::InodeId inode) {
  if (const NodeCache::KnownAttr* known = cache_.find_attr(inode);
      known != nullptr && known->attr.is_symlink()) {
    co_return known->target;
  }
  Deadline by = backend_.metadata_deadline();
  BENCHFS_CO_TRY(Found found, co_await explain(inode, co_await ask_attr(inode, by), by));
  if (!found.attr.is_symlink()) {
    co_return fail_errno(EINVAL);
  }
  co_return std::move(found.target);
}

rt::CoResult<std::string> Nodes::get_xattr(wire::InodeId inode, std::string_view name) {
  Deadline by = backend_.metadata_deadline();
  co_return co_await explain(inode, co_await inodes_.get_xattr(inode, name, by), by);
}

rt::CoStatus Nodes::set_xattr(wire::InodeId inode,
                              std::string_view name,
                              std::string_view value,
                              std::uint32_t flags) {
  Deadline by = backend_.metadata_deadline();
  co_return co_await explain(inode, co_await inodes_.set_xattr(inode, name, value, flags, by), by);
}

rt::CoResult<std::shared_ptr<OpenFile>> Nodes::open(wire::InodeId inode, std::uint32_t flags) {
  Deadline by = backend_.metadata_deadline();
  flags |= wire::kOpenUnlinked;
  BENCHFS_CO_TRY(OpenedEntry opened,
                 co_await explain(inode, co_await open_files_.open(inode, flags, by), by));
  if (opened.file == nullptr) {
    co_return fail_errno(ELOOP);
  }
  co_return std::move(opened.file);
}

// --- Entries -------------------------------------------------------------------------------------

rt::CoResult<wire::Attr> Nodes::lookup(wire::InodeId parent, std::string_view name) {
  BENCHFS_CO_TRY_VOID(check_name(name));
  Deadline by = backend_.metadata_deadline();
  if (const NodeCache::KnownName* known = cache_.find_name(parent, name)) {
    wire::InodeId inode = known->inode;
    if (!inode.is_valid()) {
      co_return fail_errno(ENOENT);
    }
    if (const NodeCache::KnownAttr* attr = cache_.find_attr(inode)) {
      co_return attr->attr;
    }
    Result<Found> found = co_await ask_attr(inode, by);
    if (found || !is_gone(found.error())) {
      BENCHFS_CO_TRY_VOID(found);
      co_return found->attr;
    }
  }
  std::uint16_t flags = cache_.is_enabled() ? std::uint16_t{wire::kLookupLease} : std::uint16_t{0};
  wire::InodeId gone;
  for (;;) {
    NodeCache::Question question = cache_.ask();
    BENCHFS_CO_TRY(
        Found entry,
        co_await in_directory(parent, co_await inodes_.lookup(parent, name, by, flags), by));
    wire::InodeId inode = entry.attr.id();
    if ((entry.flags & wire::kEntryLeased) != 0) {
      wire::ShardId shard = inodes_.shard_of(parent, name);
      cache_.put_name(parent, name, inode, shard, question, lease_of(shard));
    }
    if ((entry.flags & wire::kEntryMissing) != 0) {
      co_return fail_errno(ENOENT);
    }
    if (!entry.is_remote()) {
      remember(entry.attr, question.asked_at);
      keep_attr(entry, question);
      co_return entry.attr;
    }
    Result<Found> found = co_await ask_attr(inode, by);
    if (found) {
      co_return found->attr;
    }
    if (!is_gone(found.error())) {
      co_return std::unexpected(std::move(found.error()));
    }
    if (inode == gone || by.passed()) {
      co_return std::unexpected(
          co_await open_files_.explain_gone(inode, std::move(found.error()), by));
    }
    gone = inode;
  }
}

rt::CoResult<std::vector<DirEntry>> Nodes::list(wire::InodeId directory,
                                                std::string cursor,
                                                std::size_t max_entries,
                                                Deadline by) {
  std::uint16_t flags = cache_.is_enabled() ? wire::kReaddirAttr | wire::kReaddirLease : 0;
  NodeCache::Question question = cache_.ask_for_listing();
  BENCHFS_CO_TRY(
      std::vector<DirEntry> page,
      co_await list_page(backend_, directory, std::move(cursor), max_entries, by, flags));
  for (const DirEntry& entry : page) {
    wire::ShardId shard = entry.inode.home();  // of the name, too: else there are no attributes
    if ((entry.flags & wire::kDirEntryLeased) != 0) {
      cache_.put_name(directory, entry.name, entry.inode, shard, question, lease_of(shard));
    }
    if ((entry.flags & wire::kDirEntryAttrLeased) != 0 && entry.attr) {
      cache_.put_attr(*entry.attr, {}, question, lease_of(shard));
    }
  }
  co_return page;
}

rt::CoResult<NewInode> Nodes::new_inode(
    wire::InodeId parent, std::uint32_t mode, bool is_directory, Caller caller, Deadline by) {
  auto directory = directories_.find_permissions(parent);
  if (!directory) {
    BootTime asked_at = boot_now();
    BENCHFS_CO_TRY(Found found,
                   co_await explain(parent, co_await inodes_.get_attr(parent, by), by));
    remember(found.attr, asked_at);
    directory = found.attr;
  }
  NewInode inode{.mode = mode, .uid = caller.uid, .gid = caller.gid};
  if (directory->is_setgid()) {
    inode.gid = directory->gid;
    inode.mode |= is_directory ? std::uint32_t{S_ISGID} : 0U;
  }
  co_return inode;
}

void Nodes::keep_made(const OpenedEntry& made, wire::EntryRef name, NodeCache::Change& change) {
  const wire::Attr& attr = made.file->attr;
  if ((made.flags & wire::kDirectoryTimed) != 0) {
    change.keep_directory(attr.ctime_ns);
  }
  NodeCache::Question question = change.end(attr.id());
  if ((made.flags & wire::kEntryLeased) != 0) {
    wire::ShardId shard = inodes_.shard_of(name.parent, name.name);
    cache_.put_name(name.parent, name.name, attr.id(), shard, question, lease_of(shard));
  }
  if ((made.flags & wire::kAttrLeased) != 0) {
    cache_.put_attr(attr, {}, question, lease_of(attr.id().home()));
  }
}

rt::CoResult<std::shared_ptr<OpenFile>> Nodes::open_entry(wire::InodeId parent,
                                                          std::string_view name,
                                                          std::uint32_t flags,
                                                          std::uint32_t mode,
                                                          Caller caller) {
  BENCHFS_CO_TRY_VOID(check_name(name));
  Deadline by = backend_.metadata_deadline();
  NewInode new_file;
  std::uint32_t lease = 0;
  std::optional<NodeCache::Change> change;
  if ((flags & wire::kOpenCreate) != 0) {
    change.emplace(cache_, parent, name);
    BENCHFS_CO_TRY(new_file, co_await new_inode(parent, mode, false, caller, by));
    lease = cache_.is_enabled() ? std::uint32_t{wire::kOpenLease} : 0U;
  }
  wire::InodeId gone;
  for (;;) {
    BENCHFS_CO_TRY(OpenedEntry opened,
                   co_await in_directory(
                       parent,
                       co_await open_files_.open_entry(parent, name, flags | lease, new_file, by),
                       by));
    wire::InodeId inode = opened.remote;
    if (inode.is_valid()) {
      Result<OpenedEntry> at_home = co_await open_files_.open(inode, flags, by);
      if (!at_home && is_gone(at_home.error()) && inode != gone && !by.passed()) {
        gone = inode;
        continue;
      }
      BENCHFS_CO_TRY(opened, co_await explain(inode, std::move(at_home), by));
    }
    if (opened.file == nullptr) {
      co_return fail_errno(ESTALE);
    }
    if (change) {
      keep_made(opened, {parent, name}, *change);
    }
    co_return std::move(opened.file);
  }
}

rt::CoResult<std::shared_ptr<OpenFile>> Nodes::open_unnamed(wire::InodeId parent,
                                                            std::uint32_t flags,
                                                            std::uint32_t mode,
                                                            Caller caller) {
  Deadline by = backend_.metadata_deadline();
  BENCHFS_CO_TRY(NewInode new_file, co_await new_inode(parent, mode, false, caller, by));
  co_return co_await in_directory(
      parent, co_await open_files_.open_unnamed(parent, flags, new_file, by), by);
}

rt::CoResult<wire::Attr> Nodes::mkdir(wire::InodeId parent,
                                      std::string_view name,
                                      std::uint32_t mode,
                                      Caller caller) {
  BENCHFS_CO_TRY_VOID(check_name(name));
  NodeCache::Change change(cache_, parent, name);
  Deadline by = backend_.metadata_deadline();
  BENCHFS_CO_TRY(NewInode directory, co_await new_inode(parent, mode, true, caller, by));
  BootTime asked_at = boot_now();
  BENCHFS_CO_TRY(
      Found found,
      co_await in_directory(parent, co_await inodes_.mkdir(parent, name, directory, by), by));
  remember(found.attr, asked_at);
  co_return found.attr;
}

rt::CoResult<wire::Attr> Nodes::make_special(wire::InodeId parent,
                                             std::string_view name,
                                             std::uint32_t mode,
                                             std::uint32_t device,
                                             Caller caller) {
  BENCHFS_CO_TRY_VOID(check_name(name));
  NodeCache::Change change(cache_, parent, name);
  Deadline by = backend_.metadata_deadline();
  BENCHFS_CO_TRY(NewInode special, co_await new_inode(parent, mode, false, caller, by));
  special.device = device;
  BENCHFS_CO_TRY(
      Found found,
      co_await in_directory(parent, co_await inodes_.make_special(parent, name, special, by), by));
  co_return found.attr;
}

rt::CoResult<wire::Attr> Nodes::symlink(wire::InodeId parent,
                                        std::string_view name,
                                        std::string_view target,
                                        Caller caller) {
  BENCHFS_CO_TRY_VOID(check_name(name));
  if (target.empty()) {
    co_return fail_errno(ENOENT);
  }
  if (target.size() > wire::kMaxPathBytes) {
    co_return fail_errno(ENAMETOOLONG);
  }
  NodeCache::Change change(cache_, parent, name);
  Deadline by = backend_.metadata_deadline();
  BENCHFS_CO_TRY(NewInode link, co_await new_inode(parent, 0, false, caller, by));
  BENCHFS_CO_TRY(
      Found found,
      co_await in_directory(parent, co_await inodes_.symlink(parent, name, target, link, by), by));
  co_return found.attr;
}

rt::CoResult<wire::Attr> Nodes::link(wire::InodeId inode,
                                     wire::InodeId parent,
                                     std::string_view name) {
  BENCHFS_CO_TRY_VOID(check_name(name));
  NodeCache::Change change(cache_, parent, name);
  Deadline by = backend_.metadata_deadline();
  Result<Found> linked = co_await inodes_.link(inode, parent, name, by);
  if (linked && linked->is_remote()) {
    linked = co_await inodes_.get_attr(inode, by);
  }
  if (!linked && linked.error().is_posix(ENOENT)) {
    linked = co_await explain(inode, std::move(linked), by);
  } else {
    linked = co_await in_directory(parent, std::move(linked), by);
  }
  BENCHFS_CO_TRY(Found found, std::move(linked));
  co_return found.attr;
}

rt::CoStatus Nodes::unlink(wire::InodeId parent, std::string_view name) {
  BENCHFS_CO_TRY_VOID(check_name(name));
  NodeCache::Change change(cache_, parent, name);
  Deadline by = backend_.metadata_deadline();
  wire::InodeId forgotten = change.forget_inode();
  std::uint16_t flags =
      change.knows_directory() ? std::uint16_t{wire::kUnlinkTimes} : std::uint16_t{0};
  BENCHFS_CO_TRY(wire::UnlinkReply removed,
                 co_await in_directory(
                     parent, co_await inodes_.unlink(parent, name, by, forgotten, flags), by));
  if (removed.directory_ns != 0) {
    change.keep_directory(removed.directory_ns);
  }
  co_return Status{};
}

rt::CoStatus Nodes::rmdir(wire::InodeId parent, std::string_view name) {
  BENCHFS_CO_TRY_VOID(check_name(name));
  NodeCache::Change change(cache_, parent, name);
  Deadline by = backend_.metadata_deadline();
  BENCHFS_CO_TRY_VOID(co_await in_directory(parent, co_await inodes_.rmdir(parent, name, by), by));
  directories_.forget(parent, name);
  co_return Status{};
}

rt::CoStatus Nodes::rename(wire::InodeId old_parent,
                           std::string_view old_name,
                           wire::InodeId new_parent,
                           std::string_view new_name,
                           std::uint32_t flags) {
  BENCHFS_CO_TRY_VOID(check_name(old_name));
  BENCHFS_CO_TRY_VOID(check_name(new_name));
  NodeCache::Change old_change(cache_, old_parent, old_name);
  NodeCache::Change new_change(cache_, new_parent, new_name);
  flags |= cache_.is_enabled() ? std::uint32_t{wire::kRenameLease} : 0U;
  Deadline by = backend_.metadata_deadline();
  Status renamed = co_await inodes_.rename(old_parent, old_name, new_parent, new_name, flags, by);
  if (!renamed && renamed.error().is_posix(ESTALE)) {
    // Either of the two may be gone. A directory that was removed is ESTALE, a lost one EIO.
    Error why = co_await open_files_.explain_gone(old_parent, renamed.error(), by);
    if (why.is_posix(ESTALE)) {
      why = co_await open_files_.explain_gone(new_parent, std::move(renamed.error()), by);
    }
    co_return std::unexpected(std::move(why));
  }
  BENCHFS_CO_TRY_VOID(std::move(renamed));
  directories_.forget(old_parent, old_name);
  directories_.forget(new_parent, new_name);
  co_return Status{};
}

}  // namespace benchfs::client
