// Directories that others have moved, and the places where the kernel still has them.
//
// The kernel has each directory at one place. When a lookup finds it at another it moves it there
// by itself, together with those who work in it, but not in the middle of a rename: then the lookup
// fails with ESTALE, and the same thread looks the name up once more. The second answer comes when
// the kernel has forgotten the place from before.
//
// Thread: the reactor's.
#pragma once

#include <sys/types.h>

#include <algorithm>
#include <cstddef>
#include <deque>
#include <optional>
#include <unordered_map>
#include <utility>

#include "base/clock.h"
#include "wire/entry_key.h"
#include "wire/ids.h"

namespace benchfs::mount {

class MovedDirectories {
 public:
  static constexpr std::size_t kMostMoves = 64;  // that may be looked up again
  static constexpr Nanos kTime = std::chrono::seconds(1);

  // The kernel is answered that the directory is here. What it is to forget before: the place where
  // it has it, if the same thread looks it up for the second time since it was found here.
  std::optional<wire::EntryKey> note_found(wire::InodeId directory,
                                           wire::EntryRef place,
                                           pid_t thread) {
    wire::EntryKey& known = places_[directory];
    if (!wire::EntryKeyEqual()(known, place)) {
      wire::EntryKey before = std::exchange(known, place.key());
      if (before.parent.is_valid()) {
        moves_.push_back({thread, directory, std::move(before), mono_now() + kTime});
      }
      if (moves_.size() > kMostMoves) {
        moves_.pop_front();
      }
      return {};
    }
    auto move = std::ranges::find_if(moves_, [&](const Move& one) {
      return one.thread == thread && one.directory == directory && mono_now() < one.until;
    });
    if (move == moves_.end()) [[likely]] {
      return {};
    }
    wire::EntryKey before = std::move(move->before);
    moves_.erase(move);
    return before;
  }
  void forget(wire::InodeId inode) {
    if (!places_.empty()) {
      places_.erase(inode);
    }
  }

 private:
  struct Move {
    pid_t thread = 0;
    wire::InodeId directory;
    wire::EntryKey before;
    MonoTime until{};
  };
  std::unordered_map<wire::InodeId, wire::EntryKey> places_;  // of directories that it knows
  std::deque<Move> moves_;                                    // oldest first
};

}  // namespace benchfs::mount
