#include "base/histogram.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <vector>

#include "base/random.h"

namespace benchfs {
namespace {

std::uint64_t test_seed() {
  const char* text = std::getenv("BENCHFS_SEED");
  std::uint64_t seed = text != nullptr ? std::strtoull(text, nullptr, 10) : random_id();
  ::testing::Test::RecordProperty("BENCHFS_SEED", std::to_string(seed));
  return seed;
}

// Values over the whole range: a random number of random bits.
std::vector<std::uint64_t> random_values(std::uint64_t seed, std::size_t count) {
  Random random(seed);
  std::vector<std::uint64_t> values(count);
  for (std::uint64_t& value : values) {
    value = random.next() >> (64 - Histogram::kLimitBits + random.below(Histogram::kLimitBits));
  }
  return values;
}

TEST(Histogram, AnEmptyOneAnswersZero) {
  Histogram histogram;
  EXPECT_EQ(histogram.count(), 0U);
  EXPECT_EQ(histogram.min(), 0U);
  EXPECT_EQ(histogram.max(), 0U);
  EXPECT_EQ(histogram.mean(), 0.0);
  EXPECT_EQ(histogram.percentile(50), 0U);
}

TEST(Histogram, SmallValuesAreExact) {
  Histogram histogram;
  for (std::uint64_t value = 1; value <= 100; ++value) {
    histogram.record(value);
  }
  EXPECT_EQ(histogram.percentile(0), 1U);
  EXPECT_EQ(histogram.percentile(1), 1U);
  EXPECT_EQ(histogram.percentile(50), 50U);
  EXPECT_EQ(histogram.percentile(99), 99U);
  EXPECT_EQ(histogram.percentile(100), 100U);
  EXPECT_DOUBLE_EQ(histogram.mean(), 50.5);
}

TEST(Histogram, ARankThatIsWholeIsNotRoundedUp) {
  Histogram histogram;
  for (int i = 0; i < 999; ++i) {
    histogram.record(10);
  }
  histogram.record(60);
  EXPECT_EQ(histogram.percentile(99.9), 10U);
  EXPECT_EQ(histogram.percentile(99.91), 60U);
}

TEST(Histogram, PercentilesAreWithinOnePercent) {
  std::uint64_t seed = test_seed();
  SCOPED_TRACE(seed);
  std::vector<std::uint64_t> values = random_values(seed, 20'000);
  Histogram histogram;
  for (std::uint64_t value : values) {
    histogram.record(value);
  }
  std::ranges::sort(values);
  for (int rank = 1; rank < 20'000; rank += 7) {
    auto exact = static_cast<double>(values[static_cast<std::size_t>(rank) - 1]);
    double percent = rank / 200.0;
    EXPECT_NEAR(static_cast<double>(histogram.percentile(percent)), exact, 0.01 * exact)
        << "rank " << rank;
  }
}

TEST(Histogram, ExtremesAndMeanAreExact) {
  Histogram histogram;
  histogram.record(1'234'567);
  histogram.record(7'654'321);
  histogram.record(1'000'003);
  EXPECT_EQ(histogram.min(), 1'000'003U);
  EXPECT_EQ(histogram.max(), 7'654'321U);
  EXPECT_EQ(histogram.percentile(100), 7'654'321U);
  EXPECT_DOUBLE_EQ(histogram.mean(), (1'234'567.0 + 7'654'321.0 + 1'000'003.0) / 3);
}

TEST(Histogram, ValuesBeyondTheRangeKeepTheirMaximum) {
  Histogram histogram;
  histogram.record(5);
  histogram.record(Histogram::kLimit - 1);
  histogram.record(Histogram::kLimit);
  histogram.record(~std::uint64_t{0} / 4);
  EXPECT_EQ(histogram.count(), 4U);
  EXPECT_EQ(histogram.max(), ~std::uint64_t{0} / 4);
  EXPECT_EQ(histogram.percentile(25), 5U);
}

TEST(Histogram, MergingEqualsRecordingEverythingInOne) {
  std::uint64_t seed = test_seed();
  SCOPED_TRACE(seed);
  Histogram whole;
  Histogram parts[3];
  std::size_t turn = 0;
  for (std::uint64_t value : random_values(seed, 3'000)) {
    whole.record(value);
    parts[turn++ % 3].record(value);
  }
  Histogram merged;
  for (const Histogram& part : parts) {
    merged.merge(part);
  }
  EXPECT_EQ(merged.serialise(), whole.serialise());
}

TEST(Histogram, MergingAnEmptyOneChangesNothing) {
  Histogram histogram;
  histogram.record(77);
  histogram.merge(Histogram());
  EXPECT_EQ(histogram.min(), 77U);
  EXPECT_EQ(histogram.count(), 1U);
}

TEST(Histogram, ClearForgetsEverything) {
  Histogram histogram;
  histogram.record(77);
  histogram.clear();
  EXPECT_EQ(histogram.serialise(), Histogram().serialise());
}

TEST(Histogram, TextComesBackAsTheSameHistogram) {
  std::uint64_t seed = test_seed();
  SCOPED_TRACE(seed);
  Histogram histogram;
  for (std::uint64_t value : random_values(seed, 1'000)) {
    histogram.record(value);
  }
  std::string text = histogram.serialise();
  Result<Histogram> back = Histogram::parse(text);
  ASSERT_TRUE(back.has_value());
  EXPECT_EQ(back->serialise(), text);
  EXPECT_EQ(back->count(), histogram.count());
  EXPECT_EQ(back->percentile(90), histogram.percentile(90));
  EXPECT_EQ(back->mean(), histogram.mean());
}

TEST(Histogram, AnEmptyOneTravelsToo) {
  Result<Histogram> back = Histogram::parse(Histogram().serialise());
  ASSERT_TRUE(back.has_value());
  back->record(9);
  EXPECT_EQ(back->min(), 9U);
}

TEST(Histogram, TextThatIsNoHistogramIsRefused) {
  for (std::string_view text : {"",
                                "h1;",
                                "h2;0;0;0;",
                                "h1;1;2;3",
                                "h1;1;2;3;4",
                                "h1;1;2;3;4:",
                                "h1;1;2;3;4:1",
                                "h1;1;2;3;4:0,",
                                "h1;1;2;3;999999:1,",
                                "h1;1;2;3;4:1,4:1,",
                                "h1;9;2;3;4:1,",
                                "h1;1;2;3;4:-1,"}) {
    Result<Histogram> parsed = Histogram::parse(text);
    ASSERT_FALSE(parsed.has_value()) << text;
    EXPECT_EQ(parsed.error().code, Errc::kMalformed) << text;
  }
}

TEST(Histogram, OctavesCountTheValuesBetweenPowersOfTwo) {
  Histogram histogram;
  for (std::uint64_t value : {0U, 1U, 2U, 3U, 64U, 127U, 128U, 1023U, 1024U}) {
    histogram.record(value);
  }
  histogram.record(4 * Histogram::kLimit);
  Histogram::Octaves octaves = histogram.octaves();
  Histogram::Octaves expected{};
  expected[0] = 1;   // 0
  expected[1] = 1;   // 1
  expected[2] = 2;   // 2, 3
  expected[7] = 2;   // 64, 127
  expected[8] = 1;   // 128
  expected[10] = 1;  // 1023
  expected[11] = 1;  // 1024
  expected[Histogram::kLimitBits] = 1;
  EXPECT_EQ(octaves, expected);
}

}  // namespace
}  // namespace benchfs
