#include "client/paths/known_way.h"

#include <gtest/gtest.h>

#include <string>

namespace benchfs::client {
namespace {

constexpr wire::InodeId kA{7};
constexpr wire::InodeId kB{8};
constexpr std::uint64_t kVersion = 3;
const BootTime kUntil{std::chrono::seconds(100)};
const BootTime kNow = kUntil - Nanos(1);

class KnownWayTest : public ::testing::Test {
 protected:
  KnownWayTest() {
    Result<PathWalk> walk = PathWalk::start("/a//b/c");
    walk->enter(kA);
    walk->enter(kB);
    way_.remember(*walk, kVersion, kUntil);
  }
  [[nodiscard]] std::string_view last_of(std::string_view path) const {
    return way_.last_of(path, kVersion, kNow);
  }

  KnownWay way_;
};

TEST_F(KnownWayTest, LeadsToAllNamesOfItsDirectory) {
  EXPECT_EQ(last_of("/a//b/c"), "c");
  EXPECT_EQ(last_of("/a//b/other"), "other");
  EXPECT_EQ(last_of("/a//b/.hidden"), ".hidden");
  PathWalk walk = PathWalk::at_last(way_.directories(), "c", "");
  EXPECT_EQ(walk.directory(), kB);
  EXPECT_EQ(walk.name(), "c");
  EXPECT_TRUE(walk.is_last());
  EXPECT_TRUE(walk.goes_through(kA));
  EXPECT_FALSE(walk.must_be_directory());
}

TEST_F(KnownWayTest, LeadsNowhereElse) {
  for (std::string_view path : {"",
                                "/",
                                "/a",
                                "/a//b",
                                "/a//b/",
                                "/a//b/c/",
                                "/a//b/c/d",
                                "/a//b/.",
                                "/a//b/..",
                                "/a/b/c",
                                "/a//bb/c"}) {
    EXPECT_EQ(last_of(path), "") << path;
  }
  EXPECT_EQ(last_of(std::string_view("/a//b/c\0d", 9)), "");
  EXPECT_EQ(last_of("/a//b/" + std::string(wire::kMaxNameBytes + 1, 'x')), "");
}

TEST_F(KnownWayTest, HoldsWhileTheCacheVouchesForIt) {
  EXPECT_EQ(way_.last_of("/a//b/c", kVersion, kUntil), "");
  EXPECT_EQ(way_.last_of("/a//b/c", kVersion + 1, kNow), "");
  EXPECT_EQ(KnownWay().last_of("/a", 0, kNow), "");
}

TEST_F(KnownWayTest, ASymlinkHasNoWay) {
  Result<PathWalk> walk = PathWalk::start("/a/link");
  walk->enter(kA);
  EXPECT_EQ(walk->way(), "/a/");
  ASSERT_TRUE(walk->follow("../b/c"));
  EXPECT_EQ(walk->way(), "");
}

}  // namespace
}  // namespace benchfs::client
