#include "server/leases/revocable_leases.h"

#include <fmt/format.h>

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
    if (auto client = clients_.find(lease.holder());
        client != clients_.end() && !client->second.is_away) {
      messages.emplace_back(client->second.session, sequence);
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
  auto current = clients_.find(lease->holder());
  if (current != clients_.end() && !current->second.is_away && current->second.session == session) {
    table_.remove(*lease);
  }
}

void RevocableLeases::on_session_lost(std::uint64_t client_uid) {
  auto client = clients_.find(client_uid);
  if (client == clients_.end() || client->second.is_away) {
    return;
  }
  if (!table_.has_holder(client_uid)) {
    clients_.erase(client);
    return;
  }
  client->second.is_away = true;
  ++away_;
}

void RevocableLeases::expire(MonoTime now) {
  table_.expire(now);
  if (away_ > 0) {
    away_ -= std::erase_if(clients_, [&](const auto& client) {
      return client.second.is_away && !table_.has_holder(client.first);
    });
  }
}

void RevocableLeases::on_client_registered(wire::SessionId session, std::uint64_t client_uid) {
  Client& client = clients_[client_uid];
  away_ -= std::exchange(client.is_away, false) ? 1 : 0;
  client.session = session;
  if (const rpc::Session* registered = server_->registry().peek(session)) {
    client.id = registered->client_id;
  }
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
  if (auto client = clients_.find(client_uid); client != clients_.end()) {
    away_ -= client->second.is_away ? 1 : 0;
    clients_.erase(client);
  }
  table_.remove_all_of(client_uid);
}

std::string RevocableLeases::holders_of(EntryRef key, std::uint64_t except) const {
  constexpr std::size_t kNamed = 3;
  std::string text;
  std::size_t count = 0;
  table_.for_each_on(key, [&](const LeaseTable::Lease& lease) {
    if (lease.holder() == except || ++count > kNamed) {
      return;
    }
    auto client = clients_.find(lease.holder());
    text += count > 1 ? ", " : "";
    text += client != clients_.end() ? client->second.id : "a client without a session";
  });
  return count > kNamed ? fmt::format("{} and {} more", text, count - kNamed) : text;
}

}  // namespace benchfs::server
