// A daemon goes while clients use it: each call ends with an error in time, and the client
// recovers.
#include <fmt/format.h>

#include <atomic>
#include <csignal>
#include <filesystem>
#include <thread>

#include "cluster/placement.h"
#include "system/system_test.h"

namespace benchfs::test {
namespace {

using nlohmann::json;

using DaemonLoss = SystemTest;

constexpr Nanos kCallTimeout = std::chrono::seconds(15);
constexpr wire::ShardId kLost{1};

// Names in the root directory whose entries live on the shard that gets lost.
std::vector<std::string> names_on(wire::ShardId shard, client::Client& client, std::size_t count) {
  std::vector<std::string> names;
  wire::InodeId root = client.run(client.fs().stat("/")).value().id();
  for (int i = 0; names.size() < count; ++i) {
    std::string name = fmt::format("name_{}", i);
    if (cluster::entry_shard(root, name, client.fs().shard_count()) == shard) {
      names.push_back("/" + name);
    }
  }
  return names;
}

TEST_F(DaemonLoss, EveryWaitingCallEndsWithAnErrorThatNamesTheNode) {
  json cluster = up({"--servers", "3", "--engine", "memory"});
  client::Options options = client_options();
  options.file_system.timeouts = client::Timeouts::all(kCallTimeout);
  Result<std::unique_ptr<client::Client>> connected = client::Client::connect(options);
  ASSERT_TRUE(connected) << message(connected);
  client::Client& client = **connected;
  std::vector<std::string> names = names_on(kLost, client, 2);
  std::vector<std::byte> data = pattern(32U << 20, 3);
  ASSERT_TRUE(write_whole(client, "/wide", data));
  ASSERT_TRUE(client.run(client.fs().ping(kLost)));

  // A stopped daemon leaves its callers waiting; then it is gone.
  pid_t pid = pid_of(cluster, kLost.value);
  ASSERT_TRUE(stop(pid));
  struct Call {
    std::string operation;  // as the error must name it: that of the RPC
    Error error;
    bool failed = false;
    Nanos took{};
  };
  std::vector<Call> calls{{"lookup", {}}, {"mkdir", {}}, {"ping", {}}, {"chunk", {}}};
  std::vector<std::thread> threads;
  std::atomic<int> begun{0};
  auto run = [&](std::size_t index, auto make) {
    threads.emplace_back([&, index, make] {
      MonoTime begin = mono_now();
      begun.fetch_add(1);
      auto result = make();
      calls[index].failed = !result.has_value();
      if (!result) {
        calls[index].error = result.error();
      }
      calls[index].took = mono_now() - begin;
    });
  };
  run(0, [&] { return client.run(client.fs().stat(names[0])); });
  run(1, [&] { return client.run(client.fs().mkdir(names[1], 0755)); });
  run(2, [&] { return client.run(client.fs().ping(kLost)); });
  run(3, [&] { return read_whole(client, "/wide"); });
  while (begun.load() < 4) {
    std::this_thread::yield();
  }
  ASSERT_TRUE(client.run(client.fs().ping(wire::ShardId{0}))) << "the others must serve meanwhile";
  ::kill(pid, SIGKILL);
  for (std::thread& thread : threads) {
    thread.join();
  }
  for (const Call& call : calls) {
    EXPECT_TRUE(call.failed) << call.operation;
    EXPECT_LT(call.took, kCallTimeout + std::chrono::seconds(5)) << call.operation;
    std::string text = call.error.message();
    EXPECT_NE(text.find("node_1"), std::string::npos) << call.operation << ": " << text;
    EXPECT_NE(text.find(call.operation), std::string::npos) << text;
  }
}

// A handler of the first waits for the second, which stands still.
TEST_F(DaemonLoss, ADaemonStopsAlthoughARequestOfItsWaitsForAFrozenOne) {
  Process stops = start_node("node_0", 2);
  Process frozen = start_node("node_1", 2);
  ASSERT_TRUE(stops.wait_for_line("is ready", patience())) << stops.err();
  ASSERT_TRUE(frozen.wait_for_line("is ready", patience())) << frozen.err();
  auto client = connect();
  ASSERT_NE(client, nullptr);
  constexpr wire::ShardId kStops{0};
  std::string name = names_on(kStops, *client, 1).front();
  ASSERT_TRUE(write_whole(*client, name, pattern(2 * wire::kDefaultChunkBytes, 3)));

  ASSERT_TRUE(stop(frozen.pid()));
  std::thread caller([&] {
    wire::SetAttrRequest size;
    size.mask = wire::kSetSize;
    EXPECT_FALSE(client->run(client->fs().set_attr(name, size)));
  });
  auto in_flight = [&] {
    Result<std::string> text = client->run(client->fs().shard_stats(kStops));
    return text ? json::parse(*text)["rpc"]["in_flight"].get<int>() : 0;
  };
  Deadline deadline = patience();
  while (in_flight() < 2 && !deadline.passed()) {  // one is the question itself
    std::this_thread::yield();
  }
  stops.signal(SIGTERM);
  EXPECT_EQ(stops.wait(patience()).exit_code, 0) << stops.err();
  frozen.signal(SIGKILL);
  EXPECT_EQ(frozen.wait(patience()).signal, SIGKILL);
  caller.join();
}

TEST_F(DaemonLoss, AClientRecoversWhenTheDaemonIsBackOnAnotherPort) {
  Process stays = start_node("node_0", 2);
  auto leaves = std::make_unique<Process>(start_node("node_1", 2));
  ASSERT_TRUE(stays.wait_for_line("is ready", patience())) << stays.err();
  ASSERT_TRUE(leaves->wait_for_line("is ready", patience())) << leaves->err();
  auto client = connect();
  ASSERT_NE(client, nullptr);
  std::vector<std::string> names = names_on(kLost, *client, 3);
  ASSERT_TRUE(write_whole(*client, names[0], pattern(100'000, 4)));

  leaves->signal(SIGKILL);
  EXPECT_EQ(leaves->wait(patience()).signal, SIGKILL);
  EXPECT_FALSE(client->run(client->fs().ping(kLost)));

  Process back = start_node("node_1", 2);
  ASSERT_TRUE(back.wait_for_line("is ready", patience())) << back.err();
  Status pong = client->run(client->fs().ping(kLost));
  EXPECT_TRUE(pong) << message(pong);
  // Access to data in the lost daemon's memory fails with an error that says so; new files work.
  Result<wire::Attr> old = client->run(client->fs().stat(names[0]));
  EXPECT_TRUE(!old && old.error().is_posix(ENOENT)) << message(old);
  std::vector<std::byte> data = pattern(300'000, 5);
  Status written = write_whole(*client, names[1], data);
  ASSERT_TRUE(written) << message(written);
  EXPECT_EQ(read_whole(*client, names[1]).value_or(std::vector<std::byte>{}), data);
}

TEST_F(DaemonLoss, ClientsAreToldWhenADaemonStops) {
  Process stays = start_node("node_0", 2);
  Process leaves = start_node("node_1", 2);
  ASSERT_TRUE(stays.wait_for_line("is ready", patience())) << stays.err();
  ASSERT_TRUE(leaves.wait_for_line("is ready", patience())) << leaves.err();
  auto client = connect();
  ASSERT_NE(client, nullptr);
  ASSERT_TRUE(client->run(client->fs().ping(wire::ShardId{0})));
  ASSERT_TRUE(client->run(client->fs().ping(kLost)));
  leaves.signal(SIGTERM);
  EXPECT_EQ(leaves.wait(patience()).exit_code, 0);
  Status pong = client->run(client->fs().ping(kLost));
  ASSERT_FALSE(pong);
  EXPECT_NE(message(pong).find("node_1"), std::string::npos) << message(pong);
  EXPECT_TRUE(client->run(client->fs().ping(wire::ShardId{0})));
}

}  // namespace
}  // namespace benchfs::test
