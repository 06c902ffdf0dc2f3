// Completion of command lines in a shell, made from what --help knows.
#pragma once

#include <string>

namespace CLI {
class App;
}

namespace benchfs::cli {

// A script for bash; zsh reads it after `bashcompinit`. Completes commands, options, local files
// and, by asking the cluster, paths that begin with bfs:.
std::string bash_completion(CLI::App& app);

}  // namespace benchfs::cli
