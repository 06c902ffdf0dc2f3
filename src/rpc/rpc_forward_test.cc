// Tests what programs send through a shard of their node to shards of others.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>

#include "rpc/testing/rpc_fixture.h"
#include "rpc/testing/server_test_peer.h"

namespace benchfs::rpc {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::Client;
using testing::fill_pattern;
using testing::has_pattern;
using testing::kTestRun;
using testing::NearShard;
using testing::ServerThread;

constexpr wire::ShardId kFirst{0};
constexpr wire::ShardId kSecond{1};

ConnectionPool::Config through(const NearShard& near) {
  ConnectionPool::Config config;
  config.silence_limit = std::chrono::hours(1);  // what a test waits for, it is told
  near.use_in(config);
  return config;
}

TEST(Forwarded, CallsAndDataReachTheFarShard) {
  ServerThread far;
  NearShard near({far.address()});
  Client client("client_1", {far.address()}, through(near));
  ASSERT_TRUE(client.ping());
  for (std::size_t bytes : {1UL, 100UL, 1000UL, 20'000UL, 300'000UL, 1UL << 20}) {
    std::vector<std::byte> data(bytes);
    std::vector<std::byte> into(bytes);
    fill_pattern(data, bytes);
    Result<Reply> reply = client.echo(data, into);
    ASSERT_TRUE(reply) << bytes << ": " << reply.error().message();
    EXPECT_TRUE(has_pattern(into, bytes)) << bytes;
  }
  EXPECT_EQ(client.worker().endpoint_count(), 0U) << "the program has no connection of its own";
  Forwarder::Stats stats = near.stats();
  EXPECT_GE(stats.bytes_in, 1U << 20);
  EXPECT_GE(stats.bytes_out, 1U << 20);
}

// The far shard is on the node of the shard between, whose way to it is the door there.
TEST(Forwarded, AlsoThroughTwoDoors) {
  std::string base = ::testing::TempDir() + "far_XXXXXX";
  ASSERT_NE(::mkdtemp(base.data()), nullptr);
  {
    ServerThread far({.door_base = base});
    NearShard near({far.address()}, base);
    Client client("client_1", {far.address()}, through(near));
    ASSERT_TRUE(client.ping());
    for (std::size_t bytes : {50'000UL, 300'000UL, 4UL << 20}) {
      std::vector<std::byte> data(bytes);
      std::vector<std::byte> into(bytes);
      fill_pattern(data, bytes);
      ASSERT_TRUE(client.echo(data, into)) << bytes;
      EXPECT_TRUE(has_pattern(into, bytes)) << bytes;
    }
    far.run([](Server& server, net::Worker& worker) {
      EXPECT_EQ(worker.endpoint_count(), 0U);
      wire::InvalidateHeader header{.sequence = 7,
                                    .session_id = server.registry().find("client_1")->id.value};
      server.notify(wire::SessionId{header.session_id},
                    wire::Opcode::kInvalidate,
                    std::as_bytes(std::span(&header, 1)));
    });
    EXPECT_TRUE(client.eventually([&] { return far.service().last_ack == 7; }));
  }
  std::filesystem::remove_all(base);
}

// The channel ends, and the program takes another way.
TEST(Forwarded, WhatTheWayHasNoRoomForIsNotLost) {
  std::string base = ::testing::TempDir() + "far_XXXXXX";
  ASSERT_NE(::mkdtemp(base.data()), nullptr);
  {
    ServerThread far({.door_base = base});
    NearShard near({far.address()}, base, door::SessionShape{.lanes = 4, .area_bytes = 4U << 16});
    ConnectionPool::Config config = through(near);
    config.transport = Transport::kAuto;
    Client client("client_1", {far.address()}, config);
    ASSERT_TRUE(client.ping());
    EXPECT_EQ(client.worker().endpoint_count(), 0U);
    std::vector<std::byte> data(300'000);
    std::vector<std::byte> into(data.size());
    fill_pattern(data, 1);
    ASSERT_TRUE(client.echo(data, into));
    EXPECT_TRUE(has_pattern(into, 1));
    EXPECT_EQ(near.stats().ended, 1U);
    EXPECT_EQ(client.worker().endpoint_count(), 1U);
    EXPECT_TRUE(near.thread().eventually(
        [](Server& server, net::Worker&) { return server.forwarder()->channels() == 0; }));
  }
  std::filesystem::remove_all(base);
}

TEST(Forwarded, TheClientIsTheSameAtTheFarShardAsAnyOther) {
  ServerThread far;
  NearShard near({far.address()});
  Client client("client_1", {far.address()}, through(near));
  ASSERT_TRUE(client.ping());
  far.run([](Server& server, net::Worker&) {
    Session* session = server.registry().find("client_1");
    ASSERT_NE(session, nullptr);
    EXPECT_TRUE(session->is_forwarded);
    EXPECT_EQ(session->requests, 1U);
    EXPECT_EQ(server.registry().forwarded(), 1U);
    EXPECT_EQ(server.registry().size(), 2U) << "with the shard between";
  });
}

TEST(Forwarded, ManyProgramsUseOneConnection) {
  ServerThread::Options options;
  options.config.max_clients = 1;
  ServerThread far(options);
  NearShard near({far.address()});
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 20; ++i) {
    clients.push_back(std::make_unique<Client>(
        "client_" + std::to_string(i), std::vector{far.address()}, through(near)));
    ASSERT_TRUE(clients.back()->ping());
  }
  for (auto& client : clients) {
    EXPECT_EQ(client->connection().stats().evictions, 0U);
    EXPECT_TRUE(client->ping());
  }
  far.run([](Server& server, net::Worker&) {
    EXPECT_EQ(server.registry().capacity(), 1U);
    EXPECT_GE(server.registry().forwarded(), 16U);
    EXPECT_EQ(server.endpoint_count(), 1U);
  });
}

TEST(Forwarded, AProgramThatClosesLeavesNothing) {
  ServerThread far;
  NearShard near({far.address()});
  {
    Client client("client_1", {far.address()}, through(near));
    ASSERT_TRUE(client.ping());
    EXPECT_EQ(near.channels(), 1U);
  }
  EXPECT_TRUE(far.eventually(
      [](Server& server, net::Worker&) { return server.registry().forwarded() == 0; }));
  EXPECT_EQ(far.service().goodbyes, 1U);
  EXPECT_TRUE(near.thread().eventually([](Server& server, net::Worker&) {
    return server.forwarder()->channels() == 0 && server.forwarder()->programs() == 0;
  }));
}

TEST(Forwarded, ACallThatBreaksWithTheShardBetweenIsNotExecutedTwice) {
  ServerThread far;
  NearShard near({far.address()});
  Client client("client_1", {far.address()}, through(near));
  ASSERT_TRUE(client.ping());
  wire::MkdirRequest request{.parent = 300};
  Client::Pending call = client.start(make_call(request));
  ASSERT_TRUE(client.eventually([&] { return far.service().mkdirs == 1; }));
  near.restart();
  ASSERT_TRUE(client.eventually([&] { return call->has_value(); }));
  EXPECT_TRUE((*call)->has_value()) << (*call)->error().message();
  EXPECT_EQ(far.service().mkdirs, 1U);
}

TEST(Forwarded, AFarShardThatRestartsIsReachedAgain) {
  auto far = std::make_unique<ServerThread>();
  net::SocketAddress address = far->address();
  NearShard near({far->address()}, kTestRun, std::nullopt, testing::reader_of(address));
  Client client("client_1", {far->address()}, through(near));
  ASSERT_TRUE(client.ping());
  auto second = std::make_unique<ServerThread>();
  address = second->address();
  far->stop();
  EXPECT_TRUE(client.ping());
  EXPECT_EQ(second->service().handled, 1U);
  EXPECT_TRUE(client.eventually([&] { return near.stats().ended >= 1; }));
}

TEST(Forwarded, OneThatStandsStillDoesNotDelayTheOthers) {
  ServerThread frozen;
  ServerThread other;
  NearShard near({frozen.address(), other.address()});
  Client client("client_1", {frozen.address(), other.address()}, through(near));
  wire::PingRequest ping;
  ASSERT_TRUE(client.call(make_call(ping), Deadline::after(seconds(10)), kFirst));
  ASSERT_TRUE(client.call(make_call(ping), Deadline::after(seconds(10)), kSecond));
  frozen.freeze();
  std::vector<Client::Pending> calls;
  for (int i = 0; i < 60; ++i) {
    calls.push_back(client.start(make_call(ping), Deadline::after(seconds(60)), kFirst));
  }
  std::vector<Client::Pending> others;
  for (int i = 0; i < 40; ++i) {
    others.push_back(client.start(make_call(ping), Deadline::after(seconds(10)), kSecond));
  }
  for (const Client::Pending& call : others) {
    ASSERT_TRUE(client.eventually([&] { return call->has_value(); }));
    EXPECT_TRUE((*call)->has_value());
  }
  for (const Client::Pending& call : calls) {
    EXPECT_FALSE(call->has_value()) << "while the other was asked";
  }
  frozen.thaw();
  for (const Client::Pending& call : calls) {
    ASSERT_TRUE(client.eventually([&] { return call->has_value(); }));
    EXPECT_TRUE((*call)->has_value());
  }
}

// More than there are lanes for; what waits for one does not stand before what could go.
TEST(Forwarded, ManyThatStandStillDoNotDelayTheOthers) {
  constexpr std::uint32_t kFrozen = 12;
  std::vector<std::unique_ptr<ServerThread>> servers;
  std::vector<net::SocketAddress> addresses;
  for (std::uint32_t i = 0; i <= kFrozen; ++i) {
    servers.push_back(std::make_unique<ServerThread>());
    addresses.push_back(servers.back()->address());
  }
  NearShard near(addresses);
  Client client("client_1", addresses, through(near));
  wire::PingRequest ping;
  std::vector<Client::Pending> calls;
  for (std::uint32_t i = 0; i <= kFrozen; ++i) {
    ASSERT_TRUE(client.call(make_call(ping), Deadline::after(seconds(10)), wire::ShardId{i}));
  }
  for (std::uint32_t i = 0; i < kFrozen; ++i) {
    servers[i]->freeze();
    for (int call = 0; call < 20; ++call) {
      calls.push_back(
          client.start(make_call(ping), Deadline::after(seconds(60)), wire::ShardId{i}));
    }
  }
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(client.call(make_call(ping), Deadline::after(seconds(10)), wire::ShardId{kFrozen}));
  }
  for (std::uint32_t i = kFrozen; i-- > 0;) {
    servers[i]->thaw();
  }
  for (const Client::Pending& call : calls) {
    ASSERT_TRUE(client.eventually([&] { return call->has_value(); }));
    EXPECT_TRUE((*call)->has_value());
  }
}

