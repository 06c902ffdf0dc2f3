// Time. Monotonic time decides, wall time is only shown to people and stored in inodes.
#pragma once

#include <chrono>
#include <cstdint>
#include <ctime>

namespace benchfs {

using Nanos = std::chrono::nanoseconds;
using MonoTime = std::chrono::time_point<std::chrono::steady_clock, Nanos>;

inline MonoTime mono_now() {
  return std::chrono::steady_clock::now();
}

// The same clock, read at the last kernel tick: up to 10 ms behind (4 ms with Linux's usual 250
// Hz), and four times cheaper to read. For deadlines on the path of every request.
inline MonoTime mono_now_coarse() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return MonoTime(std::chrono::seconds(now.tv_sec) + Nanos(now.tv_nsec));
}

// Time that also passes while the machine is suspended (CLOCK_BOOTTIME). Leases and other trust
// that runs out is counted in it: the machine that granted them did not sleep along.
struct BootClock {
  using duration = Nanos;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<BootClock>;
  static constexpr bool is_steady = true;
  static time_point now() {
    timespec now{};
    clock_gettime(CLOCK_BOOTTIME, &now);
    return time_point(std::chrono::seconds(now.tv_sec) + Nanos(now.tv_nsec));
  }
};
using BootTime = BootClock::time_point;

inline BootTime boot_now() {
  return BootClock::now();
}

// Nanoseconds since the epoch, for inode times.
inline std::int64_t wall_now_ns() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

// A point in monotonic time by which something must have ended.
class Deadline {
 public:
  static Deadline after(Nanos span) { return Deadline(mono_now() + span); }
  static Deadline at(MonoTime when) { return Deadline(when); }
  // Use it only in shutdown paths that have their own bound, never for calls to a peer.
  static Deadline never() { return Deadline(MonoTime::max()); }

  [[nodiscard]] MonoTime when() const { return when_; }
  [[nodiscard]] bool is_never() const { return when_ == MonoTime::max(); }
  [[nodiscard]] bool passed(MonoTime now) const { return now >= when_; }
  [[nodiscard]] bool passed() const { return !is_never() && passed(mono_now()); }
  // Zero once passed.
  [[nodiscard]] Nanos remaining(MonoTime now) const {
    return when_ > now ? when_ - now : Nanos::zero();
  }
  [[nodiscard]] Nanos remaining() const { return remaining(mono_now()); }
  [[nodiscard]] Deadline earlier(Deadline other) const {
    return when_ < other.when_ ? *this : other;
  }

 private:
  explicit Deadline(MonoTime when) : when_(when) {}
  MonoTime when_;
};

}  // namespace benchfs
