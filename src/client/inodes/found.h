// What a server says about an inode or a directory entry.
#pragma once

#include <cstdint>
#include <string>

#include "wire/attr.h"
#include "wire/messages.h"

namespace benchfs::client {

struct Found {
  wire::Attr attr;
  std::string target;  // of a symlink
  std::uint32_t flags = 0;

  // The inode lives on another shard than its entry: `attr` holds only inode and file type.
  [[nodiscard]] bool is_remote() const { return (flags & wire::kEntryRemote) != 0; }
};

}  // namespace benchfs::client
