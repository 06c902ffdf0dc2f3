// The page through which the test directs the clients of a history; all of them map it. A client
// that is killed or stopped at any moment leaves it usable.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string>

namespace benchfs::history {

enum class Task : std::uint32_t {
  kSetUp,      // the judge makes the directories and files of the round
  kRun,        // the clients work while faults happen
  kLook,       // they read what they have open, the judge what has a name
  kClose,      // they close their files
  kLookAgain,  // the judge reads what has a name
  kClear,      // the judge removes all
  kQuit,
};

inline constexpr std::uint32_t kSlots = 4;  // of client processes; the judge has the first

struct Board {
  std::atomic<std::uint64_t> seed;
  std::atomic<std::uint32_t> round;
  std::atomic<bool> moves_directories;
  std::atomic<bool> enough;  // kRun ends
  std::atomic<Task> task;
  std::atomic<std::uint32_t> step;                      // goes up with every task; written last
  std::array<std::atomic<std::uint32_t>, kSlots> done;  // the step that a slot has finished
};
static_assert(std::atomic<Task>::is_always_lock_free);

// Maps the file at `path`, which is made when it is not there. nullptr: that failed.
Board* map_board(const std::string& path);

}  // namespace benchfs::history