TEST(Forwarded, LanesOfCallsThatBreakAreGivenBack) {
  // Its calls are repeated for as long as there is a client.
  wire::FsyncChunksRequest slow{.inode = 1500};
  ServerThread far;
  ServerThread other;
  NearShard near({far.address(), other.address()});
  Client client("client_1", {far.address(), other.address()}, through(near));
  wire::PingRequest ping;
  ASSERT_TRUE(client.call(make_call(ping), Deadline::after(seconds(10)), kSecond));
  for (std::uint32_t i = 0; i < 2 * door::kForwardShape.lanes; ++i) {
    std::uint64_t asked = far.service().handled + 1;
    auto call = client.start(make_call(slow), Deadline::after(seconds(60)), kFirst);
    ASSERT_TRUE(client.eventually([&] { return far.service().handled >= asked; })) << i;
    far.run([](Server& server, net::Worker&) { ServerTestPeer::disconnect(server, "client_1"); });
    if (i % 2 == 0) {
      rt::Reactor::Binding binding(client.reactor());
      client.connection().close();
    }
  }
  EXPECT_TRUE(client.call(make_call(ping), Deadline::after(seconds(10)), kSecond));
}

TEST(Forwarded, ASessionThatTheFarShardEndsIsMadeAgain) {
  ServerThread far;
  NearShard near({far.address()});
  Client client("client_1", {far.address()}, through(near));
  ASSERT_TRUE(client.ping());
  wire::FsyncChunksRequest slow{.inode = 100};
  Client::Pending call = client.start(make_call(slow), Deadline::after(seconds(60)));
  ASSERT_TRUE(client.eventually([&] { return far.service().handled == 2; }));
  far.run([](Server& server, net::Worker&) { ServerTestPeer::disconnect(server, "client_1"); });
  EXPECT_TRUE(client.eventually([&] { return call->has_value(); })) << "who waits is told";
  EXPECT_EQ(client.connection().stats().connects, 2U);
}

