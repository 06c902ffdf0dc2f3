#include <cerrno>

#include "meta/test_support.h"

namespace benchfs::meta {
namespace {

using MetaStoreDirectoryTest = MetaStoreTest;

constexpr std::uint64_t kOwner = 1;
constexpr std::uint64_t kOtherOwner = 2;
constexpr MonoTime kEnd = at_second(110);
constexpr Entry kSomeEntry{wire::InodeId::make(wire::ShardId{1}, 5), S_IFREG};

TEST_F(MetaStoreDirectoryTest, TheRootIsItsOwnParent) {
  wire::Attr root = attr(wire::kRootInode);
  EXPECT_EQ(root.parent, wire::kRootInode.value);
  EXPECT_EQ(root.mode, S_IFDIR | 0755U);
  EXPECT_EQ(root.nlink, 1U);
}

TEST_F(MetaStoreDirectoryTest, AFrozenDirectoryTakesNoEntriesUntilTheFreezeEnds) {
  ASSERT_TRUE(store_.freeze(kRemoteDir, kOwner, kEnd, kStart).has_value());
  EXPECT_TRUE(is_busy(store_.create(kRemoteDir, "a", new_file(), 1, kStart)));
  EXPECT_TRUE(is_busy(store_.put_entry(kRemoteDir, "a", kSomeEntry, at_second(109))));
  EXPECT_EQ(errno_of(store_.find(kRemoteDir, "a")), ENOENT);
  EXPECT_TRUE(store_.create(kOtherRemoteDir, "a", new_file(), 1, kStart).has_value());
  EXPECT_TRUE(store_.create(kRemoteDir, "a", new_file(), 1, kEnd).has_value());
  EXPECT_TRUE(store_.put_entry(kRemoteDir, "b", kSomeEntry, kEnd).has_value());
}

TEST_F(MetaStoreDirectoryTest, ADirectoryWithEntriesCannotBeFrozen) {
  create(kRemoteDir, "a", new_file());
  EXPECT_EQ(errno_of(store_.freeze(kRemoteDir, kOwner, kEnd, kStart)), ENOTEMPTY);
  ASSERT_TRUE(store_.remove_entry(kRemoteDir, "a").has_value());
  EXPECT_EQ(errno_of(store_.freeze(kRemoteDir, kOwner, kEnd, kStart)), 0);
}

TEST_F(MetaStoreDirectoryTest, OnlyOneOwnerFreezesAtATime) {
  ASSERT_TRUE(store_.freeze(kRemoteDir, kOwner, kEnd, kStart).has_value());
  EXPECT_TRUE(is_busy(store_.freeze(kRemoteDir, kOtherOwner, at_second(120), kStart)));
  EXPECT_TRUE(store_.freeze(kRemoteDir, kOtherOwner, at_second(120), kEnd).has_value());
  EXPECT_TRUE(is_busy(store_.freeze(kRemoteDir, kOwner, at_second(120), kEnd)));
}

TEST_F(MetaStoreDirectoryTest, FreezingAgainMovesTheEnd) {
  ASSERT_TRUE(store_.freeze(kRemoteDir, kOwner, kEnd, kStart).has_value());
  ASSERT_TRUE(store_.freeze(kRemoteDir, kOwner, at_second(120), kStart).has_value());
  EXPECT_TRUE(is_busy(store_.create(kRemoteDir, "a", new_file(), 1, kEnd)));
  EXPECT_TRUE(store_.create(kRemoteDir, "a", new_file(), 1, at_second(120)).has_value());
}

TEST_F(MetaStoreDirectoryTest, ThawAllowsEntriesAgainAndMayBeRepeated) {
  ASSERT_TRUE(store_.freeze(kRemoteDir, kOwner, kEnd, kStart).has_value());
  store_.thaw(kRemoteDir, kOwner, false);
  store_.thaw(kRemoteDir, kOwner, false);
  EXPECT_TRUE(store_.create(kRemoteDir, "a", new_file(), 1, kStart).has_value());
}

TEST_F(MetaStoreDirectoryTest, ThawByAnotherOwnerChangesNothing) {
  ASSERT_TRUE(store_.freeze(kRemoteDir, kOwner, kEnd, kStart).has_value());
  store_.thaw(kRemoteDir, kOtherOwner, false);
  EXPECT_TRUE(is_busy(store_.create(kRemoteDir, "a", new_file(), 1, kStart)));
}

TEST_F(MetaStoreDirectoryTest, ARemovedDirectoryIsStaleForEver) {
  std::vector<std::byte> out;
  ASSERT_TRUE(store_.freeze(kRemoteDir, kOwner, kEnd, kStart).has_value());
  store_.thaw(kRemoteDir, kOwner, true);
  store_.thaw(kRemoteDir, kOwner, true);
  store_.thaw(kRemoteDir, kOwner, false);
  EXPECT_EQ(errno_of(store_.find(kRemoteDir, "a")), ESTALE);
  EXPECT_EQ(errno_of(store_.create(kRemoteDir, "a", new_file(), 1, at_second(9999))), ESTALE);
  EXPECT_EQ(errno_of(store_.put_entry(kRemoteDir, "a", kSomeEntry, at_second(9999))), ESTALE);
  EXPECT_EQ(errno_of(store_.list(kRemoteDir, "", 4096, out)), ESTALE);
  EXPECT_EQ(errno_of(store_.freeze(kRemoteDir, kOwner, kEnd, kStart)), ESTALE);
  // The neighbouring number shares a block of marks.
  EXPECT_EQ(errno_of(store_.find(wire::InodeId{kRemoteDir.value + 1}, "a")), ENOENT);
}

TEST_F(MetaStoreDirectoryTest, RemovalWorksWithoutAFreezeAndAgainstAnothersFreeze) {
  store_.thaw(kRemoteDir, kOwner, true);
  EXPECT_EQ(errno_of(store_.find(kRemoteDir, "a")), ESTALE);
  ASSERT_TRUE(store_.freeze(kOtherRemoteDir, kOtherOwner, kEnd, kStart).has_value());
  store_.thaw(kOtherRemoteDir, kOwner, true);
  EXPECT_EQ(errno_of(store_.find(kOtherRemoteDir, "a")), ESTALE);
}

TEST_F(MetaStoreDirectoryTest, EntriesLeftInARemovedDirectoryCanBeTakenOut) {
  create(kRemoteDir, "a", new_file());
  store_.thaw(kRemoteDir, kOwner, true);
  EXPECT_TRUE(store_.remove_entry(kRemoteDir, "a").has_value());
  EXPECT_EQ(store_.stats().entry_count, 0U);
}

TEST_F(MetaStoreDirectoryTest, ADirectoryOfThisShardIsStaleBeforeAndAfterItsInodeIsGone) {
  wire::Attr directory = create(wire::kRootInode, "d", new_directory());
  ASSERT_TRUE(store_.freeze(directory.id(), kOwner, kEnd, kStart).has_value());
  store_.thaw(directory.id(), kOwner, true);
  EXPECT_EQ(errno_of(store_.find(directory.id(), "a")), ESTALE);
  ASSERT_EQ(gone(store_.unlink(directory.id(), 7)), true);
  EXPECT_EQ(errno_of(store_.find(directory.id(), "a")), ESTALE);
  store_.thaw(directory.id(), kOwner, true);
  EXPECT_EQ(errno_of(store_.create(directory.id(), "a", new_file(), 1, kStart)), ESTALE);
}

TEST_F(MetaStoreDirectoryTest, OnlyADirectoryCanBeFrozen) {
  wire::Attr file = create(wire::kRootInode, "f", new_file());
  EXPECT_EQ(errno_of(store_.freeze(file.id(), kOwner, kEnd, kStart)), ENOTDIR);
}

TEST_F(MetaStoreDirectoryTest, TheRootCannotBeRemoved) {
  EXPECT_EQ(errno_of(store_.freeze(wire::kRootInode, kOwner, kEnd, kStart)), EBUSY);
  store_.thaw(wire::kRootInode, kOwner, true);
  EXPECT_EQ(errno_of(store_.unlink(wire::kRootInode, 1)), EBUSY);
  EXPECT_TRUE(store_.create(wire::kRootInode, "a", new_file(), 1, kStart).has_value());
}

TEST_F(MetaStoreDirectoryTest, TooManyFreezesAreRefusedUntilTheOldOnesEnd) {
  auto directory = [](std::uint64_t i) { return wire::InodeId::make(wire::ShardId{1}, 1 + i); };
  for (std::uint64_t i = 0; i < DirectoryStates::kMaxFrozen; ++i) {
    ASSERT_TRUE(store_.freeze(directory(i), kOwner, kEnd, kStart).has_value());
  }
  EXPECT_TRUE(is_busy(store_.freeze(kRemoteDir, kOwner, kEnd, kStart)));
  EXPECT_TRUE(store_.freeze(kRemoteDir, kOwner, at_second(120), kEnd).has_value());
}

TEST_F(MetaStoreDirectoryTest, SetParentMovesADirectoryAndNothingElse) {
  wire::Attr directory = create(wire::kRootInode, "d", new_directory());
  wire::Attr file = create(wire::kRootInode, "f", new_file());
  ASSERT_TRUE(store_.set_parent(directory.id(), kRemoteDir).has_value());
  EXPECT_EQ(attr(directory.id()).parent, kRemoteDir.value);
  EXPECT_EQ(errno_of(store_.set_parent(file.id(), kRemoteDir)), ENOTDIR);
  EXPECT_EQ(errno_of(store_.set_parent(kRemoteDir, kRemoteDir)), ENOENT);
}

TEST_F(MetaStoreDirectoryTest, AnEntryChangeTouchesADirectoryThatLivesHere) {
  wire::Attr directory = create(wire::kRootInode, "d", new_directory(), 5);
  store_.touch_entry_change(directory.id(), 50);
  EXPECT_EQ(attr(directory.id()).mtime_ns, 50);
  EXPECT_EQ(attr(directory.id()).ctime_ns, 50);
  EXPECT_EQ(attr(directory.id()).atime_ns, 5);
  store_.touch_entry_change(kRemoteDir, 50);
  wire::Attr file = create(wire::kRootInode, "f", new_file(), 5);
  store_.touch_entry_change(file.id(), 50);
  EXPECT_EQ(attr(file.id()).mtime_ns, 5);
}

}  // namespace
}  // namespace benchfs::meta
