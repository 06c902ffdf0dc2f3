// benchfs bench: real clients, a real cluster, the report as programs and as people read it.
#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <filesystem>

#include "system/bench_report.h"
#include "system/system_test.h"

namespace benchfs::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

class Bench : public SystemTest {
 protected:
  void SetUp() override { cluster_ = up({"--servers", "2", "--engine", "memory"}); }

  // The report of `benchfs bench ARGUMENTS… --json -`.
  json bench(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "bench");
    arguments.insert(arguments.end(), {"--json", "-"});
    Ended ended = benchfs(std::move(arguments));
    EXPECT_EQ(ended.exit_code, 0) << ended.err;
    json report = json::parse(ended.out, nullptr, false);
    EXPECT_TRUE(report.is_object()) << ended.out;
    return report.is_object() ? report : json::object();
  }
  // `benchfs bench rpc`, running for much longer than the test.
  Process start_rpc(std::vector<std::string> arguments) {
    std::vector<std::string> words = {
        BENCHFS_PROGRAM, "--registry-dir", registry(), "bench", "rpc", "--seconds", "600"};
    words.insert(words.end(), arguments.begin(), arguments.end());
    return {std::move(words), path("")};
  }
  // Waits until the servers have answered this many pings.
  bool wait_for_pings(std::uint64_t count) {
    auto client = connect();
    if (client == nullptr) {
      return false;
    }
    Deadline deadline = patience();
    while (!deadline.passed()) {
      auto stats = client->run(client->fs().shard_stats(wire::ShardId{0}));
      json parsed = json::parse(stats.value_or("{}"), nullptr, false);
      if (parsed.value("registry", json::object()).value("hits", std::uint64_t{0}) > count) {
        return true;
      }
    }
    return false;
  }

  json cluster_;
};

bool runs_command(pid_t pid, const std::string& command) {
  return read_file(fmt::format("/proc/{}/cmdline", pid)).find(command) != std::string::npos;
}

TEST_F(Bench, RpcComparesEveryPath) {
  json report = bench({"rpc",
                       "--path=all",
                       "--payload=0,64K",
                       "--direction=send,echo",
                       "--depth=1,4",
                       "--clients=1,2",
                       "--rounds=2",
                       "--operations=8",
                       "--warmup=2"});
  EXPECT_EQ(report["benchmark"], "rpc");
  EXPECT_EQ(report["system"]["servers"], 2);
  EXPECT_NE(report["command"].get<std::string>().find("bench rpc --path=all"), std::string::npos);
  ASSERT_EQ(report["results"].size(), 5U * 2 * 2 * 2 * 2);
  for (const json& result : report["results"]) {
    expect_rpc_result_fields(result);
    EXPECT_EQ(result["rounds"], 2);
    EXPECT_EQ(result["operations"], 2 * 8 * result["clients"].get<int>());
    EXPECT_GT(result["cpu_s_per_million"]["server"], 0.0) << result.dump();
  }
  for (const char* path : {"persistent", "node", "reply-ep", "new-endpoint", "ucx-floor"}) {
    EXPECT_EQ(std::ranges::count(
                  report["results"], json(path), [](const json& result) { return result["path"]; }),
              2 * 2 * 2 * 2);
  }
  const json& registry = report["registry"];
  for (const char* key :
       {"hits", "misses", "evictions", "hit_rate", "replaced", "rejected", "high_water"}) {
    EXPECT_TRUE(registry.contains(key)) << key;
  }
  EXPECT_GT(registry["hits"], 2 * 8 * 2 * 2 * 2);
  EXPECT_GE(registry["high_water"], 2);
  EXPECT_FALSE(report["summary"].empty());
}

TEST_F(Bench, PingsOfFourMebibytesWork) {
  json report = bench({"rpc",
                       "--path=persistent,ucx-floor",
                       "--payload=4M",
                       "--direction=send,receive,echo",
                       "--depth=6",
                       "--operations=12",
                       "--rounds=1"});
  ASSERT_EQ(report["results"].size(), 6U);
  for (const json& result : report["results"]) {
    expect_rpc_result_fields(result);
    EXPECT_GT(result["mib_per_s"], 0.0);
  }
}

TEST_F(Bench, LargerPingsAndUnknownPathsAreUsageErrors) {
  EXPECT_EQ(benchfs({"bench", "rpc", "--payload", "5M"}).exit_code, 2);
  Ended unknown = benchfs({"bench", "rpc", "--path", "carrier-pigeon"});
  EXPECT_EQ(unknown.exit_code, 2);
  EXPECT_NE(unknown.err.find("carrier-pigeon"), std::string::npos) << unknown.err;
}

TEST_F(Bench, IoVerifiesWhatItWrote) {
  for (const char* layout : {"--shared", "--file-per-process"}) {
    json report = bench({"io", "--clients=2", "--size=1M", "--request=64K", "--depth=2", layout});
    ASSERT_GE(report["results"].size(), 2U);
    for (const json& result : report["results"]) {
      expect_result_fields(result);
      EXPECT_EQ(result["clients"], 2);
    }
    EXPECT_EQ(report["results"][0]["phase"], "write");
    EXPECT_EQ(report["results"][0]["operations"], 32);
  }
  auto client = connect();
  ASSERT_NE(client, nullptr);
}

