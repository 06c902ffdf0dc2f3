#include "system/process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "base/check.h"
#include "base/pid_file.h"
#include "support/spawn.h"

namespace benchfs::test {
namespace {

constexpr timespec kFilePoll{.tv_sec = 0, .tv_nsec = 2'000'000};

int open_pidfd(pid_t pid) {
  return static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
}

}  // namespace

Process::Process(std::vector<std::string> arguments, const std::string& directory) {
  static std::atomic<int> counter{0};
  stem_ = fmt::format("{}/output_{}", directory, counter.fetch_add(1));
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  const int flags = O_WRONLY | O_CREAT | O_APPEND;
  posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, (stem_ + ".out").c_str(), flags, 0600);
  posix_spawn_file_actions_addopen(&files, STDERR_FILENO, (stem_ + ".err").c_str(), flags, 0600);
  pid_ = spawn(std::move(arguments), files);
}

Process::~Process() {
  if (pid_ > 0) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
}

std::string Process::err() const {
  return read_file(stem_ + ".err");
}

bool Process::wait_for_line(const std::string& text, Deadline deadline) const {
  while (err().find(text) == std::string::npos) {
    if (deadline.passed() || !runs(pid_)) {
      return false;
    }
    nanosleep(&kFilePoll, nullptr);  // lint: allow sleep a file cannot be waited on
  }
  return true;
}

void Process::signal(int number) const {
  ::kill(pid_, number);
}

Ended Process::wait(Deadline deadline) {
  Ended ended;
  bool in_time = wait_for_end(pid_, deadline);
  if (!in_time) {
    ::kill(pid_, SIGKILL);
  }
  int status = 0;
  ::waitpid(std::exchange(pid_, 0), &status, 0);
  if (in_time && WIFEXITED(status)) {
    ended.exit_code = WEXITSTATUS(status);
  } else if (WIFSIGNALED(status)) {
    ended.signal = WTERMSIG(status);
  }
  ended.out = read_file(stem_ + ".out");
  ended.err = read_file(stem_ + ".err");
  return ended;
}

bool runs(pid_t pid) {
  ProcessRecord record = this_process();
  record.pid = pid;
  record.start_ticks = process_start_ticks(pid);
  return is_running(record);
}

std::vector<pid_t> children_of(pid_t pid) {
  std::vector<pid_t> children;
  std::stringstream words(read_file(fmt::format("/proc/{0}/task/{0}/children", pid)));
  for (pid_t child = 0; words >> child;) {
    children.push_back(child);
  }
  return children;
}

bool wait_for_end(pid_t pid, Deadline deadline) {
  int fd = open_pidfd(pid);
  if (fd < 0) {
    return true;
  }
  pollfd ended{fd, POLLIN, 0};
  int count =
      ::poll(&ended, 1, static_cast<int>(deadline.remaining() / std::chrono::milliseconds(1)));
  ::close(fd);
  return count > 0;
}

bool stop(pid_t pid) {
  ::kill(pid, SIGSTOP);
  for (Deadline deadline = Deadline::after(std::chrono::seconds(10)); !deadline.passed();) {
    std::string stat = read_file(fmt::format("/proc/{}/stat", pid));
    std::size_t name_ends = stat.rfind(") ");
    if (name_ends != std::string::npos && stat[name_ends + 2] == 'T') {
      return true;
    }
    std::this_thread::sleep_for(  // lint: allow sleep the state of another process
        std::chrono::milliseconds(1));
  }
  return false;
}

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

void write_file(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

bool enter_private_mounts() {
  uid_t uid = geteuid();
  gid_t gid = getegid();
  if (uid != 0) {
    if (::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) {
      return false;
    }
    write_file("/proc/self/setgroups", "deny");
    write_file("/proc/self/uid_map", fmt::format("0 {} 1", uid));
    write_file("/proc/self/gid_map", fmt::format("0 {} 1", gid));
  } else if (::unshare(CLONE_NEWNS) != 0) {
    return false;
  }
  return ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
}

std::uint64_t cpu_ns(pid_t pid) {
  std::uint64_t total = 0;
  for (const auto& task : std::filesystem::directory_iterator(fmt::format("/proc/{}/task", pid))) {
    std::uint64_t ran = 0;
    std::ifstream(task.path() / "schedstat") >> ran;
    total += ran;
  }
  return total;
}

TmpfsMount::TmpfsMount(std::string directory, std::uint64_t bytes)
    : directory_(std::move(directory)),
      mounted_(
          ::mount("tmpfs", directory_.c_str(), "tmpfs", 0, fmt::format("size={}", bytes).c_str()) ==
          0) {}

TmpfsMount::~TmpfsMount() {
  if (mounted_) {
    ::umount2(directory_.c_str(), MNT_DETACH);
  }
}

}  // namespace benchfs::test
