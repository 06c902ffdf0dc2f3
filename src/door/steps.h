// The instants of a call at which tests kill and stop processes (docs/wire.md, "The node door").
// Off, a step costs one branch on a word that nobody writes.
#pragma once

#include <atomic>
#include <cstdint>

namespace benchfs::door {

enum class Step : std::uint8_t {
  kLaneTaken,        // client: nothing written yet
  kRequestWritten,   // client: body, but no sequence
  kSequenceStored,   // client: sequence, before the fence
  kFenced,           // client: before it looks whether the shard sleeps
  kBellRaised,       // client: rang the session's bell, before FUTEX_WAKE
  kSent,             // client: before it waits
  kMarkedAsleep,     // client: csleep = 1, before the fence
  kBeforeSleep,      // client: before FUTEX_WAIT
  kReplySeen,        // client: before it copies the reply
  kReplyCopied,      // client: the lane is free
  kAskedToAttach,    // client: sent its request to attach, has no answer
  kGotDescriptors,   // client: attached, nothing mapped
  kAttached,         // client: all mapped
  kRequestCopied,    // shard: before it serves the call
  kReplyWritten,     // shard: answer, but no sequence
  kReplyPublished,   // shard: sequence, before the fence
  kMarkedIdle,       // shard: ssleep = 1 on all lanes, before the second look
  kUnmapped,         // shard: before it seals a session's memory
  kSlotStateRead,    // client: may copy from a slot
  kSlotCopied,       // client: before it looks whether the bytes are still the chunk's
  kSlotFilling,      // client: before a part of what it fills
  kSlotNamed,        // client: named the slot as the one that it overwrites, before the fence
  kSlotOverwriting,  // client: saw its generation, before it copies
  kSlotOverwritten,  // client: copied, before it looks whether it still might
  kCount,
};

using StepHook = void (*)(Step);
// For tests.
inline std::atomic<StepHook> step_hook{nullptr};

inline void at_step(Step step) {
  if (StepHook hook = step_hook.load(std::memory_order_acquire); hook != nullptr) [[unlikely]] {
    hook(step);
  }
}

}  // namespace benchfs::door
