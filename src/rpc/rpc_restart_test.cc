// Servers that come and go, and calls that are cut off.
#include <gtest/gtest.h>

#include <thread>

#include "rpc/testing/rpc_fixture.h"
#include "rpc/testing/server_test_peer.h"
#include "rt/frame_pool.h"

namespace benchfs::rpc {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::Client;
using testing::contains;
using testing::ServerThread;

TEST(Restart, ShutdownIsToldToClientsThatAreIdle) {
  ServerThread server;
  Client client("client_1", {server.address()});
  ASSERT_TRUE(client.ping());
  server.stop();
  EXPECT_TRUE(
      client.eventually([&] { return client.connection().state() == Connection::State::kClosed; }));
  EXPECT_EQ(client.connection().stats().evictions, 0U);
}

TEST(Restart, RequestsAreRefusedWhileTheServerStopsAndRunningOnesEnd) {
  ServerThread server;
  Client client("client_1", {server.address()});
  wire::MkdirRequest request{.parent = 200};
  auto pending = client.start(make_call(request));
  ASSERT_TRUE(client.eventually([&] { return server.service().mkdirs == 1; }));
  std::thread stopper([&] { server.stop(); });
  EXPECT_TRUE(client.eventually([&] { return pending->has_value(); }));
  // It was accepted, so it is answered.
  EXPECT_TRUE((*pending)->has_value()) << (*pending)->error().message();
  stopper.join();
}

TEST(Restart, AClientFindsTheServerAtItsNewAddress) {
  auto server = std::make_unique<ServerThread>();
  net::SocketAddress now = server->address();
  ConnectionPool::Config config;
  config.read_list = testing::reader_of(now);
  Client client("client_1", {server->address()}, config);
  ASSERT_TRUE(client.ping());
  server = nullptr;
  server = std::make_unique<ServerThread>();
  now = server->address();
  Status answered = client.ping();
  EXPECT_TRUE(answered) << answered.error().message();
  EXPECT_EQ(client.connection().address().to_string(), now.to_string());
}

TEST(Restart, AServerThatIsGoneForGoodIsGivenUp) {
  ServerThread server;
  ConnectionPool::Config config;
  config.connect_patience = milliseconds(200);
  Client client("client_1", {server.address()}, config);
  ASSERT_TRUE(client.ping());
  server.stop();
  for (int i = 0; i < 2; ++i) {  // with the connection, and without
    Status answered = client.ping(Deadline::after(std::chrono::minutes(10)));
    ASSERT_FALSE(answered);
    EXPECT_TRUE(answered.error().code == Errc::kUnreachable ||
                answered.error().code == Errc::kDisconnected)
        << answered.error().message();
    EXPECT_TRUE(contains(answered.error(), "ping")) << answered.error().message();
    EXPECT_TRUE(contains(answered.error(), "node_0")) << answered.error().message();
    EXPECT_TRUE(contains(answered.error(), server.address().to_string()));
  }
}

// Ends the connection under a call that is being executed, and starts another server in its place.
class BrokenCall : public ::testing::Test {
 protected:
  Result<Reply> run(const Call& call) {
    ServerThread::Options options;
    options.shutdown_patience = Nanos::zero();  // does not wait for running requests
    ServerThread first(std::move(options));
    net::SocketAddress now = first.address();
    ConnectionPool::Config config;
    config.read_list = testing::reader_of(now);
    Client client("client_1", {now}, config);
    auto pending = client.start(call);
    EXPECT_TRUE(client.eventually([&] { return first.service().handled == 1; }));
    second = std::make_unique<ServerThread>();
    now = second->address();
    std::thread stopper([&] { first.stop(); });
    EXPECT_TRUE(client.eventually([&] { return pending->has_value(); }));
    stopper.join();
    EXPECT_TRUE(client.ping());
    return **pending;
  }
  std::unique_ptr<ServerThread> second;
};

TEST_F(BrokenCall, IsNotRepeatedWhenThatCouldHaveTwoEffects) {
  wire::MkdirRequest request{.parent = 300};
  Result<Reply> answer = run(make_call(request));
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, Errc::kDisconnected);
  EXPECT_TRUE(contains(answer.error(), "mkdir on node_0")) << answer.error().message();
  EXPECT_EQ(second->service().mkdirs, 0U);
}

TEST_F(BrokenCall, IsRepeatedWhenItIsIdempotent) {
  wire::FsyncChunksRequest request{.inode = 300};
  Result<Reply> answer = run(make_call(request));
  EXPECT_TRUE(answer) << answer.error().message();
  EXPECT_EQ(second->service().handled, 2U);  // and the ping
}

