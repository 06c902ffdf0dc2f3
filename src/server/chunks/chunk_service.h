// Serves the chunk operations of one shard: bulk moves between the wire and the chunk store.
//
// Write: the store hands out the memory where the bytes belong (a chunk's own memory, or a
// registered buffer), and only then the data is fetched: a server without a free buffer fetches
// nothing. Read: the store lends the bytes, they leave from there. Bulk data is copied in memory
// only from chunk to chunk (copies.cc). Files whose chunks may have been lost are refused, but for
// being truncated (server/older_files.h).
#pragma once

#include "chunk/buffer_pool.h"
#include "chunk/chunk_store.h"
#include "net/context.h"
#include "rpc/request.h"
#include "server/chunks/chunk_files.h"
#include "server/chunks/older_files.h"
#include "server/peers.h"

namespace benchfs::server {

class ChunkService {
 public:
  // `region` covers the pool's memory; it may be null. The buffers for copies take a transfer each.
  ChunkService(chunk::ChunkStore& store,
               ChunkFiles& files,
               OlderFiles& older,
               const Peers& peers,
               chunk::BufferPool& buffers,
               chunk::BufferPool& copy_buffers,
               const net::MemoryRegion* region,
               std::uint32_t slot_bytes,
               std::uint32_t max_transfer_bytes);

  rt::Task<void> read(rpc::Request& request);
  rt::Task<void> write(rpc::Request& request);
  rt::Task<void> fsync(rpc::Request& request);
  rt::Task<void> truncate(rpc::Request& request);
  rt::Task<void> query(rpc::Request& request);
  rt::Task<void> punch(rpc::Request& request);
  rt::Task<void> list(rpc::Request& request);
  rt::Task<void> copy(rpc::Request& request);  // copies.cc
  // For programs of the node that have the store's slots (fills.cc): where a chunk is; a write in
  // two steps, or a loan for many.
  rt::Task<void> locate(rpc::Request& request);
  rt::Task<void> begin_fill(rpc::Request& request);
  rt::Task<void> end_fill(rpc::Request& request);
  void on_new_life(wire::ShardId home, std::uint64_t life, std::uint64_t first_counter) {
    files_.on_new_life(home, life, first_counter);
  }

  [[nodiscard]] chunk::ChunkStore& store() { return store_; }

 private:
  struct Source;
  // Brings the bytes that a copy begins with.
  rt::CoStatus fetch(rpc::Request& request, const wire::CopyChunkRequest& body, Source& source);
  rt::CoStatus store_copy(rpc::Request& request,
                          const wire::CopyChunkRequest& body,
                          std::span<const std::byte> bytes);
  [[nodiscard]] const net::MemoryRegion* region_of(std::span<const std::byte> bytes) const;
  // From when its bytes are there, up to the answer to its caller.
  rt::CoStatus store(ChunkFiles::Write write, chunk::WriteLease lease, Deadline deadline);
  // Whether the program can be lent the chunk: all of the range is stored.
  [[nodiscard]] bool may_lend(const wire::BeginFillRequest& body) const;
  // Takes the write if it succeeds. False: the place is not to be had.
  bool lend(rpc::Request& request,
            const wire::BeginFillRequest& body,
            ChunkFiles::Write& write,
            wire::BeginFillReply& reply);
  [[nodiscard]] Status check_range(std::uint64_t inode,
                                   std::uint64_t index,
                                   std::uint32_t offset,
                                   std::uint32_t length) const;

  chunk::ChunkStore& store_;
  ChunkFiles& files_;
  OlderFiles& older_;
  const Peers& peers_;
  chunk::BufferPool& buffers_;
  chunk::BufferPool& copy_buffers_;
  const net::MemoryRegion* region_;
  std::uint32_t slot_bytes_;
  std::uint32_t max_transfer_bytes_;
};

}  // namespace benchfs::server
