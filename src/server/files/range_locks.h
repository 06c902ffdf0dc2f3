// The locks of one file: which owner has locked which bytes, as POSIX says. An owner's locks never
// overlap, and locks of different owners only where all of them are shared.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace benchfs::server {

struct LockOwner {
  std::uint64_t client_uid = 0;
  std::uint64_t number = 0;  // of the client's choice
  bool is_shared = false;    // an open file of the client that others share, and its open's number
  bool operator==(const LockOwner&) const = default;
};

struct RangeLock {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;  // behind the last byte
  LockOwner owner;
  std::uint32_t pid = 0;
  bool is_exclusive = false;
};

class RangeLocks {
 public:
  // The first lock that keeps `wanted` from being set; null: none. Valid until the next change.
  [[nodiscard]] const RangeLock* find_conflict(const RangeLock& wanted) const;
  // Replaces what the owner has in the range. No conflict may be there.
  void set(const RangeLock& lock);
  void clear(const LockOwner& owner, std::uint64_t begin, std::uint64_t end);
  // Clears all but what is shared. Returns how many there were.
  std::size_t clear_client(std::uint64_t client_uid);
  [[nodiscard]] const std::vector<RangeLock>& all() const { return locks_; }
  [[nodiscard]] std::size_t size() const { return locks_.size(); }

 private:
  std::vector<RangeLock> locks_;  // by begin
};

}  // namespace benchfs::server
