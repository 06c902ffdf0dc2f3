// Copies from chunk to chunk, which no client carries.
//
// The shard that writes reads the source as a client would, from itself or another shard, and then
// writes what it has got. While it waits for another shard it holds one of the buffers that are
// for copies alone: who reads or writes never waits for one of these, so shards that copy from each
// other do not wait in a circle. Nothing of the target is held before the bytes are here.

#include <cstring>
#include <span>
#include <utility>

#include "server/buffer_wait.h"
#include "server/chunks/chunk_service.h"
#include "server/decode.h"

namespace benchfs::server {
namespace {

// The client's own read and write deal with these: they may be sent again, and know whether the
// file reaches so far.
bool is_left_to_client(const Status& status) {
  if (status) [[likely]] {
    return false;
  }
  Errc code = status.error().code;
  return code == Errc::kNotReady || code == Errc::kBusy || code == Errc::kUnknownSession ||
         code == Errc::kDataLost;
}

}  // namespace

// Stored bytes of the source: in memory of its chunk, or in a buffer.
struct ChunkService::Source {
  chunk::BufferPool::Lease buffer;
  chunk::ReadLease lease;
  std::span<const std::byte> bytes;
};

rt::Task<void> ChunkService::copy(rpc::Request& request) {
  BENCHFS_SERVE_TRY(auto body, request, decode<wire::CopyChunkRequest>(request));
  BENCHFS_SERVE_TRY_VOID(request, check_range(body.inode, body.index, body.offset, body.length));
  BENCHFS_SERVE_TRY_VOID(
      request, check_range(body.from_inode, body.from_index, body.from_offset, body.length));
  if (body.from_shard >= peers_.shard_count) {
    co_await request.reply_error(malformed());
    co_return;
  }
  Source source;
  Status done = older_.check_write(wire::InodeId{body.inode});
  if (done) {
    done = co_await fetch(request, body, source);
    if (!done && done.error().code != Errc::kDeadline && done.error().code != Errc::kCancelled) {
      // Nothing of the target has failed: the client meets the error when it reads by itself.
      co_await request.reply(wire::CopyChunkReply{});
      co_return;
    }
  }
  if (done && !source.bytes.empty()) {
    done = co_await store_copy(request, body, source.bytes);
  }
  if (is_left_to_client(done)) {
    co_await request.reply(wire::CopyChunkReply{});
    co_return;
  }
  BENCHFS_SERVE_TRY_VOID(request, std::move(done));
  co_await request.reply(wire::CopyChunkReply{source.bytes.size()});
}

rt::CoStatus ChunkService::fetch(rpc::Request& request,
                                 const wire::CopyChunkRequest& body,
                                 Source& source) {
  wire::ShardId shard{body.from_shard};
  BufferWait wait(request);
  if (!peers_.is_self(shard) || store_.leases_hold_buffers()) {
    BENCHFS_CO_TRY(source.buffer, co_await copy_buffers_.acquire(request.deadline(), &wait));
  }
  if (!peers_.is_self(shard)) {
    wire::ReadChunkRequest read{.inode = body.from_inode,
                                .index = body.from_index,
                                .offset = body.from_offset,
                                .length = body.length};
    rpc::Call call = rpc::make_call(read);
    call.into = source.buffer.span().first(body.length);
    BENCHFS_CO_TRY(rpc::Reply reply, co_await peers_.pool->call(shard, call, request.deadline()));
    source.bytes = call.into.first(reply.data_bytes);
    co_return Status{};
  }
  wire::InodeId from{body.from_inode};
  BENCHFS_CO_TRY_VOID(co_await older_.check_or_ask(from));
  BENCHFS_CO_TRY(source.lease,
                 co_await store_.read(wire::ChunkKey{from, body.from_index},
                                      body.from_offset,
                                      body.length,
                                      request.deadline(),
                                      &wait));
  source.bytes = source.lease.bytes();
  if (source.buffer && !source.bytes.empty()) {
    std::memcpy(source.buffer.span().data(), source.bytes.data(), source.bytes.size());
    source.bytes = source.buffer.span().first(source.bytes.size());
    source.lease = {};
  }
  co_return Status{};
}

// A cut that overtakes it comes before it: it is written again. All waiting is done before it is
// looked whether the caller is still there, and bytes move only then: what a caller that is gone
// had asked for must not be written over what others have written since.
rt::CoStatus ChunkService::store_copy(rpc::Request& request,
                                      const wire::CopyChunkRequest& body,
                                      std::span<const std::byte> bytes) {
  wire::InodeId inode{body.inode};
  BufferWait wait(request);
  for (;;) {
    ChunkFiles::Write write = files_.begin_write(inode, wire::kAnyTruncation);
    BENCHFS_CO_TRY(chunk::WriteLease lease,
                   co_await store_.begin_write(wire::ChunkKey{inode, body.index},
                                               body.offset,
                                               static_cast<std::uint32_t>(bytes.size()),
                                               request.deadline(),
                                               &wait));
    Status known = co_await files_.may_commit(write, request.deadline());
    if (known && !request.is_awaited()) {
      co_return request.deadline().passed()
          ? fail(Errc::kDeadline, "the bytes to copy came too late")
          : fail(Errc::kNotReady, "the caller of the copy has gone");
    }
    if (!known && known.error().code == Errc::kBusy && !request.deadline().passed()) {
      continue;
    }
    BENCHFS_CO_TRY_VOID(std::move(known));
    std::memmove(lease.bytes().data(), bytes.data(), bytes.size());
    Status stored = co_await store(std::move(write), std::move(lease), request.deadline());
    if (stored || stored.error().code != Errc::kBusy || !request.is_awaited()) {
      co_return stored;
    }
  }
}

}  // namespace benchfs::server
