#include "client/io/open_files.h"

#include <cerrno>
#include <utility>
#include <vector>

#include "client/inodes/lost_file.h"
#include "cluster/placement.h"

namespace benchfs::client {

rt::CoResult<OpenedEntry> OpenFiles::open_entry(wire::InodeId parent,
                                                std::string_view name,
                                                std::uint32_t flags,
                                                const NewInode& new_file,
                                                Deadline by) {
  BENCHFS_CO_TRY(Found found, co_await inodes_.open_entry(parent, name, flags, new_file, 0, by));
  if (found.is_remote()) {
    co_return OpenedEntry{.remote = found.attr.id()};
  }
  co_return finish(std::move(found), flags);
}

rt::CoResult<OpenedEntry> OpenFiles::open(wire::InodeId inode, std::uint32_t flags, Deadline by) {
  BENCHFS_CO_TRY(Found found, co_await inodes_.open(inode, flags, 0, by));
  co_return finish(std::move(found), flags);
}

// The file as its home shard opened it.
Result<OpenedEntry> OpenFiles::finish(Found found, std::uint32_t flags) {
  if (found.attr.is_symlink()) {
    return OpenedEntry{.link_target = std::move(found.target)};
  }
  bool is_directory = found.attr.is_directory();
  if (is_directory && (flags & (wire::kOpenWrite | wire::kOpenCreate)) != 0) {
    bool exclusive = (flags & wire::kOpenCreate) != 0 && (flags & wire::kOpenExclusive) != 0;
    return fail_errno(exclusive ? EEXIST : EISDIR);
  }
  if (!is_directory && !cluster::is_valid_layout(found.attr.layout)) {
    return fail(Errc::kMalformed, "the server sent an impossible file layout");
  }
  auto file = std::make_shared<OpenFile>();
  file->flags = flags;
  file->inode = table_.get(found.attr);
  if ((flags & wire::kOpenTruncate) != 0 && (flags & wire::kOpenWrite) != 0) {
    file->inode->on_truncated(found.attr);
  }
  return OpenedEntry{.file = std::move(file)};
}

rt::CoStatus OpenFiles::close(std::shared_ptr<OpenFile> file) {
  if (!file->is_open) {
    co_return fail_errno(EBADF);
  }
  file->is_open = false;
  wire::InodeId id = file->id();
  if (file->inode->attr.is_directory()) {
    file->inode.reset();
    table_.forget_if_unused(id);
    co_return Status{};
  }
  OpenInode& inode = *file->inode;
  wire::CloseRequest request;
  request.inode = id.value;
  request.flags = file->flags;
  if (file->can_write()) {
    request.written_end = inode.written_end;
    request.truncation = inode.truncation;
    request.mtime_ns = inode.mtime_ns;
  }
  rpc::Call call = rpc::make_call(request);
  Result<Found> found = co_await inodes_.entry_call(id.home(), call, backend_.metadata_deadline());
  if (found) {
    inode.on_settled(found->attr, request.written_end, request.mtime_ns);
  }
  file->inode.reset();
  table_.forget_if_unused(id);
  if (!found) {
    co_return std::unexpected(std::move(found.error()));
  }
  co_return Status{};
}

// Tells the home shard what has been written.
rt::CoStatus OpenFiles::settle(OpenInode& inode, Deadline by) {
  wire::FsyncRequest request;
  request.inode = inode.attr.inode;
  request.written_end = inode.written_end;
  request.truncation = inode.truncation;
  request.mtime_ns = inode.mtime_ns;
  rpc::Call call = rpc::make_call(request);
  BENCHFS_CO_TRY(Found found, co_await inodes_.entry_call(inode.attr.id().home(), call, by));
  inode.on_settled(found.attr, request.written_end, request.mtime_ns);
  co_return Status{};
}

namespace {
// The file is long enough for a chunk on this shard.
bool reaches(const wire::Attr& attr, wire::ShardId shard) {
  for (wire::ShardId holder : cluster::LayoutShards(attr.layout, attr.size)) {
    if (holder == shard) {
      return true;
    }
  }
  return false;
}
}  // namespace

rt::Task<void> OpenFiles::fsync_shard(wire::ShardId shard,
                                      wire::FsyncChunksRequest body,
                                      Deadline by,
                                      Status* out) {
  rpc::Call call = rpc::make_call(body);
  Result<rpc::Reply> reply = co_await backend_.pool.call(shard, call, by);
  if (!reply) {
    *out = call_error(std::move(reply.error()), LostBy::kAsked);
  }
}

rt::CoStatus OpenFiles::fsync(OpenFile& file) {
  Deadline by = backend_.data_deadline();
  if (file.inode->attr.is_directory()) {
    co_return Status{};
  }
  std::shared_ptr<OpenInode> inode = file.inode;
  wire::FsyncChunksRequest body;
  body.inode = file.id().value;
  std::vector<Status> results(file.layout().width);
  rt::Group group(backend_.scope);
  for (std::uint32_t shard = 0; shard < results.size(); ++shard) {
    group.add(fsync_shard(wire::ShardId{shard}, body, by, &results[shard]));
  }
  (void)co_await group.wait();
  for (Status& result : results) {
    if (!result && result.error().code != Errc::kDataLost) {
      co_return std::move(result);
    }
  }
  Status settled = co_await settle(*inode, by);
  if (!settled && settled.error().code != Errc::kDataLost) {
    co_return settled;
  }
  for (std::uint32_t shard = 0; shard < results.size(); ++shard) {
    if (!results[shard] && (!settled || reaches(inode->attr, wire::ShardId{shard}))) {
      co_return std::move(results[shard]);
    }
  }
  co_return settled;
}

rt::CoResult<wire::Attr> OpenFiles::stat(OpenFile& file) {
  BENCHFS_CO_TRY(Found found, co_await inodes_.get_attr(file.id(), backend_.metadata_deadline()));
  file.inode->attr = found.attr;
  co_return found.attr;
}

rt::CoResult<wire::Attr> OpenFiles::set_attr(wire::InodeId inode,
                                             wire::SetAttrRequest request,
                                             Deadline by) {
  std::shared_ptr<OpenInode> open = table_.find(inode);
  if (open != nullptr && open->mtime_ns != 0) {
    BENCHFS_CO_TRY_VOID(co_await settle(*open, by));  // earlier writes must not undo new times
  }
  BENCHFS_CO_TRY(Found found, co_await inodes_.set_attr(inode, request, by));
  if (open != nullptr) {
    if ((request.mask & wire::kSetSize) != 0) {
      open->on_truncated(found.attr);
    }
    open->attr = found.attr;
  }
  co_return found.attr;
}

}  // namespace benchfs::client
