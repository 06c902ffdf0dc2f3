#include "base/histogram.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <optional>

namespace benchfs {
namespace {

constexpr std::string_view kFormat = "h1;";

// Takes a decimal number and the separator after it off the front of `text`.
std::optional<std::uint64_t> take_number(std::string_view& text, char separator) {
  std::uint64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  std::size_t length = static_cast<std::size_t>(end - text.data());
  if (error != std::errc{} || length == text.size() || text[length] != separator) {
    return std::nullopt;
  }
  text.remove_prefix(length + 1);
  return value;
}

}  // namespace

std::uint64_t Histogram::first_of(std::size_t index) {
  if (index < 2 * kSubBuckets) {
    return index;
  }
  std::uint64_t shift = (index >> kSubBucketBits) - 1;
  return (index - (shift << kSubBucketBits)) << shift;
}

std::uint64_t Histogram::middle_of(std::size_t index) {
  return (first_of(index) + first_of(index + 1)) / 2;
}

Histogram::Octaves Histogram::octaves() const {
  Octaves octaves{};
  for (std::size_t i = 0; i < kBuckets; ++i) {
    octaves[static_cast<std::size_t>(std::bit_width(first_of(i)))] += buckets_[i];
  }
  return octaves;
}

void Histogram::merge(const Histogram& other) {
  for (std::size_t i = 0; i < kBuckets; ++i) {
    buckets_[i] += other.buckets_[i];
  }
  count_ += other.count_;
  sum_ += other.sum_;
  min_ = std::min(min_, other.min_);
  max_ = std::max(max_, other.max_);
}

double Histogram::mean() const {
  return count_ == 0 ? 0.0 : static_cast<double>(sum_) / static_cast<double>(count_);
}

std::uint64_t Histogram::percentile(double percent) const {
  if (count_ == 0) {
    return 0;
  }
  double share = std::clamp(percent, 0.0, 100.0) / 100.0;
  // The slack keeps a rank that is whole but for rounding (99.9 % of 1000) from growing by one.
  auto rank = static_cast<std::uint64_t>(std::ceil(share * static_cast<double>(count_) - 1e-6));
  rank = std::clamp<std::uint64_t>(rank, 1, count_);
  if (rank == count_) {
    return max_;
  }
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i < kBuckets; ++i) {
    seen += buckets_[i];
    if (seen >= rank) {
      return std::clamp(middle_of(i), min_, max_);
    }
  }
  return max_;
}

std::string Histogram::serialise() const {
  std::string text = fmt::format("{}{};{};{};", kFormat, min(), max_, sum_);
  for (std::size_t i = 0; i < kBuckets; ++i) {
    if (buckets_[i] != 0) {
      text += fmt::format("{}:{},", i, buckets_[i]);
    }
  }
  return text;
}

Result<Histogram> Histogram::parse(std::string_view text) {
  auto malformed = [] { return fail(Errc::kMalformed, "not a histogram"); };
  if (!text.starts_with(kFormat)) {
    return malformed();
  }
  text.remove_prefix(kFormat.size());
  auto min = take_number(text, ';');
  auto max = min ? take_number(text, ';') : std::nullopt;
  auto sum = max ? take_number(text, ';') : std::nullopt;
  if (!sum || *min > *max) {
    return malformed();
  }
  Histogram result;
  std::uint64_t next_index = 0;
  while (!text.empty()) {
    auto index = take_number(text, ':');
    auto count = index ? take_number(text, ',') : std::nullopt;
    if (!count || *index < next_index || *index >= kBuckets || *count == 0) {
      return malformed();
    }
    next_index = *index + 1;
    result.buckets_[static_cast<std::size_t>(*index)] = *count;
    result.count_ += *count;
  }
  if (result.count_ > 0) {
    result.min_ = *min;
    result.max_ = *max;
    result.sum_ = *sum;
  }
  return result;
}

}  // namespace benchfs
