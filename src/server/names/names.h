// Serves the names of one shard: entries, rename, rmdir.
//
// The metadata store is local and atomic; what spans shards is here. entries.cc has the operations
// on one entry, rename.cc and rmdir.cc those that change entries on several shards. Inodes are
// reached through files/inode_door.h.
//
// Locks: an operation that spans shards locks the entry it changes on this shard; one-shard
// operations on that entry wait. An entry on another shard is never waited for while a lock is held
// here: the other shard says kBusy, the lock is dropped, and the operation starts again after a
// pause. So there is no cycle of waiting. For the same reason requests that only shards send do not
// wait for further shards (a window full of such requests would wait for one behind it): what they
// leave to clean up runs beside them.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "meta/meta_store.h"
#include "rpc/request.h"
#include "server/files/inode_door.h"
#include "server/key_locks.h"
#include "server/leases/directory_leases.h"
#include "server/names/install_log.h"
#include "server/names/rename_lock.h"
#include "server/peers.h"

namespace benchfs::server {

class Names {
 public:
  struct Config {
    std::uint32_t chunk_bytes = wire::kDefaultChunkBytes;  // of new files, unless they say so
    Nanos rename_lease = std::chrono::seconds(30);
    Nanos directory_lease = std::chrono::seconds(10);
    bool had_earlier_life = false;  // of this shard, which may have granted leases
  };
  Names(meta::MetaStore& store, InodeDoor& inodes, Peers& peers, Config config);

  rt::Task<void> lookup(rpc::Request& request);
  rt::Task<void> open(rpc::Request& request);
  rt::Task<void> mkdir(rpc::Request& request);
  rt::Task<void> symlink(rpc::Request& request);
  rt::Task<void> unlink(rpc::Request& request);
  rt::Task<void> rmdir(rpc::Request& request);
  rt::Task<void> rename(rpc::Request& request);
  rt::Task<void> readdir(rpc::Request& request);

  rt::Task<void> install_entry(rpc::Request& request);
  rt::Task<void> settle_install(rpc::Request& request);
  rt::Task<void> freeze_directory(rpc::Request& request);
  rt::Task<void> thaw_directory(rpc::Request& request);
  rt::Task<void> set_parent(rpc::Request& request);
  rt::Task<void> lock_renames(rpc::Request& request);
  rt::Task<void> unlock_renames(rpc::Request& request);

  [[nodiscard]] DirectoryLeases& leases() { return leases_; }

 private:
  using EntryLocks = KeyLocks<EntryKey, EntryKeyHash>;

  // --- rmdir.cc ---
  rt::CoStatus remove_directory(EntryKey key,
                                meta::Entry entry,
                                std::optional<meta::Entry> with,
                                Deadline deadline);
  rt::CoStatus freeze_everywhere(wire::InodeId directory, std::uint64_t owner, Deadline deadline);
  rt::Task<void> thaw_everywhere(wire::InodeId directory, std::uint64_t owner, bool removed);
  rt::Task<void> freeze_one(wire::ShardId shard,
                            wire::FreezeDirectoryRequest body,
                            Deadline deadline,
                            Status* out);
  rt::Task<void> thaw_one(wire::ShardId shard, wire::ThawDirectoryRequest body);
  Status freeze_local(const wire::FreezeDirectoryRequest& body);

  // --- rename.cc ---
  rt::CoStatus try_rename(EntryKey from, EntryKey to, std::uint32_t flags, Deadline deadline);
  rt::CoStatus rename_directory(
      EntryKey from, EntryKey to, meta::Entry seen, std::uint32_t flags, Deadline deadline);
  // `lease` is borrowed, and null for what is no directory, here and below.
  rt::CoResult<EntryLocks::Guard> move_directory(EntryKey from,
                                                 EntryKey to,
                                                 meta::Entry seen,
                                                 std::uint32_t flags,
                                                 RenameLock::Lease* lease,
                                                 Deadline deadline);
  rt::CoStatus move_entry(EntryKey from,
                          EntryKey to,
                          meta::Entry entry,
                          std::uint32_t flags,
                          RenameLock::Lease* lease,
                          Deadline deadline);
  rt::CoResult<wire::InodeId> parent_of(wire::InodeId directory, Deadline deadline);
  rt::CoStatus check_no_loop(wire::InodeId moved, wire::InodeId new_parent, Deadline deadline);
  rt::Task<void> tell_parent(wire::InodeId directory,
                             wire::InodeId parent,
                             RenameLock::Lease* lease);
  rt::CoStatus install(EntryKey key, meta::Entry entry, std::uint32_t flags, Deadline deadline);
  rt::CoStatus install_at(wire::ShardId shard,
                          EntryKey key,
                          meta::Entry entry,
                          std::uint32_t flags,
                          RenameLock::Lease* lease,
                          Deadline deadline);
  rt::CoResult<bool> settle_install_at(wire::ShardId shard,
                                       std::uint64_t ticket,
                                       RenameLock::Lease* lease);
  template <typename Request>
  rt::CoResult<typename Request::Reply> insist(wire::ShardId shard,
                                               Request request,
                                               RenameLock::Lease* lease);

  meta::MetaStore& store_;
  InodeDoor& inodes_;
  Peers& peers_;
  Config config_;
  EntryLocks entry_locks_;
  DirectoryLeases leases_;
  RenameLock rename_lock_;
  InstallTickets install_tickets_;
  InstallLog install_log_;
  rt::WaitQueue install_ended_;
};

}  // namespace benchfs::server
