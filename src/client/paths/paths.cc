#include "client/paths/paths.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "client/paths/with_names.h"

namespace benchfs::client {

Error Paths::lost_inode(const Attempt::Gone& gone) const {
  auto node = [this](wire::InodeId inode) {
    return inode.home().value < backend_.pool.size() ? backend_.node(inode.home())
                                                     : std::string("a server that is not there");
  };
  std::string nodes = node(gone.first);
  if (gone.first.home() != gone.second.home()) {
    nodes += " or " + node(gone.second);
  }
  return Error::from_errno(
      EIO, fmt::format("{} restarted and lost the file; its name is still there", nodes));
}

rt::Task<Error> Paths::explain_begin(wire::InodeId directory, Error error, Deadline by) {
  Error why = co_await open_files_.explain_gone(directory, std::move(error), by);
  co_return why.is_posix(ESTALE) ? Error::from_errno(ENOENT, "the directory was removed")
                                 : std::move(why);
}

Result<Path> Path::at(const OpenFile& directory, std::string path) {
  if (!directory.is_open) {
    return fail_errno(EBADF);
  }
  if (!directory.attr.is_directory() && !path.empty() && !path.starts_with('/')) {
    return fail_errno(ENOTDIR);
  }
  return Path(directory.id(), std::move(path));
}

Path Path::of(const OpenFile& file) {
  Path path(file.id(), {});
  path.is_begin = true;
  return path;
}

Result<Found>&& Paths::remember(Attempt& attempt,
                                const PathWalk& walk,
                                const DirectoryCache::Question& question,
                                Result<Found>&& found) {
  if (found && found->attr.is_directory()) {
    remember(walk.directory(), walk.name(), *found, question);
  }
  return attempt.in_directory(walk.directory(), std::move(found));
}

void Paths::remember(wire::InodeId parent,
                     std::string_view name,
                     const Found& directory,
                     const DirectoryCache::Question& question) {
  Nanos lease = lease_of(question.shard);
  directories_.put(parent, name, directory.attr.id(), question, lease);
  if (!directory.is_remote()) {
    directories_.put_permissions(directory.attr, question.asked_at, lease);
  }
}

void Paths::remember(const wire::Attr& directory, BootTime asked_at) {
  directories_.put_permissions(directory, asked_at, lease_of(directory.id().home()));
}

std::optional<LastStep> Paths::find_last_step(const PathView& path, BootTime now) {
  bool is_checked = backend_.config.check_permissions;
  if (path.begin != wire::kRootInode || path.is_begin || is_checked) [[unlikely]] {
    return std::nullopt;
  }
  std::string_view name = way_.last_of(path.text, directories_.version(), now);
  if (name.empty()) {
    return std::nullopt;
  }
  wire::InodeId directory = way_.directories().back();
  LastStep step{directory, name, inodes_.shard_of(directory, name)};
  bool is_connected = backend_.pool.at(step.shard).state() == rpc::Connection::State::kReady;
  return is_connected ? std::optional(step) : std::nullopt;
}

rt::CoResult<Found> Paths::look_up(Attempt& attempt, const PathWalk& walk, Wanted wanted) {
  DirectoryCache::Question question = ask(attempt, walk);
  std::uint16_t flags = wanted == Wanted::kEntry ? wire::kLookupName : 0;
  Result<Found> found =
      remember(attempt,
               walk,
               question,
               co_await inodes_.lookup(walk.directory(), walk.name(), attempt.deadline(), flags));
  if (found && wanted == Wanted::kInode && found->is_remote()) {
    wire::InodeId inode = found->attr.id();
    co_return attempt.on_inode(inode, co_await inodes_.get_attr(inode, attempt.deadline()));
  }
  co_return found;
}

namespace {
// `caller`: see Attempt::caller().
NewInode inherit(NewInode inode,
                 const Permissions& directory,
                 bool is_directory,
                 const Credentials* caller) {
  if (!directory.is_setgid()) {
    return inode;
  }
  inode.gid = directory.gid;
  bool is_stranger = caller != nullptr && !caller->is_root() && !caller->is_in_group(directory.gid);
  if (is_directory) {
    inode.mode |= std::uint32_t{S_ISGID};
  } else if (is_stranger && (inode.mode & S_IXGRP) != 0) {
    inode.mode &= ~std::uint32_t{S_ISGID};
  }
  return inode;
}
}  // namespace

NewInode Paths::owned(const Credentials* caller, std::uint32_t mode) const {
  return {.mode = mode,
          .uid = caller != nullptr ? caller->uid : backend_.config.uid,
          .gid = caller != nullptr ? caller->gid : backend_.config.gid};
}

rt::MaybeTask<Result<NewInode>> Paths::new_inode(Attempt& attempt,
                                                 const PathWalk& walk,
                                                 std::uint32_t mode,
                                                 bool is_directory) {
  wire::InodeId parent = walk.directory();
  if (auto inode =
          find_new_inode(parent, mode, is_directory, attempt.walked_at(), attempt.caller())) {
    return *inode;
  }
  return ask_and_inherit(attempt, parent, mode, is_directory);
}

std::optional<NewInode> Paths::find_new_inode(wire::InodeId parent,
                                              std::uint32_t mode,
                                              bool is_directory,
                                              BootTime now,
                                              const Credentials* caller) const {
  auto directory = directories_.find_permissions(parent, now);
  if (!directory) {
    return std::nullopt;
  }
  return inherit(owned(caller, mode), *directory, is_directory, caller);
}

rt::CoResult<NewInode> Paths::ask_and_inherit(Attempt& attempt,
                                              wire::InodeId parent,
                                              std::uint32_t mode,
                                              bool is_directory) {
  BENCHFS_CO_TRY(Permissions directory, co_await ask_permissions(attempt, parent));
  const Credentials* caller = attempt.caller();
  co_return inherit(owned(caller, mode), directory, is_directory, caller);
}

rt::CoResult<Permissions> Paths::ask_permissions(Attempt& attempt, wire::InodeId directory) {
  BootTime asked_at = boot_now();
  BENCHFS_CO_TRY(
      Found found,
      attempt.on_directory(directory, co_await inodes_.get_attr(directory, attempt.deadline())));
  remember(found.attr, asked_at);
  co_return found.attr;
}

// Connects to the shard of the last component. That may take long, and the directory may be renamed
// meanwhile: what was cached before must not be acted on after it.
rt::CoStatus Paths::reach(Attempt& attempt, const PathWalk& walk) {
  wire::ShardId shard = inodes_.shard_of(walk.directory(), walk.name());
  Status connected = co_await backend_.pool.connect(shard, attempt.deadline());
  attempt.set_walked_at(boot_now());
  if (!connected) {
    constexpr std::string_view kPing = "ping on ";
    std::string& context = connected.error().context;
    if (context.starts_with(kPing)) {
      context.replace(0, kPing.size(), "request to ");
    }
    co_return connected;
  }
  if (attempt.is_outdated(directories_.version())) {
    attempt.begin_again();
    co_return fail(Errc::kBusy, "a directory of the path may have been renamed");
  }
  co_return Status{};
}

BootTime Paths::enter_cached(Attempt& attempt, PathWalk& walk) {
  attempt.set_walked_at(boot_now());
  BootTime until = BootTime::max();
  while (!walk.is_last() && !walk.is_before_dots() && !walk.is_climbing()) {
    auto known = directories_.find(walk.directory(), walk.name(), attempt.walked_at());
    if (!known.inode.is_valid()) {
      break;
    }
    until = std::min(until, known.until);
    attempt.use_cache();
    walk.enter(known.inode);
  }
  return until;
}

Status Paths::left() {
  return fail_errno(EREMOTE, "the path leads out of the file system");
}

rt::MaybeTask<Status> Paths::walk_to_last(Attempt& attempt, PathWalk& walk) {
  if (!walk.is_at_last()) {
    std::uint64_t version = directories_.version();
    BootTime until = enter_cached(attempt, walk);
    bool is_known = attempt.uses_cache() || walk.directories().size() == 1;
    if (is_known && walk.is_last() && !walk.way().empty()) {
      way_.remember(walk, version, until);
    }
  }
  bool is_there = walk.is_last() && !walk.is_climbing() && !walk.has_left() &&
                  !walk.has_searched() && walk.name().size() <= wire::kMaxNameBytes &&
                  (!attempt.uses_cache() || is_reached(walk));
  if (is_there) {
    return Status{};
  }
  return walk_on(attempt, walk);
}

rt::CoStatus Paths::walk_on(Attempt& attempt, PathWalk& walk) {
  for (;;) {
    if (walk.has_searched()) [[unlikely]] {
      BENCHFS_CO_TRY_VOID(co_await check_searched(attempt, walk));
    }
    if (walk.has_left()) {
      co_return left();
    }
    if (walk.is_climbing()) {
      wire::InodeId directory = walk.directory();
      BENCHFS_CO_TRY(Found found,
                     attempt.on_directory(
                         directory, co_await inodes_.get_attr(directory, attempt.deadline())));
      walk.climb(wire::InodeId{found.attr.parent});
      enter_cached(attempt, walk);
      continue;
    }
    if (walk.name().size() > wire::kMaxNameBytes) {
      co_return fail_errno(ENAMETOOLONG);
    }
    if (walk.is_last()) {
      if (!walk.name().empty() && attempt.uses_cache() && !is_reached(walk)) [[unlikely]] {
        co_return co_await reach(attempt, walk);
      }
      co_return Status{};
    }
    BENCHFS_CO_TRY(Found found, co_await look_up(attempt, walk, Wanted::kEntry));
    if (found.is_remote() && found.attr.is_symlink()) {
      BENCHFS_CO_TRY(found, co_await look_up(attempt, walk, Wanted::kInode));
    }
    if (found.attr.is_directory()) {
      walk.enter(found.attr.id());
    } else if (found.attr.is_symlink()) {
      BENCHFS_CO_TRY_VOID(walk.follow(found.target));
    } else {
      co_return fail_errno(ENOTDIR);
    }
    enter_cached(attempt, walk);
  }
}

rt::CoResult<wire::Attr> Paths::resolve(Attempt& attempt, const Path& path, Follow follow) {
  BENCHFS_CO_TRY(PathWalk walk, start_walk(attempt, path));
  for (;;) {
    BENCHFS_CO_TRY_VOID(co_await walk_to_last(attempt, walk));
    if (walk.name().empty()) {
      BENCHFS_CO_TRY(
          Found found,
          attempt.on_directory(walk.directory(),
                               co_await inodes_.get_attr(walk.directory(), attempt.deadline())));
      co_return found.attr;
    }
    // As look_up(), without a coroutine between this one and the request.
    DirectoryCache::Question question = ask(attempt, walk);
    Result<Found> found =
        remember(attempt,
                 walk,
                 question,
                 co_await inodes_.lookup(walk.directory(), walk.name(), attempt.deadline()));
    if (found && found->is_remote()) [[unlikely]] {
      wire::InodeId inode = found->attr.id();
      found = attempt.on_inode(inode, co_await inodes_.get_attr(inode, attempt.deadline()));
    }
    if (!found) {
      co_return std::unexpected(std::move(found.error()));
    }
    bool must_follow = follow == Follow::kYes || walk.must_be_directory();
    if (found->attr.is_symlink() && must_follow) {
      BENCHFS_CO_TRY_VOID(walk.follow(found->target));
      continue;
    }
    if (walk.must_be_directory() && !found->attr.is_directory()) {
      co_return fail_errno(ENOTDIR);
    }
    co_return found->attr;
  }
}

// --- Attributes ----------------------------------------------------------------------------------

rt::CoResult<wire::Attr> Paths::stat_slowly(PathView path, bool follows, Ids ids, Deadline by) {
  return with_names(by,
                    ids == Ids::kReal ? &Paths::resolve_as_real : &Paths::resolve,
                    path.copy(),
                    follows ? Follow::kYes : Follow::kNo);
}

rt::CoResult<wire::Attr> Paths::do_set_attr(Attempt& attempt,
                                            const Path& path,
                                            const wire::SetAttrRequest& request,
                                            Follow follow) {
  BENCHFS_CO_TRY(wire::Attr attr, co_await resolve(attempt, path, follow));
  if ((request.mask & wire::kSetMode) != 0 && attr.is_symlink()) {
    co_return fail_errno(EOPNOTSUPP);  // as Linux: its permissions have no meaning
  }
  if ((request.mask & wire::kSetSize) != 0 && attr.is_directory()) {
    co_return fail_errno(EISDIR);
  }
  wire::SetAttrRequest change = request;
  if (attempt.caller() != nullptr) [[unlikely]] {
    if ((request.mask & wire::kSetSize) != 0) {
      BENCHFS_CO_TRY_VOID(check_access(attr, *attempt.caller(), W_OK));
    }
    BENCHFS_CO_TRY_VOID(check_change(attr, *attempt.caller(), change));
  }
  BootTime asked_at = boot_now();
  BENCHFS_CO_TRY(Found found,
                 attempt.on_inode(
                     attr.id(), co_await inodes_.set_attr(attr.id(), change, attempt.deadline())));
  if (found.attr.is_directory()) {
    remember(found.attr, asked_at);
  }
  co_return found.attr;
}

rt::CoResult<wire::Attr> Paths::set_attr(Path path, wire::SetAttrRequest request, bool follow) {
  return with_names(backend_.metadata_deadline(),
                    &Paths::do_set_attr,
                    std::move(path),
                    request,
                    follow ? Follow::kYes : Follow::kNo);
}

rt::CoResult<std::string> Paths::do_get_xattr(Attempt& attempt,
                                              const Path& path,
                                              const std::string& name,
                                              Follow follow) {
  BENCHFS_CO_TRY(wire::Attr attr, co_await resolve(attempt, path, follow));
  if (attempt.caller() != nullptr) [[unlikely]] {
    BENCHFS_CO_TRY_VOID(check_xattr(attr, *attempt.caller(), name, R_OK));
  }
  wire::InodeId inode = attr.id();
  co_return attempt.on_inode(inode, co_await inodes_.get_xattr(inode, name, attempt.deadline()));
}

rt::CoResult<std::string> Paths::get_xattr(Path path, std::string name, bool follow) {
  return with_names(backend_.metadata_deadline(),
                    &Paths::do_get_xattr,
                    std::move(path),
                    std::move(name),
                    follow ? Follow::kYes : Follow::kNo);
}

rt::CoStatus Paths::do_set_xattr(Attempt& attempt,
                                 const Path& path,
                                 const std::string& name,
                                 const std::string& value,
                                 std::uint32_t flags,
                                 Follow follow) {
  BENCHFS_CO_TRY(wire::Attr attr, co_await resolve(attempt, path, follow));
  if (attempt.caller() != nullptr) [[unlikely]] {
    BENCHFS_CO_TRY_VOID(check_xattr(attr, *attempt.caller(), name, W_OK));
  }
  wire::InodeId inode = attr.id();
  co_return attempt.on_inode(
      inode, co_await inodes_.set_xattr(inode, name, value, flags, attempt.deadline()));
}

rt::CoStatus Paths::set_xattr(
    Path path, std::string name, std::string value, std::uint32_t flags, bool follow) {
  return with_names(backend_.metadata_deadline(),
                    &Paths::do_set_xattr,
                    std::move(path),
                    std::move(name),
                    std::move(value),
                    flags,
                    follow ? Follow::kYes : Follow::kNo);
}

// --- Opening and listing -------------------------------------------------------------------------

rt::CoResult<std::shared_ptr<OpenFile>> Paths::do_open(Attempt& attempt,
                                                       const Path& path,
                                                       std::uint32_t flags,
                                                       std::uint32_t mode,
                                                       std::uint32_t chunk_bytes) {
  if ((flags & wire::kOpenCreate) != 0 && (flags & wire::kOpenDirectory) != 0) {
    co_return fail_errno(EINVAL);  // as Linux since 6.4: it never made a directory
  }
  bool is_checked = attempt.caller() != nullptr;
  // What may not be written must not be cut: admit() does that.
  std::uint32_t first_flags = is_checked ? flags & ~std::uint32_t{wire::kOpenTruncate} : flags;
  BENCHFS_CO_TRY(PathWalk walk, start_walk(attempt, path));
  for (;;) {
    BENCHFS_CO_TRY_VOID(co_await walk_to_last(attempt, walk));
    wire::InodeId directory = walk.directory();
    if (walk.name().empty()) {
      Result<OpenedEntry> opened = attempt.on_directory(
          directory, co_await open_files_.open(directory, first_flags, attempt.deadline()));
      if (!opened) {
        constexpr std::uint32_t kExclusive = wire::kOpenCreate | wire::kOpenExclusive;
        bool is_exclusive = (flags & kExclusive) == kExclusive;
        co_return opened.error().is_posix(EISDIR) && is_exclusive
            ? fail_errno(EEXIST)
            : std::unexpected(std::move(opened.error()));
      }
      if (is_checked) [[unlikely]] {
        co_return co_await admit(attempt, std::move(opened->file), flags);
      }
      co_return std::move(opened->file);
    }
    if (walk.must_be_directory() && (flags & wire::kOpenCreate) != 0) {
      co_return fail_errno(EISDIR);
    }
    std::uint32_t wanted = first_flags | (walk.must_be_directory() ? wire::kOpenDirectory : 0U);
    if (is_checked && (flags & wire::kOpenCreate) != 0) [[unlikely]] {
      Status may_create = co_await check_create(attempt, walk);
      bool is_there = !may_create && may_create.error().is_posix(EEXIST);
      if (!may_create && (!is_there || (flags & wire::kOpenExclusive) != 0)) {
        co_return std::unexpected(std::move(may_create.error()));
      }
      wanted &= ~(is_there ? std::uint32_t{wire::kOpenCreate} : 0U);
    }
    NewInode new_file;
    if ((wanted & wire::kOpenCreate) != 0) {
      BENCHFS_CO_TRY(new_file, co_await new_inode(attempt, walk, mode, false));
      new_file.chunk_bytes = chunk_bytes;
    }
    BENCHFS_CO_TRY(
        OpenedEntry opened,
        attempt.in_directory(directory,
                             co_await open_files_.open_entry(
                                 directory, walk.name(), wanted, new_file, attempt.deadline())));
    if (opened.remote.is_valid()) {
      wire::InodeId inode = opened.remote;
      Result<OpenedEntry> at_home =
          attempt.on_inode(inode, co_await open_files_.open(inode, wanted, attempt.deadline()));
      if (!at_home) {
        co_return std::unexpected(std::move(at_home.error()));
      }
      opened = *std::move(at_home);
    }
    if (opened.file != nullptr) {
      if (is_checked && (opened.flags & wire::kEntryCreated) == 0) [[unlikely]] {
        co_return co_await admit(attempt, std::move(opened.file), flags);
      }
      co_return std::move(opened.file);
    }
    if ((flags & wire::kOpenNoFollow) != 0 && !walk.must_be_directory()) {
      co_return fail_errno((flags & wire::kOpenDirectory) != 0 ? ENOTDIR : ELOOP);
    }
    BENCHFS_CO_TRY_VOID(walk.follow(opened.link_target));
  }
}

rt::CoResult<std::shared_ptr<OpenFile>> Paths::open_slowly(PathView path,
                                                           std::uint32_t flags,
                                                           std::uint32_t mode,
                                                           std::uint32_t chunk_bytes,
                                                           Deadline by) {
  return with_names(by, &Paths::do_open, path.copy(), flags, mode, chunk_bytes);
}

rt::CoResult<std::shared_ptr<OpenFile>> Paths::do_open_unnamed(Attempt& attempt,
                                                               const Path& path,
                                                               std::uint32_t flags,
                                                               std::uint32_t mode,
                                                               std::uint32_t chunk_bytes) {
  Follow follow = (flags & wire::kOpenNoFollow) != 0 ? Follow::kNo : Follow::kYes;
  BENCHFS_CO_TRY(wire::Attr directory, co_await resolve(attempt, path, follow));
  if (!directory.is_directory()) {
    co_return fail_errno(ENOTDIR);
  }
  const Credentials* caller = attempt.caller();
  if (caller != nullptr) [[unlikely]] {
    BENCHFS_CO_TRY_VOID(check_access(directory, *caller, W_OK | X_OK));
  }
  NewInode file = inherit(owned(caller, mode), directory, false, caller);
  file.chunk_bytes = chunk_bytes;
  co_return attempt.on_inode(
      directory.id(),
      co_await open_files_.open_unnamed(directory.id(), flags, file, attempt.deadline()));
}

rt::CoResult<std::shared_ptr<OpenFile>> Paths::open_unnamed(Path path,
                                                            std::uint32_t flags,
                                                            std::uint32_t mode,
                                                            std::uint32_t chunk_bytes) {
  return with_names(backend_.metadata_deadline(),
                    &Paths::do_open_unnamed,
                    std::move(path),
                    flags,
                    mode,
                    chunk_bytes);
}

rt::CoResult<std::vector<DirEntry>> Paths::do_list(Attempt& attempt,
                                                   const Path& path,
                                                   const std::string& cursor,
                                                   std::size_t max_entries,
                                                   std::uint16_t flags) {
  BENCHFS_CO_TRY(wire::Attr attr, co_await resolve(attempt, path, Follow::kYes));
  if (!attr.is_directory()) {
    co_return fail_errno(ENOTDIR);
  }
  if (attempt.caller() != nullptr) [[unlikely]] {
    BENCHFS_CO_TRY_VOID(check_access(attr, *attempt.caller(), R_OK));
    if (!attempt.caller()->may(attr, X_OK)) {
      flags &= static_cast<std::uint16_t>(~wire::kReaddirAttr);
    }
  }
  co_return attempt.on_inode(
      attr.id(),
      co_await list_page(backend_, attr.id(), cursor, max_entries, attempt.deadline(), flags));
}

rt::CoResult<std::vector<DirEntry>> Paths::list(Path path,
                                                std::string cursor,
                                                std::size_t max_entries,
                                                std::uint16_t flags) {
  return with_names(backend_.metadata_deadline(),
                    &Paths::do_list,
                    std::move(path),
                    std::move(cursor),
                    max_entries,
                    flags);
}

}  // namespace benchfs::client
