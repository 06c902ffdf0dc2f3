#include "cli/cluster/registry.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string_view>

#include "base/pid_file.h"
#include "cluster/server_list.h"

// glibc 2.36 lacks the C linkage (bug 29654); from 2.37 on a plain include works.
extern "C" {
#include <sys/pidfd.h>
}

namespace benchfs::cli {
namespace {

namespace fs = std::filesystem;

constexpr Nanos kKillPatience = std::chrono::seconds(2);

// True when the process runs a daemon's program and belongs to this user.
bool runs_daemon(pid_t pid) {
  struct stat info{};
  std::string process = fmt::format("/proc/{}", pid);
  if (::stat(process.c_str(), &info) != 0 || info.st_uid != geteuid()) {
    return false;
  }
  std::ifstream file(process + "/cmdline", std::ios::binary);
  std::string program;
  std::getline(file, program, '\0');
  fs::path name = fs::path(program).filename();
  return name == "benchfsd" || name == "benchfsd_mpi" || name == "benchfs_rpc_bench";
}

DaemonState state_of(const SafeDir& pids, const std::string& name, const ProcessRecord& process) {
  if (process.host != this_process().host) {
    return DaemonState::kElsewhere;
  }
  if (runs_daemon(process.pid) && PidFile::is_owned_by(pids, name, process)) {
    return DaemonState::kRunning;
  }
  return FileLock::is_held(pids, name) ? DaemonState::kElsewhere : DaemonState::kDead;
}

// A process that cannot be confused with a later one of the same id.
class Process {
 public:
  // The descriptor is not open if the process has ended.
  explicit Process(const DaemonInfo& daemon)
      : node_id_(daemon.node_id), fd_(pidfd_open(daemon.process.pid, 0)) {
    if (fd_.is_open() && !is_running(daemon.process)) {
      fd_.reset();  // another process has the id now
    }
  }

  [[nodiscard]] const std::string& node_id() const { return node_id_; }
  // 0 or an errno; a process that has ended is no error.
  [[nodiscard]] int signal(int number) const {
    bool sent =
        !fd_.is_open() || pidfd_send_signal(fd_.get(), number, nullptr, 0) == 0 || errno == ESRCH;
    return sent ? 0 : errno;
  }
  [[nodiscard]] bool wait_for_end(Deadline deadline) const {
    if (!fd_.is_open()) {
      return true;
    }
    pollfd ended{fd_.get(), POLLIN, 0};
    int timeout_ms = static_cast<int>(deadline.remaining() / std::chrono::milliseconds(1));
    return ::poll(&ended, 1, timeout_ms) > 0;
  }

 private:
  std::string node_id_;
  Fd fd_;
};

}  // namespace

// --- Lock ----------------------------------------------------------------------------------------

Result<RegistryLock> RegistryLock::acquire(const std::string& path) {
  Result<SafeDir> dir = SafeDir::open(path);
  if (!dir) {
    return std::unexpected(std::move(dir.error()).with_prefix("registry directory"));
  }
  Result<FileLock> lock = FileLock::try_acquire(*dir, ".", 0600);
  if (!lock) {
    if (lock.error().code == Errc::kBusy) {
      return fail(
          Errc::kBusy,
          fmt::format("another benchfs up, down or restart is running: {}", lock.error().context));
    }
    return std::unexpected(std::move(lock.error()).with_prefix("registry directory"));
  }
  return RegistryLock(*std::move(dir), *std::move(lock));
}

// --- Daemons -------------------------------------------------------------------------------------

std::string pid_directory(const std::string& dir) {
  return dir + "/pid";
}

std::vector<DaemonInfo> find_daemons(const SafeDir& dir) {
  std::vector<DaemonInfo> daemons;
  Result<SafeDir> pids = dir.subdirectory(kPidName);
  if (!pids) {
    return daemons;
  }
  for (const std::string& name : pids->names()) {
    Result<PidFile::Content> content = PidFile::read(*pids, name);
    if (!name.starts_with('.') && content) {
      DaemonState state = state_of(*pids, name, content->process);
      daemons.push_back({name, std::move(content->process), state, std::move(content->notes)});
    }
  }
  std::ranges::sort(daemons, cluster::natural_less, &DaemonInfo::node_id);
  return daemons;
}

std::optional<std::vector<DaemonInfo>> look_for_daemons(const std::string& path) {
  Result<SafeDir> dir = SafeDir::open(path, Owner::kTrusted);
  if (!dir || (::faccessat(dir->fd(), kPidName, R_OK | X_OK, AT_EACCESS) != 0 && errno != ENOENT)) {
    return std::nullopt;
  }
  return find_daemons(*dir);
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
      return fail(Errc::kDeadline,
                  fmt::format("{} does not end even after SIGKILL", process.node_id()));
    }
  }
  return killed;
}

}  // namespace benchfs::cli
