// The writes under way in one chunk of the memory engine, which receive straight into its memory.
//
// A byte is unsettled from the begin of the first write to it until one of its writes commits, or
// until the last of them is abandoned: then it is zeroed. So a write that fails uncovers no stale
// byte and destroys none of an overlapping write (the second try of the same client, say). A cut
// (truncation) takes the bytes beyond it from the writes under way; their memory must not be used
// before they end, because the network may still fill it.
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
  // Ends a write: what a cut left of its range is settled and returned.
  Range commit(std::uint32_t id);
  // Ends a write without effect; returns what the caller must zero. Valid until the next call.
  const std::vector<Range>& abandon(std::uint32_t id);
  // Takes everything from `at` on from the writes under way.
  void cut(std::uint32_t at);

  [[nodiscard]] bool empty() const { return writes_.empty(); }
  // True when a cut write may still fill bytes of `range`.
  [[nodiscard]] bool is_blocked(Range range) const;
  [[nodiscard]] const std::vector<Range>& unsettled() const { return unsettled_; }
  [[nodiscard]] bool is_unsettled(Range range) const;

 private:
  struct Write {
    std::uint32_t id;
    Range kept;         // what a commit will store
    std::uint32_t end;  // memory up to here may be filled
  };
  Write take(std::uint32_t id);

  std::vector<Write> writes_;
  std::vector<Range> unsettled_;  // disjoint
  std::vector<Range> zeroed_;     // answer of abandon()
  std::uint32_t next_id_ = 0;
};

}  // namespace benchfs::chunk
