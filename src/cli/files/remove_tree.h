// Removes a directory with everything below it.
#pragma once

#include <string>

#include "cli/files/session.h"

namespace benchfs::cli {

// What cannot be removed is reported. What another process removes at the same time is not.
void remove_tree(Session& session, const std::string& directory);

}  // namespace benchfs::cli
