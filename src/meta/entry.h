// A directory entry: what callers see (Entry), and how it is stored (EntryRecord).
#pragma once

#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "wire/ids.h"
#include "wire/limits.h"

namespace benchfs::meta {

struct Entry {
  wire::InodeId inode;
  std::uint32_t type = 0;  // S_IFMT bits
  friend bool operator==(const Entry&, const Entry&) = default;
};

// One allocation that holds an entry and, behind its fixed part, the only copy of its name.
class EntryRecord {
 public:
  struct Free {
    void operator()(EntryRecord* record) const noexcept { ::operator delete(record); }
  };
  using Ptr = std::unique_ptr<EntryRecord, Free>;

  static Ptr make(wire::InodeId parent, std::string_view name, Entry entry);

  EntryRecord(const EntryRecord&) = delete;
  EntryRecord& operator=(const EntryRecord&) = delete;

  [[nodiscard]] wire::InodeId parent() const { return parent_; }
  [[nodiscard]] std::string_view name() const {
    return {reinterpret_cast<const char*>(this) + kNameOffset, name_bytes_};
  }
  [[nodiscard]] Entry entry() const {
    return {inode_, static_cast<std::uint32_t>(type_) << kTypeShift};
  }
  void set_entry(Entry entry) {
    inode_ = entry.inode;
    type_ = static_cast<std::uint8_t>((entry.type & S_IFMT) >> kTypeShift);
  }

 private:
  // The name starts in what would be the padding of the fixed part: 6 bytes less for every entry.
  static constexpr std::size_t kNameOffset = 18;
  static constexpr int kTypeShift = 12;  // S_IFMT is 0170000
  static_assert(S_IFMT >> kTypeShift == 0xF);
  static_assert(wire::kMaxNameBytes <= UINT8_MAX);

  EntryRecord(wire::InodeId parent, std::string_view name, Entry entry)
      : parent_(parent), name_bytes_(static_cast<std::uint8_t>(name.size())) {
    set_entry(entry);
  }

  wire::InodeId parent_;
  wire::InodeId inode_;
  std::uint8_t type_ = 0;
  std::uint8_t name_bytes_;
};

}  // namespace benchfs::meta
