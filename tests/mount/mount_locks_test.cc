// Locks of files through mounts: what one mount locks is locked for the programs of the others.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <functional>
#include <string>
#include <thread>

#include "base/fd.h"
#include "mount/mount_fixture.h"

namespace benchfs::test {
namespace {

struct flock range(short type, off_t begin = 0, off_t bytes = 0) {
  struct flock lock{};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = begin;
  lock.l_len = bytes;
  return lock;
}
int set(const Fd& file, int command, struct flock lock) {
  return error_of(::fcntl(file.get(), command, &lock));
}

class MountLocks : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    first_ = mount("first");
    second_ = mount("second");
    put(first_ / "f", "data");
  }
  static Fd open(const Mounted& at) { return Fd(::open((at / "f").c_str(), O_RDWR)); }
  // A process that locks the file, then does nothing until it is killed.
  pid_t locked_by_child(const std::function<bool(int)>& take) {
    std::array<int, 2> ready{};
    EXPECT_EQ(::pipe(ready.data()), 0);
    pid_t child = ::fork();
    if (child == 0) {
      int file = ::open((first_ / "f").c_str(), O_RDWR);
      char taken = take(file) ? '1' : '0';
      (void)!::write(ready[1], &taken, 1);
      for (;;) {
        ::pause();
      }
    }
    char taken = 0;
    EXPECT_EQ(::read(ready[0], &taken, 1), 1);
    EXPECT_EQ(taken, '1');
    ::close(ready[0]);
    ::close(ready[1]);
    return child;
  }
  static void kill_child(pid_t child) {
    ::kill(child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
  }

  Mounted first_;
  Mounted second_;
};

TEST_F(MountLocks, FlockHoldsAcrossMountsUntilTheLastDescriptorIsClosed) {
  Fd mine = open(first_);
  Fd other = open(second_);
  ASSERT_EQ(::flock(mine.get(), LOCK_SH), 0);
  EXPECT_EQ(::flock(other.get(), LOCK_SH | LOCK_NB), 0);
  EXPECT_EQ(error_of(::flock(mine.get(), LOCK_EX | LOCK_NB)), EWOULDBLOCK);
  ASSERT_EQ(::flock(other.get(), LOCK_UN), 0);
  ASSERT_EQ(::flock(mine.get(), LOCK_EX | LOCK_NB), 0);
  EXPECT_EQ(error_of(::flock(other.get(), LOCK_SH | LOCK_NB)), EWOULDBLOCK);
  Fd copy(::dup(mine.get()));
  mine.reset();
  EXPECT_EQ(error_of(::flock(other.get(), LOCK_SH | LOCK_NB)), EWOULDBLOCK);
  copy.reset();
  EXPECT_EQ(::flock(other.get(), LOCK_EX), 0);
}

// Within a mount the close of the holder comes before the next call.
TEST_F(MountLocks, AFlockThatWasClosedIsFreeForTheNextOneOfTheMount) {
  for (int i = 0; i < 50; ++i) {
    Fd one = open(first_);
    ASSERT_EQ(::flock(one.get(), LOCK_EX | LOCK_NB), 0) << i;
  }
}

TEST_F(MountLocks, RecordLocksHoldAcrossMounts) {
  Fd mine = open(first_);
  Fd other = open(second_);
  EXPECT_EQ(set(mine, F_SETLK, range(F_WRLCK, 10, 10)), 0);
  EXPECT_EQ(set(other, F_SETLK, range(F_RDLCK, 0, 11)), EAGAIN);
  EXPECT_EQ(set(other, F_SETLK, range(F_WRLCK, 0, 10)), 0);
  EXPECT_EQ(set(other, F_SETLK, range(F_WRLCK, 20)), 0);
  struct flock asked = range(F_RDLCK);
  ASSERT_EQ(::fcntl(other.get(), F_GETLK, &asked), 0);
  EXPECT_EQ(asked.l_type, F_WRLCK);
  EXPECT_EQ(asked.l_start, 10);
  EXPECT_EQ(asked.l_len, 10);
  EXPECT_EQ(set(mine, F_SETLK, range(F_RDLCK, 12, 4)), 0);  // a part becomes shared
  EXPECT_EQ(set(other, F_SETLK, range(F_RDLCK, 12, 4)), 0);
  EXPECT_EQ(set(other, F_SETLK, range(F_RDLCK, 11, 1)), EAGAIN);
  EXPECT_EQ(set(mine, F_SETLK, range(F_UNLCK)), 0);
  EXPECT_EQ(set(other, F_SETLK, range(F_WRLCK)), 0);
}

TEST_F(MountLocks, AProcessLosesItsRecordLocksWithAnyDescriptorOfTheFile) {
  Fd mine = open(first_);
  Fd again = open(first_);
  Fd other = open(second_);
  ASSERT_EQ(set(mine, F_SETLK, range(F_WRLCK)), 0);
  EXPECT_EQ(set(other, F_SETLK, range(F_WRLCK)), EAGAIN);
  again.reset();
  EXPECT_EQ(set(other, F_SETLK, range(F_WRLCK)), 0);
}

TEST_F(MountLocks, LocksOfOpenFilesLastAsLongAsTheOpenFile) {
  Fd mine = open(first_);
  Fd again = open(first_);
  Fd other = open(second_);
  ASSERT_EQ(set(mine, F_OFD_SETLK, range(F_WRLCK)), 0);
  EXPECT_EQ(set(again, F_OFD_SETLK, range(F_RDLCK)), EAGAIN);
  Fd third = open(first_);
  third.reset();
  EXPECT_EQ(set(other, F_OFD_SETLK, range(F_WRLCK)), EAGAIN);
  mine.reset();
  EXPECT_EQ(set(other, F_OFD_SETLKW, range(F_WRLCK)), 0);
}

TEST_F(MountLocks, WhoWaitsGetsTheLock) {
  Fd mine = open(first_);
  Fd other = open(second_);
  for (int round = 0; round < 3; ++round) {
    ASSERT_EQ(::flock(mine.get(), LOCK_EX), 0);
    ASSERT_EQ(set(mine, F_SETLKW, range(F_WRLCK)), 0);
    int flock_error = -1;
    int record_error = -1;
    std::thread flock_waits([&] { flock_error = error_of(::flock(other.get(), LOCK_EX)); });
    std::thread record_waits([&] { record_error = set(other, F_SETLKW, range(F_WRLCK)); });
    ASSERT_EQ(set(mine, F_SETLK, range(F_UNLCK)), 0);
    record_waits.join();
    ASSERT_EQ(::flock(mine.get(), LOCK_UN), 0);
    flock_waits.join();
    EXPECT_EQ(record_error, 0);
    EXPECT_EQ(flock_error, 0);
    ASSERT_EQ(::flock(other.get(), LOCK_UN), 0);
    ASSERT_EQ(set(other, F_SETLK, range(F_UNLCK)), 0);
  }
}

TEST_F(MountLocks, ASignalEndsAWait) {
  Fd mine = open(first_);
  ASSERT_EQ(::flock(mine.get(), LOCK_EX), 0);
  pid_t child = ::fork();
  if (child == 0) {
    struct sigaction action{};
    action.sa_handler = [](int) {};
    sigaction(SIGUSR1, &action, nullptr);
    int file = ::open((second_ / "f").c_str(), O_RDWR);
    _exit(error_of(::flock(file, LOCK_EX)) == EINTR ? 0 : 1);
  }
  int status = 0;
  while (::waitpid(child, &status, WNOHANG) == 0) {
    std::string call = read_file("/proc/" + std::to_string(child) + "/syscall");
    if (call.starts_with("73 ")) {  // flock
      ::kill(child, SIGUSR1);
    }
    ::usleep(20'000);  // lint: allow sleep a system call cannot be waited for
  }
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
  ASSERT_EQ(::flock(mine.get(), LOCK_UN), 0);
  Fd other = open(second_);
  EXPECT_EQ(::flock(other.get(), LOCK_EX | LOCK_NB), 0) << "nobody has it";
}

TEST_F(MountLocks, TheLocksOfAKilledProcessEnd) {
  Fd other = open(second_);
  pid_t child = locked_by_child([](int file) { return ::flock(file, LOCK_EX) == 0; });
  EXPECT_EQ(error_of(::flock(other.get(), LOCK_EX | LOCK_NB)), EWOULDBLOCK);
  kill_child(child);
  EXPECT_EQ(::flock(other.get(), LOCK_EX), 0);

  child = locked_by_child([](int file) {
    struct flock lock = range(F_WRLCK);
    return ::fcntl(file, F_SETLK, &lock) == 0;
  });
  EXPECT_EQ(set(other, F_SETLK, range(F_RDLCK)), EAGAIN);
  kill_child(child);
  EXPECT_EQ(set(other, F_SETLKW, range(F_WRLCK)), 0);
}

// Two mounts increment one number, each under the lock.
TEST_F(MountLocks, NoUpdateUnderALockIsLost) {
  put(first_ / "n", "0");
  auto increment = [](const Mounted& at) {
    for (int i = 0; i < 100; ++i) {
      Fd file(::open((at / "n").c_str(), O_RDWR));
      ASSERT_EQ(i % 2 == 0 ? set(file, F_SETLKW, range(F_WRLCK))
                           : set(file, F_OFD_SETLKW, range(F_WRLCK)),
                0);
      std::array<char, 16> text{};
      ASSERT_GT(::pread(file.get(), text.data(), text.size() - 1, 0), 0);
      std::string next = std::to_string(std::stoi(text.data()) + 1);
      ASSERT_EQ(::pwrite(file.get(), next.data(), next.size(), 0),
                static_cast<ssize_t>(next.size()));
    }
  };
  std::thread one(increment, first_);
  std::thread two(increment, second_);
  one.join();
  two.join();
  EXPECT_EQ(get(first_ / "n"), "200");
}

TEST_F(MountLocks, TheLocksOfOtherDoorsHold) {
  Fd mine = open(first_);
  auto client = connect();
  auto attr = client->run(client->fs().stat("/f"));
  ASSERT_TRUE(attr);
  client::LockOwner owner{.number = 1};
  client::FileLocks::Wanted exclusive{.mode = wire::LockMode::kExclusive, .begin = 5, .end = 6};
  auto lock = [&] {
    auto reply = client->run(client->fs().locks().lock(attr->id(), owner, exclusive, false));
    return reply && reply->mode == 0;
  };
  ASSERT_TRUE(lock());
  EXPECT_EQ(set(mine, F_SETLK, range(F_RDLCK)), EAGAIN);
  EXPECT_EQ(set(mine, F_SETLK, range(F_RDLCK, 6)), 0);
  client.reset();
  EXPECT_EQ(set(mine, F_SETLKW, range(F_WRLCK)), 0);
  client = connect();
  EXPECT_FALSE(lock());
}

// The mount's death is proven through the node door; the grace of the test's cluster is longer.
TEST_F(MountLocks, TheLocksOfAKilledMountEnd) {
  Fd mine = open(first_);
  ASSERT_EQ(::flock(mine.get(), LOCK_EX), 0);
  Fd other = open(second_);
  EXPECT_EQ(error_of(::flock(other.get(), LOCK_EX | LOCK_NB)), EWOULDBLOCK);
  ASSERT_EQ(::kill(first_.process, SIGKILL), 0);
  EXPECT_EQ(::flock(other.get(), LOCK_EX), 0);
}

TEST_F(MountLocks, TheLocksOfAMountThatEndsAreFree) {
  Fd mine = open(first_);
  ASSERT_EQ(::flock(mine.get(), LOCK_EX), 0);
  Fd other = open(second_);
  EXPECT_EQ(error_of(::flock(other.get(), LOCK_EX | LOCK_NB)), EWOULDBLOCK);
  ASSERT_EQ(::kill(first_.process, SIGTERM), 0);  // takes three seconds: the mount is in use
  EXPECT_TRUE(wait_for_end(first_.process, patience()));
  EXPECT_EQ(::flock(other.get(), LOCK_EX), 0);
}

}  // namespace
}  // namespace benchfs::test
