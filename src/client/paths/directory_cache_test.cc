#include "client/paths/directory_cache.h"

#include <gtest/gtest.h>

namespace benchfs::client {
namespace {

constexpr wire::InodeId kDirectory{5};
constexpr wire::InodeId kChild{6};
constexpr wire::ShardId kHome{1};
constexpr wire::ShardId kOtherHome{2};
constexpr Nanos kLease = std::chrono::seconds(10);
constexpr Nanos kUsable = std::chrono::milliseconds(9500);

class DirectoryCacheTest : public ::testing::Test {
 protected:
  void put(std::string_view name, wire::ShardId shard = kHome) {
    cache_.put(kDirectory, name, kChild, cache_.ask(shard, asked_), kLease);
  }
  [[nodiscard]] bool knows(std::string_view name, BootTime now) const {
    return cache_.find(kDirectory, name, now).inode == kChild;
  }
  [[nodiscard]] bool knows(std::string_view name) const { return knows(name, asked_); }

  // The shard shows what it calls back.
  void connect(wire::ShardId shard = kHome) { cache_.on_connected(shard, words_); }
  void call_back(std::string_view name) {
    words_->invalidate(wire::validity_word_of({kDirectory, name}));
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
  DirectoryCache::Question question = cache_.ask(kHome, asked_);
  cache_.forget(kDirectory, "d");  // also when it is not there: the lookup may be under way
  cache_.put(kDirectory, "d", kChild, question, kLease);
  EXPECT_FALSE(knows("d"));
  put("d");
  cache_.forget(kDirectory, "d");
  EXPECT_FALSE(knows("d"));
}

TEST_F(DirectoryCacheTest, ALostConnectionEndsWhatItsShardGrantedAndNothingElse) {
  put("d");
  put("e", kOtherHome);
  cache_.on_connection_lost(kHome);
  EXPECT_FALSE(knows("d"));
  EXPECT_TRUE(knows("e"));
  put("d");  // asked again, over the next connection
  EXPECT_TRUE(knows("d"));
  cache_.on_connection_lost(kHome);
  EXPECT_FALSE(knows("d"));
}

TEST_F(DirectoryCacheTest, AnAnswerOverAConnectionThatIsLostIsNotCached) {
  DirectoryCache::Question question = cache_.ask(kHome, asked_);
  cache_.on_connection_lost(kHome);
  cache_.put(kDirectory, "d", kChild, question, kLease);
  EXPECT_FALSE(knows("d"));
}

TEST_F(DirectoryCacheTest, NothingIsKeptWithoutALease) {
  cache_.put(kDirectory, "d", kChild, cache_.ask(kHome, asked_), Nanos::zero());
  EXPECT_FALSE(knows("d"));
}

TEST_F(DirectoryCacheTest, AnotherDirectoryUnderAKnownNameIsAChange) {
  put("d");
  std::uint64_t version = cache_.version();
  put("d");
  EXPECT_EQ(cache_.version(), version);
  cache_.put(kDirectory, "d", kDirectory, cache_.ask(kHome, asked_), kLease);
  EXPECT_NE(cache_.version(), version);
  EXPECT_EQ(cache_.find(kDirectory, "d", asked_).inode, kDirectory);
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
  DirectoryCache::Question question = cache_.ask(kHome, asked_);
  call_back("d");
  cache_.put(kDirectory, "d", kChild, question, kLease);
  EXPECT_FALSE(knows("d"));
}

// The word has changed already, and the shard has not gone on yet.
TEST_F(DirectoryCacheTest, NorIsWhatIsBeingCalledBack) {
  connect();
  DirectoryCache::Question question = cache_.ask(kHome, asked_);
  ++words_->epoch;
  ++words_->words[wire::validity_word_of({kDirectory, "d"})];
  cache_.put(kDirectory, "d", kChild, question, kLease);
  EXPECT_FALSE(knows("d"));
}

TEST_F(DirectoryCacheTest, TheFirstAnswerOfAShardIsCachedThoughItWasNotConnectedBefore) {
  DirectoryCache::Question question = cache_.ask(kHome, asked_);
  connect();
  cache_.put(kDirectory, "d", kChild, question, kLease);
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
  cache_.on_connected(kOtherHome, words_);
  cache_.on_connected(kOtherHome, std::make_shared<wire::ValidityWords>());
  EXPECT_GT(cache_.version(), called_back) << "seen, though another shard connected meanwhile";
}

TEST_F(DirectoryCacheTest, AfterTheConnectionItsWordsSayNothing) {
  connect();
  put("d");
  cache_.on_connected(kOtherHome, words_);
  put("e", kOtherHome);
  cache_.on_connection_lost(kHome);
  EXPECT_FALSE(knows("d"));
  EXPECT_TRUE(knows("e"));
  put("d");  // asked over a connection without words
  call_back("d");
  EXPECT_TRUE(knows("d"));
}

}  // namespace
}  // namespace benchfs::client
