#include "support/spawn.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>

#include "support/temp_dir.h"

namespace benchfs::test {
namespace {

// Starts a program that does not end by itself; its directory is in its command line. It is not
// stopped: the kernel would end it when the test dies.
pid_t start(const std::string& directory) {
  std::string file = directory + "/file";
  std::ofstream(file).put('x');
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  return spawn({"/usr/bin/tail", "-f", file}, files);
}

bool ends(int pidfd) {
  pollfd end{.fd = pidfd, .events = POLLIN, .revents = 0};
  return ::poll(&end, 1, 30'000) == 1;
}

TEST(DeathGuard, LeavesNothingBehindWhenTheTestIsKilled) {
  TempDir above;
  std::string directory = above.path() + "/of_a_test";
  std::filesystem::create_directory(directory);
  int to_us[2];
  ASSERT_EQ(::pipe(to_us), 0);
  pid_t test = ::fork();
  if (test == 0) {
    DeathGuard guard(directory);
    pid_t left = start(directory);
    if (::write(to_us[1], &left, sizeof left) == sizeof left) {
      ::pause();
    }
    ::_exit(1);
  }
  pid_t left = 0;
  ASSERT_EQ(::read(to_us[0], &left, sizeof left), static_cast<ssize_t>(sizeof left));
  int pidfd = static_cast<int>(::syscall(SYS_pidfd_open, left, 0));
  ASSERT_GE(pidfd, 0);
  ::kill(test, SIGKILL);
  ::waitpid(test, nullptr, 0);
  EXPECT_TRUE(ends(pidfd));
  ::close(pidfd);
  ::close(to_us[0]);
  ::close(to_us[1]);
}

TEST(DeathGuard, DoesNothingWhenTheTestEndsInOrder) {
  TempDir directory;
  pid_t other = 0;
  {
    DeathGuard guard(directory.path());
    other = start(directory.path());
  }
  EXPECT_EQ(::kill(other, 0), 0);
  EXPECT_TRUE(std::filesystem::exists(directory.path()));
  ::kill(other, SIGKILL);
  int status = 0;
  EXPECT_EQ(::waitpid(other, &status, 0), other);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

TEST(Spawn, AProgramIsInAGroupOfItsOwn) {
  TempDir directory;
  pid_t other = start(directory.path());
  EXPECT_EQ(::getpgid(other), other);
  ::kill(other, SIGKILL);
  ::waitpid(other, nullptr, 0);
}

}  // namespace
}  // namespace benchfs::test
