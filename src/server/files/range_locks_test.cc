#include "server/files/range_locks.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <vector>

#include "base/random.h"

namespace benchfs::server {
namespace {

constexpr LockOwner kFirst{.client_uid = 1, .number = 1};
constexpr LockOwner kSecond{.client_uid = 1, .number = 2};

RangeLock shared(LockOwner owner, std::uint64_t begin, std::uint64_t end) {
  return {.begin = begin, .end = end, .owner = owner};
}
RangeLock exclusive(LockOwner owner, std::uint64_t begin, std::uint64_t end) {
  return {.begin = begin, .end = end, .owner = owner, .is_exclusive = true};
}

TEST(RangeLocks, SharedLocksOverlapAndExclusiveOnesDoNot) {
  RangeLocks locks;
  locks.set(shared(kFirst, 10, 20));
  EXPECT_EQ(locks.find_conflict(shared(kSecond, 0, 100)), nullptr);
  EXPECT_EQ(locks.find_conflict(exclusive(kFirst, 0, 100)), nullptr);
  EXPECT_EQ(locks.find_conflict(exclusive(kSecond, 0, 10)), nullptr);
  EXPECT_EQ(locks.find_conflict(exclusive(kSecond, 20, 30)), nullptr);
  const RangeLock* in_the_way = locks.find_conflict(exclusive(kSecond, 19, 30));
  ASSERT_NE(in_the_way, nullptr);
  EXPECT_EQ(in_the_way->begin, 10U);
  EXPECT_EQ(in_the_way->owner, kFirst);
}

TEST(RangeLocks, ALockThatIsTakenByteByByteIsOne) {
  RangeLocks locks;
  for (std::uint64_t at : {5U, 3U, 4U, 1U, 2U, 0U}) {
    locks.set(exclusive(kFirst, at, at + 1));
  }
  EXPECT_EQ(locks.size(), 1U);
  locks.set(shared(kFirst, 2, 4));  // in its middle
  EXPECT_EQ(locks.size(), 3U);
}

TEST(RangeLocks, AClientThatGoesTakesItsOwnersAlong) {
  RangeLocks locks;
  locks.set(exclusive(kFirst, 0, 10));
  locks.set(exclusive(kSecond, 10, 20));
  locks.set(exclusive({.client_uid = 2, .number = 1}, 20, 30));
  EXPECT_EQ(locks.clear_client(1), 2U);
  EXPECT_EQ(locks.size(), 1U);
  EXPECT_EQ(locks.find_conflict(exclusive(kFirst, 0, 20)), nullptr);
}

// Every byte has the lock that a table by byte has.
TEST(RangeLocks, TheyAreWhatEachByteIs) {
  constexpr std::size_t kBytes = 24;
  constexpr std::size_t kOwners = 3;
  std::array<std::array<int, kBytes>, kOwners> expected{};  // 0 none, 1 shared, 2 exclusive
  RangeLocks locks;
  Random random(20261128);
  std::size_t refused = 0;
  for (int step = 0; step < 20'000; ++step) {
    std::size_t owner = random.next() % kOwners;
    std::uint64_t begin = random.next() % kBytes;
    std::uint64_t end = begin + 1 + random.next() % (kBytes - begin);
    int kind = static_cast<int>(random.next() % 3);
    RangeLock lock{.begin = begin,
                   .end = end,
                   .owner = {.client_uid = 7, .number = owner},
                   .is_exclusive = kind == 2};
    bool is_free = true;
    for (std::size_t other = 0; other < kOwners; ++other) {
      for (std::uint64_t at = begin; at < end; ++at) {
        int has = expected[other][at];
        is_free &= other == owner || has == 0 || (has == 1 && kind == 1);
      }
    }
    if (kind == 0) {
      locks.clear(lock.owner, begin, end);
    } else {
      ASSERT_EQ(locks.find_conflict(lock) == nullptr, is_free) << step;
      if (!is_free) {
        ++refused;
        continue;
      }
      locks.set(lock);
    }
    std::fill(expected[owner].begin() + static_cast<std::ptrdiff_t>(begin),
              expected[owner].begin() + static_cast<std::ptrdiff_t>(end),
              kind);
  }
  EXPECT_GT(refused, 1'000U);
}

}  // namespace
}  // namespace benchfs::server
