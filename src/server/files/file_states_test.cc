#include "server/files/file_states.h"

#include <gtest/gtest.h>

namespace benchfs::server {
namespace {

constexpr wire::ShardId kShard{2};

wire::InodeId file(std::uint64_t counter) {
  return wire::InodeId::make(wire::ShardId{1}, counter);
}

TEST(FileStates, AFileThatIsMarkedAndSettledAgainAndAgainTakesNoMemory) {
  FileStates states;
  for (int i = 0; i < 10'000; ++i) {
    states.add_mark(file(1), kShard);
    states.trim();
    states.erase_mark(file(1), kShard);
  }
  EXPECT_EQ(states.mark_count(), 0U);
  EXPECT_LT(states.order_size(), 100U);
}

TEST(FileStates, TheOldestMarkIsThatOfTheFileThatWasMarkedLongestAgo) {
  FileStates states;
  states.add_mark(file(1), kShard);
  states.add_mark(file(2), kShard);
  states.erase_mark(file(1), kShard);
  states.add_mark(file(1), kShard);
  EXPECT_EQ(states.take_oldest_mark().first, file(2));
  EXPECT_EQ(states.take_oldest_mark().first, file(1));
}

TEST(FileStates, AFileThatIsFreedInTimeIsNotWaitedFor) {
  FileStates states;
  BootTime far = boot_now() + std::chrono::hours(24);
  for (std::uint64_t i = 0; i < 1'000; ++i) {
    states.set_dying(file(i), far);
    if (i > 0) {  // the first one's shards do not answer
      states.erase(file(i));
    }
  }
  EXPECT_EQ(states.dying_count(), 1U);
}

TEST(FileStates, AFileIsToldAsGoneFromItsTimeOn) {
  FileStates states;
  BootTime now = boot_now();
  states.add_mark(file(1), kShard);
  states.set_dying(file(1), now + std::chrono::seconds(1));
  states.set_dying(file(2), now + std::chrono::seconds(2));
  EXPECT_EQ(states.mark_count(), 0U);
  states.tell_gone(now + std::chrono::seconds(1));
  EXPECT_EQ(states.find(file(1))->phase, FileState::Phase::kGone);
  EXPECT_EQ(states.find(file(2))->phase, FileState::Phase::kDying);
  states.erase(file(1));
  EXPECT_EQ(states.dying_count(), 1U);
}

TEST(Cuts, LeaveTheSmallestSizeSinceATruncation) {
  Cuts cuts;
  cuts.add(5, 300);
  cuts.add(6, 100);
  cuts.add(7, 200);
  EXPECT_EQ(cuts.smallest_since(3), std::nullopt);
  EXPECT_EQ(cuts.smallest_since(4), 100U);
  EXPECT_EQ(cuts.smallest_since(5), 100U);
  EXPECT_EQ(cuts.smallest_since(6), 200U);
  EXPECT_EQ(cuts.smallest_since(7), UINT64_MAX);
  cuts.clear();
  cuts.add(9, 50);
  EXPECT_EQ(cuts.smallest_since(7), std::nullopt);
  EXPECT_EQ(cuts.smallest_since(8), 50U);
}

TEST(Cuts, KnowTheLatest) {
  Cuts cuts;
  for (std::uint64_t i = 1; i <= 1000; ++i) {
    cuts.add(i, i);
  }
  EXPECT_EQ(cuts.smallest_since(100), std::nullopt);
  EXPECT_EQ(cuts.smallest_since(990), 991U);
}

}  // namespace
}  // namespace benchfs::server
