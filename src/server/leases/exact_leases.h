// Which clients use names and attributes without asking, and how to call that back.
//
// A client that takes leases (the mount) may use the answer to a lookup, that a name leads to an
// inode or that there is no such name, and the attributes of an inode at rest, for Config::lease.
// Before anything changes that would make such an answer wrong, all its holders are told and waited
// for: each until its acknowledgement, its goodbye or the end of its lease. So what a client uses
// is true at that moment.
//
// Nothing is granted on a key that is being called back: the answers of that time are used once.
// When the table is full nothing is granted either; missing names, of which there is no end, get
// no more than half of it. What an earlier life of the shard granted is
// not waited for: the names and inodes themselves are gone with that life.
//
// A change of a name is not called back from the client that makes it, which forgets what it knew
// by itself: its lease ends with the change.
//
// Thread: the shard's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <utility>

#include "base/clock.h"
#include "rt/task.h"
#include "server/entry_key.h"
#include "server/leases/revocable_leases.h"
#include "wire/ids.h"
#include "wire/limits.h"

namespace benchfs::server {

class ExactLeases : public RevocableLeases {
 public:
  struct Config {
    Nanos lease = std::chrono::milliseconds(wire::kMaxExactLeaseMs);
    std::size_t max_leases = 512 * 1024;  // about 250 bytes each
  };
  // Sequences above this one are of leases of this kind.
  static constexpr std::uint64_t kFirstSequence = std::uint64_t{1} << 63U;

  explicit ExactLeases(Config config)
      : RevocableLeases(Shown::kNothing, config.max_leases, kFirstSequence), config_(config) {}

  // The key of an inode's attributes; the others are names.
  [[nodiscard]] static EntryRef attributes(wire::InodeId inode) { return {inode, {}}; }

  // The answer is about to be told to this client. False: it may use it once.
  bool grant(EntryRef key, std::uint64_t client_uid, MonoTime now);
  // The same for the answer that there is no such name.
  bool grant_missing(EntryRef key, std::uint64_t client_uid, MonoTime now);
  // The same for what nobody has asked for by name, but listed.
  bool grant_listed(EntryRef key, std::uint64_t client_uid, MonoTime now);
  // The client has made the entry, and uses it in any case: also of a key that others call back,
  // and when the table is full.
  void grant_to_maker(EntryRef key, std::uint64_t client_uid, MonoTime now);
  // The client has changed what it had a lease of.
  void give_back(EntryRef key, std::uint64_t client_uid) {
    if (table_.size() != 0) {
      table_.remove(key, client_uid);
    }
  }
  // Somebody but this client may use the answer.
  [[nodiscard]] bool is_held(EntryRef key, std::uint64_t except = 0) const {
    return table_.size() != 0 && find_held(key, except) != nullptr;
  }
  // Nobody gets a lease of the key while this lives: of several keys that are called back one after
  // the other none is held again before the last one is free.
  class Withheld {
   public:
    Withheld(ExactLeases& leases, EntryKey key) : leases_(leases), key_(std::move(key)) {
      ++leases_.withheld_[key_];
    }
    Withheld(const Withheld&) = delete;
    Withheld& operator=(const Withheld&) = delete;
    ~Withheld() {
      auto withheld = leases_.withheld_.find(key_);
      if (--withheld->second == 0) {
        leases_.withheld_.erase(withheld);
      }
    }

   private:
    ExactLeases& leases_;
    EntryKey key_;
  };
  // Returns when it is not held any more, or the shard stops. kDeadline says who holds it.
  rt::CoStatus call_back(EntryKey key, Deadline deadline, std::uint64_t except = 0);

 private:
  // Whether less than half of the table is in use: the other half is for what is looked up.
  bool is_half_free(MonoTime now);
  bool grant(EntryRef key, std::uint64_t client_uid, LeaseKind kind, MonoTime now);
  [[nodiscard]] const LeaseTable::Lease* find_held(EntryRef key, std::uint64_t except) const;

  Config config_;
  // Keys of which nobody gets a lease, and for how many.
  std::unordered_map<EntryKey, std::uint32_t, EntryKeyHash, EntryKeyEqual> withheld_;
};

}  // namespace benchfs::server
