// Keeps what this shard owes to others, and does it until it is done: chunks to free, truncations
// to roll forward, sizes to settle, inodes to forget.
//
// Works for one shard at a time are a lane: while the shard answers, 64 of them are under way;
// while it does not, one is tried again and again, after 20 ms at first and every second later. No
// caller's deadline ends anything here. The owner bounds what is owed: one work for each inode and
// shard.
//
// Thread: the shard's.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "base/backoff.h"
#include "base/clock.h"
#include "base/error.h"
#include "server/peers.h"
#include "wire/ids.h"

namespace benchfs::server {

class Reclaimer {
 public:
  enum class Kind : std::uint8_t { kCut, kFree, kSettle, kForget };
  static constexpr std::size_t kKinds = 4;
  struct Work {
    Kind kind = Kind::kCut;
    wire::InodeId inode;
    wire::ShardId shard;     // that has to take part; may be this one
    bool is_forced = false;  // settle although somebody writes
    std::uint64_t life = 0;  // forget: of the shard that had the name, and its ticket
    std::uint64_t ticket = 0;
    wire::ShardId named_on{};
    MonoTime since{};  // owed; set by owe()
  };
  enum class Outcome : std::uint8_t {
    kDone,   // or no longer needed
    kLater,  // the shard answered, but it is too early
  };
  // Does the works.
  class Owner {
   public:
    virtual ~Owner() = default;
    // An error that may pass (the shard does not answer) is followed by another attempt; any other
    // error is logged, and then too.
    virtual rt::CoResult<Outcome> perform(Work work, Deadline deadline) = 0;
  };

  Reclaimer(Peers& peers, Owner& owner) : peers_(peers), owner_(owner) {}
  Reclaimer(const Reclaimer&) = delete;
  Reclaimer& operator=(const Reclaimer&) = delete;

  void owe(Work work, Nanos delay = Nanos::zero());

  struct Silent {
    wire::ShardId shard;
    Nanos age{};
  };
  struct Stats {
    std::array<std::uint64_t, kKinds> works{};  // by kind
    Nanos oldest{};                             // about
    std::vector<Silent> silent;                 // the shards that do not answer
  };
  [[nodiscard]] Stats stats() const;
  // Since when the shard does not answer; nothing when it does, or nothing is owed to it.
  [[nodiscard]] std::optional<MonoTime> silent_since(wire::ShardId shard) const;

 private:
  struct Lane {
    wire::ShardId shard;
    std::deque<Work> due;
    std::multimap<MonoTime, Work> later;  // by when they are due
    std::size_t under_way = 0;
    bool is_running = false;
    std::optional<MonoTime> silent_since;
    MonoTime next_warning{};
    rt::WaitQueue changed;
  };

  Lane& lane(wire::ShardId shard);
  rt::Task<void> run(Lane& lane);
  rt::Task<void> perform(Lane& lane, Work work);
  void note_silence(Lane& lane, const Error& error);

  Peers& peers_;
  Owner& owner_;
  std::vector<std::unique_ptr<Lane>> lanes_;  // by shard, made when needed
  std::array<std::uint64_t, kKinds> counts_{};
};

}  // namespace benchfs::server
