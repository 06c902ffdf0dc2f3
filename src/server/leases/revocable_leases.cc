#include "server/leases/revocable_leases.h"

#include <utility>
#include <vector>

#include "wire/codec.h"

namespace benchfs::server {

void RevocableLeases::tell(wire::SessionId session, const EntryKey& key, std::uint64_t sequence) {
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

void RevocableLeases::tell_holders(const EntryKey& key, std::uint64_t except) {
  std::vector<std::pair<wire::SessionId, std::uint64_t>> messages;  // sending may change the table
  table_.for_each_on(key, [&](LeaseTable::Lease& lease) {
    if (lease.sequence() != 0 || lease.holder() == except) {
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

void RevocableLeases::on_acknowledged(wire::SessionId session, std::uint64_t sequence) {
  LeaseTable::Lease* lease = table_.find_revoked(sequence);
  if (lease == nullptr) {
    return;
  }
  auto current = sessions_.find(lease->holder());
  if (current != sessions_.end() && current->second == session) {
    table_.remove(*lease);
  }
}

void RevocableLeases::on_client_registered(wire::SessionId session, std::uint64_t client_uid) {
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

void RevocableLeases::on_goodbye(std::uint64_t client_uid) {
  sessions_.erase(client_uid);
  table_.remove_all_of(client_uid);
}

}  // namespace benchfs::server
