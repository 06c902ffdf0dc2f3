// Segment files that a daemon left behind when it was killed. A daemon that starts in the same
// directory removes them; these functions serve programs that clean up without starting one.
//
// Thread: any. The calls block.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"

namespace benchfs::chunk {

struct LeftOverFile {
  std::string path;
  std::uint64_t bytes = 0;  // allocated on the disk
};

// The segment files of a data directory and its direct subdirectories (one for each shard) that no
// running store holds. Directories and files of other users, and symbolic links, are left out. An
// absent directory has none.
Result<std::vector<LeftOverFile>> find_left_overs(const std::string& directory);

// Removes them, the lock files beside them, and the directories that are empty then. Returns what
// it removed.
Result<std::vector<LeftOverFile>> remove_left_overs(const std::string& directory);

}  // namespace benchfs::chunk
