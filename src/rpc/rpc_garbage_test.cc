// Bytes that no UCX peer sends, at every port of a server: after each, clients are still served and
// nothing is left behind.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <vector>

#include "net/incoming_sockets.h"
#include "net/testing/raw_bytes.h"
#include "rpc/testing/rpc_fixture.h"

namespace benchfs::rpc {
namespace {

using net::SocketAddress;
using net::testing::Bytes;
using net::testing::good_connect;
using net::testing::good_notice;
using net::testing::good_request;
using net::testing::random_bytes;
using net::testing::RawConnection;
using net::testing::operator+;
using std::chrono::milliseconds;
using testing::Client;
using testing::open_descriptors;
using testing::ServerThread;

ServerThread::Options impatient_options() {
  ServerThread::Options options;
  options.config.register_timeout = milliseconds(500);
  return options;
}

class Garbage : public ::testing::Test {
 protected:
  void SetUp() override {
    // Before there are clients, whose ports are their own.
    for (const SocketAddress& address : net::testing::listening_addresses(::getpid())) {
      bool is_listener = address.port() == server.address().port();
      (is_listener ? listener : transports).push_back(address);
    }
    ASSERT_EQ(listener.size(), 1U);
    ASSERT_FALSE(transports.empty());
    client = std::make_unique<Client>("good", std::vector{server.address()});
    ASSERT_TRUE(client->ping());
    {
      Client warm("warm", {server.address()});
      ASSERT_TRUE(warm.ping());
    }
    descriptors = open_descriptors();
  }
  void TearDown() override {
    expect_service("at the end");
    EXPECT_EQ(client->connection().stats().connects, 1U);
#if !__has_feature(thread_sanitizer)  // whose symbolizer has descriptors of its own
    EXPECT_TRUE(server.eventually([&](Server&, net::Worker&) {
      return open_descriptors() <= descriptors;
    })) << open_descriptors()
        << " descriptors, " << descriptors << " before";
#endif
    EXPECT_TRUE(server.eventually([](Server& s, net::Worker& worker) {
      return worker.endpoint_count() == 1 && s.admission().size() == 0;
    }));
  }
  void expect_service(const std::string& when) {
    Status old = client->ping();
    EXPECT_TRUE(old) << when << ": " << old.error().message();
    Client newcomer("newcomer", {server.address()});
    Status fresh = newcomer.ping();
    EXPECT_TRUE(fresh) << when << ": " << fresh.error().message();
  }
  // A connection that sends this is ended.
  void expect_end(const SocketAddress& address, const net::testing::Garbage& garbage) {
    RawConnection connection(address);
    ASSERT_TRUE(connection.is_open());
    connection.send(garbage.bytes);  // which may not take it all
    EXPECT_TRUE(connection.wait_for_end()) << address.to_string() << ": " << garbage.name;
    EXPECT_TRUE(client->ping()) << garbage.name;
  }
  // The first half of an exchange that goes on as a client would: request and answer.
  std::optional<RawConnection> answered() {
    RawConnection connection(server.address());
    EXPECT_TRUE(connection.send(good_request(closed_port())));
    Bytes header = connection.receive(net::testing::kRequestHeaderBytes);
    if (header.size() < net::testing::kRequestHeaderBytes) {
      ADD_FAILURE() << "no answer";
      return std::nullopt;
    }
    std::uint64_t length = 0;
    std::memcpy(&length, header.data(), sizeof length);
    EXPECT_EQ(connection.receive(length).size(), length);
    return connection;
  }
  // A port at which nobody listens.
  static std::uint16_t closed_port() { return 1; }

