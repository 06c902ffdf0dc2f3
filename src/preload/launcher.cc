// benchfs-run [--mount PREFIX] [--registry-dir DIR] -- PROGRAM [ARGUMENT…]: `benchfs run` that
// looks at nothing but its arguments, for launchers that cannot take a warning. It needs libc only.
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "preload/settings.h"
#include "preload/starting.h"

namespace benchfs::preload {
namespace {

constexpr int kExitUsage = 2;
constexpr int kExitNotExecutable = 126;
constexpr int kExitNotFound = 127;

int run(char** arguments) {
  RunOptions options;
  char library[PATH_MAX];
  if (!parse_run(arguments + 1, options)) {
    std::fputs("usage: benchfs-run [--mount PREFIX] [--registry-dir DIR] -- PROGRAM [ARGUMENT…]\n",
               stderr);
    return kExitUsage;
  }
  if (!is_usable_prefix(options.prefix)) {
    std::fprintf(
        stderr, "benchfs-run: %s: not an absolute path without '.' and '..'\n", options.prefix);
    return kExitUsage;
  }
  if (!find_preload_library(library)) {
    std::fputs("benchfs-run: libbenchfs_preload.so is not installed\n", stderr);
    return kExitNotExecutable;
  }
  prepare_environment(options, library);
  execvp(options.command[0], options.command);
  int error = errno;
  std::fprintf(stderr, "benchfs-run: %s: %s\n", options.command[0], std::strerror(error));
  return error == ENOENT ? kExitNotFound : kExitNotExecutable;
}

}  // namespace
}  // namespace benchfs::preload

int main(int, char** arguments) {
  return benchfs::preload::run(arguments);
}
