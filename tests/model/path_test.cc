// Paths at their limits: long names, long paths, odd bytes, loops, deep trees.

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <set>

#include "model/fixture.h"

namespace benchfs::test {
namespace {

class Paths : public ::testing::Test {
 protected:
  void SetUp() override {
    BENCHFS_TEST_ASSIGN(cluster, Cluster::start({.servers = 2}));
    cluster_ = std::move(cluster);
    context_ = connect(*cluster_);
    ASSERT_NE(context_, nullptr);
  }

  int make_file(const std::string& path) {
    benchfs_file_t* file = benchfs_open(fs(), path.c_str(), O_CREAT | O_EXCL | O_WRONLY, 0644);
    return file == nullptr ? -errno : benchfs_close(file);
  }
  int stat(const std::string& path) { return benchfs_stat(fs(), path.c_str(), &last_); }
  int mkdir(const std::string& path) { return benchfs_mkdir(fs(), path.c_str(), 0755); }
  int symlink(const std::string& target, const std::string& path) {
    return benchfs_symlink(fs(), target.c_str(), path.c_str());
  }
  std::set<std::string> names(const std::string& path) {
    std::set<std::string> found;
    auto fill = [](void* arg, const char* name, std::uint32_t, std::uint64_t) {
      static_cast<std::set<std::string>*>(arg)->insert(name);
      return 0;
    };
    EXPECT_GE(benchfs_readdir(fs(), path.c_str(), fill, &found), 0) << benchfs_get_error();
    return found;
  }
  benchfs_context_t* fs() { return context_.get(); }

