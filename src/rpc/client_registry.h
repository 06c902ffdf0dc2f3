// The clients registered at one server shard, least recently used first to go.
//
// A slot per client: found in O(1) by session id (slot index + unpredictable generation) on every
// request, and by client id at registration. Every operation is O(1), and none allocates once as
// many clients have been there as there is room for.
//
// Who leaves when the registry is full and another client wants in (make_room):
// - the least recently used client without requests in flight, if it has had its turn or has sent
//   nothing for a fifth of one;
// - else the client that registered first, once it has had its turn: at once if it has no requests
//   in flight, otherwise it drains: its requests in flight are answered, further ones are not
//   begun;
// - else nobody for now: the newcomer waits.
// Clients that come through a shard of their node (rpc/forwarded_links.h) have places of their own,
// kForwardedPerPlace times as many: they need no connection. The same rules hold among them.
// A client has had its turn when it has been registered for `turn`. So when more clients work than
// there is room for, each gets some work done before it has to leave.
//
// Thread: the shard's. Knows nothing of the transport but the pointer it keeps.
#pragma once

#include <boost/intrusive/list.hpp>
#include <boost/intrusive/unordered_set.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "net/address.h"
#include "wire/header.h"
#include "wire/ids.h"

namespace benchfs::link {
class Link;
}

namespace benchfs::rpc {

class ReplyHistory;

// The registry's record of one client (requirement section 3.2).
struct Session {
  wire::SessionId id;
  std::string client_id;
  std::uint64_t client_uid = 0;
  link::Link* link = nullptr;
  net::SocketAddress address;
  MonoTime connected_at;
  MonoTime last_request_at;
  std::uint64_t requests = 0;
  std::uint32_t in_flight = 0;      // requests being served; such a client is never evicted
  bool is_draining = false;         // leaves when they are answered; further ones are not begun
  ReplyHistory* history = nullptr;  // of the client; not ours
  bool is_forwarded = false;        // has a place of that kind
  bool looks_at_words = false;      // wire::kRegisterLooksAtWords
  bool is_server = false;           // wire::kRegisterIsServer
  wire::NoDoor no_door = wire::NoDoor::kUnsaid;
  bool is_remembered = false;                     // the history was there before the session
  bool overrun = false;                           // left too much unread; the server ends it soon
  boost::intrusive::list_member_hook<> use_hook;  // among the idle or the busy
  boost::intrusive::list_member_hook<> age_hook;  // among all, by registration
  boost::intrusive::unordered_set_member_hook<> id_hook;  // by client id
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

  struct Config {
    std::uint32_t capacity = 1000;
    Nanos turn = std::chrono::milliseconds(250);
  };
  explicit ClientRegistry(const Config& config);
  ClientRegistry(const ClientRegistry&) = delete;
  ClientRegistry& operator=(const ClientRegistry&) = delete;
  ~ClientRegistry();

  struct Room {
    enum class Kind : std::uint8_t {
      kFree,     // add() may be called
      kReplace,  // when `session` has left: it has the same client id
      kEvict,    // when `session` has left
      kDrain,    // when `session` has left: drain() it
      kWait,     // ask again at `when`
    };
    Kind kind = Kind::kFree;
    Session* session = nullptr;
    MonoTime when;
  };
  static constexpr std::uint32_t kForwardedPerPlace = 16;
  // Tells what must happen before `client_id` can be registered.
  Room make_room(std::string_view client_id, MonoTime now, bool is_forwarded = false);
  // Tells which client must leave because the registry is over its capacity; kFree if it is not.
  Room shed();

  // Registers; make_room() must have said kFree.
  Session& add(std::string_view client_id,
               std::uint64_t client_uid,
               link::Link* link,
               const net::SocketAddress& address,
               MonoTime now,
               bool is_forwarded = false);

