#include "server/leases/exact_leases.h"

#include <fmt/format.h>

namespace benchfs::server {

const LeaseTable::Lease* ExactLeases::find_held(EntryRef key, std::uint64_t except) const {
  MonoTime now = mono_now();
  return table_.first_on(key, [&](const LeaseTable::Lease& lease) {
    return lease.holder() != except && lease.until() > now;
  });
}

bool ExactLeases::grant(EntryRef key, std::uint64_t client_uid, MonoTime now) {
  LeaseKind kind = key.name.empty() ? LeaseKind::kAttributes : LeaseKind::kName;
  return grant(key, client_uid, kind, now);
}

bool ExactLeases::grant_missing(EntryRef key, std::uint64_t client_uid, MonoTime now) {
  return is_half_free(now) && grant(key, client_uid, LeaseKind::kMissingName, now);
}

bool ExactLeases::grant_listed(EntryRef key, std::uint64_t client_uid, MonoTime now) {
  return is_half_free(now) && grant(key, client_uid, now);
}

bool ExactLeases::is_half_free(MonoTime now) {
  std::size_t room = config_.max_leases / 2;
  if (table_.size() >= room) {
    table_.expire(now);
  }
  return table_.size() < room;
}

bool ExactLeases::grant(EntryRef key, std::uint64_t client_uid, LeaseKind kind, MonoTime now) {
  if (table_.is_full()) {
    table_.expire(now);
  }
  if (!withheld_.empty() && withheld_.find(key) != withheld_.end()) {
    return false;
  }
  return table_.grant(key, client_uid, kind, now + config_.lease);
}

void ExactLeases::grant_to_maker(EntryRef key, std::uint64_t client_uid, MonoTime now) {
  table_.expire(now);
  (void)table_.grant(key, client_uid, LeaseKind::kName, now + config_.lease, true);
}

// --- Calling back --------------------------------------------------------------------------------

rt::CoStatus ExactLeases::call_back(EntryKey key, Deadline deadline, std::uint64_t except) {
  if (!is_held(key, except)) {
    co_return Status{};
  }
  Withheld withheld(*this, key);
  Status done;
  for (;;) {
    table_.expire(mono_now());
    tell_holders(key, except);
    const LeaseTable::Lease* held = find_held(key, except);
    if (held == nullptr) {
      break;
    }
    if (deadline.passed()) {
      done = fail(Errc::kDeadline,
                  fmt::format("waiting for {}, which {} cached",
                              holders_of(key, except),
                              key.name.empty() ? "has the attributes" : "has the name"));
      break;
    }
    Deadline end = deadline.earlier(Deadline::at(held->until()));
    if (co_await table_.wait(key, end, stopping_) == rt::Wake::kCancelled) {
      break;
    }
  }
  co_return done;
}

}  // namespace benchfs::server
