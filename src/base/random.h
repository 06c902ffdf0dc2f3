// Random numbers: seeded ones for tests and workloads, unpredictable ones for identities.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/hash.h"

namespace benchfs {

// SplitMix64; small, fast, good enough for workloads. Same seed, same sequence, on every machine.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() {
    std::uint64_t value = mix64(state_);
    state_ += 0x9e3779b97f4a7c15ULL;
    return value;
  }
  // Uniform in [0, bound); bound > 0. The bias of the modulo is below 2^-32 for bounds under 2^32.
  std::uint64_t below(std::uint64_t bound) { return next() % bound; }

 private:
  std::uint64_t state_;
};

// Comes from the kernel's random source; never 0.
std::uint64_t random_id();
// At most 256 bytes; from there, too.
void fill_random(std::span<std::byte> out);

}  // namespace benchfs
