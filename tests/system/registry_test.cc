// Registry and data directories that somebody else made, copied or planted; restart; what commands
// clean up.
#include <fmt/format.h>
#include <poll.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/process_record.h"
#include "system/daemon_fixture.h"

namespace benchfs::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr uid_t kStranger = 65534;

class Registry : public DaemonFixture {
 protected:
  // benchfs up --json, with a data directory of the test's own; fails the test if it fails.
  json up(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"up", "--json", "--data-dir", path("data")});
    arguments.insert(arguments.end(), {"--timeout", "60"});
    Ended ended = benchfs(std::move(arguments));
    EXPECT_EQ(ended.exit_code, 0) << ended.err;
    return json::parse(ended.out, nullptr, false);
  }
  static pid_t pid_of(const json& cluster, std::size_t daemon) {
    return cluster["daemons"][daemon]["pid"].get<pid_t>();
  }

  // benchfs with another registry directory.
  Ended benchfs_in(const std::string& directory, std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {BENCHFS_PROGRAM, "--registry-dir", directory});
    return Process(std::move(arguments), path("")).wait(patience());
  }
  static bool is_root() { return geteuid() == 0; }
  static void give_away(const std::string& path) {
    ASSERT_EQ(::lchown(path.c_str(), kStranger, kStranger), 0);
  }
  void expect_refused(const std::vector<std::string>& arguments, const std::string& part) {
    Ended ended = benchfs(arguments);
    EXPECT_EQ(ended.exit_code, 1) << arguments.front() << ": " << ended.out << ended.err;
    EXPECT_NE(ended.err.find(part), std::string::npos) << arguments.front() << ": " << ended.err;
  }
};

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

std::size_t lines_of(const std::string& text) {
  return static_cast<std::size_t>(std::ranges::count(text, '\n'));
}

// A stranger made the directory first: nothing in it is believed, and nothing is done to what its
// links lead to.
TEST_F(Registry, AStrangersRegistryIsRefusedByEverybody) {
  if (!is_root()) {
    GTEST_SKIP() << "needs root";
  }
  json cluster = up({"--servers", "1", "--engine", "memory"});
  std::string planted = path("planted");
  std::string project = path("project");
  fs::create_directories(planted + "/pid");
  fs::create_directory(project);
  write_file(project + "/__init__.py", "");
  fs::copy_file(registry() + "/server_list.txt", planted + "/server_list.txt");
  fs::copy_file(registry() + "/secret", planted + "/secret");
  fs::copy_file(registry() + "/pid/node_0", planted + "/pid/node_0");
  fs::create_directory_symlink(project, planted + "/server_list.d");
  for (const char* name : {"", "/pid", "/pid/node_0", "/server_list.txt", "/server_list.d"}) {
    give_away(planted + name);
  }
  for (const std::vector<std::string>& arguments : std::vector<std::vector<std::string>>{
           {"down"}, {"up", "--servers", "1"}, {"status"}, {"ls"}, {"set", "max_clients=7"}}) {
    std::vector<std::string> all = arguments;
    all.insert(all.end(), {"--timeout", "2"});
    Ended ended = benchfs_in(planted, all);
    EXPECT_EQ(ended.exit_code, 1) << arguments.front();
    EXPECT_TRUE(contains(ended.err, "belongs to user 65534")) << arguments.front() << ended.err;
  }
  Ended daemon = benchfsd({"--node-id", "node_0", "--registry-dir", planted, "--engine", "memory"});
  EXPECT_EQ(daemon.exit_code, EX_CANTCREAT);
  EXPECT_TRUE(contains(daemon.err, "belongs to user 65534")) << daemon.err;
  EXPECT_TRUE(fs::exists(project + "/__init__.py"));
  EXPECT_TRUE(runs(pid_of(cluster, 0)));
}

// To another user whether the pid files can be read or not, and the processes cannot be signalled.
TEST_F(Registry, StatusShowsTheServersOfAnotherUserWhomOneTrusts) {
  if (!is_root()) {
    GTEST_SKIP() << "needs root";
  }
  json cluster = up({"--servers", "2", "--engine", "memory", "--set", "clients.auth=none"});
  for (const std::string& directory : {path(""), registry()}) {
    fs::permissions(directory, fs::perms(0755));
  }
  auto status = [&] {
    return Process({"/usr/bin/setpriv",
                    "--reuid",
                    std::to_string(kStranger),
                    "--clear-groups",
                    "/usr/bin/env",
                    "BENCHFS_REGISTRY_OWNER=0",
                    BENCHFS_PROGRAM,
                    "--registry-dir",
                    registry(),
                    "status",
                    "--timeout",
                    "5"},
                   path(""))
        .wait(patience());
  };
  for (fs::perms mode : {fs::perms(0700), fs::perms(0755)}) {
    fs::permissions(registry() + "/pid", mode);
    Ended ended = status();
    EXPECT_EQ(ended.exit_code, 0) << ended.out << ended.err;
    EXPECT_FALSE(contains(ended.out, "dead")) << ended.out;
  }
  ::kill(pid_of(cluster, 1), SIGKILL);
  Ended ended = status();
  EXPECT_EQ(ended.exit_code, 1) << ended.out << ended.err;
  EXPECT_TRUE(contains(ended.out, "dead")) << ended.out;
}

