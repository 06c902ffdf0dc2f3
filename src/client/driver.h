// Who drives a client's reactor: the thread that waits.
//
// call() awaits what a function makes, a task or anything else that a coroutine can await, and
// returns its result, from any thread. The first caller becomes the leader: it begins in place and
// drives the reactor until that is done, without a coroutine of its own. Callers that come
// meanwhile hand theirs over, and look for a moment whether it is done or nobody drives any more,
// because most calls are short. Then they sleep, and a leader that leaves wakes one of them to be
// the next. It does not wait for one that only looks, which may have no core.
//
// While no caller is inside, one helper thread sleeps on the reactor's descriptors and serves what
// arrives (eviction notices, invalidations, late replies), so that a client that computes for an
// hour delays no server. It is started when there is something that cannot wait for the next call
// (Backend::keep_driven()): a program that reaches its servers through the node door alone, and has
// neither locks nor files of other nodes open, has no thread of ours.
//
// run_now() is for work that waits for nothing: it is done at once, when nobody drives, or between
// two passes of who does, or while that one sleeps. So a thread that waits for a server does not
// keep others from what needs none.
//
// After fork() the child's calls fail with Errc::kCancelled and touch nothing of the parent's.
#pragma once

#include <atomic>
#include <boost/intrusive/list.hpp>
#include <condition_variable>
#include <coroutine>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "base/error.h"
#include "base/own_descriptor.h"
#include "rt/awaiting.h"
#include "rt/reactor.h"

namespace benchfs::client {

class Driver final : private rt::Sharing {
 public:
  explicit Driver(std::unique_ptr<rt::Reactor> reactor);
  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;
  // No call may be under way. Never in a child of fork(): leak it there.
  ~Driver();

  // Before the first call, or there is no helper. Errors: kSystem.
  Status allow_helper();
  // The helper thread runs between these two; before and after, only callers drive. Started by who
  // drives, or when nobody does; does nothing when it runs, or is not allowed. Errors: kSystem.
  Status start_helper();
  void stop_helper();
  void wake_helper();

  [[nodiscard]] rt::Reactor& reactor() { return *reactor_; }
  // True in a child of fork(): nothing of the client may be touched any more.
  [[nodiscard]] bool is_forked() const;

  // What `make` returns lives, and ends, while this thread drives or on the thread that does. It
  // must give a Result when it is awaited.
  template <typename Make>
  auto call(Make make) -> rt::AwaitedBy<std::invoke_result_t<Make&>> {
    if (is_forked()) {
      return fail(Errc::kCancelled, "this client was made before fork(); make a new one");
    }
    if (Lead lead(*this); lead.is_held()) [[likely]] {
      rt::Reactor::Binding binding(*reactor_);
      auto&& awaitable = make();
      auto&& awaiter = rt::awaiter_of(awaitable);
      if (!awaiter.await_ready()) {
        drive(awaiter.await_suspend(resumed_.lower()));
      }
      return awaiter.await_resume();
    }
    std::optional<rt::AwaitedBy<std::invoke_result_t<Make&>>> result;
    Job job;
    job.start = start(make, result, job).handle;
    follow(job);
    return std::move(*result);
  }
  template <typename T>
  Result<T> run(rt::CoResult<T> task) {
    return call([&task] { return std::move(task); });
  }

  // Calls work(), unless this is a child of fork, or who drives is busy for longer than such work
  // takes. It uses what belongs to the reactor's thread, and neither suspends nor schedules
  // anything.
  template <typename Work>
  void run_now(Work work) {
    if (!is_forked() && (begin_now() || begin_soon())) [[likely]] {
      struct End {
        std::atomic<std::uint32_t>& lead;
        ~End() { lead.fetch_and(~kBorrowed, std::memory_order_release); }
      } end{lead_};
      work();
    }
  }

