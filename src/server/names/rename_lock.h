// The lease under which one directory at a time moves in the whole file system, so that no two
// moves can build a loop. Shard 0 grants it.
//
// A lease ends on its own, because its owner may die. The owner counts it from before it asked, and
// in time that also passes while its machine is suspended, so that it ends there before it ends at
// shard 0. The owner extends the lease before the step that moves the directory, gives that step no
// longer than to step_end(), and starts over when the lease may have ended in between.
//
// Thread: the shard's.
#pragma once

#include <cstdint>
#include <string>

#include "base/error.h"
#include "rpc/request.h"
#include "server/names/owed_calls.h"
#include "server/peers.h"

namespace benchfs::server {

class RenameLock {
 public:
  static constexpr wire::ShardId kGranter{0};

  RenameLock(Peers& peers, OwedCalls& owed, Nanos lease)
      : peers_(peers), owed_(owed), lease_(lease) {}

  // --- the owner's half ---

  struct Lease {
    std::uint64_t owner = 0;
    std::uint64_t move = 0;  // its number: a later owner has a higher one
    BootTime until;
  };
  // Waits until no other owner has it; `waits_for` says for whom meanwhile.
  rt::CoResult<Lease> acquire(std::string& waits_for, Deadline deadline);
  // The lease has a third of its length left now. Errc::kBusy when it has ended, or could not be
  // extended in time: others may have moved directories meanwhile.
  rt::CoStatus extend(Lease& lease, Deadline deadline);
  // By when a step must have ended for there to be time to extend the lease.
  [[nodiscard]] Deadline step_end(const Lease& lease) const {
    return Deadline::after(lease.until - boot_now() - lease_ / 6);
  }
  // How long the owner of a lease may pause before it extends it.
  [[nodiscard]] Nanos extend_every() const { return lease_ / 3; }
  // Owed to shard 0: a lease that nobody uses would keep all directories where they are.
  void release(std::uint64_t owner);

  // --- shard 0's half ---

  rt::Task<void> lock_renames(rpc::Request& request);
  rt::Task<void> unlock_renames(rpc::Request& request);
  // An earlier life of shard 0, which ended before `now`, may have granted it to anybody.
  void assume_granted(MonoTime now) {
    owner_ = kUnknownOwner;
    until_ = now + lease_;
  }

 private:
  static constexpr std::uint64_t kUnknownOwner = UINT64_MAX;

  // Grants the owner the lease, or extends it.
  rt::CoResult<Lease> ask(std::uint64_t owner, Deadline deadline);
  Result<std::uint64_t> grant(std::uint64_t owner, wire::ShardId shard, std::uint32_t lease_ms);
  void take_back(std::uint64_t owner);

  Peers& peers_;
  OwedCalls& owed_;
  Nanos lease_;
  std::uint64_t owner_ = 0;  // shard 0: who has it, and where that directory's old name is
  wire::ShardId holder_{0};
  std::uint64_t move_ = 0;  // of the owner
  MonoTime until_{};
};

}  // namespace benchfs::server
