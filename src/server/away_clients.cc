#include "server/away_clients.h"

#include <algorithm>

namespace benchfs::server {

void AwayClients::add(std::uint64_t client_uid,
                      rpc::Departure departure,
                      pid_t process,
                      MonoTime now) {
  bool is_evicted = departure == rpc::Departure::kEvicted;
  Nanos grace = is_evicted ? std::max(config_.grace_of_evicted, config_.grace) : config_.grace;
  Away away{.locks_until = now + config_.grace, .opens_until = now + grace, .process = process};
  if (departure == rpc::Departure::kDied) {
    on_process_ended(away, now);
  }
  away_.insert_or_assign(client_uid, away);
}

// A child of fork never has its locks.
void AwayClients::on_process_ended(Away& away, MonoTime now) const {
  away.locks_until = std::min(away.locks_until, now);
  away.opens_until = std::min(away.opens_until, now + config_.grace_of_heirs);
  away.process = 0;
}

void AwayClients::expire(MonoTime now, Ends& ends) {
  for (auto it = away_.begin(); it != away_.end();) {
    std::uint64_t client_uid = it->first;
    Away& away = it->second;
    if (away.process != 0 && config_.has_ended(away.process)) {
      on_process_ended(away, now);
      ends.on_client_died(client_uid);
    }
    bool do_locks_end = away.locks_until <= now && ends.may_end_locks(client_uid);
    bool do_opens_end = do_locks_end && away.opens_until <= now;
    if (do_locks_end) {
      ends.end_locks(client_uid);
    }
    if (do_opens_end) {
      ends.end_opens(client_uid);
    }
    it = do_opens_end ? away_.erase(it) : std::next(it);
  }
}

}  // namespace benchfs::server
