#include "client/nodes/node_cache.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace benchfs::client {
namespace {

constexpr wire::InodeId kParent{5};
constexpr wire::InodeId kFile{6};
constexpr wire::InodeId kOther{7};
constexpr std::uint64_t kFirst = 100;  // inode of many
constexpr wire::ShardId kShard{0};
constexpr Nanos kGranted = std::chrono::hours(1);

struct Told final : NodeCache::Listener {
  void on_name_revoked(wire::InodeId, std::string_view name, const rpc::Revocation& r) override {
    what.push_back("name " + std::string(name) + " " + std::to_string(r.sequence));
  }
  void on_attr_revoked(wire::InodeId inode, const rpc::Revocation& r) override {
    what.push_back("attr " + std::to_string(inode.value) + " " + std::to_string(r.sequence));
  }
  void on_name_lost(wire::InodeId, std::string_view name) override {
    what.push_back("lost name " + std::string(name));
  }
  bool forget_attr_now(wire::InodeId) override { return true; }
  void on_attr_lost(wire::InodeId inode) override {
    what.push_back("lost attr " + std::to_string(inode.value));
  }
  std::vector<std::string> what;
};

class NodeCacheTest : public ::testing::Test {
 protected:
  NodeCacheTest() { cache_.enable(&told_); }
  void put(const NodeCache::Question& question) {
    cache_.put_name(kParent, "f", kFile, kShard, question, kGranted);
    cache_.put_attr(wire::Attr{.inode = kFile.value}, {}, question, kGranted);
    cache_.put_attr(wire::Attr{.inode = kParent.value}, {}, question, kGranted);
  }
  // As many names and attributes as the cache keeps.
  void fill(const NodeCache::Question& question) {
    for (std::uint64_t i = 0; i < NodeCache::kMaxKept; ++i) {
      cache_.put_name(kParent, std::to_string(i), kFile, kShard, question, kGranted);
      cache_.put_attr(wire::Attr{.inode = kFirst + i}, {}, question, kGranted);
    }
  }
  [[nodiscard]] bool knows_name() const { return cache_.find_name(kParent, "f") != nullptr; }
  [[nodiscard]] bool knows_attr() const { return cache_.find_attr(kFile) != nullptr; }