TEST_F(Registry, FilesThatAStrangerPutIntoOurRegistryAreRefused) {
  if (!is_root()) {
    GTEST_SKIP() << "needs root";
  }
  up({"--servers", "1", "--engine", "memory"});
  give_away(registry() + "/server_list.txt");
  expect_refused({"ls", "--timeout", "2"}, "server_list.txt belongs to user 65534");
  ASSERT_EQ(::chown((registry() + "/server_list.txt").c_str(), 0, 0), 0);
  give_away(registry() + "/secret");
  expect_refused({"ls", "--timeout", "2"}, "secret belongs to user 65534");
}

TEST_F(Registry, ADirectoryThatOthersMayWriteToIsRefused) {
  fs::create_directory(registry());
  for (mode_t mode : {0775U, 0757U, 01777U}) {
    ASSERT_EQ(::chmod(registry().c_str(), mode), 0);
    expect_refused({"up", "--servers", "1", "--engine", "memory"}, "chmod go-w");
  }
  ASSERT_EQ(::chmod(registry().c_str(), 0755), 0);
  up({"--servers", "1", "--engine", "memory"});
}

// A copy of a registry names living daemons, but they are not its own.
TEST_F(Registry, DownInACopyOfARegistryStopsNobody) {
  json cluster = up({"--servers", "2", "--engine", "memory"});
  std::string copy = path("copy");
  fs::copy(registry(), copy, fs::copy_options::recursive);
  Ended down = benchfs_in(copy, {"down"});
  EXPECT_EQ(down.exit_code, 0) << down.err;
  EXPECT_TRUE(contains(down.out, "stopped 0 of 0")) << down.out;
  EXPECT_TRUE(runs(pid_of(cluster, 0)));
  EXPECT_TRUE(runs(pid_of(cluster, 1)));
  EXPECT_EQ(benchfs({"status", "--timeout", "5"}).exit_code, 0);
}

TEST_F(Registry, LinksInPlaceOfOurDirectoriesAreNotFollowed) {
  std::string project = path("project");
  fs::create_directory(project);
  write_file(project + "/node_0", "precious");
  for (const char* name : {"pid", "server_list.d", "log"}) {
    fs::create_directories(registry());
    fs::create_directory_symlink(project, registry() + "/" + name);
    Ended started = benchfs({"up", "--servers", "1", "--engine", "memory"});
    EXPECT_EQ(started.exit_code, 1) << name;
    (void)benchfs({"down"});
    EXPECT_EQ(read_file(project + "/node_0"), "precious") << name;
    fs::remove_all(registry());
  }
}

TEST_F(Registry, ADataDirectoryOfAStrangerIsRefused) {
  std::string data = path("data");
  auto start = [&] {
    return benchfsd({"--node-id",
                     "node_0",
                     "--registry-dir",
                     registry(),
                     "--data-dir",
                     data,
                     "--set",
                     "network.listen=127.0.0.1"});
  };
  std::string project = path("project");
  fs::create_directory(project);
  write_file(project + "/segment_000000.dat", "precious");
  fs::create_directory(data);
  ASSERT_EQ(::chmod(data.c_str(), 0777), 0);
  Ended open = start();
  EXPECT_EQ(open.exit_code, EX_CANTCREAT) << open.err;
  EXPECT_TRUE(contains(open.err, "chmod go-w")) << open.err;
  ASSERT_EQ(::chmod(data.c_str(), 0755), 0);
  if (is_root()) {
    fs::create_directory_symlink(project, data + "/node_0");
    give_away(data + "/node_0");
    Ended linked = start();
    EXPECT_EQ(linked.exit_code, EX_CANTCREAT) << linked.err;
    EXPECT_TRUE(contains(linked.err, "symbolic link that user 65534 made")) << linked.err;
    fs::remove(data + "/node_0");
    fs::create_directory(data + "/node_0");
    give_away(data + "/node_0");
    EXPECT_EQ(start().exit_code, EX_CANTCREAT);
  }
  EXPECT_EQ(read_file(project + "/segment_000000.dat"), "precious");
}

