// Small messages that leave together: where a network takes a system call to send and to receive,
// that call is most of what a small message costs.
//
// A bundle is a message whose data holds others, one after the other: id u16, bytes of header u16,
// bytes of data u16, 0 u16, header, data. Its data, because some networks have no room for longer
// headers than one message needs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace benchfs::net {

// What is gathered for one bundle.
class Bundle {
 public:
  static constexpr std::size_t kMaxBytes = 4096;
  static constexpr std::size_t kMaxMessage = 512;  // of header and data

  // False: it is full, and nothing has changed.
  bool add(std::uint16_t id, std::span<const std::byte> header, std::span<const std::byte> data);
  void clear() {
    bytes_.clear();
    count_ = 0;
  }
  [[nodiscard]] std::size_t count() const { return count_; }
  [[nodiscard]] std::span<const std::byte> bytes() const { return bytes_; }

 private:
  std::vector<std::byte> bytes_;
  std::size_t count_ = 0;
};

// The messages of a bundle that came; ends where it is malformed.
class BundleReader {
 public:
  explicit BundleReader(std::span<std::byte> bundle) : rest_(bundle) {}
  // False: there is no other.
  bool next();
  [[nodiscard]] std::uint16_t id() const { return head_.id; }
  [[nodiscard]] std::span<const std::byte> header() const { return header_; }
  [[nodiscard]] std::span<std::byte> data() const { return data_; }

 private:
  friend class Bundle;
  struct Head {
    std::uint16_t id = 0;
    std::uint16_t header_bytes = 0;
    std::uint16_t data_bytes = 0;
    std::uint16_t padding = 0;
  };
  std::span<std::byte> rest_;
  Head head_;
  std::span<const std::byte> header_;
  std::span<std::byte> data_;
};

}  // namespace benchfs::net
