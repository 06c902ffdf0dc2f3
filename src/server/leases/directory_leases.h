// Which clients may have an entry of a directory in their cache, and how to make them forget it.
//
// A client may use what a lookup of a directory told it for Config::lease, counted from when it
// asked. Before a rename of that directory is answered, all clients that may still use the old name
// are told at once and waited for: each until its acknowledgement, its goodbye, or the end of its
// lease, whichever comes first.
//
// Programs of this node need neither be told nor waited for: they look at a word that changes with
// the entry (wire/validity.h), and no lease of theirs is kept.
//
// When the table is full, a further lease is not kept by client: a bucket of entries remembers
// until when somebody may use one of them, and a revocation of an entry in it waits that long. The
// same covers what an earlier life of the shard granted.
//
// Thread: the shard's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/clock.h"
#include "rt/task.h"
#include "server/entry_key.h"
#include "server/leases/revocable_leases.h"

namespace benchfs::server {

class DirectoryLeases : public RevocableLeases {
 public:
  struct Config {
    Nanos lease = std::chrono::seconds(10);
    std::size_t max_leases = 256 * 1024;  // about 250 bytes each
  };

  explicit DirectoryLeases(Config config);
  // An earlier life of this shard, which ended before `now`, may have granted any entry.
  void assume_all_granted(MonoTime now);

  // The entry is about to be told to this client. Its session may have ended meanwhile: the client
  // may still get the reply, in a later session.
  void grant(const EntryKey& key, std::uint64_t client_uid, MonoTime now);
  // Returns when no client uses the entry any more, provided that none is granted meanwhile.
  rt::Task<void> revoke(EntryKey key);

 private:
  // Until when an entry of the bucket may be used by clients that are not known.
  [[nodiscard]] MonoTime& unknown_until(const EntryKey& key);

  Config config_;
  std::vector<MonoTime> unknown_until_;
};

}  // namespace benchfs::server
