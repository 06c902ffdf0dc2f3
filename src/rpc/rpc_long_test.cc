// Tests that take minutes: ctest --preset long.
#include <gtest/gtest.h>

#include "rpc/testing/many_evictions.h"

namespace benchfs::rpc {
namespace {

TEST(LongEviction, TwentyThousandLeaveNothingBehindAndNoCallFails) {
  testing::expect_evictions_leave_nothing(20'000);
}

}  // namespace
}  // namespace benchfs::rpc
