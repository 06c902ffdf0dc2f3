// The phases of a benchmark, and what one client measured in a phase.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "base/clock.h"
#include "base/error.h"
#include "base/histogram.h"

namespace benchfs::bench {

// All clients go through the same phases and begin each of them together.
struct Phase {
  std::string name;
  std::uint32_t depth = 1;          // operations outstanding per client
  std::uint64_t payload_bytes = 0;  // per operation
  std::string path;                 // how a reply finds its client; rpc only
  std::uint32_t clients = 0;        // only this many take part, the first ones; 0: all
  std::uint32_t round = 0;          // phases that differ only in this become one result
  bool reported = true;             // false: preparation, verification, clean-up
  // Count the requests that the servers receive. Only with one client: others would not wait.
  bool counts_requests = false;
};

struct Measurement {
  std::uint64_t operations = 0;
  std::uint64_t bytes = 0;
  MonoTime start{};  // unset if the client took no part
  MonoTime end{};
  double cpu_s = 0;  // of all threads of the clients
  Histogram latency;
  std::uint64_t requests = 0;    // received by all servers; 0: not counted
  std::uint64_t mismatches = 0;  // wrong answers
  std::string first_mismatch;    // a sentence: where, expected, got

  // Adds what another client measured in the same phase.
  void merge(const Measurement& other);
  void on_mismatch(std::string what);
};

nlohmann::json to_message(const Phase& phase);
nlohmann::json to_message(const Measurement& measurement);
Result<Phase> phase_from(const nlohmann::json& message);
Result<Measurement> measurement_from(const nlohmann::json& message);

}  // namespace benchfs::bench
