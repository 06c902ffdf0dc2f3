// What the names of a shard need of its inodes.
#pragma once

#include <cstdint>
#include <optional>

#include "base/clock.h"
#include "base/error.h"
#include "meta/meta_store.h"
#include "rpc/request.h"
#include "rt/maybe_task.h"
#include "rt/task.h"
#include "server/entry_key.h"
#include "wire/attr.h"
#include "wire/ids.h"

namespace benchfs::server {

// One open of a client (meta::OpenId), and the session that asked for it.
struct OpenKey {
  std::uint64_t client_uid = 0;
  std::uint64_t number = 0;
  wire::SessionId session;  // when it has ended nothing is opened; none: not checked
  [[nodiscard]] meta::OpenId id() const { return {client_uid, number}; }
};

// A name that no longer leads to an inode of another shard, of which that shard has to be told:
// once, so the drop has a number.
struct Dropped {
  wire::InodeId inode;  // none: nobody has to be told
  wire::ShardId shard;  // had the name
  std::uint64_t life = 0;
  std::uint64_t ticket = 0;
};

class InodeDoor {
 public:
  virtual ~InodeDoor() = default;

  // With the size as it is at one moment of the call. ENOENT when the inode does not live here.
  virtual rt::MaybeTask<Result<wire::Attr>> exact_attr(wire::InodeId inode, Deadline deadline) = 0;
  // Nothing is under way that changes the attributes: they may be cached under a lease.
  [[nodiscard]] virtual bool is_settled(wire::InodeId inode) const = 0;
  // Opens a regular file or a directory of this shard; kOpenTruncate included. After an error
  // nothing is open.
  virtual rt::MaybeTask<Result<wire::Attr>> open(wire::InodeId inode,
                                                 OpenKey key,
                                                 std::uint32_t flags,
                                                 Deadline deadline) = 0;
  // The open with this number, when it is known: a repeated open is the same open.
  [[nodiscard]] virtual std::optional<meta::Open> find_open(OpenKey key) const = 0;
  // Makes an inode here with its entry, and opens it: one change, which happens whole or not at
  // all. Errors of meta::CreateOpen. `leased`: what the client may keep (wire::EntryFlags); its
  // lease of the attributes and kDirectoryTimed are added if `flags` ask for a lease. `asker`,
  // unless null, is answered as soon as all that is certain.
  virtual Result<wire::Attr> create_open(EntryRef entry,
                                         const meta::NewInode& inode,
                                         OpenKey key,
                                         std::uint32_t flags,
                                         rpc::Request* asker,
                                         std::uint32_t& leased) = 0;
  // Makes a file here that has no name, and opens it. Errors of meta::CreateUnnamed.
  virtual Result<wire::Attr> create_unnamed(wire::InodeId parent,
                                            const meta::NewInode& inode,
                                            OpenKey key,
                                            std::uint32_t flags) = 0;
  // The inode, which may live anywhere, gets another name, which the caller makes next, or drops.
  // After an error it has not got it, or loses it again when its home answers. ENOENT (it has no
  // name any more), EPERM (a directory), EMLINK. The size is that of the last settling.
  virtual rt::CoResult<wire::Attr> add_link(wire::InodeId inode, Deadline deadline) = 0;
  // A name no longer leads to the inode, which may live anywhere. Returns at once; what follows
  // (telling the home, freeing the chunks) is owed until it is done.
  virtual Dropped drop(wire::InodeId inode) = 0;
  // The name that add_link() counted was not made after all. The same as drop() but for a file that
  // was made without a name: it can still get one.
  virtual void drop_unmade(wire::InodeId inode) = 0;
  // Ends when the inode's home knows what was dropped here or on another shard, so that nobody who
  // asks it afterwards is told of the name, or when the home does not answer, or at the deadline.
  virtual rt::Task<void> wait_dropped(Dropped dropped, Deadline deadline) = 0;
};

}  // namespace benchfs::server
