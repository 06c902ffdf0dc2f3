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
  EXPECT_EQ(root.nlink, 2U);
}

TEST_F(MetaStoreDirectoryTest, AFrozenDirectoryTakesNoEntriesUntilTheFreezeEnds) {
  ASSERT_TRUE(store_.freeze(kRemoteDir, kOwner, kEnd, kStart).has_value());
  EXPECT_TRUE(is_busy(store_.apply(Create{kRemoteDir, "a", new_file(), 1, kStart})));
  EXPECT_TRUE(is_busy(store_.apply(PutEntry{kRemoteDir, "a", kSomeEntry, 1, at_second(109)})));
  EXPECT_EQ(errno_of(store_.find(kRemoteDir, "a")), ENOENT);
  EXPECT_TRUE(store_.apply(Create{kOtherRemoteDir, "a", new_file(), 1, kStart}).has_value());
  EXPECT_TRUE(store_.apply(Create{kRemoteDir, "a", new_file(), 1, kEnd}).has_value());
  EXPECT_TRUE(store_.apply(PutEntry{kRemoteDir, "b", kSomeEntry, 1, kEnd}).has_value());
}

TEST_F(MetaStoreDirectoryTest, ADirectoryWithEntriesCannotBeFrozen) {
  create(kRemoteDir, "a", new_file());
  EXPECT_EQ(errno_of(store_.freeze(kRemoteDir, kOwner, kEnd, kStart)), ENOTEMPTY);
  ASSERT_TRUE(store_.apply(RemoveEntry{kRemoteDir, "a", 1}).has_value());
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
  EXPECT_TRUE(is_busy(store_.apply(Create{kRemoteDir, "a", new_file(), 1, kEnd})));
  EXPECT_TRUE(store_.apply(Create{kRemoteDir, "a", new_file(), 1, at_second(120)}).has_value());
}

TEST_F(MetaStoreDirectoryTest, ThawAllowsEntriesAgainAndMayBeRepeated) {
  ASSERT_TRUE(store_.freeze(kRemoteDir, kOwner, kEnd, kStart).has_value());
  store_.thaw(kRemoteDir, kOwner);
  store_.thaw(kRemoteDir, kOwner);
  EXPECT_TRUE(store_.apply(Create{kRemoteDir, "a", new_file(), 1, kStart}).has_value());
}

TEST_F(MetaStoreDirectoryTest, ThawByAnotherOwnerChangesNothing) {
  ASSERT_TRUE(store_.freeze(kRemoteDir, kOwner, kEnd, kStart).has_value());
  store_.thaw(kRemoteDir, kOtherOwner);
  EXPECT_TRUE(is_busy(store_.apply(Create{kRemoteDir, "a", new_file(), 1, kStart})));
}

TEST_F(MetaStoreDirectoryTest, ARemovedDirectoryIsStaleForEver) {
  std::vector<std::byte> out;
  ASSERT_TRUE(store_.freeze(kRemoteDir, kOwner, kEnd, kStart).has_value());
  store_.apply(RemoveDirectory{kRemoteDir});
  store_.apply(RemoveDirectory{kRemoteDir});
  store_.thaw(kRemoteDir, kOwner);
  EXPECT_EQ(errno_of(store_.find(kRemoteDir, "a")), ESTALE);
  EXPECT_EQ(errno_of(store_.apply(Create{kRemoteDir, "a", new_file(), 1, at_second(9999)})),
            ESTALE);
  EXPECT_EQ(errno_of(store_.apply(PutEntry{kRemoteDir, "a", kSomeEntry, 1, at_second(9999)})),
            ESTALE);
  EXPECT_EQ(errno_of(store_.list(kRemoteDir, "", 4096, out)), ESTALE);
  EXPECT_EQ(errno_of(store_.freeze(kRemoteDir, kOwner, kEnd, kStart)), ESTALE);
  // The neighbouring number shares a block of marks.
  EXPECT_EQ(errno_of(store_.find(wire::InodeId{kRemoteDir.value + 1}, "a")), ENOENT);
}

TEST_F(MetaStoreDirectoryTest, RemovalWorksWithoutAFreezeAndAgainstAnothersFreeze) {
  store_.apply(RemoveDirectory{kRemoteDir});
  EXPECT_EQ(errno_of(store_.find(kRemoteDir, "a")), ESTALE);
  ASSERT_TRUE(store_.freeze(kOtherRemoteDir, kOtherOwner, kEnd, kStart).has_value());
  store_.apply(RemoveDirectory{kOtherRemoteDir});
  EXPECT_EQ(errno_of(store_.find(kOtherRemoteDir, "a")), ESTALE);
}

