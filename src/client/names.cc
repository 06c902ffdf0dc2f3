// Making, removing and renaming names.

#include <cerrno>
#include <string_view>
#include <utility>

#include "client/file_system.h"
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

}  // namespace benchfs::client
