#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "base/check.h"
#include "doors/doors.h"
#include "doors/frames.h"
#include "support/spawn.h"

namespace benchfs::test {

AgentDoor::AgentDoor(std::vector<std::string> command) {
  int to[2];
  int from[2];
  BENCHFS_CHECK(::pipe2(to, O_CLOEXEC) == 0 && ::pipe2(from, O_CLOEXEC) == 0);
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_adddup2(&files, to[0], STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&files, from[1], STDOUT_FILENO);
  pid_ = spawn(std::move(command), files);
  ::close(to[0]);
  ::close(from[1]);
  to_ = to[1];
  from_ = from[0];
}

AgentDoor::~AgentDoor() {
  ::close(to_);
  ::close(from_);
  ::waitpid(pid_, nullptr, 0);
}

Outcome AgentDoor::call(const Call& call) {
  if (!send_frame(to_, encode(call))) {
    return {kNotHere, "the agent is gone"};
  }
  std::optional<std::string> answer = receive_frame(from_);
  return answer ? decode_outcome(*answer) : Outcome{kNotHere, "the agent is gone"};
}

}  // namespace benchfs::test
