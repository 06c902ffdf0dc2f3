#include "client/paths/path_walk.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <string>
#include <utility>
#include <vector>

#include "wire/limits.h"

namespace benchfs::client {
namespace {

// The components a path is walked through when every one of them is a directory.
std::vector<std::string> components(std::string_view path) {
  Result<PathWalk> walk = PathWalk::start(path);
  EXPECT_TRUE(walk) << walk.error().message();
  std::vector<std::string> names;
  std::uint64_t next = 100;
  while (walk && !walk->name().empty()) {
    names.emplace_back(walk->name());
    walk->enter(wire::InodeId{next++});
  }
  return names;
}

int start_errno(std::string_view path) {
  Result<PathWalk> walk = PathWalk::start(path);
  return walk ? 0 : walk.error().to_errno();
}

using Names = std::vector<std::string>;

TEST(PathWalk, SplitsAtSlashesAndIgnoresEmptyAndDotComponents) {
  EXPECT_EQ(components("/a/b/c"), (Names{"a", "b", "c"}));
  EXPECT_EQ(components("a//b/./c/"), (Names{"a", "b", "c"}));
  EXPECT_EQ(components("/"), Names{});
  EXPECT_EQ(components("/./."), Names{});
}

TEST(PathWalk, DotDotLeavesTheDirectoryThatWasEntered) {
  Result<PathWalk> walk = PathWalk::start("/a/../b");
  ASSERT_TRUE(walk);
  EXPECT_EQ(walk->name(), "a");
  walk->enter(wire::InodeId{7});
  EXPECT_EQ(walk->name(), "b");
  EXPECT_EQ(walk->directory(), wire::kRootInode);
  EXPECT_EQ(components("/../../x"), Names{"x"});  // above the root is the root
}

TEST(PathWalk, RefusesWhatNoFileSystemTakes) {
  EXPECT_EQ(start_errno(""), ENOENT);
  EXPECT_EQ(start_errno(std::string(255, 'x')), 0);
  EXPECT_EQ(start_errno(std::string(256, 'x')), 0);  // names are judged when they are reached
  std::string longest;
  while (longest.size() + 2 <= wire::kMaxPathBytes) {
    longest += "/y";
  }
  EXPECT_EQ(start_errno(longest), 0);
  EXPECT_EQ(start_errno(longest + "/yy"), ENAMETOOLONG);
  EXPECT_EQ(start_errno(std::string_view("a\0b", 3)), EINVAL);
  EXPECT_EQ(start_errno("\xff\xfe/\x80"), 0);  // names are bytes
}

TEST(PathWalk, KnowsWhenThePathAsksForADirectory) {
  EXPECT_FALSE(PathWalk::start("/a/b")->must_be_directory());
  EXPECT_TRUE(PathWalk::start("/a/b/")->must_be_directory());
  Result<PathWalk> walk = PathWalk::start("/a/.");
  ASSERT_TRUE(walk);
  walk->enter(wire::InodeId{7});
  EXPECT_TRUE(walk->must_be_directory());
}

TEST(PathWalk, ASymlinkTakesThePlaceOfItsComponent) {
  Result<PathWalk> walk = PathWalk::start("/dir/link/rest");
  ASSERT_TRUE(walk);
  walk->enter(wire::InodeId{7});
  EXPECT_EQ(walk->name(), "link");
  ASSERT_TRUE(walk->follow("x/y"));
  EXPECT_EQ(walk->directory(), wire::InodeId{7});
  EXPECT_EQ(walk->name(), "x");
  walk->enter(wire::InodeId{8});
  EXPECT_EQ(walk->name(), "y");
  ASSERT_TRUE(walk->follow("/top"));
  EXPECT_EQ(walk->directory(), wire::kRootInode);
  EXPECT_EQ(walk->name(), "top");
  walk->enter(wire::InodeId{9});
  EXPECT_EQ(walk->name(), "rest");
  EXPECT_TRUE(walk->is_last());
}

TEST(PathWalk, ASymlinkAsksForADirectoryOnlyAtTheEndOfThePath) {
  Result<PathWalk> walk = PathWalk::start("/link/rest");
  ASSERT_TRUE(walk);
  ASSERT_TRUE(walk->follow("x/"));
  walk->enter(wire::InodeId{7});
  EXPECT_EQ(walk->name(), "rest");
  EXPECT_FALSE(walk->must_be_directory());
  ASSERT_TRUE(walk->follow("y/"));
  EXPECT_EQ(walk->name(), "y");
  EXPECT_TRUE(walk->must_be_directory());
}

TEST(PathWalk, KnowsThatDotsFollow) {
  EXPECT_FALSE(PathWalk::start("/a/.b")->is_before_dots());
  EXPECT_FALSE(PathWalk::start("/a/..b")->is_before_dots());
  EXPECT_TRUE(PathWalk::start("/a/./b")->is_before_dots());
  EXPECT_TRUE(PathWalk::start("/a//../b")->is_before_dots());
  EXPECT_TRUE(PathWalk::start("/a/..")->is_before_dots());
}

TEST(PathWalk, CanBeMovedWhileItFollowsASymlink) {
  Result<PathWalk> walk = PathWalk::start("/link/rest");
  ASSERT_TRUE(walk);
  ASSERT_TRUE(walk->follow("x"));  // short enough to lie in the string itself
  PathWalk moved = *std::move(walk);
  EXPECT_EQ(moved.name(), "x");
  moved.enter(wire::InodeId{7});
  EXPECT_EQ(moved.name(), "rest");
}

TEST(PathWalk, GivesUpAfterFortySymlinks) {
  Result<PathWalk> walk = PathWalk::start("/loop");
  ASSERT_TRUE(walk);
  for (int i = 0; i < wire::kMaxSymlinkDepth; ++i) {
    ASSERT_TRUE(walk->follow("loop"));
  }
  Status last = walk->follow("loop");
  ASSERT_FALSE(last);
  EXPECT_EQ(last.error().to_errno(), ELOOP);
}

TEST(PathWalk, LeavesAboveTheRootOnlyWithAPrefix) {
  EXPECT_FALSE(PathWalk::start("/../a")->has_left());
  Result<PathWalk> walk = PathWalk::start("/../a", "/bfs");
  EXPECT_TRUE(walk->has_left());
  EXPECT_TRUE(walk->is_last() && walk->name().empty());
  walk = PathWalk::start("/a/../b", "/bfs");
  walk->enter(wire::InodeId{7});
  EXPECT_FALSE(walk->has_left());
  EXPECT_EQ(walk->name(), "b");
}

TEST(PathWalk, AbsoluteTargetsBelowThePrefixLeadToTheRoot) {
  Result<PathWalk> walk = PathWalk::start("/dir/link/rest", "/bfs");
  walk->enter(wire::InodeId{7});
  ASSERT_TRUE(walk->follow("/bfs/x"));
  EXPECT_EQ(walk->directory(), wire::kRootInode);
  EXPECT_EQ(walk->name(), "x");
  walk->enter(wire::InodeId{8});
  EXPECT_EQ(walk->name(), "rest");
  for (const char* elsewhere : {"/bfsx", "/", "/bf", "/home/bfs/x"}) {
    walk = PathWalk::start("/link", "/bfs");
    ASSERT_TRUE(walk->follow(elsewhere));
    EXPECT_TRUE(walk->has_left()) << elsewhere;
  }
  walk = PathWalk::start("/link", "/bfs");
  ASSERT_TRUE(walk->follow("/bfs"));
  EXPECT_FALSE(walk->has_left());
  EXPECT_TRUE(walk->name().empty());
}

// --- From a directory ----------------------------------------------------------------------------

TEST(PathWalk, ARelativePathBeginsInItsDirectory) {
  Result<PathWalk> walk = PathWalk::start("a/b", {}, wire::InodeId{50});
  ASSERT_TRUE(walk);
  EXPECT_EQ(walk->directory(), wire::InodeId{50});
  walk->enter(wire::InodeId{51});
  EXPECT_EQ(walk->name(), "b");
  EXPECT_EQ(walk->way(), "") << "another directory's \"a/\" is another one";
  EXPECT_EQ(PathWalk::start("/a", {}, wire::InodeId{50})->directory(), wire::kRootInode);
}

TEST(PathWalk, DotDotAtTheBeginningAsksForTheParent) {
  Result<PathWalk> walk = PathWalk::start("a/../../../b", {}, wire::InodeId{50});
  ASSERT_TRUE(walk);
  EXPECT_FALSE(walk->is_climbing());
  walk->enter(wire::InodeId{51});
  ASSERT_TRUE(walk->is_climbing());
  EXPECT_EQ(walk->directory(), wire::InodeId{50});
  walk->climb(wire::InodeId{40});
  ASSERT_TRUE(walk->is_climbing());
  EXPECT_EQ(walk->directory(), wire::InodeId{40});
  walk->climb(wire::kRootInode);
  EXPECT_FALSE(walk->is_climbing());
  EXPECT_EQ(walk->name(), "b");
  EXPECT_EQ(walk->directory(), wire::kRootInode);
}

TEST(PathWalk, ClimbingAboveARootWithAPrefixLeaves) {
  Result<PathWalk> walk = PathWalk::start("../../b", "/bfs", wire::InodeId{50});
  ASSERT_TRUE(walk);
  ASSERT_TRUE(walk->is_climbing());
  walk->climb(wire::kRootInode);
  EXPECT_TRUE(walk->has_left());
}

TEST(PathWalk, AnAbsoluteSymlinkLeadsFromTheDirectoryToTheRoot) {
  Result<PathWalk> walk = PathWalk::start("link/x", {}, wire::InodeId{50});
  ASSERT_TRUE(walk);
  ASSERT_TRUE(walk->follow("/a"));
  EXPECT_EQ(walk->directory(), wire::kRootInode);
  EXPECT_EQ(walk->name(), "a");
}

TEST(PathWalk, NotesTheDirectoriesInWhichComponentsAreLookedFor) {
  using Inodes = std::vector<wire::InodeId>;
  wire::InodeId root = wire::kRootInode;
  wire::InodeId a{101};
  wire::InodeId b{102};
  auto walk = PathWalk::start("/a/b/.././c/", {}, root, PathWalk::Notes::kSearched);
  ASSERT_TRUE(walk);
  EXPECT_EQ(walk->take_searched(), Inodes{root});
  walk->enter(a);
  EXPECT_EQ(walk->take_searched(), Inodes{a});
  walk->enter(b);
  EXPECT_EQ(walk->take_searched(), (Inodes{b, a, a})) << "for .., for . and for c";
  walk->enter(wire::InodeId{103});
  EXPECT_FALSE(walk->has_searched()) << "a slash at the end looks for nothing";
  ASSERT_TRUE(walk = PathWalk::start("/a", {}, root, PathWalk::Notes::kSearched));
  (void)walk->take_searched();
  ASSERT_TRUE(walk->follow("d/e"));
  EXPECT_EQ(walk->take_searched(), Inodes{root}) << "a link is followed where it is";
  ASSERT_TRUE(walk = PathWalk::start("/a"));
  EXPECT_FALSE(walk->has_searched()) << "who does not ask pays nothing";
}

}  // namespace
}  // namespace benchfs::client
