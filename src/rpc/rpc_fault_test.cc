// Deadlines, evictions, broken connections and servers that come and go.
#include <gtest/gtest.h>

#include <thread>

#include "rpc/testing/many_evictions.h"
#include "rpc/testing/rpc_fixture.h"
#include "rpc/testing/server_test_peer.h"
#include "rt/frame_pool.h"

namespace benchfs::rpc {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::Client;
using testing::fill_pattern;
using testing::has_pattern;
using testing::ServerThread;

bool contains(const Error& error, std::string_view part) {
  return error.message().find(part) != std::string::npos;
}

// --- Deadlines -----------------------------------------------------------------------------------

TEST(CallDeadline, NamesNodeOperationAndPhaseAndTheLateReplyIsDropped) {
  ServerThread server;
  Client client("client_1", {server.address()});
  ASSERT_TRUE(client.ping());
  Status late = client.sleep_there(300, Deadline::after(milliseconds(30)));
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, Errc::kDeadline);
  EXPECT_TRUE(contains(late.error(), "fsync chunks on node_0: no reply within 0."))
      << late.error().message();
  EXPECT_TRUE(contains(late.error(), "(waiting for the reply for ")) << late.error().message();
  EXPECT_TRUE(contains(late.error(), " s; connected)")) << late.error().message();
  EXPECT_EQ(client.connection().stats().deadline_misses, 1U);
  EXPECT_TRUE(client.eventually([&] { return client.connection().stats().late_replies == 1; }));
  EXPECT_TRUE(client.ping());
  EXPECT_EQ(client.connection().stats().connects, 1U);
}

TEST(CallDeadline, EndsACallWhoseDataTheServerDoesNotTake) {
  ServerThread server;
  Client client("client_1", {server.address()});
  ASSERT_TRUE(client.ping());
  server.freeze();
  {
    std::vector<std::byte> data(1 << 20);
    wire::PingRequest request;
    Call call = make_call(request);
    call.data = data;
    call.rendezvous = true;
    Result<Reply> answer = client.call(call, Deadline::after(milliseconds(50)));
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code, Errc::kDeadline);
    EXPECT_TRUE(contains(answer.error(), "ping on node_0: no reply within 0."));
    EXPECT_TRUE(contains(answer.error(), "(sending for ")) << answer.error().message();
  }  // the data is gone when the server wakes up
  server.thaw();
  Status answered = client.ping();
  EXPECT_TRUE(answered) << answered.error().message();
  EXPECT_EQ(client.connection().stats().connects, 2U);
}

TEST(CallDeadline, EndsACallWhoseReplyStopsArriving) {
  ServerThread server;
  Client client("client_1", {server.address()});
  ASSERT_TRUE(client.ping());
  {
    std::vector<std::byte> into(1 << 20);
    wire::PingRequest request{.reply_bytes = static_cast<std::uint32_t>(into.size())};
    Call call = make_call(request);
    call.into = into;
    auto pending = client.start(call, Deadline::after(milliseconds(300)));
    std::uint64_t before = server.service().handled;
    EXPECT_TRUE(client.eventually([&] { return server.service().handled > before; }));
    server.freeze();
    EXPECT_TRUE(client.eventually([&] { return pending->has_value(); }));
    if (!(*pending)->has_value()) {  // cma needs nobody to take part
      EXPECT_EQ((*pending)->error().code, Errc::kDeadline);
    }
  }
  server.thaw();
  EXPECT_TRUE(client.ping());
}

