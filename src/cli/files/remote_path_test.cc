#include "cli/files/remote_path.h"

#include <gtest/gtest.h>

namespace benchfs::cli {
namespace {

TEST(RemotePath, OnlyThePrefixMakesAPathRemote) {
  EXPECT_TRUE(is_remote("bfs:/a"));
  EXPECT_FALSE(is_remote("/bfs:/a"));
  EXPECT_FALSE(is_remote("./bfs:/a"));
  EXPECT_FALSE(is_remote("bfs"));
}

TEST(RemotePath, KeepsThePathAsItIs) {
  EXPECT_EQ(*parse_remote("bfs:/"), "/");
  EXPECT_EQ(*parse_remote("bfs:/a//b/"), "/a//b/");
  EXPECT_EQ(*parse_remote("bfs:/bfs:/x"), "/bfs:/x");
}

TEST(RemotePath, RefusalsSayWhatToWriteInstead) {
  EXPECT_NE(parse_remote("/data").error().message().find("bfs:/data"), std::string::npos);
  EXPECT_NE(parse_remote("data").error().message().find("bfs:/data"), std::string::npos);
  EXPECT_NE(parse_remote("bfs:data").error().message().find("bfs:/data"), std::string::npos);
  EXPECT_FALSE(parse_remote("bfs:").has_value());
}

TEST(RemotePath, BaseNameIgnoresTrailingSlashes) {
  EXPECT_EQ(base_name("/a/b"), "b");
  EXPECT_EQ(base_name("/a/b//"), "b");
  EXPECT_EQ(base_name("b"), "b");
  EXPECT_EQ(base_name("/"), "/");
  EXPECT_EQ(base_name("///"), "/");
}

TEST(RemotePath, JoiningPutsOneSlash) {
  EXPECT_EQ(join_path("/a", "b"), "/a/b");
  EXPECT_EQ(join_path("/a/", "b"), "/a/b");
  EXPECT_EQ(join_path("/", "b"), "/b");
  EXPECT_EQ(join_path("a", "/b"), "a/b");
}

}  // namespace
}  // namespace benchfs::cli
