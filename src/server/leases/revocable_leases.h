// Leases and the sessions over which their holders are told that one is revoked: what the tables of
// this folder have in common.
//
// A lease outlives the session in which it was granted, because a client whose connection broke may
// not know it yet: when the client registers again, it is told over its new session. A revoked
// lease ends with the client's acknowledgement over the session it has now, with its goodbye, or by
// itself.
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
  // As those of LeaseTable.
  explicit RevocableLeases(std::size_t max_leases, std::uint64_t last_sequence = 0)
      : table_(max_leases, last_sequence) {}
  ~RevocableLeases() = default;

  // Revokes the leases on the key, but for those of the client `except`, and tells their holders if
  // that has not been done.
  void tell_holders(const EntryKey& key, std::uint64_t except = 0);

  // Who holds leases on the key, but for `except`, as users know them: the id of a client says its
  // host and process.
  [[nodiscard]] std::string holders_of(EntryRef key, std::uint64_t except = 0) const;

  LeaseTable table_;
  rt::CancelSource* stopping_ = nullptr;

 private:
  void tell(wire::SessionId session, const EntryKey& key, std::uint64_t sequence);

  rpc::Server* server_ = nullptr;
  struct Client {
    wire::SessionId session;
    std::string id;
    bool is_away = false;  // has no session
  };
  std::unordered_map<std::uint64_t, Client> clients_;  // by uid: with a session, or leases
  std::size_t away_ = 0;
};

}  // namespace benchfs::server
