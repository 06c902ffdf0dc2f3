// The agent of AgentDoor: makes the calls of libc that its standard input asks for, below the
// directory that is its first argument. Knows nothing of BenchFS.
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string>

#include "doors/call.h"
#include "doors/frames.h"

namespace benchfs::test {
namespace {

int serve(const std::string& root) {
  umask(0);
  SystemDoor door(root);
  while (std::optional<std::string> asked = receive_frame(STDIN_FILENO)) {
    if (!send_frame(STDOUT_FILENO, encode(apply(door, decode_call(*asked))))) {
      return 1;
    }
  }
  return 0;
}

}  // namespace
}  // namespace benchfs::test

int main(int argc, char** argv) {
  return argc < 2 ? 2 : benchfs::test::serve(argv[1]);
}
