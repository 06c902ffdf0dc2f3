// What lies in the memory that a client and a shard share, to the byte (docs/wire.md, "The node
// door").
//
//   shard page:      progress | bell | validity words         clients map it read-only
//   session memory:  head | lane 0 | lane 1 | … | area | loans   one client and the shard map it
//
// A lane carries one call at a time: the client writes the request and then its sequence, the shard
// the reply and then the same sequence. What does not fit in a lane lies in the area, in a range
// that the request names. A short message has its data in the lane, too: each line that it touches
// is a transfer between two processors.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>

#include "wire/limits.h"
#include "wire/slot_state.h"
#include "wire/validity.h"

namespace benchfs::door {

inline constexpr std::size_t kLine = 64;
inline constexpr std::size_t kPage = 4096;
inline constexpr std::uint32_t kMaxLanes = 64;
inline constexpr std::uint32_t kMaxAreaBytes = 1U << 30;

// The fixed part of a message, behind its sequence. `header_bytes` of header and then `data_bytes`
// of data: as much of the header as fits is in the lane, the rest is in the range
// [far_offset, far_offset + far_bytes) of the area. The data follows the header: in the lane if all
// of it fits, else in the range. A reply may use the range of its request.
struct MessageFrame {
  std::uint16_t id = 0;  // what kind of message; 0 is a reply of the door itself
  std::uint16_t header_bytes = 0;
  std::uint32_t far_offset = 0;
  std::uint32_t far_bytes = 0;
  std::uint32_t data_bytes = 0;
  std::uint32_t order = 0;  // of the session's messages, for a handler that keeps it
};
static_assert(sizeof(MessageFrame) == 20);

inline constexpr std::size_t kNearOffset = sizeof(std::uint32_t) + sizeof(MessageFrame);
inline constexpr std::size_t kNearInFirstLine = kLine - kNearOffset;
inline constexpr std::size_t kNearBytes = 2 * kLine - kNearOffset;

// Where the parts of a message lie, given the length of its header and data.
struct Parts {
  std::size_t near_header = 0;
  std::size_t far_header = 0;
  std::size_t near_data = 0;
  std::size_t far_data = 0;

  Parts(std::size_t header_bytes, std::size_t data_bytes)
      : near_header(header_bytes < kNearBytes ? header_bytes : kNearBytes),
        far_header(header_bytes - near_header) {
    (header_bytes + data_bytes <= kNearBytes ? near_data : far_data) = data_bytes;
  }
  [[nodiscard]] std::size_t far() const { return far_header + far_data; }
};

struct alignas(2 * kLine) LaneMessage {
  std::atomic<std::uint32_t> sequence;
  MessageFrame frame;
  std::byte near[kNearBytes];
};
static_assert(sizeof(LaneMessage) == 2 * kLine && offsetof(LaneMessage, near) == kNearOffset);

// What a client writes into `csleep`.
inline constexpr std::uint32_t kAwake = 0;
inline constexpr std::uint32_t kAsleepOnReply = 1;   // FUTEX_WAIT on the reply's sequence
inline constexpr std::uint32_t kAsleepOnSocket = 2;  // a byte through the session's socket wakes it

struct alignas(2 * kLine) LaneMemory {
  LaneMessage request;                // written by the client
  LaneMessage reply;                  // written by the shard
  std::atomic<std::uint32_t> csleep;  // the client sleeps, or is about to: wake it
  std::atomic<std::uint32_t> ssleep;  // the shard does not look at this lane: ring
};
static_assert(sizeof(LaneMemory) == 6 * kLine);

// What a program has copied by itself; for statistics only.
struct CopyCounts {
  std::atomic<std::uint64_t> reads;
  std::atomic<std::uint64_t> bytes_read;
  std::atomic<std::uint64_t> overwrites;
  std::atomic<std::uint64_t> bytes_overwritten;
};

struct alignas(2 * kLine) SessionHead {
  std::atomic<std::uint32_t> bell;     // how often the client rang
  std::atomic<std::uint32_t> is_here;  // 1 until the client leaves by itself
};
static_assert(sizeof(SessionHead) == 2 * kLine);

// Of one thread of the client that copies by itself.
struct alignas(2 * kLine) CopierMemory {
  std::atomic<std::uint64_t> busy;  // the slot that it overwrites now + 1; 0: none
  CopyCounts counts;                // also of threads that were here before
};
static_assert(sizeof(CopierMemory) == 2 * kLine);

// Of the write loans in one place. The shard never writes here.
struct LoanMemory {
  std::atomic<std::int64_t> written_at;  // last, in ns since the epoch
};

struct ShardPage {
  std::atomic<std::uint64_t> progress;  // how often the shard looked; chooses how to wait, no more
  alignas(kLine) std::atomic<std::uint32_t> bell;  // futex; 0, or 1 once the door is closed
  alignas(kLine) wire::ValidityWords validity;
};
static_assert(std::atomic<std::uint64_t>::is_always_lock_free);

// How a session's memory is divided.
struct SessionShape {
  std::uint32_t lanes = 0;
  std::uint32_t area_bytes = 0;
  bool has_slots = false;  // then it has copiers and loans

