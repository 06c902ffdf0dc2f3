// What a home knows of its regular files beyond their attributes: which chunk shards have marked
// them, and what is owed.
//
//   ALIVE --truncate--> CUT --all shards have cut--> ALIVE
//   ALIVE, CUT --no name, no opens--> DYING --11 s--> GONE;  DYING, GONE --all shards have freed-->
//   erased
//
// Stored bytes lie only on marked shards and on those that hold chunks below the settled size. A
// file without marks that is ALIVE has no entry, so small files at rest cost nothing.
//
// Thread: the shard's.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "rt/sync.h"
#include "wire/ids.h"
#include "wire/messages.h"

namespace benchfs::server {

struct Mark {
  wire::ShardId shard;
  bool is_plain = false;     // for writes that are no appends
  bool is_settling = false;  // to be settled, which is owed
  std::uint64_t stamp = 0;
  std::uint64_t number = 0;  // in the order of marks
};

// Asks all marked shards once, for everybody who came before it began.
struct QueryRound {
  Deadline deadline = Deadline::never();
  std::vector<wire::ShardId> waits_for;  // who has not answered
  Result<wire::QueryChunksReply> sum;
  bool is_over = false;
  rt::WaitQueue ended;
};

// The truncations of a file since some moment: what they have left of a range that was reserved for
// an append. Only those to a smaller size than all later ones count.
class Cuts {
 public:
  void add(std::uint64_t truncation, std::uint64_t size) {
    if (cuts_.empty()) {
      since_ = truncation - 1;
    }
    while (!cuts_.empty() && cuts_.back().size >= size) {
      cuts_.pop_back();
    }
    if (cuts_.size() == kMost) {
      since_ = cuts_.front().truncation;
      cuts_.erase(cuts_.begin());
    }
    cuts_.push_back({truncation, size});
  }
  void clear() { cuts_.clear(); }
  [[nodiscard]] bool is_empty() const { return cuts_.empty(); }
  // The smallest size since `truncation` was in force; none when that is not known. Not empty.
  [[nodiscard]] std::optional<std::uint64_t> smallest_since(std::uint64_t truncation) const {
    if (truncation < since_) {
      return std::nullopt;
    }
    auto found = std::ranges::upper_bound(cuts_, truncation, {}, &Cut::truncation);
    return found == cuts_.end() ? UINT64_MAX : found->size;
  }

 private:
  static constexpr std::size_t kMost = 64;
  struct Cut {
    std::uint64_t truncation;
    std::uint64_t size;
  };
  std::vector<Cut> cuts_;    // both grow
  std::uint64_t since_ = 0;  // those after this truncation are known
};

struct FileState {
  enum class Phase : std::uint8_t { kAlive, kCut, kDying, kGone };
  Phase phase = Phase::kAlive;
  std::vector<Mark> marks;
  // kCut: what the file is cut to. kCut, kDying, kGone: who has not acknowledged.
  std::uint64_t cut_size = 0;
  std::uint64_t truncation = 0;
  std::vector<wire::ShardId> left;
  Cuts cuts;           // while somebody has the file open for writing
  BootTime gone_at{};  // kDying: when nobody need be kept from hearing that it is gone
  std::shared_ptr<QueryRound> next_round;
  std::shared_ptr<QueryRound> round;  // under way
  bool has_round = false;             // rounds are under way
  rt::WaitQueue changed;              // of phase

