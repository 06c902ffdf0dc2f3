// Making, removing and renaming names.

#include <cerrno>
#include <string_view>
#include <utility>

#include "client/paths/paths.h"
#include "client/paths/with_names.h"

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

rt::CoResult<wire::Attr> Paths::do_mkdir(Attempt& attempt, const Path& path, std::uint32_t mode) {
  BENCHFS_CO_TRY(PathWalk walk, start_walk(attempt, path));
  BENCHFS_CO_TRY_VOID(co_await walk_to_last(attempt, walk));
  if (walk.name().empty()) {
    co_return fail_errno(EEXIST);
  }
  if (attempt.caller() != nullptr) [[unlikely]] {
    BENCHFS_CO_TRY_VOID(co_await check_create(attempt, walk));
  }
  wire::InodeId parent = walk.directory();
  BENCHFS_CO_TRY(NewInode directory, co_await new_inode(attempt, walk, mode, true));
  DirectoryCache::Question question = ask(attempt, walk);
  BENCHFS_CO_TRY(
      Found found,
      attempt.in_directory(
          parent, co_await inodes_.mkdir(parent, walk.name(), directory, attempt.deadline())));
  Nanos lease = lease_of(question.shard);
  directories_.put(parent, walk.name(), found.attr.id(), question, lease);
  directories_.put_permissions(found.attr, question.asked_at, lease);
  co_return found.attr;
}

rt::CoResult<wire::Attr> Paths::mkdir(Path path, std::uint32_t mode) {
  return with_names(backend_.metadata_deadline(), &Paths::do_mkdir, std::move(path), mode);
}

rt::CoStatus Paths::do_rmdir(Attempt& attempt, const Path& path) {
  BENCHFS_CO_TRY(PathWalk walk, start_walk(attempt, path));
  BENCHFS_CO_TRY_VOID(co_await walk_to_last(attempt, walk));
  if (walk.name().empty()) {
    co_return cannot_remove(path.text);
  }
  if (attempt.caller() != nullptr) [[unlikely]] {
    BENCHFS_CO_TRY_VOID(co_await check_remove(attempt, walk));
  }
  BENCHFS_CO_TRY_VOID(attempt.in_directory(
      walk.directory(), co_await inodes_.rmdir(walk.directory(), walk.name(), attempt.deadline())));
  directories_.forget(walk.directory(), walk.name());
  co_return Status{};
}

rt::CoStatus Paths::rmdir(Path path) {
  return with_names(backend_.metadata_deadline(), &Paths::do_rmdir, std::move(path));
}

rt::CoStatus Paths::do_link(Attempt& attempt, const Path& from, const Path& to, Follow follow) {
  wire::InodeId inode = from.begin;
  if (!from.is_begin) {
    BENCHFS_CO_TRY(wire::Attr attr, co_await resolve(attempt, from, follow));
    inode = attr.id();
  }
  BENCHFS_CO_TRY(PathWalk walk, start_walk(attempt, to));
  BENCHFS_CO_TRY_VOID(co_await walk_to_last(attempt, walk));
  if (walk.name().empty()) {
    co_return fail_errno(EEXIST);
  }
  if (walk.must_be_directory()) {
    BENCHFS_CO_TRY_VOID(co_await look_up(attempt, walk, Wanted::kEntry));
    co_return fail_errno(EEXIST);
  }
  if (attempt.caller() != nullptr) [[unlikely]] {
    BENCHFS_CO_TRY_VOID(co_await check_create(attempt, walk));
  }
  Result<Found> linked =
      co_await inodes_.link(inode, walk.directory(), walk.name(), attempt.deadline());
  if (!linked && linked.error().is_posix(ENOENT)) {
    if (from.is_begin) {  // it has lost its names, or may not get one
      co_return std::unexpected(std::move(linked.error()));
    }
    BENCHFS_CO_TRY_VOID(attempt.on_inode(inode, std::move(linked)));
  }
  BENCHFS_CO_TRY_VOID(attempt.in_directory(walk.directory(), std::move(linked)));
  co_return Status{};
}

rt::CoStatus Paths::link(Path from, Path to, bool follow) {
  return with_names(backend_.metadata_deadline(),
                    &Paths::do_link,
                    std::move(from),
                    std::move(to),
                    follow ? Follow::kYes : Follow::kNo);
}

rt::CoStatus Paths::do_unlink(Attempt& attempt, const Path& path) {
  BENCHFS_CO_TRY(PathWalk walk, start_walk(attempt, path));
  BENCHFS_CO_TRY_VOID(co_await walk_to_last(attempt, walk));
  if (walk.name().empty()) {
    co_return fail_errno(EISDIR);
  }
  if (walk.must_be_directory()) {
    BENCHFS_CO_TRY(Found found, co_await look_up(attempt, walk, Wanted::kInode));
    co_return fail_errno(found.attr.is_directory() ? EISDIR : ENOTDIR);
  }
  if (attempt.caller() != nullptr) [[unlikely]] {
    BENCHFS_CO_TRY_VOID(co_await check_remove(attempt, walk));
  }
  Result<wire::UnlinkReply> removed =
      co_await inodes_.unlink(walk.directory(), walk.name(), attempt.deadline());
  BENCHFS_CO_TRY_VOID(attempt.in_directory(walk.directory(), std::move(removed)));
  co_return Status{};
}

rt::CoStatus Paths::unlink_slowly(PathView path, Deadline by) {
  return with_names(by, &Paths::do_unlink, path.copy());
}

