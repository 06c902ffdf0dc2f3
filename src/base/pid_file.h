// A file that says which process owns a name, locked for as long as the process lives.
//
// The lock (flock) decides who owns the name; the content, one line, is for people and for tools
// that want to signal the owner. Start time and host tell a reused process id from the original.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <utility>

#include "base/error.h"

namespace benchfs {

struct ProcessRecord {
  pid_t pid = 0;
  std::uint64_t start_ticks = 0;  // /proc/PID/stat, field 22: clock ticks since boot
  std::string host;
};

// The calling process.
ProcessRecord this_process();
// 0 when there is no such process on this host.
std::uint64_t process_start_ticks(pid_t pid);
// True when the process runs on this host (a zombie does not).
bool is_running(const ProcessRecord& process);
// True when it does, but was told to stand still (SIGSTOP).
bool is_stopped(const ProcessRecord& process);

class PidFile {
 public:
  // Takes the name. Errors: kBusy (owned by a living process, named in the context), kSystem.
  static Result<PidFile> acquire(const std::string& path);
  // Errors: kSystem (missing, unreadable), kMalformed.
  static Result<ProcessRecord> read(const std::string& path);

  PidFile(PidFile&& other) noexcept
      : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)) {}
  PidFile& operator=(PidFile&&) = delete;
  // Removes the file.
  ~PidFile();
  // Gives up the name and leaves the file, as a process does that is killed: the sign that it did
  // not end in order.
  void leave_behind();

 private:
  PidFile(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}
  std::string path_;
  int fd_;
};

}  // namespace benchfs
