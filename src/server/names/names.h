// Serves the names of one shard: the door of this folder.
//
// The metadata store is local and atomic; what spans shards is here. entries.h has the operations
// on one entry, renames.h and rmdir.h those that change entries on several shards, owed_calls.h
// what is still owed to other shards. Inodes are reached through files/inode_door.h.
//
// Locks: an operation that spans shards locks the entry it changes on this shard; one-shard
// operations on that entry wait. An entry on another shard is never waited for while a lock is held
// here: the other shard says kBusy, the lock is dropped, and the operation starts again after a
// pause. So there is no cycle of waiting (docs/locking.md).
//
// Thread: the shard's.
#pragma once

#include <algorithm>
#include <vector>

#include "server/leases/directory_leases.h"
#include "server/leases/exact_leases.h"
#include "server/names/directory_marks.h"
#include "server/names/entries.h"
#include "server/names/installs.h"
#include "server/names/rename_lock.h"
#include "server/names/renames.h"
#include "server/names/rmdir.h"
#include "server/names/shared.h"

namespace benchfs::server {

class Names {
 public:
  struct Config {
    std::uint32_t chunk_bytes = wire::kDefaultChunkBytes;  // of new files, unless they say so
    Nanos rename_lease = std::chrono::seconds(10);
    Nanos directory_lease = std::chrono::seconds(10);
    bool had_earlier_life = false;  // of this shard, which may have granted leases
  };
  Names(meta::MetaStore& store, InodeDoor& inodes, Peers& peers, Config config)
      : locks_(peers),
        owed_(peers),
        marks_(store, peers, owed_),
        exact_leases_(
            {.lease = std::min<Nanos>(config.directory_lease,
                                      std::chrono::milliseconds(wire::kMaxExactLeaseMs))}),
        shared_{.store = store,
                .inodes = inodes,
                .peers = peers,
                .locks = locks_,
                .owed = owed_,
                .marks = marks_,
                .leases = exact_leases_},
        leases_({.lease = config.directory_lease}),
        rename_lock_(peers, owed_, config.rename_lease),
        entries_(shared_, leases_, config.chunk_bytes),
        removal_(shared_),
        installs_(shared_, removal_, leases_),
        renames_(shared_, installs_, leases_, rename_lock_) {
    if (config.had_earlier_life) {
      leases_.assume_all_granted(mono_now());
      rename_lock_.assume_granted(mono_now());
    }
  }

  [[nodiscard]] Entries& entries() { return entries_; }
  [[nodiscard]] DirectoryRemoval& removal() { return removal_; }
  [[nodiscard]] Installs& installs() { return installs_; }
  [[nodiscard]] Renames& renames() { return renames_; }
  [[nodiscard]] RenameLock& rename_lock() { return rename_lock_; }
  [[nodiscard]] DirectoryMarks& marks() { return marks_; }
  [[nodiscard]] DirectoryLeases& leases() { return leases_; }
  [[nodiscard]] ExactLeases& exact_leases() { return exact_leases_; }
  [[nodiscard]] const LeaseTable::Stats& lease_stats(LeaseKind kind) const {
    return kind == LeaseKind::kDirectory ? leases_.stats(kind) : exact_leases_.stats(kind);
  }

  // Another shard started again: it has no names, and has forgotten what it froze. It makes no
  // entries before it has been answered.
  void on_new_life(TicketLog::Sender shard) {
    removal_.on_new_life();
    installs_.on_new_life(shard);
  }

  // What this shard owes others about names, by shard.
  [[nodiscard]] std::vector<OwedCalls::Summary> owed() const { return owed_.summary(); }

 private:
  EntryLocks locks_;
  OwedCalls owed_;
  DirectoryMarks marks_;
  ExactLeases exact_leases_;
  NamesShared shared_;
  DirectoryLeases leases_;
  RenameLock rename_lock_;
  Entries entries_;
  DirectoryRemoval removal_;
  Installs installs_;
  Renames renames_;
};

}  // namespace benchfs::server
