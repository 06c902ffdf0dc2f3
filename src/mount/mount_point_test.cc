#include "mount/mount_point.h"

#include <gtest/gtest.h>

#include <cerrno>

namespace benchfs::mount {
namespace {

constexpr std::string_view kMounts =
    "22 1 0:20 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"
    "30 22 0:39 / /tmp/with\\040space rw - fuse.benchfs benchfs:/r rw,user_id=0\n"
    "31 22 0:40 / /tmp/twice rw - tmpfs tmpfs rw\n"
    "32 31 0:41 / /tmp/twice rw shared:7 master:3 - fuse.benchfs benchfs:/r rw\n"
    "broken\n";

TEST(MountedType, FindsTheLastOneOnTheVeryPath) {
  EXPECT_EQ(mounted_type(kMounts, "/"), "ext4");
  EXPECT_EQ(mounted_type(kMounts, "/tmp/with space"), "fuse.benchfs");
  EXPECT_EQ(mounted_type(kMounts, "/tmp/twice"), "fuse.benchfs");
  EXPECT_EQ(mounted_type(kMounts, "/tmp"), "");
  EXPECT_EQ(mounted_type(kMounts, "/tmp/twic"), "");
}

TEST(Examine, NamesWhatCannotBeMountedOn) {
  EXPECT_EQ(examine("/no/such/directory").error().posix, ENOENT);
  EXPECT_EQ(examine("/dev/null").error().posix, ENOTDIR);
  Result<MountPoint> proc = examine("/proc/");
  ASSERT_TRUE(proc);
  EXPECT_EQ(proc->path, "/proc");
  EXPECT_EQ(proc->state, MountPoint::State::kForeign);
  EXPECT_EQ(proc->type, "proc");
  EXPECT_EQ(examine("/tmp/.").value().path, "/tmp");
}

}  // namespace
}  // namespace benchfs::mount
