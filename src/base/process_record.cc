#include "base/process_record.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <memory>

#include "base/fd.h"

namespace benchfs {
namespace {

// The files are one line, so at most this much is read.
constexpr std::size_t kMaxLineBytes = 1024;

Result<std::string> read_start(const std::string& path) {
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    return fail_system(errno, path);
  }
  std::array<char, kMaxLineBytes> buffer{};
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

bool has_ended(pid_t pid) {
  Fd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!process.is_open()) {
    return errno == ESRCH;
  }
  pollfd end{.fd = process.get(), .events = POLLIN, .revents = 0};
  return ::poll(&end, 1, 0) == 1;
}

bool has_open(pid_t pid, int fd) {
  struct stat wanted{};
  if (::fstat(fd, &wanted) != 0) {
    return false;
  }
  std::unique_ptr<DIR, int (*)(DIR*)> open(::opendir(fmt::format("/proc/{}/fd", pid).c_str()),
                                           ::closedir);
  while (const dirent* entry = open ? ::readdir(open.get()) : nullptr) {
    struct stat info{};
    if (::fstatat(::dirfd(open.get()), entry->d_name, &info, 0) == 0 &&
        info.st_ino == wanted.st_ino && info.st_dev == wanted.st_dev) {
      return true;
    }
  }
  return false;
}

std::string to_line(const ProcessRecord& process) {
  return fmt::format("pid={} start={} host={}\n", process.pid, process.start_ticks, process.host);
}

Result<ProcessRecord> parse_process_line(const std::string& text, std::string_view path) {
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

}  // namespace benchfs
