#include "client/directory_cache.h"

#include <gtest/gtest.h>

namespace benchfs::client {
namespace {

constexpr wire::InodeId kParent{5};
constexpr wire::InodeId kChild{6};

TEST(DirectoryCache, AnEntryIsGoodForItsLeaseFromTheQuestion) {
  DirectoryCache cache;
  MonoTime asked = mono_now();
  cache.put(kParent, "d", kChild, asked);
  EXPECT_EQ(cache.find(kParent, "d", asked), kChild);
  EXPECT_EQ(cache.find(kParent, "d", asked + DirectoryCache::kLease - Nanos(1)), kChild);
  EXPECT_FALSE(cache.find(kParent, "d", asked + DirectoryCache::kLease).is_valid());
  EXPECT_FALSE(cache.find(kParent, "e", asked).is_valid());
  EXPECT_FALSE(cache.find(kChild, "d", asked).is_valid());
}

TEST(DirectoryCache, ForgettingChangesTheVersionSoThatLookupsUnderWayAreNotCached) {
  DirectoryCache cache;
  std::uint64_t before = cache.version();
  cache.forget(kParent, "d");  // also when it is not there: the lookup may be under way
  EXPECT_NE(cache.version(), before);
  cache.put(kParent, "d", kChild, mono_now());
  cache.forget(kParent, "d");
  EXPECT_FALSE(cache.find(kParent, "d", mono_now()).is_valid());
}

TEST(DirectoryCache, IsBounded) {
  DirectoryCache cache;
  MonoTime now = mono_now();
  for (std::size_t i = 0; i <= DirectoryCache::kMaxEntries; ++i) {
    cache.put(kParent, std::to_string(i), wire::InodeId{i + 1}, now);
  }
  EXPECT_FALSE(cache.find(kParent, "0", now).is_valid());
  EXPECT_TRUE(cache.find(kParent, std::to_string(DirectoryCache::kMaxEntries), now).is_valid());
}

}  // namespace
}  // namespace benchfs::client
