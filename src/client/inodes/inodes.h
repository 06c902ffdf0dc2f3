// Requests about inodes and directory entries: one call is one request to one shard.
//
// Nothing is cached or looked up again here. An entry whose inode lives on another shard comes back
// remote (Found::is_remote); ask the inode itself then. ENOENT or ESTALE of a request about an
// inode: it is gone. ESTALE of a request about an entry: its directory is gone.
//
// Thread: the client's reactor. Text is borrowed until the task completes.
#pragma once

#include <array>
#include <memory>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "client/backend.h"
#include "client/inodes/found.h"
#include "wire/messages.h"

namespace benchfs::client {

// Who owns a new inode, and its permission bits.
struct NewInode {
  std::uint32_t mode = 0;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint32_t chunk_bytes = 0;  // files: 0 = the file system's
  std::uint32_t device = 0;       // devices
};

class Inodes {
 public:
  explicit Inodes(Backend& backend) : backend_(backend) {}
  Inodes(const Inodes&) = delete;
  Inodes& operator=(const Inodes&) = delete;

  // The shard that holds the entry.
  [[nodiscard]] wire::ShardId shard_of(wire::InodeId parent, std::string_view name) const;

  // `flags`: wire::LookupFlags.
  rt::CoResult<Found> lookup(wire::InodeId parent,
                             std::string_view name,
                             Deadline by,
                             std::uint16_t flags = 0);
  // Opens, or creates as wire::OpenFlags say. A remote entry or a symlink is only returned.
  rt::CoResult<Found> open_entry(wire::InodeId parent,
                                 std::string_view name,
                                 std::uint32_t flags,
                                 const NewInode& new_file,
                                 std::uint64_t open_number,
                                 Deadline by);
  rt::CoResult<Found> open(wire::InodeId inode,
                           std::uint32_t flags,
                           std::uint64_t open_number,
                           Deadline by);
  rt::CoResult<Found> get_attr(wire::InodeId inode, Deadline by);
  // `request.inode` is filled in.
  rt::CoResult<Found> set_attr(wire::InodeId inode, wire::SetAttrRequest request, Deadline by);

  // Everything written to the file so far is on the servers' devices.
  rt::CoResult<Found> fsync(wire::InodeId inode, Deadline by);
  // Which inodes the shard has made since it started: all others of its numbers are lost.
  rt::CoResult<wire::InodeRangeReply> made_since_start(wire::ShardId shard, Deadline by);

  rt::CoResult<Found> mkdir(wire::InodeId parent,
                            std::string_view name,
                            const NewInode& directory,
                            Deadline by);
  rt::CoResult<Found> symlink(wire::InodeId parent,
                              std::string_view name,
                              std::string_view target,
                              const NewInode& link,
                              Deadline by);
  // One more name of an inode. ENOENT: the inode is gone.
  rt::CoResult<Found> link(wire::InodeId inode,
                           wire::InodeId parent,
                           std::string_view name,
                           Deadline by);
  // A fifo, a socket or a device: `special.mode` has its type.
  rt::CoResult<Found> make_special(wire::InodeId parent,
                                   std::string_view name,
                                   const NewInode& special,
                                   Deadline by);
  rt::CoStatus unlink(wire::InodeId parent, std::string_view name, Deadline by);
  rt::CoStatus rmdir(wire::InodeId parent, std::string_view name, Deadline by);
  // `flags`: wire::RenameFlags.
  rt::CoStatus rename(wire::InodeId old_parent,
                      std::string_view old_name,
                      wire::InodeId new_parent,
                      std::string_view new_name,
                      std::uint32_t flags,
                      Deadline by);

 private:
  using TargetBuffer = std::unique_ptr<std::array<std::byte, wire::kMaxPathBytes>>;

  // A call whose reply is an entry; a symlink's target may come with it.
  template <typename Request>
  rt::CoResult<Found> entry_call(wire::ShardId shard,
                                 Request request,
                                 Deadline by,
                                 std::string_view name = {},
                                 std::string_view data = {});
  [[nodiscard]] TargetBuffer take_buffer();
  Result<Found> finish(wire::ShardId shard,
                       wire::Opcode opcode,
                       Result<rpc::Reply> reply,
                       TargetBuffer buffer);
  rt::CoStatus plain_call(wire::ShardId shard, const rpc::Call& call, Deadline by);

  Backend& backend_;
  // Room for a symlink's target in a reply; almost never used, so it is kept and not made each
  // time.
  std::vector<TargetBuffer> target_buffers_;
};

}  // namespace benchfs::client
