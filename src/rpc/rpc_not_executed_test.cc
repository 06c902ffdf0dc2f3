// Calls that are known not to have been executed: their send was refused, or their client was
// evicted before the server read them.
#include <gtest/gtest.h>

#include <future>
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

// Runs until its first wait at once, before the client's worker is polled.
rt::DetachedTask begin_call(ConnectionPool& pool,
                            const Call& call,
                            Deadline deadline,
                            std::optional<Result<Reply>>& out) {
  out = co_await pool.call({}, call, deadline);
}

// A send that UCX refuses at once, because it knows already that the connection broke and we do
// not. The server it was meant for is replaced by one that has never seen the client.
TEST(UnsentCall, ComesAgainAtAServerThatHasForgottenTheClient) {
  ServerThread first;
  ServerThread second;
  net::SocketAddress now = first.address();
  ConnectionPool::Config config;
  config.read_list = testing::reader_of(now);
  Client client("client_1", {now}, config);
  ASSERT_TRUE(client.ping());
  now = second.address();
  first.run([](Server& s, net::Worker&) { ServerTestPeer::disconnect(s, "client_1"); });
  link::Link* link = client.connection().link();
  Deadline patience = Deadline::after(seconds(10));
  while (link->is_open() && !patience.passed()) {
    ucp_worker_progress(client.worker().handle());
  }
  ASSERT_FALSE(link->is_open());
  ASSERT_EQ(client.connection().state(), Connection::State::kReady);
  wire::MkdirRequest request;
  Call call = make_call(request);
  std::optional<Result<Reply>> answer;
  {
    rt::Reactor::Binding binding(client.reactor());
    begin_call(client.pool(), call, Deadline::after(seconds(10)), answer).handle.resume();
  }
  EXPECT_NE(client.connection().state(), Connection::State::kReady) << "the send was refused";
  ASSERT_TRUE(client.eventually([&] { return answer.has_value(); }));
  EXPECT_TRUE(answer->has_value()) << answer->error().message();
  EXPECT_EQ(first.service().mkdirs, 0U);
  EXPECT_EQ(second.service().mkdirs, 1U);
}

// The notice of the eviction is there when the client looks, but the deadline has passed too.
TEST(EvictedCall, WhoseDeadlineHasPassedSaysSoWithItsPhase) {
  ServerThread server;
  Client client("client_1", {server.address()});
  Client other("client_2", {server.address()});
  ASSERT_TRUE(client.ping());
  ASSERT_TRUE(other.ping());
  std::promise<void> standing;
  std::promise<void> sent;
  auto evicting = std::async(std::launch::async, [&] {
    server.run([&](Server& s, net::Worker&) {  // reads nothing meanwhile
      standing.set_value();
      (void)sent.get_future().wait_for(seconds(5));
      s.set_capacity(1);
    });
  });
  standing.get_future().wait();
  wire::MkdirRequest request;
  Deadline deadline = Deadline::after(seconds(1));
  Client::Pending pending = client.start(make_call(request), deadline);
  ASSERT_TRUE(client.eventually([&] { return client.connection().stats().calls == 2; }));
  sent.set_value();
  evicting.get();
  EXPECT_TRUE(server.eventually([](Server& s, net::Worker&) { return s.link_count() == 1; }));
  while (!deadline.passed()) {
    std::this_thread::yield();
  }
  ASSERT_TRUE(client.eventually([&] { return pending->has_value(); }));
  ASSERT_FALSE((*pending)->has_value());
  const Error& error = (*pending)->error();
  EXPECT_EQ(error.code, Errc::kDeadline) << error.message();
  EXPECT_TRUE(contains(error, "mkdir on node_0: no reply within 1.0")) << error.message();
  EXPECT_TRUE(contains(error, "(node_0 closed the connection, waiting for the reply for 1."))
      << error.message();
  EXPECT_EQ(client.connection().stats().evictions, 1U);
  EXPECT_EQ(server.service().mkdirs, 0U);
}

}  // namespace
}  // namespace benchfs::rpc
