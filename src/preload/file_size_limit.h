// "ulimit -f" for files below the prefix: who writes or lengthens a file beyond the limit gets
// SIGXFSZ and EFBIG. The limit is read once, and again after the program has changed limits.
#pragma once

#include <sys/resource.h>
#include <sys/types.h>

#include <atomic>

namespace benchfs::preload {

// In the place of a negative errno value: EFBIG with the signal, which is sent when no lock is
// held.
inline constexpr int kBeyondLimit = -100000;
// Of a program that has SIGXFSZ ignored or handled, else it does not return.
int send_limit_signal();  // -EFBIG
template <typename T>
T with_limit_signal(T result) {
  return result == T{kBeyondLimit} ? T{send_limit_signal()} : result;
}

namespace internal {
inline constexpr rlim_t kUnknownLimit = RLIM_INFINITY - 1;
extern std::atomic<rlim_t> file_size_limit;
rlim_t read_file_size_limit();
}  // namespace internal

inline bool has_file_size_limit() {
  return internal::file_size_limit.load(std::memory_order_relaxed) != RLIM_INFINITY;
}
// RLIM_INFINITY: none.
inline rlim_t file_size_limit() {
  rlim_t limit = internal::file_size_limit.load(std::memory_order_relaxed);
  return limit == internal::kUnknownLimit ? internal::read_file_size_limit() : limit;
}
// After a change.
inline void forget_file_size_limit() {
  internal::file_size_limit = internal::kUnknownLimit;
}

}  // namespace benchfs::preload
