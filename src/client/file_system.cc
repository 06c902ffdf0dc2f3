#include "client/file_system.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <unordered_map>
#include <utility>

#include "client/with_fresh_cache.h"

namespace benchfs::client {
namespace {

// Nothing can be done to the root, "." or "..".
std::unexpected<Error> busy_root() {
  return fail_errno(EBUSY);
}

// What rmdir() says of a path that ends in none of its own names.
std::unexpected<Error> cannot_remove(std::string_view path) {
  path = path.substr(0, path.find_last_not_of('/') + 1);
  std::string_view last = path.substr(path.rfind('/') + 1);
  if (last == ".") {
    return fail_errno(EINVAL);
  }
  return last == ".." ? fail_errno(ENOTEMPTY) : busy_root();
}

}  // namespace

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
    co_return std::unexpected(std::move(reply.error()));
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

rt::CoResult<wire::Attr> FileSystem::do_stat(std::string path, Follow follow) {
  BENCHFS_CO_TRY(PathWalk walk, PathWalk::start(path));
  co_return co_await resolve(walk, follow, deadline());
}

rt::CoResult<wire::Attr> FileSystem::stat(std::string path) {
  return with_fresh_cache(&FileSystem::do_stat, std::move(path), Follow::kYes);
}

rt::CoResult<wire::Attr> FileSystem::lstat(std::string path) {
  return with_fresh_cache(&FileSystem::do_stat, std::move(path), Follow::kNo);
}

// --- Changing names ------------------------------------------------------------------------------

rt::CoResult<wire::Attr> FileSystem::do_mkdir(std::string path, std::uint32_t mode) {
  Deadline by = deadline();
  BENCHFS_CO_TRY(PathWalk walk, PathWalk::start(path));
  BENCHFS_CO_TRY_VOID(co_await walk_to_last(walk, by));
  if (walk.name().empty()) {
    co_return fail_errno(EEXIST);
  }
  wire::MkdirRequest request;
  request.parent = walk.directory().value;
  request.mode = mode;
  request.uid = config_.uid;
  request.gid = config_.gid;
  request.name_bytes = static_cast<std::uint16_t>(walk.name().size());
  rpc::Call call = rpc::make_call(request, walk.name());
  MonoTime asked_at = mono_now();
  std::uint64_t version = directories_.version();
  BENCHFS_CO_TRY(Found found,
                 co_await entry_call(shard_of(walk.directory(), walk.name()), call, by));
  if (directories_.version() == version) {
    directories_.put(walk.directory(), walk.name(), found.attr.id(), asked_at);
  }
  co_return found.attr;
}

rt::CoResult<wire::Attr> FileSystem::mkdir(std::string path, std::uint32_t mode) {
  return with_fresh_cache(&FileSystem::do_mkdir, std::move(path), std::move(mode));
}

rt::CoStatus FileSystem::do_rmdir(std::string path) {
  Deadline by = deadline();
  BENCHFS_CO_TRY(PathWalk walk, PathWalk::start(path));
  BENCHFS_CO_TRY_VOID(co_await walk_to_last(walk, by));
  if (walk.name().empty()) {
    co_return cannot_remove(path);
  }
  wire::RmdirRequest request;
  request.parent = walk.directory().value;
  request.name_bytes = static_cast<std::uint16_t>(walk.name().size());
  rpc::Call call = rpc::make_call(request, walk.name());
  Result<rpc::Reply> reply = co_await pool_.call(shard_of(walk.directory(), walk.name()), call, by);
  if (!reply) {
    co_return std::unexpected(std::move(reply.error()));
  }
  directories_.forget(walk.directory(), walk.name());
  co_return Status{};
}

rt::CoStatus FileSystem::rmdir(std::string path) {
  return with_fresh_cache(&FileSystem::do_rmdir, std::move(path));
}

rt::CoStatus FileSystem::do_unlink(std::string path) {
  Deadline by = deadline();
  BENCHFS_CO_TRY(PathWalk walk, PathWalk::start(path));
  BENCHFS_CO_TRY_VOID(co_await walk_to_last(walk, by));
  if (walk.name().empty()) {
    co_return fail_errno(EISDIR);
  }
  if (walk.must_be_directory()) {
    BENCHFS_CO_TRY(Found found, co_await lookup(walk.directory(), walk.name(), by));
    co_return fail_errno(found.attr.is_directory() ? EISDIR : ENOTDIR);
  }
  wire::UnlinkRequest request;
  request.parent = walk.directory().value;
  request.name_bytes = static_cast<std::uint16_t>(walk.name().size());
  rpc::Call call = rpc::make_call(request, walk.name());
  Result<rpc::Reply> reply = co_await pool_.call(shard_of(walk.directory(), walk.name()), call, by);
  if (!reply) {
    co_return std::unexpected(std::move(reply.error()));
  }
  co_return Status{};
}

rt::CoStatus FileSystem::unlink(std::string path) {
  return with_fresh_cache(&FileSystem::do_unlink, std::move(path));
}

rt::CoStatus FileSystem::do_rename(std::string from, std::string to, std::uint32_t flags) {
  Deadline by = deadline();
  BENCHFS_CO_TRY(PathWalk old_walk, PathWalk::start(from));
  BENCHFS_CO_TRY_VOID(co_await walk_to_last(old_walk, by));
  BENCHFS_CO_TRY(PathWalk new_walk, PathWalk::start(to));
  BENCHFS_CO_TRY_VOID(co_await walk_to_last(new_walk, by));
  if (old_walk.name().empty() || new_walk.name().empty()) {
    co_return busy_root();
  }
  if (old_walk.must_be_directory() || new_walk.must_be_directory()) {
    BENCHFS_CO_TRY(Found found, co_await lookup(old_walk.directory(), old_walk.name(), by));
    if (!found.attr.is_directory()) {
      co_return fail_errno(ENOTDIR);
    }
  }
  wire::RenameRequest request;
  request.old_parent = old_walk.directory().value;
  request.new_parent = new_walk.directory().value;
  request.flags = flags;
  request.old_name_bytes = static_cast<std::uint16_t>(old_walk.name().size());
  request.new_name_bytes = static_cast<std::uint16_t>(new_walk.name().size());
  rpc::Call call = rpc::make_call(request, old_walk.name(), new_walk.name());
  Result<rpc::Reply> reply =
      co_await pool_.call(shard_of(old_walk.directory(), old_walk.name()), call, by);
  if (!reply) {
    co_return std::unexpected(std::move(reply.error()));
  }
  directories_.forget(old_walk.directory(), old_walk.name());
  directories_.forget(new_walk.directory(), new_walk.name());
  co_return Status{};
}

rt::CoStatus FileSystem::rename(std::string from, std::string to, std::uint32_t flags) {
  return with_fresh_cache(&FileSystem::do_rename, std::move(from), std::move(to), std::move(flags));
}

rt::CoStatus FileSystem::do_symlink(std::string target, std::string path) {
  Deadline by = deadline();
  if (target.empty()) {
    co_return fail_errno(ENOENT);
  }
  if (target.size() > wire::kMaxPathBytes) {
    co_return fail_errno(ENAMETOOLONG);
  }
  BENCHFS_CO_TRY(PathWalk walk, PathWalk::start(path));
  BENCHFS_CO_TRY_VOID(co_await walk_to_last(walk, by));
  if (walk.name().empty()) {
    co_return fail_errno(EEXIST);
  }
  if (walk.must_be_directory()) {
    BENCHFS_CO_TRY_VOID(co_await lookup(walk.directory(), walk.name(), by));
    co_return fail_errno(EEXIST);
  }
  wire::SymlinkRequest request;
  request.parent = walk.directory().value;
  request.uid = config_.uid;
  request.gid = config_.gid;
  request.target_bytes = static_cast<std::uint16_t>(target.size());
  request.name_bytes = static_cast<std::uint16_t>(walk.name().size());
  rpc::Call call = rpc::make_call(request, walk.name());
  call.data = std::as_bytes(std::span(target));
  BENCHFS_CO_TRY_VOID(co_await entry_call(shard_of(walk.directory(), walk.name()), call, by));
  co_return Status{};
}

rt::CoStatus FileSystem::symlink(std::string target, std::string path) {
  return with_fresh_cache(&FileSystem::do_symlink, std::move(target), std::move(path));
}

rt::CoResult<std::string> FileSystem::do_readlink(std::string path) {
  Deadline by = deadline();
  BENCHFS_CO_TRY(PathWalk walk, PathWalk::start(path));
  BENCHFS_CO_TRY_VOID(co_await walk_to_last(walk, by));
  if (walk.name().empty()) {
    co_return fail_errno(EINVAL);
  }
  if (walk.must_be_directory()) {
    BENCHFS_CO_TRY_VOID(co_await resolve(walk, Follow::kYes, by));
    co_return fail_errno(EINVAL);
  }
  BENCHFS_CO_TRY(Found found, co_await lookup(walk.directory(), walk.name(), by));
  if (!found.attr.is_symlink()) {
    co_return fail_errno(EINVAL);
  }
  co_return std::move(found.target);
}

rt::CoResult<std::string> FileSystem::readlink(std::string path) {
  return with_fresh_cache(&FileSystem::do_readlink, std::move(path));
}

// --- Attributes ----------------------------------------------------------------------------------

rt::CoResult<wire::Attr> FileSystem::set_inode_attr(wire::InodeId inode,
                                                    wire::SetAttrRequest request,
                                                    Deadline by) {
  std::shared_ptr<OpenInode> open = inodes_.find(inode);
  if (open != nullptr && open->mtime_ns != 0) {
    BENCHFS_CO_TRY_VOID(co_await settle(*open, by));  // earlier writes must not undo new times
  }
  request.inode = inode.value;
  rpc::Call call = rpc::make_call(request);
  BENCHFS_CO_TRY(Found found, co_await entry_call(inode.home(), call, by));
  if (open != nullptr) {
    if ((request.mask & wire::kSetSize) != 0) {
      open->on_truncated(found.attr);
    }
    open->attr = found.attr;
  }
  co_return found.attr;
}

rt::CoResult<wire::Attr> FileSystem::do_set_attr(std::string path,
                                                 wire::SetAttrRequest request,
                                                 bool follow) {
  Deadline by = deadline();
  BENCHFS_CO_TRY(PathWalk walk, PathWalk::start(path));
  BENCHFS_CO_TRY(wire::Attr attr, co_await resolve(walk, follow ? Follow::kYes : Follow::kNo, by));
  if ((request.mask & wire::kSetSize) != 0 && attr.is_directory()) {
    co_return fail_errno(EISDIR);
  }
  co_return co_await set_inode_attr(attr.id(), request, by);
}

rt::CoResult<wire::Attr> FileSystem::set_attr(std::string path,
                                              wire::SetAttrRequest request,
                                              bool follow) {
  return with_fresh_cache(
      &FileSystem::do_set_attr, std::move(path), std::move(request), std::move(follow));
}

rt::CoResult<wire::Attr> FileSystem::set_attr(OpenFile& file, wire::SetAttrRequest request) {
  co_return co_await set_inode_attr(file.id(), request, deadline());
}

rt::CoResult<wire::Attr> FileSystem::fstat(OpenFile& file) {
  BENCHFS_CO_TRY(Found found, co_await get_inode(file.id(), deadline()));
  file.inode->attr = found.attr;
  co_return found.attr;
}

// --- Open and close ------------------------------------------------------------------------------

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
    *out = std::unexpected(std::move(reply.error()));
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

// --- Listing -------------------------------------------------------------------------------------

rt::Task<void> FileSystem::list_shard(wire::ShardId shard,
                                      wire::InodeId directory,
                                      std::string_view cursor,
                                      std::uint32_t max_bytes,
                                      Deadline by,
                                      Result<std::vector<DirEntry>>* out,
                                      bool* at_end) {
  wire::ReaddirRequest request;
  request.directory = directory.value;
  request.max_bytes = max_bytes;
  request.cursor_bytes = static_cast<std::uint16_t>(cursor.size());
  rpc::Call call = rpc::make_call(request, cursor);
  std::vector<std::byte> page(max_bytes);
  call.into = page;
  Result<rpc::Reply> reply = co_await pool_.call(shard, call, by);
  if (!reply) {
    *out = std::unexpected(std::move(reply.error()));
    co_return;
  }
  Result<wire::ReaddirReply> header = reply->as<wire::ReaddirReply>();
  std::vector<DirEntry> entries;
  wire::Reader reader(std::span<const std::byte>(page).first(reply->data_bytes));
  for (std::uint32_t i = 0; header && i < header->entry_count; ++i) {
    wire::DirEntryHeader entry;
    reader.read(entry);
    std::string_view name = reader.read_text(entry.name_bytes);
    if (!reader.ok()) {
      header = fail(Errc::kMalformed, "a listing is cut short");
      break;
    }
    entries.push_back({std::string(name), wire::InodeId{entry.inode}, entry.type});
  }
  if (!header) {
    *out = std::unexpected(std::move(header.error()));
    co_return;
  }
  *at_end = header->at_end != 0;
  *out = std::move(entries);
}

rt::CoResult<std::vector<DirEntry>> FileSystem::list(wire::InodeId directory,
                                                     std::string cursor,
                                                     std::size_t max_entries) {
  auto page = co_await list_page(directory, std::move(cursor), max_entries);
  if (!page && page.error().is_posix(ESTALE)) {
    co_return std::vector<DirEntry>{};
  }
  co_return page;
}

rt::CoResult<std::vector<DirEntry>> FileSystem::list_page(wire::InodeId directory,
                                                          std::string cursor,
                                                          std::size_t max_entries) {
  Deadline by = deadline();
  std::uint32_t shards = pool_.size();
  // Entries are spread evenly; ask for a little more than the even share.
  std::size_t share = (max_entries / shards + 8) * (sizeof(wire::DirEntryHeader) + 32);
  auto max_bytes =
      static_cast<std::uint32_t>(std::clamp<std::size_t>(share, 4096, wire::kMaxReaddirBytes));
  std::vector<Result<std::vector<DirEntry>>> pages(shards, std::vector<DirEntry>{});
  std::unique_ptr<bool[]> at_end(new bool[shards]());  // lint: allow new array of flags
  rt::Group group(scope_);
  for (std::uint32_t shard = 0; shard < shards; ++shard) {
    group.add(list_shard(
        wire::ShardId{shard}, directory, cursor, max_bytes, by, &pages[shard], &at_end[shard]));
  }
  (void)co_await group.wait();
  // Beyond the end of the shortest unfinished page other shards may know names that come earlier.
  const std::string* bound = nullptr;
  std::vector<DirEntry> merged;
  for (std::uint32_t shard = 0; shard < shards; ++shard) {
    if (!pages[shard]) {
      co_return std::unexpected(std::move(pages[shard].error()));
    }
    if (!at_end[shard] && !pages[shard]->empty() &&
        (bound == nullptr || pages[shard]->back().name < *bound)) {
      bound = &pages[shard]->back().name;
    }
  }
  for (auto& page : pages) {
    for (DirEntry& entry : *page) {
      if (bound == nullptr || entry.name <= *bound) {
        merged.push_back(entry);
      }
    }
  }
  std::ranges::sort(merged, {}, &DirEntry::name);
  if (merged.size() > max_entries) {
    merged.resize(max_entries);
  }
  co_return merged;
}

rt::CoResult<std::vector<DirEntry>> FileSystem::do_list(std::string path,
                                                        std::string cursor,
                                                        std::size_t max_entries) {
  BENCHFS_CO_TRY(PathWalk walk, PathWalk::start(path));
  BENCHFS_CO_TRY(wire::Attr attr, co_await resolve(walk, Follow::kYes, deadline()));
  if (!attr.is_directory()) {
    co_return fail_errno(ENOTDIR);
  }
  co_return co_await list_page(attr.id(), std::move(cursor), max_entries);
}

rt::CoResult<std::vector<DirEntry>> FileSystem::list(std::string path,
                                                     std::string cursor,
                                                     std::size_t max_entries) {
  return with_fresh_cache(
      &FileSystem::do_list, std::move(path), std::move(cursor), std::move(max_entries));
}

// --- The whole -----------------------------------------------------------------------------------

rt::Task<void> FileSystem::statfs_shard(wire::ShardId shard,
                                        Deadline by,
                                        Result<wire::StatfsReply>* out) {
  wire::StatfsRequest request;
  rpc::Call call = rpc::make_call(request);
  Result<rpc::Reply> reply = co_await pool_.call(shard, call, by);
  if (!reply) {
    *out = std::unexpected(std::move(reply.error()));
    co_return;
  }
  *out = reply->as<wire::StatfsReply>();
}

rt::CoResult<Statfs> FileSystem::statfs() {
  Deadline by = administration_deadline();
  std::vector<Result<wire::StatfsReply>> answers(pool_.size(), wire::StatfsReply{});
  rt::Group group(scope_);
  for (std::uint32_t shard = 0; shard < pool_.size(); ++shard) {
    group.add(statfs_shard(wire::ShardId{shard}, by, &answers[shard]));
  }
  (void)co_await group.wait();
  Statfs sum;
  sum.shard_count = pool_.size();
  std::unordered_map<std::uint64_t, bool> devices;  // shards on one device share its space
  for (std::uint32_t shard = 0; shard < pool_.size(); ++shard) {
    Result<wire::StatfsReply>& answer = answers[shard];
    if (!answer) {
      co_return std::unexpected(std::move(answer.error()));
    }
    sum.inode_count += answer->inode_count;
    sum.chunk_bytes = pool_.at(wire::ShardId{shard}).grant().chunk_bytes;
    if (devices.emplace(answer->device, true).second) {
      sum.total_bytes += answer->total_bytes;
      sum.free_bytes += answer->free_bytes;
    }
  }
  co_return sum;
}

rt::CoResult<std::string> FileSystem::shard_stats(wire::ShardId shard) {
  return shard_section(shard, wire::StatsRequest{});
}

rt::CoResult<std::string> FileSystem::shard_requests(wire::ShardId shard, std::uint32_t limit) {
  wire::StatsRequest request;
  request.section = static_cast<std::uint32_t>(wire::StatsSection::kRequests);
  request.limit = limit;
  return shard_section(shard, request);
}

rt::CoResult<std::string> FileSystem::shard_section(wire::ShardId shard,
                                                    wire::StatsRequest request) {
  rpc::Call call = rpc::make_call(request);
  std::string text(wire::kMaxStatsBytes, '\0');
  call.into = std::as_writable_bytes(std::span(text));
  Result<rpc::Reply> reply = co_await pool_.call(shard, call, administration_deadline());
  if (!reply) {
    co_return std::unexpected(std::move(reply.error()));
  }
  text.resize(reply->data_bytes);
  co_return text;
}

rt::CoStatus FileSystem::ping(wire::ShardId shard,
                              std::span<const std::byte> data,
                              std::span<std::byte> into) {
  wire::PingRequest request;
  request.reply_bytes = static_cast<std::uint32_t>(into.size());
  rpc::Call call = rpc::make_call(request);
  call.data = data;
  call.into = into;
  call.rendezvous = data.size() > config_.eager_bytes;
  Result<rpc::Reply> reply = co_await pool_.call(shard, call, administration_deadline());
  if (!reply) {
    co_return std::unexpected(std::move(reply.error()));
  }
  co_return Status{};
}

rt::CoStatus FileSystem::set_capacity(wire::ShardId shard, std::uint32_t max_clients) {
  wire::SetCapacityRequest request{.max_clients = max_clients};
  Result<rpc::Reply> reply = co_await pool_.call(shard, rpc::make_call(request), deadline());
  co_return reply ? Status{} : std::unexpected(std::move(reply.error()));
}

rt::CoStatus FileSystem::connect(wire::ShardId shard, Deadline by) {
  wire::PingRequest request;
  rpc::Call call = rpc::make_call(request);
  Result<rpc::Reply> reply = co_await pool_.call(shard, call, by);
  if (!reply) {
    co_return std::unexpected(std::move(reply.error()));
  }
  co_return Status{};
}

}  // namespace benchfs::client
