#include "capi/attributes.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

namespace benchfs::capi {
namespace {

TEST(Attributes, EveryFieldOfAnInodeReachesTheCaller) {
  wire::Attr attr;
  attr.inode = 77;
  attr.mode = S_IFREG | 0640;
  attr.nlink = 1;
  attr.uid = 1001;
  attr.gid = 1002;
  attr.size = 1025;
  attr.layout.chunk_bytes = 65536;
  attr.atime_ns = 1'500'000'000;
  attr.mtime_ns = 2'000'000'001;
  attr.ctime_ns = 3;
  benchfs_stat_t out = to_stat(attr);
  EXPECT_EQ(out.st_ino, 77U);
  EXPECT_EQ(out.st_mode, S_IFREG | 0640U);
  EXPECT_EQ(out.st_nlink, 1U);
  EXPECT_EQ(out.st_uid, 1001U);
  EXPECT_EQ(out.st_gid, 1002U);
  EXPECT_EQ(out.st_size, 1025);
  EXPECT_EQ(out.st_blocks, 3);
  EXPECT_EQ(out.st_blksize, 65536U);
  EXPECT_EQ(out.st_atim.tv_sec, 1);
  EXPECT_EQ(out.st_atim.tv_nsec, 500'000'000);
  EXPECT_EQ(out.st_mtim.tv_sec, 2);
  EXPECT_EQ(out.st_mtim.tv_nsec, 1);
  EXPECT_EQ(out.st_ctim.tv_nsec, 3);
}

TEST(Attributes, TimesBeforeTheEpochKeepPositiveNanoseconds) {
  wire::Attr attr;
  attr.mtime_ns = -1;
  benchfs_stat_t out = to_stat(attr);
  EXPECT_EQ(out.st_mtim.tv_sec, -1);
  EXPECT_EQ(out.st_mtim.tv_nsec, 999'999'999);
}

TEST(Attributes, NoTimesMeansBothNow) {
  Result<wire::SetAttrRequest> request = parse_times(nullptr);
  ASSERT_TRUE(request.has_value());
  EXPECT_EQ(request->mask, wire::kSetAtimeNow | wire::kSetMtimeNow);
}

TEST(Attributes, EachTimeCanBeGivenLeftOrNow) {
  timespec given[2] = {{12, 34}, {0, UTIME_OMIT}};
  Result<wire::SetAttrRequest> request = parse_times(given);
  ASSERT_TRUE(request.has_value());
  EXPECT_EQ(request->mask, wire::kSetAtime);
  EXPECT_EQ(request->atime_ns, 12'000'000'034);

  timespec now[2] = {{0, UTIME_OMIT}, {99, UTIME_NOW}};
  EXPECT_EQ(parse_times(now)->mask, wire::kSetMtimeNow);
  timespec negative[2] = {{-2, 1}, {0, UTIME_OMIT}};
  EXPECT_EQ(parse_times(negative)->atime_ns, -1'999'999'999);
}

TEST(Attributes, TimesThatCannotBeKeptAreRefused) {
  timespec fraction[2] = {{0, 1'000'000'000}, {0, 0}};
  EXPECT_EQ(parse_times(fraction).error().to_errno(), EINVAL);
  timespec far[2] = {{0, 0}, {INT64_MAX / 1'000'000'000, 0}};
  EXPECT_EQ(parse_times(far).error().to_errno(), EINVAL);
  timespec early[2] = {{INT64_MIN, 0}, {0, 0}};
  EXPECT_EQ(parse_times(early).error().to_errno(), EINVAL);
}

TEST(Attributes, AccessFollowsTheClassOfTheCaller) {
  wire::Attr attr;
  attr.mode = S_IFREG | 0460;
  attr.uid = getuid();
  attr.gid = getgid();
  if (getuid() == 0) {
    EXPECT_TRUE(check_access(attr, R_OK | W_OK, client::Ids::kReal).has_value());
    EXPECT_EQ(check_access(attr, X_OK, client::Ids::kReal).error().to_errno(), EACCES);
    attr.mode = S_IFREG | 0001;
    EXPECT_TRUE(check_access(attr, X_OK, client::Ids::kReal).has_value());
  } else {
    EXPECT_TRUE(check_access(attr, R_OK, client::Ids::kReal).has_value());
    EXPECT_EQ(check_access(attr, W_OK, client::Ids::kReal).error().to_errno(), EACCES);
    attr.uid = getuid() + 1;
    EXPECT_TRUE(check_access(attr, R_OK | W_OK, client::Ids::kReal).has_value());
    attr.mode = S_IFREG | 0770;
    attr.gid = UINT32_MAX;
    EXPECT_EQ(check_access(attr, R_OK, client::Ids::kReal).error().to_errno(), EACCES);
  }
  EXPECT_TRUE(check_access(attr, F_OK, client::Ids::kReal).has_value());
}

TEST(Attributes, AnUnknownAccessModeIsRefused) {
  EXPECT_EQ(check_access(wire::Attr{}, 8, client::Ids::kReal).error().to_errno(), EINVAL);
  EXPECT_EQ(check_access(wire::Attr{}, -1, client::Ids::kReal).error().to_errno(), EINVAL);
}

}  // namespace
}  // namespace benchfs::capi
