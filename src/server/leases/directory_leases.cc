#include "server/leases/directory_leases.h"

#include <bit>
#include <utility>

#include "wire/codec.h"

namespace benchfs::server {
namespace {

constexpr std::size_t kBuckets = 1024;

}  // namespace

DirectoryLeases::DirectoryLeases(Config config) : config_(config), unknown_until_(kBuckets) {}

std::size_t DirectoryLeases::LeaseKeyHash::operator()(const LeaseKey& key) const {
  return mix64(mix64(std::bit_cast<std::uintptr_t>(key.entry)) ^
               std::bit_cast<std::uintptr_t>(key.holder));
}

MonoTime& DirectoryLeases::unknown_until(const EntryKey& key) {
  return unknown_until_[EntryKeyHash()(key) % kBuckets];
}

DirectoryLeases::Lease* DirectoryLeases::find(const EntryKey& key, std::uint64_t client_uid) {
  auto entry = entries_.find(key);
  auto holder = holders_.find(client_uid);
  if (entry == entries_.end() || holder == holders_.end()) {
    return nullptr;
  }
  auto found = leases_.find(LeaseKey{&*entry, &*holder});
  return found == leases_.end() ? nullptr : &found->second;
}

DirectoryLeases::Lease& DirectoryLeases::add(const EntryKey& key,
                                             wire::SessionId session,
                                             std::uint64_t client_uid) {
  EntryNode& entry = *entries_.try_emplace(key).first;
  HolderNode& holder = *holders_.try_emplace(client_uid).first;
  holder.second.session = session;
  Lease& lease = leases_[LeaseKey{&entry, &holder}];
  lease.entry = &entry;
  lease.holder = &holder;
  holder.second.leases.push_back(lease);
  return lease;
}

void DirectoryLeases::grant(const EntryKey& key,
                            wire::SessionId session,
                            std::uint64_t client_uid,
                            MonoTime now) {
  if (server_->registry().peek(session) == nullptr) {
    return;
  }
  MonoTime until = now + config_.lease;
  Lease* lease = find(key, client_uid);
  if (lease == nullptr) {
    if (leases_.size() >= config_.max_leases) {
      expire(now);
    }
    if (leases_.size() >= config_.max_leases) {
      unknown_until(key) = until;
      return;
    }
    lease = &add(key, session, client_uid);
  } else {
    lease->in_entry.unlink();
    lease->in_all.unlink();
    told_.erase(std::exchange(lease->sequence, 0));  // the answer would be about the time before
  }
  lease->until = until;
  lease->entry->second.leases.push_back(*lease);
  by_end_.push_back(*lease);
}

void DirectoryLeases::remove(Lease& lease) {
  told_.erase(lease.sequence);
  EntryNode* entry = lease.entry;
  HolderNode* holder = lease.holder;
  leases_.erase(leases_.find(LeaseKey{entry, holder}));  // leaves its lists
  if (holder->second.leases.empty()) {
    holders_.erase(holders_.find(holder->first));
  }
  if (entry->second.leases.empty()) {
    entry->second.emptied.wake_all();
    entries_.erase(entries_.find(entry->first));
  }
}

// --- Revoking ------------------------------------------------------------------------------------

void DirectoryLeases::tell_holders(Entry& entry) {
  const EntryKey& key = entry.leases.front().entry->first;
  wire::InvalidateHeader header;
  header.parent = key.parent.value;
  header.name_bytes = static_cast<std::uint16_t>(key.name.size());
  std::string name = key.name;
  // Sending may end a session, and with it leases.
  std::vector<std::pair<std::uint64_t, wire::SessionId>> messages;
  for (Lease& lease : entry.leases) {
    told_.erase(lease.sequence);
    lease.sequence = ++sequence_;
    told_.emplace(lease.sequence, &lease);
    messages.emplace_back(lease.sequence, lease.holder->second.session);
  }
  for (auto [sequence, session] : messages) {
    header.sequence = sequence;
    header.session_id = session.value;
    wire::HeaderBuffer<sizeof(header) + wire::kMaxNameBytes> message;
    message.append(header);
    message.append_text(name);
    if (!server_->notify(session, wire::Opcode::kInvalidate, std::as_const(message).bytes())) {
      on_acknowledged(session, sequence);  // there is no session
    }
  }
}

rt::Task<void> DirectoryLeases::revoke(EntryKey key) {
  Deadline unknown = Deadline::at(unknown_until(key));
  expire(mono_now());
  auto found = entries_.find(key);
  if (found != entries_.end()) {
    tell_holders(found->second);
  }
  for (found = entries_.find(key); found != entries_.end(); found = entries_.find(key)) {
    Entry& entry = found->second;
    Deadline first_end = Deadline::at(entry.leases.front().until);
    rt::Wake wake = co_await entry.emptied.wait(first_end, stopping_);
    if (wake == rt::Wake::kCancelled) {
      co_return;
    }
    expire(mono_now());
  }
  if (!unknown.passed()) {
    (void)co_await rt::sleep_until(unknown, stopping_);
  }
}

void DirectoryLeases::on_acknowledged(wire::SessionId session, std::uint64_t sequence) {
  auto found = told_.find(sequence);
  if (found != told_.end() && found->second->holder->second.session == session) {
    remove(*found->second);
  }
}

// --- The end of leases ---------------------------------------------------------------------------

void DirectoryLeases::drop_client(std::uint64_t client_uid) {
  for (auto found = holders_.find(client_uid); found != holders_.end();
       found = holders_.find(client_uid)) {
    remove(found->second.leases.front());
  }
}

void DirectoryLeases::expire(MonoTime now) {
  while (!by_end_.empty() && by_end_.front().until <= now) {
    remove(by_end_.front());
  }
}

}  // namespace benchfs::server
