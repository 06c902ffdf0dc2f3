#include "cli/mount/background.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "cli/command.h"

namespace benchfs::cli {

Result<Background::Forked> Background::fork() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
    return fail_system(errno, "pipe");
  }
  Fd from_child(ends[0]);
  Fd to_parent(ends[1]);
  pid_t child = ::fork();
  if (child < 0) {
    return fail_system(errno, "fork");
  }
  Forked forked;
  if (child == 0) {
    ::setsid();
    forked.background = Background(std::move(to_parent));
    return forked;
  }
  to_parent.reset();
  char word = 0;
  ssize_t got = 0;
  while ((got = ::read(from_child.get(), &word, 1)) < 0 && errno == EINTR) {
  }
  if (got == 1) {
    forked.exit_code = kExitOk;
    return forked;
  }
  int status = 0;  // it has said why
  ::waitpid(child, &status, 0);
  forked.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : kExitFailed;
  return forked;
}

void Background::ready(const std::string& log_path) {
  Fd nothing(::open("/dev/null", O_RDWR | O_CLOEXEC));
  Fd log(::open(log_path.empty() ? "/dev/null" : log_path.c_str(),
                O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC,
                0644));
  ::dup2(nothing.get(), STDIN_FILENO);
  ::dup2(nothing.get(), STDOUT_FILENO);
  ::dup2(log.is_open() ? log.get() : nothing.get(), STDERR_FILENO);
  [[maybe_unused]] int moved = ::chdir("/");
  [[maybe_unused]] ssize_t written = ::write(parent_.get(), "+", 1);
  parent_.reset();
}

}  // namespace benchfs::cli
