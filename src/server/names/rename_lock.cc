#include "server/names/rename_lock.h"

#include <algorithm>
#include <cerrno>

#include "base/random.h"

namespace benchfs::server {
namespace {

constexpr wire::ShardId kGranter{0};
constexpr std::uint32_t kLongestLeaseMs = 60'000;
constexpr Nanos kFirstPause = std::chrono::microseconds(200);
constexpr Nanos kLongestPause = std::chrono::milliseconds(20);

}  // namespace

Status RenameLock::grant(std::uint64_t owner, std::uint32_t lease_ms) {
  MonoTime now = mono_now();
  if (owner_ != 0 && owner_ != owner && now < until_) {
    return fail_errno(EBUSY);
  }
  owner_ = owner;
  until_ = now + std::chrono::milliseconds(std::min(lease_ms, kLongestLeaseMs));
  return {};
}

void RenameLock::take_back(std::uint64_t owner) {
  if (owner_ == owner) {
    owner_ = 0;
  }
}

rt::CoStatus RenameLock::ask(std::uint64_t owner, Deadline deadline) {
  wire::LockRenamesRequest body;
  body.owner = owner;
  body.lease_ms = static_cast<std::uint32_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(lease_).count());
  if (peers_.is_self(kGranter)) {
    co_return grant(owner, body.lease_ms);
  }
  Result<wire::NoReply> reply = co_await peers_.call(kGranter, body, deadline);
  co_return reply ? Status{} : std::unexpected(std::move(reply.error()));
}

rt::CoResult<RenameLock::Lease> RenameLock::acquire(Deadline deadline) {
  std::uint64_t owner = random_id();
  Nanos pause = kFirstPause;
  for (;;) {
    MonoTime asked_at = mono_now();
    Status locked = co_await ask(owner, deadline);
    if (locked) {
      co_return Lease{owner, asked_at + lease_};
    }
    if (!locked.error().is_posix(EBUSY)) {
      // It may have been granted.
      (void)peers_.scope->spawn(release(owner));
      co_return std::unexpected(std::move(locked.error()));
    }
    if (deadline.passed()) {
      co_return fail(Errc::kDeadline, "waiting for other directory renames");
    }
    (void)co_await rt::sleep_for(pause);
    pause = std::min(2 * pause, kLongestPause);
  }
}

rt::CoStatus RenameLock::extend(Lease& lease, Deadline deadline) {
  MonoTime asked_at = mono_now();
  if (asked_at + lease_ / 3 <= lease.until) {
    co_return Status{};
  }
  Status extended = fail(Errc::kBusy, {});
  if (asked_at < lease.until) {
    extended = co_await ask(lease.owner, deadline.earlier(Deadline::at(lease.until)));
  }
  // An answer after the end may be to a lease that began anew.
  if (!extended || mono_now() >= lease.until) {
    co_return fail(Errc::kBusy, "the lease on directory renames ended");
  }
  lease.until = asked_at + lease_;
  co_return Status{};
}

rt::Task<void> RenameLock::release(std::uint64_t owner) {
  if (peers_.is_self(kGranter)) {
    take_back(owner);
    co_return;
  }
  wire::UnlockRenamesRequest body;
  body.owner = owner;
  (void)co_await peers_.call(kGranter, body, Deadline::after(lease_));
}

}  // namespace benchfs::server
