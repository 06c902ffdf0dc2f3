#include "cli/cluster/registry.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string_view>
#include <system_error>

#include "cluster/server_list.h"

// glibc 2.36 forgot the linkage (bug 29654); plain inclusion will do from 2.37 on.
extern "C" {
#include <sys/pidfd.h>
}

namespace benchfs::cli {
namespace {

namespace fs = std::filesystem;

constexpr Nanos kKillPatience = std::chrono::seconds(2);

// True when the program of the process is a daemon's.
bool runs_daemon(pid_t pid) {
  std::ifstream file(fmt::format("/proc/{}/cmdline", pid), std::ios::binary);
  std::string program;
  std::getline(file, program, '\0');
  fs::path name = fs::path(program).filename();
  return name == "benchfsd" || name == "benchfsd_mpi" || name == "benchfs_rpc_bench";
}

DaemonState state_of(const ProcessRecord& process) {
  if (process.host != this_process().host) {
    return DaemonState::kElsewhere;
  }
  return is_running(process) && runs_daemon(process.pid) ? DaemonState::kRunning
                                                         : DaemonState::kDead;
}

// A process that cannot be confused with a later one of the same id.
class Process {
 public:
  // Not open when it ended meanwhile.
  explicit Process(const DaemonInfo& daemon) : node_id_(daemon.node_id) {
    fd_ = pidfd_open(daemon.process.pid, 0);
    if (fd_ >= 0 && state_of(daemon.process) != DaemonState::kRunning) {
      ::close(std::exchange(fd_, -1));  // somebody else's already
    }
  }
  Process(Process&& other) noexcept
      : node_id_(std::move(other.node_id_)), fd_(std::exchange(other.fd_, -1)) {}
  Process& operator=(Process&&) = delete;
  ~Process() {
    if (fd_ >= 0) {
      ::close(fd_);
    }
  }

  [[nodiscard]] const std::string& node_id() const { return node_id_; }
  // 0 or an errno; a process that has ended is no error.
  [[nodiscard]] int signal(int number) const {
    bool sent = fd_ < 0 || pidfd_send_signal(fd_, number, nullptr, 0) == 0 || errno == ESRCH;
    return sent ? 0 : errno;
  }
  [[nodiscard]] bool wait_for_end(Deadline deadline) const {
    if (fd_ < 0) {
      return true;
    }
    pollfd ended{fd_, POLLIN, 0};
    int timeout_ms = static_cast<int>(deadline.remaining() / std::chrono::milliseconds(1));
    return ::poll(&ended, 1, timeout_ms) > 0;
  }

 private:
  std::string node_id_;
  int fd_ = -1;
};

}  // namespace

// --- Lock ----------------------------------------------------------------------------------------

Result<RegistryLock> RegistryLock::acquire(const std::string& dir) {
  int fd = ::open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) {
    return fail_system(errno, fmt::format("registry directory {}", dir));
  }
  RegistryLock lock(fd);
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) {
      return fail(Errc::kBusy, fmt::format("another benchfs up or down is at work in {}", dir));
    }
    return fail_system(errno, fmt::format("lock of {}", dir));
  }
  return lock;
}

RegistryLock::~RegistryLock() {
  if (fd_ >= 0) {
    ::close(fd_);
  }
}

// --- Daemons -------------------------------------------------------------------------------------

std::string pid_directory(const std::string& dir) {
  return dir + "/pid";
}

std::vector<DaemonInfo> find_daemons(const std::string& dir) {
  std::vector<DaemonInfo> daemons;
  std::error_code ignored;
  for (fs::directory_iterator it(pid_directory(dir), ignored), end; it != end;
       it.increment(ignored)) {
    Result<ProcessRecord> process = PidFile::read(it->path().native());
    if (process) {
      DaemonState state = state_of(*process);
      daemons.push_back({it->path().filename().native(), *std::move(process), state});
    }
  }
  std::ranges::sort(daemons, cluster::natural_less, &DaemonInfo::node_id);
  return daemons;
}

const DaemonInfo* daemon_of(std::span<const DaemonInfo> daemons, const std::string& shard_id) {
  std::string_view names[] = {shard_id, std::string_view(shard_id).substr(0, shard_id.rfind('.'))};
  for (std::string_view name : names) {
    auto found = std::ranges::find(daemons, name, &DaemonInfo::node_id);
    if (found != daemons.end()) {
      return &*found;
    }
  }
  return nullptr;
}

Result<std::vector<std::string>> stop_daemons(std::span<const DaemonInfo> daemons,
                                              Deadline deadline) {
  std::vector<Process> processes;
  for (const DaemonInfo& daemon : daemons) {
    if (daemon.state == DaemonState::kRunning) {
      processes.emplace_back(daemon);
    }
  }
  for (const Process& process : processes) {
    if (int error = process.signal(SIGTERM); error != 0) {
      return fail_system(error, fmt::format("signal to {}", process.node_id()));
    }
  }
  std::vector<std::string> killed;
  for (const Process& process : processes) {
    if (!process.wait_for_end(deadline)) {
      (void)process.signal(SIGKILL);
      killed.push_back(process.node_id());
    }
  }
  Deadline last = Deadline::after(kKillPatience);
  for (const Process& process : processes) {
    if (!process.wait_for_end(last)) {
      return fail(Errc::kDeadline, fmt::format("{} does not end, even killed", process.node_id()));
    }
  }
  return killed;
}

}  // namespace benchfs::cli
