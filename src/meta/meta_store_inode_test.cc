#include <cerrno>
#include <string>

#include "meta/test_support.h"

namespace benchfs::meta {
namespace {

class MetaStoreInodeTest : public MetaStoreTest {
 protected:
  wire::Attr set(wire::InodeId id, const wire::SetAttrRequest& request, std::int64_t now_ns) {
    auto attr = store_.apply(SetAttr{id, request, now_ns});
    EXPECT_TRUE(attr.has_value());
    return attr.value_or(wire::Attr{});
  }
  // A request in which every field differs from what new_file() gives.
  static wire::SetAttrRequest request(std::uint32_t mask) {
    wire::SetAttrRequest request;
    request.size = 999;
    request.atime_ns = 111;
    request.mtime_ns = 222;
    request.mask = mask;
    request.mode = S_IFDIR | 04711;
    request.uid = 33;
    request.gid = 44;
    return request;
  }

  wire::InodeId file_ = create(wire::kRootInode, "file", new_file(), 5).id();
  wire::InodeId directory_ = create(wire::kRootInode, "directory", new_directory(), 5).id();
  wire::InodeId symlink_ =
      create(wire::kRootInode, "symlink", {.mode = S_IFLNK | 0777, .target = "../a"}, 5).id();
  wire::InodeId missing_ = wire::InodeId::make(kHere, 1000);
};

TEST_F(MetaStoreInodeTest, UnknownAndForeignInodesAreENOENT) {
  for (wire::InodeId id : {missing_, wire::InodeId{0}, wire::InodeId::make(wire::ShardId{1}, 2)}) {
    EXPECT_EQ(errno_of(store_.attr(id)), ENOENT);
    EXPECT_EQ(errno_of(store_.target(id)), ENOENT);
    EXPECT_EQ(errno_of(store_.apply(SetAttr{id, request(wire::kSetMode), 1})), ENOENT);
    EXPECT_EQ(errno_of(store_.apply(Truncate{id, 1, 1})), ENOENT);
    EXPECT_EQ(errno_of(store_.apply(Settle{id, 1, 1})), ENOENT);
    EXPECT_EQ(errno_of(store_.apply(Append{id, 1, 1})), ENOENT);
    EXPECT_EQ(errno_of(store_.apply(Unlink{id, 1})), ENOENT);
  }
}

TEST_F(MetaStoreInodeTest, ASymlinkKeepsItsTarget) {
  ASSERT_TRUE(store_.target(symlink_).has_value());
  EXPECT_EQ(*store_.target(symlink_), "../a");
  EXPECT_EQ(attr(symlink_).size, 4U);
  EXPECT_EQ(attr(symlink_).nlink, 1U);
  std::string longest(wire::kMaxPathBytes, 'p');
  wire::Attr made = create(wire::kRootInode, "long", {.mode = S_IFLNK | 0777, .target = longest});
  EXPECT_EQ(*store_.target(made.id()), longest);
}

TEST_F(MetaStoreInodeTest, OnlySymlinksHaveATarget) {
  EXPECT_EQ(errno_of(store_.target(file_)), EINVAL);
  EXPECT_EQ(errno_of(store_.target(directory_)), EINVAL);
}

TEST_F(MetaStoreInodeTest, ANewOwnerTakesTheSetIdBitsOfAFile) {
  auto mode_after = [&](wire::InodeId id, std::uint32_t mode, std::uint32_t mask) {
    wire::SetAttrRequest change;
    change.mask = wire::kSetMode;
    change.mode = mode;
    set(id, change, 50);
    change.mask = mask;
    change.uid = change.gid = 33;
    return set(id, change, 51).mode & 07777U;
  };
  EXPECT_EQ(mode_after(file_, 07777, wire::kSetUid), 01777U);
  EXPECT_EQ(mode_after(file_, 07777, wire::kSetGid), 01777U);
  EXPECT_EQ(mode_after(file_, 06767, wire::kSetUid), 02767U);  // locks, not a group to run as
  EXPECT_EQ(mode_after(file_, 06755, wire::kSetUid | wire::kSetMode), 06755U);
  EXPECT_EQ(mode_after(directory_, 06755, wire::kSetUid), 06755U);
}

TEST_F(MetaStoreInodeTest, SetAttrChangesExactlyWhatTheMaskNames) {
  EXPECT_EQ(set(file_, request(wire::kSetMode), 50).mode, S_IFREG | 04711U);
  EXPECT_EQ(set(file_, request(wire::kSetUid), 51).uid, 33U);
  wire::Attr now = attr(file_);
  EXPECT_EQ(now.gid, 20U);
  EXPECT_EQ(now.size, 0U);
  EXPECT_EQ(now.atime_ns, 5);
  EXPECT_EQ(now.mtime_ns, 5);
  EXPECT_EQ(now.ctime_ns, 51);
  EXPECT_EQ(set(file_, request(wire::kSetGid), 52).gid, 44U);
  EXPECT_EQ(set(file_, request(wire::kSetAtime), 53).atime_ns, 111);
  EXPECT_EQ(attr(file_).mtime_ns, 5);
  EXPECT_EQ(set(file_, request(wire::kSetMtime), 54).mtime_ns, 222);
  EXPECT_EQ(set(file_, request(wire::kSetAtimeNow), 55).atime_ns, 55);
  EXPECT_EQ(set(file_, request(wire::kSetMtimeNow), 56).mtime_ns, 56);
  EXPECT_EQ(attr(file_).ctime_ns, 56);
}

TEST_F(MetaStoreInodeTest, SetAttrNeverChangesTheSize) {
  wire::Attr after = set(file_, request(wire::kSetSize), 50);
  EXPECT_EQ(after.size, 0U);
  EXPECT_EQ(after.ctime_ns, 5);
}

TEST_F(MetaStoreInodeTest, SetSizeCountsTruncations) {
  ASSERT_TRUE(store_.apply(Truncate{file_, 100, 60}).has_value());
  wire::Attr after = attr(file_);
  EXPECT_EQ(after.size, 100U);
  EXPECT_EQ(after.truncation, 1U);
  EXPECT_EQ(after.mtime_ns, 60);
  EXPECT_EQ(after.ctime_ns, 60);
  ASSERT_TRUE(store_.apply(Truncate{file_, 10, 61}).has_value());
  EXPECT_EQ(attr(file_).size, 10U);
  EXPECT_EQ(attr(file_).truncation, 2U);
}

TEST_F(MetaStoreInodeTest, ExtendingIsNoTruncation) {
  ASSERT_TRUE(store_.apply(Extend{file_, 100, 60}).has_value());
  EXPECT_EQ(attr(file_).size, 100U);
  EXPECT_EQ(attr(file_).truncation, 0U);
  EXPECT_EQ(attr(file_).mtime_ns, 60);
  ASSERT_TRUE(store_.apply(Extend{file_, 10, 61}).has_value());
  EXPECT_EQ(attr(file_).size, 100U);
}

TEST_F(MetaStoreInodeTest, TheVersionOfContentsGrowsWithEachChangeOfThemAndNoOther) {
  std::uint64_t version = attr(file_).content_version();
  ASSERT_TRUE(store_.apply(BeginWrites{file_}).has_value());
  EXPECT_GT(attr(file_).content_version(), version);
  version = attr(file_).content_version();
  ASSERT_TRUE(store_.apply(Extend{file_, 100, 60}).has_value());
  EXPECT_GT(attr(file_).content_version(), version);
  version = attr(file_).content_version();
  ASSERT_TRUE(store_.apply(Truncate{file_, 100, 61}).has_value());
  EXPECT_GT(attr(file_).content_version(), version);
  version = attr(file_).content_version();
  ASSERT_TRUE(store_.apply(Append{file_, 1, 62}).has_value());
  EXPECT_GT(attr(file_).content_version(), version);
  version = attr(file_).content_version();
  ASSERT_TRUE(store_.apply(Settle{file_, 200, 70}).has_value());
  ASSERT_TRUE(store_.apply(SetAttr{file_, request(wire::kSetMode), 80}).has_value());
  EXPECT_EQ(attr(file_).content_version(), version);
  EXPECT_EQ(errno_of(store_.apply(BeginWrites{directory_})), EISDIR);
  EXPECT_EQ(errno_of(store_.apply(BeginWrites{missing_})), ENOENT);
  EXPECT_EQ(attr(directory_).content_version(), 0U);
}

TEST_F(MetaStoreInodeTest, OnlyRegularFilesHaveASizeToChange) {
  EXPECT_EQ(errno_of(store_.apply(Truncate{directory_, 1, 1})), EISDIR);
  EXPECT_EQ(errno_of(store_.apply(Truncate{symlink_, 1, 1})), EINVAL);
  EXPECT_EQ(errno_of(store_.apply(Settle{directory_, 1, 1})), EISDIR);
  EXPECT_EQ(errno_of(store_.apply(Append{symlink_, 1, 1})), EINVAL);
  EXPECT_EQ(attr(symlink_).size, 4U);
}

TEST_F(MetaStoreInodeTest, SizesBeyondTheLargestFileAreEFBIG) {
  EXPECT_EQ(errno_of(store_.apply(Truncate{file_, wire::kMaxFileBytes + 1, 1})), EFBIG);
  EXPECT_EQ(errno_of(store_.apply(Settle{file_, wire::kMaxFileBytes + 1, 1})), EFBIG);
  ASSERT_TRUE(store_.apply(Truncate{file_, wire::kMaxFileBytes - 1, 1}).has_value());
  EXPECT_EQ(errno_of(store_.apply(Append{file_, 2, 1})), EFBIG);
  EXPECT_EQ(errno_of(store_.apply(Append{file_, UINT64_MAX, 1})), EFBIG);
  EXPECT_EQ(errno_of(store_.apply(Append{file_, 1, 1})), 0);
}

TEST_F(MetaStoreInodeTest, SettlingOnlyGrowsSizeAndTimes) {
  ASSERT_TRUE(store_.apply(Settle{file_, 100, 70}).has_value());
  EXPECT_EQ(attr(file_).size, 100U);
  EXPECT_EQ(attr(file_).mtime_ns, 70);
  EXPECT_EQ(attr(file_).ctime_ns, 70);
  ASSERT_TRUE(store_.apply(Settle{file_, 50, 60}).has_value());
  ASSERT_TRUE(store_.apply(Settle{file_, 0, 0}).has_value());
  EXPECT_EQ(attr(file_).size, 100U);
  EXPECT_EQ(attr(file_).mtime_ns, 70);
  EXPECT_EQ(attr(file_).truncation, 0U);
}

TEST_F(MetaStoreInodeTest, AWriteReportedLateDoesNotUndoUtimens) {
  // Write at 60, utimens at 70 (to 222), close reports the write at 80.
  set(file_, request(wire::kSetMtime), 70);
  ASSERT_TRUE(store_.apply(Settle{file_, 100, 60}).has_value());
  EXPECT_EQ(attr(file_).mtime_ns, 222);
  EXPECT_EQ(attr(file_).size, 100U);
  // A write after the utimens counts, though 222 is later still.
  ASSERT_TRUE(store_.apply(Settle{file_, 100, 80}).has_value());
  EXPECT_EQ(attr(file_).mtime_ns, 80);
}

TEST_F(MetaStoreInodeTest, AppendsReserveRangesThatDoNotOverlap) {
  ASSERT_TRUE(store_.apply(Truncate{file_, 7, 60}).has_value());
  auto first = store_.apply(Append{file_, 10, 61});
  auto second = store_.apply(Append{file_, 5, 62});
  auto nothing = store_.apply(Append{file_, 0, 63});
  ASSERT_TRUE(first && second && nothing);
  EXPECT_EQ(first->offset, 7U);
  EXPECT_EQ(second->offset, 17U);
  EXPECT_EQ(nothing->offset, 22U);
  EXPECT_EQ(second->truncation, 1U);
  EXPECT_EQ(attr(file_).size, 22U);
  EXPECT_EQ(attr(file_).mtime_ns, 62);
}

TEST_F(MetaStoreInodeTest, AnUnlinkedInodeThatNobodyHasOpenIsUnused) {
  for (wire::InodeId id : {file_, directory_, symlink_}) {
    EXPECT_EQ(gone(store_.apply(Unlink{id, 9})), true);
    EXPECT_EQ(gone(store_.apply(Unlink{id, 9})), true);
    EXPECT_TRUE(store_.is_unused(id));
    store_.apply(Erase{id});
    EXPECT_EQ(errno_of(store_.attr(id)), ENOENT);
    EXPECT_EQ(errno_of(store_.apply(Unlink{id, 9})), ENOENT);
  }
  EXPECT_EQ(store_.stats().inode_count, 1U);
}

TEST_F(MetaStoreInodeTest, AnInodeIsUnusedWithItsLastName) {
  for (wire::InodeId id : {file_, symlink_}) {
    auto linked = store_.apply(Link{id, 70});
    ASSERT_TRUE(linked.has_value());
    EXPECT_EQ(linked->nlink, 2U);
    EXPECT_EQ(attr(id).ctime_ns, 70);
    EXPECT_EQ(gone(store_.apply(Unlink{id, 71})), false);
    EXPECT_EQ(attr(id).nlink, 1U);
    EXPECT_EQ(attr(id).ctime_ns, 71);
    EXPECT_EQ(store_.stats().orphan_count, 0U);
    EXPECT_EQ(gone(store_.apply(Unlink{id, 72})), true);
    EXPECT_EQ(errno_of(store_.apply(Link{id, 73})), ENOENT);
    store_.apply(Erase{id});
    EXPECT_EQ(errno_of(store_.apply(Link{id, 74})), ENOENT);
  }
}

TEST_F(MetaStoreInodeTest, DirectoriesHaveOneName) {
  EXPECT_EQ(errno_of(store_.apply(Link{directory_, 9})), EPERM);
  EXPECT_EQ(attr(directory_).nlink, 2U);
}

TEST(MetaStoreLinks, AreBounded) {
  MetaStore store(kHere, kShards, {.max_links = 2});
  auto file = store.apply(Create{kRemoteDir, "f", new_file(), 5, kStart});
  ASSERT_TRUE(file.has_value());
  EXPECT_EQ(errno_of(store.apply(Link{file->id(), 9})), 0);
  EXPECT_EQ(errno_of(store.apply(Link{file->id(), 9})), EMLINK);
}

TEST_F(MetaStoreInodeTest, InodesAroundAnErasedOneStay) {
  std::vector<wire::InodeId> ids;
  for (int i = 0; i < 300; ++i) {
    ids.push_back(create(kRemoteDir, "n" + std::to_string(i), new_file()).id());
  }
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (i % 100 != 50) {
      ASSERT_EQ(gone(store_.apply(Unlink{ids[i], 9})), true);
      store_.apply(Erase{ids[i]});
    }
  }
  for (std::size_t i = 0; i < ids.size(); ++i) {
    EXPECT_EQ(store_.attr(ids[i]).has_value(), i % 100 == 50) << i;
  }
}

TEST_F(MetaStoreInodeTest, ErasedInodesAreNotFoundWhereLaterOnesAre) {
  auto make_many = [&](const std::string& prefix) {
    std::vector<wire::InodeId> ids;
    for (int i = 0; i < 300; ++i) {
      ids.push_back(create(kRemoteDir, prefix + std::to_string(i), new_file()).id());
    }
    return ids;
  };
  std::vector<wire::InodeId> early = make_many("early");
  for (wire::InodeId id : early) {
    ASSERT_EQ(gone(store_.apply(Unlink{id, 9})), true);
    store_.apply(Erase{id});
  }
  std::vector<wire::InodeId> late = make_many("late");
  for (std::size_t i = 0; i < early.size(); ++i) {
    EXPECT_EQ(errno_of(store_.attr(early[i])), ENOENT) << i;
    EXPECT_EQ(attr(late[i]).id(), late[i]);
  }
}

}  // namespace
}  // namespace benchfs::meta
