#include "rpc/client_registry.h"

#include <algorithm>
#include <bit>

#include "base/check.h"
#include "base/random.h"

namespace benchfs::rpc {
namespace {

std::size_t bucket_count(std::uint32_t capacity) {
  return std::bit_ceil(std::size_t{capacity} + 16);
}

}  // namespace

ClientRegistry::ClientRegistry(const Config& config)
    : config_(config),
      buckets_(bucket_count(config.capacity)),
      by_id_(IdSet::bucket_traits(buckets_.data(), buckets_.size())) {
  BENCHFS_CHECK(config.capacity > 0 && config.capacity < (1U << wire::SessionId::kSlotBits));
}

ClientRegistry::~ClientRegistry() {
  by_id_.clear();
  busy_.clear();
  for (Places* places : {&direct_, &forwarded_}) {
    places->idle.clear();
    places->by_age.clear();
  }
}

// Slots are shared by both kinds.
std::uint32_t ClientRegistry::forwarded_capacity() const {
  constexpr std::uint64_t kSlots = (std::uint64_t{1} << wire::SessionId::kSlotBits) - 1;
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(
      std::uint64_t{kForwardedPerPlace} * config_.capacity, kSlots - config_.capacity));
}

ClientRegistry::Room ClientRegistry::make_room(std::string_view client_id,
                                               MonoTime now,
                                               bool is_forwarded) {
  if (Session* older = find(client_id)) {
    return {.kind = Room::Kind::kReplace, .session = older};
  }
  Places& places = is_forwarded ? forwarded_ : direct_;
  if (places.size < (is_forwarded ? forwarded_capacity() : config_.capacity)) {
    return {};
  }
  MonoTime when = now + config_.turn;
  if (!places.idle.empty()) {
    Session& idle = places.idle.front();
    if (had_its_turn(idle, now) || now - idle.last_request_at >= quiet()) {
      return {.kind = Room::Kind::kEvict, .session = &idle};
    }
    when = std::min(when, idle.last_request_at + quiet());
  }
  if (places.by_age.empty()) {  // all are draining
    return {.kind = Room::Kind::kWait, .when = when};
  }
  Session& first = places.by_age.front();
  if (!had_its_turn(first, now)) {
    return {.kind = Room::Kind::kWait, .when = std::min(when, first.connected_at + config_.turn)};
  }
  return {.kind = first.in_flight == 0 ? Room::Kind::kEvict : Room::Kind::kDrain,
          .session = &first};
}

ClientRegistry::Room ClientRegistry::shed() {
  for (Places* places : {&direct_, &forwarded_}) {
    std::uint32_t staying = static_cast<std::uint32_t>(places->by_age.size());
    if (staying <= (places == &direct_ ? config_.capacity : forwarded_capacity())) {
      continue;
    }
    if (!places->idle.empty()) {
      return {.kind = Room::Kind::kEvict, .session = &places->idle.front()};
    }
    return {.kind = Room::Kind::kDrain, .session = &places->by_age.front()};
  }
  return {};
}

Session& ClientRegistry::add(std::string_view client_id,
                             std::uint64_t client_uid,
                             link::Link* link,
                             const net::SocketAddress& address,
                             MonoTime now,
                             bool is_forwarded) {
  Places& places = is_forwarded ? forwarded_ : direct_;
  BENCHFS_CHECK(places.size < (is_forwarded ? forwarded_capacity() : config_.capacity) &&
                find(client_id) == nullptr);
  if (free_slots_.empty()) {
    free_slots_.push_back(static_cast<std::uint32_t>(slots_.size()));
    slots_.push_back(std::make_unique<Session>());
  }
  std::uint32_t slot = free_slots_.back();
  free_slots_.pop_back();
  Session& session = *slots_[slot];
  session.id = wire::SessionId::make(slot, random_id() >> wire::SessionId::kSlotBits);
  session.client_id.assign(client_id);
  session.client_uid = client_uid;
  session.link = link;
  session.address = address;
  session.connected_at = now;
  session.last_request_at = now;
  session.requests = 0;
  session.in_flight = 0;
  session.is_draining = false;
  session.overrun = false;
  session.is_forwarded = is_forwarded;
  places.idle.push_back(session);
  places.by_age.push_back(session);
  by_id_.insert(session);
  ++places.size;
  stats_.high_water = std::max(stats_.high_water, direct_.size);
  return session;
}

Session* ClientRegistry::find(std::string_view client_id) {
  auto found = by_id_.find(client_id);
  return found == by_id_.end() ? nullptr : &*found;
}

void ClientRegistry::drain(Session& session) {
  BENCHFS_CHECK(session.in_flight > 0 && !session.is_draining);
  session.is_draining = true;
  places_of(session).by_age.erase(AgeList::s_iterator_to(session));
}

void ClientRegistry::remove(Session& session) {
  by_id_.erase(by_id_.iterator_to(session));
  Places& places = places_of(session);
  UseList& list = session.in_flight == 0 ? places.idle : busy_;
  list.erase(UseList::s_iterator_to(session));
  if (!session.is_draining) {
    places.by_age.erase(AgeList::s_iterator_to(session));
  }
  free_slots_.push_back(session.id.slot());
  session.id = {};
  session.link = nullptr;
  --places.size;
}

void ClientRegistry::set_capacity(std::uint32_t capacity) {
  BENCHFS_CHECK(capacity > 0 && capacity < (1U << wire::SessionId::kSlotBits));
  config_.capacity = capacity;
  has_warned_ = false;
  if (bucket_count(capacity) > buckets_.size()) {
    std::vector<IdSet::bucket_type> bigger(bucket_count(capacity));
    by_id_.rehash(IdSet::bucket_traits(bigger.data(), bigger.size()));
    buckets_.swap(bigger);
  }
}

bool ClientRegistry::take_warning() {
  std::uint64_t size = direct_.size;
  std::uint64_t capacity = config_.capacity;
  if (10 * size < 8 * capacity) {
    has_warned_ = false;
  }
  bool warns = !has_warned_ && 10 * size >= 9 * capacity;
  has_warned_ |= warns;
  return warns;
}

Session* ClientRegistry::oldest() {
  for (UseList* list : {&forwarded_.idle, &direct_.idle, &busy_}) {
    if (!list->empty()) {
      return &list->front();
    }
  }
  return nullptr;
}

}  // namespace benchfs::rpc
