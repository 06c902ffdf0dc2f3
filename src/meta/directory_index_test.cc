#include "meta/directory_index.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "base/random.h"
#include "meta/test_support.h"

namespace benchfs::meta {
namespace {

class DirectoryIndexTest : public testing::Test {
 protected:
  void insert(const std::string& name) {
    auto [at, inserted] = records_.emplace(name, EntryRecord::make(wire::kRootInode, name, {}));
    ASSERT_TRUE(inserted);
    index_.insert(*at->second);
  }
  void erase(const std::string& name) {
    index_.erase(*records_.at(name));
    records_.erase(name);
  }
  std::vector<std::string> names_after(std::string_view cursor,
                                       std::size_t limit = SIZE_MAX) const {
    std::vector<std::string> names;
    index_.visit_after(cursor, [&](const EntryRecord& record) {
      if (names.size() == limit) {
        return false;
      }
      names.emplace_back(record.name());
      return true;
    });
    return names;
  }
  // What names_after() must give.
  std::vector<std::string> expected_after(const std::string& cursor) const {
    std::vector<std::string> names;
    for (auto at = records_.upper_bound(cursor); at != records_.end(); ++at) {
      names.push_back(at->first);
    }
    return names;
  }

  std::map<std::string, EntryRecord::Ptr> records_;  // std::string compares bytes as unsigned
  DirectoryIndex index_;
};

TEST_F(DirectoryIndexTest, AnEmptyIndexListsNothing) {
  EXPECT_TRUE(index_.empty());
  EXPECT_TRUE(names_after("").empty());
  EXPECT_TRUE(names_after("x").empty());
}

TEST_F(DirectoryIndexTest, NamesComeInByteOrderWhateverTheirBytes) {
  for (const char* name : {"b", "a", "\xff", "\x01", "ab", "a\x80", "B", "a b", "\xc3\xa4"}) {
    insert(name);
  }
  EXPECT_EQ(names_after(""), expected_after(""));
  EXPECT_EQ(names_after("a"), expected_after("a"));
  EXPECT_EQ(names_after("a\x7f"), expected_after("a\x7f"));
  EXPECT_TRUE(names_after("\xff").empty());
}

TEST_F(DirectoryIndexTest, VisitingStopsWhenToldAndSaysSo) {
  insert("a");
  insert("b");
  EXPECT_FALSE(index_.visit_after("", [](const EntryRecord&) { return false; }));
  EXPECT_TRUE(index_.visit_after("", [](const EntryRecord&) { return true; }));
  EXPECT_EQ(names_after("", 1), std::vector<std::string>{"a"});
}

TEST_F(DirectoryIndexTest, AscendingAndDescendingInsertionsSplitLeavesCorrectly) {
  for (int i = 0; i < 2000; ++i) {
    insert(fmt::format("up{:05}", i));
    insert(fmt::format("down{:05}", 2000 - i));
  }
  EXPECT_EQ(names_after(""), expected_after(""));
  EXPECT_EQ(names_after("up01000"), expected_after("up01000"));
}

TEST_F(DirectoryIndexTest, NamesThatShareLongPrefixesSplitCorrectly) {
  const std::string prefix(240, 'x');
  for (int i = 0; i < 1500; ++i) {
    insert(prefix + fmt::format("{:05}", (i * 7919) % 1500));
  }
  insert(prefix);
  EXPECT_EQ(names_after(""), expected_after(""));
  EXPECT_EQ(names_after(prefix), expected_after(prefix));
}

TEST_F(DirectoryIndexTest, LeavesThatMergeBeforeTheyAreSortedAreListedInOrder) {
  // Two leaves, the upper one in disorder; then nearly everything goes and they merge.
  constexpr int kNames = static_cast<int>(DirectoryIndex::kMaxLeafEntries) + 1;
  for (int i = 0; i < kNames; ++i) {
    insert(fmt::format("{:04}", i));
  }
  insert("9998");
  insert("9999");
  insert("9997");
  for (int i = 10; i < kNames; ++i) {
    erase(fmt::format("{:04}", i));
  }
  EXPECT_EQ(names_after(""), expected_after(""));
  EXPECT_EQ(names_after("9997"), expected_after("9997"));
}

TEST_F(DirectoryIndexTest, RandomChangesKeepTheOrder) {
  Random random(test_seed());
  std::vector<std::string> names;
  for (int round = 0; round < 30'000; ++round) {
    // Grows for a while, then shrinks to nothing, so that leaves split and merge.
    bool grow = round < 15'000;
    if (names.empty() || random.below(10) < (grow ? 8U : 1U)) {
      std::string name = fmt::format("{:x}", random.below(1 << 24));
      if (!records_.contains(name)) {
        insert(name);
        names.push_back(name);
      }
    } else {
      std::size_t at = random.below(names.size());
      erase(names[at]);
      names[at] = names.back();
      names.pop_back();
    }
    if (round % 500 == 0) {
      std::string cursor = fmt::format("{:x}", random.below(1 << 24));
      ASSERT_EQ(names_after(cursor), expected_after(cursor)) << "round " << round;
      ASSERT_EQ(names_after(""), expected_after("")) << "round " << round;
    }
  }
  for (const std::string& name : names) {
    erase(name);
  }
  EXPECT_TRUE(index_.empty());
}

TEST_F(DirectoryIndexTest, AnIndexThatWasEmptiedFromTheFrontTakesEveryNameAgain) {
  for (int i = 0; i < 1000; ++i) {
    insert(fmt::format("n{:04}", i));
  }
  for (int i = 0; i < 999; ++i) {
    erase(fmt::format("n{:04}", i));
    ASSERT_EQ(names_after("", 1), std::vector<std::string>{fmt::format("n{:04}", i + 1)});
  }
  insert("a");
  EXPECT_EQ(names_after(""), expected_after(""));
}

}  // namespace
}  // namespace benchfs::meta