TEST(Forwarded, AProgramThatDoesNotSayGoodbyeLeavesNothingEither) {
  ServerThread far;
  NearShard near({far.address()});
  Client client("client_1", {far.address()}, through(near));
  ASSERT_TRUE(client.ping());
  {
    rt::Reactor::Binding binding(client.reactor());
    client.connection().link()->close();
  }
  EXPECT_TRUE(far.eventually(
      [](Server& server, net::Worker&) { return server.registry().forwarded() == 0; }));
  EXPECT_EQ(far.service().goodbyes, 0U);
}

TEST(Forwarded, ADeadlineGivesTheLaneBack) {
  ServerThread frozen;
  ServerThread other;
  NearShard near({frozen.address(), other.address()});
  ConnectionPool::Config config = through(near);
  Client client("client_1", {frozen.address(), other.address()}, config);
  wire::PingRequest ping;
  ASSERT_TRUE(client.call(make_call(ping), Deadline::after(seconds(10)), kFirst));
  frozen.freeze();
  for (int i = 0; i < 3 * static_cast<int>(door::kForwardShape.lanes); ++i) {
    EXPECT_FALSE(client.call(make_call(ping), Deadline::after(milliseconds(5)), kFirst));
  }
  EXPECT_TRUE(client.call(make_call(ping), Deadline::after(seconds(10)), kSecond));
  frozen.thaw();
  EXPECT_TRUE(client.call(make_call(ping), Deadline::after(seconds(10)), kFirst));
}

