#include "bench/ping_payload.h"

#include <algorithm>
#include <cstring>

namespace benchfs::bench {
namespace {

// Up to here every byte of every reply is compared, above one word of every page.
constexpr std::size_t kCompareAll = 4096;

}  // namespace

Direction direction_of(const std::string& name) {
  if (name == "send") {
    return Direction::kSend;
  }
  return name == "receive" ? Direction::kReceive : Direction::kEcho;
}

PingPayload::PingPayload(const PingShape& shape, std::uint32_t lane)
    : direction_(shape.direction),
      pattern_(shape.seed, (std::uint64_t{shape.rank} << 32) | lane, shape.payload_bytes),
      received_(shape.payload_bytes) {}

std::span<const std::byte> PingPayload::request(std::uint64_t sequence) {
  return pattern_.block(sequence).first(sent_bytes());
}

// A reply to `receive` begins with what was sent, a word; the rest is zeros.
std::size_t PingPayload::sent_bytes() const {
  return direction_ == Direction::kReceive ? std::min(received_.size(), sizeof(std::uint64_t))
                                           : received_.size();
}

std::span<std::byte> PingPayload::prepare(std::uint64_t sequence) {
  if (direction_ == Direction::kSend) {
    return {};
  }
  std::span<std::byte> buffer = received_.span();
  if (buffer.size() <= kCompareAll) {
    std::memset(buffer.data(), static_cast<int>(0x80 | (sequence & 0x7f)), buffer.size());
    return buffer;
  }
  for (std::size_t page = 0; page < buffer.size(); page += kCompareAll) {
    std::memset(&buffer[page], 0xff, std::min(2 * sizeof(std::uint64_t), buffer.size() - page));
  }
  return buffer;
}

bool PingPayload::is_right(std::uint64_t sequence) {
  std::span<const std::byte> got = received_.span();
  if (direction_ == Direction::kSend) {
    return true;
  }
  if (direction_ == Direction::kEcho) {
    return got.size() <= kCompareAll ? !pattern_.compare(sequence, got)
                                     : !pattern_.compare_stamps(sequence, got);
  }
  if (sent_bytes() > 0 &&
      std::memcmp(got.data(), pattern_.block(sequence).data(), sent_bytes()) != 0) {
    return false;
  }
  auto is_zero = [](std::byte b) { return b == std::byte{0}; };
  if (got.size() <= kCompareAll) {
    return std::ranges::all_of(got.subspan(sent_bytes()), is_zero);
  }
  for (std::size_t word = sizeof(std::uint64_t); word < got.size(); word += kCompareAll) {
    std::size_t length = std::min(sizeof(std::uint64_t), got.size() - word);
    if (!std::ranges::all_of(got.subspan(word, length), is_zero)) {
      return false;
    }
  }
  return true;
}

}  // namespace benchfs::bench
