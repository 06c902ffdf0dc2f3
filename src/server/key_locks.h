// Locks on names or inodes, held across awaits by operations that span shards (rename, rmdir,
// truncate). Absent keys are unlocked; only locked ones cost memory.
#pragma once

#include <functional>
#include <memory>
#include <unordered_map>
#include <utility>

#include "rt/sync.h"

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

   private:
    KeyLocks* locks_ = nullptr;
    Key key_;
  };

  [[nodiscard]] bool is_idle() const { return held_.empty(); }
  [[nodiscard]] bool is_locked(const Key& key) const { return held_.contains(key); }
  // Returns when nobody holds the key; kDeadline.
  rt::CoStatus wait_unlocked(Key key, Deadline deadline) {
    for (auto found = held_.find(key); found != held_.end(); found = held_.find(key)) {
      std::shared_ptr<rt::WaitQueue> queue = found->second;
      if (co_await queue->wait(deadline) != rt::Wake::kReady) {
        co_return fail(Errc::kDeadline, "waiting for a conflicting operation");
      }
    }
    co_return Status{};
  }
  rt::CoResult<Guard> lock(Key key, Deadline deadline) {
    Status free = co_await wait_unlocked(key, deadline);
    if (!free) {
      co_return std::unexpected(free.error());
    }
    held_.emplace(key, std::make_shared<rt::WaitQueue>());
    co_return Guard(this, std::move(key));
  }

 private:
  void unlock(const Key& key) {
    auto found = held_.find(key);
    std::shared_ptr<rt::WaitQueue> queue = found->second;
    held_.erase(found);
    queue->wake_all();
  }

  std::unordered_map<Key, std::shared_ptr<rt::WaitQueue>, Hash> held_;
};

}  // namespace benchfs::server
