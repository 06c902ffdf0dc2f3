#include <cerrno>

#include "meta/test_support.h"

namespace benchfs::meta {
namespace {

constexpr std::uint64_t kAlice = 0xA11CE;
constexpr std::uint64_t kBob = 0xB0B;
constexpr std::uint32_t kRead = wire::kOpenRead;
constexpr std::uint32_t kWrite = wire::kOpenWrite;
constexpr std::uint32_t kAppend = wire::kOpenWrite | wire::kOpenAppend;

class MetaStoreOpenTest : public MetaStoreTest {
 protected:
  void open(wire::InodeId id, std::uint64_t client, std::uint64_t number, std::uint32_t flags) {
    auto attr = store_.apply(OpenInode{id, {client, number}, flags});
    ASSERT_TRUE(attr.has_value()) << attr.error().message();
    EXPECT_EQ(attr->id(), id);
  }
  bool close(std::uint64_t client, std::uint64_t number) {
    return store_.apply(Close{{client, number}}).has_value();
  }

  wire::InodeId a_ = create(wire::kRootInode, "a", new_file()).id();
  wire::InodeId b_ = create(wire::kRootInode, "b", new_file()).id();
};

TEST_F(MetaStoreOpenTest, OpenRefusesWhatCannotBeOpened) {
  wire::InodeId directory = create(wire::kRootInode, "d", new_directory()).id();
  wire::InodeId link = create(wire::kRootInode, "l", {.mode = S_IFLNK | 0777, .target = "a"}).id();
  EXPECT_EQ(errno_of(store_.apply(OpenInode{wire::InodeId::make(kHere, 1000), {kAlice, 1}, kRead})),
            ENOENT);
  EXPECT_EQ(errno_of(store_.apply(OpenInode{directory, {kAlice, 1}, kWrite})), EISDIR);
  EXPECT_EQ(errno_of(store_.apply(OpenInode{link, {kAlice, 1}, kRead})), ELOOP);
  EXPECT_EQ(errno_of(store_.apply(OpenInode{directory, {kAlice, 1}, kRead})), 0);
  EXPECT_EQ(store_.stats().open_count, 1U);
}

TEST_F(MetaStoreOpenTest, AnOpenWithAKnownNumberIsTheSameOpen) {
  open(a_, kAlice, 1, kWrite);
  open(a_, kAlice, 1, kWrite);
  open(a_, kBob, 1, kWrite);  // a number of his own
  EXPECT_EQ(store_.stats().open_count, 2U);
  EXPECT_EQ(errno_of(store_.apply(OpenInode{b_, {kAlice, 1}, kRead})), EINVAL);
  ASSERT_EQ(gone(store_.apply(Unlink{a_, 90})), false);
  open(a_, kAlice, 1, kWrite);  // the same open, though the name is gone
  EXPECT_EQ(errno_of(store_.apply(OpenInode{a_, {kAlice, 2}, kWrite})), ENOENT);
}

TEST_F(MetaStoreOpenTest, CloseCountsOnce) {
  open(a_, kAlice, 1, kWrite);
  open(a_, kAlice, 2, kWrite);
  EXPECT_FALSE(close(kBob, 1));
  EXPECT_FALSE(close(kAlice, 3));
  EXPECT_TRUE(close(kAlice, 1));
  EXPECT_FALSE(close(kAlice, 1));
  EXPECT_TRUE(store_.has_writers(a_));
  EXPECT_TRUE(close(kAlice, 2));
  EXPECT_FALSE(store_.has_writers(a_));
  EXPECT_EQ(store_.stats().open_count, 0U);
}

TEST_F(MetaStoreOpenTest, CreateAndOpenAreOneChange) {
  auto made =
      store_.apply(CreateOpen{{wire::kRootInode, "c", new_file(), 5, kStart}, {kAlice, 7}, kWrite});
  ASSERT_TRUE(made.has_value());
  EXPECT_TRUE(store_.has_writers(made->id()));
  for (std::uint64_t number = 100; store_.stats().open_count < 10; ++number) {
    open(a_, kBob, number, kRead);
  }
  auto refused =
      store_.apply(CreateOpen{{wire::kRootInode, "e", new_file(), 5, kStart}, {kAlice, 8}, kWrite});
  EXPECT_EQ(errno_of(refused), ENFILE);
  EXPECT_EQ(errno_of(store_.find(wire::kRootInode, "e")), ENOENT);
}

TEST_F(MetaStoreOpenTest, SpecialFilesAreNotOpenedHere) {
  for (std::uint32_t type :
       std::initializer_list<std::uint32_t>{S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK}) {
    wire::Attr made = create(kRemoteDir,
                             "special" + std::to_string(type),
                             {.mode = type | 0640U, .uid = 1, .gid = 2, .device = 0x0103});
    EXPECT_TRUE(made.is_special());
    EXPECT_EQ(made.device(), type == S_IFCHR || type == S_IFBLK ? 0x0103U : 0U);
    EXPECT_EQ(errno_of(store_.apply(OpenInode{made.id(), {1, 77}, wire::kOpenRead})), ENXIO);
  }
}

TEST_F(MetaStoreOpenTest, AnUnlinkedFileLivesUntilItsLastClose) {
  open(a_, kAlice, 1, kRead);
  open(a_, kBob, 1, kWrite);
  EXPECT_EQ(gone(store_.apply(Unlink{a_, 90})), false);
  EXPECT_EQ(gone(store_.apply(Unlink{a_, 91})), false);
  EXPECT_EQ(attr(a_).nlink, 0U);
  EXPECT_EQ(attr(a_).ctime_ns, 90);
  EXPECT_EQ(store_.stats().orphan_count, 1U);
  EXPECT_TRUE(store_.apply(Settle{a_, 10, 95}).has_value());
  EXPECT_TRUE(close(kAlice, 1));
  EXPECT_FALSE(store_.is_unused(a_));
  EXPECT_TRUE(close(kBob, 1));
  EXPECT_TRUE(store_.is_unused(a_));
  store_.apply(Erase{a_});
  EXPECT_EQ(errno_of(store_.attr(a_)), ENOENT);
  EXPECT_EQ(store_.stats().orphan_count, 0U);
  EXPECT_EQ(store_.stats().inode_count, 2U);
}

TEST_F(MetaStoreOpenTest, AFileEndsWithItsNameIfThatIsTheLastAndNobodyHasItOpen) {
  EXPECT_TRUE(store_.ends_with_its_name(a_));
  open(a_, kAlice, 1, kRead);
  EXPECT_FALSE(store_.ends_with_its_name(a_));
  EXPECT_TRUE(close(kAlice, 1));
  EXPECT_TRUE(store_.ends_with_its_name(a_));
  EXPECT_TRUE(store_.apply(Link{a_, 90}));
  EXPECT_FALSE(store_.ends_with_its_name(a_));
}

TEST_F(MetaStoreOpenTest, AnOpenDirectoryThatWasRemovedTakesNoEntries) {
  wire::InodeId directory = create(wire::kRootInode, "d", new_directory()).id();
  open(directory, kAlice, 1, kRead);
  EXPECT_EQ(gone(store_.apply(Unlink{directory, 90})), false);
  EXPECT_EQ(attr(directory).nlink, 0U);
  EXPECT_EQ(errno_of(store_.apply(Create{directory, "x", new_file(), 1, kStart})), ESTALE);
  EXPECT_TRUE(close(kAlice, 1));
  EXPECT_TRUE(store_.is_unused(directory));
}

TEST_F(MetaStoreOpenTest, CloseAllClosesOneClientsOpensOnly) {
  open(b_, kAlice, 1, kAppend);
  open(a_, kAlice, 2, kWrite);
  open(a_, kBob, 1, kWrite);
  std::vector<Open> closed = store_.apply(CloseAll{kAlice});
  ASSERT_EQ(closed.size(), 2U);
  EXPECT_EQ(closed[0].inode, a_);
  EXPECT_EQ(closed[1].inode, b_);
  EXPECT_TRUE(store_.has_writers(a_));
  EXPECT_FALSE(store_.has_writers(b_));
  EXPECT_TRUE(store_.apply(CloseAll{kAlice}).empty());
  EXPECT_EQ(store_.stats().open_count, 1U);
}

TEST_F(MetaStoreOpenTest, ReconcilingDropsWhatIsNotNamedWithinTheRange) {
  for (std::uint64_t number = 1; number <= 6; ++number) {
    open(a_, kAlice, number, kRead);
  }
  open(b_, kBob, 3, kRead);
  std::uint64_t kept[] = {2, 4, 40};
  EXPECT_EQ(store_.apply(KeepOnly{kAlice, 2, 6, kept}).size(), 2U);
  for (std::uint64_t number : {1U, 2U, 4U, 6U}) {
    EXPECT_TRUE(close(kAlice, number)) << number;
  }
  EXPECT_TRUE(close(kBob, 3));
  EXPECT_EQ(store_.stats().open_count, 0U);
}

// The range is walked where it is shorter than the list of opens, and the list where that is.
TEST_F(MetaStoreOpenTest, AStatementAboutAShortRangeAndOneAboutAllSayTheSame) {
  for (std::uint64_t begin : {std::uint64_t{3}, std::uint64_t{0}}) {
    std::uint64_t end = begin == 3 ? 6 : UINT64_MAX;
    for (std::uint64_t number = 3; number <= 5; ++number) {
      open(a_, kAlice, number, kRead);
    }
    open(a_, kAlice, 1, kRead);
    open(a_, kAlice, 6, kRead);
    std::uint64_t kept[] = {1, 4, 6};
    EXPECT_EQ(store_.apply(KeepOnly{kAlice, begin, end, kept}).size(), 2U);
    for (std::uint64_t number : kept) {
      EXPECT_TRUE(close(kAlice, number)) << number;
    }
    EXPECT_EQ(store_.stats().open_count, 0U);
  }
}

TEST_F(MetaStoreOpenTest, AStatementAboutAnEmptyOrBackwardRangeClosesNothing) {
  open(a_, kAlice, 5, kRead);
  EXPECT_TRUE(store_.apply(KeepOnly{kAlice, 5, 5, {}}).empty());
  EXPECT_TRUE(store_.apply(KeepOnly{kAlice, 9, 2, {}}).empty());
  EXPECT_TRUE(close(kAlice, 5));
}

TEST_F(MetaStoreOpenTest, OpensBeyondTheLimitAreENFILE) {
  for (std::uint64_t i = 0; i < 10; ++i) {
    open(a_, kAlice, i, kRead);
  }
  EXPECT_EQ(errno_of(store_.apply(OpenInode{b_, {kBob, 1}, kRead})), ENFILE);
  EXPECT_TRUE(close(kAlice, 3));
  EXPECT_EQ(errno_of(store_.apply(OpenInode{b_, {kBob, 1}, kRead})), 0);
}

// --- Files without a name ------------------------------------------------------------------------

TEST_F(MetaStoreOpenTest, AFileWithoutANameEndsWithItsLastOpen) {
  auto made = store_.apply(CreateUnnamed{wire::kRootInode, new_file(), {kAlice, 1}, kWrite, 7});
  ASSERT_TRUE(made.has_value()) << made.error().message();
  EXPECT_EQ(made->nlink, 0U);
  EXPECT_EQ(store_.stats().orphan_count, 1U);
  EXPECT_FALSE(store_.is_unused(made->id()));
  EXPECT_TRUE(store_.has_writers(made->id()));
  EXPECT_TRUE(close(kAlice, 1));
  EXPECT_TRUE(store_.is_unused(made->id()));
  store_.apply(Erase{made->id()});
  EXPECT_EQ(store_.stats().orphan_count, 0U);
}

TEST_F(MetaStoreOpenTest, AFileWithoutANameGetsOne) {
  wire::InodeId id =
      store_.apply(CreateUnnamed{wire::kRootInode, new_file(), {kAlice, 1}, kWrite, 7})->id();
  auto linked = store_.apply(Link{id, 8});
  ASSERT_TRUE(linked.has_value()) << linked.error().message();
  EXPECT_EQ(linked->nlink, 1U);
  EXPECT_EQ(store_.stats().orphan_count, 0U);
  // A name that was counted and never made leaves it as it was; one that is removed ends that.
  EXPECT_EQ(gone(store_.apply(Unlink{id, 9, true})), false);
  EXPECT_EQ(store_.stats().orphan_count, 1U);
  EXPECT_EQ(errno_of(store_.apply(Link{id, 10})), 0);
  EXPECT_EQ(gone(store_.apply(Unlink{id, 11})), false);
  EXPECT_EQ(errno_of(store_.apply(Link{id, 12})), ENOENT);
}

TEST_F(MetaStoreOpenTest, AnExclusiveFileWithoutANameGetsNone) {
  wire::InodeId id =
      store_
          .apply(CreateUnnamed{
              wire::kRootInode, new_file(), {kAlice, 1}, kWrite | wire::kOpenExclusive, 7})
          ->id();
  EXPECT_EQ(errno_of(store_.apply(Link{id, 8})), ENOENT);
}

TEST_F(MetaStoreOpenTest, AFileWithoutANameIsRefusedAsOthersAre) {
  auto make = [&](wire::InodeId parent, std::uint64_t number) {
    return errno_of(store_.apply(CreateUnnamed{parent, new_file(), {kAlice, number}, kWrite, 7}));
  };
  EXPECT_EQ(make(a_, 1), ENOTDIR);
  EXPECT_EQ(make(wire::InodeId::make(kHere, 1000), 1), ESTALE);
  EXPECT_EQ(make(wire::kRootInode, 1), 0);
  EXPECT_EQ(make(wire::kRootInode, 1), EINVAL);
  for (std::uint64_t number = 2; number <= 10; ++number) {
    EXPECT_EQ(make(wire::kRootInode, number), 0);
  }
  EXPECT_EQ(make(wire::kRootInode, 11), ENFILE);
}

TEST_F(MetaStoreOpenTest, AnUnlinkedFileIsOpenedAgainWhileSomebodyHasItOpen) {
  open(a_, kAlice, 1, kWrite);
  ASSERT_EQ(gone(store_.apply(Unlink{a_, 90})), false);
  open(a_, kBob, 1, kRead | wire::kOpenUnlinked);
  EXPECT_TRUE(close(kAlice, 1));
  EXPECT_FALSE(store_.is_unused(a_));
  EXPECT_TRUE(close(kBob, 1));
  EXPECT_TRUE(store_.is_unused(a_));
  EXPECT_EQ(errno_of(store_.apply(OpenInode{a_, {kBob, 2}, kRead | wire::kOpenUnlinked})), ENOENT);
}

}  // namespace
}  // namespace benchfs::meta
