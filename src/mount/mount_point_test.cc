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

TEST(FindMounted, FindsTheLastOneOnTheVeryPath) {
  EXPECT_EQ(find_mounted(kMounts, "/").type, "ext4");
  EXPECT_EQ(find_mounted(kMounts, "/tmp/with space").type, "fuse.benchfs");
  EXPECT_EQ(find_mounted(kMounts, "/tmp/twice").type, "fuse.benchfs");
  EXPECT_EQ(find_mounted(kMounts, "/tmp/twice").device, "0:41");
  EXPECT_EQ(find_mounted(kMounts, "/tmp").type, "");
  EXPECT_EQ(find_mounted(kMounts, "/tmp").device, "");
  EXPECT_EQ(find_mounted(kMounts, "/tmp/twic").type, "");
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
