// Servers that stop responding although their connection lives, and the heartbeats that tell.
#include <gtest/gtest.h>

#include <atomic>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "rpc/testing/rpc_fixture.h"
#include "rt/sync.h"

namespace benchfs::rpc {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::Client;
using testing::contains;
using testing::ServerThread;

TEST(Silence, ClosesTheConnectionToAFrozenServerAndTheNextCallMakesANewOne) {
  ServerThread server;
  ConnectionPool::Config config;
  config.connect_timeout = milliseconds(500);
  config.connect_patience = Nanos::zero();
  Client client("client_1", {server.address()}, config);
  ASSERT_TRUE(client.ping());
  server.freeze();
  Status made = client.mkdir_there(0, Deadline::after(std::chrono::minutes(10)));
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, Errc::kDisconnected);
  EXPECT_TRUE(contains(made.error(), "mkdir on node_0: node_0 at ")) << made.error().message();
  EXPECT_TRUE(contains(made.error(), "has been silent for ")) << made.error().message();
  EXPECT_TRUE(contains(made.error(), "waiting for the reply for ")) << made.error().message();
  EXPECT_EQ(client.connection().stats().heartbeats, 1U);
  EXPECT_EQ(client.connection().stats().silences, 1U);
  server.thaw();
  Status answered = client.ping();
  EXPECT_TRUE(answered) << answered.error().message();
  EXPECT_EQ(client.connection().stats().connects, 3U) << "one attempt while it was frozen";
}

// An occasional heartbeat, and a limit that no loaded machine reaches.
ConnectionPool::Config patient() {
  ConnectionPool::Config config;
  config.heartbeat_after = milliseconds(20);
  config.silence_limit = std::chrono::hours(1);
  return config;
}

TEST(Heartbeats, AreAnsweredByAServerThatIsSlowWithOneOperation) {
  ServerThread server;
  Client client("client_1", {server.address()}, patient());
  wire::FsyncChunksRequest slow{.inode = 500};
  auto pending = client.start(make_call(slow));
  EXPECT_TRUE(client.eventually([&] { return client.connection().stats().heartbeats >= 3; }))
      << "only an answer lets the next one be sent";
  EXPECT_TRUE(client.eventually([&] { return pending->has_value(); }));
  EXPECT_TRUE((*pending)->has_value());
  EXPECT_EQ(client.connection().stats().connects, 1U);
  EXPECT_EQ(client.connection().stats().late_replies, 0U);
  EXPECT_GE(server.stats().heartbeats, 2U);
  EXPECT_EQ(server.stats().malformed, 0U);
  EXPECT_EQ(server.service().handled, 1U) << "they are no requests";
}

// Calls that are answered when the test says so.
class HoldingService final : public testing::EchoService {
 public:
  rt::Task<void> handle(Request& request) override {
    ++held;
    (void)co_await released.wait(Deadline::never());
    co_await request.reply(wire::NoReply{});
  }
  std::atomic<int> held{0};
  rt::Event released;  // the server's thread
};

// They wait, for all the client can have under way, for something that it has to say.
TEST(Heartbeats, AndAcknowledgementsDoNotWaitForTheCallsThatWait) {
  HoldingService service;
  ServerThread server({.service = &service});
  Client client("client_1", {server.address()}, patient());
  wire::FsyncChunksRequest request;
  std::vector<Client::Pending> pending;
  for (std::uint32_t i = 0; i < wire::kMaxWindow; ++i) {
    pending.push_back(client.start(make_call(request)));
  }
  ASSERT_TRUE(client.eventually([&] { return service.held > 0; }));
  int held = 0;
  ASSERT_TRUE(client.eventually([&] { return std::exchange(held, service.held.load()) == held; }));
  EXPECT_TRUE(client.eventually([&] { return client.connection().stats().heartbeats >= 3; }))
      << "only an answer lets the next one be sent";
  server.run([&](Server& s, net::Worker&) {
    wire::SessionId session = s.registry().oldest()->id;
    wire::InvalidateHeader header{.sequence = 5, .session_id = session.value, .parent = 17};
    EXPECT_TRUE(s.notify(session, wire::Opcode::kInvalidate, std::as_bytes(std::span(&header, 1))));
  });
  EXPECT_TRUE(client.eventually([&] { return service.last_ack == 5; }));
  server.run([&](Server&, net::Worker&) { service.released.set(); });
  for (const Client::Pending& call : pending) {
    EXPECT_TRUE(client.eventually([&] { return call->has_value(); }));
  }
  EXPECT_EQ(client.connection().stats().connects, 1U);
}

