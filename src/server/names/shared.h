// What the classes of names/ share: one object of the shard each.
#pragma once

#include <cerrno>
#include <cstdint>
#include <unordered_map>

#include "base/clock.h"
#include "meta/meta_store.h"
#include "server/entry_key.h"
#include "server/files/inode_door.h"
#include "server/key_locks.h"
#include "server/names/directory_marks.h"
#include "server/names/owed_calls.h"
#include "server/peers.h"

namespace benchfs::server {

using EntryLocks = KeyLocks<EntryKey, EntryKeyHash>;

struct NamesShared {
  [[nodiscard]] bool is_locked(EntryRef key) const {
    return !locks.is_idle() && locks.is_locked(key.key());
  }
  // The entry as it is on this shard. kBusy: there is none, but the directory is being removed;
  // another one may already have its name, which the caller of a client with an old cache means.
  [[nodiscard]] Result<meta::Entry> find(EntryRef key) const {
    Result<meta::Entry> entry = store.find(key.parent, key.name);
    if (!entry && entry.error().is_posix(ENOENT) && store.is_frozen(key.parent, mono_now_coarse()))
        [[unlikely]] {
      return fail(Errc::kBusy, "the directory is being removed");
    }
    return entry;
  }

  // Carries out a change of an entry, whose directory marks.may_change().
  template <typename C>
  typename C::Outcome change(const C& what) {
    typename C::Outcome outcome = store.apply(what);
    if (outcome) {
      marks.note(what.parent, what.now_ns);
    }
    return outcome;
  }

  meta::MetaStore& store;
  InodeDoor& inodes;
  Peers& peers;
  EntryLocks& locks;  // entries that an operation which spans shards is changing
  OwedCalls& owed;
  DirectoryMarks& marks;
  // Directories in which links are being made: not removed meanwhile, since nobody must see that an
  // inode got a name and lost it.
  std::unordered_map<wire::InodeId, std::uint32_t> linking{};
};

}  // namespace benchfs::server