// Else what a program that has ended left under way would keep its session for ever.
TEST(Forwarded, ACallIsGivenUpSomeTimeAfterItsDeadline) {
  ServerThread frozen;
  NearShard near({frozen.address()});
  ConnectionPool::Config config = through(near);
  Client client("client_1", {frozen.address()}, config);
  wire::PingRequest ping;
  ASSERT_TRUE(client.call(make_call(ping)));
  frozen.freeze();
  EXPECT_FALSE(client.call(make_call(ping), Deadline::after(milliseconds(5))));
  EXPECT_TRUE(near.thread().eventually(
      [](Server& server, net::Worker&) { return server.forwarder()->stats().late == 1; }));
  frozen.thaw();
  EXPECT_TRUE(client.ping());
}

wire::SessionId session_of_near(Server& server) {
  wire::SessionId found;
  server.registry().for_each([&](const Session& session) {
    if (session.client_id.starts_with("shard:near")) {
      found = session.id;
    }
  });
  return found;
}

TEST(Forwarded, ProgramsLoseTheirSessionsWithTheConnectionTheyCameBy) {
  ServerThread far;
  NearShard near({far.address()});
  Client client("client_1", {far.address()}, through(near));
  ASSERT_TRUE(client.ping());
  wire::FsyncChunksRequest slow{.inode = 100};
  Client::Pending call = client.start(make_call(slow), Deadline::after(seconds(60)));
  ASSERT_TRUE(client.eventually([&] { return far.service().handled == 2; }));
  far.run([](Server& server, net::Worker&) {
    ServerTestPeer::disconnect(server, server.registry().peek(session_of_near(server))->client_id);
    EXPECT_EQ(server.registry().size(), 0U);
  });
  EXPECT_TRUE(client.eventually([&] { return call->has_value(); })) << "who waits is told";
  EXPECT_EQ(client.connection().stats().connects, 2U);
}

