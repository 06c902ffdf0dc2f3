#include "cli/cluster/launch.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <utility>

#include "cli/cluster/registry.h"
#include "cli/cluster/registry_files.h"

namespace benchfs::cli {
namespace {

namespace fs = std::filesystem;

constexpr int kReadyFd = 3;  // in the daemon
constexpr Nanos kStopPatience = std::chrono::seconds(5);

class Fd {
 public:
  explicit Fd(int fd = -1) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Fd() {
    if (fd_ >= 0) {
      ::close(fd_);
    }
  }
  [[nodiscard]] int get() const { return fd_; }

 private:
  int fd_;
};

struct Starting {
  LaunchedDaemon daemon;
  Fd ready;  // readable: it listens; end of file: it ended
};

std::vector<std::string> command_line(const LaunchPlan& plan, const std::string& node_id) {
  std::vector<std::string> arguments = {
      plan.program,
      "--node-id",
      node_id,
      "--registry-dir",
      plan.registry_dir,
      "--expected-servers",
      fmt::to_string(plan.servers * plan.shards),
      "--shards",
      fmt::to_string(plan.shards),
      "--run-id",
      fmt::format("{:016x}", plan.run_id),
      "--ready-fd",
      fmt::to_string(kReadyFd),
  };
  arguments.insert(arguments.end(), plan.arguments.begin(), plan.arguments.end());
  return arguments;
}

// posix_spawn's two objects, destroyed together.
struct SpawnSettings {
  posix_spawn_file_actions_t files{};
  posix_spawnattr_t attributes{};
  SpawnSettings() {
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&attributes);
  }
  SpawnSettings(const SpawnSettings&) = delete;
  SpawnSettings& operator=(const SpawnSettings&) = delete;
  ~SpawnSettings() {
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attributes);
  }
};

Result<Starting> start_one(const LaunchPlan& plan, const std::string& node_id) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
    return fail_system(errno, "pipe");
  }
  Fd read_end(ends[0]);
  Fd write_end(ends[1]);
  BENCHFS_TRY_VOID(begin_log(plan.registry_dir, node_id));
  std::string log = log_path(plan.registry_dir, node_id);

  SpawnSettings spawn;
  // A group of its own keeps Ctrl-C and job control away. Not a session of its own: Linux schedules
  // sessions as groups (autogroup), sched_yield() gives a core to the own group only, and a client
  // beside four daemons then waits for the spinning of each: 2,400 instead of 145,000 pings/s.
  posix_spawnattr_setflags(&spawn.attributes, POSIX_SPAWN_SETPGROUP);
  // The pipe's descriptor may already be kReadyFd and would keep its close-on-exec flag: dup2 to
  // itself clears it in posix_spawn.
  posix_spawn_file_actions_adddup2(&spawn.files, write_end.get(), kReadyFd);
  posix_spawn_file_actions_addopen(&spawn.files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(
      &spawn.files, STDOUT_FILENO, log.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0644);
  posix_spawn_file_actions_adddup2(&spawn.files, STDOUT_FILENO, STDERR_FILENO);
  posix_spawn_file_actions_addclosefrom_np(&spawn.files, kReadyFd + 1);
  posix_spawn_file_actions_addchdir_np(&spawn.files, "/");

  std::vector<std::string> arguments = command_line(plan, node_id);
  std::vector<char*> pointers;
  for (std::string& argument : arguments) {
    pointers.push_back(argument.data());
  }
  pointers.push_back(nullptr);
  Starting starting{{node_id, 0}, std::move(read_end)};
  int error = posix_spawn(&starting.daemon.pid,
                          plan.program.c_str(),
                          &spawn.files,
                          &spawn.attributes,
                          pointers.data(),
                          environ);
  if (error != 0) {
    return fail_system(error, fmt::format("start of {} with log {}", plan.program, log));
  }
  return starting;
}

std::string describe_end(const LaunchedDaemon& daemon) {
  int status = 0;
  ::waitpid(daemon.pid, &status, 0);
  if (WIFSIGNALED(status)) {
    return fmt::format("{} was ended by signal {}", daemon.node_id, WTERMSIG(status));
  }
  return fmt::format("{} ended with exit code {}", daemon.node_id, WEXITSTATUS(status));
}

