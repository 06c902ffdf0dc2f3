#include "capi/open_flags.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include "wire/messages.h"

namespace benchfs::capi {
namespace {

std::uint32_t flags_of(int flags) {
  Result<OpenMode> mode = parse_open_flags(flags);
  EXPECT_TRUE(mode.has_value()) << flags;
  return mode ? mode->flags : 0;
}

TEST(OpenFlags, AccessModesAreReadWriteOrBoth) {
  EXPECT_EQ(flags_of(O_RDONLY), wire::kOpenRead);
  EXPECT_EQ(flags_of(O_WRONLY), wire::kOpenWrite);
  EXPECT_EQ(flags_of(O_RDWR), wire::kOpenRead | wire::kOpenWrite);
  EXPECT_EQ(parse_open_flags(O_ACCMODE).error().to_errno(), EINVAL);
}

TEST(OpenFlags, EachFlagHasItsOwnBit) {
  EXPECT_EQ(flags_of(O_WRONLY | O_CREAT | O_EXCL),
            wire::kOpenWrite | wire::kOpenCreate | wire::kOpenExclusive);
  EXPECT_EQ(flags_of(O_WRONLY | O_TRUNC), wire::kOpenWrite | wire::kOpenTruncate);
  EXPECT_EQ(flags_of(O_WRONLY | O_APPEND), wire::kOpenWrite | wire::kOpenAppend);
  EXPECT_EQ(flags_of(O_NOFOLLOW | O_DIRECTORY),
            wire::kOpenRead | wire::kOpenNoFollow | wire::kOpenDirectory);
}

TEST(OpenFlags, FlagsThatPromiseNothingHereAreAccepted) {
  EXPECT_EQ(flags_of(O_RDWR | O_CLOEXEC | O_DIRECT | O_NOATIME | O_NOCTTY | O_NONBLOCK | 0100000),
            wire::kOpenRead | wire::kOpenWrite);
}

TEST(OpenFlags, SynchronousFilesAreMarked) {
  EXPECT_TRUE(parse_open_flags(O_WRONLY | O_SYNC)->is_synchronous);
  EXPECT_TRUE(parse_open_flags(O_WRONLY | O_DSYNC)->is_synchronous);
  EXPECT_FALSE(parse_open_flags(O_WRONLY)->is_synchronous);
}

TEST(OpenFlags, AFileWithoutANameIsForWriting) {
  EXPECT_TRUE(parse_open_flags(O_TMPFILE | O_RDWR)->is_unnamed);
  EXPECT_EQ(flags_of(O_TMPFILE | O_WRONLY | O_EXCL), wire::kOpenWrite | wire::kOpenExclusive);
  EXPECT_FALSE(parse_open_flags(O_DIRECTORY)->is_unnamed);
  EXPECT_EQ(parse_open_flags(O_TMPFILE).error().to_errno(), EINVAL);
  EXPECT_EQ(parse_open_flags(O_TMPFILE | O_RDWR | O_CREAT).error().to_errno(), EINVAL);
}

TEST(OpenFlags, UnsupportedFlagsAreRefusedByNumber) {
  Result<OpenMode> path_only = parse_open_flags(O_PATH);
  ASSERT_FALSE(path_only.has_value());
  EXPECT_EQ(path_only.error().to_errno(), EINVAL);
  EXPECT_NE(path_only.error().message().find("010000000"), std::string::npos)
      << path_only.error().message();
  EXPECT_EQ(parse_open_flags(O_ASYNC).error().to_errno(), EINVAL);
}

}  // namespace
}  // namespace benchfs::capi
