// The results of a benchmark, as JSON and as a table for people.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "cli/bench/phase.h"

namespace benchfs::cli::bench {

struct PhaseResult {
  Phase phase;
  std::uint32_t clients = 1;
  Measurement measurement;
  std::optional<double> server_cpu_s;
  bool verified = false;

  [[nodiscard]] double seconds() const;
};

struct Report {
  std::string benchmark;  // rpc, io, md
  nlohmann::ordered_json system;
  nlohmann::ordered_json config;
  std::vector<PhaseResult> results;
};

nlohmann::ordered_json to_json(const Report& report);
// The system in two lines, then aligned columns with units.
std::string to_table(const Report& report);

}  // namespace benchfs::cli::bench
