#include "preload/starting.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>

#include "preload/settings.h"

namespace benchfs::preload {
namespace {

constexpr char kLibrary[] = "libbenchfs_preload.so";

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

// "/bfs/" is "/bfs".
void drop_trailing_slashes(char* path) {
  std::size_t bytes = std::strlen(path);
  while (bytes > 1 && path[bytes - 1] == '/') {
    path[--bytes] = '\0';
  }
}

}  // namespace

bool parse_run(char** arguments, RunOptions& options) {
  for (; *arguments != nullptr; ++arguments) {
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
    if (value == &options.prefix) {
      drop_trailing_slashes(*arguments);
    }
  }
  return false;
}

bool find_beside(const char* name, char path[PATH_MAX]) {
  ssize_t bytes = readlink("/proc/self/exe", path, PATH_MAX - 128);
  if (bytes <= 0) {
    return false;
  }
  path[bytes] = '\0';
  char* slash = std::strrchr(path, '/');
  if (slash == nullptr) {
    return false;
  }
  std::strcpy(slash + 1, name);
  return true;
}

// Beside the directory of this program, as both are built and installed.
bool find_preload_library(char path[PATH_MAX]) {
  if (!find_beside("", path)) {
    return false;
  }
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

void prepare_environment(const RunOptions& options, const char* library) {
  char registry[PATH_MAX];
  choose_registry(options.registry, registry);
  const char* others = std::getenv(kPreloadVariable);
  char preload[2 * PATH_MAX];
  bool has_others = others != nullptr && *others != '\0';
  std::snprintf(
      preload, sizeof preload, "%s%s%s", library, has_others ? ":" : "", has_others ? others : "");
  setenv(kPreloadVariable, preload, 1);
  setenv(kMountVariable, options.prefix, 1);
  setenv(kRegistryVariable, registry, 1);
}

}  // namespace benchfs::preload
