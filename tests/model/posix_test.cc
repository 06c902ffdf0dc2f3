// Rules of POSIX that hold without relaxation, against clusters of several shards.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "model/fixture.h"

namespace benchfs::test {
namespace {

class Posix : public ::testing::Test {
 protected:
  void start(ClusterConfig config) {
    BENCHFS_TEST_ASSIGN(cluster, Cluster::start(config));
    cluster_ = std::move(cluster);
    context_ = connect(*cluster_);
    ASSERT_NE(context_, nullptr);
  }
  benchfs_context_t* fs() { return context_.get(); }
  benchfs_file_t* open(const std::string& path, int flags = O_CREAT | O_RDWR) {
    benchfs_file_t* file = benchfs_open(fs(), path.c_str(), flags, 0644);
    EXPECT_NE(file, nullptr) << benchfs_get_error();
    return file;
  }
  std::unique_ptr<Cluster> cluster_;
  ContextPtr context_;
};

TEST_F(Posix, OpeningForReadingAndTruncatingTruncates) {
  start({.servers = 4});
  for (int i = 0; i < 8; ++i) {
    std::string path = "/f" + std::to_string(i);
    benchfs_file_t* file = open(path);
    EXPECT_EQ(benchfs_write(file, "12345678", 8), 8);
    EXPECT_EQ(benchfs_close(file), 0);
    file = open(path, O_RDONLY | O_TRUNC);
    EXPECT_EQ(benchfs_get_file_size(fs(), path.c_str()), 0) << path;
    EXPECT_EQ(benchfs_close(file), 0);
  }
  ASSERT_EQ(benchfs_mkdir(fs(), "/d", 0755), 0);
  EXPECT_EQ(benchfs_open(fs(), "/d", O_RDONLY | O_TRUNC, 0), nullptr);
  EXPECT_EQ(errno, EISDIR) << benchfs_get_error();
}

TEST_F(Posix, AnOpenFileOrDirectoryThatWasRemovedHasItsAttributes) {
  start({.servers = 4});
  for (int i = 0; i < 8; ++i) {
    std::string path = "/f" + std::to_string(i);
    benchfs_file_t* file = open(path);
    EXPECT_EQ(benchfs_unlink(fs(), path.c_str()), 0);
    EXPECT_EQ(benchfs_write(file, "12345678", 8), 8) << benchfs_get_error();
    benchfs_stat_t stat;
    EXPECT_EQ(benchfs_fstat(file, &stat), 0) << benchfs_get_error();
    EXPECT_EQ(stat.st_size, 8);
    EXPECT_EQ(benchfs_close(file), 0);

    std::string name = "/d" + std::to_string(i);
    ASSERT_EQ(benchfs_mkdir(fs(), name.c_str(), 0755), 0);
    benchfs_file_t* directory = open(name, O_RDONLY);
    EXPECT_EQ(benchfs_rmdir(fs(), name.c_str()), 0);
    EXPECT_EQ(benchfs_fstat(directory, &stat), 0) << benchfs_get_error();
    EXPECT_TRUE(S_ISDIR(stat.st_mode));
    EXPECT_EQ(benchfs_close(directory), 0);
  }
}

TEST_F(Posix, ASetGidDirectoryHandsOnItsGroup) {
  start({.servers = 4});
  ASSERT_EQ(benchfs_mkdir(fs(), "/d", 0755), 0);
  ASSERT_EQ(benchfs_chmod(fs(), "/d", 02755), 0);
  benchfs_stat_t parent;
  ASSERT_EQ(benchfs_stat(fs(), "/d", &parent), 0);
  EXPECT_EQ(benchfs_mkdir(fs(), "/d/sub", 0750), 0);
  benchfs_stat_t stat;
  ASSERT_EQ(benchfs_stat(fs(), "/d/sub", &stat), 0);
  EXPECT_EQ(stat.st_mode & 07777, 02750U);
  EXPECT_EQ(stat.st_gid, parent.st_gid);
  EXPECT_EQ(benchfs_close(open("/d/sub/f")), 0);
  ASSERT_EQ(benchfs_stat(fs(), "/d/sub/f", &stat), 0);
  EXPECT_EQ(stat.st_mode & 07777, 0644U);
  EXPECT_EQ(stat.st_gid, parent.st_gid);
}

TEST_F(Posix, AWriteThatFillsTheServersReturnsWhatWasStored) {
  start({.servers = 2, .memory_bytes = std::uint64_t{8} << 20});
  benchfs_file_t* file = open("/f");
  std::vector<char> bytes(std::size_t{64} << 20, 'x');
  ssize_t written = benchfs_write(file, bytes.data(), bytes.size());
  ASSERT_GT(written, 0) << benchfs_get_error();
  EXPECT_LT(written, static_cast<ssize_t>(bytes.size()));
  std::vector<char> read(static_cast<std::size_t>(written));
  EXPECT_EQ(benchfs_pread(file, read.data(), read.size(), 0), written);
  EXPECT_EQ(read, std::vector<char>(bytes.begin(), bytes.begin() + written));
  ssize_t more = 1;
  for (int i = 0; i < 1000 && more > 0; ++i) {  // until nothing fits any more
    more = benchfs_write(file, bytes.data(), bytes.size());
  }
  EXPECT_EQ(more, -ENOSPC);
  EXPECT_NE(std::string(benchfs_get_error()).find("node_"), std::string::npos)
      << benchfs_get_error();
  EXPECT_EQ(benchfs_close(file), 0);
}

TEST_F(Posix, FinalizingWithOpenFilesDoesNotWaitForAFrozenServer) {
  start({.servers = 2});
  for (int i = 0; i < 40; ++i) {
    open("/f" + std::to_string(i));
  }
  cluster_->freeze(1);
  ContextPtr other = std::move(context_);
  EXPECT_EQ(benchfs_finalize(other.release()), 0) << benchfs_get_error();
  cluster_->thaw(1);
}

// Programs that remember what they saw in a directory compare its times, whoever changed it.
TEST_F(Posix, EveryChangeOfADirectoryShowsInItsTimesAndLinksAtOnce) {
  start({.servers = 4});
  ContextPtr other = connect(*cluster_);
  ASSERT_NE(other, nullptr);
  ASSERT_EQ(benchfs_mkdir(fs(), "/d", 0755), 0);
  ASSERT_EQ(benchfs_mkdir(fs(), "/e", 0755), 0);
  std::uint64_t links = 2;
  std::map<std::string, benchfs_stat_t> before;
  auto look = [&](const char* directory) {
    benchfs_stat_t now;
    EXPECT_EQ(benchfs_stat(other.get(), directory, &now), 0) << benchfs_get_error();
    return now;
  };
  for (const char* directory : {"/d", "/e"}) {
    before[directory] = look(directory);
  }
  auto expect_changed = [&](const std::string& what, bool is_changed, const char* directory) {
    benchfs_stat_t now = look(directory);
    benchfs_stat_t& last = before[directory];
    auto is_later = [](const timespec& a, const timespec& b) {
      return std::pair(a.tv_sec, a.tv_nsec) > std::pair(b.tv_sec, b.tv_nsec);
    };
    EXPECT_EQ(is_later(now.st_mtim, last.st_mtim), is_changed) << what;
    EXPECT_EQ(is_later(now.st_ctim, last.st_ctim), is_changed) << what;
    if (std::string_view(directory) == "/d") {
      EXPECT_EQ(now.st_nlink, links) << what;
    }
    last = now;
  };
  for (int i = 0; i < 12; ++i) {
    std::string path = "/d/" + std::to_string(i);
    std::string moved = "/e/" + std::to_string(i);
    ASSERT_EQ(benchfs_close(open(path)), 0);
    expect_changed("create", true, "/d");
    expect_changed("nothing", false, "/d");
    ASSERT_EQ(benchfs_link(fs(), path.c_str(), (path + "l").c_str()), 0) << benchfs_get_error();
    expect_changed("link", true, "/d");
    ASSERT_EQ(benchfs_rename(fs(), path.c_str(), moved.c_str()), 0);
    expect_changed("rename out of it", true, "/d");
    expect_changed("rename into it", true, "/e");
    for (int j = 0; j < 5; ++j) {
      expect_changed("nothing", false, "/d");
      expect_changed("nothing", false, "/e");
    }
    ASSERT_EQ(benchfs_unlink(fs(), (path + "l").c_str()), 0);
    expect_changed("unlink", true, "/d");
    ASSERT_EQ(benchfs_mkdir(fs(), path.c_str(), 0755), 0);
    ++links;
    expect_changed("mkdir", true, "/d");
    if (i % 2 == 0) {
      ASSERT_EQ(benchfs_rename(fs(), path.c_str(), (moved + "d").c_str()), 0);
      --links;
      expect_changed("rename of a directory out of it", true, "/d");
      expect_changed("rename of a directory into it", true, "/e");
    } else if (i % 3 == 0) {
      ASSERT_EQ(benchfs_rmdir(fs(), path.c_str()), 0);
      --links;
      expect_changed("rmdir", true, "/d");
    }
  }
}

}  // namespace
}  // namespace benchfs::test
