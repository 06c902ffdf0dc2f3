// Who drives a client's reactor: the thread that waits.
//
// run() starts a task and returns its result, from any thread. The first caller becomes the leader
// and drives the reactor until its own task is done; callers that come meanwhile hand their task
// over and sleep; a leader that leaves makes one of them the next leader. While no caller is
// inside, one helper thread sleeps on the reactor's descriptors and serves what arrives (eviction
// notices, invalidations, late replies), so that a client that computes for an hour delays no
// server.
//
// run_now() is for work that waits for nothing: it is done at once, in place of a leader, if there
// is none.
//
// After fork() the child's run() fails with Errc::kCancelled and touches nothing of the parent's.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "base/error.h"
#include "rt/reactor.h"

namespace benchfs::client {

class Driver {
 public:
  explicit Driver(std::unique_ptr<rt::Reactor> reactor);
  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;
  // No run() may be under way. Never in a child of fork(): leak it there.
  ~Driver();

  // The helper thread runs between these two; before and after, only callers of run() drive.
  // Errors: kSystem.
  Status start_helper();
  void stop_helper();

  [[nodiscard]] rt::Reactor& reactor() { return *reactor_; }
  // True in a child of fork(): nothing of the client may be touched any more.
  [[nodiscard]] bool is_forked() const;

  template <typename T>
  Result<T> run(rt::CoResult<T> task) {
    if (is_forked()) {
      return fail(Errc::kCancelled, "this client was made before fork(); make a new one");
    }
    std::optional<Result<T>> result;
    Job job;
    job.start = start(std::move(task), result, job).handle;
    execute(job);
    return std::move(*result);
  }

  // Calls work(), unless somebody drives or this is a child of fork. It uses what belongs to the
  // reactor's thread, and neither suspends nor schedules anything.
  template <typename Work>
  void run_now(Work work) {
    if (is_forked()) [[unlikely]] {
      return;
    }
    std::lock_guard lock(mutex_);
    if (!driving_) {
      work();
    }
  }

 private:
  struct Job final : rt::Mail {
    std::coroutine_handle<> start;
    Driver* driver = nullptr;
    bool done = false;      // written under the mutex, or by the leader for its own job
    bool promoted = false;  // the lead was handed to it
    bool leads = false;
    std::condition_variable wake;
    void on_mail() override;
  };

  template <typename T>
  static rt::DetachedTask start(rt::CoResult<T> task, std::optional<Result<T>>& result, Job& job) {
    result.emplace(co_await std::move(task));
    job.driver->on_done(job);
  }
  void execute(Job& job);
  void lead(Job& job);
  bool hand_over();
  void on_done(Job& job);
  void help();

  std::unique_ptr<rt::Reactor> reactor_;
  std::uint64_t fork_generation_;

  std::mutex mutex_;
  bool driving_ = false;
  std::list<Job*> followers_;
  std::uint64_t activity_ = 0;  // grows with every lead

  bool stopping_ = false;
  int wake_helper_fd_ = -1;
  bool helper_sleeps_ = false;  // under the mutex: on the descriptors
  std::condition_variable helper_wake_;
  std::thread helper_;
};

}  // namespace benchfs::client
