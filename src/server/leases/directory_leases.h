// Which clients may have an entry of a directory in their cache, and how to make them forget it.
//
// A client may use what a lookup of a directory told it for Config::lease, counted from when it
// asked. Before a rename of that directory is answered, all clients that may still use the old name
// are told at once and waited for: each until its acknowledgement, its goodbye, or the end of its
// lease, whichever comes first. A lease outlives the session in which it was granted, because a
// client whose connection broke may not know it yet: when the client registers again, it is told
// over its new session.
//
// When the table is full, a further lease is not kept by client: a bucket of entries remembers
// until when somebody may use one of them, and a revocation of an entry in it waits that long. The
// same covers what an earlier life of the shard granted.
//
// Thread: the shard's.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "rpc/server.h"
#include "rt/sync.h"
#include "server/leases/lease_table.h"
#include "wire/ids.h"

namespace benchfs::server {

class DirectoryLeases {
 public:
  struct Config {
    Nanos lease = std::chrono::seconds(10);
    std::size_t max_leases = 256 * 1024;  // about 250 bytes each
  };

  explicit DirectoryLeases(Config config);
  DirectoryLeases(const DirectoryLeases&) = delete;
  DirectoryLeases& operator=(const DirectoryLeases&) = delete;

  // The server that reaches the clients. Revocations end early when `stopping` is cancelled.
  void attach(rpc::Server& server, rt::CancelSource& stopping) {
    server_ = &server;
    stopping_ = &stopping;
  }
  // An earlier life of this shard, which ended before `now`, may have granted any entry.
  void assume_all_granted(MonoTime now);

  // The entry is about to be told to this client. Its session may have ended meanwhile: the client
  // may still get the reply, in a later session.
  void grant(const EntryKey& key, std::uint64_t client_uid, MonoTime now);
  // Returns when no client uses the entry any more, provided that none is granted meanwhile.
  rt::Task<void> revoke(EntryKey key);
  void on_acknowledged(wire::SessionId session, std::uint64_t sequence);

  void on_client_registered(wire::SessionId session, std::uint64_t client_uid);
  // Its leases go on.
  void on_session_lost(std::uint64_t client_uid) { sessions_.erase(client_uid); }
  // The client has given everything back.
  void on_goodbye(std::uint64_t client_uid);

  // Forgets what has ended; call now and then.
  void expire(MonoTime now) { table_.expire(now); }
  [[nodiscard]] std::size_t size() const { return table_.size(); }

 private:
  // Until when an entry of the bucket may be used by clients that are not known.
  [[nodiscard]] MonoTime& unknown_until(const EntryKey& key);
  void tell_holders(const EntryKey& key);
  void tell(wire::SessionId session, const EntryKey& key, std::uint64_t sequence);

  Config config_;
  rpc::Server* server_ = nullptr;
  rt::CancelSource* stopping_ = nullptr;
  LeaseTable table_;
  std::unordered_map<std::uint64_t, wire::SessionId> sessions_;  // by client uid
  std::vector<MonoTime> unknown_until_;
};

}  // namespace benchfs::server
