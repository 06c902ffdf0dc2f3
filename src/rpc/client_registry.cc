#include "rpc/client_registry.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "base/random.h"

namespace benchfs::rpc {

ClientRegistry::ClientRegistry(std::uint32_t capacity) : capacity_(capacity) {
  BENCHFS_CHECK(capacity > 0 && capacity < (1U << wire::SessionId::kSlotBits));
}

ClientRegistry::~ClientRegistry() {
  lru_.clear();
}

Result<Session*> ClientRegistry::make_room(std::string_view client_id) {
  if (Session* older = find(client_id)) {
    return older;
  }
  if (size() < capacity_) {
    return nullptr;
  }
  auto idle = std::ranges::find_if(lru_, [](const Session& s) { return s.in_flight == 0; });
  if (idle == lru_.end()) {
    return fail(Errc::kBusy,
                fmt::format("all {} registered clients have requests in flight", capacity_));
  }
  return &*idle;
}

Session& ClientRegistry::add(std::string client_id,
                             std::uint64_t client_uid,
                             net::Endpoint* endpoint,
                             const net::SocketAddress& address) {
  BENCHFS_CHECK(size() < capacity_ && find(client_id) == nullptr);
  if (free_slots_.empty()) {
    free_slots_.push_back(static_cast<std::uint32_t>(slots_.size()));
    slots_.push_back(std::make_unique<Session>());
  }
  std::uint32_t slot = free_slots_.back();
  free_slots_.pop_back();
  Session& session = *slots_[slot];
  session.id = wire::SessionId::make(slot, random_id() >> wire::SessionId::kSlotBits);
  session.client_id = std::move(client_id);
  session.client_uid = client_uid;
  session.endpoint = endpoint;
  session.address = address;
  session.connected_at = mono_now();
  session.requests = 0;
  session.in_flight = 0;
  session.overrun = false;
  lru_.push_back(session);
  by_id_.emplace(session.client_id, &session);
  stats_.high_water = std::max(stats_.high_water, size());
  return session;
}

Session* ClientRegistry::find(std::string_view client_id) {
  auto found = by_id_.find(client_id);
  return found == by_id_.end() ? nullptr : found->second;
}

void ClientRegistry::remove(Session& session) {
  by_id_.erase(session.client_id);
  lru_.erase(Lru::s_iterator_to(session));
  free_slots_.push_back(session.id.slot());
  session.id = {};
  session.endpoint = nullptr;
}

}  // namespace benchfs::rpc
