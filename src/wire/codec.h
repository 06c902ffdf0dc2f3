// Copies wire structs out of and into byte ranges. Payload pointers of the transport are not
// aligned, so nothing is ever read in place.
#pragma once

#include <array>
#include <cstddef>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>

#include "base/check.h"
#include "wire/limits.h"

namespace benchfs::wire {

// Reads from the front of a byte range; the first short read fails this and all later ones.
class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : bytes_(bytes) {}

  template <typename T>
    requires std::is_trivially_copyable_v<T>
  bool read(T& out) {
    if (bytes_.size() < sizeof(T)) {
      bytes_ = {};
      ok_ = false;
      return false;
    }
    std::memcpy(&out, bytes_.data(), sizeof(T));
    bytes_ = bytes_.subspan(sizeof(T));
    return true;
  }
  // The next `size` bytes as text; borrowed from the range.
  std::string_view read_text(std::size_t size) {
    if (bytes_.size() < size) {
      bytes_ = {};
      ok_ = false;
      return {};
    }
    std::string_view text(reinterpret_cast<const char*>(bytes_.data()), size);
    bytes_ = bytes_.subspan(size);
    return text;
  }
  [[nodiscard]] bool ok() const { return ok_; }
  [[nodiscard]] std::size_t left() const { return bytes_.size(); }

 private:
  std::span<const std::byte> bytes_;
  bool ok_ = true;
};

// A header part being built, without allocation.
template <std::size_t kCapacity = kMaxHeaderBytes>
class HeaderBuffer {
 public:
  template <typename T>
    requires std::is_trivially_copyable_v<T>
  void append(const T& value) {
    BENCHFS_CHECK(size_ + sizeof(T) <= kCapacity);
    std::memcpy(bytes_.data() + size_, &value, sizeof(T));
    size_ += sizeof(T);
  }
  void append_text(std::string_view text) {
    BENCHFS_CHECK(size_ + text.size() <= kCapacity);
    if (!text.empty()) {
      std::memcpy(bytes_.data() + size_, text.data(), text.size());
    }
    size_ += text.size();
  }
  void append_bytes(std::span<const std::byte> bytes) {
    append_text({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  }
  void clear() { size_ = 0; }
  [[nodiscard]] std::span<const std::byte> bytes() const { return {bytes_.data(), size_}; }
  [[nodiscard]] std::span<std::byte> bytes() { return {bytes_.data(), size_}; }

 private:
  std::array<std::byte, kCapacity> bytes_;
  std::size_t size_ = 0;
};

}  // namespace benchfs::wire
