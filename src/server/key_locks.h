// Locks on names or inodes, held across awaits by operations that span shards (rename, rmdir,
// truncate). Absent keys are unlocked; only locked ones cost memory.
//
// Who has a lock says which shards have not answered it (Guard::waits_for), for the errors of those
// who wait for the lock.
#pragma once

#include <functional>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include "rt/sync.h"
#include "server/peers.h"

namespace benchfs::server {

template <typename Key, typename Hash = std::hash<Key>>
class KeyLocks {
 public:
  // Releases the key when destroyed.
  class Guard {
   public:
    Guard() = default;
    Guard(KeyLocks* locks, Key key) : locks_(locks), key_(std::move(key)) {}
    Guard(Guard&& other) noexcept
        : locks_(std::exchange(other.locks_, nullptr)), key_(std::move(other.key_)) {}
    Guard& operator=(Guard&& other) noexcept {
      release();
      locks_ = std::exchange(other.locks_, nullptr);
      key_ = std::move(other.key_);
      return *this;
    }
    ~Guard() { release(); }
    void release() {
      if (locks_ != nullptr) {
        std::exchange(locks_, nullptr)->unlock(key_);
      }
    }
    // The shards that the holder waits for. Valid until the release.
    [[nodiscard]] std::vector<wire::ShardId>& waits_for() { return *locks_->waits_for(key_); }

   private:
    KeyLocks* locks_ = nullptr;
    Key key_;
  };

  explicit KeyLocks(const Peers& peers) : peers_(peers) {}
  KeyLocks(const KeyLocks&) = delete;
  KeyLocks& operator=(const KeyLocks&) = delete;

  [[nodiscard]] bool is_idle() const { return held_.empty(); }
  [[nodiscard]] bool is_locked(const Key& key) const { return held_.contains(key); }
  // Of a key that is locked; outlives the lock.
  [[nodiscard]] std::shared_ptr<std::vector<wire::ShardId>> waits_for(const Key& key) {
    std::shared_ptr<Held>& held = held_.find(key)->second;
    return {held, &held->waits_for};
  }
  // Returns when nobody holds the key; kDeadline.
  rt::CoStatus wait_unlocked(Key key, Deadline deadline) {
    for (auto found = held_.find(key); found != held_.end(); found = held_.find(key)) {
      std::shared_ptr<Held> held = found->second;
      if (co_await held->freed.wait(deadline) != rt::Wake::kReady) {
        co_return std::unexpected(
            peers_.waits_error("a conflicting operation is under way", held->waits_for));
      }
    }
    co_return Status{};
  }
  rt::CoResult<Guard> lock(Key key, Deadline deadline) {
    Status free = co_await wait_unlocked(key, deadline);
    if (!free) {
      co_return std::unexpected(free.error());
    }
    held_.emplace(key, std::make_shared<Held>());
    co_return Guard(this, std::move(key));
  }

 private:
  struct Held {
    rt::WaitQueue freed;
    std::vector<wire::ShardId> waits_for;
  };
  void unlock(const Key& key) {
    auto found = held_.find(key);
    std::shared_ptr<Held> held = found->second;
    held_.erase(found);
    held->freed.wake_all();
  }

  const Peers& peers_;
  std::unordered_map<Key, std::shared_ptr<Held>, Hash> held_;
};

}  // namespace benchfs::server
