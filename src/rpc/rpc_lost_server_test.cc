// Tests the search for a lost server, and how a client finds one of several.
#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>

#include "rpc/testing/rpc_fixture.h"
#include "rpc/testing/server_test_peer.h"

namespace benchfs::rpc {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::Client;
using testing::contains;
using testing::ServerThread;

// --- The server list -----------------------------------------------------------------------------

TEST(ServerListReading, IsDoneElsewhereAndSharedByAllCallsThatWait) {
  ServerThread server;
  net::SocketAddress address = server.address();
  auto readings = std::make_shared<std::atomic<int>>(0);
  auto reader = std::make_shared<std::atomic<std::thread::id>>();
  ConnectionPool::Config config;
  config.connect_patience = milliseconds(300);
  config.list_interval = std::chrono::hours(1);
  config.read_list = [readings, reader](std::uint64_t) -> Result<cluster::ServerList> {
    ++*readings;
    *reader = std::this_thread::get_id();
    return fail(Errc::kConfig, "no list");
  };
  Client client("client_1", {address}, config);
  ASSERT_TRUE(client.ping());
  EXPECT_EQ(*readings, 0);
  server.stop();
  wire::PingRequest request;
  std::vector<Client::Pending> calls;
  for (int i = 0; i < 8; ++i) {
    calls.push_back(client.start(make_call(request)));
  }
  for (auto& call : calls) {
    EXPECT_TRUE(client.eventually([&] { return call->has_value(); }));
    EXPECT_FALSE((*call)->has_value());
  }
  EXPECT_EQ(*readings, 1) << "with many attempts of each call";
  EXPECT_GE(client.connection().stats().connects, 3U);
  EXPECT_NE(reader->load(), std::this_thread::get_id());
}

// A shared file system that hangs keeps nobody from a server that is where it was.
TEST(ServerListReading, ThatHangsStopsNoCall) {
  struct Gate {
    std::mutex mutex;
    std::condition_variable changed;
    bool open = false;
  };
  auto gate = std::make_shared<Gate>();
  ServerThread server;
  ConnectionPool::Config config;
  config.read_list = [gate](std::uint64_t) -> Result<cluster::ServerList> {
    std::unique_lock lock(gate->mutex);
    gate->changed.wait(lock, [&] { return gate->open; });
    return fail(Errc::kConfig, "no list");
  };
  {
    Client client("client_1", {server.address()}, config);
    for (int round = 0; round < 2; ++round) {
      ASSERT_TRUE(client.ping());
      server.run([](Server& s, net::Worker&) { ServerTestPeer::disconnect(s, "client_1"); });
      ASSERT_TRUE(client.eventually(
          [&] { return client.connection().state() == Connection::State::kClosed; }));
    }
    Status answered = client.ping();
    EXPECT_TRUE(answered) << answered.error().message();
  }
  std::lock_guard lock(gate->mutex);
  gate->open = true;
  gate->changed.notify_all();
}

// --- Any of several servers ----------------------------------------------------------------------

Result<wire::ShardId> connect_any(Client& client, wire::ShardId first, Deadline deadline) {
  return client.reactor().block_on(client.pool().connect_any(first, deadline));
}

TEST(ConnectAny, TakesAnotherServerWhenTheFirstIsDeadOrFrozen) {
  ServerThread dead;
  ServerThread frozen;
  ServerThread alive;
  std::vector addresses{dead.address(), frozen.address(), alive.address()};
  dead.stop();
  frozen.freeze();
  {
    Client client("client_1", addresses);
    auto connected = connect_any(client, wire::ShardId{0}, Deadline::after(seconds(20)));
    ASSERT_TRUE(connected) << connected.error().message();
    EXPECT_EQ(connected->value, 2U);
  }
  frozen.thaw();
}

TEST(ConnectAny, PrefersTheFirst) {
  ServerThread one;
  ServerThread two;
  Client client("client_1", {one.address(), two.address()});
  auto connected = connect_any(client, wire::ShardId{1}, Deadline::after(seconds(10)));
  ASSERT_TRUE(connected) << connected.error().message();
  EXPECT_EQ(connected->value, 1U);
}

TEST(ConnectAny, NamesTheFirstWhenNoneAnswers) {
  std::vector<net::SocketAddress> addresses;
  for (int i = 0; i < 2; ++i) {
    ServerThread dead;
    addresses.push_back(dead.address());
  }
  ConnectionPool::Config config;
  config.connect_patience = milliseconds(50);
  Client client("client_1", addresses, config);
  auto connected = connect_any(client, wire::ShardId{1}, Deadline::after(seconds(20)));
  ASSERT_FALSE(connected);
  EXPECT_EQ(connected.error().code, Errc::kUnreachable) << connected.error().message();
  EXPECT_TRUE(contains(connected.error(), "node_1 at ")) << connected.error().message();
  EXPECT_TRUE(contains(connected.error(), "none of 2 servers answered"))
      << connected.error().message();
}

TEST(ConnectAny, EndsAtOnceWhenAServerRefusesTheClient) {
  ServerThread server;
  Client client("client_1", {server.address(), server.address()}, {}, 0xbad);
  auto connected = connect_any(client, wire::ShardId{0}, Deadline::after(std::chrono::hours(1)));
  ASSERT_FALSE(connected);
  EXPECT_EQ(connected.error().code, Errc::kStaleRun);
}

}  // namespace
}  // namespace benchfs::rpc
