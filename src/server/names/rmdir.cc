#include "server/names/rmdir.h"

#include <cerrno>

#include "base/clock.h"
#include "base/random.h"
#include "server/decode.h"
#include "server/names/retry.h"

namespace benchfs::server {

// --- Freezing ------------------------------------------------------------------------------------

Status DirectoryRemoval::freeze_here(const wire::FreezeDirectoryRequest& body,
                                     std::shared_ptr<const std::vector<wire::ShardId>> waits_for) {
  wire::InodeId directory{body.directory};
  if (auto linking = shared_.linking.find(directory); linking != shared_.linking.end()) {
    return shared_.peers.busy("a link is being made in the directory", linking->second);
  }
  Status frozen = shared_.store.freeze(directory, body.owner, MonoTime::max(), mono_now());
  if (!frozen) {
    return shared_.explain_busy(directory, std::move(frozen));
  }
  shared_.removers[directory] = std::move(waits_for);
  return {};
}

rt::Task<void> DirectoryRemoval::freeze_one(wire::ShardId shard,
                                            wire::FreezeDirectoryRequest body,
                                            Deadline deadline,
                                            Status* out,
                                            std::vector<wire::ShardId>* waits_for) {
  Result<wire::NoReply> reply = co_await shared_.peers.call(shard, body, deadline);
  if (reply || reply.error().code == Errc::kPosix) {
    std::erase(*waits_for, shard);
  }
  // A home that lost the directory in a restart makes no entries in it.
  bool is_lost =
      !reply && reply.error().is_posix(ESTALE) && shard == wire::InodeId{body.directory}.home();
  if (!reply && !is_lost) {
    *out = std::unexpected(std::move(reply.error()));
  }
}

rt::CoStatus DirectoryRemoval::freeze_everywhere(
    wire::InodeId directory,
    std::uint64_t owner,
    Deadline deadline,
    std::shared_ptr<std::vector<wire::ShardId>> waits_for) {
  wire::FreezeDirectoryRequest body;
  body.directory = directory.value;
  body.owner = owner;
  body.shard = shared_.peers.self.value;
  BENCHFS_CO_TRY_VOID(freeze_here(body, waits_for));  // first: others may not answer
  (void)co_await shared_.prepare_drop(directory, deadline);
  std::vector<Status> results(shared_.peers.shard_count);
  rt::Group group(*shared_.peers.scope);
  for (std::uint32_t shard = 0; shard < shared_.peers.shard_count; ++shard) {
    if (!shared_.peers.is_self(wire::ShardId{shard})) {
      waits_for->push_back(wire::ShardId{shard});
      group.add(freeze_one(wire::ShardId{shard}, body, deadline, &results[shard], waits_for.get()));
    }
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

void DirectoryRemoval::end_freeze(const wire::ThawDirectoryRequest& body) {
  wire::InodeId directory{body.directory};
  if (body.removed != 0) {
    shared_.store.apply(meta::RemoveDirectory{directory});
    shared_.marks.forget(directory);
  } else {
    shared_.store.thaw(directory, body.owner);
  }
  if (!shared_.store.is_frozen(directory, mono_now())) {
    shared_.removers.erase(directory);
  }
}

void DirectoryRemoval::thaw_everywhere(wire::InodeId directory, std::uint64_t owner, bool removed) {
  wire::ThawDirectoryRequest body;
  body.directory = directory.value;
  body.owner = owner;
  body.removed = removed ? 1 : 0;
  end_freeze(body);
  for (std::uint32_t shard = 0; shard < shared_.peers.shard_count; ++shard) {
    if (!shared_.peers.is_self(wire::ShardId{shard})) {
      shared_.owed.call_later(wire::ShardId{shard}, body, OwedCalls::Kind::kThaw);
    }
  }
}

rt::Task<void> DirectoryRemoval::freeze_directory(rpc::Request& request) {
  BENCHFS_SERVE_TRY(auto body, request, decode<wire::FreezeDirectoryRequest>(request));
  if (body.shard >= shared_.peers.shard_count) {
    co_await request.reply_error(malformed());
    co_return;
  }
  using Shards = std::vector<wire::ShardId>;
  BENCHFS_SERVE_TRY_VOID(request,
                         freeze_here(body, std::make_shared<Shards>(1, wire::ShardId{body.shard})));
  // Frozen, its attributes are leased to nobody.
  (void)co_await shared_.prepare_drop(wire::InodeId{body.directory}, request.deadline());
  co_await request.reply(wire::NoReply{});
}

rt::Task<void> DirectoryRemoval::thaw_directory(rpc::Request& request) {
  BENCHFS_SERVE_TRY(auto body, request, decode<wire::ThawDirectoryRequest>(request));
  end_freeze(body);
  co_await request.reply(wire::NoReply{});
}

// --- Removing ------------------------------------------------------------------------------------

rt::Task<void> DirectoryRemoval::rmdir(rpc::Request& request) {
  wire::RmdirRequest body;
  BENCHFS_SERVE_TRY(EntryRef named, request, decode_entry(request, body));
  EntryKey key = named.key();
  Deadline deadline = request.deadline();
  BENCHFS_SERVE_TRY_VOID(
      request,
      co_await retry_while_busy([&] { return try_rmdir(key, request.client_uid(), deadline); },
                                deadline));
  co_await request.reply(wire::NoReply{});
}

rt::CoStatus DirectoryRemoval::try_rmdir(const EntryKey& key,
                                         std::uint64_t client_uid,
                                         Deadline deadline) {
  // Before the lock, for which look-ups of clients wait that have to forget the name.
  BENCHFS_CO_TRY_VOID(co_await shared_.locks.wait_unlocked(key, deadline));
  BENCHFS_CO_TRY_VOID(shared_.find(key));
  BENCHFS_CO_TRY_VOID(co_await shared_.prepare(key, client_uid, deadline));
  BENCHFS_CO_TRY(EntryLocks::Guard guard, co_await shared_.locks.lock(key, deadline));
  BENCHFS_CO_TRY(meta::Entry entry, shared_.find(key));
  if (!S_ISDIR(entry.type)) {
    co_return fail_errno(ENOTDIR);
  }
  BENCHFS_CO_TRY(Dropped dropped, co_await remove(key, entry, {}, client_uid, deadline));
  guard.release();
  co_await shared_.inodes.wait_dropped(dropped, deadline);
  co_return Status{};
}

rt::CoResult<Dropped> DirectoryRemoval::remove(EntryKey key,
                                               meta::Entry entry,
                                               std::optional<meta::Entry> with,
                                               std::uint64_t client_uid,
                                               Deadline deadline) {
  if (shared_.owed.is_full()) {
    co_return shared_.owes_too_much();
  }
  std::uint64_t owner = random_id();
  std::uint64_t lives = new_lives_;
  std::shared_ptr<std::vector<wire::ShardId>> waits_for = shared_.locks.waits_for(key);
  Status done = co_await freeze_everywhere(entry.inode, owner, deadline, waits_for);
  if (done) {
    waits_for->push_back(key.parent.home());
    done = co_await shared_.prepare(key, client_uid, deadline);
    waits_for->clear();
  }
  if (done && lives != new_lives_) {
    done = fail(Errc::kBusy, "a server that may have frozen the directory started again");
  }
  if (done && deadline.passed()) {
    done = fail(Errc::kDeadline, "freezing the directory");
  }
  if (done && with) {
    done = shared_.change(meta::PutEntry{key.parent, key.name, *with, wall_now_ns(), mono_now()},
                          client_uid);
  } else if (done) {
    (void)shared_.change(meta::RemoveEntry{key.parent, key.name, wall_now_ns()}, client_uid);
  }
  thaw_everywhere(entry.inode, owner, done.has_value());
  BENCHFS_CO_TRY_VOID(std::move(done));
  co_return shared_.inodes.drop(entry.inode);
}

}  // namespace benchfs::server
