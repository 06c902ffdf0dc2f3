#include <gtest/gtest.h>

#include <algorithm>

#include "bench/collector.h"
#include "bench/report.h"

namespace benchfs::bench {
namespace {

// Adds a result with one round for each latency.
void add(Report& report,
         const char* path,
         std::uint32_t depth,
         const std::vector<std::uint64_t>& round_latencies) {
  Collector collector(report, 1);
  Phase phase{.name = "send", .depth = depth, .payload_bytes = 64, .path = path, .clients = 1};
  for (std::uint64_t latency : round_latencies) {
    Measurement measurement;
    measurement.start = MonoTime(std::chrono::seconds(1));
    measurement.end = measurement.start + std::chrono::seconds(1);
    measurement.operations = 1000000 / latency;
    measurement.latency.record(latency);
    collector.add(phase, measurement, 0.5);
    ++phase.round;
  }
}

bool says(const std::vector<std::string>& sentences, const std::string& text) {
  return std::ranges::any_of(sentences, [&](const std::string& sentence) {
    return sentence.find(text) != std::string::npos;
  });
}

TEST(Summary, ABaselineThatIsFasterIsNamed) {
  Report report{.benchmark = "rpc"};
  add(report, "persistent", 1, {40, 42, 44});
  add(report, "reply-ep", 1, {20, 21, 22});
  std::vector<std::string> lines = summary(report);
  EXPECT_TRUE(says(lines,
                   "Faster than persistent: reply-ep in send 64 B, depth 1, 1 client (21.0 ns "
                   "against 42.0 ns)"));
  EXPECT_TRUE(
      says(lines, "reply-ep takes 0.50 times the median latency of persistent: faster in 1 case."));
}

TEST(Summary, OverlappingRoundsAreNoDifference) {
  Report report{.benchmark = "rpc"};
  add(report, "persistent", 1, {40, 42, 44});
  add(report, "reply-ep", 1, {38, 39, 41});
  std::vector<std::string> lines = summary(report);
  EXPECT_TRUE(says(lines, "times the median latency of persistent: no measurable difference."));
  EXPECT_FALSE(says(lines, "Faster than persistent"));
}

TEST(Summary, OnlyTheSameCaseIsCompared) {
  Report report{.benchmark = "rpc"};
  add(report, "persistent", 1, {40});
  add(report, "ucx-floor", 4, {20});
  EXPECT_FALSE(says(summary(report), "Cost of our layer"));
}

TEST(Summary, RatesAreComparedWhereSeveralAreOutstanding) {
  Report report{.benchmark = "rpc"};
  add(report, "persistent", 4, {50});
  add(report, "ucx-floor", 4, {25});
  EXPECT_TRUE(says(summary(report), "persistent does 0.50 times the requests per second"));
  EXPECT_TRUE(says(summary(report), "Only one round"));
}

TEST(Summary, WrongDataIsNamed) {
  Report report{.benchmark = "rpc"};
  add(report, "ucx-floor", 1, {20});
  report.results[0].verified = false;
  EXPECT_TRUE(says(summary(report), "Wrong data came back: ucx-floor, send 64 B"));
}

TEST(Summary, OtherBenchmarksHaveNone) {
  Report report{.benchmark = "io"};
  add(report, "", 1, {20});
  EXPECT_TRUE(summary(report).empty());
}

}  // namespace
}  // namespace benchfs::bench