  std::uint64_t seed = [] {
    const char* variable = std::getenv("BENCHFS_SEED");
    return variable == nullptr ? std::uint64_t{1} : std::strtoull(variable, nullptr, 0);
  }();
  ::testing::ScopedTrace trace{__FILE__, __LINE__, fmt::format("BENCHFS_SEED={}", seed)};
  Random random{seed};
  ServerThread server{impatient_options()};
  std::unique_ptr<Client> client;
  std::vector<SocketAddress> listener;
  std::vector<SocketAddress> transports;
  std::size_t descriptors = 0;
};

TEST_F(Garbage, OfAllKindsIsTurnedAwayAtEveryPort) {
  std::uint64_t before = net::incoming::refused();
  std::uint64_t sent = 0;
  for (const auto& addresses : {listener, transports}) {
    for (const SocketAddress& address : addresses) {
      for (const auto& garbage : net::testing::common_garbage(random)) {
        expect_end(address, garbage);
        ++sent;
      }
    }
  }
  EXPECT_EQ(net::incoming::refused() - before, sent);
}

TEST_F(Garbage, ThatIsAlmostARequestIsTurnedAway) {
  for (const auto& garbage : net::testing::almost_requests(random)) {
    expect_end(server.address(), garbage);
  }
}

TEST_F(Garbage, ThatIsAlmostAConnectionOfTheTransportIsTurnedAway) {
  for (const SocketAddress& address : transports) {
    for (const auto& garbage : net::testing::almost_connects(address, random)) {
      expect_end(address, garbage);
    }
  }
}

// Sends byte by byte, so that each is a separate read; and then nothing, the end, or a reset.
TEST_F(Garbage, TheBeginningOfARequestAndThenTheEnd) {
  Bytes request = good_request();
  for (std::size_t size = 0; size < request.size(); ++size) {
    std::vector<RawConnection> connections;
    for (int i = 0; i < 3; ++i) {
      connections.emplace_back(server.address());
      for (std::size_t at = 0; at < size; ++at) {
        EXPECT_TRUE(connections.back().send(std::span(request).subspan(at, 1)));
      }
    }
    connections[0].reset();
    if (size % 16 == 15) {
      EXPECT_TRUE(connections[1].wait_for_end()) << "it is silent";
    }
  }
}

TEST_F(Garbage, TheBeginningOfATransportConnectionAndThenTheEnd) {
  for (const SocketAddress& address : transports) {
    Bytes connect = good_connect(net::make_address(address.ip(), closed_port()).value());
    for (std::size_t size = 0; size < connect.size(); ++size) {
      std::vector<RawConnection> connections;
      for (int i = 0; i < 3; ++i) {
        connections.emplace_back(address);
        for (std::size_t at = 0; at < size; ++at) {
          EXPECT_TRUE(connections.back().send(std::span(connect).subspan(at, 1)));
        }
      }
      connections[0].reset();
      if (size == 20) {
        EXPECT_TRUE(connections[1].wait_for_end()) << "it is silent";
      }
    }
  }
}

// A client that behaves until somewhere in the middle of the exchange.
TEST_F(Garbage, AfterAGoodRequest) {
  Bytes request = good_request(closed_port());
  {
    RawConnection leaves(server.address());
    EXPECT_TRUE(leaves.send(request));
  }
  {
    RawConnection resets(server.address());
    EXPECT_TRUE(resets.send(request));
    resets.reset();
  }
  for (const Bytes& behind : {request, good_notice(), Bytes(1), Bytes(100'000)}) {
    RawConnection connection(server.address());
    EXPECT_TRUE(connection.send(request));
    connection.send(behind);
    EXPECT_TRUE(connection.wait_for_end());
    expect_service("more than a request");
  }
}

TEST_F(Garbage, AfterTheAnswer) {
  {
    auto leaves = answered();
  }
  if (auto resets = answered()) {
    resets->reset();
  }
  Bytes with_length = good_notice();
  with_length[0] = std::byte{1};
  Bytes with_status = good_notice();
  with_status[8] = std::byte{0xff};
  for (const Bytes& notice : {with_length,
                              with_status,
                              good_request(),
                              Bytes(64, std::byte{0xff}),
                              random_bytes(random, 1000)}) {
    if (auto connection = answered()) {
      connection->send(notice);
      EXPECT_TRUE(connection->wait_for_end());
    }
    expect_service("a bad notice");
  }
  for (const Bytes& behind : {good_notice(), Bytes(1), random_bytes(random, 5000)}) {
    if (auto connection = answered()) {
      connection->send(good_notice() + behind);
      EXPECT_TRUE(connection->wait_for_end());
    }
    expect_service("more than a notice");
  }
}

// Requests that keep the layout and say something else.
TEST_F(Garbage, ChangedRequests) {
  for (int i = 0; i < 2000; ++i) {
    Bytes request = good_request(closed_port());
    for (std::uint64_t changes = 1 + random.below(3); changes > 0; --changes) {
      std::size_t at = random.below(request.size());
      request[at] ^=
          static_cast<std::byte>(random.below(2) == 0 ? random.next() : 1U << random.below(8));
    }
    RawConnection connection(server.address());
    connection.send(request);
    if (i % 100 == 99) {
      expect_service(fmt::format("request {}", i));
    }
  }
}

TEST_F(Garbage, AStormOfConnections) {
  for (const auto& addresses : {listener, transports}) {
    for (const SocketAddress& address : addresses) {
      for (int i = 0; i < 3000; ++i) {
        RawConnection connection(address);
        if (!connection.is_open()) {
          continue;  // the queue of the port is full
        }
        if (i % 3 == 1) {
          connection.send(random_bytes(random, 1 + random.below(100)));
        }
        if (i % 2 == 1) {
          connection.reset();
        }
      }
      expect_service("after the storm");
    }
  }
}

}  // namespace
}  // namespace benchfs::rpc
