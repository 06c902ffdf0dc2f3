#include "base/descriptors.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <fstream>
#include <string>
#include <vector>

namespace benchfs {
namespace {

// The number of descriptors for which the kernel's table of this process has room now.
std::size_t table_size() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    if (word == "FDSize:") {
      std::size_t size = 0;
      status >> size;
      return size;
    }
  }
  return 0;
}

TEST(Descriptors, TheTableHasRoomBeforeItIsNeeded) {
  rlimit limit{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  std::size_t wanted = std::min<std::size_t>(limit.rlim_max, 2 * table_size() + 1000);
  make_room_for_descriptors(wanted, wanted);
  EXPECT_GE(table_size(), wanted);
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_GE(limit.rlim_cur, wanted);
}

TEST(Descriptors, ALimitIsRaisedButNotLowered) {
  rlimit limit{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  ASSERT_GT(limit.rlim_max, 600U);
  limit.rlim_cur = 512;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  make_room_for_descriptors(0, 600);
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_EQ(limit.rlim_cur, 600U);
  make_room_for_descriptors(0, 16);
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_EQ(limit.rlim_cur, 600U);
}

TEST(Descriptors, MoreThanTheLimitIsAllThereIs) {
  rlimit limit{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  limit.rlim_max = std::min<rlim_t>(limit.rlim_max, 4096);
  limit.rlim_cur = limit.rlim_max;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  make_room_for_descriptors(std::size_t{1} << 40, std::size_t{1} << 40);
  EXPECT_GE(table_size(), limit.rlim_max);
}

TEST(Descriptors, FreeOnesAreCountedWhereverTheyAre) {
  rlimit limit{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  rlimit low = limit;
  low.rlim_cur = 300;  // more than are looked at in one go
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
  EXPECT_EQ(descriptor_limit(), 300U);
  std::vector<int> taken;
  for (int fd = dup(0); fd >= 0; fd = dup(0)) {
    taken.push_back(fd);
  }
  EXPECT_FALSE(has_free_descriptors(1));
  for (std::size_t i = 0; i < 5; ++i) {  // the lowest, and the highest
    close(i % 2 == 0 ? taken[i] : taken[taken.size() - i]);
  }
  EXPECT_TRUE(has_free_descriptors(5));
  EXPECT_FALSE(has_free_descriptors(6));
  for (std::size_t i = 0; i < taken.size(); ++i) {
    close(taken[i]);
  }
  EXPECT_FALSE(has_free_descriptors(301));
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

}  // namespace
}  // namespace benchfs
