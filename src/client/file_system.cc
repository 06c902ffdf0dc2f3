#include "client/file_system.h"

#include <cerrno>
#include <utility>

#include "client/lost_file.h"

namespace benchfs::client {

FileSystem::FileSystem(rpc::ConnectionPool& pool, FileSystemConfig config)
    : pool_(pool), config_(config) {
  pool_.set_notice_handler(this);
}

FileSystem::~FileSystem() {
  pool_.set_notice_handler(nullptr);
}

rt::Task<void> FileSystem::close_all() {
  co_await scope_.join();
}

void FileSystem::on_invalidate(wire::InodeId parent, std::string_view name) {
  if (parent.is_valid()) {
    directories_.forget(parent, name);
  } else {
    directories_.clear();
  }
}

wire::ShardId FileSystem::shard_of(wire::InodeId parent, std::string_view name) const {
  return cluster::entry_shard(parent, name, pool_.size());
}

// --- Asking servers ------------------------------------------------------------------------------

// A call whose reply is an entry; a symlink's target may come with it.
rt::CoResult<FileSystem::Found> FileSystem::entry_call(wire::ShardId shard,
                                                       rpc::Call& call,
                                                       Deadline deadline) {
  if (target_buffers_.empty()) {
    target_buffers_.push_back(std::make_unique<std::array<std::byte, wire::kMaxPathBytes>>());
  }
  auto buffer = std::move(target_buffers_.back());
  target_buffers_.pop_back();
  call.into = *buffer;
  Result<rpc::Reply> reply = co_await pool_.call(shard, call, deadline);
  Found found;
  if (reply) {
    Result<wire::EntryReply> entry = reply->as<wire::EntryReply>();
    if (!entry) {
      reply = std::unexpected(std::move(entry.error()));
    } else {
      found.attr = entry->attr;
      found.flags = entry->flags;
      found.target.assign(reinterpret_cast<const char*>(buffer->data()), reply->data_bytes);
    }
  }
  target_buffers_.push_back(std::move(buffer));
  if (!reply) {
    co_return call_error(std::move(reply.error()), LostBy::kAnother);
  }
  co_return found;
}

rt::CoResult<FileSystem::Found> FileSystem::get_inode(wire::InodeId inode, Deadline deadline) {
  wire::GetAttrRequest request;
  request.inode = inode.value;
  rpc::Call call = rpc::make_call(request);
  if (inode.home().value >= pool_.size()) {
    co_return fail_errno(ENOENT);
  }
  co_return co_await entry_call(inode.home(), call, deadline);
}

rt::CoResult<FileSystem::Found> FileSystem::lookup(wire::InodeId parent,
                                                   std::string name,
                                                   Deadline deadline) {
  wire::LookupRequest request;
  request.parent = parent.value;
  request.name_bytes = static_cast<std::uint16_t>(name.size());
  rpc::Call call = rpc::make_call(request, name);
  MonoTime asked_at = mono_now();
  std::uint64_t version = directories_.version();
  Result<Found> found = co_await entry_call(shard_of(parent, name), call, deadline);
  if (found && found->attr.is_directory() && directories_.version() == version) {
    directories_.put(parent, name, found->attr.id(), asked_at);
  }
  if (found && (found->flags & wire::kEntryRemote) != 0) {
    found = co_await get_inode(found->attr.id(), deadline);
  }
  co_return found;
}

// --- Paths ---------------------------------------------------------------------------------------

rt::CoStatus FileSystem::walk_to_last(PathWalk& walk, Deadline deadline) {
  while (!walk.name().empty()) {
    if (walk.name().size() > wire::kMaxNameBytes) {
      co_return fail_errno(ENAMETOOLONG);
    }
    if (walk.is_last()) {
      break;
    }
    wire::InodeId known = directories_.find(walk.directory(), walk.name(), mono_now());
    if (known.is_valid() && !walk.is_before_dots()) {
      walk.enter(known);
      continue;
    }
    BENCHFS_CO_TRY(Found found, co_await lookup(walk.directory(), walk.name(), deadline));
    if (found.attr.is_directory()) {
      walk.enter(found.attr.id());
    } else if (found.attr.is_symlink()) {
      BENCHFS_CO_TRY_VOID(walk.follow(found.target));
    } else {
      co_return fail_errno(ENOTDIR);
    }
  }
  co_return Status{};
}

// To the inode a path names.
rt::CoResult<wire::Attr> FileSystem::resolve(PathWalk& walk, Follow follow, Deadline deadline) {
  for (;;) {
    BENCHFS_CO_TRY_VOID(co_await walk_to_last(walk, deadline));
    if (walk.name().empty()) {
      BENCHFS_CO_TRY(Found found, co_await get_inode(walk.directory(), deadline));
      co_return found.attr;
    }
    BENCHFS_CO_TRY(Found found, co_await lookup(walk.directory(), walk.name(), deadline));
    bool must_follow = follow == Follow::kYes || walk.must_be_directory();
    if (found.attr.is_symlink() && must_follow) {
      BENCHFS_CO_TRY_VOID(walk.follow(found.target));
      continue;
    }
    if (walk.must_be_directory() && !found.attr.is_directory()) {
      co_return fail_errno(ENOTDIR);
    }
    co_return found.attr;
  }
}

}  // namespace benchfs::client
