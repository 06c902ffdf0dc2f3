// The extended attributes of the inodes of one shard.
//
// Few inodes have any, so they are beside the table of inodes and not in it. Names come with their
// namespace. Single-threaded. Knows no inodes.
#pragma once

#include <tsl/robin_map.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "wire/ids.h"

namespace benchfs::meta {

class XattrTable {
 public:
  // `flags`: wire::SetXattrFlags. EEXIST and ENODATA as they say; ENOSPC beyond the limits of one
  // inode (wire/limits.h), or beyond `max_bytes` of all.
  Status set(wire::InodeId inode,
             std::string_view name,
             std::string_view value,
             std::uint32_t flags,
             std::uint64_t max_bytes);
  // Borrowed until the inode's attributes change.
  [[nodiscard]] std::optional<std::string_view> find(wire::InodeId inode,
                                                     std::string_view name) const;
  // The names, with a NUL behind each.
  [[nodiscard]] std::string list(wire::InodeId inode) const;
  void forget(wire::InodeId inode);
  // Names and values of all inodes.
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }

 private:
  struct Attribute {
    std::string name;
    std::string value;
    [[nodiscard]] std::uint64_t bytes() const { return name.size() + value.size(); }
  };
  using Attributes = std::vector<Attribute>;

  tsl::robin_map<wire::InodeId, Attributes, std::hash<wire::InodeId>> inodes_;
  std::uint64_t bytes_ = 0;
};

}  // namespace benchfs::meta
