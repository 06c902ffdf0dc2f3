// The memory of the memory engine: a file without a name, which programs of the node can map as
// well, and the states of its slots (wire/slot_state.h), which they can only read.
//
// Nothing of it outlives the daemon and the programs that map it. Address space is taken at once,
// memory where it is touched.
//
// Thread: one reactor's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "wire/slot_state.h"

namespace benchfs::chunk {

class SlotFile {
 public:
  // Errors: kSystem.
  static Result<SlotFile> create(std::uint32_t slot_bytes);
  SlotFile(SlotFile&& other) noexcept;
  SlotFile& operator=(SlotFile&&) = delete;
  ~SlotFile();

  // Makes the file longer by that many slots and maps them. Errors: kSystem.
  Result<std::span<std::byte>> grow(std::size_t slots);
  // How many there are.
  [[nodiscard]] std::size_t slots() const { return slots_; }
  // Before the pages of a slot up to `end` are touched: where the kernel promises no more memory
  // than it has (strict overcommit), they must be there. Errors: kSystem.
  [[nodiscard]] Status back(std::size_t slot, std::uint32_t end) const;
  // Gives mapped memory back to the kernel, in every process; it reads as zeros. Whole pages.
  static void punch(std::span<std::byte> memory);
  // The same for all of it, in the end.
  void punch_all() const;
  // Gives the page tables of a slot without memory back.
  void renew(std::span<std::byte> slot_bytes, std::size_t slot) const;

  // Null for slots that are not published.
  [[nodiscard]] wire::SlotWord* state(std::size_t slot) const;
  // For programs of the node; -1 where they must not map them. Borrowed.
  [[nodiscard]] int data_fd() const { return is_strict_ ? -1 : data_.get(); }
  [[nodiscard]] int states_fd() const { return is_strict_ ? -1 : states_.get(); }

 private:
  explicit SlotFile(std::uint32_t slot_bytes) : slot_bytes_(slot_bytes) {}

  std::uint32_t slot_bytes_;
  bool is_strict_ = false;
  Fd data_;
  Fd states_;
  std::byte* state_memory_ = nullptr;
  std::size_t slots_ = 0;
  std::vector<std::span<std::byte>> regions_;
};

}  // namespace benchfs::chunk
