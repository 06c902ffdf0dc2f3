#include "rt/rseq.h"

#if defined(__linux__) && __has_include(<sys/rseq.h>)
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <unistd.h>
#define BENCHFS_HAS_RSEQ 1
#endif

namespace benchfs::rt {

void leave_rseq() {
#ifdef BENCHFS_HAS_RSEQ
  // The size the kernel was told: that of the first version of the structure at least.
  constexpr unsigned kRegisteredBytes = 32;
  if (__rseq_size > 0) {
    char* area = static_cast<char*>(__builtin_thread_pointer()) + __rseq_offset;
    syscall(SYS_rseq, area, kRegisteredBytes, RSEQ_FLAG_UNREGISTER, RSEQ_SIG);
  }
#endif
}

}  // namespace benchfs::rt
