// Shows the counters of servers to users, since their start or over an interval.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/cluster/survey.h"

namespace benchfs::cli {

// Returns the difference between two answers of a server, in the form of an answer: counters and
// histograms are subtracted, gauges are those of `after`, "uptime_s" is the time in between.
// Percentiles are those of the interval, accurate to the factor of two that a histogram octave
// spans.
nlohmann::json difference(const nlohmann::json& before, const nlohmann::json& after);

// The value that `percent` of those in the octaves (base/histogram.h) do not exceed.
std::uint64_t octave_percentile(const std::vector<std::uint64_t>& octaves, double percent);

// One server: a block of lines, and a table of operations. `is_interval`: the answer is a
// difference; rates are shown.
std::string stats_table(const ServerStatus& status, bool is_interval);

}  // namespace benchfs::cli
