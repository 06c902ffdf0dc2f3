// benchfs-run [--mount PREFIX] [--registry-dir DIR] -- PROGRAM [ARGUMENT…]: `benchfs run` for
// scripts that start many programs. It needs libc only, and looks at nothing but its arguments.
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>

#include "preload/settings.h"

namespace benchfs::preload {
namespace {

constexpr int kExitUsage = 2;
constexpr int kExitNotExecutable = 126;
constexpr int kExitNotFound = 127;
constexpr char kLibrary[] = "libbenchfs_preload.so";

struct Options {
  const char* prefix = "/bfs";
  const char* registry = nullptr;
  char** command = nullptr;
};

bool parse(char** arguments, Options& options) {
  while (*++arguments != nullptr) {
    if (std::strcmp(*arguments, "--") == 0) {
      options.command = arguments + 1;
      return *options.command != nullptr;
    }
    const char** value = std::strcmp(*arguments, "--mount") == 0          ? &options.prefix
                         : std::strcmp(*arguments, "--registry-dir") == 0 ? &options.registry
                                                                          : nullptr;
    if (value == nullptr || arguments[1] == nullptr) {
      return false;
    }
    *value = *++arguments;
  }
  return false;
}

// Beside this program, as both are built and installed.
bool find_library(char* path) {
  ssize_t bytes = readlink("/proc/self/exe", path, PATH_MAX - 128);
  if (bytes <= 0) {
    return false;
  }
  path[bytes] = '\0';
  for (int level = 0; level < 2; ++level) {
    if (char* slash = std::strrchr(path, '/')) {
      *slash = '\0';
    }
  }
  std::size_t end = std::strlen(path);
  for (const char* directory : {"lib", BENCHFS_LIBDIR}) {
    std::snprintf(path + end, PATH_MAX - end, "/%s/%s", directory, kLibrary);
    if (access(path, R_OK) == 0) {
      return true;
    }
  }
  return false;
}

void choose_registry(const char* given, char* path) {
  const char* from_environment = std::getenv(kRegistryVariable);
  const char* runtime = std::getenv("XDG_RUNTIME_DIR");
  const char* chosen = given != nullptr ? given : from_environment;
  char directory[PATH_MAX] = "";
  if (chosen != nullptr && *chosen != '\0') {
    bool is_relative = *chosen != '/' && getcwd(directory, sizeof directory) != nullptr;
    std::snprintf(
        path, PATH_MAX, "%s%s%s", is_relative ? directory : "", is_relative ? "/" : "", chosen);
  } else if (runtime != nullptr && *runtime == '/') {
    std::snprintf(path, PATH_MAX, "%s/benchfs", runtime);
  } else {
    std::snprintf(path, PATH_MAX, "/tmp/benchfs-%u", getuid());
  }
}

int run(char** arguments) {
  Options options;
  char library[PATH_MAX];
  char registry[PATH_MAX];
  if (!parse(arguments, options)) {
    std::fputs("usage: benchfs-run [--mount PREFIX] [--registry-dir DIR] -- PROGRAM [ARGUMENT…]\n",
               stderr);
    return kExitUsage;
  }
  if (!is_usable_prefix(options.prefix)) {
    std::fprintf(
        stderr, "benchfs-run: %s: not an absolute path without '.' and '..'\n", options.prefix);
    return kExitUsage;
  }
  if (!find_library(library)) {
    std::fprintf(stderr, "benchfs-run: %s is not installed\n", kLibrary);
    return kExitNotExecutable;
  }
  choose_registry(options.registry, registry);
  const char* others = std::getenv(kPreloadVariable);
  char preload[2 * PATH_MAX];
  bool has_others = others != nullptr && *others != '\0';
  std::snprintf(
      preload, sizeof preload, "%s%s%s", library, has_others ? ":" : "", has_others ? others : "");
  setenv(kPreloadVariable, preload, 1);
  setenv(kMountVariable, options.prefix, 1);
  setenv(kRegistryVariable, registry, 1);
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
