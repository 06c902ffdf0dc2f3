// Operations on inodes and on the entries of a directory that the caller knows by inode, for doors
// that work by inode (the mount).
//
// An entry whose inode is gone when its home is asked was replaced meanwhile: it is looked up
// again. ESTALE: the inode or the directory that the caller named was removed. EIO: its server
// restarted and lost it. The caller names the owner of what it creates; permissions are not
// checked here.
//
// Thread: the client's reactor. Text is borrowed until the task completes.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "client/backend.h"
#include "client/inodes/inodes.h"
#include "client/inodes/listing.h"
#include "client/io/open_files.h"
#include "client/nodes/node_cache.h"
#include "client/paths/directory_cache.h"

namespace benchfs::client {

// On whose behalf an operation runs.
struct Caller {
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
};

class Nodes {
 public:
  Nodes(Backend& backend, Inodes& inodes, OpenFiles& open_files, DirectoryCache& directories)
      : backend_(backend), inodes_(inodes), open_files_(open_files), directories_(directories) {}
  Nodes(const Nodes&) = delete;
  Nodes& operator=(const Nodes&) = delete;

  // What is known under leases; off until it is enabled. lookup(), get_attr() and readlink() answer
  // from it.
  [[nodiscard]] NodeCache& cache() { return cache_; }

  rt::CoResult<wire::Attr> lookup(wire::InodeId parent, std::string_view name);
  rt::CoResult<wire::Attr> get_attr(wire::InodeId inode);
  // As list_page(). With attributes, if the cache is enabled: it learns names and attributes of the
  // entries as from look-ups.
  rt::CoResult<std::vector<DirEntry>> list(wire::InodeId directory,
                                           std::string cursor,
                                           std::size_t max_entries,
                                           Deadline by);
  // Asks the server, whatever is known, for a lease that begins now. If there is none because the
  // file is written, it is brought to rest: ask again soon.
  rt::CoStatus renew_attr(wire::InodeId inode);
  // Fields per request.mask (wire::SetAttrMask); request.inode is filled in. Size changes truncate.
  rt::CoResult<wire::Attr> set_attr(wire::InodeId inode, wire::SetAttrRequest request);
  rt::CoResult<std::string> readlink(wire::InodeId inode);
  // As those of Inodes.
  rt::CoResult<std::string> get_xattr(wire::InodeId inode, std::string_view name);
  rt::CoStatus set_xattr(wire::InodeId inode,
                         std::string_view name,
                         std::string_view value,
                         std::uint32_t flags);

  // Also a file without a name that somebody has open. `flags`: wire::OpenFlags. ELOOP: a symlink.
  rt::CoResult<std::shared_ptr<OpenFile>> open(wire::InodeId inode, std::uint32_t flags);
  // Opens the entry, or creates it as kOpenCreate says. ESTALE: a symlink took the name.
  rt::CoResult<std::shared_ptr<OpenFile>> open_entry(wire::InodeId parent,
                                                     std::string_view name,
                                                     std::uint32_t flags,
                                                     std::uint32_t mode,
                                                     Caller caller);
  // A new file without a name (Paths::open_unnamed).
  rt::CoResult<std::shared_ptr<OpenFile>> open_unnamed(wire::InodeId parent,
                                                       std::uint32_t flags,
                                                       std::uint32_t mode,
                                                       Caller caller);
  rt::CoResult<wire::Attr> mkdir(wire::InodeId parent,
                                 std::string_view name,
                                 std::uint32_t mode,
                                 Caller caller);
  // A fifo, a socket or a device: `mode` has its type, `device` the number of a device.
  rt::CoResult<wire::Attr> make_special(wire::InodeId parent,
                                        std::string_view name,
                                        std::uint32_t mode,
                                        std::uint32_t device,
                                        Caller caller);
  rt::CoResult<wire::Attr> symlink(wire::InodeId parent,
                                   std::string_view name,
                                   std::string_view target,
                                   Caller caller);
  // One more name of `inode`.
  rt::CoResult<wire::Attr> link(wire::InodeId inode, wire::InodeId parent, std::string_view name);
  rt::CoStatus unlink(wire::InodeId parent, std::string_view name);
  rt::CoStatus rmdir(wire::InodeId parent, std::string_view name);
  // `flags`: wire::RenameFlags.
  rt::CoStatus rename(wire::InodeId old_parent,
                      std::string_view old_name,
                      wire::InodeId new_parent,
                      std::string_view new_name,
                      std::uint32_t flags);

 private:
  // Passes on a result; ESTALE or ENOENT about `inode` becomes the reason why it is gone.
  template <typename T>
  rt::CoResult<T> explain(wire::InodeId inode, Result<T> result, Deadline by);
  // The same for a request about an entry of `directory`, where only ESTALE says that it is gone.
  template <typename T>
  rt::CoResult<T> in_directory(wire::InodeId directory, Result<T> result, Deadline by);
  // The owner of a new inode, and what a set-gid directory hands on.
  rt::CoResult<NewInode> new_inode(
      wire::InodeId parent, std::uint32_t mode, bool is_directory, Caller caller, Deadline by);
  // The answer that the entry was made by `change`.
  void keep_made(const OpenedEntry& made, wire::EntryRef name, NodeCache::Change& change);
  void remember(const wire::Attr& attr, BootTime asked_at);
  // How long the shard lets answers be used.
  [[nodiscard]] Nanos lease_of(wire::ShardId shard) const;
  // Asks for attributes, which are kept as the server allows.
  rt::CoResult<Found> ask_attr(wire::InodeId inode, Deadline by, std::uint32_t more_flags = 0);
  void keep_attr(const Found& found, const NodeCache::Question& question);

  Backend& backend_;
  Inodes& inodes_;
  OpenFiles& open_files_;
  DirectoryCache& directories_;
  NodeCache cache_;
};

}  // namespace benchfs::client
