// The new name of a rename, which may be on another shard than the old one.
//
// The shard of the old name asks that of the new name to install the entry. Without an answer it
// asks what became of that, until it is told: the question also rules out that the entry is
// installed later (ticket_log.h).
//
// Thread: the shard's.
#pragma once

#include <optional>

#include "rpc/request.h"
#include "server/leases/directory_leases.h"
#include "server/names/rmdir.h"
#include "server/names/shared.h"
#include "server/ticket_log.h"

namespace benchfs::server {

class Installs {
 public:
  Installs(NamesShared& shared, DirectoryRemoval& removal, DirectoryLeases& leases)
      : shared_(shared), removal_(removal), leases_(leases), waiting_(shared.peers) {}

  // --- the shard of the old name ---

  struct Asked {
    // kBusy: not installed, and may be tried again. Other errors: not installed, unless `unknown`.
    Status status;
    std::optional<Tickets::Ticket> unknown;  // set when nobody knows: settle() finds out
    Dropped replaced{};    // lost the name to the entry; none: there was nothing, or it is home
    bool is_same = false;  // nothing was done: both are names of one inode
  };
  struct New {
    meta::Entry entry;
    std::uint32_t flags = 0;       // wire::RenameFlags
    wire::InodeId expected{};      // of an exchange
    std::uint64_t client_uid = 0;  // who renames; its own leases of the name do not matter
  };
  // `step`: by when it must have happened; it does not happen later.
  rt::Task<Asked> ask(wire::ShardId shard, EntryKey key, New what, Deadline step);
  // What the name leads to now. kBusy: to be asked again.
  rt::CoResult<meta::Entry> look(wire::ShardId shard, EntryKey key, Deadline deadline);
  // Whether the entry was installed; if not, it will not be. Fails only when this shard stops.
  rt::CoResult<bool> settle(wire::ShardId shard, const Tickets::Ticket& ticket);

  // --- the shard of the new name ---

  rt::Task<void> install_entry(rpc::Request& request);
  rt::Task<void> settle_install(rpc::Request& request);
  void on_new_life(TicketLog::Sender shard) { log_.on_new_life(shard); }

 private:
  struct Installed {
    Dropped replaced{};
    bool is_same = false;
    std::optional<meta::Entry> other{};  // nothing was done: it is there and was not expected
  };
  rt::CoResult<wire::InstallEntryReply> send(wire::ShardId shard,
                                             const EntryKey& key,
                                             const New& what,
                                             const Tickets::Ticket& ticket,
                                             Deadline step);
  struct Target {
    std::optional<meta::Entry> old{};
    wire::InodeId dropped{};          // loses the name
    std::optional<Installed> done{};  // nothing is to be done
  };
  [[nodiscard]] Result<Target> look_at(const EntryKey& key, const New& what) const;
  rt::CoResult<Installed> install(EntryKey key, New what, Deadline deadline);
  rt::CoResult<Installed> install_under_lock(EntryKey key,
                                             New what,
                                             meta::Entry old,
                                             Deadline deadline);
  Status put(const EntryKey& key, const New& what);
  void lease(const EntryKey& key, std::uint32_t flags, std::uint64_t client_uid);

  NamesShared& shared_;
  DirectoryRemoval& removal_;
  DirectoryLeases& leases_;
  EntryLocks waiting_;  // installations that wait for clients; nobody waits for these
  Tickets tickets_;
  TicketLog log_;
  rt::WaitQueue ended_;
};

}  // namespace benchfs::server
