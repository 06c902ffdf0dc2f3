#include "rpc/request_stats.h"

namespace benchfs::rpc {
namespace {

// What a server answers in a microsecond or two when nothing is in the way, and is asked often.
constexpr wire::Opcode kFastest[] = {
    wire::Opcode::kPing, wire::Opcode::kLookup, wire::Opcode::kGetAttr};
constexpr wire::Opcode kFast[] = {wire::Opcode::kReadChunk,
                                  wire::Opcode::kWriteChunk,
                                  wire::Opcode::kOpen,
                                  wire::Opcode::kOpenInode,
                                  wire::Opcode::kClose,
                                  wire::Opcode::kAppend,
                                  wire::Opcode::kUnlink};

}  // namespace

std::string_view to_string(Stage stage) {
  switch (stage) {
    case Stage::kDecoded:
      return "decoded";
    case Stage::kQueued:
      return "queued";
    case Stage::kBufferWait:
      return "buffer_wait";
    case Stage::kServed:
      return "served";
    case Stage::kSent:
      return "sent";
  }
  return "unknown";
}

std::string_view to_string(Phase phase) {
  switch (phase) {
    case Phase::kNone:
      return "answered";
    case Phase::kQueued:
      return "queued";
    case Phase::kServing:
      return "serving";
    case Phase::kWaitingForBuffer:
      return "waiting for a buffer";
    case Phase::kReceiving:
      return "receiving data";
    case Phase::kSending:
      return "sending the reply";
  }
  return "unknown";
}

void OperationStats::record(Stage stage, Nanos time) {
  if (stages == nullptr) {
    stages = std::make_unique<Stages>();
  }
  (*stages)[static_cast<std::size_t>(stage)].record(static_cast<std::uint64_t>(time.count()));
}

RequestStats::RequestStats() {
  for (wire::Opcode opcode : kFastest) {
    operation(opcode).sample_every = 64;
  }
  for (wire::Opcode opcode : kFast) {
    operation(opcode).sample_every = 16;
  }
}

void RequestTrace::on_buffer_wait() {
  phase_ = Phase::kWaitingForBuffer;
  buffer_wait_began_ = mono_now();
}

void RequestTrace::on_buffer() {
  phase_ = Phase::kServing;
  operation_->record(Stage::kBufferWait, mono_now() - buffer_wait_began_);
}

void RequestTrace::record_lap(Stage stage) {
  MonoTime now = mono_now();
  operation_->record(stage, now - mark_);
  mark_ = now;
}

}  // namespace benchfs::rpc
