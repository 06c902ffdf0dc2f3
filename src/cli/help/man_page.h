// Manual pages, made from what --help knows.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"

namespace CLI {
class App;
}

namespace benchfs::cli {

// The application, its commands and theirs, each after its parent, those without help left out.
std::vector<CLI::App*> all_commands(CLI::App& app);
// "benchfs cp"; with another separator "benchfs-cp".
std::string full_name(const CLI::App& command, char separator = ' ');

// The page of a command for section 1, as troff's man macros.
std::string man_page(CLI::App& command);

// Writes the pages of all commands into a directory, which is made if it is missing.
Status write_man_pages(CLI::App& app, const std::string& directory);

}  // namespace benchfs::cli
