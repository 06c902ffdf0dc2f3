// Keeps direct and buffered transfers of one slot apart, so that page cache and device stay
// coherent.
//
// Transfers of one kind run together; the other kind waits until they are done. Admission is first
// come, first served: once a transfer waits, later arrivals of the running kind queue behind it.
// Exclusive access runs alone. Waits have no deadline: they last as long as transfers that are
// already in the kernel.
#pragma once

#include <coroutine>
#include <cstdint>
#include <utility>

#include "base/check.h"
#include "rt/reactor.h"

namespace benchfs::chunk {

enum class Access : std::uint8_t { kDirect, kBuffered, kExclusive };

class SlotGuard {
 public:
  SlotGuard() = default;
  SlotGuard(const SlotGuard&) = delete;
  SlotGuard& operator=(const SlotGuard&) = delete;
  ~SlotGuard() { BENCHFS_CHECK(active_ == 0 && head_ == nullptr); }

  // Access to the slot while it lives.
  class Hold {
   public:
    explicit Hold(SlotGuard* guard) : guard_(guard) {}
    Hold(Hold&& other) noexcept : guard_(std::exchange(other.guard_, nullptr)) {}
    Hold& operator=(Hold&&) = delete;
    ~Hold() { release(); }
    void release() {
      if (guard_ != nullptr) {
        std::exchange(guard_, nullptr)->leave();
      }
    }

   private:
    SlotGuard* guard_;
  };

  class Awaiter {
   public:
    Awaiter(SlotGuard* guard, Access access) : guard_(guard), access_(access) {}
    [[nodiscard]] bool await_ready() {
      if (guard_->head_ != nullptr || !guard_->admits(access_)) {
        return false;
      }
      guard_->admit(access_);
      return true;
    }
    void await_suspend(std::coroutine_handle<> handle) {
      handle_ = handle;
      (guard_->head_ == nullptr ? guard_->head_ : guard_->tail_->next_) = this;
      guard_->tail_ = this;
    }
    [[nodiscard]] Hold await_resume() const { return Hold(guard_); }

   private:
    friend class SlotGuard;
    SlotGuard* guard_;
    Access access_;
    Awaiter* next_ = nullptr;
    std::coroutine_handle<> handle_;
  };

  [[nodiscard]] Awaiter enter(Access access) { return {this, access}; }
  [[nodiscard]] bool has_waiters() const { return head_ != nullptr; }
  [[nodiscard]] bool is_idle() const { return active_ == 0 && head_ == nullptr; }

 private:
  [[nodiscard]] bool admits(Access access) const {
    return active_ == 0 || (access == running_ && access != Access::kExclusive);
  }
  void admit(Access access) {
    running_ = access;
    ++active_;
  }
  void leave() {
    --active_;
    while (head_ != nullptr && admits(head_->access_)) {
      Awaiter* next = head_;
      head_ = next->next_;
      admit(next->access_);
      rt::Reactor::current()->schedule(next->handle_);
    }
  }

  Awaiter* head_ = nullptr;  // waiting tasks, oldest first; the nodes live in the coroutines
  Awaiter* tail_ = nullptr;
  std::uint32_t active_ = 0;
  Access running_ = Access::kDirect;
};

}  // namespace benchfs::chunk
