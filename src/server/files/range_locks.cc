#include "server/files/range_locks.h"

#include <algorithm>

namespace benchfs::server {

const RangeLock* RangeLocks::find_conflict(const RangeLock& wanted) const {
  for (const RangeLock& lock : locks_) {
    if (lock.begin >= wanted.end) {
      break;
    }
    if (lock.end > wanted.begin && lock.owner != wanted.owner &&
        (lock.is_exclusive || wanted.is_exclusive)) {
      return &lock;
    }
  }
  return nullptr;
}

void RangeLocks::clear(const LockOwner& owner, std::uint64_t begin, std::uint64_t end) {
  std::vector<RangeLock> kept;
  kept.reserve(locks_.size() + 1);
  for (const RangeLock& lock : locks_) {
    if (lock.owner != owner || lock.end <= begin || lock.begin >= end) {
      kept.push_back(lock);
      continue;
    }
    RangeLock part = lock;
    if (lock.begin < begin) {
      part.end = begin;
      kept.push_back(part);
    }
    if (lock.end > end) {
      part = lock;
      part.begin = end;
      kept.push_back(part);
    }
  }
  locks_ = std::move(kept);
  std::ranges::sort(locks_, {}, &RangeLock::begin);
}

void RangeLocks::set(const RangeLock& lock) {
  clear(lock.owner, lock.begin, lock.end);
  RangeLock whole = lock;
  // Neighbours of the same kind become one, so that a program that locks byte after byte has one.
  std::erase_if(locks_, [&](const RangeLock& other) {
    bool is_neighbour = other.end == whole.begin || other.begin == whole.end;
    if (other.owner != whole.owner || other.is_exclusive != whole.is_exclusive || !is_neighbour) {
      return false;
    }
    whole.begin = std::min(whole.begin, other.begin);
    whole.end = std::max(whole.end, other.end);
    return true;
  });
  auto at = std::ranges::upper_bound(locks_, whole.begin, {}, &RangeLock::begin);
  locks_.insert(at, whole);
}

std::size_t RangeLocks::clear_client(std::uint64_t client_uid) {
  return std::erase_if(locks_, [&](const RangeLock& lock) {
    return lock.owner.client_uid == client_uid && !lock.owner.is_shared;
  });
}

}  // namespace benchfs::server
