// Which files are older than this life of a chunk server.
//
// A shard that starts again has lost the chunks it held, while the inodes live on at their homes.
// Within its life a home numbers its inodes upwards: a shard that comes back asks every home which
// numbers it has given out, and refuses (kDataLost) what is asked of it about these, because
// "nothing stored" would read as zeros. In the first life of a shard no file is older. See
// docs/adr/0010-lost-chunks.md.
//
// Thread: the shard's.
#pragma once

#include <cstdint>
#include <unordered_set>
#include <vector>

#include "base/error.h"
#include "server/peers.h"

namespace benchfs::server {

class OlderFiles {
 public:
  explicit OlderFiles(const Peers& peers) : peers_(peers) {}

  // This shard had its place in a complete file system before: until a home has answered, its files
  // are kNotReady.
  void begin();
  // Asks every home, again and again until it has answered or `cancel` says stop.
  rt::Task<void> ask_all(rt::CancelSource& cancel);
  [[nodiscard]] std::uint32_t unanswered() const { return unanswered_; }

  // kDataLost: what was stored of this file may be lost. kNotReady: its home has not answered.
  [[nodiscard]] Status check(wire::InodeId inode) const {
    return homes_.empty() ? Status{} : check_home(inode);
  }
  // The file was cut to nothing: it misses nothing any more.
  void excuse(wire::InodeId inode) {
    if (!homes_.empty() && excused_.size() < kMaxExcused) {
      excused_.insert(inode);
    }
  }

 private:
  // Inodes with begin <= counter < end are older.
  struct Home {
    bool has_answered = false;
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
  };

  [[nodiscard]] Status check_home(wire::InodeId inode) const;
  rt::Task<void> ask(wire::ShardId shard, rt::CancelSource& cancel);

  static constexpr std::size_t kMaxExcused = std::size_t{1} << 20;  // later ones stay refused

  const Peers& peers_;
  std::unordered_set<wire::InodeId> excused_;
  std::vector<Home> homes_;  // empty in the first life
  std::uint32_t unanswered_ = 0;
};

}  // namespace benchfs::server
