// Peers that connect in numbers and do not register: the server gets rid of them and takes its
// descriptors and memory back.
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <vector>

#include "net/testing/raw_peer.h"
#include "rpc/testing/rpc_fixture.h"

namespace benchfs::rpc {
namespace {

using net::testing::RawPeer;
using std::chrono::milliseconds;
using testing::Client;
using testing::open_descriptors;
using testing::resident_bytes;
using testing::ServerThread;

constexpr std::uint32_t kLimit = 16;

ServerThread::Options few_strangers() {
  ServerThread::Options options;
  options.config.max_unregistered = kLimit;
  options.config.register_timeout = milliseconds(500);
  return options;
}

// TCP connections that say nothing, or less than UCX wants to hear.
class PlainPeers {
 public:
  PlainPeers(const net::SocketAddress& server, std::size_t count, std::string_view word = "") {
    for (std::size_t i = 0; i < count; ++i) {
      int fd = ::socket(server.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
      EXPECT_EQ(::connect(fd, server.get(), server.length), 0);
      EXPECT_EQ(::send(fd, word.data(), word.size(), MSG_NOSIGNAL),
                static_cast<ssize_t>(word.size()));
      timeval patience{.tv_sec = 10, .tv_usec = 0};
      ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
      fds_.push_back(fd);
    }
  }
  PlainPeers(const PlainPeers&) = delete;
  PlainPeers& operator=(const PlainPeers&) = delete;
  ~PlainPeers() {
    for (int fd : fds_) {
      ::close(fd);
    }
  }
  // Waits for the server to end each connection; how many it did.
  std::size_t wait_for_end() {
    std::size_t ended = 0;
    for (int fd : fds_) {
      char byte = 0;
      ended += ::recv(fd, &byte, 1, 0) >= 0 || errno == ECONNRESET ? 1 : 0;
    }
    return ended;
  }

 private:
  std::vector<int> fds_;
};

Admission::Stats stats(ServerThread& server) {
  Admission::Stats stats;
  server.run([&](Server& s, net::Worker&) { stats = s.admission().stats(); });
  return stats;
}

TEST(Flood, PlainConnectionsAreEndedAndThoseOfClientsAreNot) {
  ServerThread server(few_strangers());
  Client good("good", {server.address()});
  ASSERT_TRUE(good.ping());
  std::size_t before = open_descriptors();
  {
    PlainPeers silent(server.address(), 300);
    PlainPeers halting(server.address(), 20, "GET");
    EXPECT_EQ(silent.wait_for_end(), 300U);
    EXPECT_EQ(halting.wait_for_end(), 20U);
    Client newcomer("newcomer", {server.address()});
    EXPECT_TRUE(newcomer.ping());
    EXPECT_TRUE(good.ping());
  }
  EXPECT_GE(stats(server).silent, 320U);
#if defined(__has_feature) && __has_feature(thread_sanitizer)
  (void)before;  // the sanitizer's symbolizer has descriptors of its own
#else
  EXPECT_TRUE(
      server.eventually([&](Server&, net::Worker&) { return open_descriptors() <= before; }));
#endif
  // The good client's connection was older than all of them and is still the first one.
  EXPECT_TRUE(good.ping());
  EXPECT_EQ(good.connection().stats().connects, 1U);
}

TEST(Flood, UcxPeersBeyondTheLimitAreTurnedAway) {
  ServerThread server(few_strangers());
  {
    Client warm("warm", {server.address()});
    ASSERT_TRUE(warm.ping());
  }
  std::size_t descriptors = open_descriptors();
  [[maybe_unused]] std::size_t memory = resident_bytes();
  {
    std::vector<std::unique_ptr<RawPeer>> peers;
    server.run([&](Server& s, net::Worker&) { EXPECT_EQ(s.admission().size(), 0U); });
    for (std::uint32_t i = 0; i < 3 * kLimit; ++i) {
      peers.push_back(std::make_unique<RawPeer>(server.address(), 0));
    }
    server.run([&](Server& s, net::Worker&) { EXPECT_LE(s.admission().size(), kLimit); });
    // A client that comes now waits for its turn, but gets in.
    Client good("good", {server.address()});
    Status pong = good.ping();
    EXPECT_TRUE(pong) << pong.error().message();
    for (auto& peer : peers) {
      EXPECT_TRUE(peer->wait([&] { return peer->is_broken(); }));
    }
    Admission::Stats seen = stats(server);
    EXPECT_GE(seen.register_timeouts + seen.turned_away, 3 * kLimit);
    EXPECT_GE(seen.register_timeouts, kLimit);
  }
  EXPECT_TRUE(server.eventually([&](Server& s, net::Worker& worker) {
    return s.admission().size() == 0 && worker.endpoint_count() == 0 &&
           open_descriptors() <= descriptors;
  }));
#if !__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer)  // of the peers too
  EXPECT_LT(resident_bytes(), memory + (std::size_t{64} << 20));
#endif
}

}  // namespace
}  // namespace benchfs::rpc