TEST(CallDeadline, HoldsWhileAllSlotsOfTheWindowAreTaken) {
  ServerThread server;
  Client client("client_1", {server.address()});
  wire::FsyncChunksRequest slow{.inode = 400};
  std::vector<Client::Pending> slow_calls;
  for (std::uint32_t i = 0; i < wire::kMaxWindow; ++i) {
    slow_calls.push_back(client.start(make_call(slow)));
  }
  EXPECT_TRUE(client.eventually([&] { return server.service().most_at_once == wire::kMaxWindow; }));
  Status waited = client.ping(Deadline::after(milliseconds(20)));
  ASSERT_FALSE(waited);
  EXPECT_EQ(waited.error().code, Errc::kDeadline);
  EXPECT_TRUE(contains(waited.error(), "ping on node_0: no reply within 0."));
  EXPECT_TRUE(contains(waited.error(), "(waiting for a slot for ")) << waited.error().message();
  for (auto& call : slow_calls) {
    EXPECT_TRUE(client.eventually([&] { return call->has_value(); }));
    EXPECT_TRUE((*call)->has_value());
  }
  EXPECT_TRUE(client.ping());
}

TEST(CallDeadline, HoldsWhileTheServerDoesNotAnswerTheRegistration) {
  ServerThread server;
  server.freeze();
  Client client("client_1", {server.address()});
  Status answered = client.ping(Deadline::after(milliseconds(100)));
  ASSERT_FALSE(answered);
  EXPECT_EQ(answered.error().code, Errc::kDeadline);
  EXPECT_TRUE(contains(answered.error(), "ping on node_0: no reply within 0.1"))
      << answered.error().message();
  EXPECT_TRUE(contains(answered.error(), "ing for 0.")) << answered.error().message();
  EXPECT_TRUE(contains(answered.error(), "; not connected)")) << answered.error().message();
  server.thaw();
  EXPECT_TRUE(client.ping());
}

TEST(CallDeadline, AnswerOfTheServersRpcLayerNamesNodeAndOperation) {
  ServerThread server;
  Client client("client_1", {server.address()});
  Call unknown;
  unknown.opcode = wire::Opcode::kStatfs;
  Result<Reply> answer = client.call(unknown);
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, Errc::kUnknownOpcode);
  EXPECT_TRUE(contains(answer.error(), "statfs on node_0: refused by the server (after 0."))
      << answer.error().message();
}

// --- Silence -------------------------------------------------------------------------------------

