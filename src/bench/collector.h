// Gathers what the clients of a benchmark measured into its report.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "bench/report.h"

namespace benchfs::bench {

class Collector {
 public:
  Collector(Report& report, std::uint32_t clients) : report_(report), clients_(clients) {}

  // Adds one round of a phase, with all clients merged. `server_cpu_s` is the CPU time of the
  // processes that served it.
  void add(const Phase& phase, Measurement total, std::optional<double> server_cpu_s);
  // Call once at the end: wrong data in an unreported phase makes all results unverified.
  void finish();
  // Describes the first mismatch; empty if there was none.
  [[nodiscard]] const std::string& mismatch() const { return mismatch_; }

 private:
  Report& report_;
  std::uint32_t clients_;
  std::string mismatch_;
  bool all_verified_ = true;  // in the unreported phases
};

// Sums over the shards of describe_shards(): hits, misses, evictions, replaced, rejected,
// high_water; hit_rate over all.
nlohmann::ordered_json registry_totals(const nlohmann::json& shards);
// The difference of two of these; high_water is taken from `after`.
nlohmann::ordered_json registry_between(const nlohmann::ordered_json& before,
                                        const nlohmann::ordered_json& after);

}  // namespace benchfs::bench