// True once it said "ready"; the error when it ended before.
Result<bool> hear(Starting& starting, const LaunchPlan& plan, short events) {
  if ((events & (POLLIN | POLLHUP)) == 0) {
    return false;
  }
  std::array<char, 16> text{};
  if (::read(starting.ready.get(), text.data(), text.size()) > 0) {
    return true;
  }
  std::string end = describe_end(starting.daemon);
  starting.daemon.pid = 0;
  return fail(
      Errc::kUnreachable,
      fmt::format(
          "{}; its log says\n{}", end, log_tail(plan.registry_dir, starting.daemon.node_id)));
}

Status wait_until_ready(std::vector<Starting>& starting,
                        const LaunchPlan& plan,
                        Deadline deadline) {
  std::vector<pollfd> fds;
  for (const Starting& one : starting) {
    fds.push_back({one.ready.get(), POLLIN, 0});
  }
  std::size_t missing = starting.size();
  while (missing > 0) {
    Nanos left = deadline.remaining();
    int timeout_ms = static_cast<int>(left / std::chrono::milliseconds(1)) + 1;
    if (left == Nanos::zero() || ::poll(fds.data(), fds.size(), timeout_ms) < 0) {
      std::size_t i = 0;
      while (fds[i].fd < 0) {
        ++i;
      }
      const std::string& node_id = starting[i].daemon.node_id;
      return fail(
          Errc::kDeadline,
          fmt::format(
              "{} is not ready; its log says\n{}", node_id, log_tail(plan.registry_dir, node_id)));
    }
    for (std::size_t i = 0; i < starting.size(); ++i) {
      if (fds[i].fd < 0) {
        continue;
      }
      BENCHFS_TRY(bool is_ready, hear(starting[i], plan, fds[i].revents));
      if (is_ready) {
        fds[i].fd = -1;  // poll leaves it out
        --missing;
      }
    }
  }
  return {};
}

}  // namespace

std::vector<std::string> LaunchPlan::node_ids() const {
  std::vector<std::string> ids;
  for (std::uint32_t i = 0; i < servers; ++i) {
    ids.push_back(fmt::format("node_{}", i));
  }
  return ids;
}

Result<std::string> find_daemon_program() {
  std::error_code error;
  fs::path beside = fs::read_symlink("/proc/self/exe", error).replace_filename("benchfsd");
  if (access(beside.c_str(), X_OK) == 0) {
    return beside.native();
  }
  const char* variable = std::getenv("PATH");
  std::string_view rest = variable == nullptr ? "" : variable;
  while (!rest.empty()) {
    std::size_t colon = std::min(rest.find(':'), rest.size());
    fs::path candidate = fs::path(rest.substr(0, colon)) / "benchfsd";
    if (candidate.is_absolute() && access(candidate.c_str(), X_OK) == 0) {
      return candidate.native();
    }
    rest.remove_prefix(std::min(colon + 1, rest.size()));
  }
  return fail_system(ENOENT, fmt::format("benchfsd, neither {} nor in PATH", beside.native()));
}

Result<std::vector<LaunchedDaemon>> launch_daemons(const LaunchPlan& plan, Deadline deadline) {
  std::signal(SIGHUP, SIG_IGN);  // the daemons inherit it, and outlive the terminal
  std::vector<Starting> starting;
  Status outcome;
  for (const std::string& node_id : plan.node_ids()) {
    if (!outcome) {
      break;
    }
    Result<Starting> one = start_one(plan, node_id);
    if (one) {
      starting.push_back(*std::move(one));
    } else {
      outcome = std::unexpected(std::move(one.error()));
    }
  }
  if (outcome) {
    outcome = wait_until_ready(starting, plan, deadline);
  }
  std::vector<LaunchedDaemon> daemons;
  for (Starting& one : starting) {
    daemons.push_back(std::move(one.daemon));
  }
  if (!outcome) {
    stop_launched(daemons);
    return std::unexpected(std::move(outcome.error()));
  }
  return daemons;
}

void stop_launched(const std::vector<LaunchedDaemon>& daemons) {
  for (const LaunchedDaemon& daemon : daemons) {
    if (daemon.pid > 0) {
      ::kill(daemon.pid, SIGTERM);
    }
  }
  Deadline deadline = Deadline::after(kStopPatience);
  for (const LaunchedDaemon& daemon : daemons) {
    if (daemon.pid <= 0) {
      continue;
    }
    DaemonInfo info{daemon.node_id, this_process(), DaemonState::kRunning};
    info.process.pid = daemon.pid;
    info.process.start_ticks = process_start_ticks(daemon.pid);
    (void)stop_daemons({&info, 1}, deadline);
    ::waitpid(daemon.pid, nullptr, 0);
  }
}

}  // namespace benchfs::cli
