// Rules of POSIX that hold without relaxation, against clusters of several shards.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>
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

}  // namespace
}  // namespace benchfs::test
