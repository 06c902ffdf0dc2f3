// Operations by path: walks the components, then asks for the last one.
//
// Paths begin at the root or at a directory that is known by inode (paths/path.h); any bytes but
// NUL;
// "." and ".." are resolved by name, symlinks by target. Directories on the way come from the
// directory cache while their lease lasts. An inode that was found by name and is gone is looked up
// again by name, in every operation (attempt.h).
//
// A client that checks permissions (FileSystemConfig::check_permissions) goes each way step by
// step: it must be allowed to search each directory in which it looks for a component, and asks
// before it acts what the operation needs (permissions.cc). The two are no one step.
//
// Thread: the client's reactor.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "client/backend.h"
#include "client/inodes/inodes.h"
#include "client/inodes/listing.h"
#include "client/io/open_files.h"
#include "client/paths/attempt.h"
#include "client/paths/directory_cache.h"
#include "client/paths/known_way.h"
#include "client/paths/path.h"
#include "client/paths/path_calls.h"
#include "client/paths/path_walk.h"
#include "client/permissions.h"
#include "rt/maybe_task.h"

namespace benchfs::client {

class Paths {
 public:
  Paths(Backend& backend, Inodes& inodes, OpenFiles& open_files)
      : backend_(backend), inodes_(inodes), open_files_(open_files) {}
  Paths(const Paths&) = delete;
  Paths& operator=(const Paths&) = delete;

  // Follows symlinks. `ids`: who must be allowed to find it.
  StatCall stat(PathView path, Ids ids) { return {*this, path, true, ids}; }
  StatCall lstat(PathView path, Ids ids) { return {*this, path, false, ids}; }  // does not
  // Fields per request.mask (wire::SetAttrMask); request.inode is filled in. Size changes truncate.
  rt::CoResult<wire::Attr> set_attr(Path path, wire::SetAttrRequest request, bool follow);
  OpenCall open(PathView path, std::uint32_t flags, std::uint32_t mode, std::uint32_t chunk_bytes) {
    return {*this, path, flags, mode, chunk_bytes};
  }

  // A new file without a name, in the directory `path`. It ends with the handle unless a link names
  // it, which kOpenExclusive forbids.
  rt::CoResult<std::shared_ptr<OpenFile>> open_unnamed(Path path,
                                                       std::uint32_t flags,
                                                       std::uint32_t mode,
                                                       std::uint32_t chunk_bytes);

  rt::CoResult<wire::Attr> mkdir(Path path, std::uint32_t mode);
  rt::CoStatus rmdir(Path path);
  // One more name of a file or symlink.
  rt::CoStatus link(Path from, Path to, bool follow);
  UnlinkCall unlink(PathView path) { return {*this, path}; }
  // `flags`: wire::RenameFlags.
  rt::CoStatus rename(Path from, Path to, std::uint32_t flags);
  rt::CoStatus symlink(std::string target, Path path);
  rt::CoResult<std::string> readlink(Path path);
  // As those of Inodes.
  rt::CoResult<std::string> get_xattr(Path path, std::string name, bool follow);
  rt::CoStatus set_xattr(
      Path path, std::string name, std::string value, std::uint32_t flags, bool follow);

  // One page, as list_page() of inodes/listing.h. A directory that was removed since its inode was
  // found has no entries.
  rt::CoResult<std::vector<DirEntry>> list(Path path,
                                           std::string cursor,
                                           std::size_t max_entries,
                                           std::uint16_t flags);

  [[nodiscard]] DirectoryCache& cache() { return directories_; }

  // --- For PathCall ---

  [[nodiscard]] Backend& backend() { return backend_; }
  [[nodiscard]] Inodes& inodes() { return inodes_; }
  [[nodiscard]] OpenFiles& open_files() { return open_files_; }
  // Of a path that goes the way of the last one, to a connected shard.
  [[nodiscard]] std::optional<LastStep> find_last_step(const PathView& path, BootTime now);
  // A new inode in a directory of which is known what it hands on.
  [[nodiscard]] std::optional<NewInode> find_new_inode(wire::InodeId parent,
                                                       std::uint32_t mode,
                                                       bool is_directory,
                                                       BootTime now,
                                                       const Credentials* caller = nullptr) const;
  // Attributes of a directory that its home gave when it was asked then.
  void remember(const wire::Attr& directory, BootTime asked_at);
  void remember(wire::InodeId parent,
                std::string_view name,
                const Found& directory,
                const DirectoryCache::Question& question);
  rt::CoResult<wire::Attr> stat_slowly(PathView path, bool follows, Ids ids, Deadline by);
  rt::CoResult<std::shared_ptr<OpenFile>> open_slowly(PathView path,
                                                      std::uint32_t flags,
                                                      std::uint32_t mode,
                                                      std::uint32_t chunk_bytes,
                                                      Deadline by);
  rt::CoStatus unlink_slowly(PathView path, Deadline by);

