#include "server/shard_service.h"

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/process_record.h"
#include "server/buffer_wait.h"
#include "server/decode.h"
#include "server/shard_stats.h"

namespace benchfs::server {
namespace {

constexpr Nanos kHousekeepingEvery = std::chrono::seconds(1);

}  // namespace

ShardService::ShardService(const Parts& parts)
    : parts_(parts),
      started_at_(mono_now()),
      away_({.grace = parts.config.client_grace, .has_ended = has_ended}) {}

void ShardService::set_services(meta::MetaStore& metadata,
                                Names& names,
                                Files& files,
                                ChunkService& chunks) {
  metadata_ = &metadata;
  names_ = &names;
  files_ = &files;
  chunks_ = &chunks;
  names_->leases().attach(*server_, *parts_.peers.stopping);
  names_->exact_leases().attach(*server_, *parts_.peers.stopping);
  files_->attach_leases(names_->exact_leases());
}

// Chunks, administration, and what other shards need to know to let this one begin.
namespace {
constexpr bool is_served_at_once(wire::Opcode opcode) {
  using wire::Opcode;
  constexpr Opcode kAtOnce[] = {Opcode::kReadChunk,
                                Opcode::kWriteChunk,
                                Opcode::kFsyncChunks,
                                Opcode::kTruncateChunks,
                                Opcode::kQueryChunks,
                                Opcode::kPunchChunk,
                                Opcode::kCopyChunk,
                                Opcode::kListChunks,
                                Opcode::kLocateChunk,
                                Opcode::kBeginFill,
                                Opcode::kEndFill,
                                Opcode::kNewLife,
                                Opcode::kQueryDirectory,
                                Opcode::kInodeRange,
                                Opcode::kShutdown,
                                Opcode::kPing,
                                Opcode::kSetCapacity,
                                Opcode::kStatfs,
                                Opcode::kStats};
  return std::ranges::find(kAtOnce, opcode) != std::end(kAtOnce);
}
}  // namespace

bool ShardService::serve_at_once(rpc::Request& request) {
  if (request.opcode() == wire::Opcode::kPing) {
    return ping_at_once(request);
  }
  if (!files_->is_serving()) [[unlikely]] {
    return false;
  }
  if (request.opcode() == wire::Opcode::kLookup) {
    return names_->entries().lookup_at_once(request);
  }
  if (request.opcode() == wire::Opcode::kOpen) {
    return names_->entries().open_at_once(request);
  }
  if (request.opcode() == wire::Opcode::kUnlink) {
    return names_->entries().unlink_at_once(request);
  }
  if (request.opcode() == wire::Opcode::kGetAttr) {
    return files_->get_attr_at_once(request);
  }
  return false;
}

rt::Task<void> ShardService::handle(rpc::Request& request) {
  if (!files_->is_serving() && !is_served_at_once(request.opcode())) [[unlikely]] {
    return hold_back(request);
  }
  return dispatch(request);
}

rt::Task<void> ShardService::hold_back(rpc::Request& request) {
  BENCHFS_SERVE_TRY_VOID(request, co_await files_->wait_serving(request.deadline()));
  co_await dispatch(request);
}

rt::Task<void> ShardService::dispatch(rpc::Request& request) {
  switch (request.opcode()) {
    case wire::Opcode::kReadChunk:
      return chunks_->read(request);
    case wire::Opcode::kWriteChunk:
      return chunks_->write(request);
    case wire::Opcode::kFsyncChunks:
      return chunks_->fsync(request);
    case wire::Opcode::kTruncateChunks:
      return chunks_->truncate(request);
    case wire::Opcode::kQueryChunks:
      return chunks_->query(request);
    case wire::Opcode::kPunchChunk:
      return chunks_->punch(request);
    case wire::Opcode::kCopyChunk:
      return chunks_->copy(request);
    case wire::Opcode::kListChunks:
      return chunks_->list(request);
    case wire::Opcode::kLocateChunk:
      return chunks_->locate(request);
    case wire::Opcode::kBeginFill:
      return chunks_->begin_fill(request);
    case wire::Opcode::kEndFill:
      return chunks_->end_fill(request);
    case wire::Opcode::kLookup:
      return names_->entries().lookup(request);
    case wire::Opcode::kOpen:
      return names_->entries().open(request);
    case wire::Opcode::kOpenUnnamed:
      return names_->entries().open_unnamed(request);
    case wire::Opcode::kMkdir:
      return names_->entries().mkdir(request);
    case wire::Opcode::kLink:
      return names_->entries().link(request);
    case wire::Opcode::kUnlink:
      return names_->entries().unlink(request);
    case wire::Opcode::kSetAttr:
      return files_->set_attr(request);
    case wire::Opcode::kReaddir:
      return names_->entries().readdir(request);
    case wire::Opcode::kRename:
      return names_->renames().rename(request);
    case wire::Opcode::kRmdir:
      return names_->removal().rmdir(request);
    case wire::Opcode::kSymlink:
      return names_->entries().symlink(request);
    case wire::Opcode::kMakeSpecial:
      return names_->entries().make_special(request);
    case wire::Opcode::kGetAttr:
      return files_->get_attr(request);
    case wire::Opcode::kReadlink:
      return files_->readlink(request);
    case wire::Opcode::kOpenInode:
      return files_->open_inode(request);
    case wire::Opcode::kAppend:
      return files_->append(request);
    case wire::Opcode::kFsync:
      return files_->fsync(request);
    case wire::Opcode::kLock:
      return files_->lock(request);
    case wire::Opcode::kGetXattr:
      return files_->get_xattr(request);
    case wire::Opcode::kSetXattr:
      return files_->set_xattr(request);
    case wire::Opcode::kShutdown:
      return shutdown(request);
    case wire::Opcode::kPing:
      return ping(request);
    case wire::Opcode::kSetCapacity:
      return set_capacity(request);
    case wire::Opcode::kStatfs:
      return statfs(request);
    case wire::Opcode::kStats:
      return stats(request);
    case wire::Opcode::kInstallEntry:
      return names_->installs().install_entry(request);
    case wire::Opcode::kSettleInstall:
      return names_->installs().settle_install(request);
    case wire::Opcode::kFreezeDirectory:
      return names_->removal().freeze_directory(request);
    case wire::Opcode::kThawDirectory:
      return names_->removal().thaw_directory(request);
    case wire::Opcode::kLinkInode:
      return files_->link_inode(request);
    case wire::Opcode::kForgetInode:
      return files_->forget_inode(request);
    case wire::Opcode::kSetParent:
      return names_->renames().set_parent(request);
    case wire::Opcode::kLockRenames:
      return names_->rename_lock().lock_renames(request);
    case wire::Opcode::kUnlockRenames:
      return names_->rename_lock().unlock_renames(request);
    case wire::Opcode::kInodeRange:
      return inode_range(request);
    case wire::Opcode::kMark:
      return files_->mark(request);
    case wire::Opcode::kMarkDirectory:
      return files_->mark_directory(request);
    case wire::Opcode::kQueryDirectory:
      return names_->marks().query(request);
    case wire::Opcode::kNewLife:
      return new_life(request);
    case wire::Opcode::kRegister:
    case wire::Opcode::kConnectionClose:
    case wire::Opcode::kInvalidate:
    case wire::Opcode::kInvalidateAck:
    case wire::Opcode::kGoodbye:
    case wire::Opcode::kCloseNotice:
    case wire::Opcode::kOpensNotice:
    case wire::Opcode::kForward:
    case wire::Opcode::kForwardNotice:
      break;
  }
  return refuse(request);
}

rt::Task<void> ShardService::new_life(rpc::Request& request) {
  BENCHFS_SERVE_TRY(auto body, request, decode<wire::NewLifeRequest>(request));
  if (body.shard >= parts_.peers.shard_count) {
    co_await request.reply_error(malformed());
    co_return;
  }
  TicketLog::Sender shard{wire::ShardId{body.shard}, body.life};
  names_->on_new_life(shard);
  files_->on_new_life(shard);
  chunks_->on_new_life(shard.shard, body.life, body.first_counter);
  co_await request.reply(wire::NoReply{});
}

rt::Task<void> ShardService::refuse(rpc::Request& request) {
  co_await request.reply_error(Error{Errc::kUnknownOpcode, 0, {}});
}

// --- Clients -------------------------------------------------------------------------------------

void ShardService::on_client_registered(wire::SessionId session, std::uint64_t client_uid) {
  away_.remove(client_uid);
  // It is told in its registration that nothing is remembered.
  const rpc::Session* registered = server_->registry().peek(session);
  if (registered == nullptr || !registered->is_remembered) {
    files_->drop_locks(client_uid);
  }
  names_->leases().on_client_registered(session, client_uid);
  names_->exact_leases().on_client_registered(session, client_uid);
}

void ShardService::on_client_gone(std::uint64_t client_uid,
                                  rpc::Departure departure,
                                  pid_t process) {
  if (departure == rpc::Departure::kGoodbye) {
    names_->leases().on_goodbye(client_uid);
    names_->exact_leases().on_goodbye(client_uid);
    away_.remove(client_uid);
    files_->abandon_client(client_uid);
    return;
  }
  names_->leases().on_session_lost(client_uid);
  if (departure == rpc::Departure::kDied) {
    on_client_died(client_uid);
  }
  names_->exact_leases().on_session_lost(client_uid);
  away_.add(client_uid, departure, process, mono_now());
}

// A child of fork has neither. What a kernel may still know under an exact lease of a mount
// outlives the mount's process.
void ShardService::on_client_died(std::uint64_t client_uid) {
  files_->drop_locks(client_uid);
  names_->leases().on_goodbye(client_uid);
}

// What the client loses it will hear of.
bool ShardService::may_end_locks(std::uint64_t client_uid) {
  return server_->forget_client(client_uid);
}

void ShardService::end_locks(std::uint64_t client_uid) {
  files_->drop_locks(client_uid);
}

void ShardService::end_opens(std::uint64_t client_uid) {
  files_->abandon_client(client_uid);
}

bool ShardService::on_notice(wire::SessionId /*session*/,
                             std::uint64_t client_uid,
                             wire::Opcode opcode,
                             wire::Reader body) {
  if (opcode == wire::Opcode::kCloseNotice) {
    wire::CloseNotice close;
    if (!body.read(close)) {
      return false;
    }
    files_->on_close(client_uid, close.open_number);
    return true;
  }
  wire::OpensNotice opens;
  std::array<std::uint64_t, wire::kMaxOpensInNotice> kept{};
  if (opcode != wire::Opcode::kOpensNotice || !body.read(opens) || opens.count > kept.size()) {
    return false;
  }
  for (std::uint32_t i = 0; i < opens.count; ++i) {
    if (!body.read(kept[i]) || (i > 0 && kept[i] <= kept[i - 1])) {
      return false;
    }
  }
  files_->on_opens(client_uid, opens.from, opens.to, std::span(kept).first(opens.count));
  return true;
}

void ShardService::on_invalidate_ack(wire::SessionId session, std::uint64_t sequence) {
  if (sequence > ExactLeases::kFirstSequence) {
    names_->exact_leases().on_acknowledged(session, sequence);
  } else {
    names_->leases().on_acknowledged(session, sequence);
  }
}

rt::Task<void> ShardService::housekeeping() {
  for (;;) {
    rt::Wake wake = co_await rt::sleep_for(kHousekeepingEvery, &parts_.background.cancel_source());
    if (wake == rt::Wake::kCancelled) {
      co_return;
    }
    MonoTime now = mono_now();
    names_->leases().expire(now);
    names_->exact_leases().expire(now);
    files_->housekeeping();
    away_.expire(now, *this);
  }
}

// --- Administration ------------------------------------------------------------------------------

bool ShardService::ping_at_once(rpc::Request& request) {
  wire::PingRequest body;
  wire::Reader reader = request.reader();
  bool is_whole = reader.left() == 0 || reader.read(body);
  if (!is_whole || request.is_rendezvous() || body.reply_bytes > request.data_bytes()) {
    return false;
  }
  request.answer(wire::NoReply{}, request.eager_data().first(body.reply_bytes));
  return true;
}

rt::Task<void> ShardService::ping(rpc::Request& request) {
  wire::PingRequest body;
  wire::Reader reader = request.reader();
  if (reader.left() > 0 && !reader.read(body)) {
    co_await request.reply_error(malformed());
    co_return;
  }
  wire::NoReply reply;
  if (!request.is_rendezvous() && body.reply_bytes <= request.data_bytes()) {
    co_await request.reply(reply, request.eager_data().first(body.reply_bytes));
    co_return;
  }
  std::size_t bytes = std::max<std::size_t>(body.reply_bytes, request.data_bytes());
  if (bytes > parts_.large_pings.buffer_bytes()) {
    co_await request.reply_error(malformed());
    co_return;
  }
  bool is_large = bytes > parts_.buffers.buffer_bytes();
  chunk::BufferPool& pool = is_large ? parts_.large_pings : parts_.buffers;
  BufferWait wait(request);
  BENCHFS_SERVE_TRY(
      chunk::BufferPool::Lease buffer, request, co_await pool.acquire(request.deadline(), &wait));
  if (request.data_bytes() > 0) {
    BENCHFS_SERVE_TRY_VOID(request,
                           co_await request.receive(buffer.span().first(request.data_bytes())));
  }
  if (body.reply_bytes > request.data_bytes()) {
    std::ranges::fill(
        buffer.span().subspan(request.data_bytes(), body.reply_bytes - request.data_bytes()),
        std::byte{0});
  }
  co_await request.reply(reply, buffer.span().first(body.reply_bytes));
}

rt::Task<void> ShardService::set_capacity(rpc::Request& request) {
  BENCHFS_SERVE_TRY(auto body, request, decode<wire::SetCapacityRequest>(request));
  if (body.max_clients == 0 || body.max_clients > wire::kMaxClients) {
    co_await request.reply_error(Error::from_errno(EINVAL));
    co_return;
  }
  BENCHFS_LOG(kInfo, "room for {} clients from now on", body.max_clients);
  server_->set_capacity(body.max_clients);
  co_await request.reply(wire::NoReply{});
}

rt::Task<void> ShardService::statfs(rpc::Request& request) {
  BENCHFS_SERVE_TRY(
      chunk::Space space, request, co_await chunks_->store().space(request.deadline()));
  meta::MetaStore::Stats stats = metadata_->stats();
  wire::StatfsReply reply;
  reply.total_bytes = space.total_bytes;
  reply.free_bytes = space.free_bytes;
  reply.inode_count = stats.inode_count;
  reply.entry_count = stats.entry_count;
  reply.device = space.device_id;
  co_await request.reply(reply);
}

rt::Task<void> ShardService::stats(rpc::Request& request) {
  BENCHFS_SERVE_TRY(auto body, request, decode<wire::StatsRequest>(request));
  StatsSources sources{.config = parts_.config,
                       .shard = parts_.peers.self,
                       .started_at = started_at_,
                       .is_restarted = is_restarted_,
                       .server = *server_,
                       .door = door_,
                       .metadata = *metadata_,
                       .files = *files_,
                       .names = *names_,
                       .peers = parts_.peers,
                       .buffers = parts_.buffers,
                       .reactor = parts_.reactor};
  std::string text;
  switch (static_cast<wire::StatsSection>(body.section)) {
    case wire::StatsSection::kCounters: {
      Result<chunk::Space> space = co_await chunks_->store().space(request.deadline());
      text = counters_json(sources, space.value_or(chunk::Space{}));
      break;
    }
    case wire::StatsSection::kRequests:
      text = requests_json(sources, request, body.limit);
      break;
  }
  if (text.empty()) {
    co_await request.reply_error(malformed());
    co_return;
  }
  co_await request.reply(wire::StatsReply{text.size()}, std::as_bytes(std::span(text)));
}

rt::Task<void> ShardService::inode_range(rpc::Request& request) {
  const meta::InodeTable& inodes = metadata_->inodes();
  co_await request.reply(wire::InodeRangeReply{inodes.first_counter(), inodes.next_counter()});
}

rt::Task<void> ShardService::shutdown(rpc::Request& request) {
  BENCHFS_SERVE_TRY(auto body, request, decode<wire::ShutdownRequest>(request));
  if (body.magic != wire::kShutdownMagic) {
    co_await request.reply_error(Error::from_errno(EPERM));
    co_return;
  }
  co_await request.reply(wire::NoReply{});
  shutdown_requested_ = true;
}

}  // namespace benchfs::server
