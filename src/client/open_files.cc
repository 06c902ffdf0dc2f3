// Opening, closing and what the home shard must know of what was written.

#include <cerrno>
#include <utility>
#include <vector>

#include "client/file_system.h"
#include "client/lost_file.h"
#include "client/with_fresh_cache.h"

namespace benchfs::client {

rt::CoResult<std::shared_ptr<OpenFile>> FileSystem::do_open(std::string path,
                                                            std::uint32_t flags,
                                                            std::uint32_t mode,
                                                            std::uint32_t chunk_bytes) {
  Deadline by = deadline();
  if ((flags & wire::kOpenCreate) != 0 && (flags & wire::kOpenDirectory) != 0) {
    co_return fail_errno(EINVAL);  // as Linux since 6.4: it never made a directory
  }
  BENCHFS_CO_TRY(PathWalk walk, PathWalk::start(path));
  for (;;) {
    BENCHFS_CO_TRY_VOID(co_await walk_to_last(walk, by));
    if (walk.name().empty()) {
      BENCHFS_CO_TRY(Found found, co_await get_inode(walk.directory(), by));
      co_return co_await finish_open(std::move(found), flags, by);
    }
    if (walk.must_be_directory() && (flags & wire::kOpenCreate) != 0) {
      co_return fail_errno(EISDIR);
    }
    std::uint32_t wanted = flags | (walk.must_be_directory() ? wire::kOpenDirectory : 0U);
    wire::OpenRequest request;
    request.parent = walk.directory().value;
    request.flags = wanted;
    request.mode = mode;
    request.uid = config_.uid;
    request.gid = config_.gid;
    request.chunk_bytes = chunk_bytes;
    request.name_bytes = static_cast<std::uint16_t>(walk.name().size());
    rpc::Call call = rpc::make_call(request, walk.name());
    BENCHFS_CO_TRY(Found found,
                   co_await entry_call(shard_of(walk.directory(), walk.name()), call, by));
    if ((found.flags & wire::kEntryRemote) != 0) {
      wire::OpenInodeRequest at_home;
      at_home.inode = found.attr.inode;
      at_home.flags = wanted;
      rpc::Call home_call = rpc::make_call(at_home);
      BENCHFS_CO_TRY(found, co_await entry_call(found.attr.id().home(), home_call, by));
    }
    if (found.attr.is_symlink()) {
      if ((flags & wire::kOpenNoFollow) != 0 && !walk.must_be_directory()) {
        co_return fail_errno((flags & wire::kOpenDirectory) != 0 ? ENOTDIR : ELOOP);
      }
      BENCHFS_CO_TRY_VOID(walk.follow(found.target));
      continue;
    }
    co_return co_await finish_open(std::move(found), flags, by);
  }
}

rt::CoResult<std::shared_ptr<OpenFile>> FileSystem::finish_open(Found found,
                                                                std::uint32_t flags,
                                                                Deadline) {
  bool is_directory = found.attr.is_directory();
  if (is_directory && (flags & (wire::kOpenWrite | wire::kOpenCreate)) != 0) {
    bool exclusive = (flags & wire::kOpenCreate) != 0 && (flags & wire::kOpenExclusive) != 0;
    co_return fail_errno(exclusive ? EEXIST : EISDIR);
  }
  auto file = std::make_shared<OpenFile>();
  file->flags = flags;
  file->inode = inodes_.get(found.attr);
  if ((flags & wire::kOpenTruncate) != 0 && (flags & wire::kOpenWrite) != 0) {
    file->inode->on_truncated(found.attr);
  }
  if (!is_directory && !cluster::is_valid_layout(found.attr.layout)) {
    co_return fail(Errc::kMalformed, "the server sent an impossible file layout");
  }
  co_return file;
}

rt::CoResult<std::shared_ptr<OpenFile>> FileSystem::open(std::string path,
                                                         std::uint32_t flags,
                                                         std::uint32_t mode,
                                                         std::uint32_t chunk_bytes) {
  return with_fresh_cache(&FileSystem::do_open,
                          std::move(path),
                          std::move(flags),
                          std::move(mode),
                          std::move(chunk_bytes));
}

rt::CoStatus FileSystem::close(std::shared_ptr<OpenFile> file) {
  if (!file->is_open) {
    co_return fail_errno(EBADF);
  }
  file->is_open = false;
  wire::InodeId id = file->id();
  if (file->inode->attr.is_directory()) {
    file->inode.reset();
    inodes_.forget_if_unused(id);
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
  Result<Found> found = co_await entry_call(id.home(), call, deadline());
  if (found) {
    inode.on_settled(found->attr, request.written_end, request.mtime_ns);
  }
  file->inode.reset();
  inodes_.forget_if_unused(id);
  if (!found) {
    co_return std::unexpected(std::move(found.error()));
  }
  co_return Status{};
}

// Tells the home shard what has been written.
rt::CoStatus FileSystem::settle(OpenInode& inode, Deadline by) {
  wire::FsyncRequest request;
  request.inode = inode.attr.inode;
  request.written_end = inode.written_end;
  request.truncation = inode.truncation;
  request.mtime_ns = inode.mtime_ns;
  rpc::Call call = rpc::make_call(request);
  BENCHFS_CO_TRY(Found found, co_await entry_call(inode.attr.id().home(), call, by));
  inode.on_settled(found.attr, request.written_end, request.mtime_ns);
  co_return Status{};
}

namespace {
// The file is long enough for a chunk on this shard.
bool reaches(const wire::Attr& attr, wire::ShardId shard) {
  for (std::uint64_t index = 0; index < attr.layout.width; ++index) {
    if (cluster::chunk_shard(attr.layout, index) == shard) {
      return attr.size > index * attr.layout.chunk_bytes;
    }
  }
  return false;
}
}  // namespace

rt::Task<void> FileSystem::fsync_shard(wire::ShardId shard,
                                       wire::FsyncChunksRequest body,
                                       Deadline by,
                                       Status* out) {
  rpc::Call call = rpc::make_call(body);
  Result<rpc::Reply> reply = co_await pool_.call(shard, call, by);
  if (!reply) {
    *out = call_error(std::move(reply.error()), LostBy::kAsked);
  }
}

rt::CoStatus FileSystem::fsync(OpenFile& file) {
  Deadline by = data_deadline();
  if (file.inode->attr.is_directory()) {
    co_return Status{};
  }
  std::shared_ptr<OpenInode> inode = file.inode;
  wire::FsyncChunksRequest body;
  body.inode = file.id().value;
  std::vector<Status> results(file.layout().width);
  rt::Group group(scope_);
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

}  // namespace benchfs::client
