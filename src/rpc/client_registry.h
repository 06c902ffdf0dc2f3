// The clients registered at one server shard, least recently used first to go.
//
// A slot per client: found in O(1) by session id (slot index + unpredictable generation) on every
// request, and by client id at registration. Capacity is fixed at creation; when it is full,
// make_room() names the least recently used client without requests in flight, which the caller
// evicts. Everything is O(1), but make_room() skips the busy clients at the old end.
//
// Thread: the shard's. Knows nothing of the transport but the pointer it keeps.
#pragma once

#include <boost/intrusive/list.hpp>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "net/address.h"
#include "wire/ids.h"

namespace benchfs::net {
class Endpoint;
}

namespace benchfs::rpc {

class ReplyHistory;

// What the registry knows of one client (requirement section 3.2).
struct Session {
  wire::SessionId id;
  std::string client_id;
  std::uint64_t client_uid = 0;
  net::Endpoint* endpoint = nullptr;
  net::SocketAddress address;
  MonoTime connected_at;
  std::uint64_t requests = 0;
  std::uint32_t in_flight = 0;      // requests being served; such a client is never evicted
  ReplyHistory* history = nullptr;  // of the client; not ours
  bool is_remembered = false;       // the history was there before the session
  bool overrun = false;             // left too much unread; the server ends it soon
  boost::intrusive::list_member_hook<> lru_hook;
};

class ClientRegistry {
 public:
  struct Stats {
    std::uint64_t hits = 0;    // requests whose session was found
    std::uint64_t misses = 0;  // requests with an unknown session
    std::uint64_t evictions = 0;
    std::uint64_t replaced = 0;  // registrations of a client id that was there
    std::uint64_t rejected = 0;  // registrations refused
    std::uint32_t high_water = 0;
    [[nodiscard]] double hit_rate() const {
      std::uint64_t all = hits + misses;
      return all == 0 ? 1.0 : static_cast<double>(hits) / static_cast<double>(all);
    }
  };

  explicit ClientRegistry(std::uint32_t capacity);
  ClientRegistry(const ClientRegistry&) = delete;
  ClientRegistry& operator=(const ClientRegistry&) = delete;
  ~ClientRegistry();

  // Who must leave before `client_id` can be registered: the older session of the same id, or the
  // least recently used idle one when full, or nobody. Error kBusy: full, and everybody has
  // requests in flight.
  Result<Session*> make_room(std::string_view client_id);

  // Registers; make_room() must have been called and its victim removed.
  Session& add(std::string client_id,
               std::uint64_t client_uid,
               net::Endpoint* endpoint,
               const net::SocketAddress& address);

  // The session of a request, moved to the young end of the order; nullptr if unknown.
  Session* get(wire::SessionId id) {
    Session* session = peek(id);
    if (session == nullptr) [[unlikely]] {
      ++stats_.misses;
      return nullptr;
    }
    ++stats_.hits;
    lru_.splice(lru_.end(), lru_, Lru::s_iterator_to(*session));
    return session;
  }
  // The same without touching order or statistics.
  Session* peek(wire::SessionId id) {
    std::uint32_t slot = id.slot();
    if (slot >= slots_.size() || slots_[slot]->id != id) {
      return nullptr;
    }
    return slots_[slot].get();
  }
  Session* find(std::string_view client_id);

  void remove(Session& session);
  void count_eviction() { ++stats_.evictions; }
  void count_replaced() { ++stats_.replaced; }
  void count_rejected() { ++stats_.rejected; }

  [[nodiscard]] std::uint32_t size() const { return static_cast<std::uint32_t>(by_id_.size()); }
  [[nodiscard]] std::uint32_t capacity() const { return capacity_; }
  [[nodiscard]] const Stats& stats() const { return stats_; }
  // Oldest first; the callee must not change the registry.
  template <typename Visit>
  void for_each(Visit visit) {
    for (Session& session : lru_) {
      visit(session);
    }
  }
  [[nodiscard]] Session* oldest() { return lru_.empty() ? nullptr : &lru_.front(); }

 private:
  using Lru =
      boost::intrusive::list<Session,
                             boost::intrusive::member_hook<Session,
                                                           boost::intrusive::list_member_hook<>,
                                                           &Session::lru_hook>>;

  std::uint32_t capacity_;
  std::vector<std::unique_ptr<Session>> slots_;
  std::vector<std::uint32_t> free_slots_;
  std::unordered_map<std::string_view, Session*> by_id_;  // keys point into the sessions
  Lru lru_;
  Stats stats_;
};

}  // namespace benchfs::rpc
