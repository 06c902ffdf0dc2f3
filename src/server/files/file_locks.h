// The locks that programs have on the files of this shard (fcntl, flock).
//
// They are advice: reads and writes do not look at them. A client's locks end when it unlocks them,
// leaves, or is given up after its grace like its opens. Those of an open file that processes share
// end when one of its sharers unlocks them, or when the last sharer has left or ended. They are in
// memory only: a shard that starts again has lost them with the files.
//
// Thread: the shard's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <unordered_set>

#include "base/error.h"
#include "base/hash.h"
#include "rt/sync.h"
#include "rt/task.h"
#include "server/files/range_locks.h"
#include "wire/ids.h"
#include "wire/messages.h"

namespace benchfs::server {

class FileLocks {
 public:
  static constexpr std::size_t kMaxLocks = 64 * 1024;  // of all files; and as many sharers

  // Carries it out for the client, or returns the lock that is in the way. ENOLCK: too many.
  // `opener_has_it`: the opener of a shared open file has it open.
  Result<std::optional<RangeLock>> carry_out(const wire::LockRequest& wanted,
                                             std::uint64_t client_uid,
                                             bool opener_has_it = false);
  // Returns when a lock of the file has ended.
  rt::Task<rt::Wake> wait(wire::InodeId inode, Deadline deadline, rt::CancelSource* stopping);

  // The client has closed what it had opened under this number.
  void on_close(wire::InodeId inode, std::uint64_t client_uid, std::uint64_t number);
  // The client has none of the opens from <= number < to any more, but for those in `kept`
  // (ascending).
  void keep_only(std::uint64_t client_uid,
                 std::uint64_t from,
                 std::uint64_t to,
                 std::span<const std::uint64_t> kept);
  // The client is gone.
  void drop_client(std::uint64_t client_uid);
  // The file is gone.
  void drop_file(wire::InodeId inode);

  struct Stats {
    std::uint64_t held = 0;
    std::uint64_t waiting = 0;
  };
  [[nodiscard]] Stats stats() const { return {.held = held_, .waiting = waiting_}; }

 private:
  struct Hash {
    std::size_t operator()(const LockOwner& owner) const {
      return mix64(owner.client_uid ^ mix64(owner.number));
    }
  };
  struct Kind {
    RangeLocks locks;
    // The clients that have an open file, by open file.
    std::unordered_map<LockOwner, std::unordered_set<std::uint64_t>, Hash> sharers;
    [[nodiscard]] bool is_empty() const { return locks.size() + sharers.size() == 0; }
  };
  struct Locks {
    Kind records;
    Kind whole_file;
    rt::WaitQueue ended;
    [[nodiscard]] bool is_empty() const { return records.is_empty() && whole_file.is_empty(); }
  };
  void join(Kind& kind, const LockOwner& open_file, std::uint64_t client_uid);
  // The last one ends the locks of the open file.
  void leave(Locks& file, Kind& kind, const LockOwner& open_file, std::uint64_t client_uid);
  // The client leaves the open files that are `left`.
  template <typename IsLeft>
  void leave_all(Locks& file, Kind& kind, std::uint64_t client_uid, IsLeft is_left);
  // Shared with those who wait.
  std::unordered_map<wire::InodeId, std::shared_ptr<Locks>> files_;
  void add(std::uint64_t client_uid, std::size_t before, std::size_t after);

  // Locks and shares, by client.
  std::unordered_map<std::uint64_t, std::size_t> held_by_;
  std::size_t held_ = 0;
  std::size_t sharers_ = 0;
  std::size_t waiting_ = 0;
};

}  // namespace benchfs::server
