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

}  // namespace
}  // namespace benchfs::server
