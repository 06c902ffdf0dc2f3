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

bool says(const std::vector<std::string>& findings, const std::string& text) {
  return std::ranges::any_of(findings, [&](const std::string& finding) {
    return finding.find(text) != std::string::npos;
  });
}

TEST(Findings, ABaselineThatIsFasterIsNamed) {
  Report report{.benchmark = "rpc"};
  add(report, "persistent", 1, {40, 42, 44});
  add(report, "reply-ep", 1, {20, 21, 22});
  std::vector<std::string> lines = findings(report);
  EXPECT_TRUE(says(lines,
                   "Faster than persistent: reply-ep in send 64 B, depth 1, 1 client (21.0 ns "
                   "against 42.0 ns)"));
  EXPECT_TRUE(says(lines,
                   "reply-ep takes 0.50 times the median latency of persistent: longer in 0, "
                   "shorter in 1 of 1 cases"));
}

TEST(Findings, WhatOverlapsIsNoDifference) {
  Report report{.benchmark = "rpc"};
  add(report, "persistent", 1, {40, 42, 44});
  add(report, "reply-ep", 1, {38, 39, 41});
  std::vector<std::string> lines = findings(report);
  EXPECT_TRUE(says(lines, "longer in 0, shorter in 0 of 1 cases, in 1 the rounds of both overlap"));
  EXPECT_FALSE(says(lines, "Faster than persistent"));
}

TEST(Findings, OnlyTheSameCaseIsCompared) {
  Report report{.benchmark = "rpc"};
  add(report, "persistent", 1, {40});
  add(report, "ucx-floor", 4, {20});
  EXPECT_FALSE(says(findings(report), "What our layer costs"));
}

TEST(Findings, RatesAreComparedWhereSeveralAreOutstanding) {
  Report report{.benchmark = "rpc"};
  add(report, "persistent", 4, {50});
  add(report, "ucx-floor", 4, {25});
  EXPECT_TRUE(says(findings(report), "persistent does 0.50 times the requests per second"));
  EXPECT_TRUE(says(findings(report), "One round only"));
}

TEST(Findings, WrongDataIsNamed) {
  Report report{.benchmark = "rpc"};
  add(report, "ucx-floor", 1, {20});
  report.results[0].verified = false;
  EXPECT_TRUE(says(findings(report), "Wrong data came back: ucx-floor, send 64 B"));
}

TEST(Findings, OtherBenchmarksHaveNone) {
  Report report{.benchmark = "io"};
  add(report, "", 1, {20});
  EXPECT_TRUE(findings(report).empty());
}

}  // namespace
}  // namespace benchfs::bench
