#include "bench/pattern.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "base/hash.h"

namespace benchfs::bench {
namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kWord = sizeof(std::uint64_t);

std::optional<Difference> first_difference(std::span<const std::byte> expected,
                                           std::span<const std::byte> got,
                                           std::uint64_t offset) {
  if (got.empty() || std::memcmp(expected.data(), got.data(), got.size()) == 0) {
    return std::nullopt;
  }
  auto [wanted, found] = std::ranges::mismatch(expected.first(got.size()), got);
  return Difference{offset + static_cast<std::uint64_t>(found - got.begin()),
                    std::to_integer<std::uint8_t>(*wanted),
                    std::to_integer<std::uint8_t>(*found)};
}

}  // namespace

AlignedBuffer::AlignedBuffer(std::size_t bytes) : bytes_(bytes) {
  std::size_t rounded = std::max<std::size_t>(1, (bytes + kPage - 1) / kPage) * kPage;
  memory_.reset(static_cast<std::byte*>(std::aligned_alloc(kPage, rounded)));
  BENCHFS_CHECK(memory_ != nullptr);
  std::memset(memory_.get(), 0, rounded);  // take the page faults before anything is timed
}

Pattern::Pattern(std::uint64_t seed, std::uint64_t stream, std::size_t block_bytes)
    : key_(mix64(seed ^ mix64(stream))), block_(block_bytes) {
  std::span<std::byte> bytes = block_.span();
  for (std::size_t position = 0; position < bytes.size(); position += kWord) {
    std::uint64_t word = mix64(key_ + position);
    std::memcpy(&bytes[position], &word, std::min(kWord, bytes.size() - position));
  }
}

std::uint64_t Pattern::stamp(std::uint64_t index, std::size_t position) const {
  return mix64(~key_ ^ mix64(index ^ (std::uint64_t{position} << 40)));
}

std::span<const std::byte> Pattern::block(std::uint64_t index) {
  std::span<std::byte> bytes = block_.span();
  for (std::size_t position = 0; position < bytes.size(); position += kStampEvery) {
    std::uint64_t word = stamp(index, position);
    std::memcpy(&bytes[position], &word, std::min(kWord, bytes.size() - position));
  }
  return bytes;
}

std::optional<Difference> Pattern::compare(std::uint64_t index, std::span<const std::byte> got) {
  BENCHFS_CHECK(got.size() <= block_.size());
  return first_difference(block(index), got, index * block_.size());
}

std::optional<Difference> Pattern::compare_stamps(std::uint64_t index,
                                                  std::span<const std::byte> got) const {
  for (std::size_t position = 0; position < got.size(); position += kStampEvery) {
    std::uint64_t word = stamp(index, position);
    std::size_t length = std::min(kWord, got.size() - position);
    if (std::memcmp(&got[position], &word, length) != 0) {
      return first_difference(std::as_bytes(std::span(&word, 1)),
                              got.subspan(position, length),
                              index * block_.size() + position);
    }
  }
  return std::nullopt;
}

void Pattern::spoil(std::uint64_t index, std::span<std::byte> buffer) {
  std::span<const std::byte> wanted = block(index);
  std::ranges::transform(
      wanted.first(buffer.size()), buffer.begin(), [](std::byte b) { return ~b; });
}

}  // namespace benchfs::bench
