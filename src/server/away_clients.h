// The clients that have no session, and until when they may return to what they left.
//
// An open or a lock of a client that stays away ends with its grace. A client that was evicted most
// likely computes: what it has open is kept for a day. Where the client is a process of this node,
// its end is noticed: nobody comes back then but its children, and the program that it became,
// which may still open again what it had open.
//
// Thread: the shard's.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <unordered_map>

#include "base/clock.h"
#include "rpc/server.h"

namespace benchfs::server {

class AwayClients {
 public:
  struct Config {
    Nanos grace = std::chrono::seconds(30);
    Nanos grace_of_evicted = std::chrono::hours(24);  // for opens, if longer
    Nanos grace_of_heirs = std::chrono::seconds(30);  // for opens, at most
    std::function<bool(pid_t process)> has_ended;     // for certain
  };
  explicit AwayClients(Config config) : config_(std::move(config)) {}

  // A client left, other than with a goodbye. `process`: 0: not known.
  void add(std::uint64_t client_uid, rpc::Departure departure, pid_t process, MonoTime now);
  // It is back, or will never be.
  void remove(std::uint64_t client_uid) { away_.erase(client_uid); }

  // What ends now: first its locks, then what it had open, which ends its stay. `may_end_locks`:
  // false puts the end off. on_client_died(): its process has ended, while it was away.
  class Ends {
   public:
    virtual void on_client_died(std::uint64_t client_uid) = 0;
    virtual bool may_end_locks(std::uint64_t client_uid) = 0;
    virtual void end_locks(std::uint64_t client_uid) = 0;
    virtual void end_opens(std::uint64_t client_uid) = 0;

   protected:
    ~Ends() = default;
  };
  void expire(MonoTime now, Ends& ends);

  [[nodiscard]] std::size_t size() const { return away_.size(); }

 private:
  struct Away {
    MonoTime locks_until;  // somebody may wait for them
    MonoTime opens_until;
    pid_t process;  // whose end is to be noticed; 0: none
  };
  void on_process_ended(Away& away, MonoTime now) const;

  Config config_;
  std::unordered_map<std::uint64_t, Away> away_;  // by client uid
};

}  // namespace benchfs::server
