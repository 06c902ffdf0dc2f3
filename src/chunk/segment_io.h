// Whole transfers on segment files: continues short transfers and repeats interrupted ones. Tests
// inject faults here (IoFaults).
#pragma once

#include <cstdint>
#include <span>

#include "base/error.h"
#include "chunk/chunk_store.h"
#include "rt/task.h"
#include "rt/uring.h"

namespace benchfs::chunk {

// The target of a transfer. Address, offset and length of a direct transfer must be multiples of
// `alignment`, which is 1 for a buffered one.
struct IoTarget {
  rt::Uring::File file;
  std::uint32_t alignment = 1;
  std::uint32_t segment = 0;  // for messages
};

class SegmentIo {
 public:
  // Spans inside `fixed` use registered buffer 0. `fixed` is empty when nothing is registered.
  SegmentIo(rt::Uring& ring, std::span<std::byte> fixed, IoFaults* faults)
      : ring_(ring), fixed_(fixed), faults_(faults) {}

  // All of the span, or an error of kind kPosix. The span is borrowed until the task ends.
  rt::CoStatus read(IoTarget target, std::span<std::byte> into, std::uint64_t offset);
  rt::CoStatus write(IoTarget target, std::span<const std::byte> from, std::uint64_t offset);
  // Writes zeros through a buffered target.
  rt::CoStatus write_zeros(IoTarget target, std::uint64_t offset, std::uint64_t length);
  // Frees the range; it reads as zeros. Error EOPNOTSUPP where the file system cannot.
  rt::CoStatus punch(IoTarget target, std::uint64_t offset, std::uint64_t length);
  // Puts the file's data on the device.
  rt::CoStatus sync(IoTarget target);

 private:
  [[nodiscard]] int buffer_for(const std::byte* address) const;
  // Waits for the test's gate, if it closes this kind of operation.
  rt::Task<void> pass_gate(IoFaults::Operation operation);
  bool inject(IoFaults::Operation operation, std::size_t* length, int* result);
  rt::Task<int> write_some(IoTarget target, std::span<const std::byte> from, std::uint64_t offset);
  rt::Task<int> read_some(IoTarget target, std::span<std::byte> into, std::uint64_t offset);

  rt::Uring& ring_;
  std::span<std::byte> fixed_;
  IoFaults* faults_;
};

}  // namespace benchfs::chunk
