#include "server/names/rename_lock.h"

#include <algorithm>
#include <cerrno>

#include "base/backoff.h"
#include "base/clock.h"
#include "base/random.h"
#include "server/decode.h"
#include "server/names/retry.h"

namespace benchfs::server {
namespace {

constexpr wire::ShardId kGranter{0};

}  // namespace

// --- The owner's half ----------------------------------------------------------------------------

rt::CoResult<std::uint64_t> RenameLock::ask(std::uint64_t owner, Deadline deadline) {
  wire::LockRenamesRequest body;
  body.owner = owner;
  body.lease_ms = static_cast<std::uint32_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(lease_).count());
  if (peers_.is_self(kGranter)) {
    co_return grant(owner, body.lease_ms);
  }
  BENCHFS_CO_TRY(wire::LockRenamesReply reply, co_await peers_.call(kGranter, body, deadline));
  co_return reply.move;
}

rt::CoResult<RenameLock::Lease> RenameLock::acquire(Deadline deadline) {
  std::uint64_t owner = random_id();
  Backoff backoff(kFirstPause, kLongestPause);
  for (;;) {
    BootTime asked_at = boot_now();
    Result<std::uint64_t> locked = co_await ask(owner, deadline);
    if (locked) {
      co_return Lease{.owner = owner, .move = *locked, .until = asked_at + lease_};
    }
    if (!locked.error().is_posix(EBUSY)) {
      release(owner);  // it may have been granted
      co_return std::unexpected(std::move(locked.error()));
    }
    if (deadline.passed()) {
      co_return fail(Errc::kDeadline, "waiting for other directory renames");
    }
    (void)co_await rt::sleep_for(backoff.next());
  }
}

rt::CoStatus RenameLock::extend(Lease& lease, Deadline deadline) {
  BootTime asked_at = boot_now();
  if (asked_at + lease_ / 3 <= lease.until) {
    co_return Status{};
  }
  Result<std::uint64_t> extended = fail(Errc::kBusy, {});
  if (asked_at < lease.until) {
    extended = co_await ask(lease.owner, deadline.earlier(Deadline::after(lease.until - asked_at)));
  }
  // An answer after the end may belong to a lease that began anew.
  if (!extended || boot_now() >= lease.until) {
    co_return fail(Errc::kBusy, "the lease on directory renames ended");
  }
  lease.until = asked_at + lease_;
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

Result<std::uint64_t> RenameLock::grant(std::uint64_t owner, std::uint32_t lease_ms) {
  MonoTime now = mono_now();
  if (owner_ != 0 && owner_ != owner && now < until_) {
    return fail_errno(EBUSY);
  }
  if (owner_ != owner) {
    // By the clock, so that a later life of this shard goes on above.
    move_ = std::max(move_ + 1, static_cast<std::uint64_t>(wall_now_ns()));
  }
  owner_ = owner;
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
  BENCHFS_SERVE_TRY(std::uint64_t move, request, grant(body.owner, body.lease_ms));
  co_await request.reply(wire::LockRenamesReply{move});
}

rt::Task<void> RenameLock::unlock_renames(rpc::Request& request) {
  BENCHFS_SERVE_TRY(auto body, request, decode<wire::UnlockRenamesRequest>(request));
  take_back(body.owner);
  co_await request.reply(wire::NoReply{});
}

}  // namespace benchfs::server
