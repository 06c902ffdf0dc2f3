// Copies from file to file: the servers copy what is stored, chunk by chunk; what is short, a hole
// or at the end of the file is read and written by the client.

#include <algorithm>
#include <cerrno>
#include <memory>
#include <optional>

#include "client/inodes/lost_file.h"
#include "client/io/data_io.h"
#include "rt/scope.h"

namespace benchfs::client {
namespace {

constexpr std::size_t kCopyBuffer = std::size_t{4} << 20;
// A caller that wants more asks again: nobody can end a call in between.
constexpr std::uint64_t kMaxCopy = std::uint64_t{256} << 20;
// Copies at one server, as a share of the window of requests to it.
constexpr std::uint32_t kShareOfWindow = 4;

}  // namespace

// A range under way; its parts are taken by a few workers, in order of offset. A part is in one
// chunk on either side.
struct DataIo::Copying {
  OpenFile& from;
  std::uint64_t from_offset;
  OpenFile& to;
  std::uint64_t to_offset;
  std::size_t length;
  std::uint64_t next = 0;
  std::uint64_t end = UINT64_MAX;  // of the first part that came short
  // Of the first part that failed: all before it is copied when no part is under way.
  std::optional<Error> error;
  std::uint64_t failed_at = UINT64_MAX;
  bool source_failed = false;
};

rt::CoResult<std::size_t> DataIo::copy(OpenFile& from,
                                       std::uint64_t from_offset,
                                       OpenFile& to,
                                       std::uint64_t to_offset,
                                       std::uint64_t length,
                                       bool* source_failed) {
  if (from.attr.is_directory() || to.attr.is_directory()) {
    co_return fail_errno(EISDIR);
  }
  if (!from.can_read() || !to.can_write() || to.is_append()) {
    co_return fail_errno(EBADF);
  }
  std::uint64_t distance =
      from_offset > to_offset ? from_offset - to_offset : to_offset - from_offset;
  if (from.id() == to.id() && distance < length) {
    co_return fail_errno(EINVAL);
  }
  if (length > 0 && open_files_.must_clear_set_id(to)) [[unlikely]] {
    BENCHFS_CO_TRY_VOID(co_await open_files_.clear_set_id(to));
  }
  length = std::min(length, kMaxCopy);
  std::size_t copied = 0;
  while (copied < length) {
    Copying copying{from, from_offset + copied, to, to_offset + copied, length - copied};
    std::uint64_t at = copying.from_offset;
    std::uint64_t expected = from.size_hint > at ? from.size_hint - at : 0;
    bool at_servers = std::min(copying.length, expected) >= kLeastAtServers;
    copying.length = std::min(copying.length, at_servers ? expected : kCopyBuffer);
    Result<std::size_t> moved =
        at_servers ? co_await copy_at_servers(copying)
                   : co_await copy_through(copying, 0, copying.length, copying.source_failed);
    if (!moved && copied == 0) {
      if (source_failed != nullptr) {
        *source_failed = copying.source_failed;
      }
      co_return moved;
    }
    copied += moved.value_or(0);
    if (moved.value_or(0) < copying.length) {
      break;
    }
  }
  co_return copied;
}

rt::CoResult<std::size_t> DataIo::copy_at_servers(Copying& copying) {
  std::size_t workers = std::min<std::size_t>(backend_.config.parallel_transfers,
                                              1 + copying.length / max_transfer());
  rt::Group group(backend_.scope);
  for (std::size_t i = 0; i < workers; ++i) {
    group.add(copy_parts(&copying));
  }
  if (!co_await group.wait()) {
    co_return fail(Errc::kCancelled, "the client is closing");
  }
  std::size_t done = std::min({copying.length, copying.end, copying.failed_at});
  bool has_failed =
      copying.error && copying.failed_at < copying.end;  // not behind the end of the file
  bool is_full = has_failed && done > 0 &&
                 (copying.error->is_posix(ENOSPC) || copying.error->is_posix(EDQUOT));
  if (has_failed && !is_full) {
    co_return std::unexpected(*std::move(copying.error));
  }
  copying.to.size_hint = std::max(copying.to.size_hint, copying.to_offset + done);
  co_return done;
}

rt::Task<void> DataIo::copy_parts(Copying* copying) {
  while (copying->next < std::min(copying->length, copying->end) && !copying->error) {
    std::uint64_t at = copying->next;
    std::size_t left = copying->length - at;
    std::optional<Part> from = first_part(copying->from, copying->from_offset + at, left);
    std::optional<Part> to = first_part(copying->to, copying->to_offset + at, left);
    std::size_t length = std::min(
        {left, from ? from->length : left, to ? to->length : left, std::size_t{max_transfer()}});
    copying->next += length;
    bool reading = false;
    Result<std::size_t> done = from && to && length >= kLeastAtServers
                                   ? co_await copy_chunk(*copying, at, *from, *to, length, reading)
                                   : co_await copy_through(*copying, at, length, reading);
    if (!done && at < copying->failed_at) {
      copying->source_failed = reading;
      copying->failed_at = at;
      copying->error = std::move(done.error());
    } else if (done && *done < length) {
      copying->end = std::min(copying->end, at + *done);
    }
  }
}

rt::CoResult<std::size_t> DataIo::copy_chunk(
    Copying& copying, std::uint64_t at, Part from, Part to, std::size_t length, bool& reading) {
  wire::CopyChunkRequest request;
  request.inode = to.key.inode.value;
  request.index = to.key.index;
  request.offset = to.inside;
  request.length = static_cast<std::uint32_t>(length);
  request.from_inode = from.key.inode.value;
  request.from_index = from.key.index;
  request.from_offset = from.inside;
  request.from_shard = from.shard.value;
  rpc::Call call = rpc::make_call(request);
  Deadline by = backend_.data_deadline();
  BENCHFS_CO_TRY_VOID(co_await begin_copy(to.shard, by));
  Result<rpc::Reply> reply = co_await backend_.pool.call(to.shard, call, by);
  end_copy(to.shard);
  if (!reply) {
    Error error = name_node(std::move(reply.error()), backend_, to.shard, "copy");
    co_return std::unexpected(co_await open_files_.on_error(copying.to, std::move(error), by));
  }
  BENCHFS_CO_TRY(wire::CopyChunkReply copied, reply->as<wire::CopyChunkReply>());
  if (copied.bytes >= length) {
    co_return length;
  }
  BENCHFS_CO_TRY(std::size_t rest,
                 co_await copy_through(copying, at + copied.bytes, length - copied.bytes, reading));
  co_return copied.bytes + rest;
}

rt::CoStatus DataIo::begin_copy(wire::ShardId shard, Deadline by) {
  if (shard.value >= copies_.size()) {
    copies_.resize(shard.value + 1);
  }
  for (;;) {
    std::uint32_t window = backend_.pool.at(shard).grant().window;
    if (copies_[shard.value] < std::max(1U, window / kShareOfWindow)) {
      break;
    }
    rt::Wake wake = co_await copy_ended_.wait(by, &backend_.scope.cancel_source());
    if (Status woken = rt::wake_status(wake, ""); !woken) {
      co_return fail(woken.error().code,
                     "waiting until earlier copies at " + backend_.node(shard) + " have ended");
    }
  }
  ++copies_[shard.value];
  co_return Status{};
}

void DataIo::end_copy(wire::ShardId shard) {
  --copies_[shard.value];
  copy_ended_.wake_all();
}

rt::CoResult<std::size_t> DataIo::copy_through(Copying& copying,
                                               std::uint64_t at,
                                               std::size_t length,
                                               bool& reading) {
  auto buffer = std::make_unique_for_overwrite<std::byte[]>(length);
  reading = true;
  BENCHFS_CO_TRY(
      std::size_t got,
      co_await read(copying.from, copying.from_offset + at, std::span(buffer.get(), length)));
  reading = false;
  if (got == 0) {
    co_return 0;
  }
  co_return co_await write(
      copying.to, copying.to_offset + at, std::span<const std::byte>(buffer.get(), got));
}

}  // namespace benchfs::client
