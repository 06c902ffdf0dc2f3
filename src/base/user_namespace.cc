#include "base/user_namespace.h"

#include <cinttypes>
#include <cstdint>
#include <cstdio>

namespace benchfs {
namespace {

// Calls visit(first inside, first outside, count) for each range. False where nobody can tell.
template <typename Visit>
bool read_map(Visit visit) {
  std::FILE* map = std::fopen("/proc/self/uid_map", "re");
  if (map == nullptr) {
    return false;
  }
  std::uint64_t inside = 0;
  std::uint64_t outside = 0;
  std::uint64_t count = 0;
  int numbers = 3;
  while (numbers == 3) {
    numbers = std::fscanf(map, "%" SCNu64 " %" SCNu64 " %" SCNu64, &inside, &outside, &count);
    if (numbers == 3) {
      visit(inside, outside, count);
    }
  }
  std::fclose(map);
  return numbers == EOF;
}

}  // namespace

std::optional<uid_t> user_outside(uid_t user) {
  std::optional<uid_t> found;
  bool is_told = read_map([&](std::uint64_t inside, std::uint64_t outside, std::uint64_t count) {
    if (user >= inside && user < inside + count) {
      found = static_cast<uid_t>(user - inside + outside);
    }
  });
  return is_told ? found : user;
}

bool is_user_known(uid_t user) {
  bool is_known = false;
  bool is_told = read_map([&](std::uint64_t, std::uint64_t outside, std::uint64_t count) {
    is_known |= user >= outside && user < outside + count;
  });
  return !is_told || is_known;
}

}  // namespace benchfs
