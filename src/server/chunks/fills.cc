// What a program of the node writes by itself.

#include "server/chunks/chunk_service.h"
#include "server/chunks/write_loan.h"
#include "server/decode.h"

namespace benchfs::server {
namespace {

// A write whose bytes a program brings by itself.
struct Fill final : link::Loan {
  Fill(std::uint64_t fill_number, ChunkFiles::Write under_way, chunk::WriteLease room)
      : number(fill_number), write(std::move(under_way)), lease(std::move(room)) {}
  std::uint64_t number;
  ChunkFiles::Write write;
  chunk::WriteLease lease;
};

// Null when the places of the program do not have this one.
std::unique_ptr<link::Loan>* find_place(const rpc::Request& request, std::uint32_t place) {
  link::Borrower* program = request.borrower();
  link::Loans fills = program == nullptr ? link::Loans() : program->fills();
  return place < fills.size() ? &fills[place] : nullptr;
}

std::uint64_t number_of(const std::unique_ptr<link::Loan>& place) {
  return place == nullptr ? 0 : static_cast<const Fill&>(*place).number;
}

wire::ChunkKey key_of(const wire::BeginFillRequest& body) {
  return {wire::InodeId{body.inode}, body.index};
}

}  // namespace

rt::Task<void> ChunkService::locate(rpc::Request& request) {
  BENCHFS_SERVE_TRY(auto body, request, decode<wire::LocateChunkRequest>(request));
  wire::InodeId inode{body.inode};
  BENCHFS_SERVE_TRY_VOID(request, co_await older_.check_or_ask(inode));
  wire::LocateChunkReply reply;
  if (auto place = store_.locate({inode, body.index}); place && request.borrower() != nullptr) {
    reply.slot = place->slot;
    reply.generation = place->generation;
  }
  co_await request.reply(reply);
}

bool ChunkService::may_lend(const wire::BeginFillRequest& body) const {
  if (body.loan == wire::kNoPlace || body.truncation != wire::kAnyTruncation) {
    return false;
  }
  std::optional<chunk::SlotPlace> place = store_.locate(key_of(body));
  return place && body.offset + body.length <= place->stored_end;
}

bool ChunkService::lend(rpc::Request& request,
                        const wire::BeginFillRequest& body,
                        ChunkFiles::Write& write,
                        wire::BeginFillReply& reply) {
  link::Borrower* program = request.borrower();
  std::unique_ptr<link::Loan>* place =
      program == nullptr ? nullptr : program->write_loan(body.loan);
  std::uint32_t trusted_ms = files_.trusted_ms(write);
  if (place == nullptr || trusted_ms == 0 || !may_lend(body)) {
    return false;
  }
  if (*place != nullptr) {
    const auto& there = static_cast<const WriteLoan&>(**place);
    // It is late, or the program gave the place to another chunk while this request waited.
    if (there.is_busy() || there.number() > body.number) {
      return false;
    }
  }
  // Made before what is in the place ends: what is written meanwhile counts for one of them.
  auto loan =
      std::make_unique<WriteLoan>(store_, *program, body.loan, body.number, std::move(write));
  reply = loan->lend(key_of(body), body.offset, body.length);
  reply.loan_ms = trusted_ms;
  *place = std::move(loan);
  return true;
}

rt::Task<void> ChunkService::begin_fill(rpc::Request& request) {
  BENCHFS_SERVE_TRY(auto body, request, decode<wire::BeginFillRequest>(request));
  BENCHFS_SERVE_TRY_VOID(request, check_range(body.inode, body.index, body.offset, body.length));
  BENCHFS_SERVE_TRY_VOID(request, older_.check_write(wire::InodeId{body.inode}));
  bool may_fill = find_place(request, body.place) != nullptr;
  wire::BeginFillReply reply;
  if (!may_fill && !may_lend(body)) {
    co_await request.reply(reply);
    co_return;
  }
  ChunkFiles::Write write = files_.begin_write(wire::InodeId{body.inode}, body.truncation);
  if (may_lend(body)) {
    Status known = co_await files_.may_commit(write, request.deadline());
    bool is_overtaken = !known && known.error().code == Errc::kBusy;
    if (!is_overtaken) {
      BENCHFS_SERVE_TRY_VOID(request, std::move(known));
    }
    // From here to the loan nothing is awaited: what the home knows holds.
    if (is_overtaken || lend(request, body, write, reply) || !may_fill) {
      co_await request.reply(reply);
      co_return;
    }
  }
  BENCHFS_SERVE_TRY(chunk::WriteLease lease,
                    request,
                    co_await store_.begin_write(
                        key_of(body), body.offset, body.length, request.deadline(), nullptr));
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

}  // namespace benchfs::server
