// Names of an inode that are on other shards than it: its home counts them, and is told of each
// that comes or goes, once.

#include "base/clock.h"
#include "server/decode.h"
#include "server/files/files.h"

namespace benchfs::server {

// --- The shard of the name -----------------------------------------------------------------------

rt::CoResult<wire::Attr> Files::add_link(wire::InodeId inode, Deadline deadline) {
  if (peers_.is_self(inode.home())) {
    BENCHFS_CO_TRY_VOID(co_await prepare(inode, deadline));
    co_return store_.apply(meta::Link{inode, wall_now_ns()});
  }
  Tickets::Ticket ticket = link_tickets_.take(inode.home());
  Dropped link{
      .inode = inode, .shard = peers_.self, .life = peers_.life, .ticket = ticket.number()};
  wire::LinkInodeRequest body;
  body.inode = inode.value;
  body.change = link_change(link);
  Result<wire::EntryReply> reply = co_await peers_.call(inode.home(), body, deadline);
  if (reply) {
    co_return reply->attr;
  }
  Errc code = reply.error().code;
  if (code != Errc::kPosix && code != Errc::kUnreachable) {  // else refused, or never sent
    owe_forget(link, wire::kForgetLink, std::move(ticket));
  }
  co_return std::unexpected(std::move(reply.error()));
}

Dropped Files::drop_name(wire::InodeId inode, std::uint32_t flags) {
  if (peers_.is_self(inode.home())) {
    unlink(inode, (flags & wire::kForgetUnmade) != 0);
    return {};
  }
  Tickets::Ticket ticket = link_tickets_.take(inode.home());
  Dropped dropped{
      .inode = inode, .shard = peers_.self, .life = peers_.life, .ticket = ticket.number()};
  owe_forget(dropped, flags, std::move(ticket));
  return dropped;
}

void Files::owe_forget(const Dropped& dropped,
                       std::uint32_t flags,
                       std::optional<Tickets::Ticket> ticket) {
  wire::ShardId home = dropped.inode.home();
  auto [forget, is_new] = forgets_.try_emplace({home, dropped.shard, dropped.life, dropped.ticket});
  if (!is_new) {
    return;
  }
  forget->second.flags = flags;
  if (ticket) {
    forget->second.ticket.emplace(std::move(*ticket));
  }
  reclaimer_.owe({.kind = Reclaimer::Kind::kForget,
                  .inode = dropped.inode,
                  .shard = home,
                  .life = dropped.life,
                  .ticket = dropped.ticket,
                  .named_on = dropped.shard});
}

rt::Task<void> Files::wait_dropped(Dropped dropped, Deadline deadline) {
  if (!dropped.inode.is_valid()) {
    co_return;
  }
  wire::ShardId home = dropped.inode.home();
  if (peers_.is_self(home)) {
    (void)co_await prepare(dropped.inode, Deadline::never());
    (void)forget_here(dropped.inode, link_change(dropped), 0);
    co_return;
  }
  if (reclaimer_.silent_since(home)) {
    co_return;
  }
  if (!peers_.is_self(dropped.shard)) {
    owe_forget(dropped, 0, {});
  }
  auto found = forgets_.find({home, dropped.shard, dropped.life, dropped.ticket});
  if (found == forgets_.end()) {
    co_return;
  }
  if (!found->second.attempted) {
    found->second.attempted = std::make_shared<rt::WaitQueue>();
  }
  std::shared_ptr<rt::WaitQueue> attempted = found->second.attempted;
  (void)co_await attempted->wait(deadline, peers_.stopping);
}

wire::LinkChange Files::link_change(const Dropped& dropped) const {
  bool is_own = peers_.is_self(dropped.shard);
  return {.life = dropped.life,
          .ticket = dropped.ticket,
          .settled = is_own ? link_tickets_.settled(dropped.inode.home()) : 0,
          .shard = dropped.shard.value};
}

rt::CoResult<Reclaimer::Outcome> Files::perform_forget(Reclaimer::Work work, Deadline deadline) {
  ForgetKey key{work.shard, work.named_on, work.life, work.ticket};
  wire::ForgetInodeRequest body;
  body.inode = work.inode.value;
  body.change = link_change(
      {.inode = work.inode, .shard = work.named_on, .life = work.life, .ticket = work.ticket});
  body.flags = forgets_.at(key).flags;
  Result<wire::NoReply> reply = co_await peers_.call(work.shard, body, deadline);
  auto found = forgets_.find(key);
  if (found->second.attempted) {
    found->second.attempted->wake_all();
  }
  if (!reply) {
    co_return std::unexpected(std::move(reply.error()));
  }
  forgets_.erase(found);
  co_return Reclaimer::Outcome::kDone;
}

// --- The home ------------------------------------------------------------------------------------

rt::Task<void> Files::link_inode(rpc::Request& request) {
  BENCHFS_SERVE_TRY(auto body, request, decode<wire::LinkInodeRequest>(request));
  const wire::LinkChange& change = body.change;
  if (change.shard >= peers_.shard_count) {
    co_await request.reply_error(malformed());
    co_return;
  }
  TicketLog::Sender sender{wire::ShardId{change.shard}, change.life};
  TicketLog::Begun begun = link_log_.begin(sender, change.ticket, change.settled);
  if (begun != TicketLog::Begun::kNew) {
    // It was taken back before it came, or the shard that sent it has lost the name.
    co_await request.reply_error(begun == TicketLog::Begun::kFull
                                     ? Error{Errc::kBusy, 0, "too many links are under way"}
                                     : Error::from_errno(ESTALE));
    co_return;
  }
  (void)co_await prepare(wire::InodeId{body.inode}, Deadline::never());
  Result<wire::Attr> attr = store_.apply(meta::Link{wire::InodeId{body.inode}, wall_now_ns()});
  link_log_.end(sender, change.ticket, attr.has_value());
  BENCHFS_SERVE_TRY_VOID(request, attr);
  co_await request.reply(wire::EntryReply{*attr, 0, 0});
}

Status Files::forget_here(wire::InodeId inode,
                          const wire::LinkChange& change,
                          std::uint32_t flags) {
  TicketLog::Sender sender{wire::ShardId{change.shard}, change.life};
  bool takes_back = (flags & wire::kForgetLink) != 0;
  TicketLog::Begun begun = takes_back ? link_log_.undo(sender, change.ticket, change.settled)
                                      : link_log_.begin(sender, change.ticket, change.settled);
  if (begun == TicketLog::Begun::kFull) {
    return fail(Errc::kBusy, "too many links are under way");
  }
  if (begun == TicketLog::Begun::kNew) {
    if (!takes_back) {
      link_log_.end(sender, change.ticket, true);
    }
    unlink(inode, takes_back || (flags & wire::kForgetUnmade) != 0);
  }
  return {};
}

rt::Task<void> Files::forget_inode(rpc::Request& request) {
  BENCHFS_SERVE_TRY(auto body, request, decode<wire::ForgetInodeRequest>(request));
  if (body.change.shard >= peers_.shard_count) {
    co_await request.reply_error(malformed());
    co_return;
  }
  (void)co_await prepare(wire::InodeId{body.inode}, Deadline::never());
  BENCHFS_SERVE_TRY_VOID(request, forget_here(wire::InodeId{body.inode}, body.change, body.flags));
  co_await request.reply(wire::NoReply{});
}

}  // namespace benchfs::server
