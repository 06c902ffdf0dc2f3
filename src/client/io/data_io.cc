#include "client/io/data_io.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <optional>

#include "client/inodes/lost_file.h"
#include "rt/scope.h"

namespace benchfs::client {
namespace {

// A first part that is shorter, at the end of a chunk, is not asked for by itself.
constexpr std::size_t kLeastFirst = std::size_t{4} << 10;

// One more than the limit when there are more.
std::size_t count_spans(const cluster::ChunkSpans& spans, std::size_t limit) {
  std::size_t count = 0;
  for ([[maybe_unused]] const cluster::ChunkSpan& span : spans) {
    if (++count > limit) {
      break;
    }
  }
  return count;
}

}  // namespace

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
  bool fills_holes = false;         // read: the file reaches to its end
  std::span<const std::byte> from;  // write
  bool is_write = false;
  std::uint64_t truncation = wire::kAnyTruncation;  // write
  Stored* stored = nullptr;                         // append: these are not written again

  // Of the first part that failed, by offset: all before it is done when the transfer ends.
  std::optional<Error> error;
  std::uint64_t failed_at = UINT64_MAX;
  std::uint64_t complete_end = UINT64_MAX;  // read: where the first part that came short ends
  // Read in one part: the size of the file in the moment of its bytes.
  std::uint64_t file_size = wire::kSizeUntold;
  std::uint64_t lost_at = UINT64_MAX;  // read: where the first part begins that may be lost
  std::optional<Error> lost;

