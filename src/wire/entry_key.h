// What names an entry: the directory and the name in it.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/hash.h"
#include "wire/ids.h"

namespace benchfs::wire {

struct EntryKey;

// Borrows the name: on a server from a request, for as long as it is served.
struct EntryRef {
  InodeId parent;
  std::string_view name;
  [[nodiscard]] EntryKey key() const;
};

struct EntryKey {
  InodeId parent;
  std::string name;
  operator EntryRef() const { return {parent, name}; }  // NOLINT(google-explicit-constructor)
  friend bool operator==(const EntryKey&, const EntryKey&) = default;
};
inline EntryKey EntryRef::key() const {
  return {parent, std::string(name)};
}
struct EntryKeyHash {
  using is_transparent = void;
  std::size_t operator()(EntryRef key) const { return hash_text(key.name, key.parent.value); }
};
// For tables that are searched without making a key.
struct EntryKeyEqual {
  using is_transparent = void;
  bool operator()(EntryRef a, EntryRef b) const { return a.parent == b.parent && a.name == b.name; }
};

}  // namespace benchfs::wire