TEST(Heartbeats, OfADrainingSessionAreAnsweredToo) {
  ServerThread server({.config = {.max_clients = 1, .run_id = testing::kTestRun}});
  Client busy("busy", {server.address()}, patient());
  wire::MkdirRequest slow{.parent = 700};
  auto pending = busy.start(make_call(slow));
  ASSERT_TRUE(busy.eventually([&] { return server.service().mkdirs == 1; }));
  Client other("other", {server.address()});
  std::thread newcomer([&] {
    Status answered = other.ping(Deadline::after(seconds(30)));
    EXPECT_TRUE(answered) << answered.error().message();
  });
  EXPECT_TRUE(server.eventually([](Server& s, net::Worker&) {
    Session* session = s.registry().find("busy");
    return session != nullptr && session->is_draining;
  }));
  std::uint64_t before = server.stats().heartbeats;
  EXPECT_TRUE(busy.eventually([&] { return busy.connection().stats().heartbeats > before + 3; }));
  EXPECT_TRUE(busy.eventually([&] { return pending->has_value(); }));
  EXPECT_TRUE((*pending)->has_value());
  EXPECT_EQ(server.stats().postponed, 0U);
  newcomer.join();
}

TEST(Heartbeats, WithAnythingInThemAreMalformed) {
  ServerThread server;
  Client client("client_1", {server.address()});
  ASSERT_TRUE(client.ping());
  wire::RequestHeader ping;
  ping.request_id = wire::RequestId::make(wire::kHeartbeatSlot, {}, 1).value;
  ping.session_id = client.connection().grant().session_id;
  ping.flags = 1;
  rt::Reactor::Binding binding(client.reactor());
  client.connection().link()->send_and_forget(static_cast<std::uint16_t>(wire::Opcode::kPing),
                                              std::as_bytes(std::span(&ping, 1)));
  ASSERT_TRUE(client.ping());
  EXPECT_EQ(server.stats().malformed, 1U);
  EXPECT_EQ(server.stats().heartbeats, 0U);
}

TEST(Silence, SendsNothingWhileNoCallWaits) {
  ServerThread server;
  ConnectionPool::Config config;
  config.silence_limit = milliseconds(100);
  Client client("client_1", {server.address()}, config);
  ASSERT_TRUE(client.ping());
  std::uint64_t handled = server.service().handled;
  MonoTime begin = mono_now();
  EXPECT_TRUE(client.eventually([&] { return mono_now() - begin > milliseconds(500); }));
  EXPECT_EQ(client.connection().stats().heartbeats, 0U);
  EXPECT_EQ(server.service().handled, handled);
  EXPECT_EQ(client.connection().state(), Connection::State::kReady);
}

TEST(Silence, OfAServerThatIsFrozenWhileItsSuccessorListensElsewhereLeadsToTheSuccessor) {
  ServerThread frozen;
  ServerThread successor;
  net::SocketAddress now = frozen.address();
  ConnectionPool::Config config;
  config.silence_limit = milliseconds(300);
  config.read_list = testing::reader_of(now);
  Client client("client_1", {now}, config);
  ASSERT_TRUE(client.ping());
  frozen.freeze();
  now = successor.address();
  Status answered = client.ping();
  EXPECT_TRUE(answered) << answered.error().message();
  EXPECT_EQ(client.connection().address().to_string(), now.to_string());
  frozen.thaw();
}

}  // namespace
}  // namespace benchfs::rpc
