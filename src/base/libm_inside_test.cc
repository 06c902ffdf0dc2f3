// The function of base/libm_inside.cc, which takes the place of libm's in this program.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace benchfs {
namespace {

TEST(Ceil, IsTheSmallestWholeNumberThatIsNotLess) {
  for (double value : {0.0, 0.25, 1.0, 1.5, 1e9 + 0.5, 0x1p51 + 0.5, 0x1p52 + 1, 0x1p60, 1e300}) {
    volatile double given = value;
    EXPECT_EQ(std::ceil(given), -std::floor(-given)) << value;
    given = -value;
    EXPECT_EQ(std::ceil(given), -std::floor(-given)) << -value;
  }
}

TEST(Ceil, KeepsSignsAndWhatIsNoNumber) {
  volatile double given = -0.5;
  EXPECT_TRUE(std::signbit(std::ceil(given)));
  given = -std::numeric_limits<double>::infinity();
  EXPECT_EQ(std::ceil(given), given);
  given = std::numeric_limits<double>::quiet_NaN();
  EXPECT_TRUE(std::isnan(std::ceil(given)));
}

}  // namespace
}  // namespace benchfs