  // The session of a request, made the most recently used; nullptr if unknown.
  Session* get(wire::SessionId id) {
    Session* session = peek(id);
    if (session == nullptr) [[unlikely]] {
      ++stats_.misses;
      return nullptr;
    }
    ++stats_.hits;
    if (session->in_flight == 0) {
      UseList& idle = places_of(*session).idle;
      idle.splice(idle.end(), idle, UseList::s_iterator_to(*session));
    }
    return session;
  }
  // The same without touching order or statistics.
  Session* peek(wire::SessionId id) {
    std::uint32_t slot = id.slot();
    if (!id.is_valid() || slot >= slots_.size() || slots_[slot]->id != id) {
      return nullptr;
    }
    return slots_[slot].get();
  }
  Session* find(std::string_view client_id);

  // A request of the session is begun; or ended, which makes it the most recently used.
  void begin_request(Session& session, MonoTime now) {
    session.last_request_at = now;
    if (session.in_flight++ == 0) {
      busy_.splice(busy_.end(), places_of(session).idle, UseList::s_iterator_to(session));
    }
  }
  void end_request(Session& session) {
    if (--session.in_flight == 0) {
      UseList& idle = places_of(session).idle;
      idle.splice(idle.end(), busy_, UseList::s_iterator_to(session));
    }
  }

  // The session will leave when its requests in flight have ended.
  void drain(Session& session);
  void remove(Session& session);
  void count_eviction() { ++stats_.evictions; }
  void count_replaced() { ++stats_.replaced; }
  void count_rejected() { ++stats_.rejected; }

  // May be below size(): shed() says who leaves then.
  void set_capacity(std::uint32_t capacity);
  // True once each time the registry fills up to nine tenths (again: after it was below eight).
  bool take_warning();

  // Of both kinds.
  [[nodiscard]] std::uint32_t size() const { return direct_.size + forwarded_.size; }
  [[nodiscard]] std::uint32_t forwarded() const { return forwarded_.size; }
  [[nodiscard]] std::uint32_t capacity() const { return config_.capacity; }
  [[nodiscard]] const Stats& stats() const { return stats_; }
  // Idle clients of each kind, least recently used first, then the busy ones; the callee must not
  // change the registry.
  template <typename Visit>
  void for_each(Visit visit) {
    for (UseList* list : {&direct_.idle, &forwarded_.idle, &busy_}) {
      for (Session& session : *list) {
        visit(session);
      }
    }
  }
  // The least recently used, those first that are forwarded, or a busy one if all are.
  [[nodiscard]] Session* oldest();

 private:
  template <boost::intrusive::list_member_hook<> Session::* kHook>
  using List = boost::intrusive::list<
      Session,
      boost::intrusive::member_hook<Session, boost::intrusive::list_member_hook<>, kHook>>;
  using UseList = List<&Session::use_hook>;
  using AgeList = List<&Session::age_hook>;
  struct IdOf {
    using type = std::string_view;
    std::string_view operator()(const Session& session) const { return session.client_id; }
  };
  using IdSet = boost::intrusive::unordered_set<
      Session,
      boost::intrusive::
          member_hook<Session, boost::intrusive::unordered_set_member_hook<>, &Session::id_hook>,
      boost::intrusive::key_of_value<IdOf>,
      boost::intrusive::hash<std::hash<std::string_view>>,
      boost::intrusive::equal<std::equal_to<std::string_view>>>;

  struct Places {
    UseList idle;    // least recently used first
    AgeList by_age;  // first registered first; draining ones are not in it
    std::uint32_t size = 0;
  };
  [[nodiscard]] Places& places_of(const Session& session) {
    return session.is_forwarded ? forwarded_ : direct_;
  }
  [[nodiscard]] std::uint32_t forwarded_capacity() const;
  [[nodiscard]] Nanos quiet() const { return config_.turn / 5; }
  [[nodiscard]] bool had_its_turn(const Session& session, MonoTime now) const {
    return now - session.connected_at >= config_.turn;
  }

  Config config_;
  bool has_warned_ = false;
  std::vector<std::unique_ptr<Session>> slots_;
  std::vector<std::uint32_t> free_slots_;
  std::vector<IdSet::bucket_type> buckets_;
  IdSet by_id_;
  Places direct_;
  Places forwarded_;
  UseList busy_;
  Stats stats_;
};

}  // namespace benchfs::rpc
