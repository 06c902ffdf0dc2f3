// The entries of mkstemp() and its like, and of dlopen().
#include <sys/random.h>

#include <cstdio>
#include <cstring>

#include "preload/descriptions.h"
#include "preload/entry.h"
#include "preload/opening.h"
#include "preload/places.h"
#include "preload/real.h"

namespace benchfs::preload {
namespace {

constexpr std::size_t kMarks = 6;
constexpr int kAttempts = 100;

// Where the marks of a template are; nullptr: it has none.
char* marks_of(char* text, int suffix) {
  std::size_t bytes = std::strlen(text);
  if (suffix < 0 || bytes < kMarks + static_cast<std::size_t>(suffix)) {
    return nullptr;
  }
  char* marks = text + bytes - kMarks - suffix;
  return std::memcmp(marks, "XXXXXX", kMarks) == 0 ? marks : nullptr;
}

// `make` tries one name; EEXIST asks for another.
template <typename Make>
int make_unique(char* text, int suffix, Make make) {
  constexpr char kLetters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
  char* marks = marks_of(text, suffix);
  if (marks == nullptr) {
    return fail_with(EINVAL);
  }
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    unsigned char random[kMarks];
    if (getrandom(random, sizeof random, 0) != static_cast<ssize_t>(sizeof random)) {
      return -1;
    }
    for (std::size_t i = 0; i < kMarks; ++i) {
      marks[i] = kLetters[random[i] % (sizeof kLetters - 1)];
    }
    int result = make();
    if (result >= 0 || errno != EEXIST) {
      return result;
    }
  }
  return fail_with(EEXIST);
}

int make_file(Counter& counter, char* text, int suffix, int flags) {
  return make_unique(text, suffix, [&] {
    int how = (flags & ~O_ACCMODE) | O_RDWR | O_CREAT | O_EXCL;
    return open_any(counter, AT_FDCWD, text, how, 0600);
  });
}

}  // namespace

#define MKSTEMP_ENTRIES(name, name_o, name_s, name_os)                  \
  ENTRY(int, name_os, char* text, int suffix, int flags) {              \
    COUNTER(name_os);                                                   \
    return is_ours_path(text) ? make_file(counter, text, suffix, flags) \
                              : real().mkostemps(text, suffix, flags);  \
  }                                                                     \
  ENTRY(int, name_s, char* text, int suffix) {                          \
    return entry_##name_os(text, suffix, 0);                            \
  }                                                                     \
  ENTRY(int, name_o, char* text, int flags) {                           \
    return entry_##name_os(text, 0, flags);                             \
  }                                                                     \
  ENTRY(int, name, char* text) {                                        \
    return entry_##name_os(text, 0, 0);                                 \
  }
MKSTEMP_ENTRIES(mkstemp, mkostemp, mkstemps, mkostemps)
MKSTEMP_ENTRIES(mkstemp64, mkostemp64, mkstemps64, mkostemps64)

ENTRY(char*, mkdtemp, char* text) {
  COUNTER(mkdtemp);
  if (!is_ours_path(text)) {
    return real().mkdtemp(text);
  }
  counter.served();
  return make_unique(text, 0, [&] { return mkdir(text, 0700); }) == 0 ? text : nullptr;
}

// A library below the prefix is copied into memory. libc finds out about its caller by the return
// address, so other names are passed on by a jump.
ENTRY(void*, dlopen, const char* path, int flags) {
  if (path == nullptr || std::strchr(path, '/') == nullptr || !is_ours_path(path)) {
    [[clang::musttail]] return real().dlopen(path, flags);
  }
  COUNTER(dlopen);
  counter.served();
  return open_own_library(path, flags);
}

}  // namespace benchfs::preload
