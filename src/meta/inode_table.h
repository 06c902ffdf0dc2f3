// The inodes of one shard, found by number in constant time.
//
// Numbers are given out in order and never again, so the table is pages of pointers, indexed by the
// counter; a page goes away with its last inode. A request looks for its inode and its directory
// several times, so the pages that were looked at last are found without hashing.
// Single-threaded. References stay valid until erase().
#pragma once

#include <tsl/robin_map.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "wire/attr.h"
#include "wire/ids.h"

namespace benchfs::meta {

struct Inode {
  wire::Attr attr;  // nlink 0: unlinked, kept while it is open
  // When attr.mtime_ns was decided: the time of a write, or of the call that set it. A write that
  // is reported late but happened before a utimens() must not undo it.
  std::int64_t mtime_decided_ns = 0;
  // Made without a name and never removed from one: it may get one while attr.nlink is 0.
  bool is_linkable = false;
  std::unique_ptr<char[]> target;  // symlinks: attr.size bytes

  [[nodiscard]] std::string_view target_text() const { return {target.get(), attr.size}; }
};

class InodeTable {
 public:
  // New inodes are numbered from `first_counter` on, or from the lowest that is free.
  InodeTable(wire::ShardId self, std::uint64_t first_counter);
  InodeTable(const InodeTable&) = delete;
  InodeTable& operator=(const InodeTable&) = delete;

  // nullptr when there is no such inode here.
  [[nodiscard]] Inode* find(wire::InodeId id) const;
  // A new inode with the next number in attr.inode, all else zero.
  Inode& make();
  // The root: only on shard 0, only once.
  Inode& make_root();
  // The inode must exist.
  void erase(wire::InodeId id);

  [[nodiscard]] std::uint64_t size() const { return size_; }
  // The numbers given out so far, the root's apart: first_counter() up to before next_counter().
  [[nodiscard]] std::uint64_t first_counter() const { return first_counter_; }
  [[nodiscard]] std::uint64_t next_counter() const { return next_counter_; }

 private:
  static constexpr std::uint64_t kPageInodes = 64;
  struct Page {
    std::array<std::unique_ptr<Inode>, kPageInodes> inodes;
    std::uint32_t used = 0;
  };
  struct PageHash {
    std::size_t operator()(std::uint64_t page) const { return mix64(page); }
  };

  static constexpr std::size_t kRecent = 8;
  struct Recent {
    std::uint64_t number = 0;
    Page* page = nullptr;
  };

  Inode& place(std::uint64_t counter);
  [[nodiscard]] Page* find_page(std::uint64_t number) const;

  wire::ShardId self_;
  std::uint64_t first_counter_;
  std::uint64_t next_counter_;
  std::uint64_t size_ = 0;
  tsl::robin_map<std::uint64_t, std::unique_ptr<Page>, PageHash>
      pages_;                                   // by counter / kPageInodes
  mutable std::array<Recent, kRecent> recent_;  // by the lowest bits of the page's number
};

}  // namespace benchfs::meta
