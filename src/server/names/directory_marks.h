// What the homes of directories know of the entries that change on this shard.
//
// The times and the link count of a directory are at its home, most entries on other shards. Before
// this shard changes the first entry of a directory it says so once to the home (a mark); then it
// only counts, and the home asks when somebody wants to know. A mark ends when nothing changed
// between two questions. So a change costs no request, and a directory at rest costs its stat none.
//
// A home that does not answer holds up the first change for kPatience, once; it is told when it
// answers again.
//
// Thread: the shard's.
#pragma once

#include <cstdint>
#include <unordered_map>

#include "base/clock.h"
#include "meta/meta_store.h"
#include "rpc/request.h"
#include "server/names/owed_calls.h"
#include "server/peers.h"

namespace benchfs::server {

class DirectoryMarks {
 public:
  static constexpr Nanos kPatience = std::chrono::seconds(1);

  DirectoryMarks(meta::MetaStore& store, Peers& peers, OwedCalls& owed)
      : store_(store), peers_(peers), owed_(owed) {}
  DirectoryMarks(const DirectoryMarks&) = delete;
  DirectoryMarks& operator=(const DirectoryMarks&) = delete;

  // Entries of the directory may be changed now: its home will ask, or is this shard.
  [[nodiscard]] bool may_change(wire::InodeId directory) const {
    if (peers_.is_self(directory.home())) {
      return true;
    }
    auto found = marks_.find(directory);
    return found != marks_.end() && found->second.phase != Phase::kTold;
  }
  // Returns when may_change(), with the errors kBusy (too much is owed) and kDeadline.
  rt::CoStatus prepare(wire::InodeId directory, Deadline deadline);
  // An entry of it was changed. Before anything else happens after may_change().
  void note(wire::InodeId directory, std::int64_t now_ns);
  // It was removed.
  void forget(wire::InodeId directory) { marks_.erase(directory); }

  rt::Task<void> query(rpc::Request& request);

 private:
  enum class Phase : std::uint8_t {
    kTold,   // the home has not answered yet
    kOwed,   // nor will be waited for
    kKnown,  // it has
  };
  struct Mark {
    std::uint64_t stamp = 0;
    std::uint64_t changes = 0;
    std::int64_t changed_ns = 0;
    Phase phase = Phase::kTold;
    bool is_idle = false;  // nothing changed before the last question
  };
  rt::Task<void> tell(wire::InodeId directory, std::uint64_t stamp);
  Mark* find(wire::InodeId directory) {
    auto found = marks_.find(directory);
    return found == marks_.end() ? nullptr : &found->second;
  }

  meta::MetaStore& store_;
  Peers& peers_;
  OwedCalls& owed_;
  std::unordered_map<wire::InodeId, Mark> marks_;
  std::uint64_t last_stamp_ = 0;
  rt::WaitQueue answered_;
};

}  // namespace benchfs::server