TEST_F(Registry, AServerWithAnotherChunkSizeIsRefusedAtTheStart) {
  Process first = start_node("node_0", 2, {"--set", "storage.chunk_bytes=1MiB"});
  ASSERT_TRUE(first.wait_for_line("listens on", patience()));
  Process second = start_node("node_1", 2, {"--set", "storage.chunk_bytes=4MiB"});
  Ended ended = second.wait(patience());
  EXPECT_EQ(ended.exit_code, EX_CONFIG) << ended.err;
  EXPECT_TRUE(contains(ended.err, "storage.chunk_bytes differs")) << ended.err;
  EXPECT_TRUE(contains(ended.err, "4MiB here and 1MiB")) << ended.err;
  Process third = start_node("node_1", 2, {"--set", "storage.chunk_bytes=1MiB"});
  EXPECT_TRUE(third.wait_for_line("is ready", patience()));
}

TEST_F(Registry, ADeadDaemonIsRestartedAndItsLossIsShown) {
  json cluster = up({"--servers", "2", "--engine", "memory"});
  EXPECT_EQ(benchfs({"status", "--timeout", "5"}).exit_code, 0);
  expect_refused({"restart", "node_1"}, "--force");
  expect_refused({"restart", "node_7"}, "no such daemon");
  ::kill(pid_of(cluster, 1), SIGKILL);
  ASSERT_TRUE(wait_for_end(pid_of(cluster, 1), patience()));
  EXPECT_EQ(benchfs({"status", "--timeout", "5"}).exit_code, 1);
  Ended restarted = benchfs({"restart", "node_1"});
  ASSERT_EQ(restarted.exit_code, 0) << restarted.err;
  Ended status = benchfs({"status", "--timeout", "5"});
  EXPECT_EQ(status.exit_code, 4) << status.out;
  EXPECT_TRUE(contains(status.out, "node_1 was restarted")) << status.out;
  EXPECT_FALSE(contains(status.out, "node_0 was restarted")) << status.out;
  Ended listed = benchfs({"ls"});
  EXPECT_EQ(listed.exit_code, 1);
  EXPECT_TRUE(contains(listed.err, "node_1: was restarted")) << listed.err;
  Ended down = benchfs({"down"});
  EXPECT_EQ(down.exit_code, 0) << down.err;
  EXPECT_TRUE(contains(down.out, "stopped 2 of 2")) << down.out;
}

TEST_F(Registry, DownRemovesTheDataOfAKilledDaemonAndSaysSo) {
  json cluster = up({"--servers", "2", "--engine", "file"});
  write_file(path("file"), std::string(3 << 20, 'x'));
  ASSERT_EQ(benchfs({"cp", path("file"), "bfs:/file"}).exit_code, 0);
  ::kill(pid_of(cluster, 0), SIGKILL);
  ASSERT_TRUE(wait_for_end(pid_of(cluster, 0), patience()));
  Ended down = benchfs({"down"});
  EXPECT_EQ(down.exit_code, 0) << down.err;
  EXPECT_TRUE(contains(down.err, "node_0: removed")) << down.err;
  EXPECT_TRUE(contains(down.err, path("data") + "/node_0")) << down.err;
  EXPECT_FALSE(fs::exists(path("data") + "/node_0"));
}

TEST_F(Registry, AnInterruptedStartLeavesNoDaemon) {
  Process start({BENCHFS_PROGRAM,
                 "--registry-dir",
                 registry(),
                 "up",
                 "--servers",
                 "24",
                 "--engine",
                 "memory",
                 "--timeout",
                 "60"},
                path(""));
  Deadline deadline = patience();
  while (!fs::exists(registry() + "/pid/node_0") && !deadline.passed()) {
    ::poll(nullptr, 0, 1);
  }
  start.signal(SIGINT);
  Ended ended = start.wait(Deadline::after(2 * kPatience));
  if (ended.exit_code == 0) {
    GTEST_SKIP() << "it was faster than the signal";
  }
  EXPECT_EQ(ended.exit_code, 1) << ended.err;
  EXPECT_TRUE(contains(ended.err, "interrupted")) << ended.err;
  EXPECT_FALSE(fs::exists(registry())) << ended.err;
}

