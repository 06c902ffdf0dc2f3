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
  idle_.clear();
  busy_.clear();
  by_age_.clear();
}

ClientRegistry::Room ClientRegistry::make_room(std::string_view client_id, MonoTime now) {
  if (Session* older = find(client_id)) {
    return {.kind = Room::Kind::kReplace, .session = older};
  }
  if (size_ < config_.capacity) {
    return {};
  }
  MonoTime when = now + config_.turn;
  if (!idle_.empty()) {
    Session& idle = idle_.front();
    if (had_its_turn(idle, now) || now - idle.last_request_at >= quiet()) {
      return {.kind = Room::Kind::kEvict, .session = &idle};
    }
    when = std::min(when, idle.last_request_at + quiet());
  }
  if (by_age_.empty()) {  // all are draining
    return {.kind = Room::Kind::kWait, .when = when};
  }
  Session& first = by_age_.front();
  if (!had_its_turn(first, now)) {
    return {.kind = Room::Kind::kWait, .when = std::min(when, first.connected_at + config_.turn)};
  }
  return {.kind = first.in_flight == 0 ? Room::Kind::kEvict : Room::Kind::kDrain,
          .session = &first};
}

ClientRegistry::Room ClientRegistry::shed() {
  std::uint32_t staying = static_cast<std::uint32_t>(by_age_.size());
  if (staying <= config_.capacity) {
    return {};
  }
  if (!idle_.empty()) {
    return {.kind = Room::Kind::kEvict, .session = &idle_.front()};
  }
  return {.kind = Room::Kind::kDrain, .session = &by_age_.front()};
}

Session& ClientRegistry::add(std::string_view client_id,
                             std::uint64_t client_uid,
                             link::Link* link,
                             const net::SocketAddress& address,
                             MonoTime now) {
  BENCHFS_CHECK(size_ < config_.capacity && find(client_id) == nullptr);
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
  idle_.push_back(session);
  by_age_.push_back(session);
  by_id_.insert(session);
  ++size_;
  stats_.high_water = std::max(stats_.high_water, size_);
  return session;
}

Session* ClientRegistry::find(std::string_view client_id) {
  auto found = by_id_.find(client_id);
  return found == by_id_.end() ? nullptr : &*found;
}

void ClientRegistry::drain(Session& session) {
  BENCHFS_CHECK(session.in_flight > 0 && !session.is_draining);
  session.is_draining = true;
  by_age_.erase(AgeList::s_iterator_to(session));
}

void ClientRegistry::remove(Session& session) {
  by_id_.erase(by_id_.iterator_to(session));
  UseList& list = session.in_flight == 0 ? idle_ : busy_;
  list.erase(UseList::s_iterator_to(session));
  if (!session.is_draining) {
    by_age_.erase(AgeList::s_iterator_to(session));
  }
  free_slots_.push_back(session.id.slot());
  session.id = {};
  session.link = nullptr;
  --size_;
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
  std::uint64_t size = size_;
  std::uint64_t capacity = config_.capacity;
  if (10 * size < 8 * capacity) {
    has_warned_ = false;
  }
  bool warns = !has_warned_ && 10 * size >= 9 * capacity;
  has_warned_ |= warns;
  return warns;
}

Session* ClientRegistry::oldest() {
  UseList& list = idle_.empty() ? busy_ : idle_;
  return list.empty() ? nullptr : &list.front();
}

}  // namespace benchfs::rpc