 private:
  enum class Follow : std::uint8_t { kNo, kYes };

  // Runs an operation until no inode that it found by name is gone (attempt.h), within the
  // deadline. EIO naming the node when a name leads to an inode that its node has lost.
  template <typename T, typename... Params, typename... Args>
  rt::CoResult<T> with_names(Deadline deadline,
                             rt::CoResult<T> (Paths::*operation)(Attempt&, Params...),
                             Args... args);
  [[nodiscard]] Error lost_inode(const Attempt::Gone& gone) const;

  // How long after it was asked the shard's word about a directory holds.
  [[nodiscard]] Nanos lease_of(wire::ShardId shard) const {
    return std::chrono::milliseconds(backend_.pool.at(shard).grant().directory_lease_ms);
  }
  [[nodiscard]] bool is_reached(const PathWalk& walk) const {
    return backend_.pool.at(inodes_.shard_of(walk.directory(), walk.name())).state() ==
           rpc::Connection::State::kReady;
  }
  rt::CoStatus reach(Attempt& attempt, const PathWalk& walk);
  // Why a directory that the caller named by inode is gone: ENOENT when it was removed.
  rt::Task<Error> explain_begin(wire::InodeId directory, Error error, Deadline by);
  static PathWalk::Notes notes(const Attempt& attempt) {
    return attempt.caller() != nullptr ? PathWalk::Notes::kSearched : PathWalk::Notes::kNothing;
  }
  // walk_to_last() follows at once.
  [[nodiscard]] Result<PathWalk> start_walk(Attempt& attempt, const Path& path) {
    attempt.set_walked_at(boot_now());
    if (path.begin != wire::kRootInode) [[unlikely]] {
      attempt.set_begin(path.begin);
      return PathWalk::start(path.text, backend_.config.mount_prefix, path.begin, notes(attempt));
    }
    if (attempt.caller() != nullptr) [[unlikely]] {
      return PathWalk::start(
          path.text, backend_.config.mount_prefix, wire::kRootInode, notes(attempt));
    }
    std::string_view last = way_.last_of(path.text, directories_.version(), attempt.walked_at());
    if (last.empty()) {
      return PathWalk::start(path.text, backend_.config.mount_prefix);
    }
    attempt.use_cache();
    return PathWalk::at_last(way_.directories(), last, backend_.config.mount_prefix);
  }
  // EREMOTE, for a walk that has left.
  static Status left();
  // Walks up to the last component of a path, through symlinks in between. After
  // directories from the cache its shard is connected.
  rt::MaybeTask<Status> walk_to_last(Attempt& attempt, PathWalk& walk);
  // Until when what it found is known.
  BootTime enter_cached(Attempt& attempt, PathWalk& walk);
  // Does what walk_to_last() cannot do at once.
  rt::CoStatus walk_on(Attempt& attempt, PathWalk& walk);
  // kEntry: the entry as its shard knows it; kInode: with the attributes of its inode, wherever
  // that lives. Remembers directories.
  enum class Wanted : std::uint8_t { kEntry, kInode };
  rt::CoResult<Found> look_up(Attempt& attempt, const PathWalk& walk, Wanted wanted);
  [[nodiscard]] DirectoryCache::Question ask(const Attempt& attempt, const PathWalk& walk) {
    return directories_.ask(inodes_.shard_of(walk.directory(), walk.name()), attempt.walked_at());
  }
  // What was found by name; a directory is remembered.
  Result<Found>&& remember(Attempt& attempt,
                           const PathWalk& walk,
                           const DirectoryCache::Question& question,
                           Result<Found>&& found);
  // --- permissions.cc: what the caller of a checked attempt may do. EACCES, EPERM. ---

