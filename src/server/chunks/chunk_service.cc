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

bool is_chunk_size(std::uint32_t bytes) {
  return bytes >= wire::kMinChunkBytes && bytes <= wire::kMaxChunkBytes &&
         (bytes & (bytes - 1)) == 0;
}

}  // namespace

ChunkService::ChunkService(chunk::ChunkStore& store,
                           ChunkFiles& files,
                           OlderFiles& older,
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
  BufferWait wait(request);
  BENCHFS_SERVE_TRY(chunk::ReadLease lease,
                    request,
                    co_await store_.read(wire::ChunkKey{wire::InodeId{body.inode}, body.index},
                                         body.offset,
                                         body.length,
                                         request.deadline(),
                                         &wait));
  std::span<const std::byte> bytes = lease.bytes();
  wire::ReadChunkReply reply{bytes.size()};
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

// --- Programs of the node ------------------------------------------------------------------------

namespace {

// A write whose bytes a program of the node brings by itself.
struct Fill final : link::Loan {
  Fill(std::uint64_t fill_number, ChunkFiles::Write under_way, chunk::WriteLease room)
      : number(fill_number), write(std::move(under_way)), lease(std::move(room)) {}
  std::uint64_t number;
  ChunkFiles::Write write;
  chunk::WriteLease lease;
};

// Null when the places of the program do not have this one.
std::unique_ptr<link::Loan>* find_place(const rpc::Request& request, std::uint32_t place) {
  link::Loans loans = request.loans();
  return place < loans.size() ? &loans[place] : nullptr;
}

std::uint64_t number_of(const std::unique_ptr<link::Loan>& place) {
  return place == nullptr ? 0 : static_cast<const Fill&>(*place).number;
}

}  // namespace

rt::Task<void> ChunkService::locate(rpc::Request& request) {
  BENCHFS_SERVE_TRY(auto body, request, decode<wire::LocateChunkRequest>(request));
  wire::InodeId inode{body.inode};
  BENCHFS_SERVE_TRY_VOID(request, co_await older_.check_or_ask(inode));
  wire::LocateChunkReply reply;
  if (auto place = store_.locate({inode, body.index}); place && !request.loans().empty()) {
    reply.slot = place->slot;
    reply.generation = place->generation;
  }
  co_await request.reply(reply);
}

rt::Task<void> ChunkService::begin_fill(rpc::Request& request) {
  BENCHFS_SERVE_TRY(auto body, request, decode<wire::BeginFillRequest>(request));
  BENCHFS_SERVE_TRY_VOID(request, check_range(body.inode, body.index, body.offset, body.length));
  wire::InodeId inode{body.inode};
  BENCHFS_SERVE_TRY_VOID(request, older_.check_write(inode));
  if (find_place(request, body.place) == nullptr) {
    co_await request.reply(wire::BeginFillReply{});
    co_return;
  }
  ChunkFiles::Write write = files_.begin_write(inode, body.truncation);
  BENCHFS_SERVE_TRY(
      chunk::WriteLease lease,
      request,
      co_await store_.begin_write(
          {inode, body.index}, body.offset, body.length, request.deadline(), nullptr));
  wire::BeginFillReply reply;
  // The program may be gone, or have given this up and begun another.
  std::unique_ptr<link::Loan>* place = find_place(request, body.place);
  if (place != nullptr && number_of(*place) < body.number) {
    if (auto room = store_.hand_out(lease)) {
      reply.slot = room->slot;
      reply.existing_end = room->existing_end;
      *place = std::make_unique<Fill>(body.number, std::move(write), std::move(lease));
    }
  }
  co_await request.reply(reply);
}

rt::Task<void> ChunkService::end_fill(rpc::Request& request) {
  BENCHFS_SERVE_TRY(auto body, request, decode<wire::EndFillRequest>(request));
  std::unique_ptr<link::Loan>* place = find_place(request, body.place);
  wire::EndFillReply reply;
  if (place != nullptr && body.number != 0 && number_of(*place) == body.number) {
    std::unique_ptr<link::Loan> loan = std::exchange(*place, nullptr);
    if ((body.flags & wire::kFillGivenUp) == 0) {
      auto& fill = static_cast<Fill&>(*loan);
      std::size_t bytes = fill.lease.bytes().size();
      Status stored =
          co_await store(std::move(fill.write), std::move(fill.lease), request.deadline());
      bool is_overtaken = !stored && stored.error().code == Errc::kBusy;
      if (!is_overtaken) {
        BENCHFS_SERVE_TRY_VOID(request, std::move(stored));
        reply.is_stored = 1;
        request.trace().count_bytes_in(bytes);
      }
    }
  }
  co_await request.reply(reply);
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
