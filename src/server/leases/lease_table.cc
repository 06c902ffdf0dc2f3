#include "server/leases/lease_table.h"

#include <bit>

#include "base/check.h"

namespace benchfs::server {

std::size_t LeaseTable::LeaseIdHash::operator()(const LeaseId& id) const {
  return mix64(mix64(std::bit_cast<std::uintptr_t>(id.key)) ^
               std::bit_cast<std::uintptr_t>(id.holder));
}

LeaseTable::Lease* LeaseTable::find(EntryRef key, std::uint64_t holder) {
  auto of_key = keys_.find(key);
  auto of_holder = holders_.find(holder);
  if (of_key == keys_.end() || of_holder == holders_.end()) {
    return nullptr;
  }
  auto found = leases_.find(LeaseId{&*of_key, &*of_holder});
  return found == leases_.end() ? nullptr : &found->second;
}

LeaseTable::Lease& LeaseTable::add(EntryRef key, std::uint64_t holder) {
  KeyNode& of_key = *keys_.try_emplace(key.key()).first;
  HolderNode& of_holder = *holders_.try_emplace(holder).first;
  Lease& lease = leases_[LeaseId{&of_key, &of_holder}];
  lease.key_ = &of_key;
  lease.holder_ = &of_holder;
  of_holder.second.leases.push_back(lease);
  return lease;
}

bool LeaseTable::grant(
    EntryRef key, std::uint64_t holder, LeaseKind kind, MonoTime until, bool in_any_case) {
  BENCHFS_DCHECK(by_end_.empty() || by_end_.back().until_ <= until);
  Lease* lease = find(key, holder);
  if (lease == nullptr) {
    if (is_full() && !in_any_case) {
      return false;
    }
    lease = &add(key, holder);
  } else {
    lease->of_key_.unlink();
    lease->of_all_.unlink();
    revoked_.erase(std::exchange(lease->sequence_, 0));
    lease->key_->second.changed.wake_all();
    --stats_of(*lease).held;
  }
  lease->kind_ = kind;
  ++stats_of(*lease).held;
  lease->until_ = until;
  lease->key_->second.leases.push_back(*lease);
  by_end_.push_back(*lease);
  return true;
}

std::uint64_t LeaseTable::revoke(Lease& lease) {
  stats_of(lease).recalled += lease.sequence_ == 0 ? 1 : 0;
  revoked_.erase(lease.sequence_);
  lease.sequence_ = ++last_sequence_;
  revoked_.emplace(lease.sequence_, &lease);
  return lease.sequence_;
}

LeaseTable::Lease* LeaseTable::find_revoked(std::uint64_t sequence) {
  auto found = revoked_.find(sequence);
  return found == revoked_.end() ? nullptr : found->second;
}

void LeaseTable::remove(Lease& lease) {
  --stats_of(lease).held;
  revoked_.erase(lease.sequence_);
  KeyNode* of_key = lease.key_;
  HolderNode* of_holder = lease.holder_;
  leases_.erase(leases_.find(LeaseId{of_key, of_holder}));  // leaves its lists
  if (of_holder->second.leases.empty()) {
    holders_.erase(holders_.find(of_holder->first));
  }
  of_key->second.changed.wake_all();
  if (of_key->second.leases.empty()) {
    keys_.erase(keys_.find(of_key->first));
  }
}

void LeaseTable::remove(EntryRef key, std::uint64_t holder) {
  if (Lease* lease = find(key, holder)) {
    remove(*lease);
  }
}

void LeaseTable::remove_all_of(std::uint64_t holder) {
  for (auto found = holders_.find(holder); found != holders_.end(); found = holders_.find(holder)) {
    remove(found->second.leases.front());
  }
}

void LeaseTable::expire(MonoTime now) {
  while (!by_end_.empty() && by_end_.front().until_ <= now) {
    Lease& lease = by_end_.front();
    stats_of(lease).run_out += lease.sequence_ != 0 ? 1 : 0;
    remove(lease);
  }
}

MonoTime LeaseTable::first_end(const EntryKey& key) const {
  return keys_.find(key)->second.leases.front().until_;
}

}  // namespace benchfs::server
