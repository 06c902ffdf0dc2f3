#include "server/names/renames.h"

#include "base/clock.h"
#include "base/log.h"
#include "cluster/placement.h"
#include "server/decode.h"
#include "server/names/retry.h"

namespace benchfs::server {
namespace {

// Deeper than any path: the walk to the root must end.
constexpr int kMaxDepth = 4096;
constexpr Nanos kWaitingWarnEvery = std::chrono::seconds(60);
// Directories of which the last move is remembered.
constexpr std::size_t kMaxMoved = 256 * 1024;

}  // namespace

rt::Task<void> Renames::rename(rpc::Request& request) {
  wire::RenameRequest body;
  wire::Reader reader = request.reader();
  reader.read(body);
  std::string_view old_name = reader.read_text(body.old_name_bytes);
  std::string_view new_name = reader.read_text(body.new_name_bytes);
  constexpr std::uint32_t kBoth = wire::kRenameNoReplace | wire::kRenameExchange;
  constexpr std::uint32_t kKnown = kBoth | wire::kRenameLease;
  if (!reader.ok() || (body.flags & ~kKnown) != 0 || (body.flags & kBoth) == kBoth) {
    co_await request.reply_error(malformed());
    co_return;
  }
  for (std::string_view name : {old_name, new_name}) {
    if (int code = wire::check_name(name); code != 0) {
      co_await request.reply_error(Error::from_errno(code));
      co_return;
    }
  }
  EntryKey from{wire::InodeId{body.old_parent}, std::string(old_name)};
  EntryKey to{wire::InodeId{body.new_parent}, std::string(new_name)};
  Deadline deadline = request.deadline();
  std::uint32_t flags = body.flags;
  std::uint64_t client_uid = request.client_uid();
  if ((flags & wire::kRenameExchange) != 0) {
    // Both names lead elsewhere: the client that asks has to forget them as all others do.
    flags &= ~std::uint32_t{wire::kRenameLease};
    client_uid = 0;
  }
  BENCHFS_SERVE_TRY_VOID(
      request,
      co_await retry_while_busy([&] { return try_rename(from, to, flags, client_uid, deadline); },
                                deadline));
  co_await request.reply(wire::NoReply{});
}

// An attempt that is busy drops its locks before it begins again.
rt::CoStatus Renames::try_rename(const EntryKey& from,
                                 const EntryKey& to,
                                 std::uint32_t flags,
                                 std::uint64_t client_uid,
                                 Deadline deadline) {
  BENCHFS_CO_TRY_VOID(co_await shared_.locks.wait_unlocked(from, deadline));
  BENCHFS_CO_TRY(meta::Entry entry, shared_.find(from));
  if (shared_.leases.is_held(from, client_uid)) {
    // Before the lock, for which look-ups of clients wait that have to forget the name.
    BENCHFS_CO_TRY_VOID(co_await shared_.leases.call_back(from, deadline, client_uid));
    co_return fail(Errc::kBusy, "clients had the old name cached");
  }
  if (from == to) {
    co_return (flags & wire::kRenameNoReplace) != 0 ? fail_errno(EEXIST) : Status{};
  }
  if (shared_.owed.is_full()) {
    co_return shared_.owes_too_much();
  }
  auto move = std::make_shared<Move>(from, to, flags, client_uid, deadline, entry);
  if ((flags & wire::kRenameExchange) != 0) {
    wire::ShardId shard = cluster::entry_shard(to.parent, to.name, shared_.peers.shard_count);
    BENCHFS_CO_TRY(move->other, co_await installs_.look(shard, to, deadline));
  }
  if (!S_ISDIR(entry.type) && !(move->other && S_ISDIR(move->other->type))) {
    BENCHFS_CO_TRY(move->guard, co_await shared_.locks.lock(from, deadline));
    BENCHFS_CO_TRY(entry, shared_.find(from));
    if (entry.inode != move->entry.inode) {
      co_return fail(Errc::kBusy, "the entry changed");
    }
    co_return co_await move_file(move);
  }
  co_return co_await run(move, move_directory(move));
}

rt::CoStatus Renames::run(MovePtr move, rt::CoStatus task) {
  if (!shared_.peers.scope->spawn(run_to_end(move, std::move(task)))) {
    co_return fail(Errc::kNotReady, "the server is stopping");
  }
  if (co_await move->ended.wait(move->deadline) != rt::Wake::kReady) {
    // Its client no longer forgets by itself what changes.
    move->client_uid = 0;
    move->flags &= ~std::uint32_t{wire::kRenameLease};
    co_return fail(Errc::kDeadline, "the rename is under way and waits for " + move->waits_for);
  }
  co_return move->status;
}

rt::Task<void> Renames::run_to_end(MovePtr move, rt::CoStatus task) {
  move->status = co_await std::move(task);
  move->guard.release();
  move->ended.set();
}

// Told to those who wait for the rename, or for the old name.
void Renames::waits_for(Move& move, wire::ShardId shard) {
  move.waits_for = shared_.peers.name_of(shard);
  std::vector<wire::ShardId>& shards = move.guard.waits_for();
  shards.clear();
  if (!shared_.peers.is_self(shard)) {
    shards.push_back(shard);
  }
}

rt::Task<void> Renames::end_old_entry(const Move& move) {
  (void)co_await shared_.prepare(move.from, move.client_uid, Deadline::never());
  std::int64_t now_ns = wall_now_ns();
  const EntryKey& from = move.from;
  if (move.other) {
    (void)shared_.change(
        meta::PutEntry{from.parent, from.name, *move.other, now_ns, mono_now_coarse()},
        move.client_uid);
  } else {
    (void)shared_.change(meta::RemoveEntry{from.parent, from.name, now_ns}, move.client_uid);
  }
}

Installs::New Renames::new_entry(const Move& move) {
  return {.entry = move.entry,
          .flags = move.flags,
          .expected = move.other ? move.other->inode : wire::InodeId{},
          .client_uid = move.client_uid};
}

rt::Task<void> Renames::tell_home_of_replaced(const Move& move) {
  co_await shared_.inodes.wait_dropped(move.replaced, move.deadline);
}

// --- Files and symlinks --------------------------------------------------------------------------

rt::CoStatus Renames::move_file(MovePtr move) {
  wire::ShardId shard =
      cluster::entry_shard(move->to.parent, move->to.name, shared_.peers.shard_count);
  waits_for(*move, shard);
  Installs::Asked asked = co_await installs_.ask(shard, move->to, new_entry(*move), move->deadline);
  if (asked.unknown) {
    co_return co_await run(move, settle(move, std::move(asked)));
  }
  if (asked.status && !asked.is_same) {
    co_await end_old_entry(*move);
    move->guard.release();
    move->replaced = asked.replaced;
    co_await tell_home_of_replaced(*move);
  }
  co_return asked.status;
}

// The old name goes, or stays, when the other shard has said what became of the new one.
rt::CoStatus Renames::settle(MovePtr move, Installs::Asked asked) {
  wire::ShardId shard =
      cluster::entry_shard(move->to.parent, move->to.name, shared_.peers.shard_count);
  BENCHFS_CO_TRY(bool installed, co_await installs_.settle(shard, *asked.unknown));
  if (installed) {
    co_await end_old_entry(*move);
    co_return Status{};
  }
  if (move->deadline.passed()) {
    co_return asked.status;
  }
  co_return fail(Errc::kBusy, std::move(asked.status.error().context));
}

// --- Directories ---------------------------------------------------------------------------------

rt::CoStatus Renames::move_directory(MovePtr move) {
  move->waits_for = "other directory renames";
  BENCHFS_CO_TRY(move->lease, co_await lock_.acquire(move->waits_for, move->deadline));
  Status done = co_await move_under_lease(move);
  move->lease_over.set();
  lock_.release(move->lease.owner);
  if (done) {
    // Other directories may move. Look-ups of this old name wait until all clients forgot it.
    move->waits_for = "clients that have the old name cached";
    move->guard.waits_for().clear();
    co_await leases_.revoke(move->from);
    co_await tell_home_of_replaced(*move);
  }
  co_return done;
}

rt::CoStatus Renames::move_under_lease(MovePtr move) {
  const EntryKey& from = move->from;
  const EntryKey& to = move->to;
  if (shared_.locks.is_locked(from)) {
    co_return shared_.being_changed(from);
  }
  BENCHFS_CO_TRY(move->guard, co_await shared_.locks.lock(from, move->deadline));
  BENCHFS_CO_TRY(meta::Entry entry, shared_.find(from));
  if (entry.inode != move->entry.inode) {
    co_return fail(Errc::kBusy, "the entry changed");
  }
  if (S_ISDIR(entry.type)) {
    BENCHFS_CO_TRY_VOID(co_await check_no_loop(*move, entry.inode, to.parent));
  }
  if (move->other && S_ISDIR(move->other->type)) {
    BENCHFS_CO_TRY_VOID(co_await check_no_loop(*move, move->other->inode, from.parent));
  }
  // What was checked holds as long as the lease does.
  waits_for(*move, RenameLock::kGranter);
  BENCHFS_CO_TRY_VOID(co_await lock_.extend(move->lease, move->deadline));
  wire::ShardId shard = cluster::entry_shard(to.parent, to.name, shared_.peers.shard_count);
  waits_for(*move, shard);
  Deadline step = move->deadline.earlier(lock_.step_end(move->lease));
  (void)shared_.peers.scope->spawn(keep_lease(move));
  Installs::Asked asked = co_await installs_.ask(shard, to, new_entry(*move), step);
  Status done = asked.status;
  if (asked.unknown) {
    done = co_await settle(move, std::move(asked));
  } else if (done && !asked.is_same) {
    co_await end_old_entry(*move);
    move->replaced = asked.replaced;
  }
  if (!done && done.error().code == Errc::kDeadline && !move->deadline.passed()) {
    co_return fail(Errc::kBusy, std::move(done.error().context));
  }
  BENCHFS_CO_TRY_VOID(std::move(done));
  if (from.parent != to.parent && S_ISDIR(entry.type)) {
    waits_for(*move, entry.inode.home());
    co_await tell_parent(entry.inode, to.parent, move->lease.move);
  }
  if (from.parent != to.parent && move->other && S_ISDIR(move->other->type)) {
    waits_for(*move, move->other->inode.home());
    co_await tell_parent(move->other->inode, from.parent, move->lease.move);
  }
  co_return Status{};
}

rt::Task<void> Renames::keep_lease(MovePtr move) {
  MonoTime next_warning = mono_now() + kWaitingWarnEvery;
  while (boot_now() < move->lease.until) {
    Deadline next = Deadline::after(lock_.extend_every());
    if (co_await move->lease_over.wait(next, shared_.peers.stopping) != rt::Wake::kDeadline) {
      co_return;
    }
    (void)co_await lock_.extend(move->lease, Deadline::never());
    if (mono_now() >= next_warning) {
      next_warning = mono_now() + kWaitingWarnEvery;
      BENCHFS_LOG(kWarn,
                  "the rename of a directory to {:x}/{} waits for {}; no other directory can be "
                  "renamed until it answers",
                  move->to.parent.value,
                  move->to.name,
                  move->waits_for);
    }
  }
  BENCHFS_LOG(kWarn,
              "the rename of a directory to {:x}/{} lost its lease while it waited for {}",
              move->to.parent.value,
              move->to.name,
              move->waits_for);
}

rt::CoResult<wire::InodeId> Renames::parent_of(wire::InodeId directory, Deadline deadline) {
  if (shared_.peers.is_self(directory.home())) {
    BENCHFS_CO_TRY(wire::Attr attr, shared_.store.attr(directory));
    co_return wire::InodeId{attr.parent};
  }
  wire::GetAttrRequest body;
  body.inode = directory.value;
  BENCHFS_CO_TRY(wire::EntryReply reply,
                 co_await shared_.peers.call(directory.home(), body, deadline));
  co_return wire::InodeId{reply.attr.parent};
}

// Walks from the new parent to the root; the moved directory must not be on the way.
rt::CoStatus Renames::check_no_loop(Move& move, wire::InodeId moved, wire::InodeId new_parent) {
  wire::InodeId at = new_parent;
  for (int depth = 0; depth < kMaxDepth; ++depth) {
    if (at == moved) {
      co_return fail_errno(EINVAL);
    }
    if (at == wire::kRootInode) {
      co_return Status{};
    }
    waits_for(move, at.home());
    Result<wire::InodeId> parent = co_await parent_of(at, move.deadline);
    if (!parent && parent.error().is_posix(ENOENT)) {
      co_return fail_errno(ESTALE);  // the new parent is gone: the client's cache is old
    }
    BENCHFS_CO_TRY(at, std::move(parent));
  }
  co_return fail_errno(ELOOP);
}

rt::Task<void> Renames::tell_parent(wire::InodeId directory,
                                    wire::InodeId parent,
                                    std::uint64_t move) {
  wire::SetParentRequest body;
  body.inode = directory.value;
  body.parent = parent.value;
  body.move = move;
  if (shared_.peers.is_self(directory.home())) {
    set_parent_here(body);
    co_return;
  }
  (void)co_await shared_.owed.call(directory.home(), body, OwedCalls::Kind::kParent);
}

void Renames::set_parent_here(const wire::SetParentRequest& body) {
  if (last_moves_.size() >= kMaxMoved) {
    last_moves_.clear();
  }
  std::uint64_t& last = last_moves_[wire::InodeId{body.inode}];
  if (body.move >= last &&
      shared_.store.apply(meta::SetParent{wire::InodeId{body.inode}, wire::InodeId{body.parent}})) {
    last = body.move;
  }
}

rt::Task<void> Renames::set_parent(rpc::Request& request) {
  BENCHFS_SERVE_TRY(auto body, request, decode<wire::SetParentRequest>(request));
  set_parent_here(body);
  co_await request.reply(wire::NoReply{});
}

}  // namespace benchfs::server
