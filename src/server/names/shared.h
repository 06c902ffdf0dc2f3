// What the classes of names/ share: one object of the shard each.
#pragma once

#include "meta/meta_store.h"
#include "server/entry_key.h"
#include "server/files/inode_door.h"
#include "server/key_locks.h"
#include "server/names/owed_calls.h"
#include "server/peers.h"

namespace benchfs::server {

using EntryLocks = KeyLocks<EntryKey, EntryKeyHash>;

struct NamesShared {
  meta::MetaStore& store;
  InodeDoor& inodes;
  Peers& peers;
  EntryLocks& locks;  // entries that an operation which spans shards is changing
  OwedCalls& owed;
};

}  // namespace benchfs::server
