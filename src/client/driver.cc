#include "client/driver.h"

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <new>
#include <system_error>

#include "base/check.h"
#include "base/cpu_relax.h"
#include "base/futex.h"
#include "base/signal_block.h"

namespace benchfs::client {
namespace {

// Grows in every child of fork().
std::atomic<std::uint64_t> fork_generation{0};

void watch_forks() {
  static const bool registered = [] {
    pthread_atfork(nullptr, nullptr, [] { fork_generation.fetch_add(1); });
    return true;
  }();
  (void)registered;
}

// While callers come and go the helper only looks in this often; once nobody came in between, it
// takes over and sleeps on the descriptors.
constexpr auto kHelperTick = std::chrono::milliseconds(10);
// Passes without work after which the helper lets go.
constexpr int kHelperIdlePasses = 4;

// How long a follower looks at its job before it sleeps: first without giving its core away.
constexpr int kLooks = 32;
constexpr int kYields = 4;  // of who could do its work at once
constexpr Nanos kLongestLook = std::chrono::microseconds(200);
// A yield that takes longer than an empty one (rt/idle.h): others need this core, perhaps those
// that the job waits for. Then it is left to them for longer than they need for a call.
constexpr Nanos kLongYield = std::chrono::nanoseconds(1200);
constexpr Nanos kNap = std::chrono::microseconds(50);

// Not by a function at which a thread is cancelled (capi/inside.h).
void nap() {
  std::atomic<std::uint32_t> word{0};
  futex_wait(word, 0, kNap);
}

}  // namespace

Driver::Driver(std::unique_ptr<rt::Reactor> reactor) : reactor_(std::move(reactor)) {
  watch_forks();
  fork_generation_ = fork_generation.load();
  reactor_->share(*this);
}

Driver::~Driver() {
  stop_helper();
}

Status Driver::allow_helper() {
  Fd made(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!made.is_open()) {
    return fail_system(errno, "making a descriptor for the client's thread");
  }
  BENCHFS_TRY(wake_helper_, OwnDescriptor::create(std::move(made)));
  return {};
}

Status Driver::start_helper() {
  if (wake_helper_.get() < 0 || helper_.joinable()) {
    return {};
  }
  SignalBlock block;  // the helper takes no signal that is meant for the program
  try {
    helper_ = std::thread([this] { help(); });
  } catch (const std::system_error& error) {
    return fail_system(error.code().value(), "starting the client's thread");
  } catch (const std::bad_alloc&) {
    return fail_system(ENOMEM, "starting the client's thread");
  }
  return {};
}

void Driver::wake_helper() {
  if (wake_helper_.is_ours()) {
    ::eventfd_write(wake_helper_.get(), 1);
  }
}

void Driver::stop_helper() {
  if (!helper_.joinable()) {
    return;
  }
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    wake_helper();
  }
  helper_wake_.notify_one();
  helper_.join();
}

bool Driver::is_forked() const {
  return fork_generation.load() != fork_generation_;
}

void Driver::Job::on_mail() {
  driver->reactor_->schedule(start);
}

// On the driving thread.
void Driver::on_done(Job& job) {
  if (job.leads) {
    job.is_done = true;
    return;
  }
  std::lock_guard lock(mutex_);
  if (job.hook.is_linked()) {
    followers_.erase(followers_.iterator_to(job));
  }
  settle(job, JobState::kDone);
}

// Under the mutex.
void Driver::settle(Job& job, JobState state) {
  job.state.store(state, std::memory_order_release);
  job.wake.notify_one();
}

bool Driver::try_lead() {
  std::uint32_t lead = lead_.load(std::memory_order_relaxed);
  while ((lead & kDriven) == 0) {
    if (lead_.compare_exchange_weak(
            lead, lead | kDriven, std::memory_order_acquire, std::memory_order_relaxed)) {
      return true;
    }
  }
  return false;
}

// Before this thread touches anything as the one who drives. Nobody else borrows it meanwhile: it
// takes as long as run_now()'s work, which may have no core, or be interrupted by a signal.
void Driver::wait_for_borrower() {
  for (int looks = 0; (lead_.load(std::memory_order_acquire) & kBorrowed) != 0; ++looks) {
    if (looks < kLooks) {
      cpu_relax();
    } else if (looks < kLooks + kYields) {
      sched_yield();
    } else {
      nap();
    }
  }
}

void Driver::lend() {
  begin();
  for (int i = 0; i < kLooks && is_wanted(); ++i) {
    cpu_relax();
  }
  end();
}

void Driver::drive(std::coroutine_handle<> next) {
  next.resume();
  reactor_->run_until(resumed_.is_raised());
}

