#include "server/leases/revocable_leases.h"

#include <fmt/format.h>

#include <utility>
#include <vector>

#include "wire/codec.h"

namespace benchfs::server {

RevocableLeases::Learns RevocableLeases::way_of(const rpc::Session& session) const {
  if (shown_ == Shown::kNothing || !session.looks_at_words) {
    return Learns::kByMessage;
  }
  switch (session.link->way()) {
    case link::Way::kDoor:
      return Learns::kFromOurWords;
    case link::Way::kForwarded:
      return Learns::kFromFarWords;
    case link::Way::kNetwork:
      return Learns::kByMessage;
  }
  return Learns::kByMessage;
}

bool RevocableLeases::sees_what_is_shown(std::uint64_t client_uid) const {
  auto client = clients_.find(client_uid);
  return client != clients_.end() && !client->second.is_away &&
         client->second.reached.learns == Learns::kFromOurWords;
}

void RevocableLeases::tell(Reached client, const EntryKey& key, std::uint64_t sequence) {
  wire::InvalidateHeader header;
  header.sequence = sequence;
  header.session_id = client.session.value;
  header.parent = key.parent.value;
  wire::HeaderBuffer<sizeof(header) + wire::kMaxNameBytes> message;
  if (client.learns == Learns::kFromFarWords) {
    header.flags = wire::kInvalidateByWord;
    header.word = static_cast<std::uint16_t>(wire::validity_word_of(key));
    message.append(header);
  } else {
    header.name_bytes = static_cast<std::uint16_t>(key.name.size());
    message.append(header);
    message.append_text(key.name);
  }
  // When there is no such session any more, the next one is told.
  (void)server_->notify(client.session, wire::Opcode::kInvalidate, std::as_const(message).bytes());
}

void RevocableLeases::tell_holders(const EntryKey& key, std::uint64_t except) {
  std::vector<std::pair<Reached, std::uint64_t>> messages;  // sending may change the table
  std::vector<std::uint64_t> seeing;
  table_.for_each_on(key, [&](LeaseTable::Lease& lease) {
    if (lease.holder() == except) {
      return;
    }
    if (sees_what_is_shown(lease.holder())) {
      seeing.push_back(lease.holder());
      return;
    }
    if (lease.sequence() != 0) {
      return;
    }
    std::uint64_t sequence = table_.revoke(lease);
    if (auto client = clients_.find(lease.holder());
        client != clients_.end() && !client->second.is_away) {
      messages.emplace_back(client->second.reached, sequence);
    }
  });
  for (std::uint64_t holder : seeing) {
    table_.remove(key, holder);
  }
  for (auto [client, sequence] : messages) {
    tell(client, key, sequence);
  }
}

void RevocableLeases::on_acknowledged(wire::SessionId session, std::uint64_t sequence) {
  LeaseTable::Lease* lease = table_.find_revoked(sequence);
  if (lease == nullptr) {
    return;
  }
  auto current = clients_.find(lease->holder());
  if (current != clients_.end() && !current->second.is_away &&
      current->second.reached.session == session) {
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
  client.reached = {session};
  if (const rpc::Session* registered = server_->registry().peek(session)) {
    client.id = registered->client_id;
    client.reached.learns = way_of(*registered);
  }
  std::vector<std::pair<EntryKey, std::uint64_t>> messages;  // sending may change the table
  table_.for_each_of(client_uid, [&](LeaseTable::Lease& lease) {
    if (lease.sequence() != 0) {
      messages.emplace_back(lease.key(), lease.sequence());
    }
  });
  Reached reached = client.reached;
  for (const auto& [key, sequence] : messages) {
    if (reached.learns != Learns::kFromOurWords) {
      tell(reached, key, sequence);
      continue;
    }
    show(key);
    table_.remove(key, client_uid);
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
