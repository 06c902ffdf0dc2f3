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

}  // namespace benchfs
