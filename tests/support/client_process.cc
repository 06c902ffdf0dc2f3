#include "support/client_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <vector>

#include "base/check.h"
#include "support/spawn.h"

namespace benchfs::test {
namespace {

constexpr Nanos kAnswerPatience = std::chrono::seconds(90);

}  // namespace

std::int64_t Answer::size() const {
  return details.empty() ? -1 : std::strtoll(details.c_str(), nullptr, 10);
}

ClientProcess::ClientProcess(const std::string& program,
                             const std::string& registry,
                             Nanos timeout) {
  int to_child[2];
  int from_child[2];
  BENCHFS_CHECK(::pipe2(to_child, O_CLOEXEC) == 0 && ::pipe2(from_child, O_CLOEXEC) == 0);
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_adddup2(&files, to_child[0], STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&files, from_child[1], STDOUT_FILENO);
  std::string milliseconds =
      fmt::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(timeout).count());
  pid_ = spawn({program, registry, milliseconds}, files);
  ::close(to_child[0]);
  ::close(from_child[1]);
  input_ = to_child[1];
  output_ = from_child[0];
  connected_ = answer();
}

ClientProcess::~ClientProcess() {
  kill();
  ::close(input_);
  ::close(output_);
}

Answer ClientProcess::call(const std::string& operation) {
  begin(operation);
  return answer();
}

void ClientProcess::begin(const std::string& operation) const {
  std::string line = operation + "\n";
  [[maybe_unused]] ssize_t written = ::write(input_, line.data(), line.size());
}

Answer ClientProcess::answer() {
  Deadline deadline = Deadline::after(kAnswerPatience);
  while (received_.find('\n') == std::string::npos) {
    pollfd ready{.fd = output_, .events = POLLIN, .revents = 0};
    auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline.remaining());
    if (::poll(&ready, 1, static_cast<int>(left.count())) <= 0) {
      return {.result = -ETIME, .details = "", .error = "no answer in time"};
    }
    char bytes[4096];
    ssize_t got = ::read(output_, bytes, sizeof bytes);
    if (got <= 0) {
      return {.result = -EPIPE, .details = "", .error = "the client has ended"};
    }
    received_.append(bytes, static_cast<std::size_t>(got));
  }
  std::size_t end = received_.find('\n');
  std::string line = received_.substr(0, end);
  received_.erase(0, end + 1);
  std::size_t first = line.find('\t');
  std::size_t second = line.find('\t', first + 1);
  return {.result = std::strtoll(line.c_str(), nullptr, 10),
          .details = line.substr(first + 1, second - first - 1),
          .error = line.substr(second + 1)};
}

void ClientProcess::stop() const {
  ::kill(pid_, SIGSTOP);
  wait_until_stopped();
}

void ClientProcess::wait_until_stopped() const {
  int status = 0;
  ::waitpid(pid_, &status, WUNTRACED);
}

bool ClientProcess::stops_before_it_answers() const {
  for (;;) {
    int status = 0;
    if (::waitpid(pid_, &status, WUNTRACED | WNOHANG) == pid_) {
      return WIFSTOPPED(status);
    }
    pollfd ready{.fd = output_, .events = POLLIN, .revents = 0};
    if (::poll(&ready, 1, 1) > 0) {
      return false;
    }
  }
}

void ClientProcess::go_on() const {
  ::kill(pid_, SIGCONT);
}

void ClientProcess::kill() {
  if (pid_ > 0) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }
}

}  // namespace benchfs::test