TEST_F(MetaStoreDirectoryTest, EntriesLeftInARemovedDirectoryCanBeTakenOut) {
  create(kRemoteDir, "a", new_file());
  store_.apply(RemoveDirectory{kRemoteDir});
  EXPECT_TRUE(store_.apply(RemoveEntry{kRemoteDir, "a", 1}).has_value());
  EXPECT_EQ(store_.stats().entry_count, 0U);
}

TEST_F(MetaStoreDirectoryTest, ADirectoryOfThisShardIsStaleBeforeAndAfterItsInodeIsGone) {
  wire::Attr directory = create(wire::kRootInode, "d", new_directory());
  ASSERT_TRUE(store_.freeze(directory.id(), kOwner, kEnd, kStart).has_value());
  store_.apply(RemoveDirectory{directory.id()});
  EXPECT_EQ(errno_of(store_.find(directory.id(), "a")), ESTALE);
  ASSERT_EQ(gone(store_.apply(Unlink{directory.id(), 7})), true);
  EXPECT_EQ(errno_of(store_.find(directory.id(), "a")), ESTALE);
  store_.apply(RemoveDirectory{directory.id()});
  EXPECT_EQ(errno_of(store_.apply(Create{directory.id(), "a", new_file(), 1, kStart})), ESTALE);
}

TEST_F(MetaStoreDirectoryTest, OnlyADirectoryCanBeFrozen) {
  wire::Attr file = create(wire::kRootInode, "f", new_file());
  EXPECT_EQ(errno_of(store_.freeze(file.id(), kOwner, kEnd, kStart)), ENOTDIR);
}

TEST_F(MetaStoreDirectoryTest, TheRootCannotBeRemoved) {
  EXPECT_EQ(errno_of(store_.freeze(wire::kRootInode, kOwner, kEnd, kStart)), EBUSY);
  store_.apply(RemoveDirectory{wire::kRootInode});
  EXPECT_EQ(errno_of(store_.apply(Unlink{wire::kRootInode, 1})), EBUSY);
  EXPECT_TRUE(store_.apply(Create{wire::kRootInode, "a", new_file(), 1, kStart}).has_value());
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
  ASSERT_TRUE(store_.apply(SetParent{directory.id(), kRemoteDir}).has_value());
  EXPECT_EQ(attr(directory.id()).parent, kRemoteDir.value);
  EXPECT_EQ(errno_of(store_.apply(SetParent{file.id(), kRemoteDir})), ENOTDIR);
  EXPECT_EQ(errno_of(store_.apply(SetParent{kRemoteDir, kRemoteDir})), ENOENT);
}

TEST_F(MetaStoreDirectoryTest, ChangesOfEntriesSetTheTimesOfADirectoryThatLivesHere) {
  wire::Attr directory = create(wire::kRootInode, "d", new_directory(), 5);
  auto expect_times = [&](std::int64_t now_ns) {
    EXPECT_EQ(attr(directory.id()).mtime_ns, now_ns);
    EXPECT_EQ(attr(directory.id()).ctime_ns, now_ns);
    EXPECT_EQ(attr(directory.id()).atime_ns, 5);
  };
  create(directory.id(), "a", new_file(), 50);
  expect_times(50);
  ASSERT_TRUE(store_.apply(PutEntry{directory.id(), "b", kSomeEntry, 51, kStart}).has_value());
  expect_times(51);
  ASSERT_TRUE(store_.apply(PutEntry{directory.id(), "b", kSomeEntry, 52, kStart}).has_value());
  expect_times(52);
  ASSERT_TRUE(store_.apply(RemoveEntry{directory.id(), "b", 53}).has_value());
  expect_times(53);
  ASSERT_TRUE(
      store_
          .apply(CreateOpen{{directory.id(), "c", new_file(), 54, kStart}, {1, 1}, wire::kOpenRead})
          .has_value());
  expect_times(54);
  // What fails changes nothing.
  EXPECT_EQ(errno_of(store_.apply(RemoveEntry{directory.id(), "b", 55})), ENOENT);
  EXPECT_EQ(errno_of(store_.apply(Create{directory.id(), "a", new_file(), 55, kStart})), EEXIST);
  expect_times(54);
}

