// Anonymous memory straight from the kernel: zeroed, aligned, populated at first touch.
#pragma once

#include <cstddef>
#include <span>
#include <utility>

#include "base/error.h"

namespace benchfs::chunk {

inline constexpr std::size_t kPageBytes = 4096;
inline constexpr std::size_t kHugePageBytes = std::size_t{2} << 20;

constexpr std::uint64_t round_down(std::uint64_t value, std::uint64_t power_of_two) {
  return value & ~(power_of_two - 1);
}
constexpr std::uint64_t round_up(std::uint64_t value, std::uint64_t power_of_two) {
  return round_down(value + power_of_two - 1, power_of_two);
}

class Mapping {
 public:
  // `bytes` is rounded up to whole pages; the start is aligned to a huge page. Address space is
  // taken at once, memory only where it is touched.
  static Result<Mapping> create(std::size_t bytes, bool huge_pages);

  Mapping() = default;
  Mapping(Mapping&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}
  Mapping& operator=(Mapping&& other) noexcept {
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~Mapping();

  [[nodiscard]] std::span<std::byte> bytes() const { return bytes_; }

 private:
  std::span<std::byte> bytes_;
};

}  // namespace benchfs::chunk
