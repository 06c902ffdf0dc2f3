#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>
#include <thread>

#include "rt/frame_pool.h"
#include "rt/maybe_task.h"
#include "rt/reactor.h"
#include "rt/rseq.h"
#include "rt/scope.h"
#include "rt/sync.h"
#include "rt/task.h"
#include "rt/uring.h"

namespace {
std::atomic<std::uint64_t> allocation_count{0};
}

#if !__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer)
// Counts every allocation of the program, so that "no allocation" is a fact and not a belief.
void* operator new(std::size_t size) {
  allocation_count.fetch_add(1, std::memory_order_relaxed);
  if (void* memory = std::malloc(size)) {
    return memory;
  }
  std::abort();
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}
#endif

namespace benchfs::rt {
namespace {

using std::chrono::milliseconds;

std::unique_ptr<Reactor> make_reactor() {
  return Reactor::create().value();
}

Task<int> value(int v) {
  co_return v;
}

Task<std::uint64_t> await_many(std::uint64_t count) {
  std::uint64_t sum = 0;
  for (std::uint64_t i = 0; i < count; ++i) {
    sum += static_cast<std::uint64_t>(co_await value(1));
  }
  co_return sum;
}

Task<std::uint64_t> recurse(std::uint64_t depth, char* top, std::ptrdiff_t* deepest) {
  // The address of a local would be in the coroutine's frame, on the heap.
  *deepest = std::max(*deepest, std::abs(top - static_cast<char*>(__builtin_frame_address(0))));
  if (depth == 0) {
    co_return 0;
  }
  co_return 1 + co_await recurse(depth - 1, top, deepest);
}

MaybeTask<int> known_or_later(int v, bool is_known) {
  if (is_known) {
    return v;
  }
  return value(v);
}

Task<int> add_both(int known, int later) {
  int sum = co_await known_or_later(known, true);
  co_return sum + co_await known_or_later(later, false);
}

TEST(MaybeTask, GivesAKnownValueAndThatOfATask) {
  auto reactor = make_reactor();
  EXPECT_EQ(reactor->block_on(add_both(3, 4)), 7);
}

TEST(MaybeTask, AKnownValueNeedsNoFrame) {
  EXPECT_TRUE(known_or_later(3, true).await_ready());
  EXPECT_FALSE(known_or_later(3, false).await_ready());
}

TEST(Task, StackStaysFlatOverMillionsOfAwaits) {
  auto reactor = make_reactor();
  EXPECT_EQ(reactor->block_on(await_many(3'000'000)), 3'000'000U);
}

TEST(Task, StackStaysFlatThroughADeepChain) {
  auto reactor = make_reactor();
  char top = 0;
  std::ptrdiff_t deepest = 0;
  EXPECT_EQ(reactor->block_on(recurse(100'000, &top, &deepest)), 100'000U);
#if !defined(__has_feature) || \
    !(__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
  EXPECT_LT(deepest, 64 << 10);
#endif
}

Task<void> yield_many(int count) {
  for (int i = 0; i < count; ++i) {
    co_await Yield{};
  }
}

TEST(Reactor, SteadyStateAwaitsAllocateNothing) {
#if defined(__has_feature) && (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
  GTEST_SKIP() << "the frame pool is off under sanitizers";
#endif
  auto reactor = make_reactor();
  reactor->block_on(await_many(10));
  reactor->block_on(yield_many(10));
  std::uint64_t before = allocation_count.load();
  reactor->block_on(await_many(100'000));
  reactor->block_on(yield_many(100'000));
  EXPECT_EQ(allocation_count.load() - before, 0U);
}

TEST(FramePool, CountsTheFramesThatHaveNotEnded) {
  auto reactor = make_reactor();
  reactor->block_on(yield_many(10));  // some frames are pooled
  std::int64_t before = frame_pool_stats().live;
  {
    std::vector<Task<void>> tasks;
    for (int i = 0; i < 5'000; ++i) {  // more than are kept
      tasks.push_back(yield_many(1));
    }
    EXPECT_EQ(frame_pool_stats().live, before + 5'000);
  }
  EXPECT_EQ(frame_pool_stats().live, before);
  reactor->block_on(yield_many(10));
  EXPECT_EQ(frame_pool_stats().live, before);
}

TEST(FramePool, CountsFramesThatEndOnAnotherThreadOnceInAll) {
  std::int64_t before = frame_pool_stats().live;
  std::optional<Task<void>> task(yield_many(1));
  EXPECT_EQ(frame_pool_stats().live, before + 1);
  std::int64_t there = 0;
  std::thread([&] {
    task.reset();
    there = frame_pool_stats().live;
  }).join();
  EXPECT_EQ(frame_pool_stats().live + there, before);
}

Task<void> append_after(std::vector<int>* out, int v, Nanos delay) {
  (void)co_await sleep_for(delay);  // lint: allow sleep the timer is what is tested
  out->push_back(v);
}

Task<void> run_three(Scope* scope, std::vector<int>* out) {
  scope->spawn(append_after(out, 3, milliseconds(15)));
  scope->spawn(append_after(out, 1, milliseconds(1)));
  scope->spawn(append_after(out, 2, milliseconds(8)));
  co_await scope->join();
}

TEST(Timer, TasksWakeInTheOrderOfTheirDeadlines) {
  auto reactor = make_reactor();
  Scope scope;
  std::vector<int> out;
  reactor->block_on(run_three(&scope, &out));
  EXPECT_EQ(out, (std::vector<int>{1, 2, 3}));
}

struct CountingTimer : Timer {
  std::vector<int>* out = nullptr;
  int id = 0;
  void on_timer() override { out->push_back(id); }
};

TEST(Timer, DisarmedTimersDoNotFireAndOrderHolds) {
  TimerQueue queue;
  std::vector<int> out;
  std::vector<CountingTimer> timers(100);
  MonoTime start = mono_now();
  for (int i = 0; i < 100; ++i) {
    timers[static_cast<std::size_t>(i)].out = &out;
    timers[static_cast<std::size_t>(i)].id = i;
    queue.arm(timers[static_cast<std::size_t>(i)], start + milliseconds((i * 37) % 100));
  }
  for (std::size_t i = 0; i < 100; i += 2) {
    timers[i].disarm();
  }
  queue.fire(start + milliseconds(200));
  ASSERT_EQ(out.size(), 50U);
  for (std::size_t i = 1; i < out.size(); ++i) {
    EXPECT_LT((out[i - 1] * 37) % 100, (out[i] * 37) % 100);
  }
  EXPECT_TRUE(queue.empty());
}

Task<Wake> wait_event(Event* event, Deadline deadline, CancelSource* cancel) {
  co_return co_await event->wait(deadline, cancel);
}

TEST(Event, WaitEndsAtItsDeadline) {
  auto reactor = make_reactor();
  Event event;
  EXPECT_EQ(reactor->block_on(wait_event(&event, Deadline::after(milliseconds(2)), nullptr)),
            Wake::kDeadline);
}

Task<void> cancel_later(CancelSource* cancel) {
  co_await Yield{};
  cancel->cancel();
}

Task<Wake> wait_and_cancel(Scope* scope, Event* event, CancelSource* cancel) {
  scope->spawn(cancel_later(cancel));
  Wake wake = co_await event->wait(Deadline::never(), cancel);
  co_await scope->join();
  co_return wake;
}

TEST(Event, WaitEndsWhenCancelledAndLaterWaitsEndAtOnce) {
  auto reactor = make_reactor();
  Scope scope;
  Event event;
  CancelSource cancel;
  EXPECT_EQ(reactor->block_on(wait_and_cancel(&scope, &event, &cancel)), Wake::kCancelled);
  EXPECT_EQ(reactor->block_on(wait_event(&event, Deadline::never(), &cancel)), Wake::kCancelled);
}

struct FlagMail : Mail {
  std::atomic<bool>* delivered = nullptr;
  bool* done = nullptr;
  void on_mail() override {
    delivered->store(true);
    *done = true;
  }
};

TEST(Mailbox, PostWakesASleepingReactor) {
  auto reactor = Reactor::create({.spin = Nanos(0), .yield = Nanos(0)}).value();
  std::atomic<bool> delivered{false};
  bool done = false;
  FlagMail mail;
  mail.delivered = &delivered;
  mail.done = &done;
  std::thread poster([&] {
    while (!reactor->is_sleeping()) {
      std::this_thread::yield();
    }
    reactor->post(mail);
  });
  EXPECT_TRUE(reactor->run_until(done, Deadline::after(std::chrono::seconds(20))));
  poster.join();
  EXPECT_TRUE(delivered.load());
}

struct CountMail : Mail {
  std::uint64_t* count = nullptr;
  void on_mail() override { ++*count; }
};

TEST(Mailbox, ManyThreadsPostAndNothingIsLost) {
  auto reactor = make_reactor();
  constexpr std::size_t kThreads = 4;
  constexpr std::size_t kEach = 2000;
  std::uint64_t count = 0;
  std::vector<CountMail> mail(kThreads * kEach);
  for (CountMail& m : mail) {
    m.count = &count;
  }
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (std::size_t i = 0; i < kEach; ++i) {
        reactor->post(mail[t * kEach + i]);
      }
    });
  }
  Deadline deadline = Deadline::after(std::chrono::seconds(60));
  while (count < kThreads * kEach && !deadline.passed()) {
    reactor->turn();
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(count, kThreads * kEach);
}

TEST(Reactor, AnIdleReactorUsesUnderOnePercentOfACore) {
  auto reactor = make_reactor();
  rusage before{};
  getrusage(RUSAGE_THREAD, &before);
  bool never = false;
  reactor->run_until(never, Deadline::after(milliseconds(1000)));
  rusage after{};
  getrusage(RUSAGE_THREAD, &after);
  auto micros = [](const rusage& u) {
    return (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1'000'000L + u.ru_utime.tv_usec +
           u.ru_stime.tv_usec;
  };
  EXPECT_LT(micros(after) - micros(before), 10'000);
}

class UringTest : public ::testing::Test {
 protected:
  void SetUp() override {
    reactor_ = make_reactor();
    auto ring = Uring::create(*reactor_, {.entries = 8});
    ASSERT_TRUE(ring) << ring.error().message();
    ring_ = std::move(*ring);
    char name[] = "/tmp/benchfs-uring-XXXXXX";
    fd_ = mkstemp(name);
    ASSERT_GE(fd_, 0);
    unlink(name);
  }
  void TearDown() override {
    ring_.reset();
    close(fd_);
  }
  std::unique_ptr<Reactor> reactor_;
  std::unique_ptr<Uring> ring_;
  int fd_ = -1;
};

Task<int> write_then_read(Uring* ring, Uring::File file, std::span<std::byte> buffer, int index) {
  int written = co_await ring->write(file, buffer, 4096, index);
  std::fill(buffer.begin(), buffer.end(), std::byte{0});
  int got = co_await ring->read(file, buffer, 4096, index);
  co_return written == got ? got : -1;
}

TEST_F(UringTest, ReadsBackWhatItWroteThroughRegisteredFilesAndBuffers) {
  std::vector<std::byte> buffer(8192, std::byte{0x5a});
  iovec vec{buffer.data(), buffer.size()};
  ASSERT_TRUE(ring_->register_buffers({&vec, 1}));
  ASSERT_TRUE(ring_->register_file_table(4));
  ASSERT_TRUE(ring_->set_file(2, fd_));
  EXPECT_EQ(
      reactor_->block_on(write_then_read(ring_.get(), {.fd = 2, .registered = true}, buffer, 0)),
      8192);
  EXPECT_EQ(buffer[8191], std::byte{0x5a});
}

Task<void> nop_once(Uring* ring, int* done) {
  EXPECT_EQ(co_await ring->nop(), 0);
  ++*done;
}

Task<void> many_nops(Scope* scope, Uring* ring, int count, int* done) {
  for (int i = 0; i < count; ++i) {
    scope->spawn(nop_once(ring, done));
  }
  co_await scope->join();
}

TEST_F(UringTest, MoreOperationsThanEntriesWaitTheirTurn) {
  Scope scope;
  int done = 0;
  reactor_->block_on(many_nops(&scope, ring_.get(), 1000, &done));
  EXPECT_EQ(done, 1000);
  EXPECT_EQ(ring_->in_flight(), 0U);
}

Task<int> allocate_and_sync(Uring* ring, int fd, int rounds) {
  for (int i = 0; i < rounds; ++i) {
    int code =
        co_await ring->fallocate({.fd = fd}, 0, static_cast<std::uint64_t>(i) << 20, 1 << 20);
    if (code == 0) {
      code = co_await ring->fsync({.fd = fd}, true);
    }
    if (code != 0) {
      co_return code;
    }
  }
  co_return 0;
}

TEST(UringSleep, ASleepingReactorIsWokenByCompletionsFromKernelWorkers) {
  auto reactor = Reactor::create({.spin = Nanos(0), .yield = Nanos(0)}).value();
  auto ring = Uring::create(*reactor, {.entries = 8}).value();
  char name[] = "/dev/shm/benchfs-uring-XXXXXX";
  int fd = mkstemp(name);
  ASSERT_GE(fd, 0);
  unlink(name);
  // A lost wake-up would sleep for ever here; ctest ends it.
  EXPECT_EQ(reactor->block_on(allocate_and_sync(ring.get(), fd, 32)), 0);
  EXPECT_GT(reactor->stats().sleeps, 0U);
  ring.reset();
  close(fd);
}

Task<int> read_bad_fd(Uring* ring, std::span<std::byte> buffer) {
  co_return co_await ring->read({.fd = -1}, buffer, 0);
}

TEST_F(UringTest, ErrorsComeBackAsNegativeErrno) {
  std::vector<std::byte> buffer(16);
  EXPECT_EQ(reactor_->block_on(read_bad_fd(ring_.get(), buffer)), -EBADF);
}

#if __has_include(<sys/rseq.h>)
TEST(LeaveRseq, TheKernelForgetsTheThread) {
  // One registration a thread: another one is refused as long as the first is there.
  alignas(32) static thread_local std::array<std::byte, 32> area{};
  constexpr unsigned kSignature = 0x53053053;
  auto call = [](int flags) {
    return syscall(SYS_rseq, area.data(), area.size(), flags, kSignature);
  };
  std::thread([&] {
    if (call(0) == 0) {
      call(1);
      GTEST_SKIP() << "glibc has not registered this thread";
    }
    leave_rseq();
    EXPECT_EQ(call(0), 0);
    EXPECT_EQ(call(1), 0);
    EXPECT_GE(sched_getcpu(), 0);
    leave_rseq();  // again: harmless
  }).join();
}
#endif

}  // namespace
}  // namespace benchfs::rt
