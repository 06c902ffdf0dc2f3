// The bytes that a benchmark writes and expects back: a function of (seed, stream, position).
//
// A stream (a file, or the payloads of one client) is a sequence of blocks. The bytes of a block
// depend on their position in it. The first word of every 4 KiB, the stamp, also depends on the
// number of the block. A few stores therefore make the next block, so that no bandwidth is spent on
// making data, and a byte that is wrong, stale or misplaced is still found.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>
#include <span>

namespace benchfs::bench {

// Page-aligned memory.
class AlignedBuffer {
 public:
  explicit AlignedBuffer(std::size_t bytes);
  [[nodiscard]] std::span<std::byte> span() { return {memory_.get(), bytes_}; }
  [[nodiscard]] std::size_t size() const { return bytes_; }

 private:
  struct Free {
    void operator()(std::byte* memory) const { std::free(memory); }
  };
  std::size_t bytes_;
  std::unique_ptr<std::byte, Free> memory_;
};

// The first wrong byte.
struct Difference {
  std::uint64_t offset = 0;  // in the stream
  std::uint8_t expected = 0;
  std::uint8_t got = 0;
};

class Pattern {
 public:
  Pattern(std::uint64_t seed, std::uint64_t stream, std::size_t block_bytes);

  // The contents of block `index`. Valid until the next call of any function.
  std::span<const std::byte> block(std::uint64_t index);
  // Compares every byte of `got`, a block or the front of one.
  std::optional<Difference> compare(std::uint64_t index, std::span<const std::byte> got);
  // Compares only the stamps, for timed passes.
  [[nodiscard]] std::optional<Difference> compare_stamps(std::uint64_t index,
                                                         std::span<const std::byte> got) const;
  // Overwrites `buffer` so that no byte left from an earlier block can pass for one of block
  // `index`.
  void spoil(std::uint64_t index, std::span<std::byte> buffer);

 private:
  static constexpr std::size_t kStampEvery = 4096;

  [[nodiscard]] std::uint64_t stamp(std::uint64_t index, std::size_t position) const;

  std::uint64_t key_;
  AlignedBuffer block_;
};

}  // namespace benchfs::bench
