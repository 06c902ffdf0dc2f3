// Rename and rmdir: the operations that change entries on more than one shard.
//
// rename: the shard of the old name coordinates. It locks the old entry, asks the shard of the new
// name to install the entry there (that is the moment the rename happens), removes the old entry,
// and unlocks; lookups of the old name wait meanwhile, so nobody sees both names or neither.
// Directory renames are serialised by a lease on shard 0, so that no two of them can build a loop.
//
// rmdir: every shard first freezes the directory, which fails where it has entries; then the entry
// goes, and every shard remembers that the directory is gone. A coordinator that dies leaves
// freezes that end by themselves.

#include <algorithm>

#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "cluster/placement.h"
#include "server/decode.h"
#include "server/meta_service.h"

namespace benchfs::server {
namespace {

constexpr Nanos kFreezeLease = std::chrono::seconds(10);
constexpr std::uint32_t kRenameLeaseMs = 30'000;
constexpr std::uint32_t kLongestLeaseMs = 60'000;
constexpr Nanos kFirstPause = std::chrono::microseconds(200);
constexpr Nanos kLongestPause = std::chrono::milliseconds(20);
// Deeper than any path: the walk to the root must end.
constexpr int kMaxDepth = 4096;
// How long a thaw is repeated while a shard does not answer.
constexpr Nanos kThawPatience = std::chrono::seconds(60);

}  // namespace

// --- Freezing ------------------------------------------------------------------------------------

Status MetaService::freeze_local(const wire::FreezeDirectoryRequest& body) {
  MonoTime now = mono_now();
  auto lease = std::chrono::milliseconds(std::min(body.lease_ms, kLongestLeaseMs));
  return store_.freeze(wire::InodeId{body.directory}, body.owner, now + lease, now);
}

rt::Task<void> MetaService::freeze_one(wire::ShardId shard,
                                       wire::FreezeDirectoryRequest body,
                                       Deadline deadline,
                                       Status* out) {
  if (peers_.is_self(shard)) {
    *out = freeze_local(body);
    co_return;
  }
  Result<wire::NoReply> reply = co_await peers_.call(shard, body, deadline);
  if (!reply) {
    *out = std::unexpected(std::move(reply.error()));
  }
}

rt::CoStatus MetaService::freeze_everywhere(wire::InodeId directory,
                                            std::uint64_t owner,
                                            Deadline deadline) {
  wire::FreezeDirectoryRequest body;
  body.directory = directory.value;
  body.owner = owner;
  body.lease_ms = std::chrono::duration_cast<std::chrono::milliseconds>(kFreezeLease).count();
  std::vector<Status> results(peers_.shard_count);
  rt::Group group(*peers_.scope);
  for (std::uint32_t shard = 0; shard < peers_.shard_count; ++shard) {
    group.add(freeze_one(wire::ShardId{shard}, body, deadline, &results[shard]));
  }
  bool all = co_await group.wait();
  for (Status& result : results) {
    if (!result) {
      co_return std::move(result);
    }
  }
  if (!all) {
    co_return fail(Errc::kNotReady, "the server is stopping");
  }
  co_return Status{};
}

rt::Task<void> MetaService::thaw_one(wire::ShardId shard, wire::ThawDirectoryRequest body) {
  if (peers_.is_self(shard)) {
    store_.thaw(wire::InodeId{body.directory}, body.owner, body.removed != 0);
    co_return;
  }
  Result<wire::NoReply> reply = co_await peers_.call(shard, body, Deadline::after(kThawPatience));
  if (!reply) {
    BENCHFS_LOG(kWarn,
                "shard {} was not told that directory {:x} is {}: {}",
                shard.value,
                body.directory,
                body.removed != 0 ? "gone" : "in use",
                reply.error().message());
  }
}

rt::Task<void> MetaService::thaw_everywhere(wire::InodeId directory,
                                            std::uint64_t owner,
                                            bool removed) {
  wire::ThawDirectoryRequest body;
  body.directory = directory.value;
  body.owner = owner;
  body.removed = removed ? 1 : 0;
  rt::Group group(*peers_.scope);
  for (std::uint32_t shard = 0; shard < peers_.shard_count; ++shard) {
    group.add(thaw_one(wire::ShardId{shard}, body));
  }
  (void)co_await group.wait();
}

rt::Task<void> MetaService::freeze_directory(rpc::Request& request) {
  BENCHFS_SERVE_TRY(auto body, request, decode<wire::FreezeDirectoryRequest>(request));
  BENCHFS_SERVE_TRY_VOID(request, freeze_local(body));
  co_await request.reply(wire::NoReply{});
}

rt::Task<void> MetaService::thaw_directory(rpc::Request& request) {
  BENCHFS_SERVE_TRY(auto body, request, decode<wire::ThawDirectoryRequest>(request));
  store_.thaw(wire::InodeId{body.directory}, body.owner, body.removed != 0);
  co_await request.reply(wire::NoReply{});
}

// --- rmdir ---------------------------------------------------------------------------------------

rt::Task<void> MetaService::rmdir(rpc::Request& request) {
  wire::RmdirRequest body;
  BENCHFS_SERVE_TRY(EntryKey key, request, decode_entry(request, body));
  Nanos pause = kFirstPause;
  for (;;) {
    BENCHFS_SERVE_TRY(
        EntryLocks::Guard guard, request, co_await entry_locks_.lock(key, request.deadline()));
    BENCHFS_SERVE_TRY(meta::Entry entry, request, store_.find(key.parent, key.name));
    if (!S_ISDIR(entry.type)) {
      co_await request.reply_error(Error::from_errno(ENOTDIR));
      co_return;
    }
    Status removed = co_await remove_directory(key, entry, request.deadline());
    if (!removed && removed.error().code == Errc::kBusy && !request.deadline().passed()) {
      guard.release();
      (void)co_await rt::sleep_for(pause);
      pause = std::min(2 * pause, kLongestPause);
      continue;
    }
    guard.release();
    BENCHFS_SERVE_TRY_VOID(request, std::move(removed));
    co_await request.reply(wire::NoReply{});
    co_return;
  }
}

// The entry is locked.
rt::CoStatus MetaService::remove_directory(EntryKey key, meta::Entry entry, Deadline deadline) {
  std::uint64_t owner = random_id();
  MonoTime asked_at = mono_now();
  Status frozen = co_await freeze_everywhere(entry.inode, owner, deadline);
  if (frozen && mono_now() - asked_at > kFreezeLease / 2) {
    frozen = fail(Errc::kBusy, "freezing took so long that it may have ended somewhere");
  }
  if (!frozen) {
    co_await thaw_everywhere(entry.inode, owner, false);
    co_return frozen;
  }
  (void)store_.remove_entry(key.parent, key.name);
  store_.touch_entry_change(key.parent, wall_now_ns());
  co_await thaw_everywhere(entry.inode, owner, true);
  co_return co_await drop_inode(entry.inode, deadline);
}

// --- rename --------------------------------------------------------------------------------------

rt::Task<void> MetaService::rename(rpc::Request& request) {
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

rt::CoStatus MetaService::try_rename(EntryKey from,
                                     EntryKey to,
                                     std::uint32_t flags,
                                     Deadline deadline) {
  Result<meta::Entry> seen = store_.find(from.parent, from.name);
  if (seen && S_ISDIR(seen->type)) {
    std::uint64_t owner = random_id();
    BENCHFS_CO_TRY_VOID(co_await acquire_rename_lock(owner, deadline));
    Status done = co_await rename_directory_checked(from, to, *seen, flags, deadline);
    co_await release_rename_lock(owner);
    co_return done;
  }
  BENCHFS_CO_TRY(EntryLocks::Guard guard, co_await entry_locks_.lock(from, deadline));
  BENCHFS_CO_TRY(meta::Entry entry, store_.find(from.parent, from.name));
  if (S_ISDIR(entry.type)) {
    co_return fail(Errc::kBusy, "the entry changed");  // start again, with the rename lock
  }
  co_return co_await move_entry(from, to, entry, flags, deadline);
}

// Holds the rename lock; no directory moves meanwhile.
rt::CoStatus MetaService::rename_directory_checked(
    EntryKey from, EntryKey to, meta::Entry expected, std::uint32_t flags, Deadline deadline) {
  BENCHFS_CO_TRY(EntryLocks::Guard guard, co_await entry_locks_.lock(from, deadline));
  BENCHFS_CO_TRY(meta::Entry entry, store_.find(from.parent, from.name));
  if (entry.inode != expected.inode) {
    co_return fail(Errc::kBusy, "the entry changed");
  }
  BENCHFS_CO_TRY_VOID(co_await check_no_loop(entry.inode, to.parent, deadline));
  BENCHFS_CO_TRY_VOID(co_await move_entry(from, to, entry, flags, deadline));
  if (from.parent != to.parent) {
    wire::SetParentRequest body;
    body.inode = entry.inode.value;
    body.parent = to.parent.value;
    if (peers_.is_self(entry.inode.home())) {
      (void)store_.set_parent(entry.inode, to.parent);
    } else {
      BENCHFS_CO_TRY_VOID(co_await peers_.call(entry.inode.home(), body, deadline));
    }
  }
  co_await leases_.revoke(from);
  co_return Status{};
}

// The old entry is locked.
rt::CoStatus MetaService::move_entry(
    EntryKey from, EntryKey to, meta::Entry entry, std::uint32_t flags, Deadline deadline) {
  if (from == to) {
    co_return Status{};
  }
  wire::ShardId shard = cluster::entry_shard(to.parent, to.name, peers_.shard_count);
  BENCHFS_CO_TRY_VOID(co_await install_at(shard, to, entry, flags, deadline));
  (void)store_.remove_entry(from.parent, from.name);
  store_.touch_entry_change(from.parent, wall_now_ns());
  co_return Status{};
}

rt::CoResult<wire::InodeId> MetaService::parent_of(wire::InodeId directory, Deadline deadline) {
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
rt::CoStatus MetaService::check_no_loop(wire::InodeId moved,
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

rt::CoStatus MetaService::install_at(
    wire::ShardId shard, EntryKey key, meta::Entry entry, std::uint32_t flags, Deadline deadline) {
  if (peers_.is_self(shard)) {
    co_return co_await install(key, entry, flags, deadline);
  }
  wire::InstallEntryRequest body;
  body.parent = key.parent.value;
  body.inode = entry.inode.value;
  body.type = entry.type;
  body.flags = flags;
  body.name_bytes = static_cast<std::uint16_t>(key.name.size());
  Result<wire::NoReply> reply = co_await peers_.call(shard, body, deadline, key.name);
  if (!reply && reply.error().is_posix(EBUSY)) {
    co_return fail(Errc::kBusy, "the new name is being changed");
  }
  if (!reply) {
    co_return std::unexpected(std::move(reply.error()));
  }
  co_return Status{};
}

rt::Task<void> MetaService::install_entry(rpc::Request& request) {
  wire::InstallEntryRequest body;
  BENCHFS_SERVE_TRY(EntryKey key, request, decode_entry(request, body));
  meta::Entry entry{wire::InodeId{body.inode}, body.type};
  Status done = co_await install(key, entry, body.flags, request.deadline());
  if (!done && done.error().code == Errc::kBusy) {
    // As an errno: the RPC layer would repeat the call while the caller holds its lock.
    co_await request.reply_error(Error::from_errno(EBUSY));
    co_return;
  }
  BENCHFS_SERVE_TRY_VOID(request, std::move(done));
  co_await request.reply(wire::NoReply{});
}

// The new name's half, on its shard: replaces what POSIX allows to be replaced.
rt::CoStatus MetaService::install(EntryKey key,
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
      BENCHFS_CO_TRY_VOID(co_await remove_directory(key, *old, deadline));
      old = fail_errno(ENOENT);
    }
  }
  BENCHFS_CO_TRY_VOID(store_.put_entry(key.parent, key.name, entry, mono_now()));
  store_.touch_entry_change(key.parent, wall_now_ns());
  if (old) {
    co_await run_later(drop_replaced(old->inode));
  }
  co_return Status{};
}

// --- The lease on directory renames (shard 0) ----------------------------------------------------

Status MetaService::try_lock_renames(std::uint64_t owner, std::uint32_t lease_ms) {
  MonoTime now = mono_now();
  if (rename_owner_ != 0 && rename_owner_ != owner && now < rename_lease_) {
    return fail_errno(EBUSY);
  }
  rename_owner_ = owner;
  rename_lease_ = now + std::chrono::milliseconds(std::min(lease_ms, kLongestLeaseMs));
  return {};
}

rt::Task<void> MetaService::lock_renames(rpc::Request& request) {
  BENCHFS_SERVE_TRY(auto body, request, decode<wire::LockRenamesRequest>(request));
  BENCHFS_SERVE_TRY_VOID(request, try_lock_renames(body.owner, body.lease_ms));
  co_await request.reply(wire::NoReply{});
}

rt::Task<void> MetaService::unlock_renames(rpc::Request& request) {
  BENCHFS_SERVE_TRY(auto body, request, decode<wire::UnlockRenamesRequest>(request));
  if (rename_owner_ == body.owner) {
    rename_owner_ = 0;
  }
  co_await request.reply(wire::NoReply{});
}

rt::CoStatus MetaService::acquire_rename_lock(std::uint64_t owner, Deadline deadline) {
  wire::LockRenamesRequest body;
  body.owner = owner;
  body.lease_ms = kRenameLeaseMs;
  Nanos pause = kFirstPause;
  for (;;) {
    Status locked = Status{};
    if (peers_.is_self(wire::ShardId{0})) {
      locked = try_lock_renames(owner, kRenameLeaseMs);
    } else {
      Result<wire::NoReply> reply = co_await peers_.call(wire::ShardId{0}, body, deadline);
      if (!reply) {
        locked = std::unexpected(std::move(reply.error()));
      }
    }
    if (locked || !locked.error().is_posix(EBUSY)) {
      co_return locked;
    }
    if (deadline.passed()) {
      co_return fail(Errc::kDeadline, "waiting for other directory renames");
    }
    (void)co_await rt::sleep_for(pause);
    pause = std::min(2 * pause, kLongestPause);
  }
}

rt::Task<void> MetaService::release_rename_lock(std::uint64_t owner) {
  if (peers_.is_self(wire::ShardId{0})) {
    if (rename_owner_ == owner) {
      rename_owner_ = 0;
    }
    co_return;
  }
  wire::UnlockRenamesRequest body;
  body.owner = owner;
  (void)co_await peers_.call(
      wire::ShardId{0}, body, Deadline::after(std::chrono::milliseconds(kRenameLeaseMs)));
}

}  // namespace benchfs::server
