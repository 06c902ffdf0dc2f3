#include "client/io/file_locks.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/backoff.h"
#include "client/inodes/lost_file.h"
#include "rpc/call.h"

namespace benchfs::client {
namespace {

// Slots of the windows that may be taken by requests that wait; further ones ask again and again.
constexpr std::uint32_t kMaxWaiting = 8;

// A fraction of the servers' grace for clients that are away (30 s by default).
constexpr Nanos kComeBackEvery = std::chrono::seconds(3);

// The home said what became of the locks, or they ended with the file.
bool is_answered(const Result<wire::LockReply>& reply) {
  return reply || reply.error().code == Errc::kPosix;
}

bool is_done(const wire::LockReply& reply) {
  return reply.mode == static_cast<std::uint32_t>(wire::LockMode::kNone);
}

}  // namespace

rt::CoResult<wire::LockReply> FileLocks::ask(wire::InodeId inode,
                                             LockOwner owner,
                                             const Wanted& wanted,
                                             std::uint32_t flags,
                                             Deadline by,
                                             std::uint64_t former_uid) {
  wire::ShardId home = inode.home();
  wire::LockRequest request;
  request.inode = inode.value;
  request.owner = owner.number;
  request.begin = wanted.begin;
  request.end = wanted.end;
  request.mode = static_cast<std::uint32_t>(wanted.mode);
  request.flags = flags | (owner.is_whole_file ? wire::kLockWholeFile : 0) |
                  (owner.opener_uid != 0 ? wire::kLockShared : 0);
  request.pid = wanted.pid;
  request.opener_uid = owner.opener_uid;
  request.former_uid = former_uid;
  Result<rpc::Reply> reply = co_await backend_.pool.call(home, rpc::make_call(request), by);
  Result<wire::LockReply> answer =
      reply ? reply->as<wire::LockReply>() : std::unexpected(std::move(reply.error()));
  if (!answer) {
    Error error = name_node(std::move(answer.error()), backend_, home, "lock");
    if (is_gone(error)) {
      error = co_await open_files_.explain_gone(inode, std::move(error), by);
    }
    co_return std::unexpected(std::move(error));
  }
  co_return *answer;
}

rt::CoResult<wire::LockReply> FileLocks::test(wire::InodeId inode, LockOwner owner, Wanted wanted) {
  co_return co_await ask(inode, owner, wanted, wire::kLockTest, backend_.metadata_deadline());
}

rt::CoResult<wire::LockReply> FileLocks::lock(wire::InodeId inode,
                                              LockOwner owner,
                                              Wanted wanted,
                                              bool waits) {
  Deadline by = backend_.metadata_deadline();
  Key key{inode, owner};
  if (wanted.mode == wire::LockMode::kNone && owner.opener_uid == 0 && !held_.contains(key)) {
    co_return wire::LockReply{};
  }
  if (wanted.mode != wire::LockMode::kNone) {
    // When the connection is lost, locks are kept for a while only.
    Status kept = backend_.keep_driven();
    if (!kept) {
      co_return fail_errno(ENOLCK, kept.error().message());
    }
  }
  BENCHFS_CO_TRY_VOID(co_await prepare(key, by));
  waits = waits && wanted.mode != wire::LockMode::kNone;
  bool waits_there = waits && waiting_ < kMaxWaiting;
  waiting_ += waits_there ? 1 : 0;
  Result<wire::LockReply> reply =
      co_await ask(inode, owner, wanted, waits_there ? wire::kLockWait : 0, by);
  waiting_ -= waits_there ? 1 : 0;
  auto held = held_.find(key);
  --held->second.under_way;
  if (wanted.mode != wire::LockMode::kNone) {
    // After an error it may have been locked.
    held->second.may_have |= !reply || is_done(*reply);
  } else if (reply && wanted.begin == 0 && wanted.end == wire::kLockToEnd) {
    held->second.may_have = false;
  }
  drop_if_unused(held);
  if (reply && !is_done(*reply) && waits && !waits_there) {
    (void)co_await rt::sleep_for(std::chrono::milliseconds(20), &backend_.scope.cancel_source());
  }
  co_return reply;
}

// A number that is used again must not lose what it locks now.
rt::CoStatus FileLocks::prepare(const Key& key, Deadline by) {
  while (held_.contains(key) && held_[key].is_releasing) {
    rt::Wake wake = co_await released_.wait(by, &backend_.scope.cancel_source());
    BENCHFS_CO_TRY_VOID(rt::wake_status(wake, "waiting until earlier locks have ended"));
  }
  ++held_[key].under_way;
  co_return Status{};
}

rt::CoStatus FileLocks::join(wire::InodeId inode, LockOwner owner, std::uint64_t former_uid) {
  Deadline by = backend_.metadata_deadline();
  Key key{inode, owner};
  (void)backend_.keep_driven();  // else the locks may end before the others leave
  BENCHFS_CO_TRY_VOID(co_await prepare(key, by));
  Result<wire::LockReply> joined = co_await ask(inode, owner, {}, wire::kLockJoin, by, former_uid);
  auto held = held_.find(key);
  --held->second.under_way;
  held->second.may_have |= joined || !is_answered(joined);
  drop_if_unused(held);
  BENCHFS_CO_TRY_VOID(joined);
  co_return Status{};
}

rt::CoResult<wire::LockReply> FileLocks::ask_to_release(const Key& key) {
  std::uint32_t flags = key.owner.opener_uid != 0 ? wire::kLockLeave : 0;
  co_return co_await ask(key.inode, key.owner, {}, flags, backend_.metadata_deadline());
}

rt::Task<void> FileLocks::release(wire::InodeId inode, LockOwner owner) {
  Key key{inode, owner};
  if (owner.opener_uid != 0) {
    held_.try_emplace(key);  // another client may have made this one a sharer
  }
  auto held = held_.find(key);
  if (held == held_.end() || std::exchange(held->second.is_releasing, true)) {
    co_return;
  }
  // What a request that is under way locks from now on is the owner's again.
  held->second.may_have = false;
  Result<wire::LockReply> done = co_await ask_to_release(key);
  if (is_answered(done) || !backend_.spawn(release_until_done(key))) {
    released(key);
  }
}

rt::Task<void> FileLocks::release_until_done(Key key) {
  Backoff backoff(std::chrono::milliseconds(100), std::chrono::seconds(1));
  for (;;) {
    rt::Wake wake = co_await rt::sleep_for(backoff.next(), &backend_.scope.cancel_source());
    if (wake == rt::Wake::kCancelled || is_answered(co_await ask_to_release(key))) {
      break;
    }
  }
  released(key);
}

void FileLocks::released(const Key& key) {
  auto held = held_.find(key);
  held->second.is_releasing = false;
  drop_if_unused(held);
  released_.wake_all();
}

void FileLocks::drop_if_unused(std::unordered_map<Key, Held, Hash>::iterator held) {
  const Held& what = held->second;
  if (what.under_way == 0 && !what.is_releasing && !what.may_have) {
    held_.erase(held);
  }
}

void FileLocks::on_connection_lost(wire::ShardId shard) {
  if (may_hold_any(shard)) {
    (void)backend_.spawn(come_back(shard));
  }
}

bool FileLocks::may_hold_any(wire::ShardId shard) const {
  return std::ranges::any_of(held_, [&](const auto& entry) {
    return entry.first.inode.home() == shard && entry.second.may_have;
  });
}

bool FileLocks::has_left_behind(wire::ShardId shard) const {
  return may_hold_any(shard) && backend_.pool.at(shard).state() != rpc::Connection::State::kReady;
}

// Not at once: another client got the place.
rt::Task<void> FileLocks::come_back(wire::ShardId shard) {
  while (co_await rt::sleep_for(kComeBackEvery, &backend_.scope.cancel_source()) !=
             rt::Wake::kCancelled &&
         may_hold_any(shard) &&
         !co_await backend_.pool.connect(shard, backend_.administration_deadline())) {
  }
}

std::vector<wire::InodeId> FileLocks::on_forgotten(wire::ShardId shard) {
  std::vector<wire::InodeId> files;
  for (auto it = held_.begin(); it != held_.end();) {
    auto next = std::next(it);
    if (it->first.inode.home() == shard && it->second.may_have && !it->second.is_releasing) {
      files.push_back(it->first.inode);
      it->second.may_have = false;
      drop_if_unused(it);
    }
    it = next;
  }
  return files;
}

}  // namespace benchfs::client
