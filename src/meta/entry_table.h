// All directory entries of one shard: found by (parent, name) in a hash table, listed by parent in
// byte order through one DirectoryIndex per directory that has entries here.
//
// Single-threaded. Knows nothing of inodes: an entry's inode, and its parent, may live elsewhere.
#pragma once

#include <tsl/robin_map.h>
#include <tsl/robin_set.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "meta/directory_index.h"
#include "meta/entry.h"
#include "wire/ids.h"

namespace benchfs::meta {

class EntryTable {
 public:
  EntryTable();
  EntryTable(const EntryTable&) = delete;
  EntryTable& operator=(const EntryTable&) = delete;

  // nullptr when there is no such entry. Valid until the entry is erased.
  [[nodiscard]] EntryRecord* find(wire::InodeId parent, std::string_view name) const;
  // There must be no such entry.
  void insert(wire::InodeId parent, std::string_view name, Entry entry);
  // False when there is no such entry.
  bool erase(wire::InodeId parent, std::string_view name);

  struct Page {
    std::uint32_t entry_count = 0;
    bool at_end = false;  // no entry follows
  };
  // Appends packed wire::DirEntryHeader + name for the entries after `cursor`, as many as fit into
  // max_bytes.
  Page list(wire::InodeId directory,
            std::string_view cursor,
            std::size_t max_bytes,
            std::vector<std::byte>& out) const;
  [[nodiscard]] bool has_entries(wire::InodeId directory) const;
  // How many of its entries are directories.
  [[nodiscard]] std::uint32_t directories_in(wire::InodeId directory) const;
  void set_entry(EntryRecord& record, Entry entry);

  [[nodiscard]] std::uint64_t size() const { return size_; }

 private:
  struct Key {
    wire::InodeId parent;
    std::string_view name;
    [[nodiscard]] std::uint64_t hash() const;
  };
  struct Hash {
    std::size_t operator()(const EntryRecord::Ptr& record) const {
      return Key{record->parent(), record->name()}.hash();
    }
  };
  struct Equal {
    using is_transparent = void;
    bool operator()(const Key& key, const EntryRecord::Ptr& record) const {
      return key.parent == record->parent() && key.name == record->name();
    }
    bool operator()(const EntryRecord::Ptr& record, const Key& key) const {
      return (*this)(key, record);
    }
    bool operator()(const EntryRecord::Ptr& a, const EntryRecord::Ptr& b) const { return a == b; }
  };
  using Records = tsl::robin_set<EntryRecord::Ptr,
                                 Hash,
                                 Equal,
                                 std::allocator<EntryRecord::Ptr>,
                                 /*StoreHash=*/true>;
  using Indexes = tsl::robin_map<wire::InodeId, DirectoryIndex>;

  // The tables are split by the upper hash bits so that growing one, which happens in a single
  // step, moves a small part of the entries.
  static constexpr int kPartitionBits = 6;
  static std::size_t partition_of(std::uint64_t hash) {
    return static_cast<std::size_t>(hash >> (64 - kPartitionBits));
  }
  [[nodiscard]] const Indexes& indexes_of(wire::InodeId directory) const;
  Indexes& indexes_of(wire::InodeId directory);

  std::array<Records, std::size_t{1} << kPartitionBits> records_;
  std::array<Indexes, std::size_t{1} << kPartitionBits> indexes_;
  std::uint64_t size_ = 0;
};

}  // namespace benchfs::meta
