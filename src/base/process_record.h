// Which process: its id, and what tells it from a later one with the same id.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>

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
// True when it runs but is suspended (SIGSTOP).
bool is_stopped(const ProcessRecord& process);
// True when the process has ended for certain, also if nobody has waited for it yet.
bool has_ended(pid_t pid);
// True when the running process has the open file `fd` open itself.
bool has_open(pid_t pid, int fd);

// One line of text and back. `path` names its source in the error. Errors: kMalformed.
std::string to_line(const ProcessRecord& process);
Result<ProcessRecord> parse_process_line(const std::string& text, std::string_view path);

}  // namespace benchfs
