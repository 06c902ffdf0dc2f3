// A log-linear histogram of latencies in nanoseconds.
//
// Buckets grow with the value: 64 to each power of two, so a percentile is within 0.8 % of the true
// value; below 64 ns it is exact. The range ends at kLimit (18 minutes); larger values count in the
// last bucket, their exact maximum is kept. Memory is fixed at 18 KiB, so keep one as a member or
// on the heap, not in a coroutine frame. record() takes a few instructions and never allocates.
//
// Thread: one writer; merge snapshots to combine.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"

namespace benchfs {

class Histogram {
 public:
  static constexpr int kSubBucketBits = 6;
  static constexpr int kLimitBits = 40;
  static constexpr std::uint64_t kLimit = std::uint64_t{1} << kLimitBits;

  void record(std::uint64_t nanoseconds) {
    ++buckets_[index_of(std::min(nanoseconds, kLimit - 1))];
    ++count_;
    sum_ += nanoseconds;
    min_ = std::min(min_, nanoseconds);
    max_ = std::max(max_, nanoseconds);
  }
  void merge(const Histogram& other);
  void clear() { *this = Histogram(); }

  [[nodiscard]] std::uint64_t count() const { return count_; }
  // Exact; all 0 when empty.
  [[nodiscard]] std::uint64_t min() const { return count_ == 0 ? 0 : min_; }
  [[nodiscard]] std::uint64_t max() const { return max_; }
  [[nodiscard]] double mean() const;
  // The value that `percent` (0..100) of the recorded ones do not exceed; 0 when empty.
  [[nodiscard]] std::uint64_t percentile(double percent) const;
  [[nodiscard]] std::uint64_t sum() const { return sum_; }
  // The number of values with i significant bits, at index i: those in [2^(i-1), 2^i), and the
  // zeros at index 0. Values beyond kLimit count at kLimitBits.
  using Octaves = std::array<std::uint64_t, kLimitBits + 1>;
  [[nodiscard]] Octaves octaves() const;

  // One line of text without spaces: "h1;min;max;sum;index:count,…" with the used buckets only.
  [[nodiscard]] std::string serialise() const;
  // kMalformed when the text is not one that serialise() could have written.
  static Result<Histogram> parse(std::string_view text);

 private:
  static constexpr std::uint64_t kSubBuckets = std::uint64_t{1} << kSubBucketBits;
  static constexpr std::size_t kBuckets = kSubBuckets * (kLimitBits - kSubBucketBits + 1);

  // Values below kSubBuckets have a bucket each; above, the leading one bit picks a group of
  // kSubBuckets buckets and the next bits the bucket in it.
  static constexpr std::size_t index_of(std::uint64_t value) {
    if (value < kSubBuckets) {
      return static_cast<std::size_t>(value);
    }
    int shift = static_cast<int>(std::bit_width(value)) - 1 - kSubBucketBits;
    return static_cast<std::size_t>((static_cast<std::uint64_t>(shift) << kSubBucketBits) +
                                    (value >> shift));
  }
  static std::uint64_t first_of(std::size_t index);
  static std::uint64_t middle_of(std::size_t index);

  std::array<std::uint64_t, kBuckets> buckets_{};
  std::uint64_t count_ = 0;
  std::uint64_t sum_ = 0;
  std::uint64_t min_ = ~std::uint64_t{0};
  std::uint64_t max_ = 0;
};

}  // namespace benchfs
