// The locks that programs have on the files of this shard (fcntl, flock).
//
// They are advice: reads and writes do not look at them. A client's locks end when it unlocks them,
// leaves, or is given up after its grace like its opens. They are in memory only: a shard that
// starts again has lost them with the files.
//
// Thread: the shard's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <unordered_map>

#include "base/error.h"
#include "rt/sync.h"
#include "rt/task.h"
#include "server/files/range_locks.h"
#include "wire/ids.h"
#include "wire/messages.h"

namespace benchfs::server {

class FileLocks {
 public:
  static constexpr std::size_t kMaxLocks = 64 * 1024;  // of all files

  // Carries it out for the client, or returns the lock that is in the way. ENOLCK: too many.
  Result<std::optional<RangeLock>> carry_out(const wire::LockRequest& wanted,
                                             std::uint64_t client_uid);
  // Returns when a lock of the file has ended.
  rt::Task<rt::Wake> wait(wire::InodeId inode, Deadline deadline, rt::CancelSource* stopping);

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
  struct Locks {
    RangeLocks records;
    RangeLocks whole_file;
    rt::WaitQueue ended;
  };
  // Shared with those who wait.
  std::unordered_map<wire::InodeId, std::shared_ptr<Locks>> files_;
  void add(std::uint64_t client_uid, std::size_t before, std::size_t after);

  std::unordered_map<std::uint64_t, std::size_t> held_by_;  // by client
  std::size_t held_ = 0;
  std::size_t waiting_ = 0;
};

}  // namespace benchfs::server
