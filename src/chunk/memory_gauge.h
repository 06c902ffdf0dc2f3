// Tells how much memory this process may still take: the least of what the machine has available
// and what each memory cgroup above the process (v1 and v2) leaves.
//
// Page cache that the kernel would drop first does not count as used. The gauge reads files in
// procfs and cgroupfs, which waits for no disk and takes about 0.1 ms.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"

namespace benchfs::chunk {

struct MemoryLeft {
  std::uint64_t bytes = 0;
  std::uint64_t total_bytes = 0;  // of the machine or the cgroup that leaves the least
  std::string limited_by;         // "the machine", or "cgroup DIRECTORY"
};

class MemoryGauge {
 public:
  // Finds the cgroups of this process. `root` is prepended to every path; "" but in tests.
  explicit MemoryGauge(std::string root = "");

  // Errors: kSystem (no /proc/meminfo).
  [[nodiscard]] Result<MemoryLeft> left() const;

 private:
  // One cgroup that may have a limit.
  struct Group {
    std::string directory;
    bool is_v2 = false;
  };
  // Adds the cgroup `path` of a hierarchy and its ancestors up to the mount.
  void add_groups(std::string directory, const std::string& mount, bool is_v2);
  [[nodiscard]] std::optional<MemoryLeft> left_in(const Group& group) const;

  std::string root_;
  std::vector<Group> groups_;
};

}  // namespace benchfs::chunk
