// The entries of one directory on one shard in byte order of their names, for listing.
//
// A sorted array of leaves; a leaf holds the entries of a range of names, at most kMaxLeafEntries.
// A leaf is put in order only when somebody lists it or it must be split, so an insertion is a
// binary search over the leaves and an append. The index borrows the records: the entry table owns
// them and takes them out here before it frees them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "meta/entry.h"

namespace benchfs::meta {

class DirectoryIndex {
 public:
  static constexpr std::size_t kMaxLeafEntries = 512;

  // The name must not be in the index.
  void insert(const EntryRecord& record);
  // The record must be in the index.
  void erase(const EntryRecord& record);
  // The record must be in the index.
  void set_entry(EntryRecord& record, Entry entry) {
    directories_ -= S_ISDIR(record.entry().type) ? 1 : 0;
    record.set_entry(entry);
    directories_ += S_ISDIR(entry.type) ? 1 : 0;
  }
  [[nodiscard]] bool empty() const { return leaves_.empty(); }
  // Entries that are directories.
  [[nodiscard]] std::uint32_t directories() const { return directories_; }

  // Calls visit(record) for the names after `cursor` in byte order until it returns false. True
  // when every such name was accepted. `visit` must not change the index.
  template <typename Visit>
  bool visit_after(std::string_view cursor, Visit&& visit) const {
    if (leaves_.empty()) {
      return true;
    }
    for (std::size_t at = leaf_of(cursor); at < leaves_.size(); ++at) {
      // Sorting changes the order within a leaf, not what the index holds.
      Leaf& leaf = *leaves_[at];
      leaf.sort();
      auto record = std::upper_bound(
          leaf.records.begin(),
          leaf.records.end(),
          cursor,
          [](std::string_view name, const EntryRecord* other) { return name < other->name(); });
      for (; record != leaf.records.end(); ++record) {
        if (!visit(**record)) {
          return false;
        }
      }
    }
    return true;
  }

 private:
  struct Leaf {
    std::string lower;  // names of this leaf are >= lower, and < lower of the next leaf
    std::vector<const EntryRecord*> records;
    bool sorted = true;
    void sort();
  };

  [[nodiscard]] std::size_t leaf_of(std::string_view name) const;
  void split(std::size_t at);
  void merge_if_small(std::size_t at);

  std::uint32_t directories_ = 0;
  std::vector<std::unique_ptr<Leaf>> leaves_;  // none is empty; the first one's lower is not used
};

}  // namespace benchfs::meta
