// Locks of files (fcntl, flock), kept by each file's home.
//
// An owner is whom the lock is for: a process or an open file description, as the door numbers
// them. Its locks end when it unlocks them, by release(), or with the client. A home that has
// forgotten the client has dropped them too: the files are then stale (on_forgotten()).
//
// An open file that other clients have too is the owner for all of them: any of them unlocks it,
// and its locks end when the last of those that lock(), or join(), or opened it has released it.
//
// Thread: the client's reactor.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "base/hash.h"
#include "client/backend.h"
#include "client/io/open_files.h"
#include "rt/sync.h"
#include "wire/messages.h"

namespace benchfs::client {

struct LockOwner {
  std::uint64_t number = 0;
  bool is_whole_file = false;  // flock(): apart from record locks
  // The client that opened a shared open file, `number` being that of its open; 0: not shared.
  std::uint64_t opener_uid = 0;
  bool operator==(const LockOwner&) const = default;
};

class FileLocks {
 public:
  FileLocks(Backend& backend, OpenFiles& open_files) : backend_(backend), open_files_(open_files) {}
  FileLocks(const FileLocks&) = delete;
  FileLocks& operator=(const FileLocks&) = delete;

  struct Wanted {
    wire::LockMode mode = wire::LockMode::kNone;  // kNone: unlock
    std::uint64_t begin = 0;
    std::uint64_t end = wire::kLockToEnd;  // behind the last byte
    std::uint32_t pid = 0;                 // shown to others
  };
  // Mode kNone in the answer: done. Else the lock that is in the way; with `waits` it still is
  // after a while (at most half a second): call again for as long as the program waits. ENOLCK: the
  // server has too many. ESTALE, EIO: the file is gone.
  rt::CoResult<wire::LockReply> lock(wire::InodeId inode,
                                     LockOwner owner,
                                     Wanted wanted,
                                     bool waits);
  // This client has the shared open file: its locks last while it has. In place of the client
  // `former_uid`, if it has it.
  rt::CoStatus join(wire::InodeId inode, LockOwner owner, std::uint64_t former_uid);
  // What would be in the way.
  rt::CoResult<wire::LockReply> test(wire::InodeId inode, LockOwner owner, Wanted wanted);
  // False: the owner has no locks of the file.
  [[nodiscard]] bool may_hold(wire::InodeId inode, LockOwner owner) const {
    return held_.contains({inode, owner});
  }
  // Ends all of them. When the home does not answer by the deadline it returns, and the locks end
  // when the home answers again.
  rt::Task<void> release(wire::InodeId inode, LockOwner owner);
  // A home that evicted this client drops its locks after a grace: it is connected again before.
  void on_connection_lost(wire::ShardId shard);
  // The shard may have locks of this client, and is not connected.
  [[nodiscard]] bool has_left_behind(wire::ShardId shard) const;
  // The home has forgotten this client. Returns the files that it had locked.
  [[nodiscard]] std::vector<wire::InodeId> on_forgotten(wire::ShardId shard);

 private:
  struct Key {
    wire::InodeId inode;
    LockOwner owner;
    bool operator==(const Key&) const = default;
  };
  struct Hash {
    std::size_t operator()(const Key& key) const {
      return mix64(key.inode.value ^ mix64(key.owner.number + (key.owner.is_whole_file ? 1 : 0)) ^
                   key.owner.opener_uid);
    }
  };
  struct Held {
    std::uint32_t under_way = 0;  // requests that may lock something
    bool may_have = false;        // a lock
    bool is_releasing = false;
  };
  rt::CoResult<wire::LockReply> ask(wire::InodeId inode,
                                    LockOwner owner,
                                    const Wanted& wanted,
                                    std::uint32_t flags,
                                    Deadline by,
                                    std::uint64_t former_uid = 0);
  rt::CoResult<wire::LockReply> ask_to_release(const Key& key);
  // Returns when the owner may lock.
  rt::CoStatus prepare(const Key& key, Deadline by);
  [[nodiscard]] bool may_hold_any(wire::ShardId shard) const;
  rt::Task<void> come_back(wire::ShardId shard);
  rt::Task<void> release_until_done(Key key);
  void released(const Key& key);
  void drop_if_unused(std::unordered_map<Key, Held, Hash>::iterator held);

  Backend& backend_;
  OpenFiles& open_files_;
  std::unordered_map<Key, Held, Hash> held_;
  rt::WaitQueue released_;
  std::uint32_t waiting_ = 0;  // requests that wait at servers
};

}  // namespace benchfs::client
