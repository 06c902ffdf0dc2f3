#include "rpc/request_stats.h"

namespace benchfs::rpc {
namespace {

// Operations that a server answers in a microsecond or two when nothing is in the way, and is asked
// for often: one in this many is timed, which costs less than 1 % of their rate.
struct Sampled {
  wire::Opcode opcode;
  std::uint32_t one_in;
};
constexpr Sampled kSampled[] = {
    {wire::Opcode::kPing, 256},
    {wire::Opcode::kLookup, 64},
    {wire::Opcode::kGetAttr, 64},
    {wire::Opcode::kReadChunk, 16},
    {wire::Opcode::kWriteChunk, 16},
    {wire::Opcode::kOpen, 16},
    {wire::Opcode::kOpenInode, 16},
    {wire::Opcode::kAppend, 16},
    {wire::Opcode::kUnlink, 16},
    {wire::Opcode::kMkdir, 16},
    {wire::Opcode::kRmdir, 16},
    {wire::Opcode::kSetAttr, 16},
};

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

MonoTime OperationStats::stamp_timed() {
  if (stages == nullptr) {  // not within the time that is taken
    stages = std::make_unique<Stages>();
  }
  return mono_now();
}

void OperationStats::record(Stage stage, Nanos time) {
  if (stages == nullptr) {
    stages = std::make_unique<Stages>();
  }
  (*stages)[static_cast<std::size_t>(stage)].record(static_cast<std::uint64_t>(time.count()));
}

RequestStats::RequestStats() {
  for (const Sampled& sampled : kSampled) {
    operation(sampled.opcode).sample_every = sampled.one_in;
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
