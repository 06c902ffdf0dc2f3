#include "server/leases/directory_leases.h"

#include <algorithm>

namespace benchfs::server {
namespace {

constexpr std::size_t kBuckets = 1024;

}  // namespace

DirectoryLeases::DirectoryLeases(Config config)
    : RevocableLeases(Shown::kAll, config.max_leases), config_(config), unknown_until_(kBuckets) {}

MonoTime& DirectoryLeases::unknown_until(const EntryKey& key) {
  return unknown_until_[EntryKeyHash()(key) % kBuckets];
}

void DirectoryLeases::assume_all_granted(MonoTime now) {
  std::ranges::fill(unknown_until_, now + config_.lease);
}

void DirectoryLeases::grant(const EntryKey& key, std::uint64_t client_uid, MonoTime now) {
  if (sees_what_is_shown(client_uid)) {
    return;
  }
  if (table_.is_full()) {
    table_.expire(now);
  }
  MonoTime until = now + config_.lease;
  if (!table_.grant(key, client_uid, LeaseKind::kDirectory, until)) {
    unknown_until(key) = std::max(unknown_until(key), until);
  }
}

// --- Revoking ------------------------------------------------------------------------------------

rt::Task<void> DirectoryLeases::revoke(EntryKey key) {
  Deadline unknown = Deadline::at(unknown_until(key));
  show(key);
  for (;;) {
    table_.expire(mono_now());
    tell_holders(key);
    if (!table_.has(key)) {
      break;
    }
    Deadline first_end = Deadline::at(table_.first_end(key));
    if (co_await table_.wait(key, first_end, stopping_) == rt::Wake::kCancelled) {
      co_return;
    }
  }
  if (!unknown.passed()) {
    (void)co_await rt::sleep_until(unknown, stopping_);
  }
}

}  // namespace benchfs::server
