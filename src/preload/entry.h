// How the functions that take the place of libc's are written.
//
//   ENTRY(int, fsync, int fd) { ... }
//
// defines `fsync` for the dynamic linker under another name in C++, so that the declarations of
// libc's headers (noexcept, nonnull, inline variants) do not get in the way. The library itself
// calls libc only through real() where libc's function has an entry here.
#pragma once

#include <pthread.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>

#define ENTRY(type, name, ...)                                                                     \
  extern "C" __attribute__((visibility("default"))) type entry_##name(__VA_ARGS__) __asm__(#name); \
  extern "C" type entry_##name(__VA_ARGS__)

namespace benchfs::preload {

// What became of the calls of one entry, for BENCHFS_REPORT.
struct Counter {
  struct Refusal {
    std::atomic<int> error{0};
    std::atomic<std::uint32_t> calls{0};
  };
  static constexpr int kRefusals = 4;

  // The name is copied: a pointer to it would be relocated when the library is loaded, and the
  // pages of all counters written for it.
  template <std::size_t N>
  explicit constexpr Counter(const char (&entry)[N]) {
    static_assert(N <= sizeof name);
    for (std::size_t i = 0; i < N; ++i) {
      name[i] = entry[i];
    }
  }

  void served() { count(served_calls); }
  void passed() {
    if (is_reporting) [[unlikely]] {
      count(passed_calls);
    }
  }
  // Sets errno and returns -1.
  int refuse(int error);
  void count(std::atomic<std::uint32_t>& which);

  static bool is_reporting;

  char name[40] = {};
  std::atomic<std::uint32_t> served_calls{0};
  std::atomic<std::uint32_t> passed_calls{0};
  Refusal refusals[kRefusals];
  std::atomic<bool> is_listed{false};
  Counter* next = nullptr;
};

#define COUNTER(entry) static constinit Counter counter(#entry)

// Keeps standard error for the report, which the program may close.
void prepare_report();
// Writes the report, once.
void write_report();

// Exists while a function of ours calls entries of ours in the middle of its work: its thread is
// not cancelled there.
class Uncancelled {
 public:
  Uncancelled() { pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before_); }
  Uncancelled(const Uncancelled&) = delete;
  Uncancelled& operator=(const Uncancelled&) = delete;
  ~Uncancelled() { pthread_setcancelstate(before_, nullptr); }

 private:
  int before_ = PTHREAD_CANCEL_ENABLE;
};

// The result of a call in the way of libc: a negative errno value becomes -1 and errno; else errno
// stays what it was when the object was made.
class Errno {
 public:
  Errno() : before_(errno) {}
  template <typename T>
  T finish(T result) const {
    errno = result < 0 ? of_file(static_cast<int>(-result)) : before_;
    return result < 0 ? T{-1} : result;
  }

 private:
  // Programs do not expect errors of connections of a file; the mount says EIO, too.
  static int of_file(int error) {
    return error == EHOSTUNREACH || error == ECONNRESET ? EIO : error;
  }
  int before_;
};

inline int fail_with(int error) {
  errno = error;
  return -1;
}

}  // namespace benchfs::preload
