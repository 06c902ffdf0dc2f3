// Runs one benchmark with its client processes, and reports it. The parent's side of worker.h.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "base/error.h"
#include "cli/bench/report.h"
#include "cli/command.h"

namespace benchfs::cli::bench {

struct RunOptions {
  std::string benchmark;  // rpc, io, md
  std::uint32_t clients = 1;
  double limit_s = 600;           // for the whole run; clients are killed then
  std::string json_path;          // empty: a table on standard output; "-": JSON there
  nlohmann::ordered_json config;  // RpcConfig, IoConfig or MdConfig
};

// Everything but an error is a report; data that was wrong is in it (verified = false) and in
// `mismatch`, a sentence about the first.
struct RunOutcome {
  Report report;
  std::string mismatch;
};
Result<RunOutcome> run_benchmark(const RunOptions& options, const Context& context);

// The command: runs, prints, returns the exit code.
int run_and_report(const RunOptions& options, const Context& context);

}  // namespace benchfs::cli::bench
