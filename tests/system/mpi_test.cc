// benchfsd_mpi under a real mpirun, four ranks on this host.
#include <fmt/format.h>
#include <sysexits.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>

#include "base/pid_file.h"
#include "cluster/server_list_file.h"
#include "system/system_test.h"

namespace benchfs::test {
namespace {

namespace fs = std::filesystem;

constexpr int kRanks = 4;

class Mpi : public SystemTest {
 protected:
  void SetUp() override {
    // mpirun puts its session files where TMPDIR says, and leaves them when it is killed.
    fs::create_directory(path("tmp"));
    setenv("TMPDIR", path("tmp").c_str(), 1);
    fs::create_directory(registry());
    // Open MPI never frees some of what its plugins allocate, and unloads them before LeakSanitizer
    // looks, so that no suppression can name them. All other checks stay on.
    const char* options = std::getenv("ASAN_OPTIONS");
    asan_options_ = options == nullptr ? "" : options;
    setenv("ASAN_OPTIONS", (asan_options_ + ":detect_leaks=0").c_str(), 1);
  }
  void TearDown() override {
    unsetenv("TMPDIR");
    setenv("ASAN_OPTIONS", asan_options_.c_str(), 1);
  }

  Process start_ranks(std::vector<std::string> arguments) {
    std::vector<std::string> all = {
        MPIRUN_PROGRAM, "--oversubscribe", "--bind-to", "none", "-np", fmt::to_string(kRanks)};
    if (geteuid() == 0) {
      all.insert(all.begin() + 1, "--allow-run-as-root");
    }
    all.insert(all.end(), arguments.begin(), arguments.end());
    return {std::move(all), path("tmp")};
  }
  Process start_daemons(const std::string& registry_dir, std::vector<std::string> more = {}) {
    std::vector<std::string> arguments = {BENCHFSD_MPI_PROGRAM,
                                          registry_dir,
                                          "--engine",
                                          "memory",
                                          "--listen",
                                          "127.0.0.1",
                                          "--set",
                                          "network.devices=lo"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return start_ranks(std::move(arguments));
  }
  Process start_serving(std::vector<std::string> more = {}) {
    Process job = start_daemons(registry(), std::move(more));
    EXPECT_TRUE(job.wait_for_line("all 4 ranks serve", patience())) << job.err();
    return job;
  }
  // 0 when it cannot be read.
  pid_t pid_of_rank(int rank) const {
    Result<ProcessRecord> process = PidFile::read(fmt::format("{}/pid/node_{}", registry(), rank));
    return process ? process->pid : 0;
  }
  void expect_clean_registry() const {
    EXPECT_TRUE(fs::is_empty(registry())) << "something was left behind";
  }

 private:
  std::string asan_options_;
};

// How often `text` occurs in `all`.
int count(const std::string& all, const std::string& text) {
  int found = 0;
  for (std::size_t at = all.find(text); at != std::string::npos; at = all.find(text, at + 1)) {
    ++found;
  }
  return found;
}

TEST_F(Mpi, TheListIsCompleteAndFilesAreUsableFromOutside) {
  Process job = start_serving({"--shards", "2"});
  auto list = cluster::read_server_list(registry());
  ASSERT_TRUE(list) << list.error().to_error().message();
  ASSERT_EQ(list->servers.size(), 2U * kRanks);
  EXPECT_EQ(list->expected, 2U * kRanks);
  EXPECT_EQ(list->servers.front().node_id, "node_0.0");
  EXPECT_EQ(list->servers.back().node_id, "node_3.1");

  write_file(path("here"), std::string(100'000, 'x') + "end");
  EXPECT_EQ(benchfs({"mkdir", "bfs:/d"}).exit_code, 0);
  Ended copied = benchfs({"cp", path("here"), "bfs:/d/there"});
  EXPECT_EQ(copied.exit_code, 0) << copied.err;
  EXPECT_EQ(benchfs({"cp", "bfs:/d/there", path("back")}).exit_code, 0);
  EXPECT_TRUE(read_file(path("back")) == read_file(path("here")));
  EXPECT_EQ(benchfs({"status"}).exit_code, 0);

  ::kill(pid_of_rank(0), SIGINT);
  Ended ended = job.wait(patience());
  EXPECT_EQ(ended.exit_code, 0) << ended.err;
  expect_clean_registry();
}

TEST_F(Mpi, ASignalToAnyRankEndsAllInOrder) {
  Process job = start_serving();
  auto client = connect();
  ASSERT_NE(client, nullptr);
  ::kill(pid_of_rank(2), SIGTERM);
  Ended ended = job.wait(patience());
  EXPECT_EQ(ended.exit_code, 0) << ended.err;
  EXPECT_EQ(count(ended.err, " error "), 0) << ended.err;
  expect_clean_registry();
}

TEST_F(Mpi, ASignalToMpirunEndsAllInOrder) {
  Process job = start_serving();
  pid_t ranks[kRanks];
  for (int rank = 0; rank < kRanks; ++rank) {
    ranks[rank] = pid_of_rank(rank);
    ASSERT_GT(ranks[rank], 0);
  }
  job.signal(SIGTERM);
  Ended ended = job.wait(patience());  // mpirun itself then always ends with 1
  for (pid_t rank : ranks) {
    EXPECT_TRUE(wait_for_end(rank, patience()));
  }
  EXPECT_NE(ended.err.find("node_0 stopped"), std::string::npos) << ended.err;
  EXPECT_EQ(count(ended.err, " error "), 0) << ended.err;
  expect_clean_registry();
}

TEST_F(Mpi, AKilledRankDoesNotKeepTheOthers) {
  Process job = start_serving();
  pid_t ranks[kRanks];
  for (int rank = 0; rank < kRanks; ++rank) {
    ranks[rank] = pid_of_rank(rank);
    ASSERT_GT(ranks[rank], 0);
  }
  ::kill(ranks[1], SIGKILL);
  Ended ended = job.wait(patience());
  EXPECT_NE(ended.exit_code, 0);
  for (pid_t rank : ranks) {
    EXPECT_TRUE(wait_for_end(rank, patience()));
  }
  // What is left of it is no obstacle for the next run.
  Process next = start_serving();
  ::kill(pid_of_rank(3), SIGTERM);
  ended = next.wait(patience());
  EXPECT_EQ(ended.exit_code, 0) << ended.err;
  expect_clean_registry();
}

TEST_F(Mpi, AMissingRegistryDirectoryIsOneErrorNamingRankAndHost) {
  Ended ended = start_daemons(path("none/registry")).wait(patience());
  EXPECT_EQ(ended.exit_code, EX_CANTCREAT) << ended.err;
  EXPECT_EQ(count(ended.err, " error "), 1) << ended.err;
  std::string said = fmt::format("benchfsd_mpi rank 0 on {}: cannot use registry directory {}",
                                 this_process().host,
                                 path("none/registry"));
  EXPECT_NE(ended.err.find(said), std::string::npos) << ended.err;
}

TEST_F(Mpi, APortInUseOnOneRankIsOneError) {
  // All ranks want the same port of this host; one gets it.
  Ended ended = start_daemons(registry(), {"--set", "network.port=17471"}).wait(patience());
  EXPECT_EQ(ended.exit_code, EX_UNAVAILABLE) << ended.err;
  EXPECT_EQ(count(ended.err, " error "), 1) << ended.err;
  EXPECT_NE(ended.err.find("is port 17471 free"), std::string::npos) << ended.err;
  expect_clean_registry();
}

TEST_F(Mpi, AWrongSettingIsOneError) {
  Ended ended = start_daemons(registry(), {"--set", "storage.engin=x"}).wait(patience());
  EXPECT_EQ(ended.exit_code, EX_CONFIG) << ended.err;
  EXPECT_EQ(count(ended.err, "engin "), 1) << ended.err;
}

TEST_F(Mpi, ADirectoryInUseIsRefusedAndItsOwnerUnharmed) {
  Process first = start_serving();
  Ended second = start_daemons(registry()).wait(patience());
  EXPECT_EQ(second.exit_code, EX_UNAVAILABLE) << second.err;
  EXPECT_NE(second.err.find(fmt::format("node_0 is process {}", pid_of_rank(0))), std::string::npos)
      << second.err;
  EXPECT_EQ(benchfs({"status"}).exit_code, 0);
  ::kill(pid_of_rank(1), SIGTERM);
  Ended ended = first.wait(patience());
  EXPECT_EQ(ended.exit_code, 0) << ended.err;
}

}  // namespace
}  // namespace benchfs::test
