#include "meta/xattr_table.h"

#include <cerrno>
#include <string>

#include "meta/test_support.h"
#include "wire/limits.h"
#include "wire/messages.h"

namespace benchfs::meta {
namespace {

constexpr wire::InodeId kInode = wire::InodeId::make(kHere, 5);
constexpr std::uint64_t kNoLimit = UINT64_MAX;

TEST(XattrTable, SetsReplacesAndRemoves) {
  XattrTable table;
  EXPECT_EQ(errno_of(table.set(kInode, "user.a", "1", wire::kXattrReplace, kNoLimit)), ENODATA);
  EXPECT_EQ(errno_of(table.set(kInode, "user.a", {}, wire::kXattrRemove, kNoLimit)), ENODATA);
  ASSERT_TRUE(table.set(kInode, "user.a", "1", wire::kXattrCreate, kNoLimit));
  EXPECT_EQ(errno_of(table.set(kInode, "user.a", "2", wire::kXattrCreate, kNoLimit)), EEXIST);
  EXPECT_EQ(table.find(kInode, "user.a"), "1");
  ASSERT_TRUE(table.set(kInode, "user.a", std::string("2\0003", 3), 0, kNoLimit));
  EXPECT_EQ(table.find(kInode, "user.a"), std::string("2\0003", 3));
  ASSERT_TRUE(table.set(kInode, "user.b", "", 0, kNoLimit));
  EXPECT_EQ(table.list(kInode), std::string("user.a\0user.b\0", 14));
  EXPECT_EQ(table.bytes(), 15U);
  ASSERT_TRUE(table.set(kInode, "user.a", {}, wire::kXattrRemove, kNoLimit));
  EXPECT_EQ(table.find(kInode, "user.a"), std::nullopt);
  EXPECT_EQ(table.bytes(), 6U);
  table.forget(kInode);
  EXPECT_EQ(table.list(kInode), "");
  EXPECT_EQ(table.bytes(), 0U);
}

TEST(XattrTable, IsBoundedForEachInodeAndForAll) {
  XattrTable table;
  std::string large(wire::kMaxXattrValueBytes, 'x');
  ASSERT_TRUE(table.set(kInode, "user.a", large, 0, kNoLimit));
  EXPECT_EQ(errno_of(table.set(kInode, "user.b", large, 0, kNoLimit)), ENOSPC);
  ASSERT_TRUE(table.set(kInode, "user.a", large, 0, kNoLimit));  // in place of itself
  wire::InodeId many = wire::InodeId::make(kHere, 6);
  std::string name = "user." + std::string(wire::kMaxXattrNameBytes - 5, 'n');
  Status set;
  for (int i = 0; set && i < 1000; ++i) {
    set = table.set(many, name + std::to_string(i), {}, 0, kNoLimit);
  }
  EXPECT_EQ(errno_of(set), ENOSPC);
  EXPECT_LE(table.list(many).size(), wire::kMaxXattrListBytes);
  wire::InodeId third = wire::InodeId::make(kHere, 7);
  EXPECT_EQ(errno_of(table.set(third, "user.a", "1", 0, table.bytes() + 6)), ENOSPC);
  EXPECT_TRUE(table.set(third, "user.a", "1", 0, table.bytes() + 7));
}

class XattrsOfInodesTest : public MetaStoreTest {};

TEST_F(XattrsOfInodesTest, EndWithTheInodeAndBelongToWhatHasContents) {
  wire::Attr file = create(wire::kRootInode, "f", new_file());
  wire::Attr link = create(
      wire::kRootInode, "l", {.mode = S_IFLNK | 0777, .uid = 0, .gid = 0, .target = "target"});
  EXPECT_EQ(errno_of(store_.apply(SetXattr{link.id(), "user.a", "1", 0, 7})), EPERM);
  ASSERT_TRUE(store_.apply(SetXattr{file.id(), "user.a", "1", 0, 7}));
  EXPECT_EQ(attr(file.id()).ctime_ns, 7);
  EXPECT_EQ(store_.xattr(file.id(), "user.a").value(), "1");
  EXPECT_EQ(errno_of(store_.xattr(file.id(), "user.b")), ENODATA);
  ASSERT_TRUE(store_.apply(RemoveEntry{wire::kRootInode, "f", 8}));
  EXPECT_EQ(gone(store_.apply(Unlink{file.id(), 8})), true);
  store_.apply(Erase{file.id()});
  EXPECT_EQ(errno_of(store_.xattr(file.id(), "user.a")), ENOENT);
  EXPECT_EQ(errno_of(store_.list_xattrs(file.id())), ENOENT);
}

}  // namespace
}  // namespace benchfs::meta
