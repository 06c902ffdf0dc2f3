#include "base/backoff.h"

#include <gtest/gtest.h>

namespace benchfs {
namespace {

using std::chrono::milliseconds;

TEST(Backoff, DoublesUpToTheLongestPause) {
  Backoff backoff(milliseconds(3), milliseconds(20));
  EXPECT_EQ(backoff.next(), milliseconds(3));
  EXPECT_EQ(backoff.next(), milliseconds(6));
  EXPECT_EQ(backoff.next(), milliseconds(12));
  EXPECT_EQ(backoff.next(), milliseconds(20));
  EXPECT_EQ(backoff.next(), milliseconds(20));
  backoff.reset();
  EXPECT_EQ(backoff.next(), milliseconds(3));
}

TEST(Backoff, NeverExceedsTheLongestPause) {
  Backoff backoff(milliseconds(30), milliseconds(20));
  EXPECT_EQ(backoff.next(), milliseconds(20));
  EXPECT_EQ(backoff.next(), milliseconds(20));
}

}  // namespace
}  // namespace benchfs
