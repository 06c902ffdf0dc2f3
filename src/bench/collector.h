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

  // One phase and round, all clients merged. `server_cpu_s`: of the processes that served it.
  void add(const Phase& phase, Measurement total, std::optional<double> server_cpu_s);
  // Once, at the end: wrong data in a phase that is not reported spoils all results.
  void finish();
  // A sentence about the first wrong data; empty when all was right.
  [[nodiscard]] const std::string& mismatch() const { return mismatch_; }

 private:
  Report& report_;
  std::uint32_t clients_;
  std::string mismatch_;
  bool all_verified_ = true;  // by phases that are not reported themselves
};

// Sums over the shards of describe_shards(): hits, misses, evictions, replaced, rejected,
// high_water; hit_rate over all.
nlohmann::ordered_json registry_totals(const nlohmann::json& shards);
// What happened between two of these; high_water is that of `after`.
nlohmann::ordered_json registry_between(const nlohmann::ordered_json& before,
                                        const nlohmann::ordered_json& after);

}  // namespace benchfs::bench