// Answers once it may, with a megabyte.
class GatedService final : public testing::EchoService {
 public:
  rt::Task<void> handle(Request& request) override {
    ++asked;
    while (!may_answer) {
      (void)co_await rt::sleep_for(milliseconds(1));  // lint: allow sleep polls the test's flag
    }
    std::vector<std::byte> data(1U << 20);
    wire::NoReply reply;
    co_await request.reply(reply, data);
  }
  std::atomic<int> asked{0};
  std::atomic<bool> may_answer{false};
};

// It is the shard between that does not take its part in the transfer.
TEST(Forwarded, AShardBetweenThatLeavesATransferLosesItsConnection) {
  GatedService service;
  ServerThread far({.service = &service});
  NearShard near({far.address()});
  ConnectionPool::Config config = through(near);
  Client client("client_1", {far.address()}, config);
  std::vector<std::byte> into(1U << 20);
  wire::PingRequest request{.reply_bytes = 1U << 20};
  Call call = make_call(request);
  call.into = into;
  Client::Pending pending = client.start(call, Deadline::after(seconds(2)));
  ASSERT_TRUE(client.eventually([&] { return service.asked == 1; }));
  near.thread().freeze();
  service.may_answer = true;
  EXPECT_TRUE(far.eventually([](Server& server, net::Worker&) {
    return server.registry().size() == 0 && server.stats().in_flight == 0;
  }));
  near.thread().thaw();
  ASSERT_TRUE(client.eventually([&] { return pending->has_value(); }));
}

TEST(Forwarded, NoticesOfTheFarShardArrive) {
  ServerThread::Options options;
  options.config.max_clients = 4;
  ServerThread far(options);
  NearShard near({far.address()});
  Client client("client_1", {far.address()}, through(near));
  ASSERT_TRUE(client.ping());
  far.run([](Server& server, net::Worker&) {
    wire::InvalidateHeader header{.sequence = 7,
                                  .session_id = server.registry().find("client_1")->id.value};
    server.notify(wire::SessionId{header.session_id},
                  wire::Opcode::kInvalidate,
                  std::as_bytes(std::span(&header, 1)));
  });
  EXPECT_TRUE(client.eventually([&] { return far.service().last_ack == 7; }));
}

// Who has no other way says so in time; who has takes it.
TEST(Forwarded, WithoutTheShardBetweenTheProgramGoesOverTheNetworkIfItMay) {
  ServerThread far;
  NearShard near({far.address()});
  ConnectionPool::Config config = through(near);
  config.transport = Transport::kAuto;
  Client client("client_1", {far.address()}, config);
  ASSERT_TRUE(client.ping());
  EXPECT_EQ(client.worker().endpoint_count(), 0U);
  near.thread().stop();
  // As a daemon leaves it that is killed.
  (void)door::DoorDirectory::create(kTestRun, config.door_base)->listen(NearShard::kShard);
  EXPECT_TRUE(client.ping());
  EXPECT_EQ(client.worker().endpoint_count(), 1U);
}

TEST(Forwarded, AShardBetweenThatStandsStillIsGoneRoundIfPossible) {
  ServerThread far;
  NearShard near({far.address()});
  ConnectionPool::Config config = through(near);
  config.transport = Transport::kAuto;
  config.silence_limit = milliseconds(200);
  Client client("client_1", {far.address()}, config);
  ASSERT_TRUE(client.ping());
  near.thread().freeze();
  EXPECT_TRUE(client.ping());
  EXPECT_EQ(client.worker().endpoint_count(), 1U);
  near.thread().thaw();
}

}  // namespace
}  // namespace benchfs::rpc
