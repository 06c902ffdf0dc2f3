// benchfs: what users start. It runs a program under the preload library at once if there is
// nothing to say about it first, and becomes benchfs-cli for everything else: that is a large
// program, and a script starts thousands of small ones.
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "preload/plain_program.h"
#include "preload/settings.h"
#include "preload/starting.h"

namespace benchfs::preload {
namespace {

constexpr int kExitFailed = 1;
constexpr std::size_t kLongestPrefix = 199;  // of `benchfs run`

// As execvp() looks for it. False when it is not there.
bool find_program(const char* name, char path[PATH_MAX]) {
  if (std::strchr(name, '/') != nullptr) {
    return std::snprintf(path, PATH_MAX, "%s", name) < PATH_MAX && access(path, X_OK) == 0;
  }
  const char* rest = std::getenv("PATH");
  while (rest != nullptr && *rest != '\0') {
    std::size_t bytes = std::strcspn(rest, ":");
    int length = std::snprintf(path,
                               PATH_MAX,
                               "%.*s/%s",
                               bytes == 0 ? 1 : static_cast<int>(bytes),
                               bytes == 0 ? "." : rest,
                               name);
    if (length < PATH_MAX && access(path, X_OK) == 0) {
      return true;
    }
    rest += bytes + (rest[bytes] == ':' ? 1 : 0);
  }
  return false;
}

// Returns when there is more to it.
void run_at_once(char** arguments) {
  RunOptions options;
  char program[PATH_MAX];
  char library[PATH_MAX];
  if (parse_run(arguments, options) && is_usable_prefix(options.prefix) &&
      std::strlen(options.prefix) <= kLongestPrefix && access(options.prefix, F_OK) != 0 &&
      find_program(options.command[0], program) && is_plain_program(program) &&
      find_preload_library(library)) {
    prepare_environment(options, library);
    execv(program, options.command);
  }
}

int become_cli(char** arguments) {
  char program[PATH_MAX];
  if (find_beside("benchfs-cli", program)) {
    execv(program, arguments);
  }
  std::fprintf(stderr, "benchfs: benchfs-cli, which belongs beside it: %s\n", std::strerror(errno));
  return kExitFailed;
}

}  // namespace
}  // namespace benchfs::preload

int main(int count, char** arguments) {
  if (count > 1 && std::strcmp(arguments[1], "run") == 0) {
    benchfs::preload::run_at_once(arguments + 2);
  }
  return benchfs::preload::become_cli(arguments);
}
