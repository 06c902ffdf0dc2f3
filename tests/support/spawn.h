// Starts programs for tests.
#pragma once

#include <spawn.h>
#include <sys/types.h>

#include <string>
#include <vector>

namespace benchfs::test {

// Starts `arguments[0]` in a process group of its own: tests stop processes, and the kernel sends
// SIGHUP to every member of a group that is orphaned while one of them stands still, such as that
// of a test run whose shell has ended. Consumes `files`.
pid_t spawn(std::vector<std::string> arguments, posix_spawn_file_actions_t& files);

// When this process ends before the guard is destroyed, whatever ended it, kills every process that
// has `directory` in its command line, and removes the directory.
class DeathGuard {
 public:
  explicit DeathGuard(const std::string& directory);
  DeathGuard(const DeathGuard&) = delete;
  DeathGuard& operator=(const DeathGuard&) = delete;
  ~DeathGuard();

 private:
  pid_t pid_ = 0;
  int life_ = -1;  // a pipe that ends with this process
};

}  // namespace benchfs::test
