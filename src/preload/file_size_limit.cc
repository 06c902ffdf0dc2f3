#include "preload/file_size_limit.h"

#include <csignal>

#include "preload/entry.h"
#include "preload/real.h"
#include "preload/together.h"

namespace benchfs::preload {

namespace internal {

BENCHFS_TOGETHER std::atomic<rlim_t> file_size_limit{kUnknownLimit};

rlim_t read_file_size_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_FSIZE, &limit) != 0) {
    return RLIM_INFINITY;
  }
  file_size_limit = limit.rlim_cur;
  return limit.rlim_cur;
}

}  // namespace internal

int send_limit_signal() {
  std::raise(SIGXFSZ);
  return -EFBIG;
}

// The limits of another process are not ours, but asking again does no harm.
#define LIMIT_ENTRIES(setter, both)                                                                \
  ENTRY(int, setter, int resource, const rlimit* limit) {                                          \
    int result = real().setrlimit(static_cast<__rlimit_resource>(resource), limit);                \
    forget_file_size_limit();                                                                      \
    return result;                                                                                 \
  }                                                                                                \
  ENTRY(int, both, pid_t process, int resource, const rlimit* limit, rlimit* before) {             \
    int result = real().prlimit(process, static_cast<__rlimit_resource>(resource), limit, before); \
    forget_file_size_limit();                                                                      \
    return result;                                                                                 \
  }
LIMIT_ENTRIES(setrlimit, prlimit)
LIMIT_ENTRIES(setrlimit64, prlimit64)

}  // namespace benchfs::preload
