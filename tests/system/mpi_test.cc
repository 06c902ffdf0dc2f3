// benchfsd_mpi under a real mpirun, four ranks on this host.
#include <fmt/format.h>
#include <sysexits.h>

#include <csignal>

#include "base/pid_file.h"
#include "cluster/server_list_file.h"
#include "system/mpi_job.h"

namespace benchfs::test {
namespace {

constexpr int kRanks = 4;

class Mpi : public MpiTest {
 protected:
  Process start_daemons(const std::string& registry_dir, std::vector<std::string> more = {}) {
    std::vector<std::string> arguments = {BENCHFSD_MPI_PROGRAM, registry_dir};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return start_ranks(kRanks, std::move(arguments));
  }
  Process start_serving(std::vector<std::string> more = {}) {
    Process job = start_daemons(registry(), std::move(more));
    EXPECT_TRUE(job.wait_for_line("all 4 ranks are ready", patience())) << job.err();
    return job;
  }
};

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
  EXPECT_EQ(occurrences(ended.err, " error "), 0) << ended.err;
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
  EXPECT_EQ(occurrences(ended.err, " error "), 0) << ended.err;
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
  // Its remains do not prevent the next run.
  Process next = start_serving();
  ::kill(pid_of_rank(3), SIGTERM);
  ended = next.wait(patience());
  EXPECT_EQ(ended.exit_code, 0) << ended.err;
  expect_clean_registry();
}

TEST_F(Mpi, AMissingRegistryDirectoryIsOneErrorNamingRankAndHost) {
  Ended ended = start_daemons(path("none/registry")).wait(patience());
  EXPECT_EQ(ended.exit_code, EX_CANTCREAT) << ended.err;
  EXPECT_EQ(occurrences(ended.err, " error "), 1) << ended.err;
  std::string said = fmt::format("benchfsd_mpi rank 0 on {}: cannot use registry directory {}",
                                 this_process().host,
                                 path("none/registry"));
  EXPECT_NE(ended.err.find(said), std::string::npos) << ended.err;
}

TEST_F(Mpi, APortInUseOnOneRankIsOneError) {
  // All ranks want the same port of this host; one gets it.
  Ended ended = start_daemons(registry(), {"--set", "network.port=17471"}).wait(patience());
  EXPECT_EQ(ended.exit_code, EX_UNAVAILABLE) << ended.err;
  EXPECT_EQ(occurrences(ended.err, " error "), 1) << ended.err;
  EXPECT_NE(ended.err.find("is port 17471 free"), std::string::npos) << ended.err;
  expect_clean_registry();
}

TEST_F(Mpi, AWrongSettingIsOneError) {
  Ended ended = start_daemons(registry(), {"--set", "storage.engin=x"}).wait(patience());
  EXPECT_EQ(ended.exit_code, EX_CONFIG) << ended.err;
  EXPECT_EQ(occurrences(ended.err, "engin "), 1) << ended.err;
}

TEST_F(Mpi, TheConfigurationIsPrintedOnceAsByBenchfsd) {
  write_file(path("file.toml"), "[clients]\nmax_clients = 77\n");
  std::vector<std::string> options = {"--print-config", "--config", path("file.toml")};
  Ended printed = start_ranks(kRanks, {BENCHFSD_MPI_PROGRAM, options[0], options[1], options[2]})
                      .wait(patience());
  EXPECT_EQ(printed.exit_code, 0) << printed.err;
  options.insert(options.end(),
                 {"--engine", "memory", "--listen", "127.0.0.1", "--set", "network.devices=lo"});
  Ended alone = benchfsd(options);
  EXPECT_EQ(alone.exit_code, 0) << alone.err;
  EXPECT_NE(printed.out.find("max_clients = 77"), std::string::npos) << printed.out;
  EXPECT_EQ(printed.out, alone.out);
  expect_clean_registry();

  Ended wrong =
      start_daemons(registry(), {"--print-config", "--set", "storage.engin=x"}).wait(patience());
  EXPECT_EQ(wrong.exit_code, EX_CONFIG) << wrong.err;
  EXPECT_EQ(occurrences(wrong.err, "engin "), 1) << wrong.err;
}

// With this flag mpirun returns 0 whatever the ranks do.
TEST_F(Mpi, MpirunsRecoveryIsWarnedOf) {
  Process job = start_ranks(kRanks, {"--enable-recovery", BENCHFSD_MPI_PROGRAM, registry()});
  ASSERT_TRUE(job.wait_for_line("all 4 ranks are ready", patience())) << job.err();
  ::kill(pid_of_rank(0), SIGTERM);
  Ended ended = job.wait(patience());
  EXPECT_EQ(ended.exit_code, 0) << ended.err;
  EXPECT_EQ(occurrences(ended.err, "mpirun --enable-recovery: "), 1) << ended.err;
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
