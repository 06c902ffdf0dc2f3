// Which files this life of a chunk server may have lost bytes of.
//
// A shard that starts again has lost the chunks it held, while the inodes live on at their homes. A
// home that starts again has lost its inodes, and the shards drop their chunks. In both cases
// "nothing stored" would read as zeros, so it is refused (kDataLost).
//
// Within its life a home numbers its inodes upwards, from a random start. A shard that comes back
// asks every home which numbers it has given out, and takes only later ones. When a home comes
// back, the shard takes the numbers of that life only. In the first life of all shards no file is
// refused. See docs/adr/0010-lost-chunks.md.
//
// Thread: the shard's.
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_set>
#include <vector>

#include "base/error.h"
#include "meta/inode_table.h"
#include "server/peers.h"
#include "wire/ids.h"
#include "wire/messages.h"

namespace benchfs::server {

class OlderFiles {
 public:
  // The home is asked before the numbers behind these are taken. Two lives of a home come this
  // close to each other once in 131072 times.
  static constexpr std::uint64_t kSpan = std::uint64_t{1} << 30;

  explicit OlderFiles(const Peers& peers, std::uint64_t span = kSpan)
      : peers_(peers), span_(span) {}

  // This shard had its place in a complete file system before, and numbers its `own` inodes anew:
  // until another home has answered, its files are kNotReady. Borrowed.
  void begin(const meta::InodeTable& own);
  // Asks every home, again and again until it has answered or `cancel` says stop.
  rt::Task<void> ask_all(rt::CancelSource& cancel);
  [[nodiscard]] std::uint32_t unanswered() const { return unanswered_; }
  // A home started again during the life of this shard. Without its first counter it is asked.
  void on_new_life(wire::ShardId home, std::optional<std::uint64_t> first_counter);

  // Before bytes are read or counted. kDataLost: what was stored of this file may be lost.
  // kNotReady: its home has not answered.
  [[nodiscard]] Status check(wire::InodeId inode) const {
    return homes_.empty() ? Status{} : check_home(inode);
  }
  // Before bytes are written: inodes that the home may not have are its own to refuse.
  [[nodiscard]] Status check_write(wire::InodeId inode) const {
    return homes_.empty() ? Status{} : check_home_write(inode);
  }
  // The inode is of another life of its home than this shard knows: ask_again() before check().
  [[nodiscard]] bool is_unknown(wire::InodeId inode) const {
    return !homes_.empty() && is_unknown_to_home(inode);
  }
  // kNotReady: it does not answer.
  rt::CoStatus ask_again(wire::ShardId home);
  // check(), after the home of an unknown inode was asked.
  rt::CoStatus check_or_ask(wire::InodeId inode);

  // The file was cut to nothing: it misses nothing any more.
  void excuse(wire::InodeId inode);
  // The inode is gone.
  void forget(wire::InodeId inode) { excused_.erase(inode); }

 private:
  static constexpr std::uint64_t kAllCounters = std::uint64_t{1} << wire::InodeId::kCounterBits;

  // Inodes with begin <= counter < end are older; those of the life are between begin and
  // end + span.
  struct Home {
    bool has_answered = true;
    bool came_back = false;  // since this shard started, which lost nothing of its life
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
    std::uint64_t span = kAllCounters;  // until the home or the shard starts again
  };

  [[nodiscard]] const Home* home_of(wire::InodeId inode) const;
  static bool is_older(const Home& home, wire::InodeId inode) {
    return inode.counter() >= home.begin && inode.counter() < home.end;
  }
  static bool is_taken(const Home& home, wire::InodeId inode) {
    return inode.counter() - home.end < home.span;
  }
  [[nodiscard]] Status check_home(wire::InodeId inode) const;
  [[nodiscard]] Status check_home_write(wire::InodeId inode) const;
  [[nodiscard]] bool is_unknown_to_home(wire::InodeId inode) const;
  void learn(wire::ShardId shard, const wire::InodeRangeReply& range);
  rt::Task<void> ask(wire::ShardId shard, rt::CancelSource* cancel);

  const Peers& peers_;
  std::uint64_t span_;
  const meta::InodeTable* own_ = nullptr;
  std::unordered_set<wire::InodeId> excused_;
  std::vector<Home> homes_;  // empty until a shard starts again
  std::uint32_t unanswered_ = 0;
};

}  // namespace benchfs::server
