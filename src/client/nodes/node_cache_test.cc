#include "client/nodes/node_cache.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace benchfs::client {
namespace {

constexpr wire::InodeId kParent{5};
constexpr wire::InodeId kFile{6};
constexpr wire::ShardId kShard{0};
constexpr Nanos kGranted = std::chrono::seconds(10);

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
  NodeCache::Question question = cache_.ask();
  cache_.on_name_revoked(kParent, "other", {});
  put(question);
  EXPECT_FALSE(knows_name());
  EXPECT_FALSE(knows_attr());
}

TEST_F(NodeCacheTest, AChangeOfThisClientForgetsTheNameTheInodeAndTheDirectory) {
  put(cache_.ask());
  std::optional<NodeCache::Change> change;
  change.emplace(cache_, kParent, "f");
  EXPECT_FALSE(knows_name());
  EXPECT_FALSE(knows_attr());
  put(cache_.ask());
  EXPECT_EQ(cache_.find_attr(kParent), nullptr);
  EXPECT_TRUE(knows_name());
  change.reset();
  EXPECT_FALSE(knows_name());
}

TEST_F(NodeCacheTest, ALostConnectionEndsWhatItsShardGranted) {
  put(cache_.ask());
  cache_.on_connection_lost(wire::ShardId{1});
  EXPECT_TRUE(knows_name());
  cache_.on_connection_lost(kShard);
  EXPECT_FALSE(knows_name());
  EXPECT_FALSE(knows_attr());
  EXPECT_EQ(told_.what.size(), 3U);
}

TEST_F(NodeCacheTest, WithoutADoorThatTakesLeasesNothingIsKept) {
  cache_.disable();
  put(cache_.ask());
  EXPECT_FALSE(knows_name());
  EXPECT_TRUE(cache_.on_name_revoked(kParent, "f", {}));
}

}  // namespace
}  // namespace benchfs::client