  std::unique_ptr<Cluster> cluster_;
  ContextPtr context_;
  benchfs_stat_t last_{};
};

TEST_F(Paths, AnEmptyPathDoesNotExist) {
  EXPECT_EQ(stat(""), -ENOENT);
  EXPECT_EQ(mkdir(""), -ENOENT);
  EXPECT_EQ(make_file(""), -ENOENT);
  EXPECT_EQ(benchfs_unlink(fs(), ""), -ENOENT);
  EXPECT_EQ(benchfs_rename(fs(), "", "/a"), -ENOENT);
  EXPECT_EQ(symlink("", "/empty"), -ENOENT);
}

TEST_F(Paths, ANameHasAtMost255Bytes) {
  std::string longest(255, 'x');
  EXPECT_EQ(make_file("/" + longest), 0) << benchfs_get_error();
  EXPECT_EQ(stat("/" + longest), 0);
  EXPECT_EQ(names("/"), std::set<std::string>{longest});
  std::string too_long(256, 'x');
  EXPECT_EQ(make_file("/" + too_long), -ENAMETOOLONG);
  EXPECT_EQ(mkdir("/" + too_long), -ENAMETOOLONG);
  EXPECT_EQ(stat("/" + too_long + "/a"), -ENAMETOOLONG);
  EXPECT_EQ(benchfs_rename(fs(), ("/" + longest).c_str(), ("/" + too_long).c_str()), -ENAMETOOLONG);
  EXPECT_EQ(symlink("a", "/" + too_long), -ENAMETOOLONG);
}

TEST_F(Paths, APathHasAtMost4095Bytes) {
  ASSERT_EQ(mkdir("/d"), 0);
  std::string path = "/d";
  while (path.size() < 4094) {
    path += "/.";
  }
  std::string longest = path.size() == 4094 ? path + "/" : path;
  ASSERT_EQ(longest.size(), 4095U);
  EXPECT_EQ(stat(longest), 0) << benchfs_get_error();
  EXPECT_EQ(stat(longest + "/"), -ENAMETOOLONG);
  EXPECT_EQ(stat(std::string(5000, '/')), -ENAMETOOLONG);
}

TEST_F(Paths, ATreeMayBeAsDeepAsAPathIsLong) {
  constexpr std::string_view kName = "/directory";  // single letters would take minutes
  std::string path;
  while (path.size() + kName.size() <= 4094) {
    path += kName;
    ASSERT_EQ(mkdir(path), 0) << path.size() << ": " << benchfs_get_error();
  }
  EXPECT_EQ(stat(path), 0);
  std::string up = path.substr(0, 100 * kName.size());
  EXPECT_EQ(stat(up + "/../../directory"), 0);
  while (!path.empty()) {
    ASSERT_EQ(benchfs_rmdir(fs(), path.c_str()), 0) << path.size() << ": " << benchfs_get_error();
    path.resize(path.size() - kName.size());
  }
  EXPECT_TRUE(names("/").empty());
}

TEST_F(Paths, AnyByteButSlashAndNulIsAllowed) {
  std::string bytes;
  for (int byte = 1; byte < 256; ++byte) {
    if (byte != '/') {
      bytes += static_cast<char>(byte);
    }
  }
  EXPECT_EQ(make_file("/" + bytes), 0) << benchfs_get_error();
  EXPECT_EQ(make_file("/\xff\xfe"), 0);
  EXPECT_EQ(make_file("/\xc3"), 0);
  EXPECT_EQ(names("/"), (std::set<std::string>{bytes, "\xff\xfe", "\xc3"}));
  EXPECT_EQ(benchfs_rename(fs(), ("/" + bytes).c_str(), "/\x01"), 0);
  EXPECT_EQ(benchfs_unlink(fs(), "/\x01"), 0);
}

TEST_F(Paths, ALeadingSlashMayBeLeftOut) {
  EXPECT_EQ(make_file("plain"), 0);
  EXPECT_EQ(stat("/plain"), 0);
  EXPECT_EQ(stat("//plain"), 0);
}

TEST_F(Paths, TrailingSlashesMeanADirectory) {
  ASSERT_EQ(make_file("/file"), 0);
  ASSERT_EQ(mkdir("/directory/"), 0);
  EXPECT_EQ(stat("/directory//"), 0);
  EXPECT_EQ(stat("/file/"), -ENOTDIR);
  EXPECT_EQ(make_file("/new/"), -EISDIR);
  EXPECT_EQ(benchfs_unlink(fs(), "/file/"), -ENOTDIR);
}

TEST_F(Paths, DotsAreResolved) {
  ASSERT_EQ(mkdir("/a"), 0);
  ASSERT_EQ(mkdir("/a/b"), 0);
  ASSERT_EQ(make_file("/a/f"), 0);
  EXPECT_EQ(stat("/a/./b/../f"), 0);
  EXPECT_EQ(stat("/../../a/f"), 0);
  EXPECT_EQ(stat("/a/missing/../f"), -ENOENT);
  EXPECT_EQ(stat("/a/f/../f"), -ENOTDIR);
  EXPECT_EQ(mkdir("/a/."), -EEXIST);
  EXPECT_EQ(mkdir("/a/.."), -EEXIST);
  EXPECT_EQ(benchfs_rmdir(fs(), "/a/b/."), -EINVAL);
  EXPECT_EQ(benchfs_rmdir(fs(), "/a/b/.."), -ENOTEMPTY);
}

TEST_F(Paths, DotDotAfterASymlinkIsTheParentOfItsTarget) {
  ASSERT_EQ(mkdir("/a"), 0);
  ASSERT_EQ(mkdir("/a/b"), 0);
  ASSERT_EQ(make_file("/a/here"), 0);
  ASSERT_EQ(symlink("/a/b", "/link"), 0);
  EXPECT_EQ(stat("/link/../here"), 0);
  EXPECT_EQ(stat("/here"), -ENOENT);
}

TEST_F(Paths, TheRootCannotBeChangedAway) {
  EXPECT_EQ(stat("/"), 0);
  EXPECT_TRUE(S_ISDIR(last_.st_mode));
  EXPECT_EQ(mkdir("/"), -EEXIST);
  EXPECT_LT(benchfs_rmdir(fs(), "/"), 0);
  EXPECT_LT(benchfs_unlink(fs(), "/"), 0);
  EXPECT_LT(benchfs_rename(fs(), "/", "/a"), 0);
  EXPECT_EQ(stat("/"), 0);
}

TEST_F(Paths, SymlinkLoopsEnd) {
  ASSERT_EQ(symlink("self", "/self"), 0);
  ASSERT_EQ(symlink("/pong", "/ping"), 0);
  ASSERT_EQ(symlink("/ping", "/pong"), 0);
  EXPECT_EQ(stat("/self"), -ELOOP);
  EXPECT_EQ(stat("/ping/x"), -ELOOP);
  EXPECT_EQ(benchfs_open(fs(), "/self", O_RDONLY, 0), nullptr);
  EXPECT_EQ(errno, ELOOP);
  EXPECT_EQ(benchfs_open(fs(), "/ping", O_CREAT | O_WRONLY, 0644), nullptr);
  EXPECT_EQ(errno, ELOOP);
  EXPECT_EQ(benchfs_lstat(fs(), "/self", &last_), 0);
  EXPECT_EQ(benchfs_unlink(fs(), "/self"), 0);
}

TEST_F(Paths, ChainsOfSymlinksWorkUpToTheLimit) {
  ASSERT_EQ(make_file("/end"), 0);
  ASSERT_EQ(symlink("end", "/link1"), 0);
  for (int i = 2; i <= 41; ++i) {
    ASSERT_EQ(symlink(fmt::format("link{}", i - 1), fmt::format("/link{}", i)), 0);
  }
  EXPECT_EQ(stat("/link40"), 0) << benchfs_get_error();
  EXPECT_EQ(stat("/link41"), -ELOOP);
}

TEST_F(Paths, ASymlinkHoldsUpTo4095Bytes) {
  std::string target(4095, 't');
  ASSERT_EQ(symlink(target, "/link"), 0) << benchfs_get_error();
  std::string read(5000, '\0');
  EXPECT_EQ(benchfs_readlink(fs(), "/link", read.data(), read.size()), 4095);
  EXPECT_EQ(read.substr(0, 4095), target);
  EXPECT_EQ(benchfs_readlink(fs(), "/link", read.data(), 10), 10);
  EXPECT_EQ(symlink(target + "t", "/longer"), -ENAMETOOLONG);
  EXPECT_EQ(benchfs_readlink(fs(), "/", read.data(), 10), -EINVAL);
}

TEST_F(Paths, CreatingThroughADanglingSymlinkMakesItsTarget) {
  ASSERT_EQ(symlink("made", "/link"), 0);
  benchfs_file_t* file = benchfs_open(fs(), "/link", O_CREAT | O_WRONLY, 0644);
  ASSERT_NE(file, nullptr) << benchfs_get_error();
  EXPECT_EQ(benchfs_close(file), 0);
  EXPECT_EQ(benchfs_lstat(fs(), "/made", &last_), 0);
  EXPECT_TRUE(S_ISREG(last_.st_mode));
  EXPECT_EQ(make_file("/link"), -EEXIST);
}

}  // namespace
}  // namespace benchfs::test
