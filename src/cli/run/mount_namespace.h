// A mount for one program alone, of which nobody else sees anything.
#pragma once

#include <optional>
#include <string>

#include "cli/command.h"

namespace benchfs::cli {

struct NamespaceMount {
  std::string directory;
  std::string log;  // where the process that serves it writes its warnings; "": nowhere
};

// Mounts in a namespace of the calling process, which is to become the program: so the program has
// its number, its signals and its exit status. A process in the background serves the mount until
// the last process of the namespace has ended. Returns an exit code when it cannot be done; the
// reason has been reported. Call before anything starts a thread.
std::optional<int> mount_for_program(const Context& context, const NamespaceMount& mount);

}  // namespace benchfs::cli
