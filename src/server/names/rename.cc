// Rename: the operation that changes entries on two shards.
//
// The shard of the old name coordinates. It locks the old entry, asks the shard of the new name to
// install the entry there (that is the moment the rename happens), removes the old entry, and
// unlocks; lookups of the old name wait meanwhile, so nobody sees both names or neither. When the
// other shard does not answer, the old entry stays locked until it has said whether the new one is
// there (server/names/install_log.h). Directory renames are serialised
// (server/names/rename_lock.h).

#include <algorithm>

#include "base/clock.h"
#include "base/log.h"
#include "cluster/placement.h"
#include "server/decode.h"
#include "server/names/names.h"

namespace benchfs::server {
namespace {

constexpr Nanos kFirstPause = std::chrono::microseconds(200);
constexpr Nanos kLongestPause = std::chrono::milliseconds(20);
// Deeper than any path: the walk to the root must end.
constexpr int kMaxDepth = 4096;
// How long another shard is asked what it alone can tell, or told what it must know.
constexpr Nanos kInsistence = std::chrono::seconds(60);

// A later attempt may be answered.
bool is_worth_repeating(Errc code) {
  return code == Errc::kDeadline || code == Errc::kUnreachable || code == Errc::kDisconnected ||
         code == Errc::kTransport || code == Errc::kUnknownSession || code == Errc::kNotReady ||
         code == Errc::kBusy;
}

}  // namespace

// --- rename --------------------------------------------------------------------------------------

rt::Task<void> Names::rename(rpc::Request& request) {
  wire::RenameRequest body;
  wire::Reader reader = request.reader();
  reader.read(body);
  std::string_view old_name = reader.read_text(body.old_name_bytes);
  std::string_view new_name = reader.read_text(body.new_name_bytes);
  if (!reader.ok()) {
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
  Nanos pause = kFirstPause;
  for (;;) {
    Status done = co_await try_rename(from, to, body.flags, request.deadline());
    if (!done && done.error().code == Errc::kBusy && !request.deadline().passed()) {
      (void)co_await rt::sleep_for(pause);
      pause = std::min(2 * pause, kLongestPause);
      continue;
    }
    BENCHFS_SERVE_TRY_VOID(request, std::move(done));
    co_await request.reply(wire::NoReply{});
    co_return;
  }
}

rt::CoStatus Names::try_rename(EntryKey from, EntryKey to, std::uint32_t flags, Deadline deadline) {
  BENCHFS_CO_TRY_VOID(co_await entry_locks_.wait_unlocked(from, deadline));
  BENCHFS_CO_TRY(meta::Entry entry, store_.find(from.parent, from.name));
  if (S_ISDIR(entry.type)) {
    co_return co_await rename_directory(from, to, entry, flags, deadline);
  }
  BENCHFS_CO_TRY(EntryLocks::Guard guard, co_await entry_locks_.lock(from, deadline));
  co_return co_await move_entry(from, to, entry, flags, nullptr, deadline);
}

rt::CoStatus Names::rename_directory(
    EntryKey from, EntryKey to, meta::Entry seen, std::uint32_t flags, Deadline deadline) {
  BENCHFS_CO_TRY(RenameLock::Lease lease, co_await rename_lock_.acquire(deadline));
  Result<EntryLocks::Guard> moved =
      co_await move_directory(from, to, seen, flags, &lease, deadline);
  co_await rename_lock_.release(lease.owner);
  if (!moved) {
    co_return std::unexpected(std::move(moved.error()));
  }
  // Other directories may move; lookups of this old name wait until everybody has forgotten it.
  co_await leases_.revoke(from);
  co_return Status{};
}

// Returns with the old entry locked.
rt::CoResult<Names::EntryLocks::Guard> Names::move_directory(EntryKey from,
                                                             EntryKey to,
                                                             meta::Entry seen,
                                                             std::uint32_t flags,
                                                             RenameLock::Lease* lease,
                                                             Deadline deadline) {
  if (entry_locks_.is_locked(from)) {
    co_return fail(Errc::kBusy, "the entry is being changed");
  }
  BENCHFS_CO_TRY(EntryLocks::Guard guard, co_await entry_locks_.lock(from, deadline));
  BENCHFS_CO_TRY(meta::Entry entry, store_.find(from.parent, from.name));
  if (entry.inode != seen.inode) {
    co_return fail(Errc::kBusy, "the entry changed");
  }
  BENCHFS_CO_TRY_VOID(co_await check_no_loop(entry.inode, to.parent, deadline));
  // What was checked holds as long as the lease does.
  BENCHFS_CO_TRY_VOID(co_await rename_lock_.extend(*lease, deadline));
  BENCHFS_CO_TRY_VOID(co_await move_entry(from, to, entry, flags, lease, deadline));
  if (from.parent != to.parent) {
    co_await tell_parent(entry.inode, to.parent, lease);
  }
  co_return std::move(guard);
}

// The old entry is locked.
rt::CoStatus Names::move_entry(EntryKey from,
                               EntryKey to,
                               meta::Entry entry,
                               std::uint32_t flags,
                               RenameLock::Lease* lease,
                               Deadline deadline) {
  if (from == to) {
    co_return Status{};
  }
  wire::ShardId shard = cluster::entry_shard(to.parent, to.name, peers_.shard_count);
  BENCHFS_CO_TRY_VOID(co_await install_at(shard, to, entry, flags, lease, deadline));
  (void)store_.remove_entry(from.parent, from.name);
  store_.touch_entry_change(from.parent, wall_now_ns());
  co_return Status{};
}

// Calls until there is an answer, and holds on to the lease meanwhile. The operation is idempotent.
template <typename Request>
rt::CoResult<typename Request::Reply> Names::insist(wire::ShardId shard,
                                                    Request request,
                                                    RenameLock::Lease* lease) {
  static_assert(wire::is_idempotent(Request::kOpcode));
  Deadline patience = Deadline::after(kInsistence);
  Nanos pause = kFirstPause;
  for (;;) {
    Deadline attempt = patience;
    if (lease != nullptr && co_await rename_lock_.extend(*lease, patience)) {
      attempt = patience.earlier(rename_lock_.step_end(*lease));
    }
    auto reply = co_await peers_.call(shard, request, attempt);
    if (reply || !is_worth_repeating(reply.error().code) || patience.passed() ||
        peers_.stopping->is_cancelled()) {
      co_return reply;
    }
    (void)co_await rt::sleep_for(pause, peers_.stopping);
    pause = std::min(2 * pause, kLongestPause);
  }
}

rt::CoResult<wire::InodeId> Names::parent_of(wire::InodeId directory, Deadline deadline) {
  if (peers_.is_self(directory.home())) {
    BENCHFS_CO_TRY(wire::Attr attr, store_.attr(directory));
    co_return wire::InodeId{attr.parent};
  }
  wire::GetAttrRequest body;
  body.inode = directory.value;
  BENCHFS_CO_TRY(wire::EntryReply reply, co_await peers_.call(directory.home(), body, deadline));
  co_return wire::InodeId{reply.attr.parent};
}

// Walks from the new parent to the root; the moved directory must not be on the way.
rt::CoStatus Names::check_no_loop(wire::InodeId moved,
                                  wire::InodeId new_parent,
                                  Deadline deadline) {
  wire::InodeId at = new_parent;
  for (int depth = 0; depth < kMaxDepth; ++depth) {
    if (at == moved) {
      co_return fail_errno(EINVAL);
    }
    if (at == wire::kRootInode) {
      co_return Status{};
    }
    Result<wire::InodeId> parent = co_await parent_of(at, deadline);
    if (!parent && parent.error().is_posix(ENOENT)) {
      co_return fail_errno(ESTALE);  // the new parent is gone: the client's cache is old
    }
    BENCHFS_CO_TRY(at, std::move(parent));
  }
  co_return fail_errno(ELOOP);
}

rt::Task<void> Names::tell_parent(wire::InodeId directory,
                                  wire::InodeId parent,
                                  RenameLock::Lease* lease) {
  if (peers_.is_self(directory.home())) {
    (void)store_.set_parent(directory, parent);
    co_return;
  }
  wire::SetParentRequest body;
  body.inode = directory.value;
  body.parent = parent.value;
  Result<wire::NoReply> reply = co_await insist(directory.home(), body, lease);
  if (!reply) {
    BENCHFS_LOG(kWarn,
                "shard {} was not told that its directory {:x} moved to {:x}: {}",
                directory.home().value,
                directory.value,
                parent.value,
                reply.error().message());
  }
}

// --- The new name's half -------------------------------------------------------------------------

// Errc::kBusy: it was not done, and may be tried again. Errc::kDisconnected: nobody knows.
rt::CoStatus Names::install_at(wire::ShardId shard,
                               EntryKey key,
                               meta::Entry entry,
                               std::uint32_t flags,
                               RenameLock::Lease* lease,
                               Deadline deadline) {
  Deadline step = lease == nullptr ? deadline : deadline.earlier(rename_lock_.step_end(*lease));
  if (peers_.is_self(shard)) {
    Status done = co_await install(key, entry, flags, step);
    if (!done && done.error().code == Errc::kDeadline && !deadline.passed()) {
      co_return fail(Errc::kBusy, "the lease on directory renames ends");
    }
    co_return done;
  }
  InstallTickets::Ticket ticket = install_tickets_.take(shard);
  wire::InstallEntryRequest body;
  body.parent = key.parent.value;
  body.inode = entry.inode.value;
  body.type = entry.type;
  body.flags = flags;
  body.ticket = ticket.number();
  body.settled = install_tickets_.settled(shard);
  body.sender = peers_.self.value;
  body.name_bytes = static_cast<std::uint16_t>(key.name.size());
  Result<wire::NoReply> reply = co_await peers_.call(shard, body, step, key.name);
  if (reply) {
    co_return Status{};
  }
  if (reply.error().is_posix(EBUSY)) {
    co_return fail(Errc::kBusy, "the new name is being changed");
  }
  if (reply.error().code == Errc::kPosix || reply.error().code == Errc::kUnreachable) {
    co_return std::unexpected(std::move(reply.error()));  // refused, or never sent
  }
  BENCHFS_CO_TRY(bool installed, co_await settle_install_at(shard, ticket.number(), lease));
  if (installed) {
    co_return Status{};
  }
  if (deadline.passed()) {
    co_return std::unexpected(std::move(reply.error()));
  }
  co_return fail(Errc::kBusy, "the new name was not installed in time");
}

// Whether an InstallEntry that was not answered was executed; if not, it will not be.
rt::CoResult<bool> Names::settle_install_at(wire::ShardId shard,
                                            std::uint64_t ticket,
                                            RenameLock::Lease* lease) {
  wire::SettleInstallRequest body;
  body.ticket = ticket;
  body.sender = peers_.self.value;
  Result<wire::SettleInstallReply> reply = co_await insist(shard, body, lease);
  if (reply) {
    co_return reply->installed != 0;
  }
  BENCHFS_LOG(kError,
              "shard {} does not say whether it installed the new name of a rename: the old name "
              "stays, and the new one may be there too: {}",
              shard.value,
              reply.error().message());
  co_return fail(Errc::kDisconnected, "the shard of the new name was lost");
}

rt::Task<void> Names::install_entry(rpc::Request& request) {
  wire::InstallEntryRequest body;
  BENCHFS_SERVE_TRY(EntryKey key, request, decode_entry(request, body));
  if (body.sender >= peers_.shard_count) {
    co_await request.reply_error(malformed());
    co_return;
  }
  InstallLog::Sender sender{wire::ShardId{body.sender}, request.client_uid()};
  if (!install_log_.begin(sender, body.ticket, body.settled)) {
    co_await request.reply_error(Error::from_errno(EBUSY));  // nobody waits for it any more
    co_return;
  }
  meta::Entry entry{wire::InodeId{body.inode}, body.type};
  Status done = co_await install(key, entry, body.flags, request.deadline());
  install_log_.end(sender, body.ticket, done.has_value());
  install_ended_.wake_all();
  if (!done && done.error().code == Errc::kBusy) {
    // As an errno: the RPC layer would repeat the call while the caller holds its lock.
    co_await request.reply_error(Error::from_errno(EBUSY));
    co_return;
  }
  BENCHFS_SERVE_TRY_VOID(request, std::move(done));
  co_await request.reply(wire::NoReply{});
}

rt::Task<void> Names::settle_install(rpc::Request& request) {
  BENCHFS_SERVE_TRY(auto body, request, decode<wire::SettleInstallRequest>(request));
  if (body.sender >= peers_.shard_count) {
    co_await request.reply_error(malformed());
    co_return;
  }
  InstallLog::Sender sender{wire::ShardId{body.sender}, request.client_uid()};
  for (;;) {
    InstallLog::Outcome outcome = install_log_.settle(sender, body.ticket);
    if (outcome != InstallLog::Outcome::kRunning) {
      bool installed = outcome == InstallLog::Outcome::kInstalled;
      co_await request.reply(wire::SettleInstallReply{.installed = installed ? 1U : 0U});
      co_return;
    }
    rt::Wake wake = co_await install_ended_.wait(request.deadline(), peers_.stopping);
    BENCHFS_SERVE_TRY_VOID(request, rt::wake_status(wake, "waiting for the end of an install"));
  }
}

// On the shard of the new name: replaces what POSIX allows to be replaced. Nothing has changed
// after an error.
rt::CoStatus Names::install(EntryKey key,
                            meta::Entry entry,
                            std::uint32_t flags,
                            Deadline deadline) {
  if (entry_locks_.is_locked(key)) {
    co_return fail(Errc::kBusy, "the new name is being changed");
  }
  BENCHFS_CO_TRY(EntryLocks::Guard guard, co_await entry_locks_.lock(key, deadline));
  Result<meta::Entry> old = store_.find(key.parent, key.name);
  if (!old && !old.error().is_posix(ENOENT)) {
    co_return std::unexpected(std::move(old.error()));
  }
  if (old) {
    if (old->inode == entry.inode) {
      co_return Status{};  // a repeated request
    }
    if ((flags & wire::kRenameNoReplace) != 0) {
      co_return fail_errno(EEXIST);
    }
    if (S_ISDIR(entry.type) != S_ISDIR(old->type)) {
      co_return fail_errno(S_ISDIR(old->type) ? EISDIR : ENOTDIR);
    }
    if (S_ISDIR(old->type)) {
      co_return co_await remove_directory(key, *old, entry, deadline);
    }
  }
  if (deadline.passed()) {
    co_return fail(Errc::kDeadline, "installing the new name");  // nobody waits for it any more
  }
  BENCHFS_CO_TRY_VOID(store_.put_entry(key.parent, key.name, entry, mono_now()));
  store_.touch_entry_change(key.parent, wall_now_ns());
  if (old) {
    inodes_.drop(old->inode);
  }
  co_return Status{};
}

// --- The lease on directory renames (shard 0) ----------------------------------------------------

rt::Task<void> Names::lock_renames(rpc::Request& request) {
  BENCHFS_SERVE_TRY(auto body, request, decode<wire::LockRenamesRequest>(request));
  BENCHFS_SERVE_TRY_VOID(request, rename_lock_.grant(body.owner, body.lease_ms));
  co_await request.reply(wire::NoReply{});
}

rt::Task<void> Names::unlock_renames(rpc::Request& request) {
  BENCHFS_SERVE_TRY(auto body, request, decode<wire::UnlockRenamesRequest>(request));
  rename_lock_.take_back(body.owner);
  co_await request.reply(wire::NoReply{});
}

}  // namespace benchfs::server
