// Open files, exact sizes, truncation, freeing of chunks.

#include <algorithm>

#include "base/clock.h"
#include "base/log.h"
#include "cluster/placement.h"
#include "server/decode.h"
#include "server/files/files.h"
#include "server/reply_entry.h"

namespace benchfs::server {
namespace {

// How long it is tried to free what nobody uses any more.
constexpr Nanos kCleanUpPatience = std::chrono::seconds(30);
// Clean-ups that run beside the requests at a time; more wait for their own.
constexpr std::size_t kMaxCleanUps = 4096;

}  // namespace

// --- What the chunk shards know ------------------------------------------------------------------

rt::Task<void> Files::query_one(wire::ShardId shard,
                                wire::QueryChunksRequest query,
                                Deadline deadline,
                                Result<wire::QueryChunksReply>* out) {
  if (peers_.is_self(shard)) {
    chunk::Extent extent = chunks_.query(wire::InodeId{query.inode}, query.chunk_bytes);
    *out = wire::QueryChunksReply{extent.end, extent.mtime_ns, extent.chunk_count, 0};
    co_return;
  }
  *out = co_await peers_.call(shard, query, deadline);
}

rt::CoResult<wire::QueryChunksReply> Files::query_all(wire::InodeId inode,
                                                      wire::Layout layout,
                                                      Deadline deadline) {
  wire::QueryChunksRequest query;
  query.inode = inode.value;
  query.chunk_bytes = layout.chunk_bytes;
  std::vector<Result<wire::QueryChunksReply>> answers(layout.width, wire::QueryChunksReply{});
  rt::Group group(*peers_.scope);
  for (std::uint32_t shard = 0; shard < layout.width; ++shard) {
    group.add(query_one(wire::ShardId{shard}, query, deadline, &answers[shard]));
  }
  if (!co_await group.wait()) {
    co_return fail(Errc::kNotReady, "the server is stopping");
  }
  wire::QueryChunksReply sum;
  for (Result<wire::QueryChunksReply>& answer : answers) {
    if (!answer) {
      co_return std::unexpected(std::move(answer.error()));
    }
    sum.end = std::max(sum.end, answer->end);
    sum.mtime_ns = std::max(sum.mtime_ns, answer->mtime_ns);
    sum.chunk_count += answer->chunk_count;
  }
  co_return sum;
}

// The answers are not from before a truncation.
rt::CoResult<wire::QueryChunksReply> Files::query_current(wire::InodeId inode, Deadline deadline) {
  BENCHFS_CO_TRY(wire::Attr attr, store_.attr(inode));
  for (;;) {
    BENCHFS_CO_TRY(wire::QueryChunksReply known, co_await query_all(inode, attr.layout, deadline));
    std::uint64_t truncation = attr.truncation;
    BENCHFS_CO_TRY(attr, store_.attr(inode));
    if (attr.truncation == truncation) {
      co_return known;
    }
  }
}

rt::CoResult<wire::Attr> Files::exact_attr(wire::InodeId inode, Deadline deadline) {
  for (;;) {
    Result<wire::Attr> attr = store_.attr(inode);
    if (!attr || !attr->is_regular() || !store_.has_writers(inode)) {
      co_return attr;
    }
    BENCHFS_CO_TRY(wire::QueryChunksReply known, co_await query_all(inode, attr->layout, deadline));
    Result<wire::Attr> exact = store_.attr_if_settled(inode, known.end, known.mtime_ns);
    // After a truncation in between the answers may be from before it: ask again.
    if (!exact || exact->truncation == attr->truncation) {
      co_return exact;
    }
  }
}

rt::Task<void> Files::get_attr(rpc::Request& request) {
  BENCHFS_SERVE_TRY(auto body, request, decode<wire::GetAttrRequest>(request));
  BENCHFS_SERVE_TRY(
      wire::Attr attr, request, co_await exact_attr(wire::InodeId{body.inode}, request.deadline()));
  co_await reply_entry(request, store_, attr, 0);
}

rt::Task<void> Files::readlink(rpc::Request& request) {
  BENCHFS_SERVE_TRY(auto body, request, decode<wire::ReadlinkRequest>(request));
  BENCHFS_SERVE_TRY(wire::Attr attr, request, store_.attr(wire::InodeId{body.inode}));
  if (!attr.is_symlink()) {
    co_await request.reply_error(Error::from_errno(EINVAL));
    co_return;
  }
  co_await reply_entry(request, store_, attr, 0);
}

rt::Task<void> Files::set_attr(rpc::Request& request) {
  BENCHFS_SERVE_TRY(auto body, request, decode<wire::SetAttrRequest>(request));
  wire::InodeId inode{body.inode};
  if ((body.mask & wire::kSetSize) != 0) {
    BENCHFS_SERVE_TRY_VOID(request, co_await truncate(inode, body.size, request.deadline()));
  }
  if ((body.mask & ~wire::kSetSize) != 0) {
    BENCHFS_SERVE_TRY_VOID(request, store_.set_attr(inode, body, wall_now_ns()));
  }
  BENCHFS_SERVE_TRY(wire::Attr attr, request, co_await exact_attr(inode, request.deadline()));
  co_await request.reply(wire::EntryReply{attr, 0, 0});
}

// --- Truncation ----------------------------------------------------------------------------------

rt::Task<void> Files::truncate_one(wire::ShardId shard,
                                   wire::TruncateChunksRequest body,
                                   Deadline deadline,
                                   Status* out) {
  if (peers_.is_self(shard)) {
    *out = co_await chunks_.truncate(wire::InodeId{body.inode}, body.size, body.chunk_bytes);
    co_return;
  }
  Result<wire::NoReply> reply = co_await peers_.call(shard, body, deadline);
  if (!reply) {
    *out = std::unexpected(std::move(reply.error()));
  }
}

// Drops what is stored at or beyond `size` on every shard that may hold a chunk of the file;
// `everywhere` when the size in `attr` does not bound what was written.
rt::CoStatus Files::truncate_chunks(wire::Attr attr,
                                    std::uint64_t size,
                                    bool everywhere,
                                    Deadline deadline) {
  const wire::Layout& layout = attr.layout;
  if (layout.width == 0 || (!everywhere && size >= attr.size)) {
    co_return Status{};
  }
  std::uint64_t chunks = (attr.size + layout.chunk_bytes - 1) / layout.chunk_bytes;
  auto shards = static_cast<std::uint32_t>(
      everywhere ? layout.width : std::min<std::uint64_t>(chunks, layout.width));
  wire::TruncateChunksRequest body;
  body.inode = attr.inode;
  body.size = size;
  body.chunk_bytes = layout.chunk_bytes;
  if (shards == 1 && peers_.is_self(cluster::chunk_shard(layout, 0))) {
    co_return co_await chunks_.truncate(attr.id(), size, layout.chunk_bytes);
  }
  std::vector<Status> results(shards);
  rt::Group group(*peers_.scope);
  for (std::uint32_t i = 0; i < shards; ++i) {
    group.add(truncate_one(cluster::chunk_shard(layout, i), body, deadline, &results[i]));
  }
  if (!co_await group.wait()) {
    co_return fail(Errc::kNotReady, "the server is stopping");
  }
  for (Status& result : results) {
    if (!result) {
      co_return result;
    }
  }
  co_return Status{};
}

rt::CoStatus Files::truncate(wire::InodeId inode, std::uint64_t size, Deadline deadline) {
  BENCHFS_CO_TRY(InodeLocks::Guard guard, co_await inode_locks_.lock(inode, deadline));
  BENCHFS_CO_TRY(wire::Attr attr, store_.attr(inode));
  if (attr.is_directory()) {
    co_return fail_errno(EISDIR);
  }
  if (!attr.is_regular()) {
    co_return fail_errno(EINVAL);
  }
  if (size > wire::kMaxFileBytes) {
    co_return fail_errno(EFBIG);
  }
  BENCHFS_CO_TRY_VOID(co_await truncate_chunks(attr, size, store_.has_writers(inode), deadline));
  co_return store_.set_size(inode, size, wall_now_ns());
}

// --- Open files ----------------------------------------------------------------------------------

// The inode is a regular file.
rt::CoResult<wire::Attr> Files::open(wire::InodeId inode,
                                     OpenKey key,
                                     std::uint32_t flags,
                                     Deadline deadline) {
  std::uint64_t client_uid = key.client_uid;
  if ((flags & wire::kOpenDirectory) != 0) {
    co_return fail_errno(ENOTDIR);  // here, because it must not be truncated either
  }
  BENCHFS_CO_TRY_VOID(store_.open(inode, client_uid, flags));
  if ((flags & wire::kOpenTruncate) != 0 && (flags & wire::kOpenWrite) != 0) {
    Status done = co_await truncate(inode, 0, deadline);
    if (!done) {
      co_await undo_open(inode, client_uid, flags);
      co_return std::unexpected(std::move(done.error()));
    }
  }
  Result<wire::Attr> attr = co_await exact_attr(inode, deadline);
  if (!attr) {
    co_await undo_open(inode, client_uid, flags);
  }
  co_return attr;
}

Result<wire::Attr> Files::create_open(const EntryKey& entry,
                                      const meta::NewInode& inode,
                                      OpenKey key,
                                      std::uint32_t flags) {
  BENCHFS_TRY(wire::Attr attr,
              store_.create(entry.parent, entry.name, inode, wall_now_ns(), mono_now()));
  store_.touch_entry_change(entry.parent, attr.ctime_ns);
  Result<wire::Attr> opened = store_.open(attr.id(), key.client_uid, flags);
  if (!opened) {  // not half of it
    (void)store_.remove_entry(entry.parent, entry.name);
    (void)store_.unlink(attr.id(), attr.ctime_ns);
    return opened;
  }
  return attr;
}

// The caller got an error, and so has nothing that it could close.
rt::Task<void> Files::undo_open(wire::InodeId inode,
                                std::uint64_t client_uid,
                                std::uint32_t flags) {
  Result<meta::MetaStore::Closed> closed = store_.close(inode, client_uid, flags);
  if (closed && closed->gone) {
    co_await run_later(free_chunks({closed->attr, true}));
  }
}

rt::Task<void> Files::open_inode(rpc::Request& request) {
  BENCHFS_SERVE_TRY(auto body, request, decode<wire::OpenInodeRequest>(request));
  wire::InodeId inode{body.inode};
  BENCHFS_SERVE_TRY(wire::Attr attr, request, store_.attr(inode));
  if (attr.is_regular()) {
    BENCHFS_SERVE_TRY(
        attr,
        request,
        co_await open(
            inode, {request.client_uid(), body.open_number}, body.flags, request.deadline()));
  }
  co_await reply_entry(request, store_, attr, 0);
}

// Takes up what a writer reports. When somebody truncated the file meanwhile, its word about the
// size is worth nothing and the chunk shards are asked.
rt::CoStatus Files::settle(wire::InodeId inode,
                           std::uint64_t written_end,
                           std::uint64_t truncation,
                           std::int64_t mtime_ns,
                           Deadline deadline) {
  if (written_end == 0 && mtime_ns == 0) {
    co_return Status{};
  }
  BENCHFS_CO_TRY(wire::Attr attr, store_.attr(inode));
  if (attr.truncation != truncation) {
    BENCHFS_CO_TRY(wire::QueryChunksReply known, co_await query_current(inode, deadline));
    written_end = known.end;
  }
  co_return store_.settle(inode, written_end, mtime_ns);
}

rt::Task<void> Files::close(rpc::Request& request) {
  BENCHFS_SERVE_TRY(auto body, request, decode<wire::CloseRequest>(request));
  wire::InodeId inode{body.inode};
  Status settled = Status{};
  if ((body.flags & wire::kOpenWrite) != 0) {
    settled = co_await settle(
        inode, body.written_end, body.truncation, body.mtime_ns, request.deadline());
  }
  BENCHFS_SERVE_TRY(meta::MetaStore::Closed closed,
                    request,
                    store_.close(inode, request.client_uid(), body.flags));
  if (closed.gone && closed.attr.is_regular()) {
    BENCHFS_SERVE_TRY_VOID(request,
                           co_await truncate_chunks(closed.attr, 0, true, request.deadline()));
  }
  BENCHFS_SERVE_TRY_VOID(request, std::move(settled));
  co_await request.reply(wire::EntryReply{closed.attr, 0, 0});
}

rt::Task<void> Files::fsync(rpc::Request& request) {
  BENCHFS_SERVE_TRY(auto body, request, decode<wire::FsyncRequest>(request));
  wire::InodeId inode{body.inode};
  BENCHFS_SERVE_TRY_VOID(
      request,
      co_await settle(inode, body.written_end, body.truncation, body.mtime_ns, request.deadline()));
  BENCHFS_SERVE_TRY(wire::Attr attr, request, co_await exact_attr(inode, request.deadline()));
  co_await request.reply(wire::EntryReply{attr, 0, 0});
}

rt::Task<void> Files::append(rpc::Request& request) {
  BENCHFS_SERVE_TRY(auto body, request, decode<wire::AppendRequest>(request));
  wire::InodeId inode{body.inode};
  BENCHFS_SERVE_TRY(
      InodeLocks::Guard guard, request, co_await inode_locks_.lock(inode, request.deadline()));
  if (store_.has_plain_writers(inode)) {
    BENCHFS_SERVE_TRY(wire::Attr attr, request, co_await exact_attr(inode, request.deadline()));
    BENCHFS_SERVE_TRY_VOID(request, store_.settle(inode, attr.size, attr.mtime_ns));
  }
  BENCHFS_SERVE_TRY(
      wire::AppendReply reply, request, store_.note_append(inode, body.length, wall_now_ns()));
  guard.release();
  co_await request.reply(reply);
}

// --- The end of inodes ---------------------------------------------------------------------------

void Files::drop(wire::InodeId inode) {
  if (!peers_.is_self(inode.home())) {
    (void)peers_.scope->spawn(drop_remote(inode));
    return;
  }
  Result<std::optional<Unused>> unused = unlink_local(inode);
  if (unused && *unused) {
    (void)peers_.scope->spawn(free_chunks(**unused));
  }
}

rt::Task<void> Files::drop_remote(wire::InodeId inode) {
  wire::ForgetInodeRequest body;
  body.inode = inode.value;
  Result<wire::NoReply> reply =
      co_await peers_.call(inode.home(), body, Deadline::after(kCleanUpPatience));
  if (!reply) {
    BENCHFS_LOG(kWarn, "inode {:x} could not be dropped: {}", inode.value, reply.error().message());
  }
}

// Takes its name from an inode of this shard. Its attributes when its chunks are to be freed now,
// on all shards if `everywhere`.
Result<std::optional<Files::Unused>> Files::unlink_local(wire::InodeId inode) {
  Result<wire::Attr> attr = store_.attr(inode);
  if (!attr) {
    return std::nullopt;  // dropped before
  }
  bool written = store_.has_writers(inode);
  BENCHFS_TRY(bool gone, store_.unlink(inode, wall_now_ns()));
  if (!gone || !attr->is_regular()) {
    return std::nullopt;
  }
  return Unused{*attr, written};
}

rt::Task<void> Files::free_chunks(Unused unused) {
  Status freed = co_await truncate_chunks(
      unused.attr, 0, unused.everywhere, Deadline::after(kCleanUpPatience));
  if (!freed) {
    BENCHFS_LOG(kWarn,
                "chunks of inode {:x} could not be freed: {}",
                unused.attr.inode,
                freed.error().message());
  }
}

rt::Task<void> Files::forget_inode(rpc::Request& request) {
  BENCHFS_SERVE_TRY(auto body, request, decode<wire::ForgetInodeRequest>(request));
  BENCHFS_SERVE_TRY(std::optional<Unused> unused, request, unlink_local(wire::InodeId{body.inode}));
  if (unused) {
    co_await run_later(free_chunks(*unused));
  }
  co_await request.reply(wire::NoReply{});
}

rt::Task<void> Files::run_later(rt::Task<void> task) {
  if (peers_.scope->active() < kMaxCleanUps) {
    (void)peers_.scope->spawn(std::move(task));
    co_return;
  }
  co_await std::move(task);
}

rt::Task<void> Files::abandon_client(std::uint64_t client_uid) {
  meta::MetaStore::Abandoned abandoned = store_.close_all(client_uid);
  Deadline deadline = Deadline::after(kCleanUpPatience);
  for (wire::InodeId inode : abandoned.written) {
    Result<wire::QueryChunksReply> known = co_await query_current(inode, deadline);
    if (known) {
      (void)store_.settle(inode, known->end, known->mtime_ns);
    } else if (!known.error().is_posix(ENOENT)) {
      BENCHFS_LOG(kWarn,
                  "size of inode {:x} could not be settled after its writer died: {}",
                  inode.value,
                  known.error().message());
    }
  }
  for (const wire::Attr& attr : abandoned.gone) {
    co_await free_chunks({attr, true});
  }
}

}  // namespace benchfs::server
