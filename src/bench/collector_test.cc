#include "bench/collector.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace benchfs::bench {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

Measurement measured(std::uint64_t latency, std::uint64_t mismatches = 0) {
  Measurement measurement;
  measurement.start = MonoTime(std::chrono::seconds(1));
  measurement.end = measurement.start + std::chrono::seconds(2);
  measurement.operations = 10;
  measurement.cpu_s = 0.5;
  measurement.latency.record(latency);
  measurement.mismatches = mismatches;
  return measurement;
}

TEST(Collector, RoundsOfAPhaseBecomeOneResult) {
  Report report{.benchmark = "rpc"};
  Collector collector(report, 4);
  for (std::uint32_t round = 0; round < 3; ++round) {
    for (const char* path : {"persistent", "ucx-floor"}) {
      collector.add({.name = "send", .path = path, .round = round}, measured(10 + round), 0.25);
    }
  }
  collector.finish();
  ASSERT_EQ(report.results.size(), 2U);
  const PhaseResult& result = report.results[0];
  EXPECT_EQ(result.rounds.size(), 3U);
  EXPECT_EQ(result.clients, 4U);
  EXPECT_TRUE(result.verified);
  EXPECT_EQ(result.percentile_ns(50).median, 11);
  EXPECT_EQ(result.percentile_ns(50).low, 10);
  EXPECT_EQ(result.percentile_ns(50).high, 12);
  EXPECT_EQ(result.seconds(), 6.0);
  EXPECT_EQ(result.server_cpu_s(), 0.75);
  EXPECT_EQ(result.total().operations, 30U);
}

TEST(Collector, TheSamePhaseAgainIsAnotherResult) {
  Report report{.benchmark = "md"};
  Collector collector(report, 1);
  collector.add({.name = "stat"}, measured(10), std::nullopt);
  collector.add({.name = "stat"}, measured(20), std::nullopt);
  EXPECT_EQ(report.results.size(), 2U);
}

TEST(Collector, WrongDataBesideTheTimedPartSpoilsAll) {
  Report report{.benchmark = "rpc"};
  Collector collector(report, 1);
  collector.add({.name = "check", .reported = false}, measured(10, 2), std::nullopt);
  collector.add({.name = "send"}, measured(10), std::nullopt);
  collector.finish();
  ASSERT_EQ(report.results.size(), 1U);
  EXPECT_FALSE(report.results[0].verified);
  EXPECT_NE(collector.mismatch().find("2 answers were wrong"), std::string::npos);
}

TEST(Collector, TheRegistryIsSummedAndSubtracted) {
  auto shard = [](int hits, int misses, int high_water) {
    return json{{"registry",
                 {{"hits", hits},
                  {"misses", misses},
                  {"evictions", 1},
                  {"replaced", 0},
                  {"rejected", 0},
                  {"high_water", high_water}}}};
  };
  ordered_json before = registry_totals(json::array({shard(10, 0, 2), shard(20, 0, 2)}));
  ordered_json after = registry_totals(json::array({shard(100, 5, 4), shard(29, 1, 3)}));
  ordered_json between = registry_between(before, after);
  EXPECT_EQ(between["hits"], 99);
  EXPECT_EQ(between["misses"], 6);
  EXPECT_EQ(between["evictions"], 0);
  EXPECT_EQ(between["high_water"], 7);
  EXPECT_NEAR(between["hit_rate"].get<double>(), 99.0 / 105.0, 1e-9);
}

TEST(Collector, AClientThatTookNoPartDoesNotStretchTheTime) {
  Measurement total = measured(10);
  MonoTime end = total.end;
  total.merge(Measurement{});
  EXPECT_EQ(total.start, MonoTime(std::chrono::seconds(1)));
  EXPECT_EQ(total.end, end);
}

}  // namespace
}  // namespace benchfs::bench
