// Clients that leave to make room for others, or because they stopped reading.
#include <gtest/gtest.h>

#include <thread>

#include "rpc/testing/many_evictions.h"
#include "rpc/testing/rpc_fixture.h"

namespace benchfs::rpc {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::Client;
using testing::contains;
using testing::fill_pattern;
using testing::has_pattern;
using testing::ServerThread;

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
  // The client is not driven from here on: its notices pile up in queues, first UCX's, then ours.
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
  // The call is not idempotent, so it may be resent only because it is known not to have been
  // executed.
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
  EXPECT_TRUE(first.eventually([&] { return first.link_count() == 0; }));
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

// There are more clients than places, and each of them works all the time.
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

TEST(Eviction, AClientThatDrainsBeginsNothingMoreBeforeItIsBack) {
  ServerThread server({.config = {.max_clients = 1, .run_id = testing::kTestRun}});
  Client busy("busy", {server.address()});
  wire::MkdirRequest slow{.parent = 700};
  auto begun = busy.start(make_call(slow));
  ASSERT_TRUE(busy.eventually([&] { return server.service().mkdirs == 1; }));
  Client other("other", {server.address()});
  std::thread newcomer([&] {
    Status answered = other.ping(Deadline::after(std::chrono::seconds(30)));
    EXPECT_TRUE(answered) << answered.error().message();
  });
  EXPECT_TRUE(server.eventually([](Server& s, net::Worker&) {
    Session* session = s.registry().find("busy");
    return session != nullptr && session->is_draining;
  }));
  wire::MkdirRequest quick;
  auto more = busy.start(make_call(quick), Deadline::after(std::chrono::seconds(30)));
  EXPECT_TRUE(busy.eventually([&] { return server.stats().postponed == 1; }));
  EXPECT_TRUE(busy.eventually([&] { return begun->has_value() && more->has_value(); }));
  EXPECT_TRUE((*begun)->has_value());
  EXPECT_TRUE((*more)->has_value());
  EXPECT_EQ(server.service().mkdirs, 2U);
  newcomer.join();
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

}  // namespace
}  // namespace benchfs::rpc