TEST_F(Bench, IoVerifiesWhatItWroteAgain) {
  json report = bench({"io", "--clients=2", "--size=1M", "--request=64K", "--rewrites=3"});
  ASSERT_EQ(report["results"].size(), 3U);
  for (const json& result : report["results"]) {
    expect_result_fields(result);
  }
  EXPECT_EQ(report["results"][1]["phase"], "rewrite");
  EXPECT_EQ(report["results"][1]["operations"], 3 * 32);
}

TEST_F(Bench, MdVerifiesEveryName) {
  for (const char* shared : {"", "--shared-dir"}) {
    std::vector<std::string> arguments = {"md", "--clients=2", "--files=40", "--depth=4"};
    if (*shared != '\0') {
      arguments.emplace_back(shared);
    }
    json report = bench(arguments);
    ASSERT_GE(report["results"].size(), 5U);
    for (const json& result : report["results"]) {
      expect_result_fields(result);
      EXPECT_FALSE(result.contains("requests_per_op")) << "several clients";
    }
  }
}

TEST_F(Bench, MdHardWritesReadsAndVerifiesSmallFiles) {
  json report = bench({"md", "--clients=2", "--files=40", "--depth=4", "--hard"});
  std::vector<std::string> phases;
  for (const json& result : report["results"]) {
    expect_result_fields(result);
    phases.push_back(result["phase"].get<std::string>());
    if (phases.back() == "create+write+close" || phases.back() == "open+read+close") {
      EXPECT_NEAR(result["mib_per_s"].get<double>() * result["seconds"].get<double>(),
                  2 * 40 * 3901 / double{1 << 20},
                  0.01);
    }
  }
  EXPECT_EQ(phases,
            (std::vector<std::string>{"mkdir",
                                      "create+write+close",
                                      "stat",
                                      "open+close",
                                      "open+read+close",
                                      "readdir",
                                      "unlink",
                                      "rmdir"}));
}

TEST_F(Bench, MdCountsTheRequestsOfASingleClient) {
  json report = bench({"md", "--files=100"});
  for (const json& result : report["results"]) {
    ASSERT_TRUE(result.contains("requests_per_op")) << result.dump();
    if (result["phase"] == "stat") {
      EXPECT_GE(result["requests_per_op"], 1.0);
      EXPECT_LT(result["requests_per_op"], 3.0);
    }
  }
}

TEST_F(Bench, AKilledClientIsAClearErrorAndLeavesNothingBehind) {
  Process process = start_rpc({"--clients=3", "--path=persistent,ucx-floor", "--payload=64"});
  ASSERT_TRUE(wait_for_pings(2000)) << process.err();
  std::vector<pid_t> children = children_of(process.pid());
  auto victim =
      std::ranges::find_if(children, [](pid_t pid) { return runs_command(pid, "bench-worker"); });
  ASSERT_NE(victim, children.end());
  EXPECT_EQ(children.size(), 4U) << "three clients and the server of the baselines";
  ::kill(*victim, SIGKILL);
  Ended ended = process.wait(patience());
  EXPECT_EQ(ended.exit_code, 1);
  EXPECT_NE(ended.err.find(fmt::format("(process {}) died of signal 9", *victim)),
            std::string::npos)
      << ended.err;
  for (pid_t child : children) {
    EXPECT_FALSE(runs(child)) << child;
  }
  EXPECT_EQ(benchfs({"status", "--timeout", "10"}).exit_code, 0) << "the cluster is unharmed";
}

TEST_F(Bench, AKilledBaselineServerIsAClearError) {
  Process process = start_rpc({"--path=ucx-floor", "--payload=64"});
  Deadline deadline = patience();
  std::vector<pid_t> children;
  while (children.size() < 2 && !deadline.passed()) {
    children = children_of(process.pid());
  }
  ASSERT_EQ(children.size(), 2U);
  ASSERT_TRUE(wait_for_pings(2)) << "the client's check of the cluster comes first";
  auto server =
      std::ranges::find_if(children, [](pid_t pid) { return runs_command(pid, "bench-baseline"); });
  ASSERT_NE(server, children.end());
  ::kill(*server, SIGKILL);
  Ended ended = process.wait(patience());
  EXPECT_EQ(ended.exit_code, 1);
  EXPECT_NE(ended.err.find("baseline server"), std::string::npos) << ended.err;
  for (pid_t child : children) {
    EXPECT_FALSE(runs(child)) << child;
  }
}

TEST_F(Bench, ARunThatTakesTooLongIsEnded) {
  Ended ended = benchfs({"bench", "rpc", "--seconds", "600", "--limit", "2", "--clients", "2"});
  EXPECT_EQ(ended.exit_code, 1);
  EXPECT_NE(ended.err.find("did not answer in time"), std::string::npos) << ended.err;
}

// --- The page, in a browser ----------------------------------------------------------------------

std::size_t count_of(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) {
    ++count;
  }
  return count;
}