  Told told_;
  NodeCache cache_;
};

TEST_F(NodeCacheTest, WhatIsLeasedIsKnownUntilItIsRevoked) {
  put(cache_.ask());
  EXPECT_TRUE(knows_name());
  EXPECT_TRUE(knows_attr());
  EXPECT_FALSE(cache_.on_name_revoked(kParent, "f", {.sequence = 3, .session_id = 1}));
  EXPECT_FALSE(knows_name());
  EXPECT_TRUE(knows_attr());
  EXPECT_FALSE(cache_.on_attr_revoked(kFile, {.sequence = 4, .session_id = 1}));
  EXPECT_FALSE(knows_attr());
  EXPECT_EQ(told_.what, (std::vector<std::string>{"name f 3", "attr 6 4"}));
}

TEST_F(NodeCacheTest, ALeaseIsCountedFromTheQuestionAndEndsEarly) {
  NodeCache::Question question = cache_.ask();
  question.asked_at -= NodeCache::usable(kGranted);
  put(question);
  EXPECT_FALSE(knows_name());
  EXPECT_FALSE(knows_attr());
}

TEST_F(NodeCacheTest, AnAnswerThatARevocationMayHaveOvertakenIsNotKept) {
  std::vector<std::function<void()>> events = {
      [this] { cache_.on_name_revoked(kParent, "other", {}); },
      [this] { cache_.on_attr_revoked(kOther, {}); },
      [this] { cache_.on_connection_lost(wire::ShardId{1}); },
      [this] { NodeCache::Change change(cache_, kOther, "f"); },
  };
  for (const auto& happens : events) {
    NodeCache::Question question = cache_.ask();
    happens();
    put(question);
    EXPECT_FALSE(knows_name());
    EXPECT_FALSE(knows_attr());
  }
}

// Its request may have been served before, or after, what was asked for beside it.
TEST_F(NodeCacheTest, AnAnswerOfBesideAChangeOfThisClientIsNotKept) {
  NodeCache::Question before = cache_.ask();
  NodeCache::Change change(cache_, kOther, "f");
  put(before);
  EXPECT_FALSE(knows_name());
  std::optional<NodeCache::Change> other;
  other.emplace(cache_, kOther, "g");
  NodeCache::Question beside = cache_.ask();
  other.reset();
  put(beside);
  EXPECT_FALSE(knows_name());
}

TEST_F(NodeCacheTest, ALaterAnswerTakesThePlaceOfAnEarlierOne) {
  NodeCache::Question early = cache_.ask();
  early.asked_at -= NodeCache::usable(kGranted);
  put(early);
  EXPECT_FALSE(knows_name());
  cache_.put_name(kParent, "f", kOther, kShard, cache_.ask(), kGranted);
  cache_.put_attr(wire::Attr{.inode = kFile.value, .size = 7}, {}, cache_.ask(), kGranted);
  ASSERT_TRUE(knows_name());
  EXPECT_EQ(cache_.find_name(kParent, "f")->inode, kOther);
  ASSERT_TRUE(knows_attr());
  EXPECT_EQ(cache_.find_attr(kFile)->attr.size, 7U);
}

TEST_F(NodeCacheTest, AChangeOfThisClientForgetsTheNameTheInodeAndTheDirectory) {
  put(cache_.ask());
  std::optional<NodeCache::Change> change;
  change.emplace(cache_, kParent, "f");
  EXPECT_FALSE(knows_name());
  EXPECT_FALSE(knows_attr());
  put(cache_.ask());
  EXPECT_EQ(cache_.find_attr(kParent), nullptr);
  EXPECT_FALSE(knows_name());
  cache_.put_name(kParent, "g", kOther, kShard, cache_.ask(), kGranted);
  EXPECT_NE(cache_.find_name(kParent, "g"), nullptr);
  change.reset();
  EXPECT_FALSE(knows_name());
  put(cache_.ask());
  EXPECT_NE(cache_.find_attr(kParent), nullptr);
}

TEST_F(NodeCacheTest, TheAnswerOfAChangeIsKeptUnlessItWasTakenBackBeforeItCame) {
  std::optional<NodeCache::Change> made;
  made.emplace(cache_, kParent, "f");
  cache_.on_attr_revoked(kParent, {});
  cache_.on_name_revoked(kParent, "other", {});
  put(made->end(kFile));
  EXPECT_TRUE(knows_name());
  EXPECT_TRUE(knows_attr());
  std::vector<std::function<void()>> events = {
      [this] { cache_.on_name_revoked(kParent, "f", {}); },
      [this] { cache_.on_attr_revoked(kFile, {}); },
      [this] { cache_.on_connection_lost(wire::ShardId{1}); },
  };
  for (const auto& happens : events) {
    made.emplace(cache_, kParent, "f");
    EXPECT_FALSE(knows_name());
    happens();
    put(made->end(kFile));
    EXPECT_FALSE(knows_name());
    EXPECT_FALSE(knows_attr());
  }
}

TEST_F(NodeCacheTest, OfADirectoryNothingIsKeptUntilTheLastChangeInItIsAnswered) {
  std::optional<NodeCache::Change> first;
  std::optional<NodeCache::Change> second;
  first.emplace(cache_, kParent, "f");
  second.emplace(cache_, kParent, "g");
  first.reset();
  put(cache_.ask());
  EXPECT_EQ(cache_.find_attr(kParent), nullptr);
  second.reset();
  put(cache_.ask());
  EXPECT_NE(cache_.find_attr(kParent), nullptr);
}

// The lease of a directory's attributes outlives a change by this client that is told the new
// times.
class NodeCacheOfADirectoryTest : public NodeCacheTest {
 protected:
  static constexpr std::int64_t kBefore = 100;
  static constexpr std::int64_t kAfter = 200;
  void put_directory(const NodeCache::Question& question) {
    wire::Attr attr{.inode = kParent.value, .mtime_ns = kBefore, .ctime_ns = kBefore, .mode = 0755};
    cache_.put_attr(attr, {}, question, kGranted);
  }
  [[nodiscard]] bool knows_directory() const { return cache_.find_attr(kParent) != nullptr; }
};

TEST_F(NodeCacheOfADirectoryTest, ItsAttributesAreKnownAgainWithTheTimesThatAChangeLeft) {
  put_directory(cache_.ask());
  {
    NodeCache::Change change(cache_, kParent, "f");
    EXPECT_TRUE(change.knows_directory());
    change.keep_directory(kAfter);
    EXPECT_FALSE(knows_directory());
  }
  ASSERT_TRUE(knows_directory());
  wire::Attr attr = cache_.find_attr(kParent)->attr;
  EXPECT_EQ(attr.mtime_ns, kAfter);
  EXPECT_EQ(attr.ctime_ns, kAfter);
  EXPECT_EQ(attr.mode, 0755U);
  // Not of a change that was not told them.
  {
    NodeCache::Change change(cache_, kParent, "f");
  }
  EXPECT_FALSE(knows_directory());
  NodeCache::Change change(cache_, kParent, "f");
  EXPECT_FALSE(change.knows_directory());
  change.keep_directory(kAfter);
  change.end();
  EXPECT_FALSE(knows_directory());
}

TEST_F(NodeCacheOfADirectoryTest, TheyAreNotKnownAgainIfSomethingElseMayHaveChangedThem) {
  std::optional<NodeCache::Change> other;
  std::vector<std::function<void()>> events = {
      [this] { cache_.on_attr_revoked(kParent, {}); },
      [this] { cache_.on_connection_lost(wire::ShardId{1}); },
      [this] { cache_.disable(); },
      [&, this] { other.emplace(cache_, kParent, "g"); },
      [&, this] { NodeCache::Change over(cache_, kParent, "g"); },
      // It has another name, or none.
      [&, this] { NodeCache::Change moved(cache_, kOther, "directory"); },
  };
  for (const auto& happens : events) {
    cache_.enable(&told_);
    cache_.put_name(kOther, "directory", kParent, kShard, cache_.ask(), kGranted);
    put_directory(cache_.ask());
    std::optional<NodeCache::Change> change;
    change.emplace(cache_, kParent, "f");
    happens();
    EXPECT_FALSE(change->knows_directory() && cache_.is_enabled());
    change->keep_directory(kAfter);
    change.reset();
    other.reset();
    EXPECT_FALSE(knows_directory());
  }
}

TEST_F(NodeCacheOfADirectoryTest, TheLeaseOfItsAttributesEndsWhenItWould) {
  constexpr Nanos kLeft = std::chrono::milliseconds(50);
  NodeCache::Question question = cache_.ask();
  question.asked_at -= NodeCache::usable(kGranted) - kLeft;
  put_directory(question);
  BootTime end = question.asked_at + NodeCache::usable(kGranted);
  {
    NodeCache::Change change(cache_, kParent, "f");
    change.keep_directory(kAfter);
  }
  while (boot_now() < end) {
  }
  EXPECT_FALSE(knows_directory());
}

TEST_F(NodeCacheTest, ALostConnectionEndsWhatItsShardGranted) {
  put(cache_.ask());
  constexpr wire::ShardId kOtherShard{1};
  constexpr wire::InodeId kElsewhere = wire::InodeId::make(kOtherShard, 6);
  cache_.put_name(kParent, "g", kElsewhere, kOtherShard, cache_.ask(), kGranted);
  cache_.put_attr(wire::Attr{.inode = kElsewhere.value}, {}, cache_.ask(), kGranted);
  cache_.on_connection_lost(wire::ShardId{2});
  EXPECT_TRUE(knows_name());
  EXPECT_TRUE(told_.what.empty());
  cache_.on_connection_lost(kShard);
  EXPECT_FALSE(knows_name());
  EXPECT_FALSE(knows_attr());
  EXPECT_NE(cache_.find_name(kParent, "g"), nullptr);
  EXPECT_NE(cache_.find_attr(kElsewhere), nullptr);
  std::ranges::sort(told_.what);
  EXPECT_EQ(told_.what, (std::vector<std::string>{"lost attr 5", "lost attr 6", "lost name f"}));
}

TEST_F(NodeCacheTest, WithoutADoorThatTakesLeasesNothingIsKept) {
  put(cache_.ask());
  cache_.disable();
  EXPECT_FALSE(knows_name());
  EXPECT_FALSE(knows_attr());
  put(cache_.ask());
  EXPECT_FALSE(knows_name());
  EXPECT_FALSE(knows_attr());
  EXPECT_TRUE(cache_.on_name_revoked(kParent, "f", {}));
  EXPECT_TRUE(cache_.on_attr_revoked(kFile, {}));
  EXPECT_TRUE(told_.what.empty());
}

TEST_F(NodeCacheTest, AFullCacheKeepsNothingMoreButRenewsWhatItHas) {
  fill(cache_.ask());
  put(cache_.ask());
  EXPECT_FALSE(knows_name());
  EXPECT_FALSE(knows_attr());
  cache_.put_name(kParent, "0", kOther, kShard, cache_.ask(), kGranted);
  cache_.put_attr(wire::Attr{.inode = kFirst, .size = 7}, {}, cache_.ask(), kGranted);
  ASSERT_NE(cache_.find_name(kParent, "0"), nullptr);
  EXPECT_EQ(cache_.find_name(kParent, "0")->inode, kOther);
  ASSERT_NE(cache_.find_attr(wire::InodeId{kFirst}), nullptr);
  EXPECT_EQ(cache_.find_attr(wire::InodeId{kFirst})->attr.size, 7U);
}

TEST_F(NodeCacheTest, AMissingNameIsKnownUntilItIsRevokedOrChanged) {
  auto put_missing = [&] {
    cache_.put_name(kParent, "f", {}, kShard, cache_.ask(), kGranted);
    ASSERT_TRUE(knows_name());
    EXPECT_FALSE(cache_.find_name(kParent, "f")->inode.is_valid());
  };
  put_missing();
  EXPECT_FALSE(cache_.on_name_revoked(kParent, "f", {.sequence = 3, .session_id = 1}));
  EXPECT_FALSE(knows_name());
  put_missing();
  {
    NodeCache::Change change(cache_, kParent, "f");
  }
  EXPECT_FALSE(knows_name());
  put_missing();
  put(cache_.ask());
  ASSERT_TRUE(knows_name());
  EXPECT_EQ(cache_.find_name(kParent, "f")->inode, kFile);
}

TEST_F(NodeCacheTest, ListingsFillNoMoreThanHalfOfTheCache) {
  NodeCache::Question question = cache_.ask_for_listing();
  for (std::uint64_t i = 0; i <= NodeCache::kMaxKept / 2; ++i) {
    cache_.put_name(kParent, std::to_string(i), kFile, kShard, question, kGranted);
    cache_.put_attr(wire::Attr{.inode = kFirst + i}, {}, question, kGranted);
  }
  EXPECT_NE(cache_.find_name(kParent, std::to_string(NodeCache::kMaxKept / 2 - 1)), nullptr);
  EXPECT_EQ(cache_.find_name(kParent, std::to_string(NodeCache::kMaxKept / 2)), nullptr);
  EXPECT_NE(cache_.find_attr(wire::InodeId{kFirst + NodeCache::kMaxKept / 2 - 1}), nullptr);
  EXPECT_EQ(cache_.find_attr(wire::InodeId{kFirst + NodeCache::kMaxKept / 2}), nullptr);
  put(cache_.ask());
  EXPECT_TRUE(knows_name());
}

// There is no end of them: they leave room for names that lead somewhere.
TEST_F(NodeCacheTest, MissingNamesFillNoMoreThanHalfOfTheCache) {
  NodeCache::Question question = cache_.ask();
  for (std::uint64_t i = 0; i <= NodeCache::kMaxKept / 2; ++i) {
    cache_.put_name(kParent, std::to_string(i), {}, kShard, question, kGranted);
  }
  EXPECT_NE(cache_.find_name(kParent, std::to_string(NodeCache::kMaxKept / 2 - 1)), nullptr);
  EXPECT_EQ(cache_.find_name(kParent, std::to_string(NodeCache::kMaxKept / 2)), nullptr);
  put(cache_.ask());
  EXPECT_TRUE(knows_name());
}

TEST_F(NodeCacheTest, LeasesThatHaveEndedMakeRoomInAFullCache) {
  NodeCache::Question early = cache_.ask();
  early.asked_at -= NodeCache::usable(kGranted);
  fill(early);
  put(cache_.ask());
  EXPECT_TRUE(knows_name());
  EXPECT_TRUE(knows_attr());
}

}  // namespace
}  // namespace benchfs::client
