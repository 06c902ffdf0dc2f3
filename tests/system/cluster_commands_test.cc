// benchfs up, status and down.
#include <fmt/format.h>

#include <sched.h>
#include <algorithm>
#include <csignal>
#include <filesystem>
#include <optional>

#include "base/cpu_list.h"
#include "base/process_record.h"
#include "system/system_test.h"

namespace benchfs::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

class ClusterCommands : public SystemTest {
 protected:
  [[nodiscard]] std::string log_of(std::size_t daemon) const {
    return fmt::format("{}/log/node_{}.log", registry(), daemon);
  }
};

std::size_t files_below(const std::string& directory) {
  std::error_code error;
  fs::recursive_directory_iterator it(directory, error);
  return error ? 0
               : static_cast<std::size_t>(std::distance(it, fs::recursive_directory_iterator()));
}

TEST_F(ClusterCommands, AClusterComesUpServesAndLeavesNothingBehind) {
  // A /dev/shm of its own, if possible: other tests use the real one at the same time.
  std::optional<TmpfsMount> shm;
  if (enter_private_mounts()) {
    shm.emplace("/dev/shm", 1U << 30);
    ASSERT_TRUE(shm->is_mounted());
  }
  std::size_t shm_before = files_below("/dev/shm");
  json cluster = up({"--servers", "4"});
  ASSERT_EQ(cluster["daemons"].size(), 4U);
  ASSERT_EQ(cluster["servers"].size(), 4U);

  Ended status = benchfs({"status", "--json", "--timeout", "10"});
  EXPECT_EQ(status.exit_code, 0) << status.err << status.out;
  json seen = json::parse(status.out, nullptr, false);
  ASSERT_TRUE(seen.is_object()) << status.out;
  EXPECT_TRUE(seen["alive"].get<bool>());
  EXPECT_EQ(seen["run_id"], cluster["run_id"]);
  ASSERT_EQ(seen["servers"].size(), 4U);
  for (std::size_t i = 0; i < 4; ++i) {
    const json& server = seen["servers"][i];
    EXPECT_EQ(server["node_id"], fmt::format("node_{}", i));
    EXPECT_EQ(server["address"], cluster["servers"][i]["address"]);
    EXPECT_EQ(server["pid"], pid_of(cluster, i));
    EXPECT_EQ(server["stats"]["pid"], server["pid"]);
    EXPECT_EQ(server["stats"]["shard"], i);
    EXPECT_GT(server["stats"]["registry"]["capacity"], 0);
  }
  {
    auto client = connect();
    ASSERT_NE(client, nullptr);
    std::vector<std::byte> data = pattern(9U << 20, 1);
    Status written = write_whole(*client, "/file", data);
    ASSERT_TRUE(written) << message(written);
    EXPECT_EQ(read_whole(*client, "/file").value_or(std::vector<std::byte>{}), data);
  }
  Ended down = benchfs({"down"});
  EXPECT_EQ(down.exit_code, 0) << down.err;
  EXPECT_NE(down.out.find("4 of 4"), std::string::npos) << down.out;
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_FALSE(runs(pid_of(cluster, i)));
  }
  EXPECT_FALSE(fs::exists(registry()));
  EXPECT_EQ(files_below(path("data")), 0U);
  if (shm) {
    EXPECT_EQ(files_below("/dev/shm"), shm_before);
  }
}

TEST_F(ClusterCommands, ShardsOfADaemonAreServersOfTheirOwn) {
  json cluster = up({"--servers", "2", "--shards", "2", "--engine", "memory"});
  ASSERT_EQ(cluster["daemons"].size(), 2U);
  ASSERT_EQ(cluster["servers"].size(), 4U);
  EXPECT_EQ(cluster["servers"][3]["node_id"], "node_1.1");
  auto client = connect();
  ASSERT_NE(client, nullptr);
  EXPECT_EQ(client->fs().shard_count(), 4U);
  std::vector<std::byte> data = pattern(20U << 20, 2);
  ASSERT_TRUE(write_whole(*client, "/file", data));
  EXPECT_EQ(read_whole(*client, "/file").value_or(std::vector<std::byte>{}), data);
  client.reset();
  EXPECT_EQ(benchfs({"down"}).exit_code, 0);
  EXPECT_FALSE(runs(pid_of(cluster, 0)));
  EXPECT_FALSE(runs(pid_of(cluster, 1)));
}

