// The results of a benchmark, as JSON, as a table and as a page.
//
// A result has one or more rounds: the same phase measured again, with the other paths in between.
// Values are medians over the rounds, with the lowest and the highest beside them.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "bench/phase.h"

namespace benchfs::bench {

struct Round {
  Measurement measurement;
  std::optional<double> server_cpu_s;
  [[nodiscard]] double seconds() const;
};

// A value over all rounds.
struct Spread {
  double median = 0;
  double low = 0;
  double high = 0;
  // True if the ranges of both do not overlap.
  [[nodiscard]] bool is_apart_from(const Spread& other) const {
    return high < other.low || other.high < low;
  }
};
Spread spread_of(std::vector<double> values);

// Requests that the servers received for one operation; 0 when they were not counted.
double requests_per_op(const Measurement& measurement);

struct PhaseResult {
  Phase phase;
  std::uint32_t clients = 1;
  std::vector<Round> rounds;
  bool verified = false;

  // All rounds merged; `max` of the latency is the largest of all.
  [[nodiscard]] Measurement total() const;
  [[nodiscard]] double seconds() const;  // sum of the rounds
  [[nodiscard]] std::optional<double> server_cpu_s() const;

  [[nodiscard]] Spread ops_per_s() const;
  [[nodiscard]] Spread mib_per_s() const;
  [[nodiscard]] Spread mean_ns() const;
  [[nodiscard]] Spread percentile_ns(double percent) const;
};

struct Report {
  std::string benchmark;  // rpc, io, md, connect
  std::string command;    // the command line that made it
  nlohmann::ordered_json system;
  nlohmann::ordered_json config;
  nlohmann::ordered_json registry;  // totals of all shards during the run
  std::vector<PhaseResult> results;
};

// Whether results have a reply path and the registry is part of the report.
bool is_about_connections(const Report& report);

nlohmann::ordered_json to_json(const Report& report);
// The system in two lines, aligned columns with units, then what the numbers say and the command.
std::string to_table(const Report& report);
// One page that needs nothing else: table, charts, summary, system, command.
std::string to_html(const Report& report);

// Sentences that say what the numbers of an RPC report mean; none for other benchmarks.
std::vector<std::string> summary(const Report& report);

// "1.25 us", "64 KiB": three digits and a unit.
std::string time_text(double nanoseconds);
std::string size_text(std::uint64_t bytes);
std::string bandwidth_text(double mib_per_s);

}  // namespace benchfs::bench
