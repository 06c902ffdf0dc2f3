// Requests about inodes and directory entries: one call is one request to one shard.
//
// A request is awaited where it is made: it lives in its caller's frame and has none of its own.
//
// Nothing is cached or looked up again here. An entry whose inode lives on another shard comes back
// remote (Found::is_remote); ask the inode itself then. ENOENT or ESTALE of a request about an
// inode: it is gone. ESTALE of a request about an entry: its directory is gone.
//
// Thread: the client's reactor. Text is borrowed until the task completes.
#pragma once

#include <array>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/error.h"
#include "client/backend.h"
#include "client/inodes/found.h"
#include "wire/messages.h"

namespace benchfs::client {

// Room for a symlink's target in a reply.
using TargetBuffer = std::unique_ptr<std::array<std::byte, wire::kMaxPathBytes>>;

// Who owns a new inode, and its permission bits.
struct NewInode {
  std::uint32_t mode = 0;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint32_t chunk_bytes = 0;  // files: 0 = the file system's
  std::uint32_t device = 0;       // devices
};

class Inodes;

// A request whose reply is an entry; a symlink's target may come with it.
template <typename Request>
class EntryCall {
 public:
  EntryCall(Inodes& inodes,
            wire::ShardId shard,
            const Request& request,
            Deadline by,
            std::string_view name = {},
            std::string_view data = {});
  EntryCall(const EntryCall&) = delete;
  EntryCall& operator=(const EntryCall&) = delete;
  ~EntryCall() = default;

  [[nodiscard]] bool await_ready() const { return reply_.await_ready(); }
  std::coroutine_handle<> await_suspend(std::coroutine_handle<> caller) {
    return reply_.await_suspend(caller);
  }
  Result<Found> await_resume();

 private:
  Inodes& inodes_;
  wire::ShardId shard_;
  Request request_;
  TargetBuffer buffer_;
  rpc::Call call_;
  rpc::PooledCall reply_;
};

// A request whose reply says no more than that it was done.
template <typename Request>
class PlainCall {
 public:
  PlainCall(Backend& backend,
            wire::ShardId shard,
            const Request& request,
            Deadline by,
            std::string_view name,
            std::string_view second_name = {})
      : backend_(backend),
        shard_(shard),
        request_(request),
        call_(rpc::make_call(request_, name, second_name)),
        reply_(backend.pool, shard, call_, by) {}
  PlainCall(const PlainCall&) = delete;
  PlainCall& operator=(const PlainCall&) = delete;
  ~PlainCall() = default;

  [[nodiscard]] bool await_ready() const { return reply_.await_ready(); }
  std::coroutine_handle<> await_suspend(std::coroutine_handle<> caller) {
    return reply_.await_suspend(caller);
  }
  // What the request answers; void if that is nothing.
  using Answer =
      std::conditional_t<std::is_empty_v<typename Request::Reply>, void, typename Request::Reply>;
  Result<Answer> await_resume();

 private:
  Backend& backend_;
  wire::ShardId shard_;
  Request request_;
  rpc::Call call_;
  rpc::PooledCall reply_;
};

class Inodes {
 public:
  explicit Inodes(Backend& backend) : backend_(backend) {}
  Inodes(const Inodes&) = delete;
  Inodes& operator=(const Inodes&) = delete;

  // Where targets go that nobody reads.
  [[nodiscard]] std::span<std::byte> unwanted_target() { return unwanted_target_; }

  // The shard that holds the entry.
  [[nodiscard]] wire::ShardId shard_of(wire::InodeId parent, std::string_view name) const;

