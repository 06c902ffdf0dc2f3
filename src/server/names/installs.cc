#include "server/names/installs.h"

#include <utility>

#include "base/clock.h"
#include "server/decode.h"

namespace benchfs::server {

// --- The shard of the old name -------------------------------------------------------------------

namespace {

std::unexpected<Error> changed() {
  return fail(Errc::kBusy, "the new name leads to another file by now");
}

}  // namespace

rt::CoResult<wire::InstallEntryReply> Installs::send(wire::ShardId shard,
                                                     const EntryKey& key,
                                                     const New& what,
                                                     const Tickets::Ticket& ticket,
                                                     Deadline step) {
  wire::InstallEntryRequest body;
  body.parent = key.parent.value;
  body.inode = what.entry.inode.value;
  body.type = what.entry.type;
  body.flags = what.flags;
  body.ticket = ticket.number();
  body.settled = tickets_.settled(shard);
  body.life = shared_.peers.life;
  body.sender = shared_.peers.self.value;
  body.client_uid = what.client_uid;
  body.name_bytes = static_cast<std::uint16_t>(key.name.size());
  body.expected = what.expected.value;
  co_return co_await shared_.peers.call(shard, body, step, key.name);
}

rt::CoResult<meta::Entry> Installs::look(wire::ShardId shard, EntryKey key, Deadline deadline) {
  if (shared_.peers.is_self(shard)) {
    BENCHFS_CO_TRY_VOID(co_await shared_.locks.wait_unlocked(key, deadline));
    co_return shared_.find(key);
  }
  Tickets::Ticket ticket = tickets_.take(shard);
  Result<wire::InstallEntryReply> reply =
      co_await send(shard, key, {.flags = wire::kRenameExchange}, ticket, deadline);
  if (!reply && reply.error().is_posix(EBUSY)) {
    co_return fail(Errc::kBusy, std::move(reply.error().context));
  }
  if (!reply) {
    co_return std::unexpected(std::move(reply.error()));
  }
  if ((reply->flags & wire::kInstallOther) == 0) {
    co_return std::unexpected(malformed());
  }
  co_return meta::Entry{wire::InodeId{reply->replaced}, reply->type};
}

rt::Task<Installs::Asked> Installs::ask(wire::ShardId shard,
                                        EntryKey key,
                                        New what,
                                        Deadline step) {
  if (shared_.peers.is_self(shard)) {
    Result<Installed> installed = co_await install(key, what, step);
    if (!installed) {
      co_return Asked{std::unexpected(std::move(installed.error())), {}};
    }
    if (installed->other) {
      co_return Asked{changed(), {}};
    }
    co_return Asked{{}, {}, installed->replaced, installed->is_same};
  }
  Tickets::Ticket ticket = tickets_.take(shard);
  Result<wire::InstallEntryReply> reply = co_await send(shard, key, what, ticket, step);
  if (reply && (reply->flags & wire::kInstallOther) != 0) {
    co_return Asked{changed(), {}};
  }
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
  New what{.entry = {wire::InodeId{body.inode}, body.type},
           .flags = body.flags,
           .expected = wire::InodeId{body.expected},
           .client_uid = body.client_uid};
  Result<Installed> done = co_await install(key, what, request.deadline());
  log_.end(sender, body.ticket, done && !done->is_same && !done->other);
  ended_.wake_all();
  if (!done && done.error().code == Errc::kBusy) {
    // As an errno: the RPC layer would repeat the call while the caller holds its lock.
    co_await request.reply_error(Error::from_errno(EBUSY, std::move(done.error().context)));
    co_return;
  }
  BENCHFS_SERVE_TRY_VOID(request, done);
  if (done->other) {
    co_await request.reply(wire::InstallEntryReply{.replaced = done->other->inode.value,
                                                   .flags = wire::kInstallOther,
                                                   .type = done->other->type});
    co_return;
  }
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

// What the new name leads to now, and whether POSIX allows the entry to replace it.
Result<Installs::Target> Installs::look_at(const EntryKey& key, const New& what) const {
  bool exchanges = (what.flags & wire::kRenameExchange) != 0;
  Result<meta::Entry> old = shared_.find(key);
  if (!old) {
    if (!old.error().is_posix(ENOENT) || exchanges) {
      return std::unexpected(std::move(old.error()));
    }
    return Target{};
  }
  if ((what.flags & wire::kRenameNoReplace) != 0) {
    return fail_errno(EEXIST);
  }
  if (old->inode == what.entry.inode) {
    return Target{.old = *old, .done = Installed{.is_same = true}};
  }
  if (exchanges && old->inode != what.expected) {
    return Target{.old = *old, .done = Installed{.other = *old}};
  }
  if (!exchanges && S_ISDIR(what.entry.type) != S_ISDIR(old->type)) {
    return fail_errno(S_ISDIR(old->type) ? EISDIR : ENOTDIR);
  }
  bool drops = !exchanges && !S_ISDIR(old->type);
  return Target{.old = *old, .dropped = drops ? old->inode : wire::InodeId{}};
}

// Does not wait for the home of what it replaces: the sender of the request does, because a window
// full of such requests would keep the message to the home behind it.
// Nothing has changed after an error.
rt::CoResult<Installs::Installed> Installs::install(EntryKey key, New what, Deadline deadline) {
  Target target;
  EntryLocks::Guard turn;  // of those that wait: many would fill the window of who sends them
  bool waits = false;
  {
    // Without the lock, for which look-ups wait: of clients that have to forget the name, and of
    // others while a client does not answer.
    ExactLeases::Withheld name(shared_.leases, key);
    for (;;) {
      if (shared_.locks.is_locked(key)) {
        co_return shared_.being_changed(key);
      }
      BENCHFS_CO_TRY(target, look_at(key, what));
      if (target.done) {
        co_return *target.done;
      }
      bool drops = target.dropped.is_valid();
      if (shared_.may_change(key, what.client_uid) &&
          (!drops || shared_.may_drop(target.dropped))) {
        break;
      }
      if (!std::exchange(waits, true)) {
        if (waiting_.is_locked(key)) {
          co_return shared_.peers.busy("the entry is being changed", {});
        }
        BENCHFS_CO_TRY(turn, co_await waiting_.lock(key, deadline));
      }
      ExactLeases::Withheld attributes(shared_.leases,
                                       ExactLeases::attributes(target.dropped).key());
      BENCHFS_CO_TRY_VOID(co_await shared_.prepare(key, what.client_uid, deadline));
      if (drops) {
        BENCHFS_CO_TRY_VOID(co_await shared_.prepare_drop(target.dropped, deadline));
      }
    }
  }
  if (target.old && !target.dropped.is_valid()) {
    co_return co_await install_under_lock(key, what, *target.old, deadline);
  }
  if (deadline.passed()) {
    co_return fail(Errc::kDeadline, "installing the new name");  // nobody waits for it any more
  }
  BENCHFS_CO_TRY_VOID(put(key, what));
  lease(key, what.flags, what.client_uid);
  co_return Installed{.replaced = target.old ? shared_.inodes.drop(target.dropped) : Dropped{}};
}

// Replaces a directory, or exchanges. The lock is free, and `old` is what the name leads to.
rt::CoResult<Installs::Installed> Installs::install_under_lock(EntryKey key,
                                                               New what,
                                                               meta::Entry old,
                                                               Deadline deadline) {
  BENCHFS_CO_TRY(EntryLocks::Guard guard, co_await shared_.locks.lock(key, deadline));
  if ((what.flags & wire::kRenameExchange) == 0) {
    BENCHFS_CO_TRY(Dropped replaced,
                   co_await removal_.remove(key, old, what.entry, what.client_uid, deadline));
    lease(key, what.flags, what.client_uid);
    co_return Installed{.replaced = replaced};
  }
  BENCHFS_CO_TRY_VOID(co_await shared_.prepare(key, what.client_uid, deadline));
  if (deadline.passed()) {
    co_return fail(Errc::kDeadline, "installing the new name");
  }
  BENCHFS_CO_TRY_VOID(put(key, what));
  // It has happened. Look-ups of the name wait until all clients forgot what it led to.
  if (S_ISDIR(old.type)) {
    co_await leases_.revoke(key);
  }
  co_return Installed{};
}

Status Installs::put(const EntryKey& key, const New& what) {
  return shared_.change(meta::PutEntry{key.parent, key.name, what.entry, wall_now_ns(), mono_now()},
                        what.client_uid);
}

// The client may still have cached, under the new name, what it knew under the old one.
void Installs::lease(const EntryKey& key, std::uint32_t flags, std::uint64_t client_uid) {
  if ((flags & wire::kRenameLease) != 0) {
    shared_.leases.grant_to_maker(key, client_uid, mono_now());
  }
}

}  // namespace benchfs::server
