// Environment variables that are set to nothing count as not set.
#pragma once

#include <cstdlib>

namespace benchfs {

// Null when the variable is not set.
inline const char* environment(const char* name) {
  const char* text = std::getenv(name);
  return text != nullptr && *text != '\0' ? text : nullptr;
}

}  // namespace benchfs
