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
  void open(wire::InodeId id, std::uint64_t client, std::uint32_t flags) {
    auto attr = store_.open(id, client, flags);
    ASSERT_TRUE(attr.has_value()) << attr.error().message();
    EXPECT_EQ(attr->id(), id);
  }
  // Whether the inode was freed.
  bool close(wire::InodeId id, std::uint64_t client, std::uint32_t flags) {
    auto closed = store_.close(id, client, flags);
    EXPECT_TRUE(closed.has_value());
    EXPECT_TRUE(!closed || closed->attr.id() == id);
    return closed && closed->gone;
  }

  wire::InodeId a_ = create(wire::kRootInode, "a", new_file()).id();
  wire::InodeId b_ = create(wire::kRootInode, "b", new_file()).id();
};

TEST_F(MetaStoreOpenTest, OpenRefusesWhatCannotBeOpened) {
  wire::InodeId directory = create(wire::kRootInode, "d", new_directory()).id();
  wire::InodeId link = create(wire::kRootInode, "l", {.mode = S_IFLNK | 0777, .target = "a"}).id();
  EXPECT_EQ(errno_of(store_.open(wire::InodeId::make(kHere, 1000), kAlice, kRead)), ENOENT);
  EXPECT_EQ(errno_of(store_.open(directory, kAlice, kWrite)), EISDIR);
  EXPECT_EQ(errno_of(store_.open(link, kAlice, kRead)), ELOOP);
  EXPECT_EQ(errno_of(store_.open(directory, kAlice, kRead)), 0);
  EXPECT_EQ(store_.stats().open_count, 1U);
}

TEST_F(MetaStoreOpenTest, CloseNeedsAnOpenOfTheSameClientAndKind) {
  open(a_, kAlice, kWrite);
  EXPECT_EQ(errno_of(store_.close(a_, kBob, kWrite)), EBADF);
  EXPECT_EQ(errno_of(store_.close(b_, kAlice, kWrite)), EBADF);
  EXPECT_EQ(errno_of(store_.close(a_, kAlice, kRead)), EBADF);
  EXPECT_EQ(errno_of(store_.close(a_, kAlice, kAppend)), EBADF);
  EXPECT_FALSE(close(a_, kAlice, kWrite));
  EXPECT_EQ(errno_of(store_.close(a_, kAlice, kWrite)), EBADF);
  EXPECT_EQ(store_.stats().open_count, 0U);
}

TEST_F(MetaStoreOpenTest, WritersAreCountedOverAllClients) {
  EXPECT_FALSE(store_.has_writers(a_));
  open(a_, kAlice, kRead);
  EXPECT_FALSE(store_.has_writers(a_));
  open(a_, kAlice, kAppend);
  EXPECT_TRUE(store_.has_writers(a_));
  EXPECT_FALSE(store_.has_plain_writers(a_));
  open(a_, kBob, kWrite | kRead);
  open(a_, kBob, kWrite);
  EXPECT_TRUE(store_.has_plain_writers(a_));
  EXPECT_FALSE(store_.has_writers(b_));
  close(a_, kBob, kWrite);
  EXPECT_TRUE(store_.has_plain_writers(a_));
  close(a_, kBob, kWrite);
  EXPECT_FALSE(store_.has_plain_writers(a_));
  EXPECT_TRUE(store_.has_writers(a_));
  close(a_, kAlice, kAppend);
  EXPECT_FALSE(store_.has_writers(a_));
  EXPECT_EQ(store_.stats().open_count, 1U);
}

TEST_F(MetaStoreOpenTest, AnUnlinkedFileLivesUntilItsLastClose) {
  open(a_, kAlice, kRead);
  open(a_, kBob, kWrite);
  EXPECT_EQ(gone(store_.unlink(a_, 90)), false);
  EXPECT_EQ(gone(store_.unlink(a_, 91)), false);
  EXPECT_EQ(attr(a_).nlink, 0U);
  EXPECT_EQ(attr(a_).ctime_ns, 90);
  EXPECT_EQ(store_.stats().orphan_count, 1U);
  EXPECT_EQ(errno_of(store_.open(a_, kAlice, kRead)), ENOENT);
  EXPECT_TRUE(store_.settle(a_, 10, 95).has_value());
  EXPECT_FALSE(close(a_, kAlice, kRead));
  EXPECT_TRUE(close(a_, kBob, kWrite));
  EXPECT_EQ(errno_of(store_.attr(a_)), ENOENT);
  EXPECT_EQ(store_.stats().orphan_count, 0U);
  EXPECT_EQ(store_.stats().inode_count, 2U);
}

TEST_F(MetaStoreOpenTest, AnOpenDirectoryThatWasRemovedTakesNoEntries) {
  wire::InodeId directory = create(wire::kRootInode, "d", new_directory()).id();
  open(directory, kAlice, kRead);
  EXPECT_EQ(gone(store_.unlink(directory, 90)), false);
  EXPECT_EQ(errno_of(store_.create(directory, "x", new_file(), 1, kStart)), ESTALE);
  EXPECT_TRUE(close(directory, kAlice, kRead));
}

TEST_F(MetaStoreOpenTest, CloseAllClosesOneClientsFilesOnly) {
  wire::InodeId c = create(wire::kRootInode, "c", new_file()).id();
  wire::InodeId d = create(wire::kRootInode, "d", new_file()).id();
  open(a_, kAlice, kWrite);
  open(a_, kAlice, kWrite);
  open(a_, kBob, kWrite);
  open(b_, kAlice, kRead);
  open(c, kAlice, kAppend);  // becomes an orphan that only she has open
  open(d, kAlice, kWrite);   // becomes an orphan that Bob has open too
  open(d, kBob, kRead);
  ASSERT_EQ(gone(store_.unlink(c, 90)), false);
  ASSERT_EQ(gone(store_.unlink(d, 90)), false);

  MetaStore::Abandoned abandoned = store_.close_all(kAlice);
  EXPECT_EQ(abandoned.written, (std::vector<wire::InodeId>{a_, d}));
  ASSERT_EQ(abandoned.gone.size(), 1U);
  EXPECT_EQ(abandoned.gone[0].id(), c);
  EXPECT_EQ(store_.stats().open_count, 2U);
  EXPECT_EQ(store_.stats().orphan_count, 1U);
  EXPECT_TRUE(store_.has_writers(a_));
  EXPECT_EQ(errno_of(store_.close(a_, kAlice, kWrite)), EBADF);
  EXPECT_FALSE(close(a_, kBob, kWrite));
  EXPECT_TRUE(close(d, kBob, kRead));
}

TEST_F(MetaStoreOpenTest, CloseAllOfAnUnknownClientDoesNothing) {
  open(a_, kAlice, kWrite);
  MetaStore::Abandoned abandoned = store_.close_all(kBob);
  EXPECT_TRUE(abandoned.written.empty());
  EXPECT_TRUE(abandoned.gone.empty());
  EXPECT_EQ(store_.stats().open_count, 1U);
}

TEST_F(MetaStoreOpenTest, OpensBeyondTheLimitAreENFILE) {
  for (int i = 0; i < 10; ++i) {
    open(a_, kAlice, kRead);
  }
  EXPECT_EQ(errno_of(store_.open(b_, kBob, kRead)), ENFILE);
  close(a_, kAlice, kRead);
  EXPECT_EQ(errno_of(store_.open(b_, kBob, kRead)), 0);
}

}  // namespace
}  // namespace benchfs::meta
