#include "client/paths/directory_cache.h"

#include <gtest/gtest.h>

namespace benchfs::client {
namespace {

constexpr wire::InodeId kParent{5};
constexpr wire::InodeId kChild{6};
constexpr wire::ShardId kShard{1};
constexpr wire::ShardId kOtherShard{2};
constexpr Nanos kGranted = std::chrono::seconds(10);
constexpr Nanos kUsable = std::chrono::milliseconds(9500);

class DirectoryCacheTest : public ::testing::Test {
 protected:
  void put(std::string_view name, wire::ShardId shard = kShard) {
    cache_.put(kParent, name, kChild, cache_.ask(shard, asked_), kGranted);
  }
  [[nodiscard]] bool knows(std::string_view name, BootTime now) const {
    return cache_.find(kParent, name, now).inode == kChild;
  }
  [[nodiscard]] bool knows(std::string_view name) const { return knows(name, asked_); }

  // The shard shows what it calls back.
  void connect(wire::ShardId shard = kShard) { cache_.on_connected(shard, words_); }
  void call_back(std::string_view name) {
    words_->invalidate(wire::validity_word_of({kParent, name}));
  }

  DirectoryCache cache_;
  BootTime asked_ = boot_now();
  std::shared_ptr<wire::ValidityWords> words_ = std::make_shared<wire::ValidityWords>();
};

TEST_F(DirectoryCacheTest, AnEntryIsGoodForItsLeaseFromTheQuestion) {
  put("d");
  EXPECT_TRUE(knows("d"));
  EXPECT_TRUE(knows("d", asked_ + kUsable - Nanos(1)));
  EXPECT_FALSE(knows("d", asked_ + kUsable));
  EXPECT_FALSE(knows("e"));
  EXPECT_FALSE(cache_.find(kChild, "d", asked_).inode.is_valid());
}

TEST_F(DirectoryCacheTest, WhatIsForgottenDuringALookupIsNotCachedByIt) {
  DirectoryCache::Question question = cache_.ask(kShard, asked_);
  cache_.forget(kParent, "d");  // also when it is not there: the lookup may be under way
  cache_.put(kParent, "d", kChild, question, kGranted);
  EXPECT_FALSE(knows("d"));
  put("d");
  cache_.forget(kParent, "d");
  EXPECT_FALSE(knows("d"));
}

TEST_F(DirectoryCacheTest, ALostConnectionEndsWhatItsShardGrantedAndNothingElse) {
  put("d");
  put("e", kOtherShard);
  cache_.on_connection_lost(kShard);
  EXPECT_FALSE(knows("d"));
  EXPECT_TRUE(knows("e"));
  put("d");  // asked again, over the next connection
  EXPECT_TRUE(knows("d"));
  cache_.on_connection_lost(kShard);
  EXPECT_FALSE(knows("d"));
}

TEST_F(DirectoryCacheTest, AnAnswerOverAConnectionThatIsLostIsNotCached) {
  DirectoryCache::Question question = cache_.ask(kShard, asked_);
  cache_.on_connection_lost(kShard);
  cache_.put(kParent, "d", kChild, question, kGranted);
  EXPECT_FALSE(knows("d"));
}

TEST_F(DirectoryCacheTest, NothingIsKeptWithoutALease) {
  cache_.put(kParent, "d", kChild, cache_.ask(kShard, asked_), Nanos::zero());
  EXPECT_FALSE(knows("d"));
}

TEST_F(DirectoryCacheTest, AnotherDirectoryUnderAKnownNameIsAChange) {
  put("d");
  std::uint64_t version = cache_.version();
  put("d");
  EXPECT_EQ(cache_.version(), version);
  cache_.put(kParent, "d", kParent, cache_.ask(kShard, asked_), kGranted);
  EXPECT_NE(cache_.version(), version);
  EXPECT_EQ(cache_.find(kParent, "d", asked_).inode, kParent);
}

TEST_F(DirectoryCacheTest, IsBounded) {
  for (std::size_t i = 0; i <= DirectoryCache::kMaxEntries; ++i) {
    put(std::to_string(i));
  }
  EXPECT_FALSE(knows("0"));
  EXPECT_TRUE(knows(std::to_string(DirectoryCache::kMaxEntries)));
}

TEST_F(DirectoryCacheTest, AnEntryIsNotUsedOnceItsWordHasChanged) {
  connect();
  put("d");
  put("e");
  EXPECT_TRUE(knows("d"));
  call_back("d");
  EXPECT_FALSE(knows("d"));
  EXPECT_TRUE(knows("e"));
  put("d");  // asked again
  EXPECT_TRUE(knows("d"));
}

TEST_F(DirectoryCacheTest, WhatIsCalledBackBeforeTheAnswerIsThereIsNotCached) {
  connect();
  DirectoryCache::Question question = cache_.ask(kShard, asked_);
  call_back("d");
  cache_.put(kParent, "d", kChild, question, kGranted);
  EXPECT_FALSE(knows("d"));
}

// The word has changed already, and the shard has not gone on yet.
TEST_F(DirectoryCacheTest, NorIsWhatIsBeingCalledBack) {
  connect();
  DirectoryCache::Question question = cache_.ask(kShard, asked_);
  ++words_->epoch;
  ++words_->words[wire::validity_word_of({kParent, "d"})];
  cache_.put(kParent, "d", kChild, question, kGranted);
  EXPECT_FALSE(knows("d"));
}

TEST_F(DirectoryCacheTest, TheFirstAnswerOfAShardIsCachedThoughItWasNotConnectedBefore) {
  DirectoryCache::Question question = cache_.ask(kShard, asked_);
  connect();
  cache_.put(kParent, "d", kChild, question, kGranted);
  EXPECT_TRUE(knows("d"));
  call_back("d");
  EXPECT_FALSE(knows("d"));
}

TEST_F(DirectoryCacheTest, TheVersionGrowsWithWhatIsCalledBack) {
  connect();
  std::uint64_t before = cache_.version();
  EXPECT_EQ(cache_.version(), before);
  call_back("d");
  std::uint64_t called_back = cache_.version();
  EXPECT_GT(called_back, before);
  call_back("d");
  cache_.on_connected(kOtherShard, words_);
  cache_.on_connected(kOtherShard, std::make_shared<wire::ValidityWords>());
  EXPECT_GT(cache_.version(), called_back) << "seen, though another shard connected meanwhile";
}

TEST_F(DirectoryCacheTest, AfterTheConnectionItsWordsSayNothing) {
  connect();
  put("d");
  cache_.on_connected(kOtherShard, words_);
  put("e", kOtherShard);
  cache_.on_connection_lost(kShard);
  EXPECT_FALSE(knows("d"));
  EXPECT_TRUE(knows("e"));
  put("d");  // asked over a connection without words
  call_back("d");
  EXPECT_TRUE(knows("d"));
}

}  // namespace
}  // namespace benchfs::client
