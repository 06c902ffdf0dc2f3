#include "client/inodes/inodes.h"

#include <cerrno>
#include <span>
#include <utility>

#include "client/inodes/lost_file.h"
#include "cluster/placement.h"

namespace benchfs::client {
namespace {

template <typename Request>
void set_owner(Request& request, const NewInode& inode) {
  request.uid = inode.uid;
  request.gid = inode.gid;
}

std::uint16_t length(std::string_view text) {
  return static_cast<std::uint16_t>(text.size());
}

}  // namespace

wire::ShardId Inodes::shard_of(wire::InodeId parent, std::string_view name) const {
  return cluster::entry_shard(parent, name, backend_.pool.size());
}

rt::CoResult<Found> Inodes::entry_call(wire::ShardId shard, rpc::Call& call, Deadline by) {
  if (shard.value >= backend_.pool.size()) {
    co_return fail_errno(ENOENT);
  }
  if (target_buffers_.empty()) {
    target_buffers_.push_back(std::make_unique<std::array<std::byte, wire::kMaxPathBytes>>());
  }
  auto buffer = std::move(target_buffers_.back());
  target_buffers_.pop_back();
  call.into = *buffer;
  Result<rpc::Reply> reply = co_await backend_.pool.call(shard, call, by);
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
    co_return call_error(
        name_node(std::move(reply.error()), backend_, shard, wire::to_string(call.opcode)),
        LostBy::kAnother);
  }
  co_return found;
}

rt::CoStatus Inodes::plain_call(wire::ShardId shard, const rpc::Call& call, Deadline by) {
  Result<rpc::Reply> reply = co_await backend_.pool.call(shard, call, by);
  if (!reply) {
    co_return std::unexpected(
        name_node(std::move(reply.error()), backend_, shard, wire::to_string(call.opcode)));
  }
  co_return Status{};
}

// --- Inodes --------------------------------------------------------------------------------------

rt::CoResult<Found> Inodes::get_attr(wire::InodeId inode, Deadline by) {
  wire::GetAttrRequest request;
  request.inode = inode.value;
  rpc::Call call = rpc::make_call(request);
  co_return co_await entry_call(inode.home(), call, by);
}

rt::CoResult<Found> Inodes::set_attr(wire::InodeId inode,
                                     wire::SetAttrRequest request,
                                     Deadline by) {
  request.inode = inode.value;
  rpc::Call call = rpc::make_call(request);
  co_return co_await entry_call(inode.home(), call, by);
}

rt::CoResult<Found> Inodes::open(wire::InodeId inode,
                                 std::uint32_t flags,
                                 std::uint64_t open_number,
                                 Deadline by) {
  wire::OpenInodeRequest request;
  request.inode = inode.value;
  request.flags = flags;
  request.open_number = open_number;
  rpc::Call call = rpc::make_call(request);
  co_return co_await entry_call(inode.home(), call, by);
}

rt::CoResult<Found> Inodes::fsync(wire::InodeId inode, Deadline by) {
  wire::FsyncRequest request;
  request.inode = inode.value;
  rpc::Call call = rpc::make_call(request);
  co_return co_await entry_call(inode.home(), call, by);
}

rt::CoResult<wire::InodeRangeReply> Inodes::made_since_start(wire::ShardId shard, Deadline by) {
  wire::InodeRangeRequest request;
  Result<rpc::Reply> reply = co_await backend_.pool.call(shard, rpc::make_call(request), by);
  if (!reply) {
    co_return std::unexpected(std::move(reply.error()));
  }
  co_return reply->as<wire::InodeRangeReply>();
}

// --- Entries -------------------------------------------------------------------------------------

rt::CoResult<Found> Inodes::lookup(wire::InodeId parent, std::string_view name, Deadline by) {
  wire::LookupRequest request;
  request.parent = parent.value;
  request.name_bytes = length(name);
  rpc::Call call = rpc::make_call(request, name);
  co_return co_await entry_call(shard_of(parent, name), call, by);
}

rt::CoResult<Found> Inodes::open_entry(wire::InodeId parent,
                                       std::string_view name,
                                       std::uint32_t flags,
                                       const NewInode& new_file,
                                       std::uint64_t open_number,
                                       Deadline by) {
  wire::OpenRequest request;
  request.parent = parent.value;
  request.flags = flags;
  request.mode = new_file.mode;
  set_owner(request, new_file);
  request.chunk_bytes = new_file.chunk_bytes;
  request.name_bytes = length(name);
  request.open_number = open_number;
  rpc::Call call = rpc::make_call(request, name);
  co_return co_await entry_call(shard_of(parent, name), call, by);
}

rt::CoResult<Found> Inodes::mkdir(wire::InodeId parent,
                                  std::string_view name,
                                  const NewInode& directory,
                                  Deadline by) {
  wire::MkdirRequest request;
  request.parent = parent.value;
  request.mode = directory.mode;
  set_owner(request, directory);
  request.name_bytes = length(name);
  rpc::Call call = rpc::make_call(request, name);
  co_return co_await entry_call(shard_of(parent, name), call, by);
}

rt::CoResult<Found> Inodes::symlink(wire::InodeId parent,
                                    std::string_view name,
                                    std::string_view target,
                                    const NewInode& link,
                                    Deadline by) {
  wire::SymlinkRequest request;
  request.parent = parent.value;
  set_owner(request, link);
  request.target_bytes = length(target);
  request.name_bytes = length(name);
  rpc::Call call = rpc::make_call(request, name);
  call.data = std::as_bytes(std::span(target));
  co_return co_await entry_call(shard_of(parent, name), call, by);
}

rt::CoStatus Inodes::unlink(wire::InodeId parent, std::string_view name, Deadline by) {
  wire::UnlinkRequest request;
  request.parent = parent.value;
  request.name_bytes = length(name);
  co_return co_await plain_call(shard_of(parent, name), rpc::make_call(request, name), by);
}

rt::CoStatus Inodes::rmdir(wire::InodeId parent, std::string_view name, Deadline by) {
  wire::RmdirRequest request;
  request.parent = parent.value;
  request.name_bytes = length(name);
  co_return co_await plain_call(shard_of(parent, name), rpc::make_call(request, name), by);
}

rt::CoStatus Inodes::rename(wire::InodeId old_parent,
                            std::string_view old_name,
                            wire::InodeId new_parent,
                            std::string_view new_name,
                            std::uint32_t flags,
                            Deadline by) {
  wire::RenameRequest request;
  request.old_parent = old_parent.value;
  request.new_parent = new_parent.value;
  request.flags = flags;
  request.old_name_bytes = length(old_name);
  request.new_name_bytes = length(new_name);
  rpc::Call call = rpc::make_call(request, old_name, new_name);
  co_return co_await plain_call(shard_of(old_parent, old_name), call, by);
}

}  // namespace benchfs::client