void Driver::end_lead() {
  activity_.store(activity_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  std::uint32_t lead = kDriven;
  while ((lead & ~kWanted) == kDriven) {
    if (lead_.compare_exchange_weak(lead, 0, std::memory_order_release, std::memory_order_relaxed))
        [[likely]] {
      return;
    }
  }
  std::lock_guard lock(mutex_);
  if (helper_sleeps_) {
    // Replies through the node door came without an event, and what it told the servers before it
    // slept (that it must be woken) no longer holds.
    helper_sleeps_ = false;
    wake_helper();
  }
  hand_over();
}

void Driver::want_to_borrow() {
  std::uint32_t lead = lead_.load(std::memory_order_relaxed);
  if ((lead & (kDriven | kLent | kWanted)) == kDriven) {
    lead_.fetch_or(kWanted, std::memory_order_relaxed);
  }
}

bool Driver::begin_soon() {
  for (int i = 0; i < kLooks; ++i) {
    want_to_borrow();
    cpu_relax();
    if (begin_now()) {
      return true;
    }
  }
  for (int i = 0; i < kYields; ++i) {  // who drives or borrows may have no core
    want_to_borrow();
    MonoTime before = mono_now();
    sched_yield();
    if (begin_now()) {
      return true;
    }
    if (mono_now() - before > kLongYield) {
      want_to_borrow();
      nap();
      if (begin_now()) {
        return true;
      }
    }
  }
  return false;
}

void Driver::follow(Job& job) {
  job.driver = this;
  reactor_->post(job);
  if (look_at(job)) {
    return;
  }
  std::unique_lock lock(mutex_);
  if (job.state.load(std::memory_order_relaxed) == JobState::kHandedOver) {
    if (lead_or_want_to()) {
      lock.unlock();
      return lead(job);
    }
    followers_.push_back(job);
    job.wake.wait(lock, [&] { return job.state.load() != JobState::kHandedOver; });
  }
  if (job.state.load() == JobState::kPromoted) {
    lock.unlock();
    lead(job);
  }
}

// False: it is worth while to sleep.
bool Driver::look_at(Job& job) {
  for (int i = 0; i < kLooks; ++i) {
    if (try_to_end(job)) {
      return true;
    }
    cpu_relax();
  }
  MonoTime now = mono_now();
  for (MonoTime until = now + kLongestLook; now < until;) {
    MonoTime before = now;
    sched_yield();
    now = mono_now();
    if (try_to_end(job)) {
      return true;
    }
    if (now - before > kLongYield) {
      nap();
      now = mono_now();
    }
  }
  return false;
}

bool Driver::try_to_end(Job& job) {
  if (job.state.load(std::memory_order_acquire) == JobState::kDone) {
    std::lock_guard lock(mutex_);  // who has done it has let go
    return true;
  }
  if (!try_lead()) {
    return false;
  }
  lead(job);
  return true;
}

// Under the mutex. False: somebody drives, and will look for followers at the end.
bool Driver::lead_or_want_to() {
  std::uint32_t lead = lead_.load(std::memory_order_relaxed);
  while (!lead_.compare_exchange_weak(lead,
                                      (lead & kDriven) == 0 ? lead | kDriven : lead | kFollowed,
                                      std::memory_order_acquire,
                                      std::memory_order_relaxed)) {
  }
  return (lead & kDriven) == 0;
}

// Drives until the job is done, then lets somebody else drive.
void Driver::lead(Job& job) {
  wait_for_borrower();
  if (job.state.load(std::memory_order_acquire) != JobState::kDone) {
    job.leads = true;
    reactor_->run_until(job.is_done);
  }
  end_lead();
}

// Under the mutex, by the thread that drives: makes a follower drive, or nobody. The lead is never
// free in between, so a newcomer cannot take it from the one it was given to.
bool Driver::hand_over() {
  if (followers_.empty()) {
    lead_.store(helper_sleeps_ ? kHelperSleeps : 0, std::memory_order_release);
    return false;
  }
  Job& next = followers_.front();
  followers_.pop_front();
  settle(next, JobState::kPromoted);
  return true;
}

void Driver::help() {
  std::unique_lock lock(mutex_);
  std::uint64_t seen = activity_.load(std::memory_order_relaxed);
  while (!stopping_) {
    helper_wake_.wait_for(lock, kHelperTick, [&] { return stopping_; });
    bool is_idle = seen == activity_.load(std::memory_order_relaxed);
    seen = activity_.load(std::memory_order_relaxed);
    while (is_idle && !stopping_ && try_lead()) {
      lock.unlock();
      wait_for_borrower();
      bool armed = false;
      std::optional<MonoTime> timer;
      {
        rt::Reactor::Binding binding(*reactor_);
        for (int quiet = 0; quiet < kHelperIdlePasses;) {
          quiet = reactor_->turn() ? 0 : quiet + 1;
        }
        armed = reactor_->prepare_to_sleep();
        timer = reactor_->next_timer();
      }
      lock.lock();
      helper_sleeps_ = followers_.empty();
      if (hand_over()) {
        break;
      }
      lock.unlock();
      bool can_be_woken = wake_helper_.is_ours();  // the program may have closed it
      pollfd fds[2] = {{reactor_->fd(), POLLIN, 0},
                       {can_be_woken ? wake_helper_.get() : -1, POLLIN, 0}};
      Nanos wait =
          timer ? std::max<Nanos>(*timer - mono_now(), Nanos::zero()) : std::chrono::hours(1);
      if (!armed) {  // something is pending, or a peer keeps UCX from arming: do not spin
        wait = std::min<Nanos>(wait, std::chrono::milliseconds(1));
      } else if (!can_be_woken) {
        wait = std::min<Nanos>(wait, kHelperTick);
      }
      timespec timeout{wait.count() / 1'000'000'000, wait.count() % 1'000'000'000};
      ppoll(fds, armed ? 2 : 0, &timeout, nullptr);
      lock.lock();
      helper_sleeps_ = false;
      if (eventfd_t woken = 0; wake_helper_.is_ours()) {
        ::eventfd_read(wake_helper_.get(), &woken);
      }
      is_idle = seen == activity_.load(std::memory_order_relaxed);
      seen = activity_.load(std::memory_order_relaxed);
    }
  }
}

}  // namespace benchfs::client