  [[nodiscard]] Mark* find_mark(wire::ShardId shard) {
    auto found = std::ranges::find(marks, shard, &Mark::shard);
    return found == marks.end() ? nullptr : &*found;
  }
};

class FileStates {
 public:
  // Null for a file that is alive, has no marks, and was not cut while it was open for writing.
  [[nodiscard]] FileState* find(wire::InodeId inode) const {
    auto found = states_.find(inode);
    return found == states_.end() ? nullptr : found->second.get();
  }
  FileState& get(wire::InodeId inode) {
    std::unique_ptr<FileState>& state = states_[inode];
    if (!state) {
      state = std::make_unique<FileState>();
    }
    return *state;
  }
  void erase(wire::InodeId inode) {
    auto found = states_.find(inode);
    if (found == states_.end()) {
      return;
    }
    FileState& state = *found->second;
    mark_count_ -= state.marks.size();
    if (state.phase == FileState::Phase::kDying) {
      dying_.erase({state.gone_at, inode});
    }
    state.changed.wake_all();
    if (state.next_round) {
      state.next_round->sum = fail_errno(ENOENT);
      state.next_round->is_over = true;
      state.next_round->ended.wake_all();
    }
    states_.erase(found);
  }
  void erase_if_unneeded(wire::InodeId inode) {
    FileState* state = find(inode);
    if (state != nullptr && state->phase == FileState::Phase::kAlive && state->marks.empty() &&
        state->cuts.is_empty() && !state->has_round) {
      erase(inode);
    }
  }

  // The file has no name, and nobody has it open. It is told as gone from `gone_at` on, or earlier
  // when it is erased.
  FileState& set_dying(wire::InodeId inode, BootTime gone_at) {
    FileState& state = get(inode);
    clear_marks(state);
    state.phase = FileState::Phase::kDying;
    state.gone_at = gone_at;
    dying_.emplace(gone_at, inode);
    state.changed.wake_all();
    return state;
  }
  void tell_gone(BootTime now) {
    while (!dying_.empty() && dying_.begin()->first <= now) {
      FileState& state = *states_.at(dying_.begin()->second);
      dying_.erase(dying_.begin());
      state.phase = FileState::Phase::kGone;
      state.changed.wake_all();
    }
  }
  [[nodiscard]] std::size_t dying_count() const { return dying_.size(); }

  Mark& add_mark(wire::InodeId inode, wire::ShardId shard) {
    ++mark_count_;
    order_.push_back({inode, shard, ++last_number_});
    return get(inode).marks.emplace_back(Mark{.shard = shard, .number = last_number_});
  }
  void erase_mark(wire::InodeId inode, wire::ShardId shard) {
    FileState* state = find(inode);
    if (state != nullptr) {
      mark_count_ -= std::erase_if(state->marks, [&](const Mark& m) { return m.shard == shard; });
      erase_if_unneeded(inode);
    }
  }
  [[nodiscard]] std::size_t mark_count() const { return mark_count_; }
  // The longest marked file; call while there are marks. It counts as marked anew afterwards.
  std::pair<wire::InodeId, wire::ShardId> take_oldest_mark() {
    for (;;) {
      Ordered oldest = order_.front();
      order_.pop_front();
      if (is_current(oldest)) {
        order_.push_back(oldest);
        return {oldest.inode, oldest.shard};
      }
    }
  }
  // Forgets what has become of no use in the order of marks. Call after each add_mark().
  void trim() {
    for (std::size_t i = 0; i < 2 && order_.size() > 2 * mark_count_ + 64; ++i) {
      Ordered oldest = order_.front();
      order_.pop_front();
      if (is_current(oldest)) {
        order_.push_back(oldest);
      }
    }
  }
  // Marks in the order, and some that are gone: a little more than twice mark_count() at most.
  [[nodiscard]] std::size_t order_size() const { return order_.size(); }

 private:
  struct Ordered {
    wire::InodeId inode;
    wire::ShardId shard;
    std::uint64_t number;
  };
  void clear_marks(FileState& state) {
    mark_count_ -= state.marks.size();
    state.marks.clear();
  }
  // A shard that marked the file again since has a later number.
  [[nodiscard]] bool is_current(const Ordered& ordered) const {
    FileState* state = find(ordered.inode);
    Mark* mark = state == nullptr ? nullptr : state->find_mark(ordered.shard);
    return mark != nullptr && mark->number == ordered.number;
  }

  std::unordered_map<wire::InodeId, std::unique_ptr<FileState>> states_;
  std::size_t mark_count_ = 0;
  std::uint64_t last_number_ = 0;
  std::deque<Ordered> order_;                           // oldest first; some are gone
  std::set<std::pair<BootTime, wire::InodeId>> dying_;  // by gone_at
};

}  // namespace benchfs::server
