#include "cli/files/format.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <ctime>

namespace benchfs::cli {
namespace {

class Format : public ::testing::Test {
 protected:
  void SetUp() override {
    setenv("TZ", "UTC0", 1);
    tzset();
  }
};

TEST_F(Format, ModesLookAsInLs) {
  EXPECT_EQ(format_mode(S_IFDIR | 0755), "drwxr-xr-x");
  EXPECT_EQ(format_mode(S_IFREG | 0640), "-rw-r-----");
  EXPECT_EQ(format_mode(S_IFLNK | 0777), "lrwxrwxrwx");
  EXPECT_EQ(format_mode(S_IFREG | 06755), "-rwsr-sr-x");
  EXPECT_EQ(format_mode(S_IFREG | 04644), "-rwSr--r--");
  EXPECT_EQ(format_mode(S_IFDIR | 01777), "drwxrwxrwt");
}

TEST_F(Format, HumanSizesAreRoundedUpToFourCharacters) {
  EXPECT_EQ(format_human(0), "0");
  EXPECT_EQ(format_human(1023), "1023");
  EXPECT_EQ(format_human(1024), "1.0K");
  EXPECT_EQ(format_human(1025), "1.1K");
  EXPECT_EQ(format_human(10 * 1024), "10K");
  EXPECT_EQ(format_human(1024 * 1024 - 1), "1.0M");
  EXPECT_EQ(format_human(UINT64_MAX), "16E");
}

TEST_F(Format, OldAndFutureTimesShowTheYear) {
  EXPECT_EQ(format_list_time(0), "Jan  1  1970");
  EXPECT_EQ(format_list_time(4'102'444'800'000'000'000), "Jan  1  2100");
}

TEST_F(Format, FullTimesShowNanoseconds) {
  EXPECT_EQ(format_full_time(1'000'000'001), "1970-01-01 00:00:01.000000001 +0000");
  EXPECT_EQ(format_full_time(-1), "1969-12-31 23:59:59.999999999 +0000");
}

TEST_F(Format, ControlCharactersDoNotReachATerminal) {
  EXPECT_EQ(printable("a\x1b[31mb\nc\x7f"), "a?[31mb?c?");
  EXPECT_EQ(printable("\xc3\xa4"), "\xc3\xa4");
  EXPECT_EQ(display_width("\xc3\xa4"
                          "b"),
            2U);
}

TEST_F(Format, DatesAreReadInTheirForms) {
  EXPECT_EQ(*parse_date("1970-01-02"), 86'400'000'000'000);
  EXPECT_EQ(*parse_date("1970-01-01 00:01"), 60'000'000'000);
  EXPECT_EQ(*parse_date("1970-01-01T00:00:01.25"), 1'250'000'000);
  EXPECT_EQ(*parse_date("1970-01-01T00:00:01Z"), 1'000'000'000);
  EXPECT_EQ(*parse_date("@12.5"), 12'500'000'000);
  EXPECT_EQ(*parse_date("@-1"), -1'000'000'000);
}

TEST_F(Format, LocalTimeAppliesUnlessZ) {
  setenv("TZ", "XXX-2", 1);
  tzset();
  EXPECT_EQ(*parse_date("1970-01-01T02:00:01"), 1'000'000'000);
  EXPECT_EQ(*parse_date("1970-01-01T00:00:01Z"), 1'000'000'000);
}

TEST_F(Format, WhatIsNoDateIsRefused) {
  for (const char* text : {"",
                           "yesterday",
                           "1970-1-1",
                           "1970-02-31",
                           "1970-01-01 24:00",
                           "1970-01-01x",
                           "1970-01-01 00:00:61",
                           "@",
                           "@x",
                           "@9999999999999",
                           "-970-01-01",
                           "2024-01-01 1:00"}) {
    EXPECT_FALSE(parse_date(text).has_value()) << text;
  }
}

TEST_F(Format, StampsHaveTwoFourOrNoYearDigits) {
  EXPECT_EQ(*parse_stamp("197001010001.02"), 62'000'000'000);
  EXPECT_EQ(*parse_stamp("7001010001"), 60'000'000'000);
  EXPECT_EQ(*parse_stamp("0001010000"), 946'684'800'000'000'000);
  EXPECT_TRUE(parse_stamp("01010000").has_value());
  for (const char* text : {"", "1", "123456789", "197013010001", "197001010001.", "19700101000x"}) {
    EXPECT_FALSE(parse_stamp(text).has_value()) << text;
  }
}

}  // namespace
}  // namespace benchfs::cli
