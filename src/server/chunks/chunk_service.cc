#include "server/chunks/chunk_service.h"

#include <utility>

#include "base/clock.h"
#include "server/buffer_wait.h"

namespace benchfs::server {
namespace {

const Error kBadMessage{Errc::kMalformed, 0, {}};

bool is_chunk_size(std::uint32_t bytes) {
  return bytes >= wire::kMinChunkBytes && bytes <= wire::kMaxChunkBytes &&
         (bytes & (bytes - 1)) == 0;
}

}  // namespace

ChunkService::ChunkService(chunk::ChunkStore& store,
                           ChunkFiles& files,
                           const OlderFiles& older,
                           chunk::BufferPool& buffers,
                           const net::MemoryRegion* region,
                           std::uint32_t slot_bytes,
                           std::uint32_t max_transfer_bytes)
    : store_(store),
      files_(files),
      older_(older),
      buffers_(buffers),
      region_(region),
      slot_bytes_(slot_bytes),
      max_transfer_bytes_(max_transfer_bytes) {}

const net::MemoryRegion* ChunkService::region_of(std::span<const std::byte> bytes) const {
  std::span<const std::byte> pool = buffers_.region();
  bool inside = bytes.data() >= pool.data() && bytes.data() < pool.data() + pool.size();
  return inside ? region_ : nullptr;
}

bool ChunkService::is_valid_range(std::uint64_t inode,
                                  std::uint64_t index,
                                  std::uint32_t offset,
                                  std::uint32_t length) const {
  return inode != 0 && index < wire::kMaxFileBytes / wire::kMinChunkBytes && offset < slot_bytes_ &&
         length > 0 && length <= max_transfer_bytes_ && length <= slot_bytes_ - offset;
}

rt::Task<void> ChunkService::read(rpc::Request& request) {
  wire::ReadChunkRequest body;
  wire::Reader reader = request.reader();
  if (!reader.read(body) || !is_valid_range(body.inode, body.index, body.offset, body.length)) {
    co_await request.reply_error(kBadMessage);
    co_return;
  }
  if (Status held = older_.check(wire::InodeId{body.inode}); !held) [[unlikely]] {
    co_await request.reply_error(held.error());
    co_return;
  }
  BufferWait wait(request);
  Result<chunk::ReadLease> lease =
      co_await store_.read(wire::ChunkKey{wire::InodeId{body.inode}, body.index},
                           body.offset,
                           body.length,
                           request.deadline(),
                           &wait);
  if (!lease) {
    co_await request.reply_error(lease.error());
    co_return;
  }
  std::span<const std::byte> bytes = lease->bytes();
  wire::ReadChunkReply reply{bytes.size()};
  co_await request.reply(reply, bytes, region_of(bytes));
}

rt::Task<void> ChunkService::write(rpc::Request& request) {
  wire::WriteChunkRequest body;
  wire::Reader reader = request.reader();
  if (!reader.read(body) || body.length != request.data_bytes() ||
      !is_valid_range(body.inode, body.index, body.offset, body.length)) {
    co_await request.reply_error(kBadMessage);
    co_return;
  }
  if (Status held = older_.check(wire::InodeId{body.inode}); !held) [[unlikely]] {
    co_await request.reply_error(held.error());
    co_return;
  }
  ChunkFiles::Write write = files_.begin_write(wire::InodeId{body.inode}, body.truncation);
  BufferWait wait(request);
  Result<chunk::WriteLease> lease =
      co_await store_.begin_write(wire::ChunkKey{wire::InodeId{body.inode}, body.index},
                                  body.offset,
                                  body.length,
                                  request.deadline(),
                                  &wait);
  if (!lease) {
    co_await request.reply_error(lease.error());
    co_return;
  }
  Status received = co_await request.receive(lease->bytes(), region_of(lease->bytes()));
  if (!received) {
    co_await request.reply_error(received.error());
    co_return;
  }
  Status stored = co_await files_.may_commit(write, request.deadline());
  if (stored) {
    stored = co_await store_.commit(std::move(*lease), wall_now_ns());
  }
  if (stored) {
    stored = files_.check(write);
  }
  {
    ChunkFiles::Write ended = std::move(write);
  }
  if (!stored) {
    co_await request.reply_error(stored.error());
    co_return;
  }
  co_await request.reply(wire::NoReply{});
}

rt::Task<void> ChunkService::fsync(rpc::Request& request) {
  wire::FsyncChunksRequest body;
  wire::Reader reader = request.reader();
  if (!reader.read(body)) {
    co_await request.reply_error(kBadMessage);
    co_return;
  }
  if (Status held = older_.check(wire::InodeId{body.inode}); !held) [[unlikely]] {
    co_await request.reply_error(held.error());
    co_return;
  }
  Status synced = co_await store_.sync(wire::InodeId{body.inode});
  if (!synced) {
    co_await request.reply_error(synced.error());
    co_return;
  }
  co_await request.reply(wire::NoReply{});
}

rt::Task<void> ChunkService::truncate(rpc::Request& request) {
  wire::TruncateChunksRequest body;
  wire::Reader reader = request.reader();
  if (!reader.read(body) || !is_chunk_size(body.chunk_bytes) || body.size > wire::kMaxFileBytes) {
    co_await request.reply_error(kBadMessage);
    co_return;
  }
  Status done = co_await files_.cut(body);
  if (!done) {
    co_await request.reply_error(done.error());
    co_return;
  }
  co_await request.reply(wire::NoReply{});
}

rt::Task<void> ChunkService::query(rpc::Request& request) {
  wire::QueryChunksRequest body;
  wire::Reader reader = request.reader();
  if (!reader.read(body) || !is_chunk_size(body.chunk_bytes)) {
    co_await request.reply_error(kBadMessage);
    co_return;
  }
  Result<wire::QueryChunksReply> known = co_await files_.query(body);
  if (!known) {
    co_await request.reply_error(known.error());
    co_return;
  }
  co_await request.reply(*known);
}

rt::Task<void> ChunkService::new_life(rpc::Request& request) {
  wire::NewLifeRequest body;
  wire::Reader reader = request.reader();
  if (!reader.read(body)) {
    co_await request.reply_error(kBadMessage);
    co_return;
  }
  files_.on_life(wire::ShardId{body.shard}, body.life, {});
  co_await request.reply(wire::NoReply{});
}

}  // namespace benchfs::server