  [[nodiscard]] bool is_valid() const {
    return lanes >= 1 && lanes <= kMaxLanes && area_bytes <= kMaxAreaBytes &&
           area_bytes % kPage == 0;
  }
  [[nodiscard]] std::size_t area_offset() const {
    std::size_t end = sizeof(SessionHead) + lanes * sizeof(LaneMemory);
    return (end + kPage - 1) / kPage * kPage;
  }
  [[nodiscard]] std::size_t copiers_offset() const { return area_offset() + area_bytes; }
  [[nodiscard]] std::size_t loans_offset() const {
    return copiers_offset() + (has_slots ? wire::kMaxCopiers * sizeof(CopierMemory) : 0);
  }
  [[nodiscard]] std::size_t bytes() const {
    return loans_offset() + (has_slots ? wire::kMaxWriteLoans * sizeof(LoanMemory) : 0);
  }
};

// Of a program. A lane has room for a ping of the longest size; memory is used once it is touched,
// and who makes one call at a time touches one lane.
inline constexpr SessionShape kProgramShape{.lanes = 16, .area_bytes = (64U << 20) + (1U << 20)};
// Of who speaks for others, and sends what each of them might: a program that reaches shards of
// other nodes through this one, and another shard of the node. Each of a program's shards gets a
// part of the lanes, so that those of one that does not answer leave room for the others.
inline constexpr SessionShape kForwardShape{.lanes = kMaxLanes,
                                            .area_bytes = 4 * kProgramShape.area_bytes};

// Where things are in a mapping of a session's memory.
class SessionView {
 public:
  SessionView() = default;
  SessionView(std::byte* memory, SessionShape shape) : memory_(memory), shape_(shape) {}
  // The objects are made by the kernel: a new memfd is zero, and so are they.
  [[nodiscard]] SessionHead& head() const { return *reinterpret_cast<SessionHead*>(memory_); }
  [[nodiscard]] LaneMemory& lane(std::uint32_t index) const {
    return *reinterpret_cast<LaneMemory*>(memory_ + sizeof(SessionHead) +
                                          index * sizeof(LaneMemory));
  }
  [[nodiscard]] CopierMemory& copier(std::uint32_t number) const {
    return *reinterpret_cast<CopierMemory*>(memory_ + shape_.copiers_offset() +
                                            number * sizeof(CopierMemory));
  }
  [[nodiscard]] LoanMemory& loan(std::uint32_t place) const {
    return *reinterpret_cast<LoanMemory*>(memory_ + shape_.loans_offset() +
                                          place * sizeof(LoanMemory));
  }
  [[nodiscard]] std::byte* area() const { return memory_ + shape_.area_offset(); }
  [[nodiscard]] const SessionShape& shape() const { return shape_; }

 private:
  std::byte* memory_ = nullptr;
  SessionShape shape_;
};

// Orders all loads and stores before it before all after it. On x86 a locked instruction does that
// in half the time of the mfence that clang makes of the standard fence.
inline void full_fence() {
#if defined(__x86_64__)
  asm volatile("lock; addl $0, -64(%%rsp)" : : : "memory", "cc");
#else
  std::atomic_thread_fence(std::memory_order_seq_cst);
#endif
}

// Copies out of memory that another process may write at any time. The compiler must not read the
// source again when it uses the copy: what was checked would not be what is used.
inline void copy_once(void* to, const void* from, std::size_t bytes) {
  if (bytes > 0) {  // an empty span has no address
    std::memcpy(to, from, bytes);
  }
  asm volatile("" : : "r"(to), "r"(from) : "memory");
}

// Copies into shared memory.
inline void put(void* to, const void* from, std::size_t bytes) {
  if (bytes > 0) {
    std::memcpy(to, from, bytes);
  }
}

// Writes the lines of a message, all but its sequence. The first line is written last, and at once:
// the other side looks at it all the time, and would take it away between two stores.
inline void put_lines(LaneMessage& message,
                      const MessageFrame& frame,
                      std::span<const std::byte> near_header,
                      std::span<const std::byte> near_data) {
  constexpr std::size_t kFrameOffset = offsetof(LaneMessage, frame);
  alignas(kLine) std::byte lines[2 * kLine] = {};
  std::memcpy(lines + kFrameOffset, &frame, sizeof frame);
  put(lines + kNearOffset, near_header.data(), near_header.size());
  put(lines + kNearOffset + near_header.size(), near_data.data(), near_data.size());
  auto* to = reinterpret_cast<std::byte*>(&message);
  if (near_header.size() + near_data.size() > kNearInFirstLine) {
    std::memcpy(to + kLine, lines + kLine, kLine);
    std::atomic_signal_fence(std::memory_order_seq_cst);
  }
  std::memcpy(to + kFrameOffset, lines + kFrameOffset, kLine - kFrameOffset);
}

}  // namespace benchfs::door
