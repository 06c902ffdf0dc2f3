// What names an entry: the directory and the name in it.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "wire/ids.h"

namespace benchfs::server {

struct EntryKey;

// Borrows the name, from a request for as long as it is served.
struct EntryRef {
  wire::InodeId parent;
  std::string_view name;
  [[nodiscard]] EntryKey key() const;
};

struct EntryKey {
  wire::InodeId parent;
  std::string name;
  operator EntryRef() const { return {parent, name}; }  // NOLINT(google-explicit-constructor)
  friend bool operator==(const EntryKey&, const EntryKey&) = default;
};
inline EntryKey EntryRef::key() const {
  return {parent, std::string(name)};
}
struct EntryKeyHash {
  std::size_t operator()(const EntryKey& key) const {
    return hash_text(key.name, key.parent.value);
  }
};

}  // namespace benchfs::server
