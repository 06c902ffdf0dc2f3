#include "client/io/holes.h"

#include <fcntl.h>
#include <linux/falloc.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <span>
#include <utility>

#include "client/inodes/lost_file.h"
#include "cluster/placement.h"
#include "rt/scope.h"

namespace benchfs::client {
namespace {

constexpr std::uint32_t kListedAtOnce = 1024;

}  // namespace

// --- Which chunks there are ----------------------------------------------------------------------

rt::Task<void> Holes::list_shard(OpenFile* file,
                                 wire::ShardId shard,
                                 std::uint64_t first,
                                 std::uint32_t max,
                                 Result<Page>* out) {
  wire::ListChunksRequest request;
  request.inode = file->id().value;
  request.first = first;
  request.max_count = max;
  rpc::Call call = rpc::make_call(request);
  Page page;
  page.chunks.resize(max);
  call.into = std::as_writable_bytes(std::span(page.chunks));
  Result<rpc::Reply> reply = co_await backend_.pool.call(shard, call, backend_.data_deadline());
  if (!reply) {
    *out = call_error(name_node(std::move(reply.error()), backend_, shard, "list chunks"),
                      LostBy::kAsked);
    co_return;
  }
  Result<wire::ListChunksReply> header = reply->as<wire::ListChunksReply>();
  bool is_whole = header && header->count <= max && (header->at_end != 0 || header->count > 0) &&
                  reply->data_bytes == header->count * sizeof(wire::ChunkEnd);
  if (!is_whole) {
    *out = fail(Errc::kMalformed, "a list of chunks is cut short");
    co_return;
  }
  page.chunks.resize(header->count);
  page.at_end = header->at_end != 0;
  std::uint64_t end = wire::kMaxFileBytes / file->layout().chunk_bytes;
  std::uint64_t least = first;
  for (const wire::ChunkEnd& chunk : page.chunks) {
    if (chunk.index < least || chunk.index >= end) {
      *out = fail(Errc::kMalformed, "a list of chunks is out of order, or behind the largest file");
      co_return;
    }
    least = chunk.index + 1;
  }
  *out = std::move(page);
}

rt::CoResult<Holes::Chunks> Holes::list(OpenFile& file,
                                        std::uint64_t size,
                                        std::uint64_t first,
                                        std::uint32_t max) {
  cluster::LayoutShards shards(file.layout(), size);
  std::vector<Result<Page>> pages(shards.size(), Page{});
  rt::Group group(backend_.scope);
  std::size_t next = 0;
  for (wire::ShardId shard : shards) {
    group.add(list_shard(&file, shard, first, max, &pages[next++]));
  }
  if (!co_await group.wait()) {
    co_return fail(Errc::kCancelled, "the client is closing");
  }
  Chunks all;
  for (Result<Page>& page : pages) {
    BENCHFS_CO_TRY(Page known, std::move(page));
    if (!known.at_end) {
      all.end = std::min(all.end, known.chunks.back().index + 1);
    }
    all.found.insert(all.found.end(), known.chunks.begin(), known.chunks.end());
  }
  std::erase_if(all.found, [&](const wire::ChunkEnd& chunk) { return chunk.index >= all.end; });
  std::ranges::sort(all.found, {}, &wire::ChunkEnd::index);
  co_return all;
}

rt::CoResult<std::uint64_t> Holes::seek_data(OpenFile& file, std::uint64_t offset) {
  BENCHFS_CO_TRY(wire::Attr attr, co_await open_files_.stat(file));
  if (!attr.is_regular()) {
    co_return fail_errno(EINVAL);
  }
  std::uint64_t chunk_bytes = attr.layout.chunk_bytes;
  std::uint64_t index = offset / chunk_bytes;
  while (offset < attr.size && index <= (attr.size - 1) / chunk_bytes) {
    // Two: the first may end before `offset`.
    BENCHFS_CO_TRY(Chunks chunks, co_await list(file, attr.size, index, 2));
    for (const wire::ChunkEnd& chunk : chunks.found) {
      std::uint64_t begin = chunk.index * chunk_bytes;
      if (begin + chunk.end > offset && std::max(begin, offset) < attr.size) {
        co_return std::max(begin, offset);
      }
    }
    if (chunks.end == UINT64_MAX) {
      break;
    }
    index = chunks.end;
  }
  co_return fail_errno(ENXIO);
}

rt::CoResult<std::uint64_t> Holes::seek_hole(OpenFile& file, std::uint64_t offset) {
  BENCHFS_CO_TRY(wire::Attr attr, co_await open_files_.stat(file));
  if (!attr.is_regular()) {
    co_return fail_errno(EINVAL);
  }
  if (offset >= attr.size) {
    co_return fail_errno(ENXIO);
  }
  std::uint64_t chunk_bytes = attr.layout.chunk_bytes;
  for (;;) {
    BENCHFS_CO_TRY(Chunks chunks,
                   co_await list(file, attr.size, offset / chunk_bytes, kListedAtOnce));
    for (const wire::ChunkEnd& chunk : chunks.found) {
      std::uint64_t begin = chunk.index * chunk_bytes;
      if (begin > offset) {
        break;
      }
      offset = std::max(offset, begin + std::min<std::uint64_t>(chunk.end, chunk_bytes));
    }
    // Data up to the last chunk that is known: it may go on.
    bool goes_on =
        offset < attr.size && chunks.end != UINT64_MAX && offset >= chunks.end * chunk_bytes;
    if (!goes_on) {
      co_return std::min(offset, attr.size);
    }
  }
}

// --- Making the file longer, and holes -----------------------------------------------------------

struct Holes::Punch {
  OpenFile& file;
  std::uint64_t begin;
  std::uint64_t end;
  std::span<const wire::ChunkEnd> left;
  std::optional<Error> error{};
};

rt::Task<void> Holes::punch_chunks(Punch* punch) {
  const wire::Layout layout = punch->file.layout();
  while (!punch->left.empty() && !punch->error) {
    std::uint64_t index = punch->left.front().index;
    punch->left = punch->left.subspan(1);
    std::uint64_t chunk_begin = index * layout.chunk_bytes;
    std::uint64_t begin = std::max(punch->begin, chunk_begin);
    std::uint64_t end = std::min(punch->end, chunk_begin + layout.chunk_bytes);
    if (begin >= end) {
      continue;
    }
    wire::PunchChunkRequest request;
    request.inode = punch->file.id().value;
    request.index = index;
    request.offset = static_cast<std::uint32_t>(begin - chunk_begin);
    request.length = static_cast<std::uint32_t>(end - begin);
    wire::ShardId shard = cluster::chunk_shard(layout, index);
    rpc::Call call = rpc::make_call(request);
    Result<rpc::Reply> reply = co_await backend_.pool.call(shard, call, backend_.data_deadline());
    if (!reply) {
      punch->error =
          call_error(name_node(std::move(reply.error()), backend_, shard, "punch"), LostBy::kAsked)
              .error();
    }
  }
}

rt::CoStatus Holes::punch(OpenFile& file, std::uint64_t begin, std::uint64_t end) {
  Deadline by = backend_.data_deadline();
  BENCHFS_CO_TRY(wire::Attr attr, co_await open_files_.stat(file));
  end = std::min(end, attr.size);
  std::uint64_t chunk_bytes = attr.layout.chunk_bytes;
  for (std::uint64_t index = begin / chunk_bytes; index * chunk_bytes < end;) {
    BENCHFS_CO_TRY(Chunks chunks, co_await list(file, attr.size, index, kListedAtOnce));
    Punch punch{.file = file, .begin = begin, .end = end, .left = chunks.found};
    rt::Group group(backend_.scope);
    std::size_t workers =
        std::min<std::size_t>(chunks.found.size(), backend_.config.parallel_transfers);
    for (std::size_t i = 0; i < workers; ++i) {
      group.add(punch_chunks(&punch));
    }
    if (!co_await group.wait()) {
      co_return fail(Errc::kCancelled, "the client is closing");
    }
    if (punch.error) {
      co_return std::unexpected(co_await open_files_.on_error(file, *std::move(punch.error), by));
    }
    if (chunks.end == UINT64_MAX) {
      break;
    }
    index = chunks.end;
  }
  co_return Status{};
}

rt::CoStatus Holes::allocate(OpenFile& file, int mode, std::uint64_t offset, std::uint64_t length) {
  bool keeps_size = (mode & FALLOC_FL_KEEP_SIZE) != 0;
  bool is_punch = (mode & FALLOC_FL_PUNCH_HOLE) != 0;
  bool is_zero = (mode & FALLOC_FL_ZERO_RANGE) != 0;
  constexpr int kKnown = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE;
  if ((mode & ~kKnown) != 0 || (is_punch && (is_zero || !keeps_size))) {
    co_return fail_errno(EOPNOTSUPP);
  }
  if (!file.can_write()) {
    co_return fail_errno(EBADF);
  }
  BENCHFS_CO_TRY_VOID(open_files_.check(file));
  if (length == 0) {
    co_return fail_errno(EINVAL);
  }
  if (offset > wire::kMaxFileBytes || length > wire::kMaxFileBytes - offset) {
    co_return fail_errno(EFBIG);
  }
  if (open_files_.must_clear_set_id(file)) [[unlikely]] {
    BENCHFS_CO_TRY_VOID(co_await open_files_.clear_set_id(file));
  }
  wire::SetAttrRequest request;
  if (is_punch || is_zero) {
    BENCHFS_CO_TRY_VOID(co_await punch(file, offset, offset + length));
    request.mask |= wire::kSetMtimeNow;
  }
  if (!keeps_size) {
    request.mask |= wire::kSetSizeAtLeast;
    request.size = offset + length;
  }
  if (request.mask != 0) {
    BENCHFS_CO_TRY_VOID(co_await open_files_.set_attr(file, request));
  }
  co_return Status{};
}

}  // namespace benchfs::client
