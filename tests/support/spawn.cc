#include "support/spawn.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "base/check.h"

namespace benchfs::test {
namespace {

// Standard input ends with the test; a line on it says that nothing is left to do.
constexpr const char* kGuard = R"(
read -r line && exit
for process in /proc/[0-9]*; do
  if [ "${process#/proc/}" != $$ ] && grep -qF "$1" "$process/cmdline" 2>/dev/null; then
    kill -9 "${process#/proc/}"
  fi
done
rm -rf "$1"
)";

}  // namespace

pid_t spawn(std::vector<std::string> arguments, posix_spawn_file_actions_t& files) {
  std::vector<char*> pointers;
  for (std::string& argument : arguments) {
    pointers.push_back(argument.data());
  }
  pointers.push_back(nullptr);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
  pid_t pid = 0;
  int error = posix_spawn(&pid, pointers[0], &files, &attributes, pointers.data(), environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&files);
  BENCHFS_CHECK(error == 0);
  return pid;
}

DeathGuard::DeathGuard(const std::string& directory) {
  int life[2];
  BENCHFS_CHECK(::pipe2(life, O_CLOEXEC) == 0);
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_adddup2(&files, life[0], STDIN_FILENO);
  pid_ = spawn({"/bin/sh", "-c", kGuard, "sh", directory}, files);
  ::close(life[0]);
  life_ = life[1];
}

DeathGuard::~DeathGuard() {
  [[maybe_unused]] ssize_t written = ::write(life_, "done\n", 5);
  ::close(life_);
  ::waitpid(pid_, nullptr, 0);
}

}  // namespace benchfs::test
