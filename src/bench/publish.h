// Where the results of a benchmark go, and what its report says about clients and cluster.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "bench/report.h"

namespace benchfs::bench {

// Paths; empty: not wanted; "-": standard output, JSON only.
struct ReportFiles {
  std::string json;
  std::string html;
};

// The table on standard output unless JSON goes there, and the files. Errors: kSystem.
Status publish(const Report& report, const ReportFiles& files);

// Fields of Report::system. `hellos`: of connect_timed(), one a client; `shards`:
// describe_shards().
void describe_clients(nlohmann::ordered_json& system, const std::vector<nlohmann::json>& hellos);
void describe_cluster(nlohmann::ordered_json& system, const nlohmann::json& shards);

}  // namespace benchfs::bench
