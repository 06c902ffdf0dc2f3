// Writes the results of a benchmark, and describes clients and cluster in its report.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "bench/report.h"

namespace benchfs::bench {

// Paths. Empty means not wanted; "-" is standard output, for JSON only.
struct ReportFiles {
  std::string json;
  std::string html;
};

// Prints the table to standard output, unless JSON goes there, and writes the files. Errors:
// kSystem.
Status publish(const Report& report, const ReportFiles& files);

// Fields of Report::system. `hellos`: of connect_timed(), one a client; `shards`:
// describe_shards().
void describe_clients(nlohmann::ordered_json& system, const std::vector<nlohmann::json>& hellos);
void describe_cluster(nlohmann::ordered_json& system, const nlohmann::json& shards);

}  // namespace benchfs::bench