TEST_F(MetaStoreDirectoryTest, WhetherAChangeSetsTheTimesOfADirectoryIsKnownBefore) {
  wire::InodeId directory = create(wire::kRootInode, "d", new_directory(), 50).id();
  auto expect_timed = [&](std::int64_t now_ns, bool is_timed) {
    EXPECT_EQ(store_.is_timed(directory, now_ns), is_timed);
    create(directory, "f" + std::to_string(now_ns), new_file(), now_ns);
    bool was_timed = attr(directory).mtime_ns == now_ns && attr(directory).ctime_ns == now_ns;
    EXPECT_EQ(was_timed, is_timed);
  };
  expect_timed(60, true);
  expect_timed(59, false);  // leaves 61
  expect_timed(61, false);
  expect_timed(70, true);
  wire::SetAttrRequest mode;
  mode.mask = wire::kSetMode;
  ASSERT_TRUE(store_.apply(SetAttr{directory, mode, 80}));
  expect_timed(75, false);  // the mtime only
  expect_timed(90, true);
  EXPECT_FALSE(store_.is_timed(kRemoteDir, 1000));
  EXPECT_FALSE(store_.is_timed(create(directory, "file", new_file(), 200).id(), 1000));
}

// Somebody who compares must see that there was a change.
TEST_F(MetaStoreDirectoryTest, TheTimesGrowWithEachChangeWhateverTheClocksSay) {
  wire::Attr before = create(wire::kRootInode, "d", new_directory(), 1000);
  auto expect_grown = [&] {
    wire::Attr now = attr(before.id());
    EXPECT_GT(now.mtime_ns, before.mtime_ns);
    EXPECT_GT(now.ctime_ns, before.ctime_ns);
    before = now;
  };
  create(before.id(), "a", new_file(), 1000);
  expect_grown();
  create(before.id(), "b", new_file(), 7);
  expect_grown();
  ASSERT_TRUE(store_.apply(ChangeElsewhere{before.id(), 8, 0}).has_value());
  expect_grown();
  ASSERT_TRUE(store_.apply(ChangeElsewhere{before.id(), 2000, 0}).has_value());
  EXPECT_EQ(attr(before.id()).mtime_ns, 2000);
  ASSERT_TRUE(store_.apply(ChangeElsewhere{before.id(), 0, 0}).has_value());
  EXPECT_EQ(attr(before.id()).mtime_ns, 2000);
  EXPECT_EQ(errno_of(store_.apply(ChangeElsewhere{kRemoteDir, 1, 0})), ENOENT);
  wire::Attr file = create(kRemoteDir, "f", new_file());
  EXPECT_EQ(errno_of(store_.apply(ChangeElsewhere{file.id(), 1, 0})), ENOTDIR);
}

TEST_F(MetaStoreDirectoryTest, EachDirectoryInItIsALink) {
  wire::Attr directory = create(wire::kRootInode, "d", new_directory());
  EXPECT_EQ(directory.nlink, 2U);
  create(directory.id(), "a", new_directory());
  create(directory.id(), "f", new_file());
  EXPECT_EQ(attr(directory.id()).nlink, 3U);
  EXPECT_EQ(store_.directories_in(directory.id()), 1U);
  ASSERT_TRUE(store_.apply(ChangeElsewhere{directory.id(), 0, 5}).has_value());
  EXPECT_EQ(attr(directory.id()).nlink, 8U);
  Entry other{wire::InodeId::make(wire::ShardId{1}, 8), S_IFDIR};
  ASSERT_TRUE(store_.apply(PutEntry{directory.id(), "b", other, 1, kStart}).has_value());
  ASSERT_TRUE(store_.apply(PutEntry{directory.id(), "b", kSomeEntry, 1, kStart}).has_value());
  EXPECT_EQ(store_.directories_in(directory.id()), 1U);
  ASSERT_TRUE(store_.apply(RemoveEntry{directory.id(), "a", 1}).has_value());
  ASSERT_TRUE(store_.apply(ChangeElsewhere{directory.id(), 0, 0}).has_value());
  EXPECT_EQ(attr(directory.id()).nlink, 2U);
  EXPECT_EQ(gone(store_.apply(Unlink{directory.id(), 9})), true);
  EXPECT_EQ(attr(directory.id()).nlink, 0U);
}

}  // namespace
}  // namespace benchfs::meta
