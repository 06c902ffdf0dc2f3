#include "bench/phase.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace benchfs::bench {
namespace {

MonoTime at(int seconds) {
  return MonoTime(std::chrono::seconds(seconds));
}

Measurement sample(int start, int end, std::uint64_t operations) {
  Measurement measurement;
  measurement.start = at(start);
  measurement.end = at(end);
  measurement.operations = operations;
  measurement.bytes = operations * 10;
  measurement.cpu_s = 0.5;
  for (std::uint64_t i = 0; i < operations; ++i) {
    measurement.latency.record(1000 + i);
  }
  return measurement;
}

TEST(Phase, ComesBackFromItsMessage) {
  Phase phase{
      .name = "send", .depth = 7, .payload_bytes = 64, .path = "persistent", .reported = false};
  Result<Phase> back = phase_from(to_message(phase));
  ASSERT_TRUE(back);
  EXPECT_EQ(back->name, "send");
  EXPECT_EQ(back->depth, 7U);
  EXPECT_EQ(back->payload_bytes, 64U);
  EXPECT_EQ(back->path, "persistent");
  EXPECT_FALSE(back->reported);
}

TEST(Phase, AMessageWithoutItsFieldsIsMalformed) {
  EXPECT_FALSE(phase_from(nlohmann::json{{"name", "send"}}));
  EXPECT_FALSE(phase_from(nlohmann::json()));
}

TEST(Measurement, ComesBackFromItsMessage) {
  Measurement measurement = sample(3, 5, 20);
  measurement.requests = 41;
  measurement.on_mismatch("byte 7");
  measurement.on_mismatch("byte 8");
  Result<Measurement> back = measurement_from(to_message(measurement));
  ASSERT_TRUE(back);
  EXPECT_EQ(back->operations, 20U);
  EXPECT_EQ(back->bytes, 200U);
  EXPECT_EQ(back->start, at(3));
  EXPECT_EQ(back->end, at(5));
  EXPECT_EQ(back->cpu_s, 0.5);
  EXPECT_EQ(back->latency.serialise(), measurement.latency.serialise());
  EXPECT_EQ(back->requests, 41U);
  EXPECT_EQ(back->mismatches, 2U);
  EXPECT_EQ(back->first_mismatch, "byte 7");
}

TEST(Measurement, AMessageWithABrokenHistogramIsMalformed) {
  nlohmann::json message = to_message(sample(3, 5, 20));
  message["latency"] = "h1;nonsense";
  EXPECT_FALSE(measurement_from(message));
  message["latency"] = 5;
  EXPECT_FALSE(measurement_from(message));
}

TEST(Measurement, TheTotalSpansFromTheFirstStartToTheLastEnd) {
  Measurement total;
  total.merge(sample(4, 6, 10));
  total.merge(sample(3, 5, 30));
  EXPECT_EQ(total.start, at(3));
  EXPECT_EQ(total.end, at(6));
  EXPECT_EQ(total.operations, 40U);
  EXPECT_EQ(total.bytes, 400U);
  EXPECT_EQ(total.cpu_s, 1.0);
  EXPECT_EQ(total.latency.count(), 40U);
}

TEST(Measurement, TheTotalKeepsTheFirstMismatch) {
  Measurement total;
  Measurement wrong = sample(1, 2, 1);
  wrong.on_mismatch("byte 7");
  total.merge(sample(1, 2, 1));
  total.merge(wrong);
  EXPECT_EQ(total.mismatches, 1U);
  EXPECT_EQ(total.first_mismatch, "byte 7");
}

}  // namespace
}  // namespace benchfs::bench