// The connection ends under calls that are being executed, forty times; each comes again over a
// new connection, and is answered once it has been executed, which is once.
TEST(ExactlyOnce, ACallThatIsCutOffIsExecutedOnceAndAnswered) {
  ServerThread server;
  Client client("client_1", {server.address()});
  constexpr int kRounds = 40;
  constexpr int kAtOnce = 8;
  for (int round = 0; round < kRounds; ++round) {
    wire::MkdirRequest slow{.parent = 5};
    std::vector<Client::Pending> pending;
    for (int i = 0; i < kAtOnce; ++i) {
      pending.push_back(client.start(make_call(slow)));
    }
    std::uint64_t begun = static_cast<std::uint64_t>(round) * kAtOnce;
    // Cut in every phase: before, while and after they are executed and answered.
    std::uint64_t cut_at = begun + static_cast<std::uint64_t>(round % (kAtOnce + 1));
    client.eventually([&] { return server.service().mkdirs >= cut_at; });
    server.run([](Server& s, net::Worker&) { ServerTestPeer::disconnect(s, "client_1"); });
    for (auto& call : pending) {
      ASSERT_TRUE(client.eventually([&] { return call->has_value(); }));
      ASSERT_TRUE((*call)->has_value()) << (*call)->error().message();
    }
    ASSERT_EQ(server.service().mkdirs, begun + kAtOnce) << "round " << round;
  }
  EXPECT_GT(server.stats().repeated, 0U);
}

// The call that was given up still runs; the next one gets its slot of the window.
TEST(ExactlyOnce, ACallThatWasGivenUpDoesNotHoldUpTheNext) {
  ServerThread server;
  Client client("client_1", {server.address()});
  ASSERT_TRUE(client.ping());
  Status late = client.mkdir_there(400, Deadline::after(milliseconds(30)));
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, Errc::kDeadline);
  for (int i = 0; i < 3; ++i) {
    Status made = client.mkdir_there(0, Deadline::after(seconds(5)));
    EXPECT_TRUE(made) << made.error().message();
  }
  EXPECT_EQ(server.service().mkdirs, 4U);
  EXPECT_TRUE(server.eventually([](Server& s, net::Worker&) { return s.stats().in_flight == 0; }));
}

TEST(Replacement, EndsTheRunningCallsOfTheOlderClient) {
  ServerThread server;
  Client first("twin", {server.address()});
  Client second("twin", {server.address()});
  wire::MkdirRequest request{.parent = 200};
  auto pending = first.start(make_call(request));
  ASSERT_TRUE(first.eventually([&] { return server.service().mkdirs == 1; }));
  ASSERT_TRUE(second.ping());
  ASSERT_TRUE(first.eventually([&] { return pending->has_value(); }));
  ASSERT_FALSE((*pending)->has_value());
  EXPECT_EQ((*pending)->error().code, Errc::kRefused);
  EXPECT_TRUE(contains((*pending)->error(), "another client registered with node_0 as twin"));
  EXPECT_TRUE(server.eventually([](Server& s, net::Worker&) { return s.stats().in_flight == 0; }));
  EXPECT_EQ(server.service().mkdirs, 1U);
  EXPECT_EQ(server.stats().replies_dropped, 1U);
}

TEST(ClientDeath, EndsItsSessionWhileItsRequestsRun) {
  ServerThread server;
  std::int64_t frames = rt::frame_pool_stats().live;
  std::int64_t server_frames = 0;
  server.run([&](Server&, net::Worker&) { server_frames = rt::frame_pool_stats().live; });
  {
    Client client("client_1", {server.address()});
    wire::MkdirRequest request{.parent = 100};
    auto pending = client.start(make_call(request));
    ASSERT_TRUE(client.eventually([&] { return server.service().mkdirs == 1; }));
    rt::Reactor::Binding binding(client.reactor());
    client.connection().close();
    ASSERT_TRUE(client.eventually([&] { return pending->has_value(); }));
    EXPECT_EQ((*pending)->error().code, Errc::kCancelled);
  }
  EXPECT_TRUE(server.eventually([&](Server& s, net::Worker&) {
    return s.stats().in_flight == 0 && s.link_count() == 0 &&
           rt::frame_pool_stats().live == server_frames;
  }));
  EXPECT_EQ(rt::frame_pool_stats().live, frames);
  EXPECT_EQ(server.service().gone, 1U);
}

}  // namespace
}  // namespace benchfs::rpc
