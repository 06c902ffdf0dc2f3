// Who may use what, and until when: one lease for each key and holder.
//
// A key is an entry of a directory; a holder is a client, by its uid, whatever session it has. A
// lease ends when it is removed or when its time is over. One that is being revoked has a sequence
// number: an acknowledgement names it, so that it cannot release a lease granted again later.
//
// Every operation is O(1) in the number of leases. All leases last equally long: `until` never
// decreases from one grant to the next, which keeps the lists ordered by their end.
//
// Thread: the shard's.
#pragma once

#include <array>
#include <boost/intrusive/list.hpp>
#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <utility>

#include "base/clock.h"
#include "rt/sync.h"
#include "server/entry_key.h"

namespace benchfs::server {

// What a lease is of. The leases on a key are held side by side.
enum class LeaseKind : std::uint8_t { kDirectory, kName, kMissingName, kAttributes };
inline constexpr std::size_t kLeaseKinds = 4;

class LeaseTable {
 private:
  using Hook = boost::intrusive::list_member_hook<
      boost::intrusive::link_mode<boost::intrusive::auto_unlink>>;
  struct Key;
  struct Holder;
  using KeyNode = std::pair<const EntryKey, Key>;
  using HolderNode = std::pair<const std::uint64_t, Holder>;

 public:
  class Lease {
   public:
    [[nodiscard]] const EntryKey& key() const { return key_->first; }
    [[nodiscard]] std::uint64_t holder() const { return holder_->first; }
    [[nodiscard]] LeaseKind kind() const { return kind_; }
    [[nodiscard]] MonoTime until() const { return until_; }
    // Of the revocation under way; 0 when there is none.
    [[nodiscard]] std::uint64_t sequence() const { return sequence_; }

   private:
    friend class LeaseTable;
    KeyNode* key_ = nullptr;
    HolderNode* holder_ = nullptr;
    LeaseKind kind_ = LeaseKind::kDirectory;
    MonoTime until_;
    std::uint64_t sequence_ = 0;
    Hook of_key_;
    Hook of_holder_;
    Hook of_all_;
  };

  // Sequence numbers begin above `last_sequence`.
  explicit LeaseTable(std::size_t max_leases, std::uint64_t last_sequence = 0)
      : max_leases_(max_leases), last_sequence_(last_sequence) {}
  LeaseTable(const LeaseTable&) = delete;
  LeaseTable& operator=(const LeaseTable&) = delete;

  // Grants or renews. A renewed lease is no longer being revoked. False when the table is full,
  // unless it is to take the lease in any case.
  bool grant(
      EntryRef key, std::uint64_t holder, LeaseKind kind, MonoTime until, bool in_any_case = false);
  // Begins to revoke the lease: returns its new sequence number.
  std::uint64_t revoke(Lease& lease);
  // The lease that is being revoked with this number; nullptr when it has ended or was renewed.
  [[nodiscard]] Lease* find_revoked(std::uint64_t sequence);
  void remove(Lease& lease);
  // The lease of this holder, if there is one.
  void remove(EntryRef key, std::uint64_t holder);
  void remove_all_of(std::uint64_t holder);
  // Removes the leases that have ended.
  void expire(MonoTime now);

  [[nodiscard]] bool has(EntryRef key) const { return keys_.find(key) != keys_.end(); }
  // When the first lease on a key that has some ends.
  [[nodiscard]] MonoTime first_end(const EntryKey& key) const;
  // Waits until a lease on a key that has some ended or was renewed.
  [[nodiscard]] rt::WaitQueue::Awaiter wait(const EntryKey& key,
                                            Deadline deadline,
                                            rt::CancelSource* cancel) {
    return keys_.find(key)->second.changed.wait(deadline, cancel);
  }
  // A lease on the key for which is_wanted(const Lease&); the one that ends first.
  template <typename IsWanted>
  [[nodiscard]] const Lease* first_on(EntryRef key, IsWanted is_wanted) const {
    if (auto found = keys_.find(key); found != keys_.end()) {
      for (const Lease& lease : found->second.leases) {
        if (is_wanted(lease)) {
          return &lease;
        }
      }
    }
    return nullptr;
  }
  // visit(Lease&) must not change the table, but for revoke().
  template <typename Visit>
  void for_each_on(EntryRef key, Visit visit) {
    if (auto found = keys_.find(key); found != keys_.end()) {
      for (Lease& lease : found->second.leases) {
        visit(lease);
      }
    }
  }
  template <typename Visit>
  void for_each_on(EntryRef key, Visit visit) const {
    if (auto found = keys_.find(key); found != keys_.end()) {
      for (const Lease& lease : found->second.leases) {
        visit(lease);
      }
    }
  }
  template <typename Visit>
  void for_each_of(std::uint64_t holder, Visit visit) {
    if (auto found = holders_.find(holder); found != holders_.end()) {
      for (Lease& lease : found->second.leases) {
        visit(lease);
      }
    }
  }

  [[nodiscard]] bool has_holder(std::uint64_t holder) const { return holders_.contains(holder); }
  // Of one kind.
  struct Stats {
    std::uint64_t held = 0;
    std::uint64_t recalled = 0;  // their holders were to be told that they are revoked
    std::uint64_t run_out = 0;   // of these, ended by time
  };
  [[nodiscard]] const Stats& stats(LeaseKind kind) const {
    return stats_[static_cast<std::size_t>(kind)];
  }
  [[nodiscard]] std::size_t size() const { return leases_.size(); }
  [[nodiscard]] bool is_full() const { return size() >= max_leases_; }

 private:
  template <Hook Lease::* hook>
  using LeaseList = boost::intrusive::list<Lease,
                                           boost::intrusive::member_hook<Lease, Hook, hook>,
                                           boost::intrusive::constant_time_size<false>>;
  struct Key {
    LeaseList<&Lease::of_key_> leases;  // by their end
    rt::WaitQueue changed;
  };
  struct Holder {
    LeaseList<&Lease::of_holder_> leases;
  };
  struct LeaseId {
    const KeyNode* key;
    const HolderNode* holder;
    friend bool operator==(const LeaseId&, const LeaseId&) = default;
  };
  struct LeaseIdHash {
    std::size_t operator()(const LeaseId& id) const;
  };

  [[nodiscard]] Lease* find(EntryRef key, std::uint64_t holder);
  Stats& stats_of(const Lease& lease) { return stats_[static_cast<std::size_t>(lease.kind_)]; }
  Lease& add(EntryRef key, std::uint64_t holder);

  std::size_t max_leases_;
  std::unordered_map<EntryKey, Key, EntryKeyHash, EntryKeyEqual> keys_;  // those with leases
  std::unordered_map<std::uint64_t, Holder> holders_;                    // the same
  std::unordered_map<LeaseId, Lease, LeaseIdHash> leases_;
  LeaseList<&Lease::of_all_> by_end_;
  std::unordered_map<std::uint64_t, Lease*> revoked_;  // by sequence
  std::uint64_t last_sequence_;
  std::array<Stats, kLeaseKinds> stats_{};
};

}  // namespace benchfs::server
