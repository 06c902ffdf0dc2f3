#include "client/driver.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <new>
#include <optional>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "rt/sync.h"

namespace benchfs::client {
namespace {

using std::chrono::milliseconds;

rt::CoResult<int> give(int value, int yields) {
  for (int i = 0; i < yields; ++i) {
    co_await rt::Yield{};
  }
  co_return value;
}

rt::CoResult<int> sleep_and_give(int value, Nanos time) {
  (void)co_await rt::sleep_for(time);  // lint: allow sleep a long call
  co_return value;
}

rt::CoResult<int> wait_for(const std::atomic<bool>& flag) {
  while (!flag) {
    (void)co_await rt::sleep_for(milliseconds(1));  // lint: allow sleep polls the test's flag
  }
  co_return 1;
}

// Ready at once; says where it was made and ended.
struct Ready {
  explicit Ready(std::vector<std::thread::id>& where) : seen(where) { note(); }
  Ready(const Ready&) = delete;
  Ready& operator=(const Ready&) = delete;
  ~Ready() { note(); }
  void note() { seen.push_back(std::this_thread::get_id()); }

  [[nodiscard]] bool await_ready() const { return true; }
  [[nodiscard]] std::coroutine_handle<> await_suspend(std::coroutine_handle<> caller) const {
    return caller;
  }
  Result<int> await_resume() {
    note();
    return rt::Reactor::current() != nullptr ? 1 : 0;
  }
  std::vector<std::thread::id>& seen;
};

class DriverTest : public ::testing::Test {
 protected:
  Driver driver_{*rt::Reactor::create()};
};

TEST_F(DriverTest, WhatIsReadyIsMadeUsedAndEndedWhileTheThreadDrives) {
  std::vector<std::thread::id> seen;
  EXPECT_EQ(driver_.call([&] { return Ready(seen); }), 1);
  EXPECT_EQ(seen, std::vector(3, std::this_thread::get_id()));
}

TEST_F(DriverTest, ACallAfterAnotherOneBeginsInPlace) {
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(driver_.run(give(i, i % 3)), i);
  }
}

// What a thread that does not drive hands over lives where it is done.
TEST_F(DriverTest, WhatWasHandedOverIsMadeAndEndedByWhoDrives) {
  std::atomic<bool> drives{false};
  std::atomic<bool> may_end{false};
  std::thread leader([&] {
    EXPECT_EQ(driver_.call([&] {
      drives = true;
      return wait_for(may_end);
    }),
              1);
  });
  while (!drives) {
    std::this_thread::yield();
  }
  std::vector<std::thread::id> seen;
  EXPECT_EQ(driver_.call([&] { return Ready(seen); }), 1);
  EXPECT_EQ(seen, std::vector(3, leader.get_id()));
  may_end = true;
  leader.join();
}

// It sleeps by then.
TEST_F(DriverTest, AFollowerBecomesTheLeaderWhenTheLeaderLeavesFirst) {
  std::atomic<bool> drives{false};
  std::thread leader([&] {
    EXPECT_EQ(driver_.call([&] {
      drives = true;
      return sleep_and_give(1, milliseconds(100));
    }),
              1);
  });
  while (!drives) {
    std::this_thread::yield();
  }
  std::thread second([&] { EXPECT_EQ(driver_.run(sleep_and_give(2, milliseconds(300))), 2); });
  EXPECT_EQ(driver_.run(sleep_and_give(3, milliseconds(200))), 3);
  leader.join();
  second.join();
}

TEST_F(DriverTest, WorkThatWaitsForNothingIsDoneUnlessSomebodyDrives) {
  int done = 0;
  driver_.run_now([&] { ++done; });
  EXPECT_EQ(driver_.call([&] {
    driver_.run_now([&] { done += 100; });
    return give(7, 1);
  }),
            7);
  EXPECT_THROW(driver_.run_now([] { throw std::bad_alloc(); }), std::bad_alloc);
  driver_.run_now([&] { ++done; });
  EXPECT_EQ(done, 2);
  EXPECT_EQ(driver_.run(give(8, 0)), 8);
}

// In the pauses of who drives: between its passes, and while it sleeps.
TEST_F(DriverTest, WorkThatWaitsForNothingIsDoneWhileAnotherThreadWaits) {
  for (bool is_busy : {false, true}) {
    std::atomic<bool> drives{false};
    std::atomic<bool> may_end{false};
    int shared = 0;  // by one thread at a time
    int passes = 0;
    auto wait = [&]() -> rt::CoResult<int> {
      drives = true;
      while (!may_end) {
        ++shared;
        ++passes;
        if (is_busy) {
          co_await rt::Yield{};
        } else {
          (void)co_await rt::sleep_for(milliseconds(1));  // lint: allow sleep it shall be idle
        }
      }
      co_return 1;
    };
    std::thread leader([&] { EXPECT_EQ(driver_.run(wait()), 1); });
    while (!drives) {
      std::this_thread::yield();
    }
    int done = 0;
    Deadline by = Deadline::after(std::chrono::minutes(1));
    while (done < 1000 && !by.passed()) {
      driver_.run_now([&] {
        ++shared;
        ++done;
      });
    }
    EXPECT_EQ(done, 1000) << (is_busy ? "between passes" : "asleep");
    may_end = true;
    leader.join();
    EXPECT_EQ(shared, passes + done);
  }
}

TEST_F(DriverTest, WhoDrivesWaitsForWhoBorrows) {
  std::atomic<bool> borrows{false};
  std::atomic<bool> drives{false};
  std::thread borrower([&] {
    driver_.run_now([&] {
      borrows = true;
      std::this_thread::sleep_for(milliseconds(50));  // lint: allow sleep a caller comes
      EXPECT_FALSE(drives);
      borrows = false;
    });
  });
  while (!borrows) {
    std::this_thread::yield();
  }
  EXPECT_EQ(driver_.call([&] {
    drives = true;
    EXPECT_FALSE(borrows);
    return give(1, 0);
  }),
            1);
  borrower.join();
}

TEST_F(DriverTest, ManyThreadsGetWhatTheyAskedFor) {
  constexpr int kThreads = 4;
  constexpr int kCalls = 2000;
  ASSERT_TRUE(driver_.allow_helper());
  ASSERT_TRUE(driver_.start_helper());
  int worked = 0;  // by one thread at a time, whether it drives or borrows
  int borrowed = 0;
  auto work = [&worked](int value, int yields) -> rt::CoResult<int> {
    ++worked;
    for (int i = 0; i < yields; ++i) {
      co_await rt::Yield{};
      ++worked;
    }
    co_return value;
  };
  std::atomic<int> passes{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kCalls; ++i) {
        int value = t * kCalls + i;
        bool pauses = i % 500 == 499;  // now and then long enough for the helper and for sleep
        Result<int> got =
            driver_.run(pauses ? sleep_and_give(value, milliseconds(1 + t)) : work(value, i % 4));
        ASSERT_EQ(got, value);
        passes += pauses ? 0 : 1 + i % 4;
        driver_.run_now([&] {
          ++worked;
          ++borrowed;
        });
        if (i % 700 == 699) {
          std::this_thread::sleep_for(milliseconds(25));  // lint: allow sleep the helper drives
        }
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  driver_.stop_helper();
  EXPECT_GT(borrowed, 0);
  EXPECT_EQ(worked, passes + borrowed);
}

}  // namespace
}  // namespace benchfs::client
