// A home for background tasks: nothing runs that nobody waits for.
//
// The component that owns a Scope spawns into it and, before it dies, closes it: new work is
// refused, the cancel source tells what runs to stop, and join() waits for the last one. The
// destructor checks that it is empty. A spawned task returns void and has handled its errors.
#pragma once

#include <cstddef>
#include <utility>

#include "base/check.h"
#include "rt/sync.h"

namespace benchfs::rt {

class Scope {
 public:
  Scope() = default;
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;
  ~Scope() { BENCHFS_CHECK(active_ == 0); }

  // Starts the task in the next pass of the current reactor. After close() the task is dropped
  // unstarted and false is returned.
  bool spawn(Task<void> task) {
    if (closed_) {
      return false;
    }
    ++active_;
    Reactor::current()->schedule(run(this, std::move(task)).handle);
    return true;
  }

  // Refuses new work and cancels what runs.
  void close() {
    closed_ = true;
    cancel_.cancel();
  }
  // Waits until nothing runs any more.
  Task<void> join() {
    while (active_ > 0) {
      (void)co_await idle_.wait(Deadline::never());
    }
  }

  [[nodiscard]] CancelSource& cancel_source() { return cancel_; }
  [[nodiscard]] bool is_closed() const { return closed_; }
  [[nodiscard]] std::size_t active() const { return active_; }

 private:
  static DetachedTask run(Scope* scope, Task<void> task) {
    co_await std::move(task);
    if (--scope->active_ == 0) {
      scope->idle_.wake_all();
    }
  }

  std::size_t active_ = 0;
  bool closed_ = false;
  CancelSource cancel_;
  WaitQueue idle_;
};

// Runs tasks side by side and waits for all of them.
class Group {
 public:
  explicit Group(Scope& scope) : scope_(scope) {}
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;
  ~Group() { BENCHFS_CHECK(pending_ == 0); }

  // The task is dropped when the scope is closed.
  void add(Task<void> task) {
    ++pending_;
    if (!scope_.spawn(run(this, std::move(task)))) {
      --pending_;
      refused_ = true;
    }
  }
  // True when every task ran.
  Task<bool> wait() {
    while (pending_ > 0) {
      (void)co_await done_.wait(Deadline::never());
    }
    co_return !refused_;
  }

 private:
  static Task<void> run(Group* group, Task<void> task) {
    co_await std::move(task);
    if (--group->pending_ == 0) {
      group->done_.wake_all();
    }
  }

  Scope& scope_;
  std::size_t pending_ = 0;
  bool refused_ = false;
  WaitQueue done_;
};

}  // namespace benchfs::rt