TEST(Silence, ClosesTheConnectionToAFrozenServerAndTheNextCallMakesANewOne) {
  ServerThread server;
  ConnectionPool::Config config;
  config.connect_timeout = milliseconds(500);
  config.connect_patience = Nanos::zero();
  Client client("client_1", {server.address()}, config);
  ASSERT_TRUE(client.ping());
  server.freeze();
  MonoTime begin = mono_now();
  Status made = client.mkdir_there(0, Deadline::after(std::chrono::minutes(1)));
  EXPECT_LT(mono_now() - begin, seconds(10));
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

TEST(Silence, IsNotThatOfAServerThatIsSlowWithOneOperation) {
  ServerThread server;
  ConnectionPool::Config config;
  config.silence_limit = milliseconds(300);
  Client client("client_1", {server.address()}, config);
  Status slept = client.sleep_there(1500);
  EXPECT_TRUE(slept) << slept.error().message();
  EXPECT_EQ(client.connection().stats().connects, 1U);
  EXPECT_GE(client.connection().stats().heartbeats, 2U);
  EXPECT_EQ(client.connection().stats().silences, 0U);
  EXPECT_EQ(client.connection().stats().late_replies, 0U);
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
  config.resolve = [&](const std::string&) -> Result<net::SocketAddress> { return now; };
  Client client("client_1", {now}, config);
  ASSERT_TRUE(client.ping());
  frozen.freeze();
  now = successor.address();
  Status answered = client.ping();
  EXPECT_TRUE(answered) << answered.error().message();
  EXPECT_EQ(client.connection().address().to_string(), now.to_string());
  frozen.thaw();
}

TEST(WaitingCalls, AreListedWithOperationAndPhase) {
  ServerThread server;
  Client client("client_1", {server.address()});
  ASSERT_TRUE(client.ping());
  EXPECT_TRUE(client.connection().waiting().empty());
  wire::MkdirRequest request{.parent = 100};
  auto pending = client.start(make_call(request));
  ASSERT_TRUE(client.eventually([&] { return server.service().mkdirs == 1; }));
  std::vector<WaitingCall> calls = client.connection().waiting();
  ASSERT_EQ(calls.size(), 1U);
  EXPECT_EQ(calls[0].opcode, wire::Opcode::kMkdir);
  EXPECT_EQ(calls[0].phase, CallPhase::kWaitingForReply);
  EXPECT_GE(calls[0].age, Nanos::zero());
  EXPECT_TRUE(client.eventually([&] { return pending->has_value(); }));
  EXPECT_TRUE(client.connection().waiting().empty());
}

TEST(Server, EndsTheSessionOfAClientThatDoesNotTakeItsReply) {
  ServerThread server;
  Client client("client_1", {server.address()});
  ASSERT_TRUE(client.ping());
  std::vector<std::byte> into(1 << 20);
  wire::PingRequest request{.reply_bytes = static_cast<std::uint32_t>(into.size())};
  Call call = make_call(request);
  call.into = into;
  auto pending = client.start(call, Deadline::after(milliseconds(100)));
  // Driven until the request has left, which ends the pass: the reply cannot have been seen.
  ASSERT_TRUE(client.eventually([&] { return client.connection().stats().calls == 2; }));
  EXPECT_TRUE(server.eventually([](Server& s, net::Worker&) {
    return s.stats().in_flight == 0 && s.stats().unresponsive == 1;
  }));
  EXPECT_TRUE(client.eventually([&] { return pending->has_value(); }));
  EXPECT_TRUE(client.ping());
}

TEST(Server, EndsTheSessionOfAClientThatLeavesTooMuchUnread) {
  ServerThread server;
  Client client("client_1", {server.address()});
  ASSERT_TRUE(client.ping());
  // Not driven from here on: its notices pile up in queues, first UCX's, then ours.
  EXPECT_TRUE(server.eventually([](Server& s, net::Worker&) {
    Session* session = s.registry().oldest();
    wire::InvalidateHeader header;
    for (int i = 0; session != nullptr && i < 20'000 && !session->overrun; ++i) {
      (void)s.notify(session->id, wire::Opcode::kInvalidate, std::as_bytes(std::span(&header, 1)));
    }
    return session == nullptr && s.stats().unresponsive == 1;
  }));
  EXPECT_TRUE(client.ping());
}

// --- Eviction (requirement section 8.1) ----------------------------------------------------------

TEST(Eviction, TheOldestClientLeavesAndComesBackUnnoticed) {
  ServerThread server({.config = {.max_clients = 2, .run_id = testing::kTestRun}});
  Client first("client_1", {server.address()});
  Client second("client_2", {server.address()});
  Client third("client_3", {server.address()});
  ASSERT_TRUE(first.ping());
  ASSERT_TRUE(second.ping());
  ASSERT_TRUE(third.ping());
  server.run([](Server& s, net::Worker&) {
    EXPECT_EQ(s.registry().find("client_1"), nullptr);
    EXPECT_NE(s.registry().find("client_2"), nullptr);
    EXPECT_NE(s.registry().find("client_3"), nullptr);
    EXPECT_EQ(s.registry().stats().evictions, 1U);
  });
  // Not idempotent: only because it is known not to have been executed may it be sent again.
  Status made = first.mkdir_there(0);
  EXPECT_TRUE(made) << made.error().message();
  EXPECT_EQ(server.service().mkdirs, 1U);
  EXPECT_EQ(first.connection().stats().evictions, 1U);
  EXPECT_EQ(first.connection().stats().connects, 2U);
  EXPECT_EQ(server.registry_stats().evictions, 2U);
}

TEST(Eviction, ReachesAClientThatIsIdle) {
  ServerThread server({.config = {.max_clients = 1, .run_id = testing::kTestRun}});
  Client first("client_1", {server.address()});
  Client second("client_2", {server.address()});
  ASSERT_TRUE(first.ping());
  ASSERT_TRUE(second.ping());
  EXPECT_TRUE(
      first.eventually([&] { return first.connection().state() == Connection::State::kClosed; }));
  EXPECT_EQ(first.connection().stats().evictions, 1U);
  EXPECT_TRUE(first.eventually([&] { return first.worker().endpoint_count() == 0; }));
}

TEST(Eviction, NeverHitsAClientWithARequestInFlight) {
  ServerThread server({.config = {.max_clients = 1, .run_id = testing::kTestRun}});
  Client busy("busy", {server.address()});
  Client other("other", {server.address()});
  wire::MkdirRequest request{.parent = 300};
  auto pending = busy.start(make_call(request));
  ASSERT_TRUE(busy.eventually([&] { return server.service().mkdirs == 1; }));
  std::thread thread([&] {
    Status answered = other.ping();  // waits for its turn
    EXPECT_TRUE(answered) << answered.error().message();
  });
  EXPECT_TRUE(busy.eventually([&] { return pending->has_value(); }));
  EXPECT_TRUE((*pending)->has_value());
  EXPECT_EQ(busy.connection().stats().connects, 1U);
  thread.join();
  EXPECT_EQ(server.service().mkdirs, 1U);
}

TEST(Eviction, ManyClientsOverFewPlacesAllGetTheirAnswers) {
  ServerThread server({.config = {.max_clients = 3, .run_id = testing::kTestRun}});
  constexpr int kThreads = 2;
  constexpr int kClients = 4;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      std::vector<std::unique_ptr<Client>> clients;
      for (int i = 0; i < kClients; ++i) {
        clients.push_back(std::make_unique<Client>("client_" + std::to_string(kClients * t + i),
                                                   std::vector{server.address()}));
      }
      std::vector<std::byte> data(50'000);
      std::vector<std::byte> back(data.size());
      for (int round = 0; round < 10; ++round) {
        for (auto& client : clients) {
          fill_pattern(data, static_cast<std::uint64_t>(round));
          Result<Reply> answer = client->echo(data, back, round % 2 == 0);
          ASSERT_TRUE(answer) << answer.error().message();
          ASSERT_TRUE(has_pattern(back, static_cast<std::uint64_t>(round)));
        }
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_GE(server.registry_stats().evictions, 50U);
  EXPECT_LE(server.registry_stats().high_water, 3U);
}

TEST(Eviction, HundredsLeaveNothingBehindAndNoCallFails) {
  testing::expect_evictions_leave_nothing(300);
}

// More clients than places, and every one of them works all the time.
TEST(Eviction, ClientsThatAreAllBusyTakeTurnsAndNoCallFails) {
  constexpr std::uint32_t kPlaces = 1;
  constexpr std::uint32_t kClients = 4 * kPlaces;
  constexpr std::uint64_t kCalls = 100;
  ServerThread server(
      {.config = {
           .max_clients = kPlaces, .client_turn = milliseconds(20), .run_id = testing::kTestRun}});
  std::vector<std::thread> threads;
  for (std::uint32_t c = 0; c < kClients; ++c) {
    threads.emplace_back([&, c] {
      Client client("client_" + std::to_string(c), {server.address()});
      // Four outstanding at any time: it is never idle, so it has to drain.
      wire::MkdirRequest request{.parent = 1};
      std::vector<Client::Pending> pending;
      for (std::uint64_t done = 0; done < kCalls;) {
        while (pending.size() < 4 && done + pending.size() < kCalls) {
          pending.push_back(client.start(make_call(request), Deadline::after(seconds(60))));
        }
        ASSERT_TRUE(client.eventually([&] {
          return std::ranges::any_of(pending, [](const auto& p) { return p->has_value(); });
        }));
        done += std::erase_if(pending, [](const auto& p) {
          EXPECT_TRUE(!p->has_value() || (*p)->has_value()) << (*p)->error().message();
          return p->has_value();
        });
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(server.service().mkdirs, kClients * kCalls);
  EXPECT_GE(server.registry_stats().evictions, kClients - kPlaces);
  EXPECT_LE(server.registry_stats().high_water, kPlaces);
}

TEST(Eviction, ANewcomerThatFindsNoPlaceInTimeIsToldTheServerIsBusy) {
  ServerThread server(
      {.config = {
           .max_clients = 1, .admission_wait = milliseconds(50), .run_id = testing::kTestRun}});
  Client busy("busy", {server.address()});
  wire::FsyncChunksRequest request{.inode = 2000};
  auto pending = busy.start(make_call(request));
  ASSERT_TRUE(busy.eventually([&] { return server.service().handled == 1; }));
  Client other("other", {server.address()});
  Status answered = other.ping(Deadline::after(milliseconds(700)));
  ASSERT_FALSE(answered);
  EXPECT_TRUE(contains(answered.error(), "node_0")) << answered.error().message();
  EXPECT_GE(server.registry_stats().rejected, 1U);
  EXPECT_TRUE(busy.eventually([&] { return pending->has_value(); }));
  EXPECT_TRUE((*pending)->has_value());
  EXPECT_TRUE(other.ping());
}

TEST(Eviction, ACapacityThatShrinksLetsTheBusyFinish) {
  ServerThread server;
  Client first("client_1", {server.address()});
  Client second("client_2", {server.address()});
  ASSERT_TRUE(first.ping());
  ASSERT_TRUE(second.ping());
  wire::MkdirRequest request{.parent = 100};
  auto one = first.start(make_call(request));
  auto two = second.start(make_call(request));
  ASSERT_TRUE(first.eventually([&] { return server.service().mkdirs >= 1; }));
  ASSERT_TRUE(second.eventually([&] { return server.service().mkdirs == 2; }));
  server.run([](Server& s, net::Worker&) { s.set_capacity(1); });
  EXPECT_TRUE(first.eventually([&] { return one->has_value(); }));
  EXPECT_TRUE(second.eventually([&] { return two->has_value(); }));
  EXPECT_TRUE((*one)->has_value());
  EXPECT_TRUE((*two)->has_value());
  EXPECT_TRUE(server.eventually([](Server& s, net::Worker&) { return s.registry().size() == 1; }));
  server.run([](Server& s, net::Worker&) { s.set_capacity(2); });
  EXPECT_TRUE(first.ping());
  EXPECT_TRUE(second.ping());
  EXPECT_EQ(server.clients(), 2U);
  EXPECT_EQ(server.service().mkdirs, 2U);
}

// --- Servers that come and go --------------------------------------------------------------------

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
  EXPECT_TRUE((*pending)->has_value());  // it was accepted, so it is answered
  stopper.join();
}

TEST(Restart, AClientFindsTheServerAtItsNewAddress) {
  auto server = std::make_unique<ServerThread>();
  net::SocketAddress now = server->address();
  ConnectionPool::Config config;
  config.resolve = [&](const std::string& node) -> Result<net::SocketAddress> {
    EXPECT_EQ(node, "node_0");
    return now;
  };
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
    config.resolve = [&](const std::string&) -> Result<net::SocketAddress> { return now; };
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
  EXPECT_TRUE(server.eventually([&](Server& s, net::Worker& worker) {
    return s.stats().in_flight == 0 && worker.endpoint_count() == 0 &&
           rt::frame_pool_stats().live == server_frames;
  }));
  EXPECT_EQ(rt::frame_pool_stats().live, frames);
  EXPECT_EQ(server.service().gone, 1U);
}

}  // namespace
}  // namespace benchfs::rpc
