// Which inodes the kernel knows, or will know when it takes up an answer that is on its way.
//
// Each answer that leads a name to an inode counts. When the kernel forgets an inode it says how
// many of them it had taken up.
//
// Thread: the reactor's.
#pragma once

#include <cstdint>
#include <unordered_map>

#include "mount/moved_directories.h"
#include "wire/ids.h"

namespace benchfs::mount {

class KernelInodes {
 public:
  // It has been answered that a name leads to the inode.
  void note_told(wire::InodeId inode) { ++answers_[inode]; }
  void note_forgotten(wire::InodeId inode, std::uint64_t answers) {
    auto found = answers_.find(inode);
    if (found == answers_.end()) {
      return;
    }
    if (found->second <= answers) {
      answers_.erase(found);
      moved_.forget(inode);
    } else {
      found->second -= answers;
    }
  }
  [[nodiscard]] bool has(wire::InodeId inode) const { return answers_.contains(inode); }
  [[nodiscard]] MovedDirectories& moved() { return moved_; }

 private:
  MovedDirectories moved_;
  std::unordered_map<wire::InodeId, std::uint64_t> answers_;
};

}  // namespace benchfs::mount
