#include "rt/idle.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <atomic>
#include <thread>

namespace benchfs::rt {
namespace {

constexpr auto kPatience = std::chrono::seconds(30);

// Another thread that wants the core of this one all the time.
class Rival {
 public:
  Rival() {
    sched_getaffinity(0, sizeof before_, &before_);
    cpu_set_t here;
    CPU_ZERO(&here);
    CPU_SET(sched_getcpu(), &here);
    sched_setaffinity(0, sizeof here, &here);  // the thread inherits it
    thread_ = std::thread([this] {
      while (!stop_.load(std::memory_order_relaxed)) {
        sched_yield();
      }
    });
  }
  Rival(const Rival&) = delete;
  Rival& operator=(const Rival&) = delete;
  ~Rival() {
    stop_ = true;
    thread_.join();
    sched_setaffinity(0, sizeof before_, &before_);
  }

 private:
  cpu_set_t before_{};
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

void idle_to_the_end(IdleStrategy& idle) {
  while (!idle.on_idle()) {
  }
  idle.on_work();
}

TEST(IdleStrategy, OnAContendedCoreItYieldsAsLongAsThatPays) {
  IdleConfig config;
  IdleStrategy idle(config);
  Deadline deadline = Deadline::after(kPatience);
  EXPECT_EQ(idle.patience(), config.yield);
  {
    Rival rival;
    while (idle.patience() > config.yield / 8 && !deadline.passed()) {
      idle_to_the_end(idle);
    }
    EXPECT_LE(idle.patience(), config.yield / 8) << "waiting in vain must become shorter";
  }
  Rival rival;
  while (idle.patience() < config.yield && !deadline.passed()) {
    while (idle.is_spinning() && !idle.on_idle()) {
    }
    idle.on_work();
    idle.on_idle();  // the next phase looks at how the last one ended
  }
  EXPECT_EQ(idle.patience(), config.yield) << "waiting with success must become longer again";
}

TEST(IdleStrategy, AfterManyVainPhasesItTriesALongerOneAgain) {
  IdleConfig config;
  IdleStrategy idle(config);
  Deadline deadline = Deadline::after(kPatience);
  Rival rival;
  while (idle.patience() > config.yield / 8 && !deadline.passed()) {
    idle_to_the_end(idle);
  }
  while (idle.patience() < config.yield / 4 && !deadline.passed()) {
    idle_to_the_end(idle);
  }
  EXPECT_EQ(idle.patience(), config.yield / 4);
}

// Passes of a phase, at most `most`, before it yields.
std::uint32_t looks_of_phase(IdleStrategy& idle, bool is_under_way, std::uint32_t most) {
  std::uint32_t looks = 0;
  while (looks < most) {
    idle.on_idle(is_under_way);
    if (!idle.is_spinning()) {
      break;
    }
    ++looks;
  }
  return looks;
}

IdleStrategy contended() {
  return IdleStrategy(
      {.spin = std::chrono::hours(1), .yield = kPatience, .begins_contended = true});
}

TEST(IdleStrategy, OnAContendedCoreItLooksAsLongAsThereIsProgress) {
  IdleStrategy idle = contended();
  std::uint32_t most = idle.looks();
  EXPECT_EQ(looks_of_phase(idle, true, 10 * most), 10 * most);
  EXPECT_EQ(looks_of_phase(idle, false, 10'000), most - 1) << "and gives its core away without";
}

// Who makes progress may wait itself, for somebody who needs this core.
TEST(IdleStrategy, OnAContendedCoreProgressWithoutAnEndIsLookedAtForLessTimeEachTime) {
  IdleStrategy idle = contended();
  std::uint32_t before = looks_of_phase(idle, true, 100'000);
  EXPECT_LT(before, 100'000);
  idle.on_work();
  EXPECT_LT(looks_of_phase(idle, true, 100'000), before);
}

TEST(IdleStrategy, NoLongerThanItWouldSpin) {
  IdleStrategy idle(
      {.spin = std::chrono::nanoseconds(1), .yield = kPatience, .begins_contended = true});
  EXPECT_LT(looks_of_phase(idle, true, 10'000), 10'000);
}

TEST(IdleStrategy, OnAContendedCoreLookingMustPay) {
  IdleStrategy idle = contended();
  std::uint32_t most = idle.looks();
  for (int phase = 0; phase < 10; ++phase) {
    looks_of_phase(idle, false, 10'000);
    idle.on_work();
  }
  std::uint32_t least = idle.looks();
  EXPECT_LT(least, most / 8) << "who works on it shares this core";
  looks_of_phase(idle, true, 5);
  idle.on_work();
  idle.on_idle(true);  // the next phase looks at how the last one ended
  EXPECT_EQ(idle.looks(), 2 * least);
}

TEST(IdleStrategy, AfterManyVainLooksItTriesAllOfThemAgain) {
  IdleStrategy idle = contended();
  std::uint32_t most = idle.looks();
  std::uint32_t phases = 0;
  do {
    looks_of_phase(idle, false, 10'000);
    idle.on_work();
  } while (++phases < 1000 && idle.looks() < most);
  EXPECT_EQ(idle.looks(), most);
}

}  // namespace
}  // namespace benchfs::rt
