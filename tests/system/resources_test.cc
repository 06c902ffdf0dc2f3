// Full disks, full memory, buffers that others hold, and what an idle daemon costs.
#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <future>
#include <iterator>
#include <sstream>
#include <string_view>
#include <thread>

#include "system/failure_test.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || \
    __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define BENCHFS_TEST_SANITIZED 1
#else
#define BENCHFS_TEST_SANITIZED 0
#endif

namespace benchfs::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

class Resources : public SystemTest {
 protected:
  // Fills the file system, then finds everything as it should be.
  void expect_full_and_well(client::Client& client) {
    std::vector<std::byte> early = pattern(4U << 20, 6);
    ASSERT_TRUE(write_whole(client, "/early", early));
    std::vector<std::byte> block = pattern(4U << 20, 7);
    Status status;
    int stored = 0;
    for (; status && stored < 64; ++stored) {
      status = write_whole(client, fmt::format("/fill_{}", stored), block);
    }
    ASSERT_FALSE(status) << "the disk never became full";
    EXPECT_TRUE(status.error().is_posix(ENOSPC)) << message(status);
    ASSERT_GT(stored, 2);

    EXPECT_EQ(read_whole(client, "/early").value_or(std::vector<std::byte>{}), early);
    EXPECT_EQ(read_whole(client, "/fill_0").value_or(std::vector<std::byte>{}), block);
    EXPECT_TRUE(client.run(client.fs().ping(wire::ShardId{0})));
    EXPECT_TRUE(client.run(client.fs().mkdir("/directory", 0755))) << "names need no chunk space";

    for (int i = 0; i < stored; ++i) {
      Status removed = client.run(client.fs().unlink(fmt::format("/fill_{}", i)));
      EXPECT_TRUE(removed) << message(removed);
    }
    Status again = write_whole(client, "/again", block);
    EXPECT_TRUE(again) << "after making room: " << message(again);
    EXPECT_EQ(read_whole(client, "/again").value_or(std::vector<std::byte>{}), block);
    EXPECT_EQ(read_whole(client, "/early").value_or(std::vector<std::byte>{}), early);
  }
};

TEST_F(Resources, AFullDiskIsReportedAndHarmsNothing) {
  fs::create_directory(path("data"));
  if (!enter_private_mounts()) {
    GTEST_SKIP() << "this kernel does not let us mount";
  }
  TmpfsMount disk(path("data"), 48U << 20);
  ASSERT_TRUE(disk.is_mounted());
  up({"--servers", "1", "--engine", "file", "--chunk", "1MiB"});
  auto client = connect();
  ASSERT_NE(client, nullptr);
  expect_full_and_well(*client);
  client.reset();
  EXPECT_EQ(benchfs({"down"}).exit_code, 0);
}

TEST_F(Resources, FullMemoryIsReportedAndHarmsNothing) {
  up({"--servers", "1", "--engine", "memory", "--memory", "48MiB", "--chunk", "1MiB"});
  auto client = connect();
  ASSERT_NE(client, nullptr);
  expect_full_and_well(*client);
  client.reset();
  EXPECT_EQ(benchfs({"down"}).exit_code, 0);
}

std::uint64_t resident_bytes(pid_t pid) {
  std::ifstream status(fmt::format("/proc/{}/status", pid));
  for (std::string line; std::getline(status, line);) {
    std::uint64_t kib = 0;
    if (std::sscanf(line.c_str(), "VmRSS: %lu kB", &kib) == 1) {
      return kib << 10;
    }
  }
  return 0;
}

