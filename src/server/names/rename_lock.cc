#include "server/names/rename_lock.h"

#include <algorithm>
#include <cerrno>

#include "base/backoff.h"
#include "base/clock.h"
#include "base/random.h"
#include "server/decode.h"
#include "server/names/retry.h"

namespace benchfs::server {

// --- The owner's half ----------------------------------------------------------------------------

rt::CoResult<RenameLock::Lease> RenameLock::ask(std::uint64_t owner, Deadline deadline) {
  BootTime asked_at = boot_now();
  wire::LockRenamesRequest body;
  body.owner = owner;
  body.shard = peers_.self.value;
  body.lease_ms = static_cast<std::uint32_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(lease_).count());
  wire::LockRenamesReply reply;
  if (peers_.is_self(kGranter)) {
    BENCHFS_CO_TRY(reply.move, grant(owner, peers_.self, body.lease_ms));
  } else {
    BENCHFS_CO_TRY(reply, co_await peers_.call(kGranter, body, deadline));
  }
  co_return Lease{.owner = owner, .move = reply.move, .until = asked_at + lease_};
}

rt::CoResult<RenameLock::Lease> RenameLock::acquire(std::string& waits_for, Deadline deadline) {
  std::uint64_t owner = random_id();
  Backoff backoff(kFirstBusyPause, kLongestBusyPause);
  for (;;) {
    Result<Lease> locked = co_await ask(owner, deadline);
    if (locked) {
      co_return locked;
    }
    if (!locked.error().is_posix(EBUSY)) {
      release(owner);  // it may have been granted
      co_return std::unexpected(std::move(locked.error()));
    }
    waits_for = std::move(locked.error().context);
    if (deadline.passed()) {
      co_return fail(Errc::kDeadline, "waits for " + waits_for);
    }
    (void)co_await rt::sleep_until(deadline.earlier(Deadline::after(backoff.next())));
  }
}

rt::CoStatus RenameLock::extend(Lease& lease, Deadline deadline) {
  Nanos left = lease.until - boot_now();
  if (left >= lease_ / 3) {
    co_return Status{};
  }
  Result<Lease> extended = fail(Errc::kBusy, "it was not extended in time");
  if (left > Nanos::zero()) {
    extended = co_await ask(lease.owner, deadline.earlier(Deadline::after(left)));
  }
  // Another number: somebody else had the lease meanwhile.
  if (!extended || extended->move != lease.move) {
    co_return fail(Errc::kBusy,
                   "the lease on directory renames ended" +
                       (extended ? "" : ", " + std::move(extended.error().context)));
  }
  lease.until = extended->until;
  co_return Status{};
}

void RenameLock::release(std::uint64_t owner) {
  if (peers_.is_self(kGranter)) {
    take_back(owner);
    return;
  }
  wire::UnlockRenamesRequest body;
  body.owner = owner;
  owed_.call_later(kGranter, body, OwedCalls::Kind::kRename);
}

// --- Shard 0's half ------------------------------------------------------------------------------

Result<std::uint64_t> RenameLock::grant(std::uint64_t owner,
                                        wire::ShardId shard,
                                        std::uint32_t lease_ms) {
  MonoTime now = mono_now();
  if (owner_ != 0 && owner_ != owner && now < until_) {
    return fail_errno(EBUSY,
                      owner_ == kUnknownOwner
                          ? "directory renames that an earlier life of the server may have allowed"
                          : "a directory rename of " + peers_.pool->at(holder_).name());
  }
  if (owner_ != owner) {
    // By the clock, so that a later life of this shard goes on above.
    move_ = std::max(move_ + 1, static_cast<std::uint64_t>(wall_now_ns()));
  }
  owner_ = owner;
  holder_ = shard;
  until_ = now + std::chrono::milliseconds(lease_ms);
  return move_;
}

void RenameLock::take_back(std::uint64_t owner) {
  if (owner_ == owner) {
    owner_ = 0;
  }
}

rt::Task<void> RenameLock::lock_renames(rpc::Request& request) {
  BENCHFS_SERVE_TRY(auto body, request, decode<wire::LockRenamesRequest>(request));
  if (body.shard >= peers_.shard_count) {
    co_await request.reply_error(malformed());
    co_return;
  }
  BENCHFS_SERVE_TRY(
      std::uint64_t move, request, grant(body.owner, wire::ShardId{body.shard}, body.lease_ms));
  co_await request.reply(wire::LockRenamesReply{move});
}

rt::Task<void> RenameLock::unlock_renames(rpc::Request& request) {
  BENCHFS_SERVE_TRY(auto body, request, decode<wire::UnlockRenamesRequest>(request));
  take_back(body.owner);
  co_await request.reply(wire::NoReply{});
}

}  // namespace benchfs::server
