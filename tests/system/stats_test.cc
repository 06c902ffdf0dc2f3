// benchfs stats, and benchfs status --in-flight.
#include <fmt/format.h>

#include <csignal>
#include <string>

#include "base/random.h"
#include "rpc/call.h"
#include "system/system_test.h"

namespace benchfs::test {
namespace {

using nlohmann::json;

using Stats = SystemTest;
using InFlight = SystemTest;

const json& operation_of(const json& stats, const std::string& name) {
  static const json kNone;
  for (const json& operation : stats["operations"]) {
    if (operation["operation"] == name) {
      return operation;
    }
  }
  return kNone;
}

// Programs of the node bring the bytes of large writes by themselves.
std::string write_operation(const json& stats) {
  return operation_of(stats, "end_fill").is_object() ? "end_fill" : "write_chunk";
}

TEST_F(Stats, ShowWhatAClientDidInEveryFormat) {
  json cluster = up({"--servers", "2", "--engine", "memory"});
  std::vector<std::byte> data = pattern(20U << 20, 5);
  {
    auto client = connect();
    ASSERT_NE(client, nullptr);
    ASSERT_TRUE(write_whole(*client, "/file", data));
    EXPECT_FALSE(client->run(client->fs().stat("/missing")));
  }
  Ended ended = benchfs({"stats", "--json", "--timeout", "10"});
  EXPECT_EQ(ended.exit_code, 0) << ended.err;
  json seen = json::parse(ended.out, nullptr, false);
  ASSERT_TRUE(seen.is_object()) << ended.out;
  ASSERT_EQ(seen["servers"].size(), 2U);
  std::string write_name = write_operation(seen["servers"][1]["stats"]);
  std::uint64_t bytes = 0;
  std::uint64_t errors = 0;
  for (const json& server : seen["servers"]) {
    const json& write = operation_of(server["stats"], write_name);
    ASSERT_TRUE(write.is_object()) << server.dump();
    EXPECT_GT(write["stages"]["served"]["count"], 0);
    bytes += write["bytes_in"].get<std::uint64_t>();
    errors += server["stats"]["rpc"]["errors"].get<std::uint64_t>();
    for (const char* kind : {"names", "missing_names", "attributes", "directories"}) {
      EXPECT_EQ(server["stats"]["leases"][kind]["recalled"], 0) << kind;
    }
  }
  EXPECT_EQ(bytes, data.size());
  EXPECT_GE(errors, 1U) << "ENOENT";

  ended = benchfs({"stats", "--prometheus", "--timeout", "10"});
  EXPECT_EQ(ended.exit_code, 0) << ended.err;
  EXPECT_EQ(ended.out.find("# HELP benchfs_up "), 0U) << ended.out;
  EXPECT_NE(ended.out.find(fmt::format(
                R"(benchfs_requests_total{{node="node_1",shard="1",op="{}"}})", write_name)),
            std::string::npos)
      << ended.out;

  ended = benchfs({"stats", "--server", "node_1", "--timeout", "10"});
  EXPECT_EQ(ended.exit_code, 0) << ended.err;
  EXPECT_EQ(ended.out.find("node_1 (shard 1, "), 0U) << ended.out;
  EXPECT_EQ(ended.out.find("node_0"), std::string::npos) << ended.out;
  EXPECT_NE(ended.out.find(write_name), std::string::npos) << ended.out;
  EXPECT_NE(ended.out.find("  leases    held/recalled/run out: names 0/0/0, "), std::string::npos)
      << ended.out;

  ended = benchfs({"stats", "--server", "node_7"});
  EXPECT_EQ(ended.exit_code, 1);
  EXPECT_NE(ended.err.find("node_7: no such server"), std::string::npos) << ended.err;
}

// Two clients take turns at one place, files are read and written, one server is gone.
TEST_F(Stats, PrometheusAcceptsTheTextWithoutAComplaint) {
  if (Process({"/bin/sh", "-c", "command -v promtool"}, path("")).wait(patience()).exit_code != 0) {
    GTEST_SKIP() << "no promtool; it is in the package prometheus, which need not be installed: "
                    "apt-get download prometheus && dpkg -x prometheus*.deb DIR";
  }
  json cluster = up({"--servers", "2", "--engine", "memory", "--set", "clients.max_clients=1"});
  for (const char* file : {"/a", "/b"}) {
    auto client = connect();
    ASSERT_NE(client, nullptr);
    auto other = connect();
    ASSERT_NE(other, nullptr);
    ASSERT_TRUE(write_whole(*client, file, pattern(9U << 20, 3)));
    ASSERT_TRUE(read_whole(*other, file));
  }
  auto check = [this](int exit_code) {
    Ended ended = benchfs({"stats", "--prometheus", "--timeout", "10"});
    EXPECT_EQ(ended.exit_code, exit_code) << ended.err;
    write_file(path("metrics"), ended.out);
    Ended checked =
        Process({"/bin/sh", "-c", "promtool check metrics <" + path("metrics")}, path(""))
            .wait(patience());
    EXPECT_EQ(checked.exit_code, 0) << checked.err;
    EXPECT_EQ(checked.out + checked.err, "");
    return ended.out;
  };
  std::string text = check(0);
  std::size_t line = text.find(R"(benchfs_registry_evictions_total{node="node_0",shard="0"} )");
  ASSERT_NE(line, std::string::npos) << text;
  EXPECT_NE(text[text.find("} ", line) + 2], '0') << "somebody was to be evicted";
  ::kill(pid_of(cluster, 1), SIGKILL);
  ASSERT_TRUE(wait_for_end(pid_of(cluster, 1), patience()));
  check(1);
}

TEST_F(Stats, RoomForClientsCanBeChangedWhileServersRun) {
  json cluster = up({"--servers", "2", "--engine", "memory"});
  Ended ended = benchfs({"set", "max_clients=7", "--server", "node_1"});
  EXPECT_EQ(ended.exit_code, 0) << ended.err;
  EXPECT_EQ(ended.out, "node_1: room for 7 clients\n");
  ended = benchfs({"stats", "--json", "--timeout", "10"});
  json seen = json::parse(ended.out, nullptr, false);
  ASSERT_TRUE(seen.is_object()) << ended.out;
  EXPECT_EQ(seen["servers"][0]["stats"]["registry"]["capacity"], 1000);
  EXPECT_EQ(seen["servers"][1]["stats"]["registry"]["capacity"], 7);
  for (const char* wrong : {"max_clients=0", "max_clients=", "max_clients=x", "window=3"}) {
    ended = benchfs({"set", wrong});
    EXPECT_EQ(ended.exit_code, 2) << wrong;
    EXPECT_NE(ended.err.find("must be max_clients=N"), std::string::npos) << ended.err;
  }
  ended = benchfs({"set", "max_clients=7", "--server", "node_9"});
  EXPECT_EQ(ended.exit_code, 1);
  EXPECT_NE(ended.err.find("node_9: no such server; the list has node_0 to node_1"),
            std::string::npos)
      << ended.err;
}

TEST_F(Stats, AnIntervalLeavesOutWhatWasBefore) {
  json cluster = up({"--servers", "1", "--engine", "memory"});
  auto client = connect();
  ASSERT_NE(client, nullptr);
  for (int i = 0; i < 500; ++i) {
    ASSERT_TRUE(client->run(client->fs().ping(wire::ShardId{0})));
  }
  Ended ended = benchfs({"stats", "--json", "--interval", "0.2", "--timeout", "10"});
  EXPECT_EQ(ended.exit_code, 0) << ended.err;
  json seen = json::parse(ended.out, nullptr, false);
  ASSERT_TRUE(seen.is_object()) << ended.out;
  const json& stats = seen["servers"][0]["stats"];
  EXPECT_GE(stats["uptime_s"], 0.2);
  EXPECT_LT(stats["rpc"]["requests"], 500);
}

TEST_F(Stats, ADeadServerIsSaidToBeDead) {
  json cluster = up({"--servers", "2", "--engine", "memory"});
  ::kill(pid_of(cluster, 1), SIGKILL);
  ASSERT_TRUE(wait_for_end(pid_of(cluster, 1), patience()));
  Ended ended = benchfs({"stats", "--prometheus", "--timeout", "5"});
  EXPECT_EQ(ended.exit_code, 1);
  EXPECT_NE(ended.out.find(R"(benchfs_up{node="node_0",shard="0"} 1)"), std::string::npos);
  EXPECT_NE(ended.out.find(R"(benchfs_up{node="node_1",shard="1"} 0)"), std::string::npos);
}

// Takes the lock that every rename of a directory needs, for a minute.
rt::CoStatus hold_renames(client::FileSystem* fs) {
  wire::LockRenamesRequest request{.owner = random_id(), .lease_ms = 60'000};
  Result<rpc::Reply> reply =
      co_await fs->pool().call(wire::ShardId{0}, rpc::make_call(request), patience());
  if (!reply) {
    co_return std::unexpected(std::move(reply.error()));
  }
  co_return Status{};
}

TEST_F(InFlight, ARenameThatHangsIsListedWithItsClientUntilItEnds) {
  json cluster = up({"--servers", "2", "--engine", "memory"});
  auto client = connect();
  ASSERT_NE(client, nullptr);
  ASSERT_TRUE(client->run(client->fs().mkdir("/dir", 0755)));
  ASSERT_TRUE(client->run(hold_renames(&client->fs())));

  Process rename({BENCHFS_PROGRAM,
                  "--registry-dir",
                  registry(),
                  "--timeout",
                  "60",
                  "mv",
                  "bfs:/dir",
                  "bfs:/moved"},
                 path(""));
  // Seen twice, so that its age can be seen to grow.
  json first;
  json second;
  Deadline deadline = patience();
  while (!second.is_object() && !deadline.passed()) {
    Ended ended = benchfs({"status", "--in-flight", "--json", "--timeout", "10"});
    ASSERT_EQ(ended.exit_code, 0) << ended.err;
    json seen = json::parse(ended.out, nullptr, false);
    ASSERT_TRUE(seen.is_object()) << ended.out;
    for (const json& request : seen["requests"]) {
      if (request["operation"] == "rename") {
        (first.is_object() ? second : first) = request;
      }
    }
  }
  ASSERT_TRUE(second.is_object()) << first.dump();
  EXPECT_EQ(first["phase"], "serving");
  EXPECT_FALSE(first["client"].get<std::string>().empty());
  EXPECT_EQ(first["client"], second["client"]);
  EXPECT_EQ(first["server"], second["server"]);
  EXPECT_LE(first["age_ms"], second["age_ms"]);
  EXPECT_GT(second["age_ms"], 0);
  EXPECT_GT(second["deadline_ms"], 0);
  EXPECT_LE(second["deadline_ms"], 60'000);

  Ended table = benchfs({"status", "--in-flight", "--timeout", "10"});
  EXPECT_NE(table.out.find("rename"), std::string::npos) << table.out;
  EXPECT_NE(table.out.find(first["client"].get<std::string>()), std::string::npos) << table.out;

  rename.signal(SIGKILL);
  rename.wait(patience());
}

TEST_F(InFlight, AnIdleClusterHasNoRequestWaiting) {
  json cluster = up({"--servers", "2", "--engine", "memory"});
  Ended ended = benchfs({"status", "--in-flight", "--timeout", "10"});
  EXPECT_EQ(ended.exit_code, 0) << ended.err;
  EXPECT_EQ(ended.out, "no request is waiting\n");
}

}  // namespace
}  // namespace benchfs::test
