// What a client remembers of directories: (parent inode, name) -> directory inode.
//
// An entry may be used for the lease the server granted with the lookup, counted from before the
// request was sent, so that it ends here before it ends there. Renames are pushed by the server;
// removed directories are found out by ESTALE. Bounded: when full it is emptied.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>

#include "base/clock.h"
#include "base/hash.h"
#include "wire/ids.h"

namespace benchfs::client {

class DirectoryCache {
 public:
  static constexpr std::size_t kMaxEntries = 64 * 1024;
  // Shorter than the server's lease of 10 s by a margin for the clock's granularity.
  static constexpr Nanos kLease = std::chrono::milliseconds(9500);

  // 0 when unknown.
  [[nodiscard]] wire::InodeId find(wire::InodeId parent,
                                   std::string_view name,
                                   MonoTime now) const {
    auto found = entries_.find(KeyView{parent, name});
    if (found == entries_.end() || found->second.until <= now) {
      return {};
    }
    return found->second.inode;
  }
  void put(wire::InodeId parent, std::string_view name, wire::InodeId inode, MonoTime asked_at) {
    if (entries_.size() >= kMaxEntries) {
      entries_.clear();
    }
    entries_.insert_or_assign(Key{parent, std::string(name)}, Value{inode, asked_at + kLease});
  }
  void forget(wire::InodeId parent, std::string_view name) {
    auto found = entries_.find(KeyView{parent, name});
    if (found != entries_.end()) {
      entries_.erase(found);
    }
    ++version_;
  }
  void clear() {
    entries_.clear();
    ++version_;
  }
  // Changes when something was forgotten: a lookup under way meanwhile must not be cached.
  [[nodiscard]] std::uint64_t version() const { return version_; }

 private:
  struct KeyView {
    wire::InodeId parent;
    std::string_view name;
  };
  struct Key {
    wire::InodeId parent;
    std::string name;
    operator KeyView() const { return {parent, name}; }  // NOLINT(google-explicit-constructor)
  };
  struct KeyHash {
    using is_transparent = void;
    std::size_t operator()(KeyView key) const { return hash_text(key.name, key.parent.value); }
  };
  struct KeyEqual {
    using is_transparent = void;
    bool operator()(KeyView a, KeyView b) const { return a.parent == b.parent && a.name == b.name; }
  };
  struct Value {
    wire::InodeId inode;
    MonoTime until;
  };

  std::unordered_map<Key, Value, KeyHash, KeyEqual> entries_;
  std::uint64_t version_ = 0;
};

}  // namespace benchfs::client
