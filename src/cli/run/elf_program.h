// What the file of a program says about how it reaches the kernel.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"

namespace benchfs::cli {

// A reason why the preload library does not see all that a program does.
struct Bypass {
  bool is_whole;  // it sees nothing at all
  std::string reason;
};

// Follows a script to its interpreter. Errors: the program cannot be read, or is none.
Result<std::vector<Bypass>> find_bypasses(const std::string& path);

// Where a program's name leads, as execvp() would find it. ENOENT when nowhere.
Result<std::string> find_program(const std::string& name);

}  // namespace benchfs::cli
