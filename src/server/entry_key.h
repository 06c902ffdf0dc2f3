// What names an entry: the directory and the name in it.
#pragma once

#include <cstddef>
#include <string>

#include "wire/ids.h"

namespace benchfs::server {

struct EntryKey {
  wire::InodeId parent;
  std::string name;
  friend bool operator==(const EntryKey&, const EntryKey&) = default;
};
struct EntryKeyHash {
  std::size_t operator()(const EntryKey& key) const {
    return hash_text(key.name, key.parent.value);
  }
};

}  // namespace benchfs::server
