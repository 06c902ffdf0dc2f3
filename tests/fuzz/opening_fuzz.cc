// The first bytes of a connection are anybody's. However they arrive, what is given to UCX of them
// must be a message of its own protocol, and never more than one. The first byte chooses the stage,
// the second how many bytes arrive at a time.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <span>

#include "base/check.h"
#include "net/opening.h"

using benchfs::net::expected_size;
using benchfs::net::kMaxRequestBytes;
using benchfs::net::Stage;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) {
    return 0;
  }
  constexpr Stage kFirst[] = {Stage::kRequest, Stage::kNotice, Stage::kMagic, Stage::kConnect};
  Stage stage = kFirst[data[0] % std::size(kFirst)];
  std::size_t at_once = data[1] == 0 ? 1 : data[1];
  auto bytes = std::as_bytes(std::span(data, size)).subspan(2);
  benchfs::net::SocketAddress here = benchfs::net::make_address("127.0.0.1", 40'000).value();
  std::size_t received = 0;
  while (stage != Stage::kTrusted && received < bytes.size()) {
    std::size_t expected = expected_size(stage, bytes.first(received), here);
    BENCHFS_CHECK(expected == 0 || received == 0 || expected > received);
    if (expected == 0) {
      return 0;  // nothing may come in this stage
    }
    received += std::min({at_once, expected - received, bytes.size() - received});
    expected = expected_size(stage, bytes.first(received), here);
    if (expected == 0) {
      return 0;  // refused
    }
    BENCHFS_CHECK(expected >= received && expected <= kMaxRequestBytes);
    if (expected == received) {
      stage = benchfs::net::after(stage);
      bytes = bytes.subspan(received);
      received = 0;
    }
  }
  return 0;
}
