// Open files of one client, and what it knows of their inodes.
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>

#include "wire/attr.h"
#include "wire/messages.h"

namespace benchfs::client {

// Shared by all opens of one inode in this client: what has been written and not yet settled.
struct OpenInode {
  // No file has it: the home shard asks the chunk shards where the file ends.
  static constexpr std::uint64_t kUnknownTruncation = UINT64_MAX;

  wire::Attr attr;                // as last heard from the home shard
  std::uint64_t written_end = 0;  // end of the last byte written since `truncation`
  std::uint64_t truncation = 0;
  std::int64_t mtime_ns = 0;  // of the last write; 0 = none unsettled

  // The home shard took up what was written until then.
  void on_settled(const wire::Attr& now, std::uint64_t end, std::int64_t time) {
    attr = now;
    if (written_end == end && mtime_ns == time) {  // nothing was written meanwhile
      written_end = 0;
      mtime_ns = 0;
      truncation = now.truncation;
    }
  }

  // A write that began when `truncation` had the value `before` stored bytes up to `end`, or may
  // have. Nobody knows whether they are before or after a truncation that ended meanwhile.
  void on_written(std::uint64_t end, std::uint64_t before, bool is_certain, std::int64_t time) {
    written_end = written_end > end ? written_end : end;
    mtime_ns = time;
    if (!is_certain || truncation != before) {
      truncation = kUnknownTruncation;
    }
  }

  // The file was truncated by us, after what had been written was settled.
  void on_truncated(const wire::Attr& now) {
    attr = now;
    truncation = mtime_ns == 0 ? now.truncation : kUnknownTruncation;
  }
};

struct OpenFile {
  std::shared_ptr<OpenInode> inode;
  std::uint32_t flags = 0;  // wire::OpenFlags
  bool is_open = true;

  [[nodiscard]] wire::InodeId id() const { return inode->attr.id(); }
  [[nodiscard]] const wire::Layout& layout() const { return inode->attr.layout; }
  [[nodiscard]] bool can_read() const { return (flags & wire::kOpenRead) != 0; }
  [[nodiscard]] bool can_write() const { return (flags & wire::kOpenWrite) != 0; }
  [[nodiscard]] bool is_append() const { return (flags & wire::kOpenAppend) != 0; }
};

// Finds the OpenInode of an inode while somebody has it open.
class OpenInodeTable {
 public:
  std::shared_ptr<OpenInode> get(const wire::Attr& attr) {
    std::weak_ptr<OpenInode>& entry = inodes_[attr.inode];
    std::shared_ptr<OpenInode> inode = entry.lock();
    if (inode == nullptr) {
      inode = std::make_shared<OpenInode>();
      inode->truncation = attr.truncation;
      entry = inode;
    }
    inode->attr = attr;
    return inode;
  }
  // nullptr when this client does not have it open.
  std::shared_ptr<OpenInode> find(wire::InodeId id) {
    auto found = inodes_.find(id.value);
    return found == inodes_.end() ? nullptr : found->second.lock();
  }
  // Call after dropping a reference.
  void forget_if_unused(wire::InodeId id) {
    auto found = inodes_.find(id.value);
    if (found != inodes_.end() && found->second.expired()) {
      inodes_.erase(found);
    }
  }

 private:
  std::unordered_map<std::uint64_t, std::weak_ptr<OpenInode>> inodes_;
};

}  // namespace benchfs::client
