// Serves the inodes of one shard: attributes, exact sizes while a file is being written (ask the
// chunk shards), open files, truncation, freeing chunks.
//
// Requests that only shards send do not wait for further shards (a window full of such requests
// would wait for one behind it): what they leave to clean up runs beside them.
#pragma once

#include <optional>

#include "chunk/chunk_store.h"
#include "meta/meta_store.h"
#include "rpc/request.h"
#include "server/files/inode_door.h"
#include "server/key_locks.h"
#include "server/peers.h"

namespace benchfs::server {

class Files final : public InodeDoor {
 public:
  Files(meta::MetaStore& store, chunk::ChunkStore& chunks, Peers& peers)
      : store_(store), chunks_(chunks), peers_(peers) {}

  rt::Task<void> get_attr(rpc::Request& request);
  rt::Task<void> set_attr(rpc::Request& request);
  rt::Task<void> readlink(rpc::Request& request);
  rt::Task<void> open_inode(rpc::Request& request);
  rt::Task<void> close(rpc::Request& request);
  rt::Task<void> fsync(rpc::Request& request);
  rt::Task<void> append(rpc::Request& request);
  rt::Task<void> forget_inode(rpc::Request& request);

  rt::CoResult<wire::Attr> exact_attr(wire::InodeId inode, Deadline deadline) override;
  rt::CoResult<wire::Attr> open(wire::InodeId inode,
                                OpenKey key,
                                std::uint32_t flags,
                                Deadline deadline) override;
  Result<wire::Attr> create_open(const EntryKey& entry,
                                 const meta::NewInode& inode,
                                 OpenKey key,
                                 std::uint32_t flags) override;
  void drop(wire::InodeId inode) override;

  // Closes what a client that went away had open.
  rt::Task<void> abandon_client(std::uint64_t client_uid);

 private:
  using InodeLocks = KeyLocks<wire::InodeId>;

  rt::CoResult<wire::QueryChunksReply> query_all(wire::InodeId inode,
                                                 wire::Layout layout,
                                                 Deadline deadline);
  rt::CoResult<wire::QueryChunksReply> query_current(wire::InodeId inode, Deadline deadline);
  rt::Task<void> query_one(wire::ShardId shard,
                           wire::QueryChunksRequest query,
                           Deadline deadline,
                           Result<wire::QueryChunksReply>* out);
  rt::CoStatus truncate_chunks(wire::Attr attr,
                               std::uint64_t size,
                               bool everywhere,
                               Deadline deadline);
  rt::Task<void> truncate_one(wire::ShardId shard,
                              wire::TruncateChunksRequest body,
                              Deadline deadline,
                              Status* out);
  rt::CoStatus truncate(wire::InodeId inode, std::uint64_t size, Deadline deadline);
  rt::CoStatus settle(wire::InodeId inode,
                      std::uint64_t written_end,
                      std::uint64_t truncation,
                      std::int64_t mtime_ns,
                      Deadline deadline);
  rt::Task<void> undo_open(wire::InodeId inode, std::uint64_t client_uid, std::uint32_t flags);
  struct Unused {
    wire::Attr attr;
    bool everywhere = false;  // its size does not bound what was written
  };
  Result<std::optional<Unused>> unlink_local(wire::InodeId inode);
  rt::Task<void> free_chunks(Unused unused);
  rt::Task<void> drop_remote(wire::InodeId inode);
  // Runs `task` beside the request.
  rt::Task<void> run_later(rt::Task<void> task);

  meta::MetaStore& store_;
  chunk::ChunkStore& chunks_;
  Peers& peers_;
  InodeLocks inode_locks_;
};

}  // namespace benchfs::server