TEST_F(ClusterCommands, ASecondClusterInTheSameRegistryIsRefused) {
  json cluster = up({"--servers", "1", "--engine", "memory"});
  Ended second = benchfs({"up", "--servers", "1"});
  EXPECT_EQ(second.exit_code, 1);
  EXPECT_NE(second.err.find(fmt::format("process {}", pid_of(cluster, 0))), std::string::npos)
      << second.err;
  EXPECT_EQ(benchfs({"status", "--timeout", "10"}).exit_code, 0) << "the first must be unharmed";
}

TEST_F(ClusterCommands, TheRegistryOfADeadClusterIsTakenOver) {
  std::vector<std::string> died;
  json cluster = up({"--servers", "2", "--engine", "memory"});
  for (std::size_t i = 0; i < 2; ++i) {
    ::kill(pid_of(cluster, i), SIGKILL);
    ASSERT_TRUE(wait_for_end(pid_of(cluster, i), patience()));
    died.push_back(read_file(log_of(i)));
  }
  write_file(registry() + "/notes.txt", "not ours");
  json next = up({"--servers", "1", "--engine", "memory"});
  EXPECT_NE(next["run_id"], cluster["run_id"]);
  EXPECT_EQ(next["servers"].size(), 1U);
  EXPECT_EQ(benchfs({"down"}).exit_code, 0);
  EXPECT_EQ(read_file(registry() + "/notes.txt"), "not ours");
  // The logs of those that died stay, also when their name was used again.
  EXPECT_EQ(read_file(log_of(0) + ".old"), died[0]);
  EXPECT_EQ(read_file(log_of(1)), died[1]);
  EXPECT_EQ(files_below(registry()), 4U);
}

TEST_F(ClusterCommands, DownKeepsTheLogsOfThoseThatDidNotEndInOrder) {
  json cluster = up({"--servers", "3", "--engine", "memory"});
  ::kill(pid_of(cluster, 1), SIGKILL);
  ASSERT_TRUE(wait_for_end(pid_of(cluster, 1), patience()));
  std::string log = read_file(log_of(1));
  std::string last_line = log.substr(log.rfind('\n', log.size() - 2) + 1);
  Ended down = benchfs({"down"});
  EXPECT_EQ(down.exit_code, 0) << down.err;
  EXPECT_NE(down.out.find("stopped 2 of 2"), std::string::npos) << down.out;
  EXPECT_NE(down.err.find(fmt::format(
                "node_1: process {} had died; its log is kept: {}", pid_of(cluster, 1), log_of(1))),
            std::string::npos)
      << down.err;
  EXPECT_NE(down.err.find(last_line), std::string::npos) << down.err << "\n" << log;
  EXPECT_EQ(down.err.find("node_0"), std::string::npos) << down.err;
  EXPECT_EQ(read_file(log_of(1)), log);
  EXPECT_EQ(files_below(registry()), 2U) << "the log and its directory";

  up({"--servers", "2", "--engine", "memory"});
  EXPECT_EQ(benchfs({"down"}).exit_code, 0);
  EXPECT_EQ(read_file(log_of(1) + ".old"), log);
}

TEST_F(ClusterCommands, StatusShowsADeadServerAndFails) {
  json cluster = up({"--servers", "3", "--engine", "memory"});
  ::kill(pid_of(cluster, 1), SIGKILL);
  ASSERT_TRUE(wait_for_end(pid_of(cluster, 1), patience()));
  Ended status = benchfs({"status", "--json", "--timeout", "5"});
  EXPECT_EQ(status.exit_code, 1);
  json seen = json::parse(status.out, nullptr, false);
  ASSERT_TRUE(seen.is_object()) << status.out << status.err;
  EXPECT_FALSE(seen["alive"].get<bool>());
  EXPECT_TRUE(seen["servers"][0]["alive"].get<bool>());
  EXPECT_FALSE(seen["servers"][1]["alive"].get<bool>());
  EXPECT_EQ(seen["servers"][1]["state"], "dead");
  EXPECT_TRUE(seen["servers"][2]["alive"].get<bool>());
  EXPECT_EQ(seen["servers"][2]["state"], "alive");
}

