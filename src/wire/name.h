// Rules for names that arrive from a peer.
#pragma once

#include <cerrno>
#include <string_view>

#include "wire/limits.h"

namespace benchfs::wire {

// 0, or the errno for a name that cannot be a directory entry. Any byte but '/' and NUL is allowed.
constexpr int check_name(std::string_view name) {
  if (name.empty()) {
    return ENOENT;
  }
  if (name.size() > kMaxNameBytes) {
    return ENAMETOOLONG;
  }
  if (name == "." || name == ".." || name.find('/') != std::string_view::npos ||
      name.find('\0') != std::string_view::npos) {
    return EINVAL;
  }
  return 0;
}

}  // namespace benchfs::wire
