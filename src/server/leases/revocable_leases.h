// Leases and the sessions over which their holders are told that one is revoked: what the tables of
// this folder have in common.
//
// A lease outlives the session in which it was granted, because a client whose connection broke may
// not know it yet: when the client registers again, it is told over its new session. A revoked
// lease ends with the client's acknowledgement over the session it has now, with its goodbye, or by
// itself.
//
// Programs that came through a node door are told nothing of what validity words show
// (wire/validity.h): those of this node see it at once, those of another node once the shard there
// has shown and acknowledged it.
//
// Thread: the shard's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <unordered_map>

#include "rpc/server.h"
#include "rt/sync.h"
#include "server/leases/lease_table.h"
#include "wire/ids.h"
#include "wire/validity.h"

namespace benchfs::server {

class RevocableLeases {
 public:
  RevocableLeases(const RevocableLeases&) = delete;
  RevocableLeases& operator=(const RevocableLeases&) = delete;

  // The server that reaches the clients. Waits end early when `stopping` is cancelled.
  void attach(rpc::Server& server, rt::CancelSource& stopping) {
    server_ = &server;
    stopping_ = &stopping;
  }

  void on_acknowledged(wire::SessionId session, std::uint64_t sequence);
  void on_client_registered(wire::SessionId session, std::uint64_t client_uid);
  // Its leases go on.
  void on_session_lost(std::uint64_t client_uid);
  // The client has given everything back.
  void on_goodbye(std::uint64_t client_uid);

  // Forgets what has ended; call now and then.
  void expire(MonoTime now);
  [[nodiscard]] std::size_t size() const { return table_.size(); }
  [[nodiscard]] const LeaseTable::Stats& stats(LeaseKind kind) const { return table_.stats(kind); }

 protected:
  // What validity words show.
  enum class Shown : std::uint8_t { kNothing, kAll };

  // The last two as those of LeaseTable.
  explicit RevocableLeases(Shown shown, std::size_t max_leases, std::uint64_t last_sequence = 0)
      : table_(max_leases, last_sequence), shown_(shown) {}
  ~RevocableLeases() = default;

  // Revokes the leases on the key, but for those of the client `except`, and tells their holders if
  // that has not been done.
  void tell_holders(const EntryKey& key, std::uint64_t except = 0);

  // Who holds leases on the key, but for `except`, as users know them: the id of a client says its
  // host and process.
  [[nodiscard]] std::string holders_of(EntryRef key, std::uint64_t except = 0) const;

  // For kAll: shows programs of this node that the entry may have changed.
  void show(EntryRef key) { server_->invalidate(wire::validity_word_of(key)); }
  // The client sees what is shown: it needs no lease.
  [[nodiscard]] bool sees_what_is_shown(std::uint64_t client_uid) const;

  LeaseTable table_;
  rt::CancelSource* stopping_ = nullptr;

 private:
  enum class Learns : std::uint8_t {
    kByMessage,
    kFromOurWords,
    kFromFarWords,  // those of the shard that forwards for it
  };
  // How to reach a client in its session.
  struct Reached {
    wire::SessionId session;
    Learns learns = Learns::kByMessage;
  };
  struct Client {
    Reached reached;
    std::string id;
    bool is_away = false;  // has no session
  };
  [[nodiscard]] Learns way_of(const rpc::Session& session) const;
  void tell(Reached client, const EntryKey& key, std::uint64_t sequence);

  Shown shown_;
  rpc::Server* server_ = nullptr;
  std::unordered_map<std::uint64_t, Client> clients_;  // by uid: with a session, or leases
  std::size_t away_ = 0;
};

}  // namespace benchfs::server
