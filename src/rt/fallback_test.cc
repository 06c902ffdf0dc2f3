// Tests the runtime where the kernel or a container lacks the system calls that it prefers.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <thread>

#include "base/testing/deny.h"
#include "rt/reactor.h"
#include "rt/scope.h"
#include "rt/uring.h"

namespace benchfs::rt {
namespace {

// Runs `body` in a thread that is denied the system call; false when that cannot be done here.
template <typename Body>
bool run_without(long number, int error, Body body) {
  bool denied = false;
  std::thread([&] {
    denied = benchfs::testing::deny(number, error);
    if (denied) {
      body();
    }
  }).join();
  return denied;
}

Task<void> nap() {
  WaitQueue nobody;
  (void)co_await nobody.wait(Deadline::after(std::chrono::milliseconds(50)));
}

void expect_sleeps() {
  auto reactor = Reactor::create({.spin = Nanos{0}, .yield = Nanos{0}}).value();
  reactor->block_on(nap());
  // One sleep, perhaps a few more; a reactor that cannot sleep counts tens of thousands.
  EXPECT_GE(reactor->stats().sleeps, 1U);
  EXPECT_LT(reactor->stats().sleeps, 100U);

  std::atomic<bool> is_woken{false};
  std::thread waker([&] {
    while (!is_woken) {
      reactor->wake();
      std::this_thread::yield();
    }
  });
  reactor->step();
  is_woken = true;
  waker.join();
}

TEST(Fallback, AReactorSleepsWithoutEpollPwait2) {
  for (int error : {ENOSYS, EPERM}) {
    if (!run_without(SYS_epoll_pwait2, error, expect_sleeps)) {
      GTEST_SKIP() << "seccomp filters are not permitted here";
    }
  }
}

Task<void> use_files(Uring* ring, int fd, std::array<int, 7>* out) {
  std::array<std::byte, 4096> bytes{};
  bytes.fill(std::byte{7});
  Uring::File file{.fd = fd};
  (*out)[0] = co_await ring->write(file, bytes, 4096);
  bytes.fill(std::byte{0});
  (*out)[1] = co_await ring->read(file, bytes, 4096);
  (*out)[2] = static_cast<int>(bytes[4095]);
  (*out)[3] = co_await ring->fsync(file, true);
  (*out)[4] = co_await ring->fallocate(file, 0, 0, 65536);
  (*out)[5] = co_await ring->read({.fd = -1}, bytes, 0);
  (*out)[6] = co_await ring->read({.fd = 3, .registered = true}, bytes, 4096);
}

void expect_files_work(Uring::Backend backend) {
  auto reactor = Reactor::create({.spin = Nanos{0}, .yield = Nanos{0}}).value();
  auto ring = Uring::create(*reactor, {.entries = 4, .backend = backend, .threads = 2});
  ASSERT_TRUE(ring) << ring.error().message();
  EXPECT_TRUE((*ring)->uses_threads());
  int fd = open("/tmp", O_TMPFILE | O_RDWR, 0600);
  ASSERT_GE(fd, 0);
  ASSERT_TRUE((*ring)->register_file_table(8));
  ASSERT_TRUE((*ring)->set_file(3, fd));
  std::array<int, 7> results{};
  reactor->block_on(use_files(ring->get(), fd, &results));
  EXPECT_EQ(results, (std::array<int, 7>{4096, 4096, 7, 0, 0, -EBADF, 4096}));
  close(fd);
}

TEST(Fallback, ThreadsTakeThePlaceOfIoUringWhereItIsForbidden) {
  for (int forbidden : {SYS_io_uring_setup, SYS_io_uring_enter}) {
    for (int error : {ENOSYS, EPERM}) {
      if (!run_without(forbidden, error, [] { expect_files_work(Uring::Backend::kAuto); })) {
        GTEST_SKIP() << "seccomp filters are not permitted here";
      }
    }
  }
}

TEST(Fallback, WithoutAFallbackTheErrorSaysWhatIsMissing) {
  bool denied = run_without(SYS_io_uring_setup, EPERM, [] {
    auto reactor = Reactor::create().value();
    auto ring = Uring::create(*reactor, {.backend = Uring::Backend::kUring});
    ASSERT_FALSE(ring);
    EXPECT_NE(ring.error().message().find("io_uring_disabled"), std::string::npos);
  });
  if (!denied) {
    GTEST_SKIP() << "seccomp filters are not permitted here";
  }
}

Task<void> read_once(Uring* ring, int fd, std::uint64_t* done) {
  std::array<std::byte, 512> bytes{};
  for (int i = 0; i < 20; ++i) {
    *done += co_await ring->read({.fd = fd}, bytes, 0) == 512 ? 1 : 0;
  }
}
Task<void> read_side_by_side(Scope* scope, Uring* ring, int fd, std::uint64_t* done) {
  for (int i = 0; i < 50; ++i) {
    scope->spawn(read_once(ring, fd, done));
  }
  co_await scope->join();
}

TEST(Fallback, MoreOperationsThanThreadsAndEntriesWaitTheirTurn) {
  auto reactor = Reactor::create({.spin = Nanos{0}, .yield = Nanos{0}}).value();
  auto ring =
      Uring::create(*reactor, {.entries = 4, .backend = Uring::Backend::kThreads, .threads = 3})
          .value();
  int fd = open("/tmp", O_TMPFILE | O_RDWR, 0600);
  ASSERT_EQ(ftruncate(fd, 4096), 0);
  Scope scope;
  std::uint64_t done = 0;
  reactor->block_on(read_side_by_side(&scope, ring.get(), fd, &done));
  EXPECT_EQ(done, 1000U);
  EXPECT_EQ(ring->in_flight(), 0U);
  close(fd);
}

}  // namespace
}  // namespace benchfs::rt
