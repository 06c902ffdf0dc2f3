#include "server/leases/directory_leases.h"

#include <algorithm>
#include <utility>

#include "wire/codec.h"

namespace benchfs::server {
namespace {

constexpr std::size_t kBuckets = 1024;

}  // namespace

DirectoryLeases::DirectoryLeases(Config config)
    : config_(config), table_(config.max_leases), unknown_until_(kBuckets) {}

MonoTime& DirectoryLeases::unknown_until(const EntryKey& key) {
  return unknown_until_[EntryKeyHash()(key) % kBuckets];
}

void DirectoryLeases::assume_all_granted(MonoTime now) {
  std::ranges::fill(unknown_until_, now + config_.lease);
}

void DirectoryLeases::grant(const EntryKey& key, std::uint64_t client_uid, MonoTime now) {
  if (table_.is_full()) {
    table_.expire(now);
  }
  MonoTime until = now + config_.lease;
  if (!table_.grant(key, client_uid, LeaseMode::kShared, until)) {
    unknown_until(key) = std::max(unknown_until(key), until);
  }
}

// --- Revoking ------------------------------------------------------------------------------------

void DirectoryLeases::tell(wire::SessionId session, const EntryKey& key, std::uint64_t sequence) {
  wire::InvalidateHeader header;
  header.sequence = sequence;
  header.session_id = session.value;
  header.parent = key.parent.value;
  header.name_bytes = static_cast<std::uint16_t>(key.name.size());
  wire::HeaderBuffer<sizeof(header) + wire::kMaxNameBytes> message;
  message.append(header);
  message.append_text(key.name);
  // When there is no such session any more, the next one is told.
  (void)server_->notify(session, wire::Opcode::kInvalidate, std::as_const(message).bytes());
}

// Tells the holders that have not been told.
void DirectoryLeases::tell_holders(const EntryKey& key) {
  std::vector<std::pair<wire::SessionId, std::uint64_t>> messages;  // sending may change the table
  table_.for_each_on(key, [&](LeaseTable::Lease& lease) {
    if (lease.sequence() != 0) {
      return;
    }
    std::uint64_t sequence = table_.revoke(lease);
    if (auto session = sessions_.find(lease.holder()); session != sessions_.end()) {
      messages.emplace_back(session->second, sequence);
    }
  });
  for (auto [session, sequence] : messages) {
    tell(session, key, sequence);
  }
}

rt::Task<void> DirectoryLeases::revoke(EntryKey key) {
  Deadline unknown = Deadline::at(unknown_until(key));
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

void DirectoryLeases::on_acknowledged(wire::SessionId session, std::uint64_t sequence) {
  LeaseTable::Lease* lease = table_.find_revoked(sequence);
  if (lease == nullptr) {
    return;
  }
  auto current = sessions_.find(lease->holder());
  if (current != sessions_.end() && current->second == session) {
    table_.remove(*lease);
  }
}

// --- Sessions ------------------------------------------------------------------------------------

void DirectoryLeases::on_client_registered(wire::SessionId session, std::uint64_t client_uid) {
  sessions_.insert_or_assign(client_uid, session);
  std::vector<std::pair<EntryKey, std::uint64_t>> messages;  // sending may change the table
  table_.for_each_of(client_uid, [&](LeaseTable::Lease& lease) {
    if (lease.sequence() != 0) {
      messages.emplace_back(lease.key(), lease.sequence());
    }
  });
  for (const auto& [key, sequence] : messages) {
    tell(session, key, sequence);
  }
}

void DirectoryLeases::on_goodbye(std::uint64_t client_uid) {
  sessions_.erase(client_uid);
  table_.remove_all_of(client_uid);
}

}  // namespace benchfs::server
