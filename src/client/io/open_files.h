// Opening and closing files, and what concerns an open file as a whole: its attributes, its sync.
//
// Thread: the client's reactor. Text is borrowed until the task completes.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/error.h"
#include "client/backend.h"
#include "client/inodes/inodes.h"
#include "client/io/open_file.h"
#include "wire/messages.h"

namespace benchfs::client {

// What opening an entry came to: an open file, a symlink to follow, or an inode on another shard,
// which is to be opened there. One of the three is set.
struct OpenedEntry {
  std::shared_ptr<OpenFile> file;
  std::string link_target;
  wire::InodeId remote;
};

class OpenFiles {
 public:
  OpenFiles(Backend& backend, Inodes& inodes) : backend_(backend), inodes_(inodes) {}
  OpenFiles(const OpenFiles&) = delete;
  OpenFiles& operator=(const OpenFiles&) = delete;

  // `flags`: wire::OpenFlags.
  rt::CoResult<OpenedEntry> open_entry(wire::InodeId parent,
                                       std::string_view name,
                                       std::uint32_t flags,
                                       const NewInode& new_file,
                                       Deadline by);
  // An inode known by number: OpenedEntry::remote is not set.
  rt::CoResult<OpenedEntry> open(wire::InodeId inode, std::uint32_t flags, Deadline by);

  // Settles size and times at the home shard. The file is unusable afterwards, also on error.
  rt::CoStatus close(std::shared_ptr<OpenFile> file);
  rt::CoStatus fsync(OpenFile& file);
  rt::CoResult<wire::Attr> stat(OpenFile& file);
  // Also of an inode that this client does not have open.
  rt::CoResult<wire::Attr> set_attr(wire::InodeId inode, wire::SetAttrRequest request, Deadline by);

 private:
  Result<OpenedEntry> finish(Found found, std::uint32_t flags);
  rt::CoStatus settle(OpenInode& inode, Deadline by);
  rt::Task<void> fsync_shard(wire::ShardId shard,
                             wire::FsyncChunksRequest body,
                             Deadline by,
                             Status* out);

  Backend& backend_;
  Inodes& inodes_;
  OpenInodeTable table_;
};

}  // namespace benchfs::client
