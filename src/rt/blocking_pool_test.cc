#include "rt/blocking_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <memory>
#include <mutex>
#include <thread>

#include "rt/scope.h"

namespace benchfs::rt {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// Blocks every waiter until it is opened. Shared with functions that may outlive the test's frame.
class Gate {
 public:
  void wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return open_; });
  }
  void open() {
    std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false;
};

class BlockingPoolTest : public ::testing::Test {
 protected:
  void TearDown() override { gate->open(); }
  std::function<Result<int>()> blocked(int value) {
    return [gate = gate, value]() -> Result<int> {
      gate->wait();
      return value;
    };
  }
  std::unique_ptr<Reactor> reactor = Reactor::create().value();
  std::shared_ptr<Gate> gate = std::make_shared<Gate>();
};

TEST_F(BlockingPoolTest, GivesTheResultOrTheErrorOfTheFunction) {
  BlockingPool pool(*reactor);
  Deadline deadline = Deadline::after(seconds(10));
  EXPECT_EQ(reactor->block_on(pool.run<int>([] { return Result<int>(7); }, deadline)), 7);
  Result<int> failed = reactor->block_on(
      pool.run<int>([]() -> Result<int> { return fail_errno(ENOENT, "list"); }, deadline));
  ASSERT_FALSE(failed);
  EXPECT_TRUE(failed.error().is_posix(ENOENT));
}

TEST_F(BlockingPoolTest, RunsFunctionsElsewhereWithAllSignalsBlocked) {
  BlockingPool pool(*reactor);
  std::thread::id here = std::this_thread::get_id();
  auto look = [here]() -> Result<bool> {
    sigset_t blocked;
    pthread_sigmask(SIG_SETMASK, nullptr, &blocked);
    return std::this_thread::get_id() != here && sigismember(&blocked, SIGUSR1) == 1 &&
           sigismember(&blocked, SIGTERM) == 1;
  };
  EXPECT_EQ(reactor->block_on(pool.run<bool>(look, Deadline::after(seconds(10)))), true);
}

TEST_F(BlockingPoolTest, AFunctionThatHangsStopsNeitherItsWaiterNorTheReactor) {
  BlockingPool pool(*reactor);
  Result<int> late = reactor->block_on(pool.run<int>(blocked(1), Deadline::after(milliseconds(5))));
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, Errc::kDeadline);
  CancelSource cancel;
  cancel.cancel();
  Result<int> cancelled = reactor->block_on(pool.run<int>(blocked(2), Deadline::never(), &cancel));
  ASSERT_FALSE(cancelled);
  EXPECT_EQ(cancelled.error().code, Errc::kCancelled);
}

TEST_F(BlockingPoolTest, ManyMayWaitForOneJob) {
  BlockingPool pool(*reactor);
  auto job = pool.submit<int>(blocked(3)).value();
  rt::Reactor::Binding binding(*reactor);
  Scope scope;
  int heard = 0;
  auto listen = [](std::shared_ptr<BlockingJob<int>> job, int* heard) -> Task<void> {
    EXPECT_TRUE(co_await job->wait(Deadline::after(seconds(10))));
    *heard += *job->result();
  };
  for (int i = 0; i < 3; ++i) {
    scope.spawn(listen(job, &heard));
  }
  reactor->turn();
  EXPECT_EQ(heard, 0);
  gate->open();
  reactor->block_on(scope.join());
  EXPECT_EQ(heard, 9);
}

TEST_F(BlockingPoolTest, RefusesWorkBehindAFunctionThatDoesNotEnd) {
  BlockingPool pool(*reactor);
  std::size_t accepted = 0;
  while (pool.submit<int>(blocked(0))) {
    ASSERT_LE(++accepted, BlockingPool::kMaxQueued + 1);
  }
  EXPECT_GE(accepted, BlockingPool::kMaxQueued);
  auto refused = pool.submit<int>(blocked(0));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::kBusy);
}

// Pool and reactor are gone when the function ends.
TEST_F(BlockingPoolTest, MayDieBeforeItsFunctions) {
  auto begun = std::make_shared<Gate>();
  auto ended = std::make_shared<Gate>();
  auto pool = std::make_unique<BlockingPool>(*reactor);
  auto last = [gate = gate, begun, ended]() -> Result<int> {
    begun->open();
    gate->wait();
    ended->open();
    return 1;
  };
  ASSERT_TRUE(pool->submit<int>(last));
  ASSERT_TRUE(pool->submit<int>([]() -> Result<int> {
    ADD_FAILURE() << "not begun, so not wanted any more";
    return 2;
  }));
  begun->wait();
  pool.reset();
  reactor.reset();
  gate->open();
  ended->wait();
}

}  // namespace
}  // namespace benchfs::rt
