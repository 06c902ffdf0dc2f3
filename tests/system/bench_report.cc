#include "system/bench_report.h"

#include <gtest/gtest.h>

namespace benchfs::test {

void expect_result_fields(const nlohmann::json& result) {
  for (const char* key : {"phase",
                          "clients",
                          "depth",
                          "payload_bytes",
                          "operations",
                          "seconds",
                          "ops_per_s",
                          "mib_per_s",
                          "latency_ns",
                          "cpu_s",
                          "verified"}) {
    EXPECT_TRUE(result.contains(key)) << key << " in " << result.dump();
  }
  EXPECT_EQ(result["verified"], true) << result.dump();
  EXPECT_GT(result["operations"], 0) << result.dump();
  const nlohmann::json& latency = result["latency_ns"];
  EXPECT_LE(latency["p50"], latency["p99"]);
  EXPECT_LE(latency["p99"], latency["p999"]);
  EXPECT_GT(latency["max"], 0);
  EXPECT_GT(result["cpu_s"]["client"], 0.0);
}

void expect_rpc_result_fields(const nlohmann::json& result) {
  expect_result_fields(result);
  EXPECT_TRUE(result.contains("path")) << result.dump();
}

}  // namespace benchfs::test
