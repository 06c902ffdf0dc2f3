#include <cstring>

#include "preload/settings.h"

namespace benchfs::preload {

bool is_usable_prefix(const char* prefix) {
  std::size_t bytes = std::strlen(prefix);
  if (bytes < 2 || bytes >= kPrefixRoom || prefix[0] != '/') {
    return false;
  }
  // Each component has a name.
  for (const char* at = prefix; *at != '\0';) {
    std::size_t component = std::strcspn(++at, "/");
    bool is_dots = component <= 2 && std::strspn(at, ".") >= component;
    if (is_dots) {
      return false;
    }
    at += component;
  }
  return true;
}

}  // namespace benchfs::preload
