#include "server/names/installs.h"

#include "base/clock.h"
#include "server/decode.h"

namespace benchfs::server {

// --- The shard of the old name -------------------------------------------------------------------

rt::Task<Installs::Asked> Installs::ask(wire::ShardId shard,
                                        EntryKey key,
                                        meta::Entry entry,
                                        std::uint32_t flags,
                                        std::uint64_t client_uid,
                                        Deadline step) {
  if (shared_.peers.is_self(shard)) {
    Result<Installed> installed = co_await install(key, entry, flags, client_uid, step);
    if (!installed) {
      co_return Asked{std::unexpected(std::move(installed.error())), {}};
    }
    co_return Asked{{}, {}, installed->replaced, installed->is_same};
  }
  Tickets::Ticket ticket = tickets_.take(shard);
  wire::InstallEntryRequest body;
  body.parent = key.parent.value;
  body.inode = entry.inode.value;
  body.type = entry.type;
  body.flags = flags;
  body.ticket = ticket.number();
  body.settled = tickets_.settled(shard);
  body.life = shared_.peers.life;
  body.sender = shared_.peers.self.value;
  body.client_uid = client_uid;
  body.name_bytes = static_cast<std::uint16_t>(key.name.size());
  Result<wire::InstallEntryReply> reply = co_await shared_.peers.call(shard, body, step, key.name);
  if (reply) {
    Dropped replaced{.inode = wire::InodeId{reply->replaced},
                     .shard = shard,
                     .life = reply->life,
                     .ticket = reply->ticket};
    co_return Asked{{}, {}, replaced, (reply->flags & wire::kInstallSame) != 0};
  }
  Errc code = reply.error().code;
  if (reply.error().is_posix(EBUSY)) {
    co_return Asked{fail(Errc::kBusy, std::move(reply.error().context)), {}};
  }
  Status status = std::unexpected(std::move(reply.error()));
  if (code == Errc::kPosix || code == Errc::kUnreachable) {
    co_return Asked{std::move(status), {}};  // refused, or never sent
  }
  co_return Asked{std::move(status), std::move(ticket)};
}

rt::CoResult<bool> Installs::settle(wire::ShardId shard, const Tickets::Ticket& ticket) {
  wire::SettleInstallRequest body;
  body.ticket = ticket.number();
  body.life = shared_.peers.life;
  body.sender = shared_.peers.self.value;
  BENCHFS_CO_TRY(wire::SettleInstallReply reply,
                 co_await shared_.owed.call(shard, body, OwedCalls::Kind::kRename));
  co_return reply.installed != 0;
}

// --- The shard of the new name -------------------------------------------------------------------

rt::Task<void> Installs::install_entry(rpc::Request& request) {
  wire::InstallEntryRequest body;
  BENCHFS_SERVE_TRY(EntryRef named, request, decode_entry(request, body));
  EntryKey key = named.key();
  if (body.sender >= shared_.peers.shard_count) {
    co_await request.reply_error(malformed());
    co_return;
  }
  TicketLog::Sender sender{wire::ShardId{body.sender}, body.life};
  if (log_.begin(sender, body.ticket, body.settled) != TicketLog::Begun::kNew) {
    co_await request.reply_error(Error::from_errno(EBUSY));  // nobody waits for it any more
    co_return;
  }
  meta::Entry entry{wire::InodeId{body.inode}, body.type};
  Result<Installed> done =
      co_await install(key, entry, body.flags, body.client_uid, request.deadline());
  log_.end(sender, body.ticket, done && !done->is_same);
  ended_.wake_all();
  if (!done && done.error().code == Errc::kBusy) {
    // As an errno: the RPC layer would repeat the call while the caller holds its lock.
    co_await request.reply_error(Error::from_errno(EBUSY, std::move(done.error().context)));
    co_return;
  }
  BENCHFS_SERVE_TRY_VOID(request, done);
  co_await request.reply(
      wire::InstallEntryReply{.replaced = done->replaced.inode.value,
                              .life = done->replaced.life,
                              .ticket = done->replaced.ticket,
                              .flags = done->is_same ? std::uint32_t{wire::kInstallSame} : 0});
}

rt::Task<void> Installs::settle_install(rpc::Request& request) {
  BENCHFS_SERVE_TRY(auto body, request, decode<wire::SettleInstallRequest>(request));
  if (body.sender >= shared_.peers.shard_count) {
    co_await request.reply_error(malformed());
    co_return;
  }
  TicketLog::Sender sender{wire::ShardId{body.sender}, body.life};
  for (;;) {
    TicketLog::Outcome outcome = log_.settle(sender, body.ticket);
    if (outcome != TicketLog::Outcome::kRunning) {
      bool installed = outcome == TicketLog::Outcome::kDone;
      co_await request.reply(wire::SettleInstallReply{.installed = installed ? 1U : 0U});
      co_return;
    }
    rt::Wake wake = co_await ended_.wait(request.deadline(), shared_.peers.stopping);
    BENCHFS_SERVE_TRY_VOID(request, rt::wake_status(wake, "waiting for the end of an install"));
  }
}

// Does not wait for the home of what it replaces: the sender of the request does, because a window
// full of such requests would keep the message to the home behind it.
// Replaces what POSIX allows to be replaced. Nothing has changed after an error.
rt::CoResult<Installs::Installed> Installs::install(EntryKey key,
                                                    meta::Entry entry,
                                                    std::uint32_t flags,
                                                    std::uint64_t client_uid,
                                                    Deadline deadline) {
  if (shared_.locks.is_locked(key)) {
    co_return shared_.being_changed(key);
  }
  // Before the lock, for which look-ups of clients wait that have to forget the name.
  BENCHFS_CO_TRY_VOID(co_await shared_.prepare(key, client_uid, deadline));
  if (shared_.locks.is_locked(key)) {
    co_return shared_.being_changed(key);
  }
  BENCHFS_CO_TRY(EntryLocks::Guard guard, co_await shared_.locks.lock(key, deadline));
  Result<meta::Entry> old = shared_.find(key);
  if (!old && !old.error().is_posix(ENOENT)) {
    co_return std::unexpected(std::move(old.error()));
  }
  if (old) {
    if ((flags & wire::kRenameNoReplace) != 0) {
      co_return fail_errno(EEXIST);
    }
    if (old->inode == entry.inode) {
      co_return Installed{.is_same = true};
    }
    if (S_ISDIR(entry.type) != S_ISDIR(old->type)) {
      co_return fail_errno(S_ISDIR(old->type) ? EISDIR : ENOTDIR);
    }
    if (S_ISDIR(old->type)) {
      BENCHFS_CO_TRY(Dropped replaced,
                     co_await removal_.remove(key, *old, entry, client_uid, deadline));
      lease(key, flags, client_uid);
      co_return Installed{.replaced = replaced};
    }
  }
  while (!shared_.may_change(key, client_uid) || (old && !shared_.may_drop(old->inode))) {
    BENCHFS_CO_TRY_VOID(co_await shared_.prepare(key, client_uid, deadline));
    if (old) {
      BENCHFS_CO_TRY_VOID(co_await shared_.prepare_drop(old->inode, deadline));
    }
  }
  if (deadline.passed()) {
    co_return fail(Errc::kDeadline, "installing the new name");  // nobody waits for it any more
  }
  BENCHFS_CO_TRY_VOID(
      shared_.change(meta::PutEntry{key.parent, key.name, entry, wall_now_ns(), mono_now()}));
  lease(key, flags, client_uid);
  co_return Installed{.replaced = old ? shared_.inodes.drop(old->inode) : Dropped{}};
}

// The client may still have cached, under the new name, what it knew under the old one.
void Installs::lease(const EntryKey& key, std::uint32_t flags, std::uint64_t client_uid) {
  if ((flags & wire::kRenameLease) != 0) {
    (void)shared_.leases.grant(key, client_uid, mono_now());
  }
}

}  // namespace benchfs::server
