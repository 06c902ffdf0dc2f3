// Any peer can send anything to the ports of a daemon: the daemon survives and serves, and nothing
// is left behind.
#include "net/testing/raw_bytes.h"

#include <sys/resource.h>

#include <cstdlib>

#include "system/failure_test.h"

namespace benchfs::test {
namespace {

using net::SocketAddress;
using net::testing::Bytes;
using net::testing::Garbage;
using net::testing::RawConnection;
using net::testing::operator+;

class GarbageAtADaemon : public FailureTest {
 protected:
  void SetUp() override {
    daemon = pid_of(up({"--servers", "1", "--engine", "memory"}), 0);
    client = connect();
    ASSERT_NE(client, nullptr);
    ports = net::testing::listening_addresses(daemon);
    ASSERT_GE(ports.size(), 2U) << "the listener and a transport";
    before = held_at_rest(*client);
  }
  void TearDown() override {
    EXPECT_TRUE(runs(daemon));
    EXPECT_TRUE(holds_again(*client, before));
    EXPECT_EQ(benchfs({"status"}).exit_code, 0);
    client.reset();
    EXPECT_EQ(benchfs({"down"}).exit_code, 0);
  }
  void expect_service(const std::string& when) {
    Status pong = client->run(client->fs().ping(kFirst));
    ASSERT_TRUE(pong) << when << ": " << message(pong);
  }

  std::uint64_t seed = [] {
    const char* variable = std::getenv("BENCHFS_SEED");
    return variable == nullptr ? std::uint64_t{1} : std::strtoull(variable, nullptr, 0);
  }();
  testing::ScopedTrace trace{__FILE__, __LINE__, fmt::format("BENCHFS_SEED={}", seed)};
  Random random{seed};
  pid_t daemon = 0;
  std::unique_ptr<client::Client> client;
  std::vector<SocketAddress> ports;
  Held before;
};

TEST_F(GarbageAtADaemon, IsTurnedAwayAtEveryPort) {
  for (const SocketAddress& port : ports) {
    std::vector<Garbage> garbage = net::testing::common_garbage(random);
    std::ranges::move(net::testing::almost_requests(random), std::back_inserter(garbage));
    std::ranges::move(net::testing::almost_connects(port, random), std::back_inserter(garbage));
    for (const Garbage& one : garbage) {
      RawConnection connection(port);
      ASSERT_TRUE(connection.is_open());
      connection.send(one.bytes);
      EXPECT_TRUE(connection.wait_for_end()) << port.to_string() << ": " << one.name;
      expect_service(one.name);
    }
  }
  std::unique_ptr<client::Client> newcomer = connect();
  ASSERT_NE(newcomer, nullptr);
  std::vector<std::byte> data = pattern(4U << 20, 3);
  ASSERT_TRUE(write_whole(*newcomer, "/file", data));
  EXPECT_EQ(read_whole(*newcomer, "/file").value_or(std::vector<std::byte>{}), data);
}

TEST_F(GarbageAtADaemon, InAStormOfConnectionsHarmsNothing) {
  Bytes request = net::testing::good_request();
  for (const SocketAddress& port : ports) {
    for (int i = 0; i < 2000; ++i) {
      RawConnection connection(port);
      if (connection.is_open() && i % 3 == 1) {
        connection.send(net::testing::random_bytes(random, 1 + random.below(100)));
      } else if (connection.is_open() && i % 3 == 2) {
        connection.send(std::span(request).first(random.below(request.size())));
      }
      if (connection.is_open() && i % 2 == 1) {
        connection.reset();
      }
    }
    expect_service("after the storm");
  }
}

// A transport that cannot accept for a moment must not stop to listen for good.
TEST_F(GarbageAtADaemon, ThatTakesAllDescriptorsIsSurvived) {
  rlimit few{};
  ASSERT_EQ(::prlimit(daemon, RLIMIT_NOFILE, nullptr, &few), 0);
  rlim_t usual = few.rlim_cur;
  few.rlim_cur = static_cast<rlim_t>(before.descriptors) + 40;
  ASSERT_EQ(::prlimit(daemon, RLIMIT_NOFILE, &few, nullptr), 0);
  for (const SocketAddress& port : ports) {
    std::vector<RawConnection> connections;
    for (int i = 0; i < 200; ++i) {
      connections.emplace_back(port);
    }
    expect_service("without descriptors");
    EXPECT_EQ(net::testing::listening_addresses(daemon).size(), ports.size());
  }
  few.rlim_cur = usual;
  ASSERT_EQ(::prlimit(daemon, RLIMIT_NOFILE, &few, nullptr), 0);
  std::unique_ptr<client::Client> newcomer = connect();
  ASSERT_NE(newcomer, nullptr);
  EXPECT_TRUE(newcomer->run(newcomer->fs().ping(kFirst)));
}

}  // namespace
}  // namespace benchfs::test
