#include "bench/system_info.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <ctime>
#include <optional>

namespace benchfs::bench {
namespace {

double own_cpu_s() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

// The first thread of a process was counted twice.
TEST(ServerProcesses, CountEveryThreadOnce) {
  ServerProcesses self(getpid());
  std::optional<double> before = self.cpu_s();
  double begin = own_cpu_s();
  while (own_cpu_s() - begin < 0.1) {
  }
  double used = own_cpu_s() - begin;
  std::optional<double> after = self.cpu_s();
  ASSERT_TRUE(before && after);
  // The kernel may be a few milliseconds behind.
  EXPECT_GT(*after - *before, 0.5 * used);
  EXPECT_LT(*after - *before, 1.5 * used);
}

}  // namespace
}  // namespace benchfs::bench
