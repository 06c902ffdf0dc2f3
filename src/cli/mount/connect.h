// The connection of a process that serves a mount.
#pragma once

#include <memory>

#include "cli/command.h"

namespace benchfs::cli {

// A cluster that is down is reported within two seconds.
Result<std::unique_ptr<client::Client>> connect_for_mount(const Context& context);

}  // namespace benchfs::cli
