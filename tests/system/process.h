// Real processes for the system tests: started, heard, waited for, and gone at the end of the test.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"

namespace benchfs::test {

struct Ended {
  int exit_code = -1;  // -1: by a signal, or not in time
  int signal = 0;
  std::string out;
  std::string err;
};

// A child with its output in two files below a directory. Killed by its destructor.
class Process {
 public:
  // `arguments[0]` is the program. `directory` must exist and outlive this.
  Process(std::vector<std::string> arguments, const std::string& directory);
  Process(Process&& other) noexcept
      : pid_(std::exchange(other.pid_, 0)), stem_(std::move(other.stem_)) {}
  Process& operator=(Process&&) = delete;
  ~Process();

  [[nodiscard]] pid_t pid() const { return pid_; }
  // The text that it has written to standard error so far.
  [[nodiscard]] std::string err() const;
  // True when its standard error holds `text`, before the deadline and before it ends.
  [[nodiscard]] bool wait_for_line(const std::string& text, Deadline deadline) const;
  void signal(int number) const;
  // Kills it at the deadline.
  Ended wait(Deadline deadline);

 private:
  pid_t pid_ = 0;
  std::string stem_;
};

std::vector<pid_t> children_of(pid_t pid);
// True while the process runs; a zombie does not.
bool runs(pid_t pid);
// Waits for the end of a process that need not be a child.
bool wait_for_end(pid_t pid, Deadline deadline);

// Stops a process that need not be a child (SIGSTOP); returns when it stands still. False after ten
// seconds.
bool stop(pid_t pid);

std::string read_file(const std::string& path);
void write_file(const std::string& path, const std::string& text);
// Nanoseconds that all threads of a process have run.
std::uint64_t cpu_ns(pid_t pid);

// Gives this process and its children a mount namespace of their own, so that a test can mount and
// nobody else sees it. False where the kernel does not allow that.
bool enter_private_mounts();
// An empty tmpfs on an existing directory, while this lives.
class TmpfsMount {
 public:
  TmpfsMount(std::string directory, std::uint64_t bytes);
  TmpfsMount(const TmpfsMount&) = delete;
  TmpfsMount& operator=(const TmpfsMount&) = delete;
  ~TmpfsMount();
  [[nodiscard]] bool is_mounted() const { return mounted_; }

 private:
  std::string directory_;
  bool mounted_;
};

}  // namespace benchfs::test
