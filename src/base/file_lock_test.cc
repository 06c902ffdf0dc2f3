#include "base/file_lock.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>
#include <utility>

#include "base/pid_file.h"
#include "base/process_record.h"
#include "base/testing/deny.h"

namespace {

// What another process does meanwhile; each runs once.
std::function<void()> before_flock;
std::function<void()> before_rename;

void run_once(std::function<void()>& hook) {
  if (hook) {
    std::exchange(hook, nullptr)();
  }
}

}  // namespace

// In place of those of the C library.
extern "C" int flock(int fd, int operation) {
  run_once(before_flock);
  return static_cast<int>(syscall(SYS_flock, fd, operation));
}

extern "C" int renameat(int old_dir, const char* old_name, int new_dir, const char* new_name) {
  run_once(before_rename);
  return static_cast<int>(syscall(SYS_renameat2, old_dir, old_name, new_dir, new_name, 0));
}

namespace benchfs {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::seconds;

// As on Lustre without -o flock.
bool lose_flock() {
  return testing::deny(SYS_flock, ENOSYS);
}

class FileLockTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string form = (fs::temp_directory_path() / "benchfs-lock-XXXXXX").string();
    ASSERT_NE(mkdtemp(form.data()), nullptr);
    path_ = form;
  }
  void TearDown() override { fs::remove_all(path_); }
  [[nodiscard]] SafeDir dir() const { return SafeDir::open(path_).value(); }
  [[nodiscard]] Result<FileLock> take(const std::string& name = "file") const {
    return FileLock::try_acquire(dir(), name, 0644);
  }

  // Runs `body` in a child without flock(); its exit code is 0 when the body returns true.
  template <typename Body>
  [[nodiscard]] bool without_flock(Body body) const {
    pid_t child = fork();
    if (child == 0) {
      _exit(lose_flock() && body() ? 0 : 1);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
  }
  // Takes the lock in such a child, which ends without releasing it.
  [[nodiscard]] bool end_without_releasing() const {
    return without_flock([&] {
      auto lock = take();
      if (lock) {
        _exit(0);
      }
      return false;
    });
  }

  std::string path_;
};

TEST_F(FileLockTest, OneHolderAtATime) {
  EXPECT_FALSE(FileLock::is_held(dir(), "file"));
  {
    auto lock = take();
    ASSERT_TRUE(lock) << lock.error().message();
    EXPECT_TRUE(FileLock::is_held(dir(), "file"));
    auto second = take();
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code, Errc::kBusy);
    auto third = FileLock::acquire(dir(), "file", 0644, Deadline::after(milliseconds(5)));
    ASSERT_FALSE(third);
    EXPECT_EQ(third.error().code, Errc::kDeadline);
  }
  EXPECT_FALSE(FileLock::is_held(dir(), "file"));
  EXPECT_TRUE(take());
}

TEST_F(FileLockTest, TheDirectoryItselfCanBeLocked) {
  auto lock = take(".");
  ASSERT_TRUE(lock) << lock.error().message();
  EXPECT_FALSE(take("."));
  EXPECT_TRUE(dir().names().empty());
}

TEST_F(FileLockTest, ALockOnARemovedFileIsNoLockOnTheName) {
  auto lock = take();
  ASSERT_TRUE(lock);
  lock->remove_file();
  auto second = take();
  ASSERT_TRUE(second);
  EXPECT_FALSE(take());
}

TEST_F(FileLockTest, ALockOnAFileThatWasRemovedAfterItWasOpenedIsNotTaken) {
  before_flock = [&] { fs::remove(path_ + "/file"); };
  auto lock = take();
  ASSERT_TRUE(lock);
  EXPECT_TRUE(dir().is_named("file", lock->fd()));
  EXPECT_FALSE(take());
}

TEST_F(FileLockTest, APidFileIsTakenThoughSomebodyLooksWhetherItIs) {
  std::ofstream(path_ + "/file") << "";
  before_flock = [&] {
    int looks = ::open((path_ + "/file").c_str(), O_RDONLY | O_CLOEXEC);
    ASSERT_EQ(::flock(looks, LOCK_EX | LOCK_NB), 0);
    before_flock = [looks] { before_flock = [looks] { ::close(looks); }; };
  };
  Result<PidFile> file = PidFile::acquire(dir(), "file");
  EXPECT_TRUE(file) << file.error().message();
}

TEST_F(FileLockTest, WithoutFlockASecondFileIsTheLock) {
  for (const char* name : {"file", "."}) {
    EXPECT_TRUE(without_flock([&] {
      {
        auto lock = take(name);
        auto second = take(name);
        if (!lock || second || second.error().code != Errc::kBusy) {
          return false;
        }
      }
      return take(name).has_value();
    })) << name;
    EXPECT_FALSE(dir().exists(".file.lock"));
    EXPECT_FALSE(dir().exists(".lock"));
  }
}

TEST_F(FileLockTest, WithoutFlockALockOfAnEndedProcessIsTakenOver) {
  ASSERT_TRUE(end_without_releasing());
  ASSERT_TRUE(dir().exists(".file.lock"));
  EXPECT_TRUE(without_flock([&] { return take().has_value(); }));
}

TEST_F(FileLockTest, WithoutFlockALockThatIsTakenWhileAnOldOneIsRemovedStays) {
  ASSERT_TRUE(end_without_releasing());
  std::string newer = to_line(this_process());
  EXPECT_TRUE(without_flock([&] {
    before_rename = [&] { std::ofstream(path_ + "/.file.lock") << newer; };
    auto lock = take();
    return !lock && lock.error().code == Errc::kBusy;
  }));
  EXPECT_EQ(dir().read_file(".file.lock", 1024).value_or(""), newer);
}

TEST_F(FileLockTest, WithoutFlockALockOfAnotherHostStaysAndTheErrorSaysWhatToRemove) {
  ProcessRecord other = this_process();
  other.host = "another-host";
  std::ofstream(path_ + "/.file.lock") << to_line(other);
  EXPECT_TRUE(without_flock([&] {
    auto lock = take();
    return !lock && lock.error().code == Errc::kBusy &&
           lock.error().context.find("another-host; if that one is gone, remove " + path_ +
                                     "/.file.lock") != std::string::npos;
  }));
  EXPECT_TRUE(dir().exists(".file.lock"));
}

TEST_F(FileLockTest, WithoutFlockManyProcessesTakeTurns) {
  constexpr int kProcesses = 6;
  constexpr int kRounds = 10;
  std::string counter = path_ + "/counter";
  std::ofstream(counter) << 0;
  std::array<pid_t, kProcesses> children{};
  for (pid_t& child : children) {
    child = fork();
    if (child == 0) {
      bool ok = lose_flock();
      for (int i = 0; ok && i < kRounds; ++i) {
        auto lock = FileLock::acquire(dir(), "file", 0644, Deadline::after(seconds(60)));
        int value = 0;
        std::ifstream(counter) >> value;
        std::ofstream(counter) << value + 1;
        ok = lock.has_value();
      }
      _exit(ok ? 0 : 1);
    }
  }
  for (pid_t child : children) {
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
  }
  int value = 0;
  std::ifstream(counter) >> value;
  EXPECT_EQ(value, kProcesses * kRounds);
}

}  // namespace
}  // namespace benchfs
