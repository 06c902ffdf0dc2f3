// Statistics of a server's requests, by operation: all of them are counted, a sample is timed.
//
//   message seen --decoded--> request made --queued--> handler begun --served--> reply handed over
//                                                           [buffer wait]            |
//                                                                 UCX is done <--sent--
//
// decoded      the session was found, the header checked, the request's bytes copied
// queued       until its handler ran: nothing for small requests, which begin where their message
//              was found
// buffer wait  part of served: the pool had no buffer free. Only of requests that had to wait, and
//              of all of these: its count tells how often that happens.
// served       the handler's work, waiting for disks and other servers included
// sent         until UCX has taken the reply, or for large ones until the client has it
//
// Timing a request costs five clock readings (130 ns), so of the fast operations only one in 16 to
// 256 is timed; the others, which wait for something anyway, always are.
//
// A RequestTrace follows one request: its phase can be seen while it is under way.
//
// Thread: the reactor's. Counters only grow, and live as long as the server.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "base/clock.h"
#include "base/histogram.h"
#include "wire/opcode.h"

namespace benchfs::rpc {

enum class Stage : std::uint8_t { kDecoded, kQueued, kBufferWait, kServed, kSent };
inline constexpr std::size_t kStages = 5;
std::string_view to_string(Stage stage);  // "buffer_wait"

// The phase of a request. kNone: it has been answered, or there is none.
enum class Phase : std::uint8_t {
  kNone,
  kQueued,
  kServing,
  kWaitingForBuffer,
  kReceiving,
  kSending
};
std::string_view to_string(Phase phase);  // "waiting for a buffer"

struct OperationStats {
  using Stages = std::array<Histogram, kStages>;  // nanoseconds

  std::uint64_t requests = 0;
  std::uint64_t bytes_in = 0;      // data parts of requests
  std::uint64_t bytes_out = 0;     // data parts of replies
  std::uint64_t errors = 0;        // answered by the file system with an errno
  std::uint64_t failures = 0;      // answered by the RPC layer: deadline, malformed, …
  std::uint32_t sample_every = 1;  // a power of two
  std::unique_ptr<Stages> stages;  // made with the first request that is timed

  // When the next request's message was seen, which is now; MonoTime() if it is not of the sample.
  MonoTime stamp() { return (requests & (sample_every - 1)) == 0 ? stamp_timed() : MonoTime(); }
  MonoTime stamp_timed();
  void record(Stage stage, Nanos time);
};

class RequestStats {
 public:
  RequestStats();

  [[nodiscard]] OperationStats& operation(wire::Opcode opcode) {
    return operations_[static_cast<std::size_t>(opcode)];
  }
  // Operations that were asked for at least once: visit(wire::Opcode, const OperationStats&).
  template <typename Visit>
  void for_each(Visit visit) const {
    for (std::size_t id = 0; id < operations_.size(); ++id) {
      if (operations_[id].requests > 0) {
        visit(static_cast<wire::Opcode>(id), operations_[id]);
      }
    }
  }

 private:
  std::array<OperationStats, wire::kMaxRequestOpcode + 1> operations_;
};

class RequestTrace {
 public:
  // Counts the request. `arrived` may be coarse; `seen` is the operation's stamp() from when its
  // message was seen. `operation` is borrowed.
  void begin(OperationStats& operation, std::size_t data_bytes, MonoTime arrived, MonoTime seen) {
    operation_ = &operation;
    arrived_ = arrived;
    phase_ = Phase::kQueued;
    mark_ = seen;
    ++operation.requests;
    operation.bytes_in += data_bytes;
    lap(Stage::kDecoded);
  }
  void on_served() {
    phase_ = Phase::kServing;
    lap(Stage::kQueued);
  }
  void on_buffer_wait();
  void on_buffer();
  void on_receiving() { phase_ = Phase::kReceiving; }
  void on_received() { phase_ = Phase::kServing; }
  void on_sending(std::size_t data_bytes) {
    phase_ = Phase::kSending;
    operation_->bytes_out += data_bytes;
    lap(Stage::kServed);
  }
  void on_sent() {
    lap(Stage::kSent);
    mark_ = MonoTime();
  }
  // Data of the request that did not come with it.
  void count_bytes_in(std::size_t bytes) { operation_->bytes_in += bytes; }
  void count_error() { ++operation_->errors; }
  void count_failure() { ++operation_->failures; }
  void end() { phase_ = Phase::kNone; }

  [[nodiscard]] Phase phase() const { return phase_; }
  [[nodiscard]] MonoTime arrived() const { return arrived_; }

 private:
  void lap(Stage stage) {
    if (mark_ != MonoTime()) [[unlikely]] {
      record_lap(stage);
    }
  }
  void record_lap(Stage stage);

  OperationStats* operation_ = nullptr;
  MonoTime arrived_;
  MonoTime mark_;  // when the stage before ended; MonoTime() when the request is not timed
  MonoTime buffer_wait_began_;
  Phase phase_ = Phase::kNone;
};

}  // namespace benchfs::rpc
