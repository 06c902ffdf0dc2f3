// Truncation and the end of inodes: what is cut and freed on other shards, and owed until they
// have done it.

#include <algorithm>

#include "base/clock.h"
#include "base/log.h"
#include "server/decode.h"
#include "server/files/files.h"

namespace benchfs::server {

// --- Truncation ----------------------------------------------------------------------------------

rt::CoResult<Files::InodeLocks::Guard> Files::lock(wire::InodeId inode, Deadline deadline) {
  Result<InodeLocks::Guard> guard = co_await inode_locks_.lock(inode, deadline);
  if (!guard && guard.error().code == Errc::kDeadline) {
    FileState* state = states_.find(inode);
    if (state != nullptr && state->phase != FileState::Phase::kAlive) {
      co_return std::unexpected(waits_error(*state));
    }
    if (state != nullptr && state->round && !state->round->is_over) {
      co_return std::unexpected(peers_.waits_error(guard.error().context, state->round->waits_for));
    }
  }
  co_return guard;
}

// All shards that hold bytes are asked first: when one of them does not answer, nothing has
// happened. Then the truncation is owed until all of them have cut.
rt::CoStatus Files::truncate(wire::InodeId inode, std::uint64_t size, Deadline deadline) {
  BENCHFS_CO_TRY(InodeLocks::Guard guard, co_await lock(inode, deadline));
  for (;;) {
    BENCHFS_CO_TRY_VOID(co_await wait_alive(inode, deadline));
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
    BENCHFS_CO_TRY_VOID(co_await prepare(inode, deadline));
    Shards shards = holders(attr);
    Asked known;
    if (!shards.empty()) {
      guard.waits_for() = shards;
      BENCHFS_CO_TRY(known, co_await ask(attr, std::move(shards), 0, deadline, &guard.waits_for()));
    }
    FileState* state = states_.find(inode);
    if ((state != nullptr && state->phase != FileState::Phase::kAlive) || is_leased(inode)) {
      continue;
    }
    BENCHFS_CO_TRY(attr, store_.attr(inode));
    if (!known.lost_by && size >= std::max(attr.size, known.sum.end)) {
      co_return store_.apply(meta::Extend{inode, size, wall_now_ns()});
    }
    co_return co_await cut(attr, size, deadline);
  }
}

rt::CoStatus Files::extend(wire::InodeId inode, std::uint64_t size, Deadline deadline) {
  BENCHFS_CO_TRY(InodeLocks::Guard guard, co_await lock(inode, deadline));
  BENCHFS_CO_TRY(wire::Attr attr, co_await exact_attr(inode, deadline));
  if (attr.is_regular() && size <= attr.size) {
    co_return Status{};
  }
  BENCHFS_CO_TRY_VOID(co_await prepare(inode, deadline));
  co_return store_.apply(meta::Extend{inode, size, wall_now_ns()});
}

// The file is alive, and its inode locked.
rt::CoStatus Files::cut(wire::Attr attr, std::uint64_t size, Deadline deadline) {
  wire::InodeId inode = attr.id();
  FileState& state = states_.get(inode);
  std::uint64_t truncation = attr.truncation + 1;
  state.phase = FileState::Phase::kCut;
  state.cut_size = size;
  state.truncation = truncation;
  state.cuts.add(truncation, size);
  state.left = holders(attr);
  ++cuts_owed_;
  wire::TruncateChunksRequest body = cut_request(attr, state);
  bool is_here = std::ranges::find(state.left, peers_.self) != state.left.end();
  for (wire::ShardId shard : state.left) {
    if (!peers_.is_self(shard)) {
      reclaimer_.owe({.kind = Reclaimer::Kind::kCut, .inode = inode, .shard = shard});
    }
  }
  // Here it begins before anything else happens: this shard's own marks say so at once.
  Status done = is_here ? co_await chunks_->cut(body) : Status{};
  if (done) {
    on_cut_acknowledged(inode, truncation, peers_.self);
  } else {
    reclaimer_.owe({.kind = Reclaimer::Kind::kCut, .inode = inode, .shard = peers_.self});
  }
  for (FileState* now = states_.find(inode);
       now != nullptr && now->phase == FileState::Phase::kCut && now->truncation == truncation;
       now = states_.find(inode)) {
    rt::Wake wake = co_await now->changed.wait(deadline, peers_.stopping);
    if (wake == rt::Wake::kDeadline) {
      now = states_.find(inode);
      co_return fail_errno(ETIMEDOUT, now == nullptr ? std::string() : waits_error(*now).context);
    }
    BENCHFS_CO_TRY_VOID(rt::wake_status(wake, "waiting for a truncation"));
  }
  Result<wire::Attr> after = store_.attr(inode);
  co_return after ? Status{} : std::unexpected(std::move(after.error()));
}

wire::TruncateChunksRequest Files::cut_request(const wire::Attr& attr,
                                               const FileState& state) const {
  wire::TruncateChunksRequest body;
  body.inode = attr.inode;
  body.chunk_bytes = attr.layout.chunk_bytes;
  if (state.phase == FileState::Phase::kCut) {
    body.size = state.cut_size;
    body.truncation = state.truncation;
  } else {
    body.flags = wire::kTruncateGone;
  }
  return body;
}

void Files::on_cut_acknowledged(wire::InodeId inode,
                                std::uint64_t truncation,
                                wire::ShardId shard) {
  FileState* state = states_.find(inode);
  if (state == nullptr || state->phase != FileState::Phase::kCut ||
      state->truncation != truncation) {
    return;
  }
  std::erase(state->left, shard);
  if (!state->left.empty()) {
    return;
  }
  --cuts_owed_;
  (void)store_.apply(meta::Truncate{inode, state->cut_size, wall_now_ns()});
  state->phase = FileState::Phase::kAlive;
  state->changed.wake_all();
  if (!store_.has_writers(inode)) {
    settle(inode);
  }
  states_.erase_if_unneeded(inode);
}

// --- The end of inodes ---------------------------------------------------------------------------

void Files::unlink(wire::InodeId inode, bool was_unmade) {
  Result<bool> is_unused = store_.apply(meta::Unlink{inode, wall_now_ns(), was_unmade});
  if (is_unused && *is_unused) {
    end_inode(inode);
  }
}

// Idempotent until the inode is erased.
void Files::end_inode(wire::InodeId inode) {
  Result<wire::Attr> attr = store_.attr(inode);
  FileState* state = states_.find(inode);
  if (!attr || (state != nullptr && (state->phase == FileState::Phase::kDying ||
                                     state->phase == FileState::Phase::kGone))) {
    return;
  }
  locks_.drop_file(inode);
  if (!attr->is_regular()) {
    directory_times_.forget(inode);
    store_.apply(meta::Erase{inode});
    return;
  }
  Shards left = holders(*attr);
  wire::TruncateChunksRequest body;
  body.inode = inode.value;
  body.chunk_bytes = attr->layout.chunk_bytes;
  body.flags = wire::kTruncateGone;
  if (std::erase(left, peers_.self) > 0) {
    chunks_->forget(inode);
    (void)peers_.scope->spawn(free_here(body));
  }
  if (state != nullptr && state->phase == FileState::Phase::kCut) {
    --cuts_owed_;  // freeing takes its place
  }
  if (left.empty()) {
    store_.apply(meta::Erase{inode});
    states_.erase(inode);
    return;
  }
  states_.set_dying(inode, boot_now() + config_.times.forgotten).left = left;
  ++frees_owed_;
  for (wire::ShardId shard : left) {
    reclaimer_.owe({.kind = Reclaimer::Kind::kFree, .inode = inode, .shard = shard});
  }
}

rt::Task<void> Files::free_here(wire::TruncateChunksRequest body) {
  Status freed = co_await chunks_->cut(body);
  if (!freed) {
    BENCHFS_LOG(
        kWarn, "chunks of inode {:x} could not be freed: {}", body.inode, freed.error().message());
  }
}

// No shard trusts a mark of these files any more: whoever asks is told that they are gone, though
// chunks of them may still wait to be freed.
void Files::housekeeping() {
  states_.tell_gone(boot_now());
}

// --- What is owed --------------------------------------------------------------------------------

rt::CoResult<Reclaimer::Outcome> Files::perform(Reclaimer::Work work, Deadline deadline) {
  switch (work.kind) {
    case Reclaimer::Kind::kSettle:
      co_return co_await perform_settle(work, deadline);
    case Reclaimer::Kind::kForget:
      co_return co_await perform_forget(work, deadline);
    case Reclaimer::Kind::kCut:
    case Reclaimer::Kind::kFree:
      break;
  }
  co_return co_await perform_cut(work, deadline);
}

rt::CoResult<Reclaimer::Outcome> Files::perform_cut(Reclaimer::Work work, Deadline deadline) {
  FileState* state = states_.find(work.inode);
  Result<wire::Attr> attr = store_.attr(work.inode);
  bool is_cut = work.kind == Reclaimer::Kind::kCut;
  if (state == nullptr || !attr || is_cut != (state->phase == FileState::Phase::kCut) ||
      state->phase == FileState::Phase::kAlive ||
      std::ranges::find(state->left, work.shard) == state->left.end()) {
    co_return Reclaimer::Outcome::kDone;  // something else took its place
  }
  std::uint64_t truncation = state->truncation;
  wire::TruncateChunksRequest body = cut_request(*attr, *state);
  Status done;
  if (peers_.is_self(work.shard)) {
    done = co_await chunks_->cut(body);
  } else {
    Result<wire::NoReply> reply = co_await peers_.call(work.shard, body, deadline);
    if (!reply) {
      done = std::unexpected(std::move(reply.error()));
    }
  }
  if (!done && done.error().code == Errc::kPosix) {
    BENCHFS_LOG(kWarn,
                "shard {} could not cut inode {:x}, and is asked again: {}",
                work.shard.value,
                work.inode.value,
                done.error().message());
    co_return Reclaimer::Outcome::kLater;
  }
  if (!done) {
    co_return std::unexpected(std::move(done.error()));
  }
  if (is_cut) {
    on_cut_acknowledged(work.inode, truncation, work.shard);
    co_return Reclaimer::Outcome::kDone;
  }
  state = states_.find(work.inode);
  if (state != nullptr) {
    std::erase(state->left, work.shard);
    if (state->left.empty()) {
      --frees_owed_;
      store_.apply(meta::Erase{work.inode});
      states_.erase(work.inode);
    }
  }
  co_return Reclaimer::Outcome::kDone;
}

Files::Owed Files::owed() const {
  Owed owed{.files_to_free = frees_owed_, .truncations = cuts_owed_, .works = reclaimer_.stats()};
  auto count = [&](Reclaimer::Kind kind) {
    return owed.works.works[static_cast<std::size_t>(kind)];
  };
  owed.sizes_to_settle = count(Reclaimer::Kind::kSettle);
  owed.names = count(Reclaimer::Kind::kForget);
  return owed;
}

}  // namespace benchfs::server
