// Checks for wrong programs: they abort with the place and the values. Never for input or faults.
#pragma once

namespace benchfs {
[[noreturn]] void check_failed(const char* file, int line, const char* expression);
}  // namespace benchfs

// Always on.
#define BENCHFS_CHECK(expression)                               \
  do {                                                          \
    if (!(expression)) [[unlikely]]                             \
      ::benchfs::check_failed(__FILE__, __LINE__, #expression); \
  } while (false)

// A check for the data path, which is active only in debug builds.
#ifdef NDEBUG
#define BENCHFS_DCHECK(expression) \
  do {                             \
  } while (false)
#else
#define BENCHFS_DCHECK(expression) BENCHFS_CHECK(expression)
#endif