 private:
  enum class JobState : std::uint8_t {
    kHandedOver,
    kPromoted,  // it slept, and the lead was handed to it
    kDone,
  };
  struct Job final : rt::Mail {
    std::coroutine_handle<> start;
    Driver* driver = nullptr;
    // Changed under the mutex, which its own thread takes before the job ends.
    std::atomic<JobState> state{JobState::kHandedOver};
    bool leads = false;
    bool is_done = false;  // while it leads
    std::condition_variable wake;
    boost::intrusive::list_member_hook<> hook;
    void on_mail() override;
  };
  using Followers = boost::intrusive::list<
      Job,
      boost::intrusive::member_hook<Job, boost::intrusive::list_member_hook<>, &Job::hook>>;

  // This thread drives while it lives, unless another one does.
  class Lead {
   public:
    explicit Lead(Driver& driver) : driver_(driver.try_lead() ? &driver : nullptr) {
      if (is_held()) {
        driver.wait_for_borrower();
      }
    }
    Lead(const Lead&) = delete;
    Lead& operator=(const Lead&) = delete;
    ~Lead() {
      if (is_held()) {
        driver_->end_lead();
      }
    }
    [[nodiscard]] bool is_held() const { return driver_ != nullptr; }

   private:
    Driver* driver_;
  };

  template <typename Make>
  static rt::DetachedTask start(Make& make,
                                std::optional<rt::AwaitedBy<std::invoke_result_t<Make&>>>& result,
                                Job& job) {
    result.emplace(co_await make());
    job.driver->on_done(job);
  }
  [[nodiscard]] bool try_lead();
  void end_lead();
  // Resumes `next`, and drives until resumed_ is resumed.
  void drive(std::coroutine_handle<> next);
  void follow(Job& job);
  bool look_at(Job& job);
  bool try_to_end(Job& job);
  void lead(Job& job);
  [[nodiscard]] bool lead_or_want_to();
  static void settle(Job& job, JobState state);
  bool hand_over();
  [[nodiscard]] bool begin_now() {
    std::uint32_t lead = lead_.load(std::memory_order_relaxed);
    bool may_borrow = (lead & kBorrowed) == 0 && (lead & (kDriven | kLent)) != kDriven;
    return may_borrow && lead_.compare_exchange_strong(lead,
                                                       (lead | kBorrowed) & ~kWanted,
                                                       std::memory_order_acquire,
                                                       std::memory_order_relaxed);
  }
  // Looks for a moment whether it may.
  [[nodiscard]] bool begin_soon();
  void want_to_borrow();
  void wait_for_borrower();

  // rt::Sharing
  [[nodiscard]] bool is_wanted() const override {
    return (lead_.load(std::memory_order_relaxed) & kWanted) != 0;
  }
  void begin() override { lead_.fetch_or(kLent, std::memory_order_release); }
  void end() override {
    lead_.fetch_and(~(kLent | kWanted), std::memory_order_relaxed);
    wait_for_borrower();
  }
  void lend() override;
  void on_done(Job& job);
  void help();

  std::unique_ptr<rt::Reactor> reactor_;
  std::uint64_t fork_generation_;

  // Of lead_. These two, which are set and cleared under the mutex, say whom the one who drives
  // wakes at the end.
  static constexpr std::uint32_t kFollowed = 1;  // by one that sleeps
  static constexpr std::uint32_t kHelperSleeps = 2;
  static constexpr std::uint32_t kDriven = 4;
  static constexpr std::uint32_t kLent = 8;       // driven, but nothing is touched
  static constexpr std::uint32_t kBorrowed = 16;  // by run_now(): only if it is lent, or not driven
  static constexpr std::uint32_t kWanted = 32;    // by somebody who waits for it to be lent

  std::atomic<std::uint32_t> lead_{0};
  std::atomic<std::uint64_t> activity_{0};  // grows with every lead, by who has it
  rt::ResumeFlag resumed_;                  // of the leader that began in place

  std::mutex mutex_;
  Followers followers_;  // that sleep

  bool stopping_ = false;
  OwnDescriptor wake_helper_;
  bool helper_sleeps_ = false;  // under the mutex: on the descriptors
  std::condition_variable helper_wake_;
  std::thread helper_;
};

}  // namespace benchfs::client
