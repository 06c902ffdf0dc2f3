// The agent of AgentDoor: makes the calls of libc that its standard input asks for, below the
// directory that is its first argument. Knows nothing of BenchFS.
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string>

#include "doors/frames.h"
#include "model/call.h"

int main(int argc, char** argv) {
  using namespace benchfs::test;
  if (argc < 2) {
    return 2;
  }
  umask(0);
  SystemDoor door(argv[1]);
  while (std::optional<std::string> asked = receive_frame(STDIN_FILENO)) {
    if (!send_frame(STDOUT_FILENO, encode(apply(door, decode_call(*asked))))) {
      return 1;
    }
  }
  return 0;
}
