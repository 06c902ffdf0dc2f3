// What the classes of names/ share: one object of the shard each.
#pragma once

#include <cerrno>
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "meta/meta_store.h"
#include "server/entry_key.h"
#include "server/files/inode_door.h"
#include "server/key_locks.h"
#include "server/leases/exact_leases.h"
#include "server/names/directory_marks.h"
#include "server/names/owed_calls.h"
#include "server/peers.h"

namespace benchfs::server {

using EntryLocks = KeyLocks<EntryKey, EntryKeyHash>;

struct NamesShared {
  [[nodiscard]] bool is_locked(EntryRef key) const {
    return !locks.is_idle() && locks.is_locked(key.key());
  }
  // kBusy, with the shards that the removal of the directory waits for.
  [[nodiscard]] std::unexpected<Error> being_removed(wire::InodeId directory) const {
    constexpr const char* kWhat = "the directory is being removed";
    auto found = removers.find(directory);
    return found == removers.end() ? fail(Errc::kBusy, kWhat) : peers.busy(kWhat, *found->second);
  }
  // `done` is what the store answered about an entry of the directory.
  template <typename T>
  [[nodiscard]] Result<T> explain_busy(wire::InodeId directory, Result<T> done) const {
    if (!done && done.error().code == Errc::kBusy) [[unlikely]] {
      return being_removed(directory);
    }
    return done;
  }
  // kBusy: somebody has the lock.
  [[nodiscard]] std::unexpected<Error> being_changed(const EntryKey& key) const {
    return peers.busy("the entry is being changed", *locks.waits_for(key));
  }
  // kBusy: nothing more can be owed.
  [[nodiscard]] std::unexpected<Error> owes_too_much() const {
    return peers.busy("too much is owed to other servers", owed.silent());
  }
  // The entry as it is on this shard. kBusy: there is none, but the directory is being removed;
  // another one may already have its name, which the caller of a client with an old cache means.
  [[nodiscard]] Result<meta::Entry> find(EntryRef key) const {
    Result<meta::Entry> entry = store.find(key.parent, key.name);
    if (!entry && store.has_frozen() && entry.error().is_posix(ENOENT) &&
        store.is_frozen(key.parent, mono_now_coarse())) [[unlikely]] {
      return being_removed(key.parent);
    }
    return entry;
  }

  // The entry may be changed now, on behalf of this client: the home of the directory is told, or
  // will be, and no other client relies on the name or on the attributes of the directory.
  [[nodiscard]] bool may_change(EntryRef key, std::uint64_t client_uid) const {
    return marks.may_change(key.parent) && !leases.is_held(key, client_uid) &&
           !(peers.is_self(key.parent.home()) &&
             leases.is_held(ExactLeases::attributes(key.parent), client_uid));
  }
  // Returns when may_change(), with the errors of DirectoryMarks::prepare().
  rt::CoStatus prepare(EntryKey key, std::uint64_t client_uid, Deadline deadline) {
    if (may_change(key, client_uid)) {
      co_return Status{};
    }
    // Clients that ask again and again do not hold the change up.
    ExactLeases::Withheld name(leases, key);
    ExactLeases::Withheld attributes(leases, ExactLeases::attributes(key.parent).key());
    while (!may_change(key, client_uid)) {
      BENCHFS_CO_TRY_VOID(co_await marks.prepare(key.parent, deadline));
      BENCHFS_CO_TRY_VOID(co_await leases.call_back(key, deadline, client_uid));
      if (peers.is_self(key.parent.home())) {
        BENCHFS_CO_TRY_VOID(co_await leases.call_back(
            ExactLeases::attributes(key.parent).key(), deadline, client_uid));
      }
      if (peers.stopping->is_cancelled()) {
        co_return fail(Errc::kNotReady, "the server is stopping");
      }
    }
    co_return Status{};
  }
  // The same for an inode that may lose a name, and `client_uid` uses its attributes no more; what
  // its home must do when it lives elsewhere, the home does. If it ends with that name, they are
  // not called back from that client.
  [[nodiscard]] bool may_drop(wire::InodeId inode, std::uint64_t client_uid = 0) const {
    return !peers.is_self(inode.home()) ||
           !leases.is_held(ExactLeases::attributes(inode), spared(inode, client_uid));
  }
  rt::CoStatus prepare_drop(wire::InodeId inode, Deadline deadline, std::uint64_t client_uid = 0) {
    while (!may_drop(inode, client_uid)) {
      BENCHFS_CO_TRY_VOID(co_await leases.call_back(
          ExactLeases::attributes(inode).key(), deadline, spared(inode, client_uid)));
      if (peers.stopping->is_cancelled()) {
        co_return fail(Errc::kNotReady, "the server is stopping");
      }
    }
    co_return Status{};
  }

  // Who is not told that an inode loses a name; 0 is nobody.
  [[nodiscard]] std::uint64_t spared(wire::InodeId inode, std::uint64_t client_uid) const {
    return leases.size() != 0 && store.ends_with_its_name(inode) ? client_uid : 0;
  }
  // A name that may_drop() its inode has gone.
  Dropped drop(wire::InodeId inode, std::uint64_t client_uid) {
    leases.give_back(ExactLeases::attributes(inode), client_uid);
    return inodes.drop(inode);
  }

  // Carries out a change of an entry that may_change(), on behalf of this client.
  template <typename C>
  typename C::Outcome change(const C& what, std::uint64_t client_uid) {
    typename C::Outcome outcome = store.apply(what);
    if (outcome) {
      changed({what.parent, what.name}, what.now_ns, client_uid);
    }
    return explain_busy(what.parent, std::move(outcome));
  }

  // An entry has been changed, on behalf of this client, whose lease of it ends unless it is told
  // that it has one of what is there now.
  void changed(EntryRef key,
               std::int64_t now_ns,
               std::uint64_t client_uid,
               bool is_leased = false) {
    marks.note(key.parent, now_ns);
    if (!is_leased) {
      leases.give_back(key, client_uid);
    }
  }

  meta::MetaStore& store;
  InodeDoor& inodes;
  Peers& peers;
  EntryLocks& locks;  // entries that an operation which spans shards is changing
  OwedCalls& owed;
  DirectoryMarks& marks;
  ExactLeases& leases;
  // Of frozen directories, the shards for which their removal waits.
  std::unordered_map<wire::InodeId, std::shared_ptr<const std::vector<wire::ShardId>>> removers{};
  // Directories in which links are being made, with the homes of the inodes: not removed meanwhile,
  // since nobody must see that an inode got a name and lost it.
  std::unordered_map<wire::InodeId, std::vector<wire::ShardId>> linking{};
};

}  // namespace benchfs::server