TEST_F(ClusterCommands, AHungServerIsShownAsSilentAndKilledByDown) {
  json cluster = up({"--servers", "2", "--engine", "memory"});
  ASSERT_TRUE(stop(pid_of(cluster, 0)));
  Ended status = benchfs({"status", "--json", "--timeout", "2"});
  EXPECT_EQ(status.exit_code, 3);
  json seen = json::parse(status.out, nullptr, false);
  ASSERT_TRUE(seen.is_object()) << status.out << status.err;
  EXPECT_FALSE(seen["alive"].get<bool>());
  EXPECT_FALSE(seen["servers"][0]["alive"].get<bool>());
  EXPECT_EQ(seen["servers"][0]["state"], "silent");
  std::string advice = fmt::format("'kill -CONT {}'", pid_of(cluster, 0));
  EXPECT_NE(seen["servers"][0]["problem"].get<std::string>().find(advice), std::string::npos)
      << status.out;
  EXPECT_TRUE(seen["servers"][1]["alive"].get<bool>()) << status.out;
  Ended table = benchfs({"status", "--timeout", "2"});
  EXPECT_EQ(table.exit_code, 3);
  EXPECT_NE(table.out.find(" silent "), std::string::npos) << table.out;
  EXPECT_EQ(table.out.find(" dead "), std::string::npos) << table.out;
  EXPECT_EQ(benchfs({"stats", "--timeout", "2"}).exit_code, 3);
  Ended down = benchfs({"down", "--timeout", "3"});
  EXPECT_EQ(down.exit_code, 1);
  EXPECT_NE(down.err.find("node_0: did not stop in time"), std::string::npos) << down.err;
  EXPECT_NE(down.err.find("its log is kept: " + log_of(0)), std::string::npos) << down.err;
  EXPECT_EQ(down.err.find("node_1"), std::string::npos) << down.err;
  EXPECT_FALSE(runs(pid_of(cluster, 0)));
  EXPECT_FALSE(runs(pid_of(cluster, 1)));
}

TEST_F(ClusterCommands, AFailedStartShowsWhyAndStopsTheRest) {
  Ended ended = benchfs({"up", "--servers", "3", "--set", "storage.enigne=memory"});
  EXPECT_EQ(ended.exit_code, 1);
  EXPECT_NE(ended.err.find("unknown key enigne in [storage]"), std::string::npos) << ended.err;
  EXPECT_NE(ended.err.find("exit code 78"), std::string::npos) << ended.err;
  EXPECT_FALSE(fs::exists(registry()));
}

TEST_F(ClusterCommands, DownSparesAStrangerThatGotTheProcessId) {
  Process stranger({"/bin/sleep", "1000"}, path(""));
  fs::create_directories(registry() + "/pid");
  // A daemon died, and its id was given to another program that started later.
  write_file(registry() + "/pid/node_0",
             fmt::format("pid={} start=1 host={}\n", stranger.pid(), this_process().host));
  // The same, but even the start time is right.
  write_file(registry() + "/pid/node_1",
             fmt::format("pid={} start={} host={}\n",
                         stranger.pid(),
                         process_start_ticks(stranger.pid()),
                         this_process().host));
  EXPECT_EQ(benchfs({"down"}).exit_code, 0);
  EXPECT_TRUE(runs(stranger.pid()));
}

TEST_F(ClusterCommands, DownWithoutAClusterIsNoError) {
  Ended ended = benchfs({"down"});
  EXPECT_EQ(ended.exit_code, 0);
  EXPECT_NE(ended.out.find("no cluster"), std::string::npos);
}

