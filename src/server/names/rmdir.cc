// Rmdir: every shard first freezes the directory, which fails where it has entries; then the entry
// goes, and every shard remembers that the directory is gone. A coordinator that dies leaves
// freezes that end by themselves.

#include <algorithm>

#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "server/decode.h"
#include "server/names/names.h"

namespace benchfs::server {
namespace {

constexpr Nanos kFreezeLease = std::chrono::seconds(10);
constexpr std::uint32_t kLongestLeaseMs = 60'000;
constexpr Nanos kFirstPause = std::chrono::microseconds(200);
constexpr Nanos kLongestPause = std::chrono::milliseconds(20);
// How long a thaw is repeated while a shard does not answer.
constexpr Nanos kThawPatience = std::chrono::seconds(60);

}  // namespace

// --- Freezing ------------------------------------------------------------------------------------

Status Names::freeze_local(const wire::FreezeDirectoryRequest& body) {
  MonoTime now = mono_now();
  auto lease = std::chrono::milliseconds(std::min(body.lease_ms, kLongestLeaseMs));
  return store_.freeze(wire::InodeId{body.directory}, body.owner, now + lease, now);
}

rt::Task<void> Names::freeze_one(wire::ShardId shard,
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

rt::CoStatus Names::freeze_everywhere(wire::InodeId directory,
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

rt::Task<void> Names::thaw_one(wire::ShardId shard, wire::ThawDirectoryRequest body) {
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

rt::Task<void> Names::thaw_everywhere(wire::InodeId directory, std::uint64_t owner, bool removed) {
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

rt::Task<void> Names::freeze_directory(rpc::Request& request) {
  BENCHFS_SERVE_TRY(auto body, request, decode<wire::FreezeDirectoryRequest>(request));
  BENCHFS_SERVE_TRY_VOID(request, freeze_local(body));
  co_await request.reply(wire::NoReply{});
}

rt::Task<void> Names::thaw_directory(rpc::Request& request) {
  BENCHFS_SERVE_TRY(auto body, request, decode<wire::ThawDirectoryRequest>(request));
  store_.thaw(wire::InodeId{body.directory}, body.owner, body.removed != 0);
  co_await request.reply(wire::NoReply{});
}

// --- rmdir ---------------------------------------------------------------------------------------

rt::Task<void> Names::rmdir(rpc::Request& request) {
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
    Status removed = co_await remove_directory(key, entry, {}, request.deadline());
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

// The entry, which is locked, leads to `with` afterwards, if to anything. Nothing has changed after
// an error but, when nothing takes its place, one of freeing the inode.
rt::CoStatus Names::remove_directory(EntryKey key,
                                     meta::Entry entry,
                                     std::optional<meta::Entry> with,
                                     Deadline deadline) {
  std::uint64_t owner = random_id();
  MonoTime asked_at = mono_now();
  Status done = co_await freeze_everywhere(entry.inode, owner, deadline);
  if (done && mono_now() - asked_at > kFreezeLease / 2) {
    done = fail(Errc::kBusy, "freezing took so long that it may have ended somewhere");
  }
  if (done && deadline.passed()) {
    done = fail(Errc::kDeadline, "freezing the directory");
  }
  if (done && with) {
    done = store_.put_entry(key.parent, key.name, *with, mono_now());
  } else if (done) {
    (void)store_.remove_entry(key.parent, key.name);
  }
  if (!done) {
    co_await thaw_everywhere(entry.inode, owner, false);
    co_return done;
  }
  store_.touch_entry_change(key.parent, wall_now_ns());
  co_await thaw_everywhere(entry.inode, owner, true);
  inodes_.drop(entry.inode);
  co_return Status{};
}

}  // namespace benchfs::server