  // `flags`: wire::LookupFlags.
  EntryCall<wire::LookupRequest> lookup(wire::InodeId parent,
                                        std::string_view name,
                                        Deadline by,
                                        std::uint16_t flags = 0);
  // Opens, or creates as wire::OpenFlags say. A remote entry or a symlink is only returned.
  EntryCall<wire::OpenRequest> open_entry(wire::InodeId parent,
                                          std::string_view name,
                                          std::uint32_t flags,
                                          const NewInode& new_file,
                                          std::uint64_t open_number,
                                          Deadline by);
  EntryCall<wire::OpenInodeRequest> open(wire::InodeId inode,
                                         std::uint32_t flags,
                                         std::uint64_t open_number,
                                         Deadline by);
  // A new file without a name on that shard.
  EntryCall<wire::OpenUnnamedRequest> open_unnamed(wire::ShardId shard,
                                                   wire::InodeId directory,
                                                   std::uint32_t flags,
                                                   const NewInode& new_file,
                                                   std::uint64_t open_number,
                                                   Deadline by);
  // `flags`: wire::GetAttrFlags.
  EntryCall<wire::GetAttrRequest> get_attr(wire::InodeId inode,
                                           Deadline by,
                                           std::uint32_t flags = 0);
  // `request.inode` is filled in.
  EntryCall<wire::SetAttrRequest> set_attr(wire::InodeId inode,
                                           wire::SetAttrRequest request,
                                           Deadline by);

  // Everything written to the file so far is on the servers' devices.
  EntryCall<wire::FsyncRequest> fsync(wire::InodeId inode, Deadline by);
  // The value of an extended attribute, or all names with a NUL behind each when `name` is empty.
  // ERANGE (a name that is too long), ENODATA, EOPNOTSUPP.
  rt::CoResult<std::string> get_xattr(wire::InodeId inode, std::string_view name, Deadline by);
  // `flags`: wire::SetXattrFlags. Also E2BIG, EEXIST, ENOSPC, EPERM (neither file nor directory).
  rt::CoStatus set_xattr(wire::InodeId inode,
                         std::string_view name,
                         std::string_view value,
                         std::uint32_t flags,
                         Deadline by);
  // Which inodes the shard has made since it started: all others of its numbers are lost.
  rt::CoResult<wire::InodeRangeReply> made_since_start(wire::ShardId shard, Deadline by);

  EntryCall<wire::MkdirRequest> mkdir(wire::InodeId parent,
                                      std::string_view name,
                                      const NewInode& directory,
                                      Deadline by);
  EntryCall<wire::SymlinkRequest> symlink(wire::InodeId parent,
                                          std::string_view name,
                                          std::string_view target,
                                          const NewInode& link,
                                          Deadline by);
  // One more name of an inode. ENOENT: the inode is gone.
  EntryCall<wire::LinkRequest> link(wire::InodeId inode,
                                    wire::InodeId parent,
                                    std::string_view name,
                                    Deadline by);
  // A fifo, a socket or a device: `special.mode` has its type.
  EntryCall<wire::MakeSpecialRequest> make_special(wire::InodeId parent,
                                                   std::string_view name,
                                                   const NewInode& special,
                                                   Deadline by);
  // `forgotten`: wire::UnlinkRequest. `flags`: wire::UnlinkFlags.
  PlainCall<wire::UnlinkRequest> unlink(wire::InodeId parent,
                                        std::string_view name,
                                        Deadline by,
                                        wire::InodeId forgotten = {},
                                        std::uint16_t flags = 0);
  PlainCall<wire::RmdirRequest> rmdir(wire::InodeId parent, std::string_view name, Deadline by);
  // `flags`: wire::RenameFlags.
  PlainCall<wire::RenameRequest> rename(wire::InodeId old_parent,
                                        std::string_view old_name,
                                        wire::InodeId new_parent,
                                        std::string_view new_name,
                                        std::uint32_t flags,
                                        Deadline by);

 private:
  template <typename Request>
  friend class EntryCall;
  [[nodiscard]] TargetBuffer take_buffer();
  Result<Found> finish(wire::ShardId shard,
                       wire::Opcode opcode,
                       const Result<rpc::Reply>& reply,
                       TargetBuffer buffer);

  Backend& backend_;
  // Almost never used, so they are kept and not made each time.
  std::vector<TargetBuffer> target_buffers_;
  TargetBuffer::element_type unwanted_target_{};
};

}  // namespace benchfs::client
