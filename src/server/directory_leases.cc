#include "server/directory_leases.h"

#include <algorithm>

#include "wire/codec.h"

namespace benchfs::server {
namespace {
// A client that died without a word is noticed by its connection; this bounds how long we look.
constexpr Nanos kAckPoll = std::chrono::milliseconds(20);
}  // namespace

void DirectoryLeases::grant(const EntryKey& key, wire::SessionId session, MonoTime now) {
  std::vector<Lease>& holders = leases_[key];
  auto mine = std::ranges::find(holders, session, &Lease::session);
  if (mine == holders.end()) {
    holders.push_back({session, now + kDirectoryLease});
  } else {
    mine->until = now + kDirectoryLease;
  }
}

rt::Task<void> DirectoryLeases::revoke(EntryKey key) {
  auto found = leases_.find(key);
  if (found == leases_.end()) {
    co_return;
  }
  std::vector<Lease> holders = std::move(found->second);
  leases_.erase(found);
  for (const Lease& lease : holders) {
    if (lease.until <= mono_now()) {
      continue;
    }
    std::uint64_t sequence = ++sequence_;
    wire::InvalidateHeader header;
    header.sequence = sequence;
    header.session_id = lease.session.value;
    header.parent = key.parent.value;
    header.name_bytes = static_cast<std::uint16_t>(key.name.size());
    wire::HeaderBuffer<sizeof(header) + wire::kMaxNameBytes> message;
    message.append(header);
    message.append_text(key.name);
    if (server_->notify(lease.session, wire::Opcode::kInvalidate, std::as_const(message).bytes())) {
      unacknowledged_.insert(sequence);
      while (unacknowledged_.contains(sequence) && mono_now() < lease.until &&
             server_->registry().peek(lease.session) != nullptr) {
        (void)co_await acknowledged_.wait(Deadline::after(kAckPoll));
      }
      unacknowledged_.erase(sequence);
    }
  }
}

void DirectoryLeases::on_acknowledged(std::uint64_t sequence) {
  if (unacknowledged_.erase(sequence) > 0) {
    acknowledged_.wake_all();
  }
}

void DirectoryLeases::expire(MonoTime now) {
  for (auto entry = leases_.begin(); entry != leases_.end();) {
    std::erase_if(entry->second, [&](const Lease& lease) { return lease.until <= now; });
    entry = entry->second.empty() ? leases_.erase(entry) : std::next(entry);
  }
}

}  // namespace benchfs::server
