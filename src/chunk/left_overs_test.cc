#include "chunk/left_overs.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>

#include "chunk/store_fixture.h"

namespace benchfs::chunk {
namespace {

TEST(LeftOvers, SegmentFilesThatNobodyHoldsAreFoundAndRemoved) {
  TemporaryDirectory directory;
  std::string data = directory.path() + "/data";
  EXPECT_TRUE(find_left_overs(data)->empty()) << "an absent directory";
  for (const char* shard : {"node_0", "node_1"}) {
    std::filesystem::create_directories(data + "/" + shard);
    std::ofstream(data + "/" + shard + "/segment_000000.dat") << "old";
    std::ofstream(data + "/" + shard + "/lock") << "";
  }
  std::ofstream(data + "/node_0/mine") << "not ours";
  std::ofstream(directory.path() + "/precious") << "precious";
  std::filesystem::create_symlink(directory.path() + "/precious",
                                  data + "/node_0/segment_000001.dat");
  std::filesystem::create_directory_symlink(data + "/node_0", data + "/node_2");

  Shard shard;
  Driver running(shard.reactor(),
                 shard.open_file({.directory = data + "/node_3", .slot_bytes = kSlot}).value());
  auto found = find_left_overs(data);
  ASSERT_TRUE(found) << found.error().message();
  ASSERT_EQ(found->size(), 2U);
  EXPECT_GT(found->front().bytes, 0U);

  EXPECT_EQ(remove_left_overs(data)->size(), 2U);
  EXPECT_FALSE(std::filesystem::exists(data + "/node_1")) << "nothing was left in it";
  EXPECT_TRUE(std::filesystem::exists(data + "/node_0/mine"));
  EXPECT_TRUE(std::filesystem::exists(directory.path() + "/precious"));
  EXPECT_TRUE(std::filesystem::exists(data + "/node_3/segment_000000.dat"));
  EXPECT_TRUE(running.fill({wire::InodeId{7}, 0}, 0, 100, 'a'));
  EXPECT_TRUE(find_left_overs(data)->empty());
}

TEST(LeftOvers, ASymbolicLinkIsNoDataDirectory) {
  TemporaryDirectory directory;
  std::filesystem::create_directory(directory.path() + "/elsewhere");
  std::ofstream(directory.path() + "/elsewhere/segment_000000.dat") << "old";
  std::filesystem::create_directory_symlink(directory.path() + "/elsewhere",
                                            directory.path() + "/data");
  EXPECT_FALSE(remove_left_overs(directory.path() + "/data"));
  EXPECT_TRUE(std::filesystem::exists(directory.path() + "/elsewhere/segment_000000.dat"));
}

// In a child process, for the limit cannot be raised again. The exit code says what failed.
int store_with_small_files(const std::string& directory, std::uint64_t limit) {
  rlimit most{.rlim_cur = limit, .rlim_max = limit};
  if (signal(SIGXFSZ, SIG_IGN) == SIG_ERR || setrlimit(RLIMIT_FSIZE, &most) != 0) {
    return 1;
  }
  Shard shard;
  auto store = shard.open_file({.directory = directory, .slot_bytes = kSlot});
  if (limit < kSlot) {
    return !store && store.error().message().find("ulimit -f") != std::string::npos ? 0 : 2;
  }
  if (!store) {
    return 3;
  }
  Driver driver(shard.reactor(), *std::move(store));
  for (std::uint64_t index = 0; index < 20; ++index) {
    if (!driver.fill({wire::InodeId{7}, index}, 0, kSlot, 'a')) {
      return 4;
    }
  }
  most.rlim_cur = kSlot;  // lowered later
  setrlimit(RLIMIT_FSIZE, &most);
  Status status;
  for (std::uint64_t index = 20; index < 30 && status; ++index) {
    status = driver.fill({wire::InodeId{7}, index}, 0, kSlot, 'b');
  }
  bool is_full = !status && status.error().is_posix(ENOSPC);
  return is_full && driver.read({wire::InodeId{7}, 19}) == runs({{kSlot, 'a'}}) ? 0 : 5;
}

TEST(FileSizeLimit, SegmentsKeepWithinItAndWritesBeyondItFindNoSpace) {
  for (std::uint64_t limit : {3 * std::uint64_t{kSlot} + 100, std::uint64_t{1000}}) {
    TemporaryDirectory directory;
    pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      _exit(store_with_small_files(directory.path(), limit));
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFEXITED(status)) << status;
    EXPECT_EQ(WEXITSTATUS(status), 0) << "limit " << limit;
  }
}

}  // namespace
}  // namespace benchfs::chunk
