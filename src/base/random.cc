#include "base/random.h"

#include <sys/random.h>

#include "base/check.h"

namespace benchfs {

std::uint64_t random_id() {
  std::uint64_t value = 0;
  while (value == 0) {
    BENCHFS_CHECK(getrandom(&value, sizeof value, 0) == sizeof value);
  }
  return value;
}

void fill_random(std::span<std::byte> out) {
  BENCHFS_CHECK(getrandom(out.data(), out.size(), 0) == static_cast<ssize_t>(out.size()));
}

}  // namespace benchfs
