#include "bench/report.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

namespace benchfs::bench {
namespace {

using nlohmann::ordered_json;

PhaseResult result_of(const char* name, const char* path) {
  PhaseResult result;
  result.phase = Phase{.name = name, .depth = 4, .payload_bytes = 1 << 20, .path = path};
  result.clients = 2;
  result.verified = true;
  Measurement measurement;
  measurement.start = MonoTime(std::chrono::seconds(10));
  measurement.end = MonoTime(std::chrono::seconds(12));
  measurement.operations = 100;
  measurement.bytes = 100 << 20;
  measurement.cpu_s = 1.25;
  for (int i = 0; i < 100; ++i) {
    measurement.latency.record(50);
  }
  result.rounds.push_back({measurement, std::nullopt});
  return result;
}

std::vector<std::string> keys(const ordered_json& object) {
  std::vector<std::string> names;
  for (const auto& [name, value] : object.items()) {
    names.push_back(name);
  }
  return names;
}

TEST(Report, JsonHasTheAgreedFields) {
  Report report{.benchmark = "rpc", .system = {{"host", "h"}}, .config = {{"clients", 2}}};
  report.results.push_back(result_of("send", "persistent"));
  ordered_json json = to_json(report);
  EXPECT_EQ(keys(json),
            (std::vector<std::string>{
                "benchmark", "command", "system", "config", "registry", "summary", "results"}));
  ordered_json result = json["results"][0];
  EXPECT_EQ(keys(result),
            (std::vector<std::string>{"phase",
                                      "clients",
                                      "depth",
                                      "payload_bytes",
                                      "operations",
                                      "seconds",
                                      "ops_per_s",
                                      "mib_per_s",
                                      "latency_ns",
                                      "cpu_s",
                                      "verified",
                                      "path",
                                      "cpu_s_per_million",
                                      "rounds",
                                      "range"}));
  EXPECT_EQ(keys(result["latency_ns"]),
            (std::vector<std::string>{"avg", "p50", "p99", "p999", "max"}));
  EXPECT_EQ(keys(result["cpu_s"]), (std::vector<std::string>{"client", "server"}));
}

TEST(Report, JsonNumbersAreInTheirUnits) {
  Report report{.benchmark = "io"};
  report.results.push_back(result_of("write", ""));
  report.results[0].rounds[0].server_cpu_s = 0.75;
  ordered_json result = to_json(report)["results"][0];
  EXPECT_EQ(result["seconds"], 2.0);
  EXPECT_EQ(result["ops_per_s"], 50.0);
  EXPECT_EQ(result["mib_per_s"], 50.0);
  EXPECT_EQ(result["latency_ns"]["p50"], 50);
  EXPECT_EQ(result["cpu_s"]["client"], 1.25);
  EXPECT_EQ(result["cpu_s"]["server"], 0.75);
  EXPECT_EQ(result["verified"], true);
  EXPECT_FALSE(result.contains("path"));
}

TEST(Report, UnknownServerTimeIsNull) {
  Report report{.benchmark = "io"};
  report.results.push_back(result_of("write", ""));
  EXPECT_TRUE(to_json(report)["results"][0]["cpu_s"]["server"].is_null());
}

TEST(Report, APhaseWithoutTimeHasNoRate) {
  Report report{.benchmark = "io"};
  report.results.push_back(result_of("write", ""));
  Measurement& measurement = report.results[0].rounds[0].measurement;
  measurement.end = measurement.start;
  EXPECT_EQ(to_json(report)["results"][0]["ops_per_s"], 0.0);
}

TEST(Report, ValuesAreMediansOverTheRounds) {
  Report report{.benchmark = "rpc", .registry = {{"hits", 3}}};
  report.results.push_back(result_of("send", "persistent"));
  PhaseResult& result = report.results[0];
  for (std::uint64_t latency : {std::uint64_t{40}, std::uint64_t{1000}}) {
    Round round = result.rounds[0];
    round.measurement.latency.clear();
    round.measurement.latency.record(latency);
    result.rounds.push_back(round);
  }
  ordered_json json = to_json(report);
  EXPECT_EQ(json["registry"]["hits"], 3);
  ordered_json value = json["results"][0];
  EXPECT_EQ(value["rounds"], 3);
  EXPECT_EQ(value["latency_ns"]["p50"], 50);
  EXPECT_EQ(value["latency_ns"]["max"], 1000);
  EXPECT_EQ(value["range"]["p50"][0], 40);
  EXPECT_NEAR(value["range"]["p50"][1].get<double>(), 1000, 10);
  EXPECT_EQ(value["operations"], 300);
  EXPECT_EQ(value["ops_per_s"], 50.0);
  EXPECT_EQ(value["cpu_s_per_million"]["client"], 12500.0);
}

TEST(Report, TheTableIsAlignedAndNamesWrongData) {
  Report report{.benchmark = "io", .system = {{"host", "h"}}};
  report.results.push_back(result_of("write", ""));
  report.results.push_back(result_of("read", ""));
  report.results[1].verified = false;
  std::string table = to_table(report);
  std::string rows = table.substr(table.find("\n\n") + 2);
  std::size_t width = rows.find('\n');
  EXPECT_EQ(std::ranges::count(rows, '\n'), 3);
  EXPECT_EQ(rows.size(), 3 * (width + 1));
  EXPECT_NE(rows.find("1 MiB"), std::string::npos);
  EXPECT_NE(rows.find("50.0 MiB/s"), std::string::npos);
  EXPECT_NE(rows.find("WRONG"), std::string::npos);
}

}  // namespace
}  // namespace benchfs::bench
