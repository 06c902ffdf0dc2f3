// Reading and writing: a request is cut by chunk and transfer size, and its parts run side by side.

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <vector>

#include "client/inodes/lost_file.h"
#include "client/io/data_io.h"
#include "cluster/placement.h"

namespace benchfs::client {

// One read or write under way; its parts are taken by a few workers, in order of offset. Each part
// is an operation with a deadline of its own: how long all take depends on the length.
struct DataIo::Transfer {
  Transfer(OpenFile& f, std::uint64_t at, std::size_t length, std::uint32_t max_bytes)
      : file(f), offset(at), spans(f.layout(), at, length, max_bytes), next(spans.begin()) {}

  OpenFile& file;
  std::uint64_t offset;
  cluster::ChunkSpans spans;
  cluster::ChunkSpans::Iterator next;
  std::span<std::byte> into;        // read
  std::span<const std::byte> from;  // write
  bool is_write = false;

  std::optional<Error> error;
  std::uint64_t written_end = 0;            // write: end of the last part that is stored
  std::uint64_t complete_end = UINT64_MAX;  // read: where the first part that came short ends
  std::uint64_t lost_at = UINT64_MAX;       // read: where the first part begins that may be lost
  std::optional<Error> lost;

  // A part of a server that lost what it held: an error only if the file reaches so far.
  void on_lost(std::uint64_t file_offset, Error why) {
    complete_end = std::min(complete_end, file_offset);
    if (file_offset < lost_at) {
      lost_at = file_offset;
      lost = std::move(why);
    }
  }
};

std::uint32_t DataIo::max_transfer() const {
  std::uint32_t granted = 0;
  for (std::uint32_t shard = 0; shard < backend_.pool.size(); ++shard) {
    granted = std::max(granted, backend_.pool.at(wire::ShardId{shard}).grant().max_transfer_bytes);
  }
  return granted == 0 ? 1U << 20 : granted;
}

rt::CoStatus DataIo::run_transfer(Transfer& transfer, std::size_t spans) {
  if (spans <= 1) {
    if (spans == 1) {
      Status done = co_await transfer_span(transfer, *transfer.next);
      if (!done) {
        transfer.error = std::move(done.error());
      }
    }
  } else {
    rt::Group group(backend_.scope);
    std::size_t workers = std::min<std::size_t>(spans, backend_.config.parallel_transfers);
    for (std::size_t i = 0; i < workers; ++i) {
      group.add(transfer_spans(&transfer));
    }
    (void)co_await group.wait();
  }
  if (transfer.error) {
    co_return std::unexpected(std::move(*transfer.error));
  }
  co_return Status{};
}

rt::Task<void> DataIo::transfer_spans(Transfer* transfer) {
  while (transfer->next != transfer->spans.end() && !transfer->error) {
    cluster::ChunkSpan span = *transfer->next;
    ++transfer->next;
    Status done = co_await transfer_span(*transfer, span);
    if (!done && !transfer->error) {
      transfer->error = std::move(done.error());
    }
  }
}

rt::CoStatus DataIo::transfer_span(Transfer& transfer, cluster::ChunkSpan span) {
  return transfer.is_write ? write_span(transfer, span) : read_span(transfer, span);
}

rt::CoStatus DataIo::write_span(Transfer& transfer, cluster::ChunkSpan span) {
  wire::WriteChunkRequest request;
  request.inode = transfer.file.id().value;
  request.index = span.index;
  request.offset = span.offset;
  request.length = span.length;
  rpc::Call call = rpc::make_call(request);
  call.data = transfer.from.subspan(span.file_offset - transfer.offset, span.length);
  call.rendezvous = span.length > backend_.config.eager_bytes;
  Result<rpc::Reply> reply = co_await backend_.pool.call(
      cluster::chunk_shard(transfer.file.layout(), span.index), call, backend_.data_deadline());
  if (!reply) {
    co_return call_error(std::move(reply.error()), LostBy::kAsked);
  }
  transfer.written_end = std::max(transfer.written_end, span.file_offset + span.length);
  co_return Status{};
}

rt::CoStatus DataIo::read_span(Transfer& transfer, cluster::ChunkSpan span) {
  wire::ReadChunkRequest request;
  request.inode = transfer.file.id().value;
  request.index = span.index;
  request.offset = span.offset;
  request.length = span.length;
  rpc::Call call = rpc::make_call(request);
  call.into = transfer.into.subspan(span.file_offset - transfer.offset, span.length);
  Result<rpc::Reply> reply = co_await backend_.pool.call(
      cluster::chunk_shard(transfer.file.layout(), span.index), call, backend_.data_deadline());
  if (!reply && reply.error().code == Errc::kDataLost) {
    transfer.on_lost(span.file_offset,
                     call_error(std::move(reply.error()), LostBy::kAsked).error());
    co_return Status{};
  }
  if (!reply) {
    co_return std::unexpected(std::move(reply.error()));
  }
  if (reply->data_bytes < span.length) {
    std::memset(call.into.data() + reply->data_bytes, 0, span.length - reply->data_bytes);
    transfer.complete_end = std::min(transfer.complete_end, span.file_offset + reply->data_bytes);
  }
  co_return Status{};
}

namespace {
std::size_t count_spans(const cluster::ChunkSpans& spans) {
  std::size_t count = 0;
  for ([[maybe_unused]] const cluster::ChunkSpan& span : spans) {
    if (++count > 1024) {
      break;
    }
  }
  return count;
}
}  // namespace

rt::CoResult<std::size_t> DataIo::read(OpenFile& file,
                                       std::uint64_t offset,
                                       std::span<std::byte> into) {
  if (file.inode->attr.is_directory()) {
    co_return fail_errno(EISDIR);
  }
  if (!file.is_open || !file.can_read()) {
    co_return fail_errno(EBADF);
  }
  if (into.empty() || offset >= wire::kMaxFileBytes) {
    co_return 0;
  }
  if (into.size() > wire::kMaxFileBytes - offset) {
    into = into.first(wire::kMaxFileBytes - offset);
  }
  std::optional<std::uint64_t> size;
  for (;;) {
    Transfer transfer(file, offset, into.size(), max_transfer());
    transfer.into = into;
    std::size_t spans = count_spans(transfer.spans);
    BENCHFS_CO_TRY_VOID(co_await run_transfer(transfer, spans));
    std::uint64_t end = offset + into.size();
    if (transfer.complete_end >= end) {
      co_return into.size();
    }
    // Something was not stored: the end of the file, or a hole. Only the size tells. When it says
    // that bytes should be there, they may have been written since: look once more, and what is
    // still missing is a hole.
    bool looked_again = size.has_value();
    if (!looked_again) {
      BENCHFS_CO_TRY(Found found,
                     co_await inodes_.get_attr(file.id(), backend_.metadata_deadline()));
      file.inode->attr = found.attr;
      size = found.attr.size;
    }
    std::uint64_t readable = std::min(end, *size);
    if (transfer.lost_at < readable) {
      co_return std::unexpected(*std::move(transfer.lost));
    }
    if (readable <= transfer.complete_end || looked_again) {
      co_return readable > offset ? readable - offset : 0;
    }
    into = into.first(readable - offset);
  }
}

rt::CoStatus DataIo::write(OpenFile& file, std::uint64_t offset, std::span<const std::byte> from) {
  if (!file.is_open || !file.can_write()) {
    co_return fail_errno(EBADF);
  }
  if (from.empty()) {
    co_return Status{};
  }
  if (offset > wire::kMaxFileBytes || from.size() > wire::kMaxFileBytes - offset) {
    co_return fail_errno(EFBIG);
  }
  Transfer transfer(file, offset, from.size(), max_transfer());
  transfer.from = from;
  transfer.is_write = true;
  std::size_t spans = count_spans(transfer.spans);
  std::shared_ptr<OpenInode> inode = file.inode;
  std::uint64_t truncation = inode->truncation;
  Status done = co_await run_transfer(transfer, spans);
  bool is_certain =
      done || done.error().code == Errc::kPosix || done.error().code == Errc::kDataLost;
  if (transfer.written_end > 0 || !is_certain) {
    inode->on_written(transfer.written_end, truncation, is_certain, wall_now_ns());
  }
  co_return done;
}

rt::CoResult<std::uint64_t> DataIo::append(OpenFile& file, std::span<const std::byte> from) {
  if (!file.is_open || !file.can_write()) {
    co_return fail_errno(EBADF);
  }
  wire::AppendRequest request;
  request.inode = file.id().value;
  request.length = from.size();
  rpc::Call call = rpc::make_call(request);
  Result<rpc::Reply> reply =
      co_await backend_.pool.call(file.id().home(), call, backend_.data_deadline());
  if (!reply) {
    co_return call_error(std::move(reply.error()), LostBy::kAnother);
  }
  BENCHFS_CO_TRY(wire::AppendReply place, reply->as<wire::AppendReply>());
  BENCHFS_CO_TRY_VOID(co_await write(file, place.offset, from));
  co_return place.offset;
}

}  // namespace benchfs::client
