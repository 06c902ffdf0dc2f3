// What all entries need of texts, without libc's functions: a process that was just forked is the
// first to touch their pages, which costs it a fault each.
#pragma once

namespace benchfs::preload {

// What follows `begin` in the text; nullptr when it does not begin so.
inline const char* behind(const char* text, const char* begin) {
  while (*begin != '\0' && *text == *begin) {
    ++text;
    ++begin;
  }
  return *begin == '\0' ? text : nullptr;
}

inline bool is_equal(const char* one, const char* other) {
  const char* rest = behind(one, other);
  return rest != nullptr && *rest == '\0';
}

inline bool contains(const char* text, const char* part) {
  for (; *text != '\0'; ++text) {
    if (behind(text, part) != nullptr) {
      return true;
    }
  }
  return false;
}

}  // namespace benchfs::preload
