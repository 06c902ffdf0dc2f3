// Removes a directory with everything below it.
#pragma once

#include <string>

#include "cli/files/session.h"

namespace benchfs::cli {

// Reports every entry that cannot be removed, except those that another process removes at the same
// time.
void remove_tree(Session& session, const std::string& directory);

}  // namespace benchfs::cli
