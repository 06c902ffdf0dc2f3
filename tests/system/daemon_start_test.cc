// benchfsd: what it refuses, and how it says so.
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>

#include "net/address.h"
#include "system/system_test.h"

namespace benchfs::test {
namespace {

namespace fs = std::filesystem;

using DaemonStart = SystemTest;

void expect_refusal(const Ended& ended, int exit_code, const std::string& text) {
  EXPECT_EQ(ended.exit_code, exit_code) << ended.err;
  EXPECT_NE(ended.err.find(text), std::string::npos) << ended.err;
}

TEST_F(DaemonStart, ConfigurationErrorsNameFileLineAndKey) {
  std::string file = path("benchfs.toml");
  struct Case {
    const char* text;
    const char* message;
  };
  const Case cases[] = {
      {"[storage]\n\nengin = \"memory\"\n", ":3:1: unknown key engin in [storage]"},
      {"[storage]\nengine = \"tape\"\n", ":2:1: storage.engine: must be one of"},
      {"[clients]\nmax_clients = 0\n", ":2:1: clients.max_clients: must be a whole number from 1"},
      {"[network]\nport = \"many\"\n", ":2:1: network.port"},
      {"[network\nport = 1\n", ":1:"},
      {"[storage]\nchunk_bytes = \"5MiB\"\n", ":2:1: storage.chunk_bytes: must be a power of two"},
  };
  for (const Case& bad : cases) {
    write_file(file, bad.text);
    Ended ended = benchfsd({"--config", file, "--node-id", "n", "--registry-dir", registry()});
    expect_refusal(ended, EX_CONFIG, file + bad.message);
  }
  EXPECT_FALSE(fs::exists(registry())) << "nothing may be created for a bad configuration";
}

TEST_F(DaemonStart, WhatIsMissingIsNamed) {
  expect_refusal(benchfsd({"--registry-dir", registry()}), EX_CONFIG, "--node-id");
  expect_refusal(benchfsd({"--node-id", "n"}), EX_CONFIG, "--registry-dir");
  expect_refusal(benchfsd({"--config", path("none.toml")}), EX_NOINPUT, path("none.toml"));
  expect_refusal(benchfsd({"--no-such-option"}), EX_USAGE, "--no-such-option");
}

TEST_F(DaemonStart, ThePrintedConfigurationIsAConfiguration) {
  Ended printed = benchfsd({"--print-config", "--node-id", "n", "--engine", "memory"});
  ASSERT_EQ(printed.exit_code, 0) << printed.err;
  EXPECT_NE(printed.out.find("engine = \"memory\""), std::string::npos);
  write_file(path("printed.toml"), printed.out);
  Ended again = benchfsd({"--config", path("printed.toml"), "--print-config"});
  EXPECT_EQ(again.exit_code, 0) << again.err;
  EXPECT_NE(again.out.find("engine = \"memory\""), std::string::npos);
}

TEST_F(DaemonStart, AnUnusableDirectoryIsNamed) {
  write_file(path("file"), "");
  expect_refusal(benchfsd({"--node-id", "n", "--registry-dir", path("file") + "/registry"}),
                 EX_CANTCREAT,
                 path("file") + "/registry");
  expect_refusal(benchfsd({"--node-id",
                           "n",
                           "--registry-dir",
                           registry(),
                           "--engine",
                           "file",
                           "--data-dir",
                           path("file") + "/data"}),
                 EX_CANTCREAT,
                 path("file") + "/data");
}

TEST_F(DaemonStart, APortInUseIsNamed) {
  int taken = socket(AF_INET, SOCK_STREAM, 0);
  net::SocketAddress address = net::make_address("127.0.0.1", 0).value();
  ASSERT_EQ(bind(taken, address.get(), address.length), 0);
  ASSERT_EQ(listen(taken, 1), 0);
  ASSERT_EQ(getsockname(taken, reinterpret_cast<sockaddr*>(&address.storage), &address.length), 0);
  Ended ended = benchfsd({"--node-id",
                          "n",
                          "--registry-dir",
                          registry(),
                          "--engine",
                          "memory",
                          "--listen",
                          address.to_string()});
  close(taken);
  expect_refusal(ended, EX_UNAVAILABLE, address.to_string());
  expect_refusal(ended, EX_UNAVAILABLE, fmt::format("is port {} free", address.port()));
}

TEST_F(DaemonStart, AnAddressOfAnotherHostIsNamed) {
  // TEST-NET-1 of RFC 5737 belongs to nobody.
  Ended ended = benchfsd({"--node-id",
                          "n",
                          "--registry-dir",
                          registry(),
                          "--engine",
                          "memory",
                          "--listen",
                          "192.0.2.1"});
  expect_refusal(ended, EX_UNAVAILABLE, "192.0.2.1");
}

TEST_F(DaemonStart, ASecondDaemonWithTheSameNodeIdIsRefused) {
  Process first = start_node("node_0", 1);
  ASSERT_TRUE(first.wait_for_line("is ready", patience())) << first.err();
  Ended second = start_node("node_0", 1).wait(patience());
  expect_refusal(second, EX_UNAVAILABLE, "node id node_0");
  expect_refusal(second, EX_UNAVAILABLE, fmt::format("process {}", first.pid()));
  auto client = connect();
  ASSERT_NE(client, nullptr) << "the first must be unharmed";
  EXPECT_TRUE(client->run(client->fs().ping(wire::ShardId{0})));
}

TEST_F(DaemonStart, AListThatStaysIncompleteEndsTheDaemon) {
  Ended ended = start_node("node_0", 2, {"--set", "registry.list_timeout_ms=100"}).wait(patience());
  expect_refusal(ended, EX_UNAVAILABLE, "1 of 2");
}

TEST_F(DaemonStart, AListOfAnotherRunIsRefused) {
  Process first = start_node("node_0", 1, {"--run-id", "aaaa"});
  ASSERT_TRUE(first.wait_for_line("is ready", patience())) << first.err();
  Ended second = start_node("node_1", 1, {"--run-id", "bbbb"}).wait(patience());
  expect_refusal(second, EX_UNAVAILABLE, "benchfs down --registry-dir");
}

TEST_F(DaemonStart, TooLittleAddressSpaceIsSaidAtOnce) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || \
    __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
  GTEST_SKIP() << "sanitizers need more than any limit that would be tested";
#endif
  std::string command = fmt::format(
      "ulimit -v 300000; exec {} --node-id n --registry-dir {}", BENCHFSD_PROGRAM, registry());
  expect_refusal(
      Process({"/bin/sh", "-c", command}, path(".")).wait(patience()), EX_CONFIG, "ulimit -v");
}

TEST_F(DaemonStart, BothStopSignalsEndItCleanly) {
  for (int number : {SIGTERM, SIGINT}) {
    Process daemon = start_node("node_0", 1);
    ASSERT_TRUE(daemon.wait_for_line("is ready", patience())) << daemon.err();
    daemon.signal(number);
    Ended ended = daemon.wait(patience());
    EXPECT_EQ(ended.exit_code, 0) << ended.err;
    EXPECT_FALSE(fs::exists(registry() + "/pid/node_0"));
  }
}

TEST_F(DaemonStart, ASignalWhileWaitingForOthersEndsItCleanly) {
  Process daemon = start_node("node_0", 2);
  ASSERT_TRUE(daemon.wait_for_line("listens on", patience())) << daemon.err();
  daemon.signal(SIGTERM);
  Ended ended = daemon.wait(patience());
  EXPECT_EQ(ended.exit_code, 0) << ended.err;
}

}  // namespace
}  // namespace benchfs::test