rt::CoStatus Paths::do_rename(Attempt& attempt,
                              const Path& from,
                              const Path& to,
                              std::uint32_t flags) {
  BENCHFS_CO_TRY(PathWalk old_walk, start_walk(attempt, from));
  BENCHFS_CO_TRY_VOID(co_await walk_to_last(attempt, old_walk));
  BENCHFS_CO_TRY(PathWalk new_walk, start_walk(attempt, to));
  BENCHFS_CO_TRY_VOID(co_await walk_to_last(attempt, new_walk));
  bool may_replace = (flags & wire::kRenameNoReplace) == 0;
  if (old_walk.name().empty()) {
    co_return busy_root();
  }
  if (new_walk.name().empty()) {
    co_return may_replace ? busy_root() : fail_errno(EEXIST);
  }
  bool exchanges = (flags & wire::kRenameExchange) != 0;
  bool any_must_be_directory = old_walk.must_be_directory() || new_walk.must_be_directory();
  if (exchanges && any_must_be_directory) {
    BENCHFS_CO_TRY(Found old, co_await look_up(attempt, old_walk, Wanted::kInode));
    BENCHFS_CO_TRY(Found other, co_await look_up(attempt, new_walk, Wanted::kInode));
    if ((old_walk.must_be_directory() && !old.attr.is_directory()) ||
        (new_walk.must_be_directory() && !other.attr.is_directory())) {
      co_return fail_errno(ENOTDIR);
    }
  } else if (any_must_be_directory) {
    BENCHFS_CO_TRY(Found found, co_await look_up(attempt, old_walk, Wanted::kInode));
    if (!found.attr.is_directory()) {
      co_return fail_errno(
          !may_replace && co_await look_up(attempt, new_walk, Wanted::kInode) ? EEXIST : ENOTDIR);
    }
  }
  if (attempt.caller() != nullptr) [[unlikely]] {
    BENCHFS_CO_TRY_VOID(co_await check_rename(attempt, old_walk, new_walk, flags));
  }
  Status renamed = co_await inodes_.rename(old_walk.directory(),
                                           old_walk.name(),
                                           new_walk.directory(),
                                           new_walk.name(),
                                           flags,
                                           attempt.deadline());
  if (!renamed && renamed.error().is_posix(EISDIR)) {
    // Linux says of a directory that holds the old name that it is not empty.
    Result<Found> target = co_await look_up(attempt, new_walk, Wanted::kInode);
    if (target && old_walk.goes_through(target->attr.id())) {
      renamed = fail_errno(ENOTEMPTY);
    }
  } else if (!renamed && renamed.error().is_posix(EINVAL) && !may_replace &&
             co_await look_up(attempt, new_walk, Wanted::kInode)) {
    renamed = fail_errno(EEXIST);  // which Linux says before it looks for loops
  }
  BENCHFS_CO_TRY_VOID(
      attempt.in_directories(old_walk.directory(), new_walk.directory(), std::move(renamed)));
  directories_.forget(old_walk.directory(), old_walk.name());
  directories_.forget(new_walk.directory(), new_walk.name());
  co_return Status{};
}

rt::CoStatus Paths::rename(Path from, Path to, std::uint32_t flags) {
  return with_names(
      backend_.metadata_deadline(), &Paths::do_rename, std::move(from), std::move(to), flags);
}

rt::CoStatus Paths::do_symlink(Attempt& attempt, const std::string& target, const Path& path) {
  if (target.empty()) {
    co_return fail_errno(ENOENT);
  }
  if (target.size() > wire::kMaxPathBytes) {
    co_return fail_errno(ENAMETOOLONG);
  }
  BENCHFS_CO_TRY(PathWalk walk, start_walk(attempt, path));
  BENCHFS_CO_TRY_VOID(co_await walk_to_last(attempt, walk));
  if (walk.name().empty()) {
    co_return fail_errno(EEXIST);
  }
  if (walk.must_be_directory()) {
    BENCHFS_CO_TRY_VOID(co_await look_up(attempt, walk, Wanted::kInode));
    co_return fail_errno(EEXIST);
  }
  if (attempt.caller() != nullptr) [[unlikely]] {
    BENCHFS_CO_TRY_VOID(co_await check_create(attempt, walk));
  }
  BENCHFS_CO_TRY(NewInode link, co_await new_inode(attempt, walk, 0, false));
  BENCHFS_CO_TRY_VOID(attempt.in_directory(
      walk.directory(),
      co_await inodes_.symlink(walk.directory(), walk.name(), target, link, attempt.deadline())));
  co_return Status{};
}

rt::CoStatus Paths::symlink(std::string target, Path path) {
  return with_names(
      backend_.metadata_deadline(), &Paths::do_symlink, std::move(target), std::move(path));
}

rt::CoResult<std::string> Paths::do_readlink(Attempt& attempt, const Path& path) {
  BENCHFS_CO_TRY(PathWalk walk, start_walk(attempt, path));
  BENCHFS_CO_TRY_VOID(co_await walk_to_last(attempt, walk));
  if (walk.name().empty()) {
    co_return fail_errno(EINVAL);
  }
  if (walk.must_be_directory()) {
    BENCHFS_CO_TRY_VOID(co_await resolve(attempt, path, Follow::kYes));
    co_return fail_errno(EINVAL);
  }
  BENCHFS_CO_TRY(Found found, co_await look_up(attempt, walk, Wanted::kInode));
  if (!found.attr.is_symlink()) {
    co_return fail_errno(EINVAL);
  }
  co_return std::move(found.target);
}

rt::CoResult<std::string> Paths::readlink(Path path) {
  return with_names(backend_.metadata_deadline(), &Paths::do_readlink, std::move(path));
}

}  // namespace benchfs::client