TEST_F(Registry, AnInterruptedBenchmarkRemovesItsFiles) {
  up({"--servers", "2", "--engine", "memory"});
  Process bench({BENCHFS_PROGRAM,
                 "--registry-dir",
                 registry(),
                 "bench",
                 "io",
                 "--size",
                 "16M",
                 "--rewrites",
                 "1000000",
                 "--clients",
                 "2"},
                path(""));
  Deadline deadline = patience();
  while (!contains(benchfs({"ls"}).out, "bench-io-") && !deadline.passed()) {
  }
  bench.signal(SIGINT);
  Ended ended = bench.wait(patience());
  EXPECT_EQ(ended.exit_code, 130) << ended.err;
  EXPECT_TRUE(contains(ended.err, "interrupted")) << ended.err;
  EXPECT_EQ(benchfs({"ls"}).out, "");
}

TEST_F(Registry, ACopyIntoAFullFileSystemStopsWithOneMessageAndLeavesNoIncompleteFiles) {
  up({"--servers", "1", "--engine", "memory", "--memory", "64MiB"});
  fs::create_directory(path("tree"));
  constexpr std::size_t kBytes = 4 << 20;
  for (int i = 0; i < 40; ++i) {
    write_file(path(fmt::format("tree/f{:02}", i)), std::string(kBytes, 'x'));
  }
  Ended copy = benchfs({"cp", "-r", path("tree"), "bfs:/tree"});
  EXPECT_EQ(copy.exit_code, 1);
  EXPECT_EQ(lines_of(copy.err), 1U) << copy.err;
  EXPECT_TRUE(contains(copy.err, "No space left on device")) << copy.err;
  Ended listed = benchfs({"ls", "--json", "-R", "bfs:/tree"});
  json files = json::parse(listed.out, nullptr, false);
  ASSERT_TRUE(files.is_array()) << listed.out;
  EXPECT_GT(files.size(), 4U);
  for (const json& file : files) {
    EXPECT_EQ(file["size"], kBytes) << file;
  }
  EXPECT_TRUE(contains(copy.err, fmt::format("after {} files", files.size()))) << copy.err;
}

TEST_F(Registry, HardLinksBecomeCopiesAndCpSaysSo) {
  up({"--servers", "1", "--engine", "memory"});
  fs::create_directory(path("tree"));
  write_file(path("tree/a"), "text");
  fs::create_hard_link(path("tree/a"), path("tree/b"));
  Ended copy = benchfs({"cp", "-r", path("tree"), "bfs:/tree"});
  EXPECT_EQ(copy.exit_code, 0) << copy.err;
  EXPECT_TRUE(contains(copy.err, "1 hard link became a file of its own")) << copy.err;
  EXPECT_EQ(benchfs({"cat", "bfs:/tree/b"}).out, "text");
}

TEST_F(Registry, TwoRemovalsOfOneTreeBothSucceed) {
  up({"--servers", "3", "--engine", "memory"});
  for (int round = 0; round < 3; ++round) {
    fs::create_directories(path("tree"));
    for (int i = 0; i < 20; ++i) {
      fs::create_directories(path(fmt::format("tree/d{}/e", i)));
      for (int j = 0; j < 10; ++j) {
        write_file(path(fmt::format("tree/d{}/e/f{}", i, j)), "x");
      }
    }
    ASSERT_EQ(benchfs({"cp", "-r", path("tree"), "bfs:/tree"}).exit_code, 0);
    auto remove = [&] {
      return Process({BENCHFS_PROGRAM, "--registry-dir", registry(), "rm", "-rf", "bfs:/tree"},
                     path(""));
    };
    Process one = remove();
    Process two = remove();
    for (Process* process : {&one, &two}) {
      Ended ended = process->wait(patience());
      EXPECT_EQ(ended.exit_code, 0) << ended.err;
      EXPECT_EQ(ended.err, "");
    }
    EXPECT_EQ(benchfs({"ls"}).out, "");
  }
}

TEST_F(Registry, CommandsEndSoonBesideFrozenDaemonsAndNameThem) {
  json cluster = up({"--servers", "3", "--engine", "memory"});
  ASSERT_TRUE(stop(pid_of(cluster, 0)));
  ASSERT_TRUE(stop(pid_of(cluster, 2)));
  Ended set = benchfs({"set", "max_clients=77", "--timeout", "2"});
  EXPECT_EQ(set.exit_code, 3) << set.err;
  EXPECT_TRUE(contains(set.out, "node_1: room for 77 clients")) << set.out;
  EXPECT_TRUE(contains(set.err, "node_0: not set: silent")) << set.err;
  EXPECT_TRUE(contains(set.err, "node_2: not set: silent")) << set.err;
  Ended restart = benchfs({"restart", "node_0"});
  EXPECT_EQ(restart.exit_code, 1);
  ::kill(pid_of(cluster, 0), SIGCONT);
  ::kill(pid_of(cluster, 2), SIGCONT);
}

}  // namespace
}  // namespace benchfs::test
