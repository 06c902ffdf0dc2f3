#include "server/chunks/chunk_service.h"

#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "server/buffer_wait.h"
#include "server/decode.h"

namespace benchfs::server {
namespace {

// Up to so many bytes are copied to tell the size of the file with them.
constexpr std::size_t kMaxSizedRead = std::size_t{64} << 10;

bool is_chunk_size(std::uint32_t bytes) {
  return bytes >= wire::kMinChunkBytes && bytes <= wire::kMaxChunkBytes &&
         (bytes & (bytes - 1)) == 0;
}

}  // namespace

ChunkService::ChunkService(chunk::ChunkStore& store,
                           ChunkFiles& files,
                           OlderFiles& older,
                           const Peers& peers,
                           chunk::BufferPool& buffers,
                           chunk::BufferPool& copy_buffers,
                           const net::MemoryRegion* region,
                           std::uint32_t slot_bytes,
                           std::uint32_t max_transfer_bytes)
    : store_(store),
      files_(files),
      older_(older),
      peers_(peers),
      buffers_(buffers),
      copy_buffers_(copy_buffers),
      region_(region),
      slot_bytes_(slot_bytes),
      max_transfer_bytes_(max_transfer_bytes) {}

const net::MemoryRegion* ChunkService::region_of(std::span<const std::byte> bytes) const {
  std::span<const std::byte> pool = buffers_.region();
  bool inside = bytes.data() >= pool.data() && bytes.data() < pool.data() + pool.size();
  return inside ? region_ : nullptr;
}

Status ChunkService::check_range(std::uint64_t inode,
                                 std::uint64_t index,
                                 std::uint32_t offset,
                                 std::uint32_t length) const {
  bool is_valid = inode != 0 && index < wire::kMaxFileBytes / wire::kMinChunkBytes &&
                  offset < slot_bytes_ && length > 0 && length <= max_transfer_bytes_ &&
                  length <= slot_bytes_ - offset;
  return is_valid ? Status{} : std::unexpected(malformed());
}

rt::Task<void> ChunkService::read(rpc::Request& request) {
  BENCHFS_SERVE_TRY(auto body, request, decode<wire::ReadChunkRequest>(request));
  BENCHFS_SERVE_TRY_VOID(request, check_range(body.inode, body.index, body.offset, body.length));
  if (older_.is_unknown(wire::InodeId{body.inode})) [[unlikely]] {
    BENCHFS_SERVE_TRY_VOID(request, co_await older_.ask_again(wire::InodeId{body.inode}.home()));
  }
  BENCHFS_SERVE_TRY_VOID(request, older_.check(wire::InodeId{body.inode}));
  std::uint64_t cuts = files_.cuts();
  BufferWait wait(request);
  BENCHFS_SERVE_TRY(chunk::ReadLease lease,
                    request,
                    co_await store_.read(wire::ChunkKey{wire::InodeId{body.inode}, body.index},
                                         body.offset,
                                         body.length,
                                         request.deadline(),
                                         &wait));
  wire::ReadChunkReply reply{.bytes = lease.bytes().size()};
  // After a cut meanwhile the bytes may be those of before it.
  if (reply.bytes < body.length && reply.bytes <= kMaxSizedRead && cuts == files_.cuts()) {
    if (std::optional<std::uint64_t> size = files_.size_now(wire::InodeId{body.inode})) {
      lease.detach();
      reply.file_size = *size;
    }
  }
  std::span<const std::byte> bytes = lease.bytes();
  co_await request.reply(reply, bytes, region_of(bytes));
}

rt::Task<void> ChunkService::write(rpc::Request& request) {
  BENCHFS_SERVE_TRY(auto body, request, decode<wire::WriteChunkRequest>(request));
  BENCHFS_SERVE_TRY_VOID(request, check_range(body.inode, body.index, body.offset, body.length));
  if (body.length != request.data_bytes()) {
    co_await request.reply_error(malformed());
    co_return;
  }
  BENCHFS_SERVE_TRY_VOID(request, older_.check_write(wire::InodeId{body.inode}));
  ChunkFiles::Write write = files_.begin_write(wire::InodeId{body.inode}, body.truncation);
  BufferWait wait(request);
  BENCHFS_SERVE_TRY(
      chunk::WriteLease lease,
      request,
      co_await store_.begin_write(wire::ChunkKey{wire::InodeId{body.inode}, body.index},
                                  body.offset,
                                  body.length,
                                  request.deadline(),
                                  &wait));
  BENCHFS_SERVE_TRY_VOID(request,
                         co_await request.receive(lease.bytes(), region_of(lease.bytes())));
  BENCHFS_SERVE_TRY_VOID(request,
                         co_await store(std::move(write), std::move(lease), request.deadline()));
  co_await request.reply(wire::NoReply{});
}

rt::CoStatus ChunkService::store(ChunkFiles::Write write,
                                 chunk::WriteLease lease,
                                 Deadline deadline) {
  Status stored = co_await files_.may_commit(write, deadline);
  if (stored) {
    stored = co_await store_.commit(std::move(lease), wall_now_ns());
  }
  if (stored) {
    stored = files_.check(write);
  }
  co_return stored;
}

// --- Whole files ---------------------------------------------------------------------------------

rt::Task<void> ChunkService::fsync(rpc::Request& request) {
  BENCHFS_SERVE_TRY(auto body, request, decode<wire::FsyncChunksRequest>(request));
  BENCHFS_SERVE_TRY_VOID(request, co_await older_.check_or_ask(wire::InodeId{body.inode}));
  BENCHFS_SERVE_TRY_VOID(request, co_await store_.sync(wire::InodeId{body.inode}));
  co_await request.reply(wire::NoReply{});
}

rt::Task<void> ChunkService::truncate(rpc::Request& request) {
  BENCHFS_SERVE_TRY(auto body, request, decode<wire::TruncateChunksRequest>(request));
  if (!is_chunk_size(body.chunk_bytes) || body.size > wire::kMaxFileBytes) {
    co_await request.reply_error(malformed());
    co_return;
  }
  BENCHFS_SERVE_TRY_VOID(request, co_await files_.cut(body));
  co_await request.reply(wire::NoReply{});
}

// As a write, the home knows of it before it changes anything. A cut that overtakes it does not
// matter: what it has taken away is not there.
rt::Task<void> ChunkService::punch(rpc::Request& request) {
  BENCHFS_SERVE_TRY(auto body, request, decode<wire::PunchChunkRequest>(request));
  if (body.inode == 0 || body.length == 0 || body.offset >= slot_bytes_ ||
      body.length > slot_bytes_ - body.offset) {
    co_await request.reply_error(malformed());
    co_return;
  }
  wire::InodeId inode{body.inode};
  BENCHFS_SERVE_TRY_VOID(request, co_await older_.check_or_ask(inode));
  std::optional<ChunkFiles::Write> write;
  for (bool is_overtaken = true; is_overtaken;) {
    write.emplace(files_.begin_write(inode, wire::kAnyTruncation));
    Status known = co_await files_.may_commit(*write, request.deadline());
    is_overtaken = !known && known.error().code == Errc::kBusy;
    if (!is_overtaken) {
      BENCHFS_SERVE_TRY_VOID(request, std::move(known));
    }
  }
  BENCHFS_SERVE_TRY_VOID(
      request,
      co_await store_.punch(
          wire::ChunkKey{inode, body.index}, body.offset, body.length, wall_now_ns()));
  co_await request.reply(wire::NoReply{});
}

rt::Task<void> ChunkService::list(rpc::Request& request) {
  BENCHFS_SERVE_TRY(auto body, request, decode<wire::ListChunksRequest>(request));
  if (body.max_count == 0 || body.max_count > wire::kMaxListedChunks) {
    co_await request.reply_error(malformed());
    co_return;
  }
  wire::InodeId inode{body.inode};
  BENCHFS_SERVE_TRY_VOID(request, co_await older_.check_or_ask(inode));
  std::vector<wire::ChunkEnd> chunks = store_.list(inode, body.first, body.max_count + 1);
  bool at_end = chunks.size() <= body.max_count;
  if (!at_end) {
    chunks.pop_back();
  }
  wire::ListChunksReply reply{static_cast<std::uint32_t>(chunks.size()), at_end ? 1U : 0U};
  co_await request.reply(reply, std::as_bytes(std::span(chunks)));
}

rt::Task<void> ChunkService::query(rpc::Request& request) {
  BENCHFS_SERVE_TRY(auto body, request, decode<wire::QueryChunksRequest>(request));
  if (!is_chunk_size(body.chunk_bytes)) {
    co_await request.reply_error(malformed());
    co_return;
  }
  BENCHFS_SERVE_TRY(wire::QueryChunksReply known, request, co_await files_.query(body));
  co_await request.reply(known);
}

}  // namespace benchfs::server
