// Where a file system is or will be mounted: what is there already, and how it is taken away.
//
// Nothing here touches a mounted file system without a bound: its process may be stopped.
//
// Thread: any; examine() forks and belongs to programs with one thread.
#pragma once

#include <string>

#include "base/error.h"

namespace benchfs::mount {

struct MountPoint {
  enum class State : std::uint8_t {
    kFree,     // a directory, nothing mounted on it
    kServed,   // one of ours, and it answers
    kDead,     // one of ours whose process has ended
    kSilent,   // one of ours that does not answer within a second
    kForeign,  // another file system
  };
  std::string path;  // absolute, without symlinks
  State state = State::kFree;
  std::string type;  // of what is mounted, as in /proc/self/mountinfo
};

// Errors: of the directory (ENOENT, ENOTDIR, …).
Result<MountPoint> examine(const std::string& directory);

// Takes away what is mounted at an absolute path: by umount2(2) as root, else by fusermount3.
// `is_lazy`: at once, even if it is in use; what is open then goes on until it is closed. EBUSY:
// it is in use. May wait for the mounted file system.
Status unmount(const std::string& path, bool is_lazy);

// Lets the kernel read ahead of programs by as much as two requests of the largest size, not the
// 128 KiB of its default. Root may; for others nothing changes.
void read_far_ahead(const std::string& path);

// What is mounted at the path according to the text of a mountinfo file; all empty if nothing is.
struct Mounted {
  std::string type;
  std::string device;  // its number, as "0:39"
};
Mounted find_mounted(std::string_view mountinfo, std::string_view path);

}  // namespace benchfs::mount
