// Servers that die or say nothing under a mount.
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <string>

#include "base/fd.h"
#include "mount/mount_fixture.h"

namespace benchfs::test {
namespace {

class MountFailure : public MountTest {
 protected:
  // Until the end of the test, for the commands that it starts.
  class Setting {
   public:
    Setting(const char* name, const char* value) : name_(name) { ::setenv(name, value, 1); }
    Setting(const Setting&) = delete;
    Setting& operator=(const Setting&) = delete;
    ~Setting() { ::unsetenv(name_); }

   private:
    const char* name_;
  };
};

TEST_F(MountFailure, WhenTheServersDieEveryCallEndsAndTheMountGoes) {
  Mounted m = mount();
  put(m / "f", "data");
  Fd file(::open((m / "f").c_str(), O_RDWR));
  for (std::size_t i = 0; i < 2; ++i) {
    ASSERT_EQ(::kill(pid_of(cluster_, i), SIGKILL), 0);
  }
  char byte = 0;
  auto is_io_error = [](int error) { return error == EIO || error == ETIMEDOUT; };
  EXPECT_TRUE(is_io_error(error_of(static_cast<int>(::pread(file.get(), &byte, 1, 0)))));
  EXPECT_TRUE(is_io_error(error_of(static_cast<int>(::pwrite(file.get(), &byte, 1, 0)))));
  EXPECT_TRUE(is_io_error(error_of(::mkdir((m / "d").c_str(), 0755))));
  EXPECT_TRUE(is_io_error(error_of(::open((m / "g").c_str(), O_RDONLY))));
  file.reset();
  Ended ended = benchfs({"umount", m.path});
  EXPECT_EQ(ended.exit_code, 0) << ended.err;
  EXPECT_TRUE(wait_for_end(m.process, patience()));
}

// The one server that lives goes on serving; the lost files are EIO.
TEST_F(MountFailure, AServerThatDiesTakesOnlyItsPartAlong) {
  Mounted m = mount();
  for (int i = 0; i < 20; ++i) {
    put(m / "f" + std::to_string(i), "data");
  }
  ASSERT_EQ(::kill(pid_of(cluster_, 1), SIGKILL), 0);
  int good = 0;
  int bad = 0;
  for (int i = 0; i < 20 && (good == 0 || bad == 0); ++i) {
    struct stat attr{};
    int error = error_of(::stat((m / "f" + std::to_string(i)).c_str(), &attr));
    ++(error == 0 ? good : bad);
    EXPECT_TRUE(error == 0 || error == EIO || error == ETIMEDOUT) << error;
  }
  EXPECT_GT(good, 0);
  EXPECT_GT(bad, 0);
}

// The kernel had it as missing, and the server does not tell the mount that it makes it for it.
TEST_F(MountFailure, ANameThatACallMadeWhichFailedIsNotMissing) {
  Setting patient("BENCHFS_SILENCE_LIMIT_MS", "600000");
  Mounted m = mount();
  auto client = connect();
  auto exists = [](const std::string& path) { return error_of(::access(path.c_str(), F_OK)); };
  auto signal_daemons = [&](int signal) {
    for (std::size_t i = 0; i < 2; ++i) {
      ASSERT_EQ(::kill(pid_of(cluster_, i), signal), 0);
    }
  };
  bool is_made = false;
  for (int attempt = 0; attempt < 10 && !is_made; ++attempt) {
    std::string name = "f" + std::to_string(attempt);
    for (int i = 0; i < 5; ++i) {  // the directory comes to rest, too
      EXPECT_EQ(exists(m / name), ENOENT);
    }
    signal_daemons(SIGSTOP);
    pid_t child = ::fork();
    if (child == 0) {
      _exit(error_of(::open((m / name).c_str(), O_CREAT | O_RDWR, 0644)));
    }
    int status = 0;
    while (::waitpid(child, &status, WNOHANG) == 0) {
      ::usleep(200'000);  // lint: allow sleep a system call cannot be waited for
      std::string call = read_file("/proc/" + std::to_string(child) + "/syscall");
      if (call.starts_with("257 ")) {  // openat
        ::kill(child, SIGTERM);
      }
    }
    signal_daemons(SIGCONT);
    // The call may have been let go before it began.
    for (Deadline end = Deadline::after(std::chrono::seconds(2)); !is_made && !end.passed();) {
      is_made = client->run(client->fs().stat("/" + name)).has_value();
    }
    EXPECT_EQ(exists(m / name), is_made ? 0 : ENOENT);
  }
  EXPECT_TRUE(is_made);
}

// A program that waits for a server that says nothing is let go by a signal.
TEST_F(MountFailure, ASignalEndsAWaitForASilentServer) {
  Setting patient("BENCHFS_SILENCE_LIMIT_MS", "600000");
  Mounted m = mount();
  for (std::size_t i = 0; i < 2; ++i) {
    ASSERT_EQ(::kill(pid_of(cluster_, i), SIGSTOP), 0);
  }
  pid_t child = ::fork();
  if (child == 0) {
    struct sigaction action{};
    action.sa_handler = [](int) {};
    sigaction(SIGUSR1, &action, nullptr);
    int error = error_of(::open((m / "f").c_str(), O_RDONLY));
    _exit(error == EINTR ? 0 : 1);
  }
  // The handler may not be there yet, and the call not yet begun: signals until it ends.
  int status = 0;
  while (::waitpid(child, &status, WNOHANG) == 0) {
    std::string call = read_file("/proc/" + std::to_string(child) + "/syscall");
    if (call.starts_with("257 ")) {  // openat
      ::kill(child, SIGUSR1);
    }
    ::usleep(20'000);  // lint: allow sleep a system call cannot be waited for
  }
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
  for (std::size_t i = 0; i < 2; ++i) {
    ::kill(pid_of(cluster_, i), SIGCONT);
  }
  // What was given up has harmed nobody.
  put(m / "g", "works");
  EXPECT_EQ(get(m / "g"), "works");
}

}  // namespace
}  // namespace benchfs::test