// A user who mistypes the registry directory loses nothing.
TEST_F(ClusterCommands, ADirectoryThatIsNoRegistryIsRefusedAndLeftAlone) {
  struct Case {
    std::string file;
    std::string content;
    bool down_is_sure;  // nothing in it could be a cluster
  };
  const Case cases[] = {
      {"log/simulation.log", "step 1", true},
      {"pid/webserver", "1234", true},
      {"server_list.d/node_0", "10.0.0.1", true},
      {"secret", "of somebody", true},
      {"server_list.txt", "alpha 10.0.0.1:80\n", false},
      {"passwd", "root", true},
  };
  for (const Case& wrong : cases) {
    std::string file = registry() + "/" + wrong.file;
    fs::create_directories(fs::path(file).parent_path());
    write_file(file, wrong.content);
    std::size_t files = files_below(registry());
    Ended down = benchfs({"down"});
    EXPECT_EQ(down.exit_code, wrong.down_is_sure ? 0 : 1) << wrong.file << down.err;
    EXPECT_NE((down.out + down.err).find(wrong.down_is_sure ? "no cluster" : file),
              std::string::npos)
        << down.out << down.err;
    Ended started = benchfs({"up", "--servers", "1", "--engine", "memory"});
    EXPECT_EQ(started.exit_code, 1) << wrong.file;
    EXPECT_NE(started.err.find("is not a registry directory of BenchFS"), std::string::npos)
        << started.err;
    EXPECT_EQ(read_file(file), wrong.content);
    EXPECT_EQ(files_below(registry()), files) << wrong.file;
    fs::remove_all(registry());
  }
}

TEST_F(ClusterCommands, FilesOfOthersInARegistryAreNotTouched) {
  up({"--servers", "1", "--engine", "memory"});
  const char* files[] = {"job.sh", "log/job.log", "pid/job", "server_list.d/job"};
  for (const char* file : files) {
    write_file(registry() + "/" + file, "not ours");
  }
  EXPECT_EQ(benchfs({"down"}).exit_code, 0);
  for (const char* file : files) {
    EXPECT_EQ(read_file(registry() + "/" + file), "not ours") << file;
  }
  EXPECT_EQ(files_below(registry()), 7U);
}

// The processors of a daemon's shard threads, each as in --cpus; UCX has a thread of its own.
std::vector<std::string> processors_of(pid_t pid) {
  std::vector<std::string> lists;
  for (const auto& thread : fs::directory_iterator(fmt::format("/proc/{}/task", pid))) {
    cpu_set_t set;
    CPU_ZERO(&set);
    sched_getaffinity(std::stoi(thread.path().filename()), sizeof set, &set);
    CpuList cpus;
    for (unsigned cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (CPU_ISSET(cpu, &set)) {
        cpus.push_back(cpu);
      }
    }
    lists.push_back(to_string(cpus));
  }
  return lists;
}

TEST_F(ClusterCommands, DaemonsStayOnTheirProcessors) {
  CpuList allowed = allowed_cpus();
  if (allowed.size() < 2) {
    GTEST_SKIP() << "there is one processor";
  }
  std::string all = to_string(allowed);
  std::string last = to_string({allowed.back()});
  {
    json cluster = up({"--servers", "1", "--cpus", last});
    EXPECT_GE(std::ranges::count(processors_of(pid_of(cluster, 0)), last), 1);
    EXPECT_EQ(benchfs({"down"}).exit_code, 0);
  }
  {
    json cluster = up({"--servers", "1", "--shards", fmt::to_string(allowed.size())});
    EXPECT_LT(std::ranges::count(processors_of(pid_of(cluster, 0)), all),
              processors_of(pid_of(cluster, 0)).size())
        << "something must be left to the clients";
    EXPECT_EQ(benchfs({"down"}).exit_code, 0);
  }
  json cluster = up({"--servers", "1", "--shards", fmt::to_string(allowed.size()), "--cpus", ""});
  EXPECT_EQ(std::ranges::count(processors_of(pid_of(cluster, 0)), all),
            processors_of(pid_of(cluster, 0)).size());
  EXPECT_EQ(benchfs({"down"}).exit_code, 0);

  Ended bad = benchfs({"up", "--servers", "1", "--cpus", "0-x"});
  EXPECT_EQ(bad.exit_code, 1);
  EXPECT_NE(bad.err.find("node.cpus"), std::string::npos) << bad.err;
  Ended absent = benchfs({"up", "--servers", "1", "--cpus", "1023"});
  EXPECT_EQ(absent.exit_code, 1);
  EXPECT_NE(absent.err.find("1023"), std::string::npos) << absent.err;
}

}  // namespace
}  // namespace benchfs::test
