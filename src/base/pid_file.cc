#include "base/pid_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <string_view>

namespace benchfs {
namespace {

// At most this much is read; the files are one line.
constexpr std::size_t kMaxBytes = 1024;

Result<std::string> read_start(const std::string& path) {
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    return fail_system(errno, path);
  }
  std::array<char, kMaxBytes> buffer{};
  ssize_t got = ::read(fd, buffer.data(), buffer.size());
  int error = errno;
  ::close(fd);
  if (got < 0) {
    return fail_system(error, path);
  }
  return std::string(buffer.data(), static_cast<std::size_t>(got));
}

std::string host_name() {
  std::array<char, 256> name{};
  if (gethostname(name.data(), name.size() - 1) != 0) {
    return "localhost";
  }
  return name.data();
}

struct ProcessState {
  char state = 'X';
  std::uint64_t start_ticks = 0;
};

ProcessState process_state(pid_t pid) {
  ProcessState result;
  Result<std::string> stat = read_start(fmt::format("/proc/{}/stat", pid));
  // The second field is the program's name in parentheses and may hold anything.
  std::size_t name_end = stat ? stat->rfind(") ") : std::string::npos;
  if (name_end == std::string::npos) {
    return result;
  }
  if (std::sscanf(stat->c_str() + name_end + 2,
                  "%c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %lu",
                  &result.state,
                  &result.start_ticks) != 2) {
    return {};
  }
  return result;
}

// The letter of proc(5); 'X' when it is not on this host (any more).
char state_of(const ProcessRecord& process) {
  if (process.pid <= 0 || process.host != host_name()) {
    return 'X';
  }
  ProcessState now = process_state(process.pid);
  return now.start_ticks == process.start_ticks ? now.state : 'X';
}

bool is_same_file(int fd, const std::string& path) {
  struct stat opened{};
  struct stat named{};
  return ::fstat(fd, &opened) == 0 && ::stat(path.c_str(), &named) == 0 &&
         opened.st_ino == named.st_ino && opened.st_dev == named.st_dev;
}

}  // namespace

ProcessRecord this_process() {
  return {getpid(), process_start_ticks(getpid()), host_name()};
}

std::uint64_t process_start_ticks(pid_t pid) {
  return process_state(pid).start_ticks;
}

bool is_running(const ProcessRecord& process) {
  char state = state_of(process);
  return state != 'Z' && state != 'X';
}

bool is_stopped(const ProcessRecord& process) {
  return state_of(process) == 'T';
}

Result<ProcessRecord> PidFile::read(const std::string& path) {
  BENCHFS_TRY(std::string text, read_start(path));
  ProcessRecord record;
  std::array<char, 256> host{};
  if (std::sscanf(text.c_str(),
                  "pid=%d start=%lu host=%255s",
                  &record.pid,
                  &record.start_ticks,
                  host.data()) != 3) {
    return fail(Errc::kMalformed, fmt::format("{}: not a pid file", path));
  }
  record.host = host.data();
  return record;
}

Result<PidFile> PidFile::acquire(const std::string& path) {
  for (;;) {
    int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0644);
    if (fd < 0) {
      return fail_system(errno, path);
    }
    PidFile file(path, fd);
    if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
      int error = errno;
      ::close(std::exchange(file.fd_, -1));
      if (error != EWOULDBLOCK) {
        return fail_system(error, fmt::format("lock of {}", path));
      }
      Result<ProcessRecord> owner = read(path);
      return fail(Errc::kBusy,
                  owner ? fmt::format("in use by process {} on {}", owner->pid, owner->host)
                        : fmt::format("{} is locked by another process", path));
    }
    if (!is_same_file(fd, path)) {  // its former owner removed it before we got the lock
      ::close(std::exchange(file.fd_, -1));
      continue;
    }
    ProcessRecord self = this_process();
    std::string line =
        fmt::format("pid={} start={} host={}\n", self.pid, self.start_ticks, self.host);
    if (::ftruncate(fd, 0) != 0 ||
        ::write(fd, line.data(), line.size()) != static_cast<ssize_t>(line.size())) {
      return fail_system(errno, path);
    }
    return file;
  }
}

void PidFile::leave_behind() {
  if (fd_ >= 0) {
    ::close(std::exchange(fd_, -1));
  }
}

PidFile::~PidFile() {
  if (fd_ >= 0) {
    ::unlink(path_.c_str());
    ::close(fd_);
  }
}

}  // namespace benchfs
