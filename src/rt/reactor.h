// The event loop. One reactor a thread in daemons; in clients one that a single thread at a time
// drives (client/driver.h).
//
// It polls its pollers, timers and mailbox, then resumes what they made ready. Completions never
// resume a coroutine in place: they schedule it, the loop resumes it; so the stack is bounded and
// no library is re-entered. When nothing happens it spins, then yields, then sleeps on one epoll
// set.
//
// Thread: everything but post() belongs to the thread that drives the reactor.
#pragma once

#include <sys/epoll.h>
#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <coroutine>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "rt/idle.h"
#include "rt/poller.h"
#include "rt/run_queue.h"
#include "rt/task.h"
#include "rt/timer.h"

namespace benchfs::rt {

// A message to a reactor from another thread. The sender owns it until on_mail() has been called.
class Mail {
 public:
  virtual ~Mail() = default;
  virtual void on_mail() = 0;  // on the reactor's thread

 private:
  friend class Reactor;
  Mail* next_ = nullptr;
};

// Others that use what belongs to the reactor's thread, each for a moment, when it touches nothing
// of it: between two passes when they want to, and while it gives its core away or sleeps.
class Sharing {
 public:
  [[nodiscard]] virtual bool is_wanted() const = 0;
  virtual void begin() = 0;
  // They have ended.
  virtual void end() = 0;
  // A moment, for who is waiting.
  virtual void lend() = 0;

 protected:
  ~Sharing() = default;
};

class Reactor {
 public:
  // `is_guest`: in somebody else's program, which may close our descriptors and open its own under
  // their numbers. Errors: kSystem.
  static Result<std::unique_ptr<Reactor>> create(IdleConfig idle = {}, bool is_guest = false);
  Reactor(const Reactor&) = delete;
  Reactor& operator=(const Reactor&) = delete;
  ~Reactor();

  // The reactor the calling thread drives right now; nullptr outside.
  static Reactor* current();

  // Makes this reactor current() for the calling thread while it lives.
  class Binding {
   public:
    explicit Binding(Reactor& reactor);
    Binding(const Binding&) = delete;
    Binding& operator=(const Binding&) = delete;
    ~Binding();

   private:
    Reactor* previous_;
  };

  // Borrowed for the reactor's life; before it is driven.
  void share(Sharing& sharing) { sharing_ = &sharing; }

  // Pollers are borrowed and must be removed before they die.
  void add_poller(Poller& poller);
  void remove_poller(Poller& poller);

  // Resumes `handle` in the next pass. The coroutine must stay alive until then.
  void schedule(std::coroutine_handle<> handle) { ready_.push(handle); }
  void arm(Timer& timer, MonoTime when) { timers_.arm(timer, when); }

  // Runs on_mail() on the driving thread, which is woken if it sleeps. May be called from any
  // thread.
  void post(Mail& mail);
  // Makes a sleeping reactor do one pass. May be called from any thread and from signal handlers.
  void wake();

  // One pass over everything that is ready. True when anything was done.
  bool turn();
  // One pass, and when it found nothing, one step of idling: spin, yield, or sleep until something
  // happens, wake() is called or the deadline passes.
  void step(Deadline deadline = Deadline::never());
  // Passes until `done` is true, idling in between as configured.
  void run_until(const bool& done) { run_until(done, Deadline::never()); }
  // The same, bounded: returns `done`.
  bool run_until(const bool& done, Deadline deadline);

  // Runs one task to its end in the calling thread.
  template <typename T>
  T block_on(Task<T> task);

  // A descriptor that is readable when a sleeping reactor has something to do; for the thread that
  // watches an undriven reactor. Valid after prepare_to_sleep() returned true.
  [[nodiscard]] int fd() const { return epoll_fd_; }
  // Arms all pollers. False when something is pending: turn() first.
  bool prepare_to_sleep();
  // The next timer, if any.
  [[nodiscard]] std::optional<MonoTime> next_timer() const;
  [[nodiscard]] bool is_sleeping() const { return sleeping_.load(std::memory_order_relaxed); }
  void set_sleeping(bool sleeping) { sleeping_.store(sleeping, std::memory_order_seq_cst); }

  struct Stats {
    std::uint64_t passes = 0;
    std::uint64_t sleeps = 0;
    std::uint64_t resumed = 0;
  };
  [[nodiscard]] const Stats& stats() const { return stats_; }
  [[nodiscard]] const IdleStrategy& idle() const { return idle_; }

 private:
  Reactor(IdleConfig idle, bool is_guest) : idle_(idle), is_guest_(is_guest) {}
  Status make_descriptors();
  [[nodiscard]] bool is_own(int fd) const;
  void close_own(int fd) const;
  // New descriptors in place of those that the program has closed. False: it cannot be woken.
  bool renew_descriptors();
  [[nodiscard]] bool watch(Poller& poller) const;
  bool deliver_mail();
  bool resume_ready();
  bool on_idle();
  void sleep(Deadline deadline);
  // epoll_pwait2, or what does the same on kernels without it.
  int wait_for_events(std::span<epoll_event> events, const timespec* timeout);
  void sleep_beside_refusers(Nanos most);
  void drain_wake();

  Sharing* sharing_ = nullptr;
  std::vector<Poller*> pollers_;
  TimerQueue timers_;
  RunQueue ready_;
  IdleStrategy idle_;
  Stats stats_;
  MonoTime last_timer_check_{};
  std::uint32_t passes_since_timer_check_ = 0;
  std::optional<MonoTime> arm_refused_since_;
  bool has_epoll_pwait2_ = true;

  // Touched by other threads.
  std::atomic<Mail*> mail_{nullptr};
  std::atomic<bool> sleeping_{false};
  std::atomic<int> wake_fd_{-1};
  int epoll_fd_ = -1;

  bool is_guest_;
  // Of both descriptors: the kernel has one inode for all of their kind.
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

// Awaitable: lets everything else that is ready run first.
struct Yield {
  [[nodiscard]] bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> handle) const { Reactor::current()->schedule(handle); }
  void await_resume() const noexcept {}
};

// A coroutine nobody awaits; its frame frees itself. Its creator counts it: Scope, block_on, and
// the server its requests.
struct DetachedTask {
  struct promise_type {
    static void* operator new(std::size_t size) { return allocate_frame(size); }
    static void operator delete(void* frame, std::size_t size) noexcept { free_frame(frame, size); }
    DetachedTask get_return_object() noexcept {
      return {std::coroutine_handle<promise_type>::from_promise(*this)};
    }
    std::suspend_always initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() noexcept {}
    [[noreturn]] void unhandled_exception() noexcept { std::terminate(); }
  };
  std::coroutine_handle<promise_type> handle;
};

namespace internal {
template <typename T>
DetachedTask run_and_store(Task<T> task, std::optional<T>& out, bool& done) {
  out.emplace(co_await std::move(task));
  done = true;
}
inline DetachedTask run_and_flag(Task<void> task, bool& done) {
  co_await std::move(task);
  done = true;
}
}  // namespace internal

template <typename T>
T Reactor::block_on(Task<T> task) {
  Binding binding(*this);
  bool done = false;
  if constexpr (std::is_void_v<T>) {
    schedule(internal::run_and_flag(std::move(task), done).handle);
    run_until(done);
  } else {
    std::optional<T> out;
    schedule(internal::run_and_store(std::move(task), out, done).handle);
    run_until(done);
    return std::move(*out);
  }
}

}  // namespace benchfs::rt
