// Serves names and inodes of one shard.
//
// The metadata store is local and atomic; what spans shards is here: exact sizes while a file is
// being written (ask the chunk shards), truncation, freeing chunks, rename, rmdir. The source files
// follow that: meta_service.cc one-shard operations, file_service.cc open files and sizes,
// rename_service.cc rename, rmdir_service.cc rmdir.
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
#include "server/chunk_service.h"
#include "server/directory_leases.h"
#include "server/install_log.h"
#include "server/key_locks.h"
#include "server/peers.h"
#include "server/rename_lock.h"

namespace benchfs::server {

class MetaService {
 public:
  struct Config {
    std::uint32_t chunk_bytes = wire::kDefaultChunkBytes;  // of new files, unless they say so
    Nanos rename_lease = std::chrono::seconds(30);
  };
  MetaService(meta::MetaStore& store, chunk::ChunkStore& chunks, Peers& peers, Config config);

  rt::Task<void> lookup(rpc::Request& request);
  rt::Task<void> open(rpc::Request& request);
  rt::Task<void> mkdir(rpc::Request& request);
  rt::Task<void> symlink(rpc::Request& request);
  rt::Task<void> unlink(rpc::Request& request);
  rt::Task<void> rmdir(rpc::Request& request);
  rt::Task<void> rename(rpc::Request& request);
  rt::Task<void> readdir(rpc::Request& request);

  rt::Task<void> get_attr(rpc::Request& request);
  rt::Task<void> set_attr(rpc::Request& request);
  rt::Task<void> readlink(rpc::Request& request);
  rt::Task<void> open_inode(rpc::Request& request);
  rt::Task<void> close(rpc::Request& request);
  rt::Task<void> fsync(rpc::Request& request);
  rt::Task<void> append(rpc::Request& request);

  rt::Task<void> install_entry(rpc::Request& request);
  rt::Task<void> settle_install(rpc::Request& request);
  rt::Task<void> freeze_directory(rpc::Request& request);
  rt::Task<void> thaw_directory(rpc::Request& request);
  rt::Task<void> forget_inode(rpc::Request& request);
  rt::Task<void> set_parent(rpc::Request& request);
  rt::Task<void> lock_renames(rpc::Request& request);
  rt::Task<void> unlock_renames(rpc::Request& request);

  // Closes what a client that went away had open.
  rt::Task<void> abandon_client(std::uint64_t client_uid);

  [[nodiscard]] DirectoryLeases& leases() { return leases_; }

 private:
  using EntryLocks = KeyLocks<EntryKey, EntryKeyHash>;
  using InodeLocks = KeyLocks<wire::InodeId>;

  // --- file_service.cc ---
  rt::CoResult<wire::Attr> exact_attr(wire::InodeId inode, Deadline deadline);
  rt::CoResult<wire::QueryChunksReply> query_all(wire::InodeId inode,
                                                 wire::Layout layout,
                                                 Deadline deadline);
  rt::CoResult<wire::QueryChunksReply> query_current(wire::InodeId inode, Deadline deadline);
  rt::Task<void> query_one(wire::ShardId shard,
                           wire::QueryChunksRequest query,
                           Deadline deadline,
                           Result<wire::QueryChunksReply>* out);
  rt::CoStatus truncate_chunks(wire::Attr attr,
                               std::uint64_t size,
                               bool everywhere,
                               Deadline deadline);
  rt::Task<void> truncate_one(wire::ShardId shard,
                              wire::TruncateChunksRequest body,
                              Deadline deadline,
                              Status* out);
  rt::CoStatus truncate(wire::InodeId inode, std::uint64_t size, Deadline deadline);
  rt::CoStatus settle(wire::InodeId inode,
                      std::uint64_t written_end,
                      std::uint64_t truncation,
                      std::int64_t mtime_ns,
                      Deadline deadline);
  rt::CoResult<wire::Attr> open_local(wire::InodeId inode,
                                      std::uint64_t client_uid,
                                      std::uint32_t flags,
                                      Deadline deadline);
  rt::Task<void> undo_open(wire::InodeId inode, std::uint64_t client_uid, std::uint32_t flags);
  // Drops a name's hold on an inode, here or on its home shard, and frees what is no longer needed.
  rt::CoStatus drop_inode(wire::InodeId inode, Deadline deadline);
  rt::CoStatus drop_local_inode(wire::InodeId inode, Deadline deadline);
  struct Unused {
    wire::Attr attr;
    bool everywhere = false;  // its size does not bound what was written
  };
  Result<std::optional<Unused>> unlink_local(wire::InodeId inode);
  rt::Task<void> free_chunks(Unused unused);
  rt::Task<void> drop_replaced(wire::InodeId inode);
  // Runs `task` beside the request.
  rt::Task<void> run_later(rt::Task<void> task);
  rt::Task<void> reply_entry(rpc::Request& request, wire::Attr attr, std::uint32_t flags);

  // --- rmdir_service.cc ---
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

  // --- rename_service.cc ---
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
  chunk::ChunkStore& chunks_;
  Peers& peers_;
  Config config_;
  EntryLocks entry_locks_;
  InodeLocks inode_locks_;
  DirectoryLeases leases_{DirectoryLeases::Config()};
  RenameLock rename_lock_;
  InstallTickets install_tickets_;
  InstallLog install_log_;
  rt::WaitQueue install_ended_;
};

}  // namespace benchfs::server
