// For loops that look at memory until another core changes it.
#pragma once

namespace benchfs {

inline void cpu_relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace benchfs
