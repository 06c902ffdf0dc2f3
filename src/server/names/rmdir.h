// Removing a directory, whose entries may be on any shard.
//
// Every shard first freezes the directory, which fails where it has entries; then its own entry is
// removed or replaced; then every shard is told what became of it. A freeze lasts until that: it is
// owed to every shard that may have frozen the directory, so nobody can add an entry between the
// check and the removal, however long a shard does not answer. A coordinator that dies leaves
// freezes behind, and takes the only entry of the directory with it.
//
// Thread: the shard's.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "rpc/request.h"
#include "server/names/shared.h"

namespace benchfs::server {

class DirectoryRemoval {
 public:
  explicit DirectoryRemoval(NamesShared& shared) : shared_(shared) {}

  rt::Task<void> rmdir(rpc::Request& request);
  rt::Task<void> freeze_directory(rpc::Request& request);
  rt::Task<void> thaw_directory(rpc::Request& request);
  // Another shard started again, and has forgotten what it froze.
  void on_new_life() { ++new_lives_; }

  // Removes the directory that the entry, which the caller has locked, leads to; the entry leads to
  // `with` afterwards, if given. After an error nothing has changed. ENOTEMPTY, EBUSY (the root);
  // kBusy while another removal of it is under way.
  rt::CoResult<Dropped> remove(EntryKey key,
                               meta::Entry entry,
                               std::optional<meta::Entry> with,
                               std::uint64_t client_uid,
                               Deadline deadline);

 private:
  rt::CoStatus try_rmdir(const EntryKey& key, std::uint64_t client_uid, Deadline deadline);
  // `waits_for`: the shards for which the removal waits.
  Status freeze_here(const wire::FreezeDirectoryRequest& body,
                     std::shared_ptr<const std::vector<wire::ShardId>> waits_for);
  // Takes those that have answered out of `waits_for`.
  rt::CoStatus freeze_everywhere(wire::InodeId directory,
                                 std::uint64_t owner,
                                 Deadline deadline,
                                 std::shared_ptr<std::vector<wire::ShardId>> waits_for);
  rt::Task<void> freeze_one(wire::ShardId shard,
                            wire::FreezeDirectoryRequest body,
                            Deadline deadline,
                            Status* out,
                            std::vector<wire::ShardId>* waits_for);
  void end_freeze(const wire::ThawDirectoryRequest& body);
  void thaw_everywhere(wire::InodeId directory, std::uint64_t owner, bool removed);

  NamesShared& shared_;
  std::uint64_t new_lives_ = 0;
};

}  // namespace benchfs::server
