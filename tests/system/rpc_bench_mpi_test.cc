// benchfs_rpc_bench under a real mpirun on this host.
#include <fmt/format.h>
#include <sysexits.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "system/bench_report.h"
#include "system/mpi_job.h"

namespace benchfs::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr int kBenchRanks = 4;  // 0 and 1 serve, 2 and 3 call

class RpcBenchMpi : public MpiTest {
 protected:
  Process start(int ranks, std::vector<std::string> more) {
    std::vector<std::string> arguments = {RPC_BENCH_PROGRAM, registry()};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return start_ranks(ranks, std::move(arguments));
  }
  Ended run(int ranks, std::vector<std::string> more) {
    return start(ranks, std::move(more)).wait(patience());
  }
  // The report that `more … --json -` prints.
  json report_of(int ranks, std::vector<std::string> more) {
    more.insert(more.end(), {"--json", "-"});
    Ended ended = run(ranks, std::move(more));
    EXPECT_EQ(ended.exit_code, 0) << ended.err;
    EXPECT_EQ(occurrences(ended.err, " error "), 0) << ended.err;
    json report = json::parse(ended.out, nullptr, false);
    EXPECT_TRUE(report.is_object()) << ended.out;
    return report.is_object() ? report : json::object();
  }
  // Four ranks that have begun to ping, and would for much longer than the test.
  Process start_pinging(std::vector<std::string> more = {}) {
    more.insert(more.end(), {"--seconds", "600", "--path", "persistent,ucx-floor"});
    Process job = start(kBenchRanks, std::move(more));
    EXPECT_TRUE(wait_for_pings()) << job.err();
    ranks_ = children_of(job.pid());
    EXPECT_EQ(ranks_.size(), static_cast<std::size_t>(kBenchRanks));
    return job;
  }
  // `number`: of those that call, in any order.
  pid_t pid_of_caller(std::size_t number) const {
    std::vector<pid_t> callers = ranks_;
    std::erase_if(callers,
                  [&](pid_t pid) { return pid == pid_of_rank(0) || pid == pid_of_rank(1); });
    return number < callers.size() ? callers[number] : 0;
  }
  void expect_all_ended() const {
    for (pid_t rank : ranks_) {
      EXPECT_TRUE(wait_for_end(rank, patience())) << rank;
    }
  }
  void expect_usage_error(const Ended& ended, const std::string& text) const {
    EXPECT_EQ(ended.exit_code, EX_USAGE) << ended.err;
    EXPECT_EQ(occurrences(ended.err, "benchfs_rpc_bench: " + text), 1) << ended.err;
    EXPECT_EQ(occurrences(ended.err, "Try: benchfs_rpc_bench --help"), 1) << ended.err;
    EXPECT_TRUE(ended.out.empty()) << ended.out;
    expect_clean_registry();
  }

 private:
  bool wait_for_pings() {
    Deadline deadline = patience();
    while (!deadline.passed()) {
      Ended stats = benchfs({"stats", "--json", "--timeout", "5"});
      if (stats.exit_code == 0 && most_hits(json::parse(stats.out, nullptr, false)) > 1000) {
        return true;
      }
    }
    return false;
  }
  // The largest "hits" of a registry anywhere in `value`.
  static std::uint64_t most_hits(const json& value) {
    std::uint64_t most = 0;
    for (const auto& [key, part] : value.items()) {
      bool is_count = key == "hits" && part.is_number_unsigned();
      most = std::max(most, is_count ? part.get<std::uint64_t>() : 0);
      most = std::max(most, part.is_structured() ? most_hits(part) : 0);
    }
    return most;
  }

  std::vector<pid_t> ranks_;
};

TEST_F(RpcBenchMpi, TwoRanksAreAServerAndAClient) {
  json report = report_of(2, {"--operations=2000", "--payload=8,4K", "--direction=echo"});
  EXPECT_EQ(report["benchmark"], "rpc");
  EXPECT_EQ(report["config"]["clients"], 1);
  EXPECT_EQ(report["system"]["servers"], 1);
  EXPECT_EQ(report["system"]["ranks"], 2);
  EXPECT_EQ(report["system"]["serving_hosts"].size(), 1U);
  EXPECT_EQ(report["system"]["calling_hosts"].size(), 1U);
  EXPECT_GT(report["system"]["client_init_ms"], 0.0);
  EXPECT_GT(report["system"]["server_rss_mib"], 0.0);
  EXPECT_NE(report["command"].get<std::string>().find("mpirun -np 2 benchfs_rpc_bench"),
            std::string::npos);
  ASSERT_EQ(report["results"].size(), 2U);
  for (const json& result : report["results"]) {
    expect_rpc_result_fields(result);
    EXPECT_EQ(result["operations"], 2000);
  }
  EXPECT_GT(report["registry"]["hits"], 4000);
  expect_clean_registry();
}

