// Rename: the operation that changes entries on two shards.
//
// The shard of the old name coordinates. It locks the old entry, has the new one installed (that is
// the moment the rename happens), removes the old entry and unlocks it; look-ups of the old name
// wait meanwhile, so nobody sees both names or neither. When the other shard does not answer, the
// old entry stays locked until that shard has said whether the new one is there. The caller waits
// until its deadline; the work goes on.
//
// Directories move one at a time (rename_lock.h), so that the check for loops holds. Its home is
// told the new parent, and clients that may have the old name cached are told and waited for
// (leases/directory_leases.h), before the old entry is unlocked.
//
// An exchange is a rename that puts what it replaces under the old name, so it knows that
// beforehand: the other shard replaces nothing else (Installs::New::expected). Both names are
// locked until both are changed, and clients forget both if they lead to directories.
//
// Thread: the shard's.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <unordered_map>

#include "rpc/request.h"
#include "server/leases/directory_leases.h"
#include "server/names/installs.h"
#include "server/names/rename_lock.h"
#include "server/names/shared.h"

namespace benchfs::server {

class Renames {
 public:
  Renames(NamesShared& shared, Installs& installs, DirectoryLeases& leases, RenameLock& lock)
      : shared_(shared), installs_(installs), leases_(leases), lock_(lock) {}

  rt::Task<void> rename(rpc::Request& request);
  rt::Task<void> set_parent(rpc::Request& request);

 private:
  // One rename. It outlives its request when the request's deadline passes first.
  struct Move {
    EntryKey from;
    EntryKey to;
    std::uint32_t flags = 0;
    std::uint64_t client_uid = 0;
    Deadline deadline = Deadline::never();  // until when it may begin to happen
    meta::Entry entry;
    std::optional<meta::Entry> other{};  // an exchange: what `to` leads to, and `from` afterwards
    EntryLocks::Guard guard{};           // of `from`
    RenameLock::Lease lease{};           // directories
    rt::Event lease_over{};              // it is not needed any more
    Dropped replaced{};                  // lost the new name
    std::string waits_for{};
    Status status{};
    rt::Event ended{};
  };
  using MovePtr = std::shared_ptr<Move>;

  rt::CoStatus try_rename(const EntryKey& from,
                          const EntryKey& to,
                          std::uint32_t flags,
                          std::uint64_t client_uid,
                          Deadline deadline);
  rt::CoStatus move_file(MovePtr move);
  rt::CoStatus move_directory(MovePtr move);
  rt::CoStatus move_under_lease(MovePtr move);
  // Runs `task`, which moves, and waits for it until the deadline.
  rt::CoStatus run(MovePtr move, rt::CoStatus task);
  rt::Task<void> run_to_end(MovePtr move, rt::CoStatus task);
  rt::CoStatus settle(MovePtr move, Installs::Asked asked);
  // The old name is locked.
  void waits_for(Move& move, wire::ShardId shard);
  // It goes, or leads to what the new name led to.
  rt::Task<void> end_old_entry(const Move& move);
  [[nodiscard]] static Installs::New new_entry(const Move& move);
  // What nobody may see afterwards as still named.
  rt::Task<void> tell_home_of_replaced(const Move& move);

  // `moved`, a directory, is not on the way from its new parent to the root.
  rt::CoStatus check_no_loop(Move& move, wire::InodeId moved, wire::InodeId new_parent);
  rt::CoResult<wire::InodeId> parent_of(wire::InodeId directory, Deadline deadline);
  rt::Task<void> tell_parent(wire::InodeId directory, wire::InodeId parent, std::uint64_t move);
  // Extends the lease while it is needed.
  rt::Task<void> keep_lease(MovePtr move);
  void set_parent_here(const wire::SetParentRequest& body);

  NamesShared& shared_;
  Installs& installs_;
  DirectoryLeases& leases_;
  RenameLock& lock_;
  // Numbers of the last moves of directories of this shard, so that a late message about an
  // earlier move does not count. Not by time: the clocks of the coordinators differ.
  std::unordered_map<wire::InodeId, std::uint64_t> last_moves_;
};

}  // namespace benchfs::server
