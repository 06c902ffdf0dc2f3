// The writes under way in one chunk of the memory engine, which receive straight into its memory.
//
// A byte is unsettled from the start of the first write to it until one of its writes commits, or
// until the last of them is abandoned, which zeroes it. A write that fails therefore neither
// exposes stale bytes nor destroys those of an overlapping write, such as a retry by the same
// client. A cut (truncation) takes the bytes beyond it away from the writes under way; their memory
// must not be reused before they end, because the network may still fill it.
#pragma once

#include <cstdint>
#include <vector>

namespace benchfs::chunk {

// Bytes [begin, end) of a chunk.
struct Range {
  std::uint32_t begin = 0;
  std::uint32_t end = 0;
  [[nodiscard]] bool empty() const { return begin >= end; }
  [[nodiscard]] bool overlaps(Range other) const { return begin < other.end && other.begin < end; }
  friend bool operator==(const Range&, const Range&) = default;
};

class WriteSet {
 public:
  // Begins a write; no byte from `fresh_from` on is stored yet. Returns its id.
  std::uint32_t open(Range range, std::uint32_t fresh_from);
  // Ends a write; settles and returns the part of its range that no cut took away.
  Range commit(std::uint32_t id);
  // Ends a write without effect. The caller must zero the returned ranges, which stay valid until
  // the next call.
  const std::vector<Range>& abandon(std::uint32_t id);
  // Takes every byte from `at` on away from the writes under way.
  void cut(std::uint32_t at);

  [[nodiscard]] bool empty() const { return writes_.empty(); }
  // True when a cut write may still fill bytes of `range`.
  [[nodiscard]] bool is_blocked(Range range) const;
  [[nodiscard]] const std::vector<Range>& unsettled() const { return unsettled_; }
  [[nodiscard]] bool is_unsettled(Range range) const;

 private:
  struct Write {
    std::uint32_t id;
    Range kept;         // the bytes that a commit will store
    std::uint32_t end;  // memory up to here may be filled
  };
  Write take(std::uint32_t id);

  std::vector<Write> writes_;
  std::vector<Range> unsettled_;  // disjoint
  std::vector<Range> zeroed_;     // answer of abandon()
  std::uint32_t next_id_ = 0;
};

}  // namespace benchfs::chunk