TEST_F(RpcBenchMpi, FourRanksCompareEveryPath) {
  json report = report_of(kBenchRanks,
                          {"--path=all",
                           "--clients=1,2",
                           "--depth=1,4",
                           "--payload=0,64K",
                           "--rounds=2",
                           "--operations=16",
                           "--warmup=2",
                           "--shards=2",
                           "--html=" + path("report.html")});
  EXPECT_EQ(report["system"]["servers"], 2);
  EXPECT_EQ(report["system"]["shards"], 4);
  EXPECT_EQ(report["config"]["clients"], 2);
  ASSERT_EQ(report["results"].size(), 4U * 2 * 2 * 2);
  for (const json& result : report["results"]) {
    expect_rpc_result_fields(result);
    EXPECT_EQ(result["rounds"], 2);
    EXPECT_EQ(result["operations"], 2 * 16 * result["clients"].get<int>());
  }
  for (const char* name : {"persistent", "reply-ep", "new-endpoint", "ucx-floor"}) {
    EXPECT_EQ(std::ranges::count(
                  report["results"], json(name), [](const json& result) { return result["path"]; }),
              2 * 2 * 2)
        << name;
  }
  EXPECT_FALSE(report["summary"].empty());
  EXPECT_NE(read_file(path("report.html")).find("ucx-floor"), std::string::npos);
  expect_clean_registry();
}

TEST_F(RpcBenchMpi, PeopleGetATableFromOneRank) {
  Ended ended = run(kBenchRanks, {"--operations=200", "--warmup=2"});
  EXPECT_EQ(ended.exit_code, 0) << ended.err;
  EXPECT_EQ(occurrences(ended.out, "ops/s"), 1) << ended.out;
  EXPECT_EQ(occurrences(ended.out, "2 servers, 2 shards, memory engine"), 1) << ended.out;
}

TEST_F(RpcBenchMpi, AnOddNumberOfRanksIsOneErrorThatSaysWhatToDo) {
  expect_usage_error(run(1, {}), "started with 1 rank; half of them serve and half call");
  expect_usage_error(run(3, {}), "started with 3 ranks; half of them serve and half call");
}

TEST_F(RpcBenchMpi, AWrongOptionIsOneError) {
  expect_usage_error(run(2, {"--path", "carrier-pigeon"}), "--path: carrier-pigeon");
  expect_usage_error(run(2, {"--clients", "2"}), "--clients 2: of 2 ranks only 1 call");
  Ended setting = run(2, {"--set", "storage.engin=x"});
  EXPECT_EQ(setting.exit_code, EX_CONFIG) << setting.err;
  EXPECT_EQ(occurrences(setting.err, "engin "), 1) << setting.err;
  expect_clean_registry();
}

TEST_F(RpcBenchMpi, HelpNeedsNoMpirunAndShowsHowToUseIt) {
  Ended help = Process({RPC_BENCH_PROGRAM, "--help"}, path("tmp")).wait(patience());
  EXPECT_EQ(help.exit_code, 0);
  for (const char* text :
       {"mpirun -np 4", "--mca pml ob1", "srun", "--path", "--limit", "ucx-floor"}) {
    EXPECT_NE(help.out.find(text), std::string::npos) << text << "\n" << help.out;
  }
}

TEST_F(RpcBenchMpi, ASignalToAnyRankEndsAllInOrder) {
  for (int number = 0; number < kBenchRanks; ++number) {
    Process job = start_pinging();
    pid_t rank =
        number < 2 ? pid_of_rank(number) : pid_of_caller(static_cast<std::size_t>(number - 2));
    ASSERT_GT(rank, 0);
    ::kill(rank, number % 2 == 0 ? SIGTERM : SIGINT);
    Ended ended = job.wait(patience());
    EXPECT_EQ(ended.exit_code, EX_TEMPFAIL) << ended.err;
    EXPECT_EQ(occurrences(ended.err, " error "), 0) << ended.err;
    EXPECT_EQ(occurrences(ended.err, "stopped before the benchmark was done"), 1) << ended.err;
    EXPECT_TRUE(ended.out.empty()) << ended.out;
    expect_all_ended();
    expect_clean_registry();
  }
}

TEST_F(RpcBenchMpi, ASignalToMpirunEndsAllInOrder) {
  Process job = start_pinging();
  job.signal(SIGTERM);
  Ended ended = job.wait(patience());
  EXPECT_NE(ended.exit_code, 0);
  EXPECT_EQ(occurrences(ended.err, " error "), 0) << ended.err;
  expect_all_ended();
}

TEST_F(RpcBenchMpi, AKilledRankEndsTheJob) {
  for (int number : {1, 3}) {
    Process job = start_pinging();
    pid_t rank = number == 1 ? pid_of_rank(1) : pid_of_caller(1);
    ASSERT_GT(rank, 0);
    ::kill(rank, SIGKILL);
    Ended ended = job.wait(patience());
    EXPECT_NE(ended.exit_code, 0);
    expect_all_ended();
  }
  // Its remains do not prevent the next run.
  json report = report_of(2, {"--operations=100"});
  ASSERT_EQ(report["results"].size(), 1U);
  expect_rpc_result_fields(report["results"][0]);
  expect_clean_registry();
}

TEST_F(RpcBenchMpi, ARunThatTakesTooLongIsEnded) {
  Ended ended = run(2, {"--seconds", "600", "--limit", "1"});
  EXPECT_EQ(ended.exit_code, EX_TEMPFAIL) << ended.err;
  EXPECT_EQ(occurrences(ended.err, "not done after 1 s; raise --limit"), 1) << ended.err;
  expect_clean_registry();
}

TEST_F(RpcBenchMpi, ReportsThatCannotBeWrittenAreAnError) {
  Ended ended = run(2, {"--operations", "10", "--json", path("none/report.json")});
  EXPECT_EQ(ended.exit_code, EX_CANTCREAT) << ended.err;
  EXPECT_EQ(occurrences(ended.err, " error "), 1) << ended.err;
  EXPECT_NE(ended.err.find("none/report.json"), std::string::npos) << ended.err;
}

}  // namespace
}  // namespace benchfs::test
