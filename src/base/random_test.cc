#include "base/random.h"

#include <gtest/gtest.h>

#include <array>
#include <set>

namespace benchfs {
namespace {

TEST(FillRandom, DoesNotRepeat) {
  std::set<std::array<std::byte, 16>> seen;
  for (int i = 0; i < 100; ++i) {
    std::array<std::byte, 16> bytes{};
    fill_random(bytes);
    EXPECT_TRUE(seen.insert(bytes).second);
  }
}

}  // namespace
}  // namespace benchfs
