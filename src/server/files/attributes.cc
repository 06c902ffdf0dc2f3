// Attributes of inodes: reading and changing them.

#include <algorithm>

#include "base/clock.h"
#include "server/decode.h"
#include "server/files/files.h"
#include "server/reply_entry.h"

namespace benchfs::server {

Files::Files(meta::MetaStore& store, Peers& peers, Config config)
    : store_(store),
      peers_(peers),
      config_(config),
      directory_times_(store, peers),
      reclaimer_(peers, *this) {}

void Files::open_gate() {
  is_serving_ = true;
  served_.wake_all();
}

rt::CoStatus Files::wait_serving(Deadline deadline) {
  while (!is_serving_) {
    rt::Wake wake = co_await served_.wait(deadline, peers_.stopping);
    BENCHFS_CO_TRY_VOID(rt::wake_status(wake, "waiting for a server that has just started"));
  }
  co_return Status{};
}

rt::CoStatus Files::prepare(wire::InodeId inode, Deadline deadline) {
  while (is_leased(inode) && !peers_.stopping->is_cancelled()) {
    BENCHFS_CO_TRY_VOID(
        co_await leases_->call_back(ExactLeases::attributes(inode).key(), deadline));
  }
  co_return Status{};
}

rt::Task<void> Files::prepare_mark(wire::InodeId inode) {
  (void)co_await prepare(inode, Deadline::never());
}

std::uint32_t Files::lease(const rpc::Request& request, const wire::GetAttrRequest& body) {
  wire::InodeId inode{body.inode};
  bool is_granted =
      (body.flags & wire::kGetAttrLease) != 0 && leases_ != nullptr && is_settled(inode) &&
      leases_->grant(ExactLeases::attributes(inode), request.client_uid(), mono_now());
  if (!is_granted && (body.flags & wire::kGetAttrRest) != 0) {
    bring_to_rest(inode);
  }
  return is_granted ? std::uint32_t{wire::kAttrLeased} : 0U;
}

bool Files::is_at_rest(wire::InodeId inode) const {
  const FileState* state = states_.find(inode);
  return directory_times_.is_at_rest(inode) &&
         (state == nullptr || (state->phase == FileState::Phase::kAlive && state->marks.empty()));
}

rt::MaybeTask<Result<wire::Attr>> Files::exact_attr(wire::InodeId inode, Deadline deadline) {
  if (is_at_rest(inode)) [[likely]] {
    return store_.attr(inode);
  }
  if (!directory_times_.is_at_rest(inode)) {
    return directory_attr(inode, deadline);
  }
  return settled_attr(inode, deadline);
}

rt::CoResult<wire::Attr> Files::directory_attr(wire::InodeId inode, Deadline deadline) {
  BENCHFS_CO_TRY_VOID(co_await directory_times_.ask(inode, deadline));
  co_return store_.attr(inode);
}

rt::Task<void> Files::mark_directory(rpc::Request& request) {
  BENCHFS_SERVE_TRY(auto body, request, decode<wire::MarkDirectoryRequest>(request));
  if (body.shard >= peers_.shard_count || peers_.is_self(wire::ShardId{body.shard})) {
    co_await request.reply_error(malformed());
    co_return;
  }
  BENCHFS_SERVE_TRY_VOID(request, directory_times_.take_mark(body));
  // Nobody is told old attributes from now on, however long the clients take that have them cached.
  (void)co_await prepare(wire::InodeId{body.directory}, Deadline::never());
  co_await request.reply(wire::NoReply{});
}

Result<wire::Attr> Files::attr_marked_here(const wire::Attr& attr) {
  wire::QueryChunksRequest query;
  query.inode = attr.inode;
  query.chunk_bytes = attr.layout.chunk_bytes;
  BENCHFS_TRY(wire::QueryChunksReply known, chunks_->query_now(query));
  return store_.attr_if_settled(attr.id(), known.end, known.mtime_ns);
}

std::optional<std::uint64_t> Files::size_now(wire::InodeId inode) {
  Result<wire::Attr> attr = is_serving_ ? store_.attr(inode) : fail(Errc::kNotReady, {});
  if (!attr || !attr->is_regular()) {
    return {};
  }
  if (const FileState* state = states_.find(inode); state != nullptr && !is_at_rest(inode)) {
    attr = is_marked_here_alone(*state) ? attr_marked_here(*attr) : fail(Errc::kBusy, {});
  }
  return attr ? std::optional(attr->size) : std::nullopt;
}

// Files without marks are answered at once, and so are those marked on this shard alone.
rt::CoResult<wire::Attr> Files::settled_attr(wire::InodeId inode, Deadline deadline) {
  for (;;) {
    Result<wire::Attr> attr = store_.attr(inode);
    FileState* state = attr && attr->is_regular() ? states_.find(inode) : nullptr;
    if (state == nullptr) {
      co_return attr;
    }
    if (state->phase != FileState::Phase::kAlive) {
      BENCHFS_CO_TRY_VOID(co_await wait_alive(inode, deadline));
      continue;
    }
    if (state->marks.empty()) {
      co_return attr;
    }
    if (is_marked_here_alone(*state)) {
      co_return attr_marked_here(*attr);
    }
    std::shared_ptr<QueryRound> round = join_round(inode, *state, deadline);
    if (!round->is_over) {
      rt::Wake wake = co_await round->ended.wait(deadline, peers_.stopping);
      if (wake == rt::Wake::kDeadline) {
        co_return std::unexpected(peers_.waits_error("asking for the size", round->waits_for));
      }
      BENCHFS_CO_TRY_VOID(rt::wake_status(wake, "asking for the size"));
    }
    BENCHFS_CO_TRY(wire::QueryChunksReply known, round->sum);
    Result<wire::Attr> exact = store_.attr_if_settled(inode, known.end, known.mtime_ns);
    state = states_.find(inode);
    bool is_alive = state == nullptr || state->phase == FileState::Phase::kAlive;
    // After a truncation in between the answers may be from before it: ask again.
    if (!exact || (is_alive && exact->truncation == attr->truncation)) {
      co_return exact;
    }
  }
}

bool Files::get_attr_at_once(rpc::Request& request) {
  Result<wire::GetAttrRequest> body = decode<wire::GetAttrRequest>(request);
  if (!body || !is_at_rest(wire::InodeId{body->inode})) {
    return false;
  }
  Result<wire::Attr> attr = store_.attr(wire::InodeId{body->inode});
  if (!attr || attr->is_symlink()) {
    return false;
  }
  request.answer(wire::EntryReply{*attr, lease(request, *body), 0});
  return true;
}

rt::Task<void> Files::get_attr(rpc::Request& request) {
  BENCHFS_SERVE_TRY(auto body, request, decode<wire::GetAttrRequest>(request));
  BENCHFS_SERVE_TRY(
      wire::Attr attr, request, co_await exact_attr(wire::InodeId{body.inode}, request.deadline()));
  co_await reply_entry(request, store_, attr, lease(request, body));
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

void Files::on_new_life(TicketLog::Sender shard) {
  directory_times_.forget_shard(shard.shard, shard.life);
  link_log_.on_new_life(shard);
}

// What may fail comes before anything has happened, but for what is owed: a change that was made is
// answered with the attributes of that moment.
//
// Times that are set must not be undone by writes from before, which a chunk shard may report
// later: they are taken up first, by the clock that is ahead.
rt::Task<void> Files::set_attr(rpc::Request& request) {
  BENCHFS_SERVE_TRY(auto body, request, decode<wire::SetAttrRequest>(request));
  wire::InodeId inode{body.inode};
  bool sets_size = (body.mask & wire::kSetSize) != 0;
  bool sets_mtime = (body.mask & (wire::kSetMtime | wire::kSetMtimeNow)) != 0;
  std::int64_t now_ns = 0;
  wire::Attr before;
  if (!sets_size || (sets_mtime && !is_at_rest(inode))) {
    BENCHFS_SERVE_TRY(before, request, co_await exact_attr(inode, request.deadline()));
    if (sets_mtime) {
      if (before.is_regular()) {
        (void)store_.apply(meta::Settle{inode, before.size, before.mtime_ns});
      }
      now_ns = before.mtime_ns;
    }
  }
  if (sets_size) {
    BENCHFS_SERVE_TRY_VOID(request, co_await truncate(inode, body.size, request.deadline()));
  }
  if ((body.mask & wire::kSetSizeAtLeast) != 0) {
    BENCHFS_SERVE_TRY_VOID(request, co_await extend(inode, body.size, request.deadline()));
  }
  if ((body.mask & ~(wire::kSetSize | wire::kSetSizeAtLeast)) != 0) {
    // A truncation has happened.
    Deadline deadline = sets_size ? Deadline::never() : request.deadline();
    BENCHFS_SERVE_TRY_VOID(request, co_await prepare(inode, deadline));
    now_ns = std::max(wall_now_ns(), now_ns);
    BENCHFS_SERVE_TRY_VOID(request, store_.apply(meta::SetAttr{inode, body, now_ns}));
  }
  BENCHFS_SERVE_TRY(wire::Attr attr, request, store_.attr(inode));
  if (!sets_size) {
    attr.size = std::max(attr.size, before.size);
    attr.mtime_ns = sets_mtime ? attr.mtime_ns : std::max(attr.mtime_ns, before.mtime_ns);
  }
  co_await request.reply(wire::EntryReply{attr, 0, 0});
}

// Query and sync in one, to the shards that hold something.
rt::Task<void> Files::fsync(rpc::Request& request) {
  BENCHFS_SERVE_TRY(auto body, request, decode<wire::FsyncRequest>(request));
  wire::InodeId inode{body.inode};
  for (;;) {
    BENCHFS_SERVE_TRY_VOID(request, co_await wait_alive(inode, request.deadline()));
    BENCHFS_SERVE_TRY(wire::Attr attr, request, store_.attr(inode));
    if (!attr.is_regular()) {
      co_await request.reply(wire::EntryReply{attr, 0, 0});
      co_return;
    }
    BENCHFS_SERVE_TRY(Asked known,
                      request,
                      co_await ask(attr, holders(attr), wire::kQuerySync, request.deadline()));
    if (known.lost_by) {
      co_await request.reply_error(lost_data(*known.lost_by));
      co_return;
    }
    FileState* state = states_.find(inode);
    bool is_alive = state == nullptr || state->phase == FileState::Phase::kAlive;
    BENCHFS_SERVE_TRY(wire::Attr exact,
                      request,
                      store_.attr_if_settled(inode, known.sum.end, known.sum.mtime_ns));
    if (is_alive && exact.truncation == attr.truncation) {
      co_await request.reply(wire::EntryReply{exact, 0, 0});
      co_return;
    }
  }
}

}  // namespace benchfs::server