TEST_F(Resources, AnIdleDaemonTakesNextToNoCpuAndLittleMemory) {
  json cluster = up({"--servers", "4"});
  auto client = connect();  // idle daemons have clients
  ASSERT_NE(client, nullptr);
  ASSERT_TRUE(write_whole(*client, "/file", pattern(16U << 20, 8)));
  for (std::size_t i = 0; i < 4; ++i) {
    // Other processes may disturb one of the seconds, hardly all.
    double lowest = 1.0;
    for (int attempt = 0; attempt < 5 && lowest >= 0.01; ++attempt) {
      std::uint64_t before = cpu_ns(pid_of(cluster, i));
      ASSERT_GT(before, 0U);
      std::this_thread::sleep_for(std::chrono::seconds(1));  // lint: allow sleep measured
      lowest = std::min(lowest, static_cast<double>(cpu_ns(pid_of(cluster, i)) - before) * 1e-9);
    }
    EXPECT_LT(lowest, 0.01) << "of a core, node_" << i;
    std::uint64_t resident = resident_bytes(pid_of(cluster, i));
    ASSERT_GT(resident, 0U);
    RecordProperty(fmt::format("node_{}_resident_mib", i), static_cast<int>(resident >> 20));
    if (!BENCHFS_TEST_SANITIZED) {
      EXPECT_LE(resident, 100U << 20) << "node_" << i;
    }
  }
}

class Buffers : public FailureTest {
 protected:
  // The client processes of a `benchfs bench`.
  static std::vector<pid_t> workers(pid_t bench) {
    std::istringstream list(read_file(fmt::format("/proc/{0}/task/{0}/children", bench)));
    return {std::istream_iterator<pid_t>(list), {}};
  }
  // Polls a counter of another process; false at the deadline.
  template <typename Condition>
  static bool eventually(Condition condition) {
    Deadline deadline = patience();
    while (!condition()) {
      if (deadline.passed()) {
        return false;
      }
      std::this_thread::sleep_for(  // lint: allow sleep counters of another process
          std::chrono::milliseconds(1));
    }
    return true;
  }
  // Freezes the clients, so that the transfers they requested never complete.
  static bool freeze(const std::vector<pid_t>& pids) { return std::ranges::all_of(pids, stop); }
};

// Over tcp a frozen client does not send what it has announced, and the buffers it was given stay
// taken. Over shared memory the server fetches it all the same.
TEST_F(Buffers, ClientsFrozenInTheMiddleOfTheirWritesDoNotStopOthers) {
  bool is_tcp = is_over_network();
  up({"--servers", "1", "--engine", "file", "--chunk", "1MiB"});
  std::unique_ptr<client::Client> client = connect();
  ASSERT_NE(client, nullptr);
  Held before = held_at_rest(*client);
  Process bench({BENCHFS_PROGRAM,
                 "--registry-dir",
                 registry(),
                 "bench",
                 "io",
                 "--clients",
                 "2",
                 "--size",
                 "64G",
                 "--request",
                 "1M",
                 "--depth",
                 "32"},
                path(""));
  ASSERT_TRUE(eventually([&] { return held(*client).buffers_free < before.buffers_free; }))
      << bench.err();
  std::vector<pid_t> frozen = workers(bench.pid());
  ASSERT_EQ(frozen.size(), 2U);
  ASSERT_TRUE(freeze(frozen));

  auto others = std::async(std::launch::async, [&] {
    std::vector<std::byte> data = pattern(16U << 20, 4);
    Status written = write_whole(*client, "/file", data);
    EXPECT_TRUE(written) << message(written);
    EXPECT_EQ(read_whole(*client, "/file").value_or(std::vector<std::byte>{}), data);
  });
  EXPECT_EQ(others.wait_for(kPatience), std::future_status::ready);
  int free = -1;
  if (others.wait_for(Nanos::zero()) == std::future_status::ready) {
    free = held(*client).buffers_free;
  }
  for (pid_t pid : frozen) {
    ::kill(pid, SIGKILL);
  }
  others.get();
  if (is_tcp) {
    EXPECT_LT(free, before.buffers_free) << "the frozen clients hold none: nothing was tested";
  }
  EXPECT_NE(bench.wait(patience()).exit_code, 0);
  EXPECT_TRUE(holds_again(*client, before));
  client.reset();
  EXPECT_EQ(benchfs({"down"}).exit_code, 0);
}

}  // namespace
}  // namespace benchfs::test
