// What a home knows of the changes that other shards make in its directories.
//
// A shard marks a directory before it changes the first entry of it there
// (names/directory_marks.h). When somebody wants the attributes, the marked shards are asked; what
// they did goes into the store. One question at a time, for everybody who came before it began.
//
// A shard that does not answer is waited for once for kPatience, and for kSilentPatience until it
// answers again: what it did shows then.
//
// Thread: the shard's.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "meta/meta_store.h"
#include "rt/sync.h"
#include "server/peers.h"
#include "wire/messages.h"

namespace benchfs::server {

class DirectoryTimes {
 public:
  static constexpr Nanos kPatience = std::chrono::seconds(1);
  static constexpr Nanos kSilentPatience = std::chrono::milliseconds(50);
  // Of all directories together; about 50 bytes each. Beyond, shards are told to come later.
  static constexpr std::size_t kMaxMarks = std::size_t{4} << 20;

  DirectoryTimes(meta::MetaStore& store, Peers& peers) : store_(store), peers_(peers) {}
  DirectoryTimes(const DirectoryTimes&) = delete;
  DirectoryTimes& operator=(const DirectoryTimes&) = delete;

  // Nobody but this shard changes the directory: its attributes are in the store.
  [[nodiscard]] bool is_at_rest(wire::InodeId directory) const {
    if (states_.empty()) {
      return true;
    }
    auto found = states_.find(directory);
    return found == states_.end() || found->second.marks.empty();
  }
  // Brings the attributes in the store up to a moment of the call.
  rt::CoStatus ask(wire::InodeId directory, Deadline deadline);
  // ENOENT when there is no such directory here, kBusy beyond kMaxMarks.
  Status take_mark(const wire::MarkDirectoryRequest& mark);
  // The shard started again with this life: its entries are gone. Later stamps are not below it.
  void forget_shard(wire::ShardId shard, std::uint64_t life);
  void forget(wire::InodeId directory);

 private:
  struct Mark {
    wire::ShardId shard;
    std::uint64_t stamp = 0;
    std::uint64_t changes = 0;  // of which the store knows
  };
  struct Subdirectories {
    wire::ShardId shard;
    std::uint32_t count = 0;
  };
  struct Round {
    bool is_over = false;
    rt::WaitQueue ended;
  };
  struct State {
    std::vector<Mark> marks;
    std::vector<Subdirectories> subdirectories;  // of other shards, where there are any
    std::shared_ptr<Round> next;
    bool has_round = false;  // one is under way
  };
  struct Answer {
    wire::ShardId shard;
    std::uint64_t asked = 0;  // the stamp
    Result<wire::QueryDirectoryReply> reply;
  };

  rt::Task<void> run_rounds(wire::InodeId directory);
  rt::Task<void> ask_one(wire::QueryDirectoryRequest body, Answer* out);
  void take_up(wire::InodeId directory, const std::vector<Answer>& answers);
  void set_subdirectories(State& state, wire::ShardId shard, std::uint32_t count);
  void store(wire::InodeId directory, const State& state, std::int64_t changed_ns);
  State* find(wire::InodeId directory) {
    auto found = states_.find(directory);
    return found == states_.end() ? nullptr : &found->second;
  }
  void erase_if_unneeded(wire::InodeId directory);

  meta::MetaStore& store_;
  Peers& peers_;
  std::unordered_map<wire::InodeId, State> states_;
  std::size_t mark_count_ = 0;
  std::set<wire::ShardId> silent_;
};

}  // namespace benchfs::server