TEST_F(Bench, ThePageDrawsItsChartsInABrowser) {
  const std::string browser = "/usr/bin/chromium";
  if (!fs::exists(browser)) {
    GTEST_SKIP() << "no chromium; tools/install-deps.sh installs it";
  }
  std::string page = path("report.html");
  json report = bench({"rpc",
                       "--path=all",
                       "--payload=64,4K",
                       "--depth=1,4",
                       "--operations=20",
                       "--warmup=5",
                       "--rounds=2",
                       "--html=" + page});
  Process process({browser,
                   "--headless",
                   "--no-sandbox",
                   "--disable-gpu",
                   "--disable-dev-shm-usage",
                   "--enable-logging=stderr",
                   "--user-data-dir=" + path("browser"),
                   "--dump-dom",
                   "file://" + page},
                  path(""));
  Ended ended = process.wait(Deadline::after(2 * kPatience));
  ASSERT_EQ(ended.exit_code, 0) << ended.err;
  EXPECT_EQ(ended.err.find("Uncaught"), std::string::npos) << ended.err;
  // Each chart, with the curve or bar of each path in it.
  for (const char* chart : {"distribution",
                            "tail",
                            "rate",
                            "cpu",
                            "latency-payload",
                            "bandwidth-payload",
                            "rate-depth"}) {
    std::size_t begin = ended.out.find(fmt::format("data-chart=\"{}\"", chart));
    ASSERT_NE(begin, std::string::npos) << chart;
    std::string svg = ended.out.substr(begin, ended.out.find("</svg>", begin) - begin);
    for (const char* path : {"persistent", "node", "reply-ep", "new-endpoint", "ucx-floor"}) {
      EXPECT_EQ(count_of(svg, fmt::format("data-path=\"{}\"", path)),
                std::string(chart) == "cpu" ? 2U : 1U)
          << chart << " " << path;
    }
    EXPECT_EQ(svg.find("NaN"), std::string::npos) << svg;
  }
  EXPECT_EQ(ended.out.find("data-chart=\"rate-clients\""), std::string::npos) << "one value only";
  std::size_t table = ended.out.find("<table id=\"table\">");
  ASSERT_NE(table, std::string::npos);
  std::string rows = ended.out.substr(table, ended.out.find("</table>", table) - table);
  EXPECT_EQ(count_of(rows, "<tr"), report["results"].size() + 1);
  EXPECT_EQ(rows.find("WRONG"), std::string::npos);
  for (const json& finding : report["summary"]) {
    EXPECT_NE(ended.out.find("<li>"), std::string::npos) << finding;
  }
}

// These are more connections than UCX allows a worker by default (1024).
TEST_F(Bench, ElevenHundredClientsRegisterAndLeaveAgain) {
  ASSERT_EQ(benchfs({"set", "max_clients=1200"}).exit_code, 0);
  json report = bench({"connect", "--clients", "1100", "--hold", "0.5"});
  EXPECT_EQ(report["benchmark"], "connect");
  ASSERT_EQ(report["results"].size(), 3U);
  for (const json& result : report["results"]) {
    EXPECT_EQ(result["operations"], 1100) << result["phase"];
  }
  EXPECT_GE(report["registry"]["high_water"], 1101) << "them, and the observer";
  EXPECT_GT(report["system"]["server_bytes_per_client"], 0);
  EXPECT_TRUE(report["system"]["server_idle_cpu"].is_number());
  EXPECT_EQ(benchfs({"status", "--timeout", "10"}).exit_code, 0) << "after they all left";
}

TEST_F(Bench, MoreClientsThanTheServerKeepsIsAnErrorThatSaysWhatToDo) {
  Ended ended = benchfs({"bench", "connect", "--clients", "5000"});
  EXPECT_EQ(ended.exit_code, 1);
  EXPECT_NE(ended.err.find("keeps at most 1000"), std::string::npos) << ended.err;
  // With itself, and the command that started the servers, which may just be leaving.
  EXPECT_NE(ended.err.find("'benchfs set max_clients=500"), std::string::npos) << ended.err;
}

TEST_F(Bench, MoreClientsThanUcxOrDescriptorsAllowIsTheSame) {
  ASSERT_EQ(benchfs({"set", "max_clients=100000"}).exit_code, 0);
  Ended ended = benchfs({"bench", "connect", "--clients", "16384"});
  EXPECT_EQ(ended.exit_code, 1);
  EXPECT_NE(ended.err.find("UCX allows 16384 connections"), std::string::npos) << ended.err;
  EXPECT_NE(ended.err.find("export UCX_ASYNC_MAX_EVENTS=16400"), std::string::npos) << ended.err;

  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit few{.rlim_cur = 512, .rlim_max = before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
  ended = benchfs({"bench", "connect", "--clients", "500"});
  setrlimit(RLIMIT_NOFILE, &before);
  EXPECT_EQ(ended.exit_code, 1);
  EXPECT_NE(ended.err.find("this command may open 512 files"), std::string::npos) << ended.err;
  EXPECT_NE(ended.err.find("'ulimit -n 1064'"), std::string::npos) << ended.err;
}

}  // namespace
}  // namespace benchfs::test
