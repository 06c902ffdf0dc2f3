// The bytes of one outstanding ping: what is sent, where the answer goes, whether it is right.
//
// All reply paths share this code, so that they differ only in how the reply travels.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "bench/pattern.h"
#include "bench/phase.h"

namespace benchfs::bench {

enum class Direction : std::uint8_t { kSend, kReceive, kEcho };
// "send", "receive", "echo"; anything else is echo.
Direction direction_of(const std::string& name);

// The pings of one client in one phase.
struct PingShape {
  Direction direction = Direction::kSend;
  std::size_t payload_bytes = 0;
  std::uint32_t depth = 1;
  std::uint64_t seed = 0;
  std::uint32_t rank = 0;
  bool operator==(const PingShape&) const = default;
};

class PingPayload {
 public:
  PingPayload(const PingShape& shape, std::uint32_t lane);

  // The bytes that ping `sequence` sends. Valid until the next call.
  [[nodiscard]] std::span<const std::byte> request(std::uint64_t sequence);
  // Prepares the buffer for its answer, empty if none is wanted, so that bytes of an earlier answer
  // cannot pass for it.
  [[nodiscard]] std::span<std::byte> prepare(std::uint64_t sequence);
  // Checks the buffer that prepare() returned: all of a small answer, one word of each page of a
  // large one.
  [[nodiscard]] bool is_right(std::uint64_t sequence);
  [[nodiscard]] std::size_t reply_bytes() const {
    return direction_ == Direction::kSend ? 0 : received_.size();
  }

 private:
  [[nodiscard]] std::size_t sent_bytes() const;

  Direction direction_;
  Pattern pattern_;
  AlignedBuffer received_;
};

// Ends after `operations` operations (0: no limit), at the given time, or when the benchmark ends
// early.
struct PingLimit {
  std::uint64_t operations = 0;
  MonoTime stop_at = MonoTime::max();
  const std::atomic<bool>* ends_early = nullptr;  // nullptr: never
  [[nodiscard]] bool is_over(MonoTime now) const {
    return now >= stop_at || (ends_early != nullptr && ends_early->load(std::memory_order_relaxed));
  }
};

// Counts an answered ping.
inline void count_ping(Measurement& measurement, const PingShape& shape, Nanos latency) {
  measurement.latency.record(static_cast<std::uint64_t>(latency.count()));
  ++measurement.operations;
  measurement.bytes += shape.payload_bytes;
}

}  // namespace benchfs::bench
