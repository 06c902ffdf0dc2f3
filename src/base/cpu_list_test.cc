#include "base/cpu_list.h"

#include <gtest/gtest.h>

#include <thread>

namespace benchfs {
namespace {

TEST(CpuList, ReadsNumbersAndRangesInAnyOrder) {
  EXPECT_EQ(parse_cpu_list("8,0-2,1").value(), (CpuList{0, 1, 2, 8}));
  EXPECT_EQ(parse_cpu_list("5").value(), CpuList{5});
  EXPECT_TRUE(parse_cpu_list("").value().empty());
}

TEST(CpuList, RefusesWhatIsNoList) {
  for (const char* text : {",", "1,", ",1", "3-1", "-1", "1-", "a", "1 ", "1,,2", "99999", "0-x"}) {
    EXPECT_FALSE(parse_cpu_list(text)) << text;
  }
}

TEST(CpuList, IsWrittenAsItIsRead) {
  for (const char* text : {"", "0", "0-1", "0-3,8", "1,3,5-7"}) {
    EXPECT_EQ(to_string(parse_cpu_list(text).value()), text);
  }
}

TEST(CpuList, AThreadStaysWhereItIsPut) {
  CpuList allowed = allowed_cpus();
  ASSERT_FALSE(allowed.empty());
  std::thread([&] {
    CpuList last = {allowed.back()};
    ASSERT_TRUE(run_on(last));
    EXPECT_EQ(allowed_cpus(), last);
    EXPECT_FALSE(run_on({1023})) << "there is no such processor here";
    EXPECT_EQ(allowed_cpus(), last);
  }).join();
  EXPECT_EQ(allowed_cpus(), allowed);
}

}  // namespace
}  // namespace benchfs
