// Runs one benchmark with its client processes, and reports it. The parent's side of worker.h.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "bench/report.h"

namespace benchfs::bench {

struct RunOptions {
  std::string benchmark;  // rpc, io, md
  std::uint32_t clients = 1;
  double limit_s = 600;           // the whole run; clients are killed afterwards
  std::string json_path;          // empty: a table on standard output; "-": JSON there
  std::string html_path;          // empty: no page
  nlohmann::ordered_json config;  // RpcConfig, IoConfig or MdConfig
  std::string registry_dir;
  std::vector<std::string> arguments;  // of the client processes, before their command
};

// A run that ends without an error gives a report. Wrong data shows in the report (verified =
// false) and in `mismatch`, a sentence about the first mismatch.
struct RunOutcome {
  Report report;
  std::string mismatch;
};
Result<RunOutcome> run_benchmark(const RunOptions& options);

// The command: runs the benchmark, prints the table and writes the files. Wrong data is an error.
Status run_and_report(const RunOptions& options);

}  // namespace benchfs::bench
