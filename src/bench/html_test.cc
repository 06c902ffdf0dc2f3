#include <gtest/gtest.h>

#include "bench/collector.h"
#include "bench/report.h"

namespace benchfs::bench {
namespace {

Report small_report() {
  Report report{.benchmark = "rpc", .command = "benchfs bench rpc </script>"};
  Collector collector(report, 1);
  Measurement measurement;
  measurement.start = MonoTime(std::chrono::seconds(1));
  measurement.end = measurement.start + std::chrono::seconds(1);
  measurement.operations = 1;
  measurement.latency.record(1234);
  collector.add({.name = "send", .path = "persistent"}, measurement, std::nullopt);
  return report;
}

// The JSON inside the page.
nlohmann::json data_of(const std::string& page) {
  const std::string begin = R"(id="report">)";
  std::size_t from = page.find(begin) + begin.size();
  std::size_t to = page.find("</script>", from);
  return nlohmann::json::parse(page.substr(from, to - from), nullptr, false);
}

TEST(Html, HoldsTheReportAndItsDistributions) {
  Report report = small_report();
  nlohmann::json data = data_of(to_html(report));
  ASSERT_TRUE(data.is_object());
  EXPECT_EQ(data["command"], report.command) << "also when it would end the script";
  const nlohmann::json& distribution = data["results"][0]["distribution"];
  EXPECT_EQ(distribution.front()[0], 0.0);
  EXPECT_EQ(distribution.front()[1], 1234);
  EXPECT_EQ(distribution.back()[0], 100.0);
}

TEST(Html, NeedsNothingElse) {
  std::string page = to_html(small_report());
  EXPECT_EQ(page.find("@REPORT@"), std::string::npos);
  EXPECT_EQ(page.find("src="), std::string::npos);
  EXPECT_EQ(page.find("href="), std::string::npos);
  EXPECT_EQ(page.find("url("), std::string::npos);
  EXPECT_EQ(page.find("https://"), std::string::npos);
}

}  // namespace
}  // namespace benchfs::bench
