#include "cli/cluster/launch.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/signalfd.h>
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

Result<Starting> start_one(const LaunchPlan& plan,
                           const std::string& node_id,
                           const SafeDir& registry) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
    return fail_system(errno, "pipe");
  }
  Fd read_end(ends[0]);
  Fd write_end(ends[1]);
  BENCHFS_TRY(Fd log, begin_log(registry, node_id));

  SpawnSettings spawn;
  // A process group of its own keeps Ctrl-C and job control away. It must not be a session: Linux
  // schedules sessions as groups (autogroup), and sched_yield() gives a core only to the caller's
  // group. A client beside four daemons then waits while each spins: 2,400 instead of 145,000
  // pings/s.
  posix_spawnattr_setflags(&spawn.attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&spawn.attributes, &none);
  // This comes first, because the log's descriptor may have a number that later actions replace.
  posix_spawn_file_actions_adddup2(&spawn.files, log.get(), STDOUT_FILENO);
  // The pipe's descriptor may already be kReadyFd and would keep its close-on-exec flag: dup2 to
  // itself clears it in posix_spawn.
  posix_spawn_file_actions_adddup2(&spawn.files, write_end.get(), kReadyFd);
  posix_spawn_file_actions_addopen(&spawn.files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
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
    return fail_system(error, fmt::format("start of {}", plan.program));
  }
  return starting;
}

sigset_t stop_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  return signals;
}

std::unexpected<Error> fail_interrupted() {
  return fail(Errc::kCancelled, "interrupted; the daemons that were started are stopped again");
}

std::string describe_end(const LaunchedDaemon& daemon) {
  int status = 0;
  ::waitpid(daemon.pid, &status, 0);
  if (WIFSIGNALED(status)) {
    return fmt::format("{} was ended by signal {}", daemon.node_id, WTERMSIG(status));
  }
  return fmt::format("{} ended with exit code {}", daemon.node_id, WEXITSTATUS(status));
}

// True once the daemon reported "ready"; an error if it ended before that.
Result<bool> hear(Starting& starting, const SafeDir& registry, short events) {
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
      fmt::format("{}; its log says\n{}", end, log_tail(registry, starting.daemon.node_id)));
}

Status wait_until_ready(std::vector<Starting>& starting,
                        const SafeDir& registry,
                        const StopSignals& signals,
                        Deadline deadline) {
  std::vector<pollfd> fds;
  for (const Starting& one : starting) {
    fds.push_back({one.ready.get(), POLLIN, 0});
  }
  fds.push_back({signals.fd(), POLLIN, 0});
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
          fmt::format("{} is not ready; its log says\n{}", node_id, log_tail(registry, node_id)));
    }
    if (fds.back().revents != 0) {
      return fail_interrupted();
    }
    for (std::size_t i = 0; i < starting.size(); ++i) {
      if (fds[i].fd < 0) {
        continue;
      }
      BENCHFS_TRY(bool is_ready, hear(starting[i], registry, fds[i].revents));
      if (is_ready) {
        fds[i].fd = -1;  // poll leaves it out
        --missing;
      }
    }
  }
  return {};
}

}  // namespace

StopSignals::StopSignals() {
  sigset_t signals = stop_signals();
  pthread_sigmask(SIG_BLOCK, &signals, &before_);
  fd_ = Fd(signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
}

StopSignals::~StopSignals() {
  signalfd_siginfo info{};
  while (::read(fd_.get(), &info, sizeof info) == sizeof info) {  // acted on already
  }
  pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

bool StopSignals::came() const {
  pollfd signal{fd_.get(), POLLIN, 0};
  return ::poll(&signal, 1, 0) > 0;
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

Result<std::vector<LaunchedDaemon>> launch_daemons(const LaunchPlan& plan,
                                                   const std::vector<std::string>& node_ids,
                                                   const SafeDir& registry,
                                                   const StopSignals& signals,
                                                   Deadline deadline) {
  std::signal(SIGHUP, SIG_IGN);  // the daemons inherit it, and outlive the terminal
  std::vector<Starting> starting;
  Status outcome;
  for (const std::string& node_id : node_ids) {
    if (!outcome) {
      break;
    }
    Result<Starting> one = start_one(plan, node_id, registry);
    if (one) {
      starting.push_back(*std::move(one));
    } else {
      outcome = std::unexpected(std::move(one.error()));
    }
  }
  if (outcome) {
    outcome = wait_until_ready(starting, registry, signals, deadline);
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
    DaemonInfo info{daemon.node_id, this_process(), DaemonState::kRunning, {}};
    info.process.pid = daemon.pid;
    info.process.start_ticks = process_start_ticks(daemon.pid);
    (void)stop_daemons({&info, 1}, deadline);
    ::waitpid(daemon.pid, nullptr, 0);
  }
}

}  // namespace benchfs::cli
