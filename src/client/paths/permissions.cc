// What the caller of an operation by path may do, asked before it is done.

#include <unistd.h>

#include <cerrno>
#include <utility>

#include "client/paths/paths.h"

namespace benchfs::client {

rt::CoResult<Permissions> Paths::check_directory(Attempt& attempt,
                                                 wire::InodeId directory,
                                                 std::uint32_t wanted) {
  const Credentials& caller = *attempt.caller();
  if (caller.is_root()) {  // asks no server that the operation does not need
    co_return Permissions{};
  }
  auto known = directories_.find_permissions(directory, attempt.walked_at());
  bool may_be_sticky = (wanted & W_OK) != 0 && known && known->is_sticky();
  if (known && !may_be_sticky && caller.may(*known, wanted)) {
    co_return *known;
  }
  BENCHFS_CO_TRY(Permissions now, co_await ask_permissions(attempt, directory));
  BENCHFS_CO_TRY_VOID(check_access(now, caller, wanted));
  co_return now;
}

// Directories from the cache may have been renamed while others were asked for. What was asked is
// remembered, so that the next attempt gets further.
rt::CoStatus Paths::check_searched(Attempt& attempt, PathWalk& walk) {
  const Credentials& caller = *attempt.caller();
  std::uint64_t before = directories_.version();
  bool has_asked = false;
  for (wire::InodeId directory : walk.take_searched()) {
    auto known = directories_.find_permissions(directory, attempt.walked_at());
    if (caller.is_root() || (known && caller.may(*known, X_OK))) {
      continue;
    }
    has_asked = true;
    BENCHFS_CO_TRY_VOID(co_await check_directory(attempt, directory, X_OK));
  }
  if (has_asked) {
    attempt.set_walked_at(boot_now());
    if (attempt.uses_cache() && directories_.version() != before) {
      attempt.begin_again();
      co_return fail(Errc::kBusy, "a directory of the path may have been renamed");
    }
  }
  co_return Status{};
}

rt::CoStatus Paths::check_create(Attempt& attempt, const PathWalk& walk) {
  Result<Permissions> allowed = co_await check_directory(attempt, walk.directory(), W_OK | X_OK);
  if (!allowed && allowed.error().is_posix(EACCES)) {
    Result<Found> found = co_await look_up(attempt, walk, Wanted::kEntry);
    if (found) {
      co_return fail_errno(EEXIST);
    }
    if (!found.error().is_posix(ENOENT)) {
      co_return std::unexpected(std::move(found.error()));
    }
  }
  BENCHFS_CO_TRY_VOID(std::move(allowed));
  co_return Status{};
}

rt::CoStatus Paths::check_remove(Attempt& attempt, const PathWalk& walk) {
  if (attempt.caller()->is_root()) {
    co_return Status{};
  }
  BENCHFS_CO_TRY(Found found, co_await look_up(attempt, walk, Wanted::kEntry));
  co_return co_await check_remove(attempt, walk, std::move(found));
}

rt::CoStatus Paths::check_remove(Attempt& attempt, const PathWalk& walk, Found found) {
  BENCHFS_CO_TRY(Permissions directory,
                 co_await check_directory(attempt, walk.directory(), W_OK | X_OK));
  const Credentials& caller = *attempt.caller();
  if (!directory.is_sticky() || caller.owns(directory)) {
    co_return Status{};
  }
  if (found.is_remote()) {
    wire::InodeId inode = found.attr.id();
    BENCHFS_CO_TRY(found,
                   attempt.on_inode(inode, co_await inodes_.get_attr(inode, attempt.deadline())));
  }
  co_return caller.owns(found.attr) ? Status{} : Status(fail_errno(EPERM));
}

// What the server refuses whoever asks is left to it.
rt::CoStatus Paths::check_rename(Attempt& attempt,
                                 const PathWalk& from,
                                 const PathWalk& to,
                                 std::uint32_t flags) {
  if (attempt.caller()->is_root()) {
    co_return Status{};
  }
  BENCHFS_CO_TRY(Found old, co_await look_up(attempt, from, Wanted::kEntry));
  Result<Found> replaced = co_await look_up(attempt, to, Wanted::kEntry);
  if (!replaced && !replaced.error().is_posix(ENOENT)) {
    co_return std::unexpected(std::move(replaced.error()));
  }
  bool exchanges = (flags & wire::kRenameExchange) != 0;
  bool is_refused =
      to.goes_through(old.attr.id()) ||
      (replaced ? (flags & wire::kRenameNoReplace) != 0 || replaced->attr.inode == old.attr.inode ||
                      from.goes_through(replaced->attr.id())
                : exchanges);
  if (is_refused) {
    co_return Status{};
  }
  bool any_directory_moves = from.directory() != to.directory();
  bool old_moves = any_directory_moves && old.attr.is_directory();
  bool other_moves = any_directory_moves && exchanges && replaced && replaced->attr.is_directory();
  wire::InodeId old_inode = old.attr.id();
  wire::InodeId other_inode = replaced ? replaced->attr.id() : wire::InodeId{};
  BENCHFS_CO_TRY_VOID(co_await check_remove(attempt, from, std::move(old)));
  if (replaced) {
    BENCHFS_CO_TRY_VOID(co_await check_remove(attempt, to, *std::move(replaced)));
  } else {
    BENCHFS_CO_TRY_VOID(co_await check_directory(attempt, to.directory(), W_OK | X_OK));
  }
  // The ".." in a directory is changed.
  if (old_moves) {
    BENCHFS_CO_TRY_VOID(co_await check_directory(attempt, old_inode, W_OK));
  }
  if (other_moves) {
    BENCHFS_CO_TRY_VOID(co_await check_directory(attempt, other_inode, W_OK));
  }
  co_return Status{};
}

rt::CoResult<std::shared_ptr<OpenFile>> Paths::admit(Attempt& attempt,
                                                     std::shared_ptr<OpenFile> file,
                                                     std::uint32_t flags) {
  const Credentials& caller = *attempt.caller();
  bool truncates = (flags & wire::kOpenTruncate) != 0;
  bool writes = truncates || file->can_write();
  bool is_for_files = truncates || (flags & wire::kOpenCreate) != 0;
  Status allowed =
      is_for_files && file->attr.is_directory()
          ? Status(fail_errno(EISDIR))
          : check_access(file->attr, caller, (file->can_read() ? R_OK : 0U) | (writes ? W_OK : 0U));
  if (allowed && truncates) {
    wire::SetAttrRequest cut;
    cut.mask = wire::kSetSize;
    allowed = check_change(file->attr, caller, cut);
    if (allowed) {
      Result<wire::Attr> now = co_await open_files_.set_attr(*file, cut);
      allowed = now ? Status{} : Status(std::unexpected(std::move(now.error())));
    }
  }
  if (!allowed) {
    (void)open_files_.close(*file);
    co_return std::unexpected(std::move(allowed.error()));
  }
  co_return file;
}

rt::CoResult<wire::Attr> Paths::resolve_as_real(Attempt& attempt, const Path& path, Follow follow) {
  if (attempt.caller() != nullptr) {
    attempt.act_as(Credentials::of_process(Ids::kReal));
  }
  co_return co_await resolve(attempt, path, follow);
}

}  // namespace benchfs::client
