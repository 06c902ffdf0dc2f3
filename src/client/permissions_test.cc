#include "client/permissions.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>

namespace benchfs::client {
namespace {

constexpr std::uint32_t kOwner = 1000;
constexpr std::uint32_t kGroup = 2000;
constexpr std::uint32_t kOtherGroup = 3000;
constexpr std::uint32_t kTimes = wire::kSetAtime | wire::kSetMtime;
constexpr std::uint32_t kNow = wire::kSetAtimeNow | wire::kSetMtimeNow;

const Credentials kRoot{.uid = 0, .gid = 0, .groups = {}};
const Credentials kTheOwner{.uid = kOwner, .gid = kOtherGroup, .groups = {}};
const Credentials kMember{.uid = 1, .gid = kGroup, .groups = {}};
const Credentials kByGroups{.uid = 1, .gid = 1, .groups = {7, kGroup}};
const Credentials kStranger{.uid = 1, .gid = 1, .groups = {7}};

wire::Attr inode(std::uint32_t mode) {
  wire::Attr attr;
  attr.mode = mode;
  attr.uid = kOwner;
  attr.gid = kGroup;
  return attr;
}

int error_of(const Status& status) {
  return status ? 0 : status.error().to_errno();
}

TEST(Permissions, TheFirstClassThatTheCallerIsInDecides) {
  struct Case {
    const Credentials& caller;
    std::uint32_t mode;
    std::uint32_t wanted;
    bool is_allowed;
  };
  const Case cases[] = {
      {kTheOwner, S_IFREG | 0400, R_OK, true},
      {kTheOwner, S_IFREG | 0400, R_OK | W_OK, false},
      {kTheOwner, S_IFREG | 0077, R_OK, false},
      {kMember, S_IFREG | 0020, W_OK, true},
      {kMember, S_IFREG | 0707, R_OK, false},
      {kByGroups, S_IFREG | 0010, X_OK, true},
      {kByGroups, S_IFREG | 0707, R_OK, false},
      {kStranger, S_IFREG | 0004, R_OK, true},
      {kStranger, S_IFREG | 0770, R_OK, false},
      {kStranger, S_IFDIR | 0771, X_OK, true},
      {kStranger, S_IFDIR | 0771, W_OK | X_OK, false},
      {kStranger, S_IFREG | 0000, F_OK, true},
      {kRoot, S_IFREG | 0000, R_OK | W_OK, true},
      {kRoot, S_IFREG | 0666, X_OK, false},
      {kRoot, S_IFREG | 0010, X_OK, true},
      {kRoot, S_IFDIR | 0000, R_OK | W_OK | X_OK, true},
  };
  for (const Case& one : cases) {
    EXPECT_EQ(one.caller.may(inode(one.mode), one.wanted), one.is_allowed)
        << one.caller.uid << " " << std::oct << one.mode << " " << one.wanted;
  }
}

TEST(Permissions, ChangesAreTheOwnersAndTheGroupOneOfHis) {
  struct Case {
    const Credentials& caller;
    std::uint32_t mode;
    std::uint32_t mask;
    std::uint32_t id;
    int error;
  };
  const Case cases[] = {
      {kTheOwner, 0400, wire::kSetMode, 0, 0},
      {kMember, 0777, wire::kSetMode, 0, EPERM},
      {kTheOwner, 0700, wire::kSetUid, kOwner, 0},
      {kTheOwner, 0700, wire::kSetUid, 1, EPERM},
      {kMember, 0777, wire::kSetUid, kOwner, EPERM},
      {kRoot, 0, wire::kSetUid | wire::kSetGid, 1, 0},
      {kTheOwner, 0700, wire::kSetGid, kOtherGroup, 0},
      {kTheOwner, 0700, wire::kSetGid, kGroup, 0},
      {kTheOwner, 0700, wire::kSetGid, 7, EPERM},
      {kByGroups, 0777, wire::kSetGid, kGroup, EPERM},
      {kTheOwner, 0, kTimes, 0, 0},
      {kMember, 0777, kTimes, 0, EPERM},
      {kMember, 0020, kNow, 0, 0},
      {kMember, 0757, kNow, 0, EACCES},
      {kMember, 0020, wire::kSetMtimeNow, 0, EPERM},
      {kStranger, 0, 0, 0, 0},
  };
  for (const Case& one : cases) {
    wire::SetAttrRequest request;
    request.mask = one.mask;
    request.uid = request.gid = one.id;
    EXPECT_EQ(error_of(check_change(inode(S_IFREG | one.mode), one.caller, request)), one.error)
        << one.caller.uid << " " << std::oct << one.mode << " " << one.mask;
  }
}

TEST(Permissions, SetIdBitsDoNotOutliveWhatTheCallerMayNotLeaveThem) {
  wire::SetAttrRequest mode;
  mode.mask = wire::kSetMode;
  mode.mode = 06755;
  EXPECT_TRUE(check_change(inode(S_IFREG | 0644), kTheOwner, mode));
  EXPECT_EQ(mode.mode, 04755U) << "the file's group is none of the owner's";
  mode.mode = 06755;
  EXPECT_TRUE(check_change(inode(S_IFREG | 0644), kRoot, mode));
  EXPECT_EQ(mode.mode, 06755U);

  wire::SetAttrRequest size;
  size.mask = wire::kSetSize;
  EXPECT_TRUE(check_change(inode(S_IFREG | 06775), kMember, size));
  EXPECT_EQ(size.mask, wire::kSetSize | wire::kSetMode);
  EXPECT_EQ(size.mode, 0775U);
  size.mask = wire::kSetSize;
  EXPECT_TRUE(check_change(inode(S_IFREG | 06775), kRoot, size));
  EXPECT_EQ(size.mask, wire::kSetSize);
  EXPECT_EQ(set_id_bits(S_IFREG | 02744), 0U) << "a group that may not execute it";
}

TEST(Permissions, ValuesOfAFileAreReadAndWrittenLikeTheFile) {
  EXPECT_EQ(error_of(check_xattr(inode(S_IFREG | 0040), kMember, "user.a", R_OK)), 0);
  EXPECT_EQ(error_of(check_xattr(inode(S_IFREG | 0040), kMember, "user.a", W_OK)), EACCES);
  EXPECT_EQ(error_of(check_xattr(inode(S_IFREG | 0000), kMember, "trusted.a", R_OK)), 0);
  EXPECT_EQ(error_of(check_xattr(inode(S_IFDIR | 0777), kMember, "user.a", W_OK)), 0);
  EXPECT_EQ(error_of(check_xattr(inode(S_IFDIR | 01777), kMember, "user.a", W_OK)), EPERM);
  EXPECT_EQ(error_of(check_xattr(inode(S_IFDIR | 01777), kMember, "user.a", R_OK)), 0);
  EXPECT_EQ(error_of(check_xattr(inode(S_IFDIR | 01777), kTheOwner, "user.a", W_OK)), 0);
  EXPECT_EQ(error_of(check_xattr(inode(S_IFLNK | 0777), kStranger, "user.a", W_OK)), 0);
}

}  // namespace
}  // namespace benchfs::client
