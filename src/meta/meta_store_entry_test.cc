#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <set>

#include "base/random.h"
#include "meta/test_support.h"

namespace benchfs::meta {
namespace {

using MetaStoreEntryTest = MetaStoreTest;

TEST_F(MetaStoreEntryTest, ACreatedFileIsFoundWithItsAttributes) {
  NewInode file = new_file();
  file.layout = {1U << 20, 3, 4};
  wire::Attr made = create(wire::kRootInode, "a", file, 42);
  EXPECT_EQ(made.id(), wire::InodeId::make(kHere, 2));
  EXPECT_EQ(made.mode, S_IFREG | 0644U);
  EXPECT_EQ(made.uid, 10U);
  EXPECT_EQ(made.gid, 20U);
  EXPECT_EQ(made.nlink, 1U);
  EXPECT_EQ(made.size, 0U);
  EXPECT_EQ(made.parent, 0U);
  EXPECT_EQ(made.layout, file.layout);
  EXPECT_EQ(made.atime_ns, 42);
  EXPECT_EQ(made.mtime_ns, 42);
  EXPECT_EQ(made.ctime_ns, 42);
  auto found = store_.find(wire::kRootInode, "a");
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(*found, (Entry{made.id(), S_IFREG}));
  EXPECT_EQ(attr(made.id()).ctime_ns, 42);
}

TEST_F(MetaStoreEntryTest, DirectoriesKnowTheirParentAndHaveTwoLinks) {
  wire::Attr made = create(kRemoteDir, "d", new_directory());
  EXPECT_EQ(made.parent, kRemoteDir.value);
  EXPECT_EQ(made.nlink, 2U);
  EXPECT_EQ(store_.find(kRemoteDir, "d")->type, std::uint32_t{S_IFDIR});
}

TEST_F(MetaStoreEntryTest, InodeNumbersStartAtOneOnOtherShardsAndNeverRepeat) {
  MetaStore other(wire::ShardId{1}, kShards, {});
  auto first = other.apply(Create{wire::kRootInode, "a", new_file(), 1, kStart});
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(first->id(), wire::InodeId::make(wire::ShardId{1}, 1));
  ASSERT_TRUE(other.apply(RemoveEntry{wire::kRootInode, "a", 1}).has_value());
  ASSERT_EQ(gone(other.apply(Unlink{first->id(), 2})), true);
  other.apply(Erase{first->id()});
  auto second = other.apply(Create{wire::kRootInode, "a", new_file(), 1, kStart});
  ASSERT_TRUE(second.has_value());
  EXPECT_EQ(second->id(), wire::InodeId::make(wire::ShardId{1}, 2));
}

TEST_F(MetaStoreEntryTest, TheSameNameInTwoDirectoriesAreTwoEntries) {
  wire::Attr a = create(kRemoteDir, "x", new_file());
  wire::Attr b = create(kOtherRemoteDir, "x", new_file());
  EXPECT_NE(a.inode, b.inode);
  EXPECT_EQ(store_.find(kRemoteDir, "x")->inode, a.id());
  EXPECT_EQ(store_.find(kOtherRemoteDir, "x")->inode, b.id());
}

TEST_F(MetaStoreEntryTest, ExistingNamesAreNotCreatedAgain) {
  create(wire::kRootInode, "a", new_file());
  EXPECT_EQ(errno_of(store_.apply(Create{wire::kRootInode, "a", new_file(), 6, kStart})), EEXIST);
  EXPECT_EQ(store_.stats().inode_count, 2U);
}

TEST_F(MetaStoreEntryTest, MissingNamesAreENOENT) {
  EXPECT_EQ(errno_of(store_.find(wire::kRootInode, "a")), ENOENT);
  EXPECT_EQ(errno_of(store_.apply(RemoveEntry{wire::kRootInode, "a", 1})), ENOENT);
}

TEST_F(MetaStoreEntryTest, AParentThatIsAFileHereIsENOTDIR) {
  wire::Attr file = create(wire::kRootInode, "f", new_file());
  std::vector<std::byte> out;
  EXPECT_EQ(errno_of(store_.find(file.id(), "x")), ENOTDIR);
  EXPECT_EQ(errno_of(store_.apply(Create{file.id(), "x", new_file(), 1, kStart})), ENOTDIR);
  EXPECT_EQ(errno_of(store_.apply(PutEntry{file.id(), "x", {file.id(), S_IFREG}, 1, kStart})),
            ENOTDIR);
  EXPECT_EQ(errno_of(store_.list(file.id(), "", 4096, out)), ENOTDIR);
}

TEST_F(MetaStoreEntryTest, AParentThatCannotExistIsESTALE) {
  auto never_made = wire::InodeId::make(kHere, 1000);
  auto no_such_shard = wire::InodeId::make(wire::ShardId{kShards}, 1);
  for (wire::InodeId parent : {never_made, no_such_shard, wire::InodeId{0}}) {
    EXPECT_EQ(errno_of(store_.find(parent, "x")), ESTALE) << parent.value;
    EXPECT_EQ(errno_of(store_.apply(Create{parent, "x", new_file(), 1, kStart})), ESTALE)
        << parent.value;
  }
}

TEST_F(MetaStoreEntryTest, PutEntryInsertsAndReplaces) {
  const Entry remote{wire::InodeId::make(wire::ShardId{3}, 9), S_IFREG};
  const Entry directory{wire::InodeId::make(wire::ShardId{1}, 8), S_IFDIR};
  ASSERT_TRUE(store_.apply(PutEntry{kRemoteDir, "x", remote, 1, kStart}).has_value());
  EXPECT_EQ(*store_.find(kRemoteDir, "x"), remote);
  ASSERT_TRUE(store_.apply(PutEntry{kRemoteDir, "x", directory, 1, kStart}).has_value());
  EXPECT_EQ(*store_.find(kRemoteDir, "x"), directory);
  EXPECT_EQ(store_.stats().entry_count, 1U);
  EXPECT_EQ(store_.stats().inode_count, 1U);
}

TEST_F(MetaStoreEntryTest, RemovingAnEntryKeepsItsInode) {
  wire::Attr made = create(wire::kRootInode, "a", new_file());
  ASSERT_TRUE(store_.apply(RemoveEntry{wire::kRootInode, "a", 1}).has_value());
  EXPECT_EQ(errno_of(store_.find(wire::kRootInode, "a")), ENOENT);
  EXPECT_EQ(attr(made.id()).nlink, 1U);
}

TEST_F(MetaStoreEntryTest, NamesOfEveryLengthAndByteAreKeptApart) {
  std::vector<std::string> names;
  for (std::size_t length = 1; length <= wire::kMaxNameBytes; ++length) {
    names.push_back(std::string(length, 'n'));
  }
  for (int byte = 1; byte < 256; ++byte) {
    if (byte != '/' && byte != '.' && byte != 'n') {
      names.push_back(std::string(1, static_cast<char>(byte)));
    }
  }
  for (const std::string& name : names) {
    create(kRemoteDir, name, new_file());
  }
  std::sort(names.begin(), names.end());
  EXPECT_EQ(list_names(store_, kRemoteDir), names);
}

TEST_F(MetaStoreEntryTest, CreateBeyondTheLimitOfInodesIsENOSPCAndChangesNothing) {
  MetaStore store(kHere, 1, {.max_inodes = 3});
  store.apply(MakeRoot{0, 0, 1});
  for (const char* name : {"a", "b"}) {
    ASSERT_TRUE(store.apply(Create{wire::kRootInode, name, new_file(), 1, kStart}).has_value());
  }
  EXPECT_EQ(errno_of(store.apply(Create{wire::kRootInode, "c", new_file(), 1, kStart})), ENOSPC);
  EXPECT_EQ(errno_of(store.find(wire::kRootInode, "c")), ENOENT);
  EXPECT_EQ(store.stats().inode_count, 3U);
  wire::InodeId unlinked = store.find(wire::kRootInode, "a")->inode;
  ASSERT_TRUE(store.apply(Unlink{unlinked, 2}).has_value());
  store.apply(Erase{unlinked});
  EXPECT_TRUE(store.apply(Create{wire::kRootInode, "c", new_file(), 1, kStart}).has_value());
}

TEST_F(MetaStoreEntryTest, EntriesBeyondTheirLimitAreENOSPCAndReplacingStillWorks) {
  MetaStore store(kHere, 1, {.max_entries = 1});
  store.apply(MakeRoot{0, 0, 1});
  const Entry entry{wire::kRootInode, S_IFDIR};
  ASSERT_TRUE(store.apply(PutEntry{wire::kRootInode, "a", entry, 1, kStart}).has_value());
  EXPECT_TRUE(store.apply(PutEntry{wire::kRootInode, "a", entry, 1, kStart}).has_value());
  EXPECT_EQ(errno_of(store.apply(PutEntry{wire::kRootInode, "b", entry, 1, kStart})), ENOSPC);
  EXPECT_EQ(errno_of(store.apply(Create{wire::kRootInode, "b", new_file(), 1, kStart})), ENOSPC);
  EXPECT_EQ(store.stats().inode_count, 1U);
}

TEST_F(MetaStoreEntryTest, AListingHoldsInodeAndTypeOfEveryEntry) {
  wire::Attr directory = create(kRemoteDir, "d", new_directory());
  wire::Attr file = create(kRemoteDir, "f", new_file());
  std::vector<std::byte> out{std::byte{0xEE}};  // what is there already stays
  auto page = store_.list(kRemoteDir, "", 2 * (sizeof(wire::DirEntryHeader) + 1), out);
  ASSERT_TRUE(page.has_value());
  EXPECT_TRUE(page->at_end);
  EXPECT_EQ(page->entry_count, 2U);
  EXPECT_EQ(out.front(), std::byte{0xEE});
  out.erase(out.begin());
  std::vector<Listed> listed = parse_page(out);
  ASSERT_EQ(listed.size(), 2U);
  EXPECT_EQ(listed[0].name, "d");
  EXPECT_EQ(listed[0].entry, (Entry{directory.id(), S_IFDIR}));
  EXPECT_EQ(listed[1].name, "f");
  EXPECT_EQ(listed[1].entry, (Entry{file.id(), S_IFREG}));
}

TEST_F(MetaStoreEntryTest, ADirectoryWithoutEntriesHereListsNothing) {
  std::vector<std::byte> out;
  auto page = store_.list(kRemoteDir, "", 4096, out);
  ASSERT_TRUE(page.has_value());
  EXPECT_TRUE(page->at_end);
  EXPECT_EQ(page->entry_count, 0U);
  EXPECT_FALSE(store_.has_entries(kRemoteDir));
}

TEST_F(MetaStoreEntryTest, APageTooSmallForOneEntryIsEINVAL) {
  create(kRemoteDir, "abc", new_file());
  std::vector<std::byte> out;
  const std::size_t needed = sizeof(wire::DirEntryHeader) + 3;
  EXPECT_EQ(errno_of(store_.list(kRemoteDir, "", needed - 1, out)), EINVAL);
  EXPECT_EQ(errno_of(store_.list(kRemoteDir, "", needed, out)), 0);
}

TEST_F(MetaStoreEntryTest, PagesOfEverySizeGiveTheSameListing) {
  std::vector<std::string> names;
  for (int i = 0; i < 700; ++i) {
    names.push_back(fmt::format("name{:04}", (i * 389) % 700));
    create(wire::kRootInode, names.back(), new_file());
  }
  std::sort(names.begin(), names.end());
  for (std::size_t max_bytes : {24U, 25U, 48U, 500U, 4096U, 1U << 20}) {
    EXPECT_EQ(list_names(store_, wire::kRootInode, max_bytes), names) << max_bytes;
  }
}

// Odd names come and go between the pages; even ones must be listed exactly once.
TEST_F(MetaStoreEntryTest, EntriesThatExistThroughoutAreListedExactlyOnce) {
  constexpr int kNames = 2000;
  std::vector<std::string> stable;
  auto name_of = [](int i) { return fmt::format("{:05}", i); };
  for (int i = 0; i < kNames; i += 2) {
    stable.push_back(name_of(i));
    create(wire::kRootInode, stable.back(), new_file());
  }
  Random random(test_seed());
  auto churn = [&] {
    for (int i = 0; i < 40; ++i) {
      std::string name = name_of(static_cast<int>(random.below(kNames / 2)) * 2 + 1);
      if (auto found = store_.find(wire::kRootInode, name)) {
        ASSERT_TRUE(store_.apply(RemoveEntry{wire::kRootInode, name, 1}).has_value());
        ASSERT_TRUE(store_.apply(Unlink{found->inode, 9}).has_value());
        store_.apply(Erase{found->inode});
      } else {
        create(wire::kRootInode, name, new_file());
      }
    }
  };
  std::vector<std::string> seen = list_names(store_, wire::kRootInode, 400, churn);
  EXPECT_TRUE(std::is_sorted(seen.begin(), seen.end()));
  EXPECT_EQ(std::set<std::string>(seen.begin(), seen.end()).size(), seen.size());
  EXPECT_TRUE(std::includes(seen.begin(), seen.end(), stable.begin(), stable.end()));
}

TEST_F(MetaStoreEntryTest, ACursorThatWasRemovedIsStillAPlaceToGoOn) {
  for (const char* name : {"a", "b", "c"}) {
    create(kRemoteDir, name, new_file());
  }
  ASSERT_TRUE(store_.apply(RemoveEntry{kRemoteDir, "b", 1}).has_value());
  std::vector<std::byte> out;
  ASSERT_TRUE(store_.list(kRemoteDir, "b", 4096, out).has_value());
  std::vector<Listed> listed = parse_page(out);
  ASSERT_EQ(listed.size(), 1U);
  EXPECT_EQ(listed[0].name, "c");
}

TEST_F(MetaStoreEntryTest, ManyDirectoriesKeepTheirEntriesApart) {
  for (std::uint64_t d = 1; d <= 1000; ++d) {
    auto directory = wire::InodeId::make(wire::ShardId{1}, d);
    create(directory, fmt::format("one{}", d), new_file());
    create(directory, "two", new_file());
  }
  for (std::uint64_t d = 1; d <= 1000; ++d) {
    auto directory = wire::InodeId::make(wire::ShardId{1}, d);
    EXPECT_EQ(list_names(store_, directory),
              (std::vector<std::string>{fmt::format("one{}", d), "two"}));
    ASSERT_TRUE(store_.apply(RemoveEntry{directory, "two", 1}).has_value());
    EXPECT_TRUE(store_.has_entries(directory));
    ASSERT_TRUE(store_.apply(RemoveEntry{directory, fmt::format("one{}", d), 1}).has_value());
    EXPECT_FALSE(store_.has_entries(directory));
  }
  EXPECT_EQ(store_.stats().entry_count, 0U);
}

}  // namespace
}  // namespace benchfs::meta
