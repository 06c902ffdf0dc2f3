// Starting a program under the preload library: what benchfs-run and the launcher `benchfs` share.
// It needs libc only.
#pragma once

#include <climits>

namespace benchfs::preload {

struct RunOptions {
  const char* prefix = "/bfs";
  const char* registry = nullptr;  // nullptr: as the environment says
  char** command = nullptr;
};

// Reads "[--mount PREFIX] [--registry-dir DIR] -- PROGRAM [ARGUMENT…]". False for anything else.
bool parse_run(char** arguments, RunOptions& options);
// The path of a file in the directory of this program; it need not exist.
bool find_beside(const char* name, char path[PATH_MAX]);
bool find_preload_library(char path[PATH_MAX]);
// What the program finds in its environment.
void prepare_environment(const RunOptions& options, const char* library);

}  // namespace benchfs::preload