  [[nodiscard]] bool is_stored(const cluster::ChunkSpan& span) const {
    if (stored == nullptr) {
      return false;
    }
    auto found = stored->find(span.file_offset);
    return found != stored->end() && found->second >= span.length;
  }
  void on_failed(std::uint64_t file_offset, Error why) {
    if (file_offset < failed_at) {
      failed_at = file_offset;
      error = std::move(why);
    }
  }
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

// Ends when no part is under way any more. After a failure no further part is begun.
rt::Task<void> DataIo::run(Transfer& transfer) {
  std::size_t spans = count_spans(transfer.spans, backend_.config.parallel_transfers);
  if (spans == 1) {
    co_return co_await transfer_spans(&transfer);
  }
  rt::Group group(backend_.scope);
  for (std::size_t i = 0; i < std::min<std::size_t>(spans, backend_.config.parallel_transfers);
       ++i) {
    group.add(transfer_spans(&transfer));
  }
  if (!co_await group.wait()) {
    transfer.on_failed(transfer.offset, Error{Errc::kCancelled, 0, "the client is closing"});
  }
}

rt::Task<void> DataIo::transfer_spans(Transfer* transfer) {
  while (transfer->next != transfer->spans.end() && !transfer->error) {
    cluster::ChunkSpan span = *transfer->next;
    ++transfer->next;
    if (transfer->is_stored(span)) {
      continue;
    }
    Status done = co_await transfer_span(*transfer, span);
    if (!done) {
      transfer->on_failed(span.file_offset, std::move(done.error()));
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
  request.truncation = transfer.truncation;
  rpc::Call call = rpc::make_call(request);
  call.data = transfer.from.subspan(span.file_offset - transfer.offset, span.length);
  call.rendezvous = span.length > backend_.config.eager_bytes;
  wire::ShardId shard = cluster::chunk_shard(transfer.file.layout(), span.index);
  Deadline by = backend_.data_deadline();
  Result<bool> written = false;
  wire::ChunkKey key{transfer.file.id(), span.index};
  if (direct_.may_write(shard, key, span.offset, span.length)) {
    written = co_await direct_.write(shard, key, span.offset, call.data, transfer.truncation, by);
  }
  if (written && !*written) {
    Result<rpc::Reply> reply = co_await backend_.pool.call(shard, call, by);
    written = reply ? Result<bool>(true) : std::unexpected(std::move(reply.error()));
  }
  if (!written) {
    co_return call_error(name_node(std::move(written.error()), backend_, shard, "write"),
                         LostBy::kAsked);
  }
  if (transfer.stored != nullptr) {
    (*transfer.stored)[span.file_offset] = span.length;
  }
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
  wire::ShardId shard = cluster::chunk_shard(transfer.file.layout(), span.index);
  Deadline by = backend_.data_deadline();
  std::uint64_t size = transfer.file.size_hint;
  std::uint64_t expected = size > span.file_offset ? size - span.file_offset : 0;
  wire::ChunkKey key{transfer.file.id(), span.index};
  if (co_await direct_.read(shard, key, span.offset, call.into, expected, by)) {
    co_return Status{};
  }
  Result<rpc::Reply> reply = co_await backend_.pool.call(shard, call, by);
  if (!reply && reply.error().code == Errc::kDataLost) {
    transfer.on_lost(span.file_offset,
                     call_error(std::move(reply.error()), LostBy::kAsked).error());
    co_return Status{};
  }
  if (!reply) {
    co_return std::unexpected(name_node(std::move(reply.error()), backend_, shard, "read"));
  }
  if (reply->data_bytes < span.length) {
    if (transfer.fills_holes) {
      std::memset(call.into.data() + reply->data_bytes, 0, span.length - reply->data_bytes);
    }
    transfer.complete_end = std::min(transfer.complete_end, span.file_offset + reply->data_bytes);
    if (span.length == transfer.into.size()) {
      BENCHFS_CO_TRY(wire::ReadChunkReply told, reply->as<wire::ReadChunkReply>());
      transfer.file_size = told.file_size;
    }
  }
  co_return Status{};
}

// --- Without a request ---------------------------------------------------------------------------

std::optional<DataIo::Part> DataIo::first_part(const OpenFile& file,
                                               std::uint64_t offset,
                                               std::size_t length) {
  const wire::Layout& layout = file.layout();
  if (!file.is_open || file.stale || layout.chunk_bytes == 0 || offset > wire::kMaxFileBytes ||
      length > wire::kMaxFileBytes - offset) [[unlikely]] {
    return {};
  }
  std::uint64_t index = offset >> std::countr_zero(layout.chunk_bytes);
  auto inside = static_cast<std::uint32_t>(offset & (layout.chunk_bytes - 1));
  return Part{.shard = cluster::chunk_shard(layout, index),
              .key = {file.id(), index},
              .inside = inside,
              .length = std::min<std::size_t>(length, layout.chunk_bytes - inside)};
}

void DataIo::find_to_read(const OpenFile& file,
                          std::uint64_t offset,
                          std::size_t length,
                          link::SlotRange& found) {
  std::optional<Part> part = first_part(file, offset, length);
  if (part && file.can_read()) {
    direct_.find_to_read(part->shard, part->key, part->inside, part->length, found);
  }
}

void DataIo::find_to_write(const OpenFile& file,
                           std::uint64_t offset,
                           std::size_t length,
                           link::SlotRange& found) {
  std::optional<Part> part = first_part(file, offset, length);
  if (part && file.can_write() && !file.is_append() && !open_files_.must_clear_set_id(file)) {
    direct_.find_to_write(part->shard, part->key, part->inside, part->length, found);
  }
}

bool DataIo::read_now(const OpenFile& file, std::uint64_t offset, std::span<std::byte> into) {
  return copy_now(
      into.size(),
      [&](std::size_t done, std::size_t left, link::SlotRange& found) {
        find_to_read(file, offset + done, left, found);
      },
      [&](std::size_t done, const link::SlotRange& found) {
        return found.slots->read(found, &into[done]);
      });
}

bool DataIo::write_now(const OpenFile& file,
                       std::uint64_t offset,
                       std::span<const std::byte> from) {
  return copy_now(
      from.size(),
      [&](std::size_t done, std::size_t left, link::SlotRange& found) {
        find_to_write(file, offset + done, left, found);
      },
      [&](std::size_t done, const link::SlotRange& found) {
        return found.slots->overwrite(found, &from[done]);
      });
}

// --- With requests -------------------------------------------------------------------------------

rt::CoResult<std::size_t> DataIo::read(OpenFile& file,
                                       std::uint64_t offset,
                                       std::span<std::byte> into) {
  if (file.attr.is_directory()) {
    co_return fail_errno(EISDIR);
  }
  if (!file.can_read()) {
    co_return fail_errno(EBADF);
  }
  BENCHFS_CO_TRY_VOID(open_files_.check(file));
  if (into.empty() || offset >= wire::kMaxFileBytes) {
    co_return 0;
  }
  if (into.size() > wire::kMaxFileBytes - offset) {
    into = into.first(wire::kMaxFileBytes - offset);
  }
  if (read_now(file, offset, into)) {
    co_return into.size();
  }
  // A buffer may be much longer than the file, whose size may be another one by now. When there is
  // more than was expected all is read again: what comes from two moments may be no state of the
  // file.
  std::uint64_t expected = file.size_hint > offset ? file.size_hint - offset : 0;
  if (into.size() > expected) {  // with one byte more, which tells whether it has grown
    std::uint32_t most = max_transfer();
    // What is asked for in one part may be answered with the size.
    std::uint64_t part =
        cluster::ChunkSpans(file.layout(), offset, into.size(), most).begin()->length;
    bool is_one = expected < part && part >= std::min<std::uint64_t>(into.size(), kLeastFirst);
    std::uint64_t first = is_one ? part : std::max<std::uint64_t>(most, expected + 1);
    if (first < into.size()) {
      Result<std::size_t> got = co_await read_range(file, offset, into.first(first));
      if (!got || *got < first) {
        co_return got;
      }
      file.size_hint = std::max(file.size_hint, offset + into.size());
    }
  }
  co_return co_await read_range(file, offset, into);
}

rt::CoResult<std::size_t> DataIo::read_range(OpenFile& file,
                                             std::uint64_t offset,
                                             std::span<std::byte> whole) {
  constexpr int kMostLooks = 8;
  Deadline by = backend_.data_deadline();
  std::span<std::byte> into = whole;
  std::optional<wire::Attr> known;
  for (int looks = 1;; ++looks) {
    Transfer transfer(file, offset, into.size(), max_transfer());
    transfer.into = into;
    transfer.fills_holes = known.has_value();
    co_await run(transfer);
    if (transfer.error) {
      co_return std::unexpected(
          co_await open_files_.on_error(file, *std::move(transfer.error), by));
    }
    if (transfer.complete_end >= offset + into.size()) {
      if (offset + into.size() > file.size_hint) {  // it has grown, and may go on
        file.size_hint = 2 * (offset + into.size());
      }
      co_return into.size();
    }
    if (transfer.file_size <= std::min(transfer.complete_end, transfer.lost_at)) {
      file.size_hint = transfer.file_size;
      co_return transfer.file_size > offset ? transfer.file_size - offset : 0;
    }
    // Something was not stored: the end of the file, or a hole. Only the size tells. When it says
    // that bytes should be there, they may have been written since: look once more, and what is
    // still missing is a hole, unless the file was cut in between, too.
    BENCHFS_CO_TRY(wire::Attr attr, co_await open_files_.stat(file));
    std::uint64_t readable = std::min(offset + whole.size(), attr.size);
    if (transfer.lost_at < readable) {
      co_return std::unexpected(*std::move(transfer.lost));
    }
    if (readable <= offset) {
      co_return 0;
    }
    bool is_same = known && known->size == attr.size && known->ctime_ns == attr.ctime_ns;
    bool has_all = readable <= transfer.complete_end;
    if (has_all || is_same || looks == kMostLooks) {
      co_return std::min<std::size_t>(readable - offset, into.size());
    }
    known = attr;
    into = whole.first(readable - offset);
  }
}

rt::CoResult<std::size_t> DataIo::write_range(OpenFile& file,
                                              std::uint64_t offset,
                                              std::span<const std::byte> from,
                                              std::uint64_t truncation,
                                              Stored* stored) {
  Deadline by = backend_.data_deadline();
  Transfer transfer(file, offset, from.size(), max_transfer());
  transfer.from = from;
  transfer.is_write = true;
  transfer.truncation = truncation;
  transfer.stored = stored;
  co_await run(transfer);
  if (!transfer.error) {
    file.size_hint = std::max(file.size_hint, offset + from.size());
    co_return from.size();
  }
  bool is_full = transfer.error->is_posix(ENOSPC) || transfer.error->is_posix(EDQUOT);
  if (is_full && transfer.failed_at > offset) {
    co_return transfer.failed_at - offset;
  }
  co_return std::unexpected(co_await open_files_.on_error(file, *std::move(transfer.error), by));
}

rt::CoResult<std::size_t> DataIo::write(OpenFile& file,
                                        std::uint64_t offset,
                                        std::span<const std::byte> from) {
  if (!file.can_write()) {
    co_return fail_errno(EBADF);
  }
  BENCHFS_CO_TRY_VOID(open_files_.check(file));
  if (from.empty()) {
    co_return 0;
  }
  if (offset > wire::kMaxFileBytes || from.size() > wire::kMaxFileBytes - offset) {
    co_return fail_errno(EFBIG);
  }
  if (open_files_.must_clear_set_id(file)) [[unlikely]] {
    BENCHFS_CO_TRY_VOID(co_await open_files_.clear_set_id(file));
  }
  if (write_now(file, offset, from)) {
    co_return from.size();
  }
  co_return co_await write_range(file, offset, from, wire::kAnyTruncation);
}

rt::CoResult<wire::AppendReply> DataIo::ask_place(OpenFile& file,
                                                  wire::AppendRequest request,
                                                  Deadline by) {
  wire::ShardId home = file.id().home();
  rpc::Call call = rpc::make_call(request);
  Result<rpc::Reply> reply = co_await backend_.pool.call(home, call, by);
  if (!reply) {
    Error error = name_node(std::move(reply.error()), backend_, home, "append");
    error = co_await open_files_.on_error(file, std::move(error), by);
    co_return call_error(std::move(error), LostBy::kAnother);
  }
  co_return reply->as<wire::AppendReply>();
}

rt::CoResult<Appended> DataIo::append(OpenFile& file, std::span<const std::byte> from) {
  if (!file.can_write()) {
    co_return fail_errno(EBADF);
  }
  BENCHFS_CO_TRY_VOID(open_files_.check(file));
  if (open_files_.must_clear_set_id(file)) [[unlikely]] {
    BENCHFS_CO_TRY_VOID(co_await open_files_.clear_set_id(file));
  }
  Deadline by = backend_.data_deadline();
  wire::AppendRequest request;
  request.inode = file.id().value;
  request.length = from.size();
  BENCHFS_CO_TRY(wire::AppendReply place, co_await ask_place(file, request, by));
  request.offset = place.offset;
  if (place.offset > wire::kMaxFileBytes || from.size() > wire::kMaxFileBytes - place.offset) {
    co_return fail_errno(EFBIG);
  }
  std::span<const std::byte> left = from;
  Stored stored;
  for (;;) {
    Result<std::size_t> written =
        co_await write_range(file, request.offset, left, place.truncation, &stored);
    if (written) {
      bool is_whole = *written == left.size();
      co_return Appended{.offset = request.offset, .bytes = is_whole ? from.size() : *written};
    }
    // A truncation overtook the append, which counts as having happened before: readers may have
    // seen bytes of it, so it must not happen again at the new end.
    if (!written.error().is_posix(EAGAIN)) {
      co_return std::unexpected(std::move(written.error()));
    }
    if (by.passed()) {
      co_return fail(Errc::kDeadline, "the file was truncated again and again during the append");
    }
    request.truncation = place.truncation;
    request.length = left.size();
    BENCHFS_CO_TRY(place, co_await ask_place(file, request, by));
    left = left.first(std::min<std::uint64_t>(place.length, left.size()));
  }
}

}  // namespace benchfs::client
