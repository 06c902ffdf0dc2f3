// Clients that are killed, stopped, forked and cut off at every instant of a call.

#include <fcntl.h>
#include <sched.h>
#include <sys/syscall.h>

#include <atomic>
#include <fstream>
#include <iterator>
#include <thread>

#include "base/testing/deny.h"
#include "door/testing/door_fixture.h"

namespace benchfs::door {
namespace {

using testing::DoorFixture;
using testing::echo;
using testing::echo_some;
using testing::exited_well;
using testing::kEcho;
using testing::kHold;
using testing::soon;

Step wanted_step = Step::kCount;
int wanted_signal = 0;

// In the child only: the process ends or stops at this instant, the first time it is there.
void signal_at(Step step) {
  if (step == wanted_step && wanted_signal != 0) {
    int number = wanted_signal;
    wanted_signal = 0;
    raise(number);
  }
}

std::size_t count_lines(const char* path) {
  std::ifstream file(path);
  return static_cast<std::size_t>(
      std::count(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>(), '\n'));
}

std::size_t count_descriptors() {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    ++count;
  }
  return count;
}

class DoorDeathTest : public DoorFixture {
 protected:
  // One call by hand, so that the client sleeps in it: the handler holds it.
  pid_t start_at_step(Step step, int signal_number, bool hold) {
    return start_process([this, step, signal_number, hold] {
      wanted_step = step;
      wanted_signal = signal_number;
      step_hook = signal_at;
      auto session = ClientSession::attach(options(), soon());
      if (!session) {
        return 1;
      }
      auto lane = (*session)->take_lane();
      if (!lane) {
        return 2;
      }
      if (!hold) {
        return echo(*lane, 200, 3000, 1) ? 0 : 3;
      }
      if (!lane->send({.id = kHold, .header = {}, .data = {}})) {
        return 4;
      }
      return lane->receive({}, {}, soon()) ? 0 : 5;
    });
  }
  static bool is_in_sleep(Step step) {
    return step == Step::kMarkedAsleep || step == Step::kBeforeSleep;
  }
};

class ClientSteps : public DoorDeathTest, public ::testing::WithParamInterface<int> {};

TEST_P(ClientSteps, KilledThereItHarmsNobody) {
  open();
  auto step = static_cast<Step>(GetParam());
  pid_t child = start_at_step(step, SIGKILL, is_in_sleep(step));
  int status = serve_process(child);
  EXPECT_TRUE((WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) || step == Step::kBellRaised)
      << status;
  EXPECT_TRUE(exited_well(run_process([&] { return echo_some(options(), 50); })));
  EXPECT_TRUE(serve_until([&] {
    handler.answer_held();
    return door->sessions() == 0 && door->unattached() == 0;
  }));
  // Before the sequence nothing is executed, after it one call; 50 are the other client's.
  std::uint64_t expected = step == Step::kLaneTaken || step == Step::kRequestWritten ||
                                   step == Step::kAskedToAttach || step == Step::kGotDescriptors ||
                                   step == Step::kAttached
                               ? 50
                               : 51;
  EXPECT_EQ(handler.calls, expected);
}

TEST_P(ClientSteps, StoppedThereItDelaysNobodyAndGoesOn) {
  open();
  auto step = static_cast<Step>(GetParam());
  pid_t child = start_at_step(step, SIGSTOP, is_in_sleep(step));
  int status = -1;
  ASSERT_TRUE(serve_until([&] { return waitpid(child, &status, WNOHANG | WUNTRACED) == child; }));
  bool is_stopped = WIFSTOPPED(status);
  EXPECT_TRUE(is_stopped || step == Step::kBellRaised);
  EXPECT_TRUE(exited_well(run_process([&] { return echo_some(options(), 50); })));
  handler.answer_held();
  if (is_stopped) {
    kill(child, SIGCONT);
    EXPECT_TRUE(serve_until([&] {
      handler.answer_held();
      return waitpid(child, &status, WNOHANG) == child;
    }));
  }
  EXPECT_TRUE(exited_well(status)) << status;
  EXPECT_TRUE(everybody_left());
}

TEST_P(ClientSteps, AForkThereLeavesTheCallToTheParent) {
  open();
  auto step = static_cast<Step>(GetParam());
  if (is_in_sleep(step)) {
    GTEST_SKIP() << "the call is held there; another case forks beside a call that waits";
  }
  pid_t child = start_process([this, step] {
    static pid_t forked;
    forked = -1;
    wanted_step = step;
    step_hook = [](Step here) {
      if (here == wanted_step && forked == -1) {
        forked = fork();
        if (forked == 0) {
          _exit(0);
        }
      }
    };
    int result = echo_some(options(), 20);
    int status = 0;
    return result != 0 || (forked > 0 && waitpid(forked, &status, 0) != forked) ? 1 : 0;
  });
  EXPECT_TRUE(exited_well(serve_process(child)));
  EXPECT_TRUE(everybody_left());
}

INSTANTIATE_TEST_SUITE_P(Every,
                         ClientSteps,
                         ::testing::Range(0, static_cast<int>(Step::kAttached) + 1));

TEST_F(DoorDeathTest, AChildHasNoSessionAndAttachesByItself) {
  open();
  int status = run_process([&] {
    auto session = ClientSession::attach(options(), soon());
    auto lane = (*session)->take_lane();
    pid_t child = fork();
    if (child == 0) {
      bool has_none = !(*session)->is_attached() && !(*session)->take_lane() &&
                      !lane->send({.id = 1, .header = {}, .data = {}});
      _exit(has_none ? echo_some(options(), 20) : 1);
    }
    bool is_fine = echo(*lane, 10, 10, 1);
    int child_status = -1;
    waitpid(child, &child_status, 0);
    return is_fine && exited_well(child_status) && echo(*lane, 10, 10, 2) ? 0 : 1;
  });
  EXPECT_TRUE(exited_well(status)) << status;
  EXPECT_TRUE(everybody_left());
}

TEST_F(DoorDeathTest, TheDeathOfAParentIsNoticedAlthoughAChildHoldsItsDescriptors) {
  open();
  int pipes[2];
  ASSERT_EQ(pipe(pipes), 0);
  pid_t parent = fork();
  if (parent == 0) {
    ::close(pipes[0]);
    auto session = ClientSession::attach(options(), soon());
    auto lane = (*session)->take_lane();
    bool is_fine = echo(*lane, 10, 10, 1);
    pid_t child = fork();
    if (child > 0) {
      (void)!write(pipes[1], &child, sizeof child);
      raise(SIGKILL);
    }
    for (;;) {
      pause();
    }
    _exit(is_fine ? 0 : 1);
  }
  ::close(pipes[1]);
  fcntl(pipes[0], F_SETFL, O_NONBLOCK);
  pid_t child = 0;
  EXPECT_TRUE(serve_until([&] { return read(pipes[0], &child, sizeof child) == sizeof child; }));
  EXPECT_TRUE(everybody_left());
  EXPECT_EQ(kill(child, 0), 0);
  kill(child, SIGKILL);
  ::close(pipes[0]);
  serve_process(parent);
}

// --- Where the daemon does not see the program's process -----------------------------------------

// Attaches, calls and is killed, while a child holds its descriptors. Returns the child.
pid_t leave_a_child(const AttachOptions& options) {
  int pipes[2];
  EXPECT_EQ(pipe(pipes), 0);
  pid_t parent = fork();
  if (parent == 0) {
    auto session = ClientSession::attach(options, soon());
    auto lane = (*session)->take_lane();
    bool is_fine = echo(*lane, 10, 10, 1);
    pid_t child = fork();
    if (child > 0) {
      (void)!write(pipes[1], &child, sizeof child);
      raise(SIGKILL);
    }
    for (;;) {
      pause();
    }
    _exit(is_fine ? 0 : 1);
  }
  ::close(pipes[1]);
  pid_t child = 0;
  EXPECT_EQ(read(pipes[0], &child, sizeof child), static_cast<ssize_t>(sizeof child));
  ::close(pipes[0]);
  waitpid(parent, nullptr, 0);
  return child;
}

TEST_F(DoorDeathTest, TheDeathOfAnUnseenParentIsNoticedAlthoughAChildHoldsItsDescriptors) {
  open({.sees_processes = false});
  // The reactor is this thread's.
  std::atomic<pid_t> child = 0;
  std::thread parent([&] { child = leave_a_child(options()); });
  EXPECT_TRUE(serve_until([&] { return child != 0; }));
  parent.join();
  EXPECT_EQ(door->sessions(), 1U);
  EXPECT_TRUE(everybody_left());
  EXPECT_EQ(handler.died, 1U);
  EXPECT_EQ(kill(child, 0), 0);
  kill(child, SIGKILL);
}

TEST_F(DoorDeathTest, AnUnseenProgramIsDeadUnlessItLeavesByItself) {
  open({.sees_processes = false});
  EXPECT_TRUE(exited_well(run_process([&] { return echo_some(options(), 3); })));
  EXPECT_TRUE(everybody_left());
  EXPECT_EQ(handler.died, 0U);
  (void)run_process([&] {
    auto session = ClientSession::attach(options(), soon());
    auto lane = (*session)->take_lane();
    bool is_fine = echo(*lane, 10, 10, 1);
    raise(SIGKILL);
    return is_fine ? 0 : 1;
  });
  EXPECT_TRUE(everybody_left());
  EXPECT_EQ(handler.died, 1U);
}

TEST_F(DoorDeathTest, AnUnseenProgramThatIsSilentIsServedOn) {
  open({.sees_processes = false});
  static std::atomic<int> proofs = 0;
  proofs = 0;
  step_hook = [](Step step) { proofs += step == Step::kUnmapped ? 1 : 0; };
  int pipes[2];
  ASSERT_EQ(pipe(pipes), 0);
  pid_t child = fork();
  if (child == 0) {
    auto silent = ClientSession::attach(options(), soon());  // has not called
    auto session = ClientSession::attach(options(), soon());
    auto lane = (*session)->take_lane();
    auto first = (*silent)->take_lane();
    char byte = 0;
    bool is_fine = echo(*lane, 10, 10, 1) && read(pipes[0], &byte, 1) == 1 &&
                   echo(*lane, 10, 10, 2) && echo(*first, 10, 10, 3) &&
                   lane->send({.id = kHold, .header = {}, .data = {}}) &&
                   lane->receive({}, {}, soon());
    _exit(is_fine ? 0 : 1);
  }
  EXPECT_TRUE(serve_until([] { return proofs >= 2; }));
  (void)!write(pipes[1], "x", 1);
  EXPECT_TRUE(serve_until([&] { return handler.held.size() == 1; }));
  Deadline later = Deadline::after(std::chrono::milliseconds(2500));
  EXPECT_TRUE(serve_until([&] { return later.passed(); }));
  EXPECT_EQ(door->sessions(), 2U) << "a call is in service";
  handler.answer_held();
  EXPECT_TRUE(exited_well(serve_process(child)));
  EXPECT_TRUE(everybody_left());
  ::close(pipes[0]);
  ::close(pipes[1]);
}

TEST_F(DoorDeathTest, ADaemonInAPidNamespaceNoticesTheDeathOfAProgramOutside) {
  // What the door tells: it is open; how many of those that ended have died.
  int pipes[2];
  ASSERT_EQ(pipe(pipes), 0);
  pid_t daemon = fork();
  if (daemon == 0) {
    if (unshare(CLONE_NEWPID) != 0) {
      _exit(77);
    }
    pid_t inside = fork();
    if (inside == 0) {
      open();
      (void)!write(pipes[1], "o", 1);
      bool is_over = static_cast<bool>(serve_until([&] { return handler.ended == 1; }));
      (void)!write(pipes[1], is_over && handler.died == 1 ? "d" : "l", 1);
      _exit(0);
    }
    ::close(pipes[1]);
    waitpid(inside, nullptr, 0);
    _exit(0);
  }
  ::close(pipes[1]);
  char byte = 0;
  if (read(pipes[0], &byte, 1) != 1) {
    waitpid(daemon, nullptr, 0);
    ::close(pipes[0]);
    GTEST_SKIP() << "this user may not make such a namespace";
  }
  pid_t child = leave_a_child(options());
  MonoTime begin = mono_now();
  EXPECT_EQ(read(pipes[0], &byte, 1), 1);
  EXPECT_EQ(byte, 'd');
  EXPECT_LT(mono_now() - begin, std::chrono::seconds(20));
  kill(child, SIGKILL);
  waitpid(daemon, nullptr, 0);
  ::close(pipes[0]);
}

TEST_F(DoorDeathTest, AProgramThatClosesAllItsDescriptorsIsServedUntilItEnds) {
  open();
  int status = run_process([&] {
    auto session = ClientSession::attach(options(), soon());
    auto lane = (*session)->take_lane();
    for (int fd = 3; fd < 1024; ++fd) {
      ::close(fd);
    }
    for (int i = 0; i < 200; ++i) {
      if (!echo(*lane, 10, 100, i)) {
        return 1;
      }
    }
    // Its own descriptors under these numbers stay its own.
    int mine = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    int high = fcntl(mine, F_DUPFD_CLOEXEC, 512);
    {
      ClientLane gone = std::move(*lane);
    }
    session->reset();
    return fcntl(mine, F_GETFD) >= 0 && fcntl(high, F_GETFD) >= 0 ? 0 : 2;
  });
  EXPECT_TRUE(exited_well(status)) << status;
  EXPECT_TRUE(everybody_left());
}

// Its session seems to end, and does not.
TEST_F(DoorDeathTest, NobodyWaitsForThePlaceOfAProgramThatClosesItsDescriptors) {
  open({.most_sessions = 1});
  pid_t first = start_process([&] {
    auto session = ClientSession::attach(options(), soon());
    for (int fd = 3; fd < 1024; ++fd) {
      ::close(fd);
    }
    pause();
    return 0;
  });
  static std::atomic<int> proofs = 0;
  step_hook = [](Step step) { proofs += step == Step::kUnmapped ? 1 : 0; };
  EXPECT_TRUE(serve_until([] { return proofs > 0; }));
  int status = run_process([&] {
    auto session = ClientSession::attach(options(), soon());
    return !session && session.error().code == Errc::kLimit ? 0 : 1;
  });
  EXPECT_TRUE(exited_well(status)) << status;
  kill(first, SIGKILL);
  serve_process(first);
  EXPECT_TRUE(everybody_left());
}

TEST_F(DoorDeathTest, ADaemonThatIsKilledIsNoticed) {
  // The door is in the child this time.
  int pipes[2];
  ASSERT_EQ(pipe(pipes), 0);
  pid_t daemon = fork();
  if (daemon == 0) {
    open();
    (void)!write(pipes[1], "x", 1);
    (void)serve_until([] { return false; });
    _exit(1);
  }
  char byte = 0;
  ASSERT_EQ(read(pipes[0], &byte, 1), 1);
  auto session = ClientSession::attach(options(), soon());
  ASSERT_TRUE(session.has_value()) << session.error().message();
  auto lane = (*session)->take_lane();
  EXPECT_TRUE(echo(*lane, 10, 10, 1));
  ASSERT_TRUE(lane->send({.id = kHold, .header = {}, .data = {}}).has_value());
  kill(daemon, SIGKILL);
  EXPECT_EQ(lane->receive({}, {}, soon()).error().code, Errc::kDisconnected);
  EXPECT_FALSE((*session)->is_attached());
  EXPECT_EQ(ClientSession::attach(options(), soon()).error().code, Errc::kUnreachable);
  waitpid(daemon, nullptr, 0);
  ::close(pipes[0]);
  ::close(pipes[1]);
}

// It would end with SIGBUS where it touched a page that the machine has no memory for.
TEST_F(DoorDeathTest, ADaemonThatGetsNoMemoryRefusesTheCallAndTheNextProgram) {
  // The door is in the child, which gets no more memory once a program has come in.
  int pipes[2];
  ASSERT_EQ(pipe(pipes), 0);
  pid_t daemon = fork();
  if (daemon == 0) {
    open();
    (void)!write(pipes[1], "o", 1);
    bool is_in = static_cast<bool>(serve_until([&] { return door->sessions() == 1; }));
    bool is_denied = is_in && benchfs::testing::deny(SYS_fallocate, ENOMEM);
    (void)!write(pipes[1], is_denied ? "d" : "s", 1);
    (void)serve_until([] { return false; });
    _exit(1);
  }
  char byte = 0;
  ASSERT_EQ(read(pipes[0], &byte, 1), 1);
  auto session = ClientSession::attach(options(), soon());
  ASSERT_TRUE(session.has_value()) << session.error().message();
  ASSERT_EQ(read(pipes[0], &byte, 1), 1);
  if (byte == 'd') {
    auto refused = ClientSession::attach(options(), soon());
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().code, Errc::kSystem) << refused.error().message();
    EXPECT_TRUE(refused.error().message().contains("no memory")) << refused.error().message();
    auto lane = (*session)->take_lane();
    ASSERT_TRUE(lane.has_value());
    EXPECT_TRUE(echo(*lane, 10, 0, 1));
    std::vector<std::byte> data(100'000);
    ASSERT_TRUE(lane->send({.id = kEcho, .header = {}, .data = data}).has_value());
    EXPECT_EQ(lane->receive({}, data, soon()).error().code, Errc::kSystem);
    EXPECT_TRUE(echo(*lane, 10, 0, 2));
  }
  kill(daemon, SIGKILL);
  waitpid(daemon, nullptr, 0);
  ::close(pipes[0]);
  ::close(pipes[1]);
}

TEST_F(DoorDeathTest, AProgramThatGetsNoMemoryIsToldSo) {
  open();
  int status = run_process([&] {
    auto session = ClientSession::attach(options(), soon());
    auto lane = (*session)->take_lane();
    std::vector<std::byte> data(100'000);
    if (!echo(*lane, 10, 1000, 1) || !benchfs::testing::deny(SYS_madvise, EFAULT)) {
      return 2;
    }
    Status sent = lane->send({.id = kEcho, .header = {}, .data = data});
    bool is_clear = !sent && sent.error().code == Errc::kSystem;
    return is_clear && echo(*lane, 10, 1000, 2) ? 0 : 1;
  });
  if (WIFEXITED(status) && WEXITSTATUS(status) == 2) {
    GTEST_SKIP() << "seccomp filters are not permitted here";
  }
  EXPECT_TRUE(exited_well(status)) << status;
  EXPECT_TRUE(everybody_left());
}

// The thread sanitizer maps memory for every thread that there was.
#if __has_feature(thread_sanitizer)
constexpr std::size_t kMappingsOfTheAllocator = 1U << 20;
#else
constexpr std::size_t kMappingsOfTheAllocator = 8;
#endif

TEST_F(DoorDeathTest, TenThousandAttachesLeaveNothingBehind) {
  open();
  // What is made once is there already.
  ASSERT_TRUE(exited_well(run_process([&] { return echo_some(options(), 2); })));
  ASSERT_TRUE(everybody_left());
  std::size_t descriptors = count_descriptors();
  std::size_t mappings = count_lines("/proc/self/maps");
  constexpr int kProcesses = 20;
  constexpr int kEach = 500;
  for (int i = 0; i < kProcesses; ++i) {
    int status = run_process([&] {
      for (int k = 0; k < kEach; ++k) {
        if (echo_some(options(), k % 4 == 0 ? 1 : 0) != 0) {
          return 1;
        }
      }
      // And one that is killed with a call on its lane.
      auto session = ClientSession::attach(options(), soon());
      auto lane = (*session)->take_lane();
      (void)lane->send({.id = 1, .header = {}, .data = {}});
      raise(SIGKILL);
      return 2;
    });
    EXPECT_TRUE(WIFSIGNALED(status)) << status;
  }
  EXPECT_TRUE(everybody_left());
  EXPECT_EQ(count_descriptors(), descriptors);
  EXPECT_LE(count_lines("/proc/self/maps"), mappings + kMappingsOfTheAllocator);
  EXPECT_EQ(door->stats().ended, std::uint64_t{kProcesses} * (kEach + 1) + 1);
}

class Namespaces : public DoorDeathTest, public ::testing::WithParamInterface<int> {};

TEST_P(Namespaces, AProgramInOthersIsServedAndItsDeathIsNoticed) {
  open();
  int status = run_process([&] {
    uid_t user = geteuid();
    if (unshare(GetParam()) != 0) {
      return 77;
    }
    if ((GetParam() & CLONE_NEWUSER) != 0) {
      std::ofstream("/proc/self/setgroups") << "deny";
      std::ofstream("/proc/self/uid_map") << user << " " << user << " 1";
    }
    pid_t child = fork();  // of the PID namespace, if it is a new one
    if (child == 0) {
      int result = echo_some(options(), 20);
      if (result == 0) {
        raise(SIGKILL);
      }
      _exit(result);
    }
    int child_status = -1;
    waitpid(child, &child_status, 0);
    return WIFSIGNALED(child_status) || WEXITSTATUS(child_status) == 0 ? 0 : 1;
  });
  if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
    GTEST_SKIP() << "this user may not make such a namespace";
  }
  EXPECT_TRUE(exited_well(status)) << status;
  EXPECT_TRUE(everybody_left());
}

INSTANTIATE_TEST_SUITE_P(
    Kinds,
    Namespaces,
    ::testing::Values(CLONE_NEWPID, CLONE_NEWNET, CLONE_NEWIPC, CLONE_NEWNS, CLONE_NEWUSER));

}  // namespace
}  // namespace benchfs::door
