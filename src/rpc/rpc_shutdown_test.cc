// A server that stops while requests run: it ends in bounded time whatever they wait for.
#include <gtest/gtest.h>

#include "rpc/testing/rpc_fixture.h"

namespace benchfs::rpc {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using testing::Client;
using testing::ServerThread;

ServerThread::Options impatient() {
  ServerThread::Options options;
  options.shutdown_patience = Nanos::zero();
  return options;
}

// Passes every request on to another server, as shards do with some.
class RelayService final : public Service {
 public:
  // Called on the server's thread.
  void attach(net::Worker& worker, const net::SocketAddress& to) {
    ConnectionPool::Config config;
    config.silence_limit = minutes(10);
    ClientIdentity identity{.id = "relay", .uid = 1, .run_id = testing::kTestRun};
    pool_ = ConnectionPool::create(worker, std::move(identity), std::move(config)).value();
    cluster::ServerList list;
    list.run_id = testing::kTestRun;
    list.servers.push_back({"node_0", to.ip(), to.port()});
    ASSERT_TRUE(pool_->set_servers(list));
  }
  void detach() { pool_.reset(); }

  rt::Task<void> handle(Request& request) override {
    wire::PingRequest ping;
    Call call = make_call(ping);
    Result<Reply> reply = co_await pool_->call({}, call, request.deadline());
    if (!reply) {
      failure = reply.error();
      co_return co_await request.reply_error(reply.error());
    }
    co_await request.reply(wire::NoReply{});
  }
  void on_client_registered(wire::SessionId, std::uint64_t) override {}
  void on_client_gone(std::uint64_t, Departure, pid_t) override {}
  void on_invalidate_ack(wire::SessionId, std::uint64_t) override {}
  void on_stopping() override { pool_->close(); }

  std::optional<Error> failure;  // of the last request

 private:
  std::unique_ptr<ConnectionPool> pool_;
};

void expect_relay_stops(bool is_connected) {
  ServerThread other;
  RelayService relay;
  ServerThread::Options options = impatient();
  options.service = &relay;
  options.at_end = [&] { relay.detach(); };
  ServerThread server(std::move(options));
  server.run([&](Server&, net::Worker& worker) { relay.attach(worker, other.address()); });
  Client client("client_1", {server.address()});
  if (is_connected) {
    ASSERT_TRUE(client.ping());
  }
  other.freeze();
  wire::PingRequest request;
  auto pending = client.start(make_call(request), Deadline::after(minutes(1)));
  std::uint64_t calls = is_connected ? 2 : 1;
  ASSERT_TRUE(client.eventually([&] { return client.connection().stats().calls == calls; }));
  ASSERT_TRUE(server.eventually([](Server& s, net::Worker&) { return s.stats().in_flight == 1; }));
  server.stop();
  ASSERT_EQ(server.shutdowns().size(), 1U);
  EXPECT_TRUE(server.shutdowns().front()) << server.shutdowns().front().error().message();
  ASSERT_TRUE(relay.failure);
  EXPECT_EQ(relay.failure->code, Errc::kCancelled) << relay.failure->message();
  EXPECT_NE(relay.failure->message().find("ping on node_0: the client is closing"),
            std::string::npos)
      << relay.failure->message();
  rt::Reactor::Binding binding(client.reactor());
  client.pool().close();
  EXPECT_TRUE(client.eventually([&] { return pending->has_value(); }));
}

TEST(Shutdown, DoesNotWaitForAHandlerThatWaitsForAFrozenServer) {
  expect_relay_stops(true);
}

TEST(Shutdown, DoesNotWaitForAHandlerThatConnectsToAFrozenServer) {
  expect_relay_stops(false);
}

TEST(Shutdown, DoesNotWaitForAClientThatDoesNotTakeItsReply) {
  ServerThread server(impatient());
  Client client("client_1", {server.address()});
  ASSERT_TRUE(client.ping());
  std::vector<std::byte> into(1 << 20);
  wire::PingRequest request{.reply_bytes = static_cast<std::uint32_t>(into.size())};
  Call call = make_call(request);
  call.into = into;
  auto pending = client.start(call, Deadline::after(minutes(1)));
  // Driven until the request has left, which ends the pass: the reply cannot have been seen.
  ASSERT_TRUE(client.eventually([&] { return client.connection().stats().calls == 2; }));
  ASSERT_TRUE(server.eventually([](Server& s, net::Worker&) { return s.stats().in_flight == 1; }));
  server.stop();
  ASSERT_EQ(server.shutdowns().size(), 1U);
  EXPECT_TRUE(server.shutdowns().front()) << server.shutdowns().front().error().message();
  rt::Reactor::Binding binding(client.reactor());
  client.pool().close();
  EXPECT_TRUE(client.eventually([&] { return pending->has_value(); }));
}

TEST(Shutdown, NamesTheRequestsThatDoNotEnd) {
  ServerThread::Options options = impatient();
  options.config.end_patience = milliseconds(100);
  ServerThread server(std::move(options));
  Client client("client_1", {server.address()});
  ASSERT_TRUE(client.ping());
  wire::FsyncChunksRequest request{.inode = 1000};
  auto pending = client.start(make_call(request), Deadline::after(minutes(1)));
  ASSERT_TRUE(client.eventually([&] { return server.service().handled == 2; }));
  server.stop();
  ASSERT_GE(server.shutdowns().size(), 3U) << "each was bounded";
  const Status& first = server.shutdowns().front();
  ASSERT_FALSE(first);
  EXPECT_EQ(first.error().code, Errc::kDeadline);
  std::string text = first.error().message();
  EXPECT_NE(text.find("stopping: 1 requests do not end: fsync chunks of client "),
            std::string::npos)
      << text;
  EXPECT_NE(text.find(", serving after 0."), std::string::npos) << text;
  EXPECT_TRUE(server.shutdowns().back());
  rt::Reactor::Binding binding(client.reactor());
  client.pool().close();
  EXPECT_TRUE(client.eventually([&] { return pending->has_value(); }));
}

}  // namespace
}  // namespace benchfs::rpc
