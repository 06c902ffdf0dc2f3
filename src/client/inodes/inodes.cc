#include "client/inodes/inodes.h"

#include <cerrno>
#include <span>
#include <utility>

#include "client/inodes/check_reply.h"
#include "client/inodes/lost_file.h"
#include "cluster/placement.h"

namespace benchfs::client {
namespace {

template <typename Request>
void set_owner(Request& request, const NewInode& inode) {
  request.uid = inode.uid;
  request.gid = inode.gid;
}

// Whether the request is about a name; what is about an inode is answered by its home.
bool may_be_remote(wire::Opcode opcode) {
  return opcode == wire::Opcode::kLookup || opcode == wire::Opcode::kOpen ||
         opcode == wire::Opcode::kLink;
}

std::uint16_t length(std::string_view text) {
  return static_cast<std::uint16_t>(text.size());
}

}  // namespace

wire::ShardId Inodes::shard_of(wire::InodeId parent, std::string_view name) const {
  return cluster::entry_shard(parent, name, backend_.pool.size());
}

TargetBuffer Inodes::take_buffer() {
  if (target_buffers_.empty()) {
    return std::make_unique<TargetBuffer::element_type>();
  }
  TargetBuffer buffer = std::move(target_buffers_.back());
  target_buffers_.pop_back();
  return buffer;
}

Result<Found> Inodes::finish(wire::ShardId shard,
                             wire::Opcode opcode,
                             const Result<rpc::Reply>& reply,
                             TargetBuffer buffer) {
  Result<Found> found(std::in_place);
  Result<wire::EntryReply> entry =
      reply ? reply->as<wire::EntryReply>() : std::unexpected(reply.error());
  if (entry) {
    bool is_remote = (entry->flags & wire::kEntryRemote) != 0 && may_be_remote(opcode);
    Status checked = check_attr(entry->attr, backend_.pool.size(), is_remote);
    if (!checked) [[unlikely]] {
      entry = std::unexpected(std::move(checked.error()));
    }
  }
  if (entry) {
    found->attr = entry->attr;
    found->flags = entry->flags;
    if (reply->data_bytes > 0) {
      found->target.assign(reinterpret_cast<const char*>(buffer->data()), reply->data_bytes);
    }
  } else {
    found =
        call_error(name_node(std::move(entry.error()), backend_, shard, wire::to_string(opcode)),
                   LostBy::kAnother);
  }
  target_buffers_.push_back(std::move(buffer));
  return found;
}

template <typename Request>
EntryCall<Request>::EntryCall(Inodes& inodes,
                              wire::ShardId shard,
                              const Request& request,
                              Deadline by,
                              std::string_view name,
                              std::string_view data)
    : inodes_(inodes),
      shard_(shard),
      request_(request),
      buffer_(inodes.take_buffer()),
      call_(rpc::make_call(request_, name)),
      reply_(inodes.backend_.pool, shard, call_, by) {
  call_.data = std::as_bytes(std::span(data));
  call_.into = *buffer_;
}

template <typename Request>
Result<Found> EntryCall<Request>::await_resume() {
  if (await_ready()) [[unlikely]] {  // an inode number that no shard of this file system made
    return fail_errno(ENOENT);
  }
  return inodes_.finish(shard_, Request::kOpcode, reply_.await_resume(), std::move(buffer_));
}

template <typename Request>
Result<typename PlainCall<Request>::Answer> PlainCall<Request>::await_resume() {
  Result<rpc::Reply> reply = reply_.await_resume();
  if (!reply) {
    return std::unexpected(
        name_node(std::move(reply.error()), backend_, shard_, wire::to_string(call_.opcode)));
  }
  if constexpr (std::is_void_v<Answer>) {
    return {};
  } else {
    return reply->as<Answer>();
  }
}

template class EntryCall<wire::LookupRequest>;
template class EntryCall<wire::OpenRequest>;
template class EntryCall<wire::OpenInodeRequest>;
template class EntryCall<wire::OpenUnnamedRequest>;
template class EntryCall<wire::GetAttrRequest>;
template class EntryCall<wire::SetAttrRequest>;
template class EntryCall<wire::FsyncRequest>;
template class EntryCall<wire::MkdirRequest>;
template class EntryCall<wire::SymlinkRequest>;
template class EntryCall<wire::LinkRequest>;
template class EntryCall<wire::MakeSpecialRequest>;
template class PlainCall<wire::UnlinkRequest>;
template class PlainCall<wire::RmdirRequest>;
template class PlainCall<wire::RenameRequest>;

// --- Inodes --------------------------------------------------------------------------------------

EntryCall<wire::GetAttrRequest> Inodes::get_attr(wire::InodeId inode,
                                                 Deadline by,
                                                 std::uint32_t flags) {
  wire::GetAttrRequest request;
  request.inode = inode.value;
  request.flags = flags;
  return {*this, inode.home(), request, by};
}

EntryCall<wire::SetAttrRequest> Inodes::set_attr(wire::InodeId inode,
                                                 wire::SetAttrRequest request,
                                                 Deadline by) {
  request.inode = inode.value;
  return {*this, inode.home(), request, by};
}

EntryCall<wire::OpenInodeRequest> Inodes::open(wire::InodeId inode,
                                               std::uint32_t flags,
                                               std::uint64_t open_number,
                                               Deadline by) {
  wire::OpenInodeRequest request;
  request.inode = inode.value;
  request.flags = flags;
  request.open_number = open_number;
  return {*this, inode.home(), request, by};
}

EntryCall<wire::OpenUnnamedRequest> Inodes::open_unnamed(wire::ShardId shard,
                                                         wire::InodeId directory,
                                                         std::uint32_t flags,
                                                         const NewInode& new_file,
                                                         std::uint64_t open_number,
                                                         Deadline by) {
  wire::OpenUnnamedRequest request;
  request.parent = directory.value;
  request.flags = flags;
  request.mode = new_file.mode;
  set_owner(request, new_file);
  request.chunk_bytes = new_file.chunk_bytes;
  request.open_number = open_number;
  return {*this, shard, request, by};
}

EntryCall<wire::FsyncRequest> Inodes::fsync(wire::InodeId inode, Deadline by) {
  wire::FsyncRequest request;
  request.inode = inode.value;
  return {*this, inode.home(), request, by};
}

rt::CoResult<wire::InodeRangeReply> Inodes::made_since_start(wire::ShardId shard, Deadline by) {
  wire::InodeRangeRequest request;
  Result<rpc::Reply> reply = co_await backend_.pool.call(shard, rpc::make_call(request), by);
  if (!reply) {
    co_return std::unexpected(std::move(reply.error()));
  }
  co_return reply->as<wire::InodeRangeReply>();
}

rt::CoResult<std::string> Inodes::get_xattr(wire::InodeId inode,
                                            std::string_view name,
                                            Deadline by) {
  if (name.size() > wire::kMaxXattrNameBytes) {
    co_return fail_errno(ERANGE);
  }
  wire::GetXattrRequest request;
  request.inode = inode.value;
  request.name_bytes = length(name);
  rpc::Call call = rpc::make_call(request, name);
  std::string value(wire::kMaxXattrValueBytes, '\0');
  static_assert(wire::kMaxXattrListBytes <= wire::kMaxXattrValueBytes);
  call.into = std::as_writable_bytes(std::span(value));
  Result<rpc::Reply> reply = co_await backend_.pool.call(inode.home(), call, by);
  if (!reply) {
    co_return std::unexpected(
        name_node(std::move(reply.error()), backend_, inode.home(), "get xattr"));
  }
  value.resize(reply->data_bytes);
  co_return value;
}

rt::CoStatus Inodes::set_xattr(wire::InodeId inode,
                               std::string_view name,
                               std::string_view value,
                               std::uint32_t flags,
                               Deadline by) {
  if (name.empty() || name.size() > wire::kMaxXattrNameBytes) {
    co_return fail_errno(ERANGE);
  }
  if (value.size() > wire::kMaxXattrValueBytes) {
    co_return fail_errno(E2BIG);
  }
  wire::SetXattrRequest request;
  request.inode = inode.value;
  request.flags = flags;
  request.value_bytes = static_cast<std::uint32_t>(value.size());
  request.name_bytes = length(name);
  rpc::Call call = rpc::make_call(request, name);
  call.data = std::as_bytes(std::span(value));
  call.rendezvous = value.size() > backend_.config.eager_bytes;
  Result<rpc::Reply> reply = co_await backend_.pool.call(inode.home(), call, by);
  if (!reply) {
    co_return std::unexpected(
        name_node(std::move(reply.error()), backend_, inode.home(), "set xattr"));
  }
  co_return Status{};
}

// --- Entries -------------------------------------------------------------------------------------

EntryCall<wire::LookupRequest> Inodes::lookup(wire::InodeId parent,
                                              std::string_view name,
                                              Deadline by,
                                              std::uint16_t flags) {
  wire::LookupRequest request;
  request.parent = parent.value;
  request.name_bytes = length(name);
  request.flags = flags;
  return {*this, shard_of(parent, name), request, by, name};
}

EntryCall<wire::OpenRequest> Inodes::open_entry(wire::InodeId parent,
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
  return {*this, shard_of(parent, name), request, by, name};
}

EntryCall<wire::MkdirRequest> Inodes::mkdir(wire::InodeId parent,
                                            std::string_view name,
                                            const NewInode& directory,
                                            Deadline by) {
  wire::MkdirRequest request;
  request.parent = parent.value;
  request.mode = directory.mode;
  set_owner(request, directory);
  request.name_bytes = length(name);
  return {*this, shard_of(parent, name), request, by, name};
}

EntryCall<wire::SymlinkRequest> Inodes::symlink(wire::InodeId parent,
                                                std::string_view name,
                                                std::string_view target,
                                                const NewInode& link,
                                                Deadline by) {
  wire::SymlinkRequest request;
  request.parent = parent.value;
  set_owner(request, link);
  request.target_bytes = length(target);
  request.name_bytes = length(name);
  return {*this, shard_of(parent, name), request, by, name, target};
}

EntryCall<wire::LinkRequest> Inodes::link(wire::InodeId inode,
                                          wire::InodeId parent,
                                          std::string_view name,
                                          Deadline by) {
  wire::LinkRequest request;
  request.inode = inode.value;
  request.parent = parent.value;
  request.name_bytes = length(name);
  return {*this, shard_of(parent, name), request, by, name};
}

EntryCall<wire::MakeSpecialRequest> Inodes::make_special(wire::InodeId parent,
                                                         std::string_view name,
                                                         const NewInode& special,
                                                         Deadline by) {
  wire::MakeSpecialRequest request;
  request.parent = parent.value;
  request.mode = special.mode;
  set_owner(request, special);
  request.device = special.device;
  request.name_bytes = length(name);
  return {*this, shard_of(parent, name), request, by, name};
}

PlainCall<wire::UnlinkRequest> Inodes::unlink(wire::InodeId parent,
                                              std::string_view name,
                                              Deadline by,
                                              wire::InodeId forgotten,
                                              std::uint16_t flags) {
  wire::UnlinkRequest request;
  request.parent = parent.value;
  request.forgotten = forgotten.value;
  request.flags = flags;
  request.name_bytes = length(name);
  return {backend_, shard_of(parent, name), request, by, name};
}

PlainCall<wire::RmdirRequest> Inodes::rmdir(wire::InodeId parent,
                                            std::string_view name,
                                            Deadline by) {
  wire::RmdirRequest request;
  request.parent = parent.value;
  request.name_bytes = length(name);
  return {backend_, shard_of(parent, name), request, by, name};
}

PlainCall<wire::RenameRequest> Inodes::rename(wire::InodeId old_parent,
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
  return {backend_, shard_of(old_parent, old_name), request, by, old_name, new_name};
}

}  // namespace benchfs::client
