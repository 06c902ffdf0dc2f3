// Operations on one entry, all of whose parts are on this shard.
#include "server/names/names.h"

#include <cstring>

#include "base/clock.h"
#include "cluster/placement.h"
#include "server/decode.h"
#include "server/reply_entry.h"

namespace benchfs::server {
namespace {

// A frozen directory is being removed or not; who wants to add to it looks again after this.
constexpr Nanos kBusyPause = std::chrono::milliseconds(1);

constexpr std::uint32_t kPermissionBits = 07777;

}  // namespace

Names::Names(meta::MetaStore& store, InodeDoor& inodes, Peers& peers, Config config)
    : store_(store),
      inodes_(inodes),
      peers_(peers),
      config_(config),
      leases_({.lease = config.directory_lease}),
      rename_lock_(peers, config.rename_lease) {
  if (config.had_earlier_life) {
    leases_.assume_all_granted(mono_now());
    rename_lock_.assume_granted(mono_now());
  }
}

namespace {
// What is known of an inode whose home is another shard.
wire::Attr remote_attr(const meta::Entry& entry) {
  wire::Attr attr;
  attr.inode = entry.inode.value;
  attr.mode = entry.type;
  return attr;
}
}  // namespace

rt::Task<void> Names::lookup(rpc::Request& request) {
  wire::LookupRequest body;
  BENCHFS_SERVE_TRY(EntryKey key, request, decode_entry(request, body));
  if (entry_locks_.is_locked(key)) {
    BENCHFS_SERVE_TRY_VOID(request, co_await entry_locks_.wait_unlocked(key, request.deadline()));
  }
  BENCHFS_SERVE_TRY(meta::Entry entry, request, store_.find(key.parent, key.name));
  if (S_ISDIR(entry.type)) {
    leases_.grant(key, request.client_uid(), mono_now());
  }
  if (!peers_.is_self(entry.inode.home())) {
    co_await request.reply(wire::EntryReply{remote_attr(entry), wire::kEntryRemote, 0});
    co_return;
  }
  BENCHFS_SERVE_TRY(
      wire::Attr attr, request, co_await inodes_.exact_attr(entry.inode, request.deadline()));
  co_await reply_entry(request, store_, attr, 0);
}

rt::Task<void> Names::open(rpc::Request& request) {
  wire::OpenRequest body;
  BENCHFS_SERVE_TRY(EntryKey key, request, decode_entry(request, body));
  std::uint32_t chunk_bytes = body.chunk_bytes == 0 ? config_.chunk_bytes : body.chunk_bytes;
  if (chunk_bytes < wire::kMinChunkBytes || chunk_bytes > config_.chunk_bytes ||
      (chunk_bytes & (chunk_bytes - 1)) != 0) {
    co_await request.reply_error(Error::from_errno(EINVAL));
    co_return;
  }
  for (;;) {
    if (entry_locks_.is_locked(key)) {
      BENCHFS_SERVE_TRY_VOID(request, co_await entry_locks_.wait_unlocked(key, request.deadline()));
    }
    Result<meta::Entry> entry = store_.find(key.parent, key.name);
    if (!entry && !entry.error().is_posix(ENOENT)) {
      co_await request.reply_error(entry.error());
      co_return;
    }
    if (!entry && (body.flags & wire::kOpenCreate) == 0) {
      co_await request.reply_error(entry.error());
      co_return;
    }
    if (entry) {
      if ((body.flags & wire::kOpenCreate) != 0 && (body.flags & wire::kOpenExclusive) != 0) {
        co_await request.reply_error(Error::from_errno(EEXIST));
        co_return;
      }
      if (!peers_.is_self(entry->inode.home())) {
        co_await request.reply(wire::EntryReply{remote_attr(*entry), wire::kEntryRemote, 0});
        co_return;
      }
      if (!S_ISREG(entry->type)) {
        BENCHFS_SERVE_TRY(wire::Attr attr, request, store_.attr(entry->inode));
        co_await reply_entry(request, store_, attr, 0);
        co_return;
      }
      BENCHFS_SERVE_TRY(wire::Attr attr,
                        request,
                        co_await inodes_.open(entry->inode,
                                              {request.client_uid(), body.open_number},
                                              body.flags,
                                              request.deadline()));
      co_await request.reply(wire::EntryReply{attr, 0, 0});
      co_return;
    }
    meta::NewInode inode{
        .mode = S_IFREG | (body.mode & kPermissionBits),
        .uid = body.uid,
        .gid = body.gid,
        .layout = cluster::make_layout(peers_.self, peers_.shard_count, chunk_bytes),
        .target = {}};
    Result<wire::Attr> made =
        inodes_.create_open(key, inode, {request.client_uid(), body.open_number}, body.flags);
    if (!made && made.error().code == Errc::kBusy && !request.deadline().passed()) {
      (void)co_await rt::sleep_for(kBusyPause);
      continue;
    }
    BENCHFS_SERVE_TRY(wire::Attr attr, request, std::move(made));
    co_await request.reply(wire::EntryReply{attr, wire::kEntryCreated, 0});
    co_return;
  }
}

rt::Task<void> Names::mkdir(rpc::Request& request) {
  wire::MkdirRequest body;
  BENCHFS_SERVE_TRY(EntryKey key, request, decode_entry(request, body));
  meta::NewInode inode{.mode = S_IFDIR | (body.mode & kPermissionBits),
                       .uid = body.uid,
                       .gid = body.gid,
                       .layout = {},
                       .target = {}};
  Result<wire::Attr> made = fail(Errc::kBusy, {});
  while (!made && made.error().code == Errc::kBusy && !request.deadline().passed()) {
    if (entry_locks_.is_locked(key)) {
      BENCHFS_SERVE_TRY_VOID(request, co_await entry_locks_.wait_unlocked(key, request.deadline()));
    }
    made = store_.create(key.parent, key.name, inode, wall_now_ns(), mono_now());
    if (!made && made.error().code == Errc::kBusy) {
      (void)co_await rt::sleep_for(kBusyPause);
    }
  }
  BENCHFS_SERVE_TRY(wire::Attr attr, request, std::move(made));
  store_.touch_entry_change(key.parent, attr.ctime_ns);
  leases_.grant(key, request.client_uid(), mono_now());
  co_await request.reply(wire::EntryReply{attr, wire::kEntryCreated, 0});
}

rt::Task<void> Names::symlink(rpc::Request& request) {
  wire::SymlinkRequest body;
  BENCHFS_SERVE_TRY(EntryKey key, request, decode_entry(request, body));
  if (body.target_bytes != request.data_bytes() || body.target_bytes > wire::kMaxPathBytes ||
      request.is_rendezvous()) {
    co_await request.reply_error(malformed());
    co_return;
  }
  std::string target(body.target_bytes, '\0');
  BENCHFS_SERVE_TRY_VOID(request,
                         co_await request.receive(std::as_writable_bytes(std::span(target))));
  if (target.empty() || target.find('\0') != std::string::npos) {
    co_await request.reply_error(Error::from_errno(target.empty() ? ENOENT : EINVAL));
    co_return;
  }
  meta::NewInode inode{
      .mode = S_IFLNK | 0777U, .uid = body.uid, .gid = body.gid, .layout = {}, .target = target};
  Result<wire::Attr> made = fail(Errc::kBusy, {});
  while (!made && made.error().code == Errc::kBusy && !request.deadline().passed()) {
    if (entry_locks_.is_locked(key)) {
      BENCHFS_SERVE_TRY_VOID(request, co_await entry_locks_.wait_unlocked(key, request.deadline()));
    }
    made = store_.create(key.parent, key.name, inode, wall_now_ns(), mono_now());
    if (!made && made.error().code == Errc::kBusy) {
      (void)co_await rt::sleep_for(kBusyPause);
    }
  }
  BENCHFS_SERVE_TRY(wire::Attr attr, request, std::move(made));
  store_.touch_entry_change(key.parent, attr.ctime_ns);
  co_await request.reply(wire::EntryReply{attr, wire::kEntryCreated, 0});
}

rt::Task<void> Names::unlink(rpc::Request& request) {
  wire::UnlinkRequest body;
  BENCHFS_SERVE_TRY(EntryKey key, request, decode_entry(request, body));
  if (entry_locks_.is_locked(key)) {
    BENCHFS_SERVE_TRY_VOID(request, co_await entry_locks_.wait_unlocked(key, request.deadline()));
  }
  BENCHFS_SERVE_TRY(meta::Entry entry, request, store_.find(key.parent, key.name));
  if (S_ISDIR(entry.type)) {
    co_await request.reply_error(Error::from_errno(EISDIR));
    co_return;
  }
  BENCHFS_SERVE_TRY_VOID(request, store_.remove_entry(key.parent, key.name));
  store_.touch_entry_change(key.parent, wall_now_ns());
  inodes_.drop(entry.inode);
  co_await request.reply(wire::NoReply{});
}

rt::Task<void> Names::readdir(rpc::Request& request) {
  wire::ReaddirRequest body;
  wire::Reader reader = request.reader();
  reader.read(body);
  std::string_view cursor = reader.read_text(body.cursor_bytes);
  if (!reader.ok() || body.max_bytes > wire::kMaxReaddirBytes ||
      cursor.size() > wire::kMaxNameBytes) {
    co_await request.reply_error(malformed());
    co_return;
  }
  std::vector<std::byte> entries;
  BENCHFS_SERVE_TRY(meta::MetaStore::Page page,
                    request,
                    store_.list(wire::InodeId{body.directory}, cursor, body.max_bytes, entries));
  co_await request.reply(wire::ReaddirReply{page.entry_count, page.at_end ? 1U : 0U}, entries);
}

rt::Task<void> Names::set_parent(rpc::Request& request) {
  BENCHFS_SERVE_TRY(auto body, request, decode<wire::SetParentRequest>(request));
  BENCHFS_SERVE_TRY_VOID(request,
                         store_.set_parent(wire::InodeId{body.inode}, wire::InodeId{body.parent}));
  co_await request.reply(wire::NoReply{});
}

}  // namespace benchfs::server
