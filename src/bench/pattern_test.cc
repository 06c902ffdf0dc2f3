#include "bench/pattern.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace benchfs::bench {
namespace {

constexpr std::size_t kBlock = 47008;  // not a whole number of pages

std::vector<std::byte> copy(std::span<const std::byte> bytes) {
  return {bytes.begin(), bytes.end()};
}

TEST(Pattern, ABlockEqualsItself) {
  Pattern writer(1, 7, kBlock);
  Pattern reader(1, 7, kBlock);
  std::vector<std::byte> block = copy(writer.block(3));
  EXPECT_FALSE(reader.compare(3, block));
  EXPECT_FALSE(reader.compare_stamps(3, block));
}

TEST(Pattern, AnySingleWrongByteIsFoundAtItsOffset) {
  Pattern pattern(1, 7, 5000);
  std::vector<std::byte> block = copy(pattern.block(2));
  for (std::size_t position = 0; position < block.size(); ++position) {
    block[position] ^= std::byte{0x10};
    std::optional<Difference> difference = pattern.compare(2, block);
    ASSERT_TRUE(difference) << position;
    EXPECT_EQ(difference->offset, 2 * 5000 + position);
    EXPECT_EQ(difference->got, difference->expected ^ 0x10);
    block[position] ^= std::byte{0x10};
  }
}

TEST(Pattern, AnotherBlockFileOrSeedShowsInTheStamps) {
  Pattern pattern(1, 7, kBlock);
  EXPECT_TRUE(pattern.compare_stamps(3, copy(pattern.block(4))));
  EXPECT_TRUE(pattern.compare_stamps(3, copy(Pattern(1, 8, kBlock).block(3))));
  EXPECT_TRUE(pattern.compare_stamps(3, copy(Pattern(2, 7, kBlock).block(3))));
}

TEST(Pattern, APageInTheWrongPlaceShowsInTheStamps) {
  Pattern pattern(1, 7, 4 * 4096);
  std::vector<std::byte> block = copy(pattern.block(0));
  std::swap_ranges(block.begin(), block.begin() + 4096, block.begin() + 8192);
  std::optional<Difference> difference = pattern.compare_stamps(0, block);
  ASSERT_TRUE(difference);
  EXPECT_LT(difference->offset, 8U);
}

TEST(Pattern, NoByteOfASpoiledBufferPasses) {
  Pattern pattern(1, 7, kBlock);
  std::vector<std::byte> buffer = copy(pattern.block(5));
  pattern.spoil(5, buffer);
  std::span<const std::byte> wanted = pattern.block(5);
  for (std::size_t position = 0; position < kBlock; ++position) {
    ASSERT_NE(buffer[position], wanted[position]) << position;
  }
}

TEST(Pattern, ShortAndEmptyBlocksWork) {
  for (std::size_t bytes : {0U, 1U, 7U, 8U, 9U}) {
    Pattern pattern(1, 7, bytes);
    std::vector<std::byte> block = copy(pattern.block(11));
    EXPECT_EQ(block.size(), bytes);
    EXPECT_FALSE(pattern.compare(11, block));
    EXPECT_FALSE(pattern.compare_stamps(11, block));
  }
}

}  // namespace
}  // namespace benchfs::bench