  // The permissions of a directory in which the caller may do `wanted`. What is remembered can
  // allow it, but only its home refuses it, and says that it is sticky.
  rt::CoResult<Permissions> check_directory(Attempt& attempt,
                                            wire::InodeId directory,
                                            std::uint32_t wanted);
  // The directories that the walk has searched.
  rt::CoStatus check_searched(Attempt& attempt, PathWalk& walk);
  // The name at the end of the walk may be made; else EEXIST if it is there.
  rt::CoStatus check_create(Attempt& attempt, const PathWalk& walk);
  // It may be removed. ENOENT.
  rt::CoStatus check_remove(Attempt& attempt, const PathWalk& walk);
  rt::CoStatus check_remove(Attempt& attempt, const PathWalk& walk, Found found);
  rt::CoStatus check_rename(Attempt& attempt,
                            const PathWalk& from,
                            const PathWalk& to,
                            std::uint32_t flags);
  // What was opened, without truncating it, is cut if `flags` say so. Closed when it is refused.
  rt::CoResult<std::shared_ptr<OpenFile>> admit(Attempt& attempt,
                                                std::shared_ptr<OpenFile> file,
                                                std::uint32_t flags);
  rt::CoResult<wire::Attr> resolve_as_real(Attempt& attempt, const Path& path, Follow follow);

  [[nodiscard]] NewInode owned(const Credentials* caller, std::uint32_t mode) const;
  rt::CoResult<Permissions> ask_permissions(Attempt& attempt, wire::InodeId directory);
  // A new inode in the directory of `walk`: its owner, and what a set-gid directory hands on.
  rt::MaybeTask<Result<NewInode>> new_inode(Attempt& attempt,
                                            const PathWalk& walk,
                                            std::uint32_t mode,
                                            bool is_directory);
  rt::CoResult<NewInode> ask_and_inherit(Attempt& attempt,
                                         wire::InodeId parent,
                                         std::uint32_t mode,
                                         bool is_directory);
  // Finds the inode that the path names.
  rt::CoResult<wire::Attr> resolve(Attempt& attempt, const Path& path, Follow follow);

  rt::CoResult<wire::Attr> do_set_attr(Attempt& attempt,
                                       const Path& path,
                                       const wire::SetAttrRequest& request,
                                       Follow follow);
  rt::CoResult<std::string> do_get_xattr(Attempt& attempt,
                                         const Path& path,
                                         const std::string& name,
                                         Follow follow);
  rt::CoStatus do_set_xattr(Attempt& attempt,
                            const Path& path,
                            const std::string& name,
                            const std::string& value,
                            std::uint32_t flags,
                            Follow follow);
  rt::CoResult<std::shared_ptr<OpenFile>> do_open(Attempt& attempt,
                                                  const Path& path,
                                                  std::uint32_t flags,
                                                  std::uint32_t mode,
                                                  std::uint32_t chunk_bytes);
  rt::CoResult<std::shared_ptr<OpenFile>> do_open_unnamed(Attempt& attempt,
                                                          const Path& path,
                                                          std::uint32_t flags,
                                                          std::uint32_t mode,
                                                          std::uint32_t chunk_bytes);
  rt::CoResult<wire::Attr> do_mkdir(Attempt& attempt, const Path& path, std::uint32_t mode);
  rt::CoStatus do_rmdir(Attempt& attempt, const Path& path);
  rt::CoStatus do_link(Attempt& attempt, const Path& from, const Path& to, Follow follow);
  rt::CoStatus do_unlink(Attempt& attempt, const Path& path);
  rt::CoStatus do_rename(Attempt& attempt, const Path& from, const Path& to, std::uint32_t flags);
  rt::CoStatus do_symlink(Attempt& attempt, const std::string& target, const Path& path);
  rt::CoResult<std::string> do_readlink(Attempt& attempt, const Path& path);
  rt::CoResult<std::vector<DirEntry>> do_list(Attempt& attempt,
                                              const Path& path,
                                              const std::string& cursor,
                                              std::size_t max_entries,
                                              std::uint16_t flags);

  Backend& backend_;
  Inodes& inodes_;
  OpenFiles& open_files_;
  DirectoryCache directories_;
  KnownWay way_;
};

}  // namespace benchfs::client
