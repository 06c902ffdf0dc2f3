// What is measured: phases, and what each client saw of them.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "base/clock.h"
#include "base/error.h"
#include "base/histogram.h"

namespace benchfs::bench {

// All clients go through the same phases, each begun together.
struct Phase {
  std::string name;
  std::uint32_t depth = 1;          // operations outstanding per client
  std::uint64_t payload_bytes = 0;  // of one operation
  std::string path;                 // how a reply finds its client; rpc only
  std::uint32_t clients = 0;        // that take part, the first ones; 0: all
  std::uint32_t round = 0;          // phases that differ in nothing else become one result
  bool reported = true;             // false: preparation, verification, cleaning up
};

struct Measurement {
  std::uint64_t operations = 0;
  std::uint64_t bytes = 0;
  MonoTime start{};  // unset: took no part
  MonoTime end{};
  double cpu_s = 0;  // of the clients, all threads
  Histogram latency;
  std::uint64_t mismatches = 0;  // answers that were not what they had to be
  std::string first_mismatch;    // a sentence: where, expected, got

  // Adds what another client saw of the same phase.
  void merge(const Measurement& other);
  void on_mismatch(std::string what);
};

nlohmann::json to_message(const Phase& phase);
nlohmann::json to_message(const Measurement& measurement);
Result<Phase> phase_from(const nlohmann::json& message);
Result<Measurement> measurement_from(const nlohmann::json& message);

}  // namespace benchfs::bench
