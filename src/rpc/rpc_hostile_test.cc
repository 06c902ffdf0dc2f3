// Peers that do not keep to the protocol: after each, a good client is still served.
#include <gtest/gtest.h>

#include <spawn.h>
#include <sys/wait.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "base/random.h"
#include "net/bundle.h"
#include "net/testing/raw_peer.h"
#include "rpc/testing/rpc_fixture.h"

namespace benchfs::rpc {
namespace {

using net::testing::RawPeer;
using std::chrono::milliseconds;
using testing::Client;
using testing::ServerThread;

constexpr std::uint16_t kPing = 30;
constexpr std::uint16_t kPingReply = 130;

template <typename T>
std::vector<std::byte> bytes_of(const T& value) {
  auto bytes = std::as_bytes(std::span(&value, 1));
  return {bytes.begin(), bytes.end()};
}

class Hostile : public ::testing::Test {
 protected:
  // The server must still serve: an old client, and one that comes now.
  void TearDown() override {
    Status old = good.ping();
    EXPECT_TRUE(old) << old.error().message();
    Client newcomer("newcomer", {server.address()});
    Status fresh = newcomer.ping();
    EXPECT_TRUE(fresh) << fresh.error().message();
    EXPECT_EQ(server.stats().in_flight, 0U);
  }
  void SetUp() override { ASSERT_TRUE(good.ping()); }

  // Registers by hand; 0 when refused.
  std::uint64_t register_peer(RawPeer& peer) {
    wire::RegisterClientRequestHeader header;
    header.client_id_len = 4;
    header.client_uid = 7;
    auto bytes = bytes_of(header);
    std::string id = "evil";
    EXPECT_EQ(peer.send(50, bytes, std::as_bytes(std::span(id)), UCP_AM_SEND_FLAG_REPLY), UCS_OK);
    EXPECT_TRUE(peer.wait([&] { return !peer.messages().empty(); }));
    wire::RegisterClientResponseHeader response;
    if (peer.messages().empty() || peer.messages()[0].header.size() != sizeof response) {
      return 0;
    }
    std::memcpy(&response, peer.messages()[0].header.data(), sizeof response);
    peer.messages().clear();
    return response.session_id;
  }

  // A well-formed ping.
  std::vector<std::byte> ping_of(std::uint64_t session, std::uint8_t flags = 0) {
    wire::RequestHeader header{.request_id = ++request_id, .session_id = session};
    header.flags = flags;
    header.deadline_ms = 1000;
    auto bytes = bytes_of(header);
    auto body = bytes_of(wire::PingRequest{});
    bytes.insert(bytes.end(), body.begin(), body.end());
    return bytes;
  }
  // The server's answer to the last request.
  Errc answer(RawPeer& peer, std::uint16_t reply_id = kPingReply) {
    EXPECT_TRUE(peer.wait([&] { return !peer.messages().empty(); }));
    wire::ReplyHeader header;
    if (peer.messages().empty() || peer.messages()[0].header.size() < sizeof header) {
      return Errc::kTransport;
    }
    EXPECT_EQ(peer.messages()[0].id, reply_id);
    std::memcpy(&header, peer.messages()[0].header.data(), sizeof header);
    EXPECT_EQ(header.request_id, request_id);
    peer.messages().clear();
    return static_cast<Errc>(header.transport);
  }

  ServerThread server;
  Client good{"good", {server.address()}};
  std::uint64_t request_id = 0;
};

TEST_F(Hostile, AnUnregisteredPeerCannotCall) {
  RawPeer peer(server.address());
  std::uint64_t before = server.service().handled;
  std::vector<std::byte> data(100'000);
  EXPECT_EQ(peer.send(kPing, ping_of(0)), UCS_OK);
  EXPECT_EQ(peer.send(kPing, ping_of(12345), data, UCP_AM_SEND_FLAG_EAGER), UCS_OK);
  EXPECT_EQ(peer.send(kPing, ping_of(12345), data, UCP_AM_SEND_FLAG_RNDV), UCS_OK);
  EXPECT_EQ(server.service().handled, before);
  EXPECT_EQ(server.stats().unattributed, 3U);
  EXPECT_TRUE(peer.messages().empty());
  // One that shows its endpoint is closed.
  EXPECT_EQ(peer.send(kPing, ping_of(0), {}, UCP_AM_SEND_FLAG_REPLY), UCS_OK);
  EXPECT_TRUE(peer.wait([&] { return peer.is_broken(); }));
}

TEST_F(Hostile, AnUnknownOperationIsAnswered) {
  RawPeer peer(server.address());
  std::uint64_t session = register_peer(peer);
  ASSERT_NE(session, 0U);
  EXPECT_EQ(peer.send(kPing, ping_of(session)), UCS_OK);
  EXPECT_EQ(answer(peer), Errc::kOk);
  for (std::uint16_t id : std::initializer_list<std::uint16_t>{1, 11, 49, 51, 99}) {
    EXPECT_EQ(peer.send(id, ping_of(session)), UCS_OK);
    EXPECT_EQ(answer(peer, static_cast<std::uint16_t>(100 + id)), Errc::kUnknownOpcode) << id;
  }
}

TEST_F(Hostile, FlagsItDoesNotKnowAndOversizedHeadersAreMalformed) {
  RawPeer peer(server.address());
  std::uint64_t session = register_peer(peer);
  EXPECT_EQ(peer.send(kPing, ping_of(session, 1)), UCS_OK);
  EXPECT_EQ(answer(peer), Errc::kMalformed);
  std::vector<std::byte> large = ping_of(session);
  large.resize(4096);
  EXPECT_EQ(peer.send(kPing, large), UCS_OK);
  EXPECT_EQ(answer(peer), Errc::kMalformed);
  large.resize(wire::kMaxHeaderBytes + 1);
  EXPECT_EQ(peer.send(kPing, large), UCS_OK);
  EXPECT_EQ(answer(peer), Errc::kMalformed);
  large.resize(wire::kMaxHeaderBytes);  // what follows the operation's part is its own affair
  EXPECT_EQ(peer.send(kPing, large), UCS_OK);
  EXPECT_EQ(answer(peer), Errc::kOk);
  EXPECT_EQ(server.stats().malformed, 3U);
}

TEST_F(Hostile, TruncatedHeadersAreHarmless) {
  RawPeer peer(server.address());
  std::uint64_t session = register_peer(peer);
  std::vector<std::byte> whole = ping_of(session);
  std::uint64_t unattributed = server.stats().unattributed;
  for (std::size_t size = 0; size < sizeof(wire::RequestHeader); ++size) {
    EXPECT_EQ(peer.send(kPing, std::span(whole).first(size)), UCS_OK);
  }
  // Long enough to say whose request it is, too short for a ping: the service answers.
  EXPECT_EQ(peer.send(kPing, std::span(whole).first(sizeof(wire::RequestHeader) + 1)), UCS_OK);
  EXPECT_EQ(answer(peer), Errc::kMalformed);
  EXPECT_EQ(server.stats().unattributed - unattributed, sizeof(wire::RequestHeader));
}

TEST_F(Hostile, ASessionOfSomebodyElseMustBeGuessed) {
  RawPeer peer(server.address());
  std::uint64_t session = register_peer(peer);
  std::uint64_t handled = server.service().handled;
  for (std::uint64_t wrong : std::initializer_list<std::uint64_t>{
           session ^ 1, session ^ (1ULL << 24), session + (1ULL << 63), 0, 1, ~0ULL}) {
    EXPECT_EQ(peer.send(kPing, ping_of(wrong)), UCS_OK);
  }
  EXPECT_EQ(peer.send(kPing, ping_of(session)), UCS_OK);
  EXPECT_EQ(answer(peer), Errc::kOk);
  EXPECT_EQ(server.service().handled, handled + 1);
}

TEST_F(Hostile, OversizedDataIsRefused) {
  RawPeer peer(server.address());
  std::uint64_t session = register_peer(peer);
  std::vector<std::byte> data(8 << 20);
  for (unsigned flag : {UCP_AM_SEND_FLAG_EAGER, UCP_AM_SEND_FLAG_RNDV}) {
    EXPECT_EQ(peer.send(kPing, ping_of(session), data, flag), UCS_OK);
    EXPECT_EQ(answer(peer), Errc::kMalformed);
  }
}

// What comes in a bundle cannot be kept where it came: it is copied, or refused.
TEST_F(Hostile, DataInABundleThatDoesNotFitIsRefused) {
  RawPeer peer(server.address());
  std::uint64_t session = register_peer(peer);
  ASSERT_NE(session, 0U);
  for (std::size_t size : {std::size_t{8}, Request::kMaxCopied}) {
    std::vector<std::byte> data(size, std::byte{1});
    net::Bundle bundle;
    ASSERT_TRUE(bundle.add(kPing, ping_of(session), data));
    EXPECT_EQ(peer.send(wire::kBundleAmId, {}, bundle.bytes(), UCP_AM_SEND_FLAG_EAGER), UCS_OK);
    EXPECT_EQ(answer(peer), size == 8 ? Errc::kOk : Errc::kMalformed);
  }
}

TEST_F(Hostile, AnEmptyRendezvousIsARequestWithoutData) {
  RawPeer peer(server.address());
  std::uint64_t session = register_peer(peer);
  EXPECT_EQ(peer.send(kPing, ping_of(session), {}, UCP_AM_SEND_FLAG_RNDV), UCS_OK);
  EXPECT_EQ(answer(peer), Errc::kOk);
}

TEST_F(Hostile, APeerThatVanishesDuringItsTransferCostsNothing) {
  std::vector<std::byte> data(1 << 20);
  std::vector<std::byte> request;
  {
    RawPeer peer(server.address());
    request = ping_of(register_peer(peer));
    server.freeze();  // so that nobody takes the data
    EXPECT_EQ(peer.send(kPing, request, data, UCP_AM_SEND_FLAG_RNDV), UCS_ERR_TIMED_OUT);
  }
  server.thaw();
  EXPECT_TRUE(server.eventually([](Server& s, net::Worker&) {
    return s.registry().find("evil") == nullptr && s.stats().in_flight == 0;
  }));
}

TEST_F(Hostile, ARequestFloodIsBounded) {
  RawPeer peer(server.address());
  std::uint64_t session = register_peer(peer);
  // The requests are slow, and nobody reads the replies: the peer ignores its window.
  wire::RequestHeader header{.session_id = session};
  header.deadline_ms = 1000;
  std::vector<std::byte> bytes = bytes_of(header);
  auto body = bytes_of(wire::FsyncChunksRequest{.inode = 100});
  bytes.insert(bytes.end(), body.begin(), body.end());
  for (int i = 0; i < 1000; ++i) {
    (void)peer.send(static_cast<std::uint16_t>(wire::Opcode::kFsyncChunks), bytes);
  }
  EXPECT_TRUE(peer.wait([&] { return peer.messages().size() == 1000 || peer.is_broken(); }));
  EXPECT_LE(server.service().most_at_once, 2 * wire::kMaxWindow);
  EXPECT_GT(server.stats().overloaded, 0U);
}

TEST_F(Hostile, GarbageOnAllIdsIsHarmless) {
  const char* variable = std::getenv("BENCHFS_SEED");
  std::uint64_t seed = variable == nullptr ? 1 : std::strtoull(variable, nullptr, 0);
  SCOPED_TRACE("BENCHFS_SEED=" + std::to_string(seed));
  Random random(seed);
  auto peer = std::make_unique<RawPeer>(server.address());
  std::vector<std::byte> bytes(20'000);
  int sent = 0;
  for (unsigned id = 0; id <= 300; ++id) {
    for (unsigned flags : {0U,
                           unsigned{UCP_AM_SEND_FLAG_EAGER},
                           unsigned{UCP_AM_SEND_FLAG_RNDV},
                           unsigned{UCP_AM_SEND_FLAG_REPLY}}) {
      if (flags == UCP_AM_SEND_FLAG_REPLY && id % 7 != 1) {
        continue;  // most of these end the connection, and a new one takes time
      }
      for (std::byte& byte : bytes) {
        byte = static_cast<std::byte>(random.next());
      }
      if (peer->is_broken()) {
        peer = std::make_unique<RawPeer>(server.address());
      }
      auto header = std::span(bytes).first(random.below(200));
      auto data = std::span(bytes).first(random.below(2) == 0 ? random.below(300)
                                                              : random.below(bytes.size()));
      EXPECT_NE(peer->send(id, header, data, flags), UCS_ERR_TIMED_OUT) << id;
      ++sent;
    }
  }
  EXPECT_GT(sent, 900);
}

// The registered peer's messages begin well-formed, so that they get past the session check.
TEST_F(Hostile, GarbageAfterAGoodSessionIsHarmless) {
  const char* variable = std::getenv("BENCHFS_SEED");
  std::uint64_t seed = variable == nullptr ? 2 : std::strtoull(variable, nullptr, 0);
  SCOPED_TRACE("BENCHFS_SEED=" + std::to_string(seed));
  Random random(seed);
  RawPeer peer(server.address());
  std::uint64_t session = register_peer(peer);
  for (int i = 0; i < 2000; ++i) {
    auto id = static_cast<std::uint16_t>(1 + random.below(99));
    if ((id >= 50 && id <= 57) || id == 71 || id == 72) {
      continue;  // other headers or no reply; and a goodbye would be obeyed
    }
    std::vector<std::byte> bytes = ping_of(session, random.below(4) == 0 ? 1 : 0);
    bytes.resize(sizeof(wire::RequestHeader) + random.below(200));
    for (std::size_t at = sizeof(wire::RequestHeader); at < bytes.size(); ++at) {
      bytes[at] = static_cast<std::byte>(random.next());
    }
    // A ping may ask for gigabytes and an fsync sleep for years: not the layer's affair.
    if (id == kPing || id == 14 || id == 22) {
      bytes.resize(sizeof(wire::RequestHeader));
    }
    EXPECT_EQ(peer.send(id, bytes), UCS_OK);
    EXPECT_TRUE(peer.wait([&] { return !peer.messages().empty(); }));
    peer.messages().clear();
  }
}

TEST_F(Hostile, NoticesAndRepliesSentToAServerAreHarmless) {
  RawPeer peer(server.address());
  std::uint64_t session = register_peer(peer);
  wire::ConnectionCloseRequestHeader close{.session_id = session};
  EXPECT_EQ(peer.send(52, bytes_of(close)), UCS_OK);
  EXPECT_EQ(peer.send(53, bytes_of(wire::InvalidateHeader{.session_id = session})), UCS_OK);
  EXPECT_EQ(peer.send(54, bytes_of(wire::InvalidateAckHeader{9, session})), UCS_OK);
  EXPECT_EQ(peer.send(54, bytes_of(wire::InvalidateAckHeader{10, 0})), UCS_OK);
  EXPECT_EQ(peer.send(151, bytes_of(wire::RegisterClientResponseHeader{})), UCS_OK);
  EXPECT_EQ(peer.send(130, bytes_of(wire::ReplyHeader{})), UCS_OK);
  EXPECT_EQ(peer.send(kPing, ping_of(session)), UCS_OK);
  EXPECT_EQ(answer(peer), Errc::kOk);
  EXPECT_EQ(server.service().last_ack, 9U);
}

TEST_F(Hostile, RegisteringTwiceOnOneConnectionIsIgnored) {
  RawPeer peer(server.address());
  std::uint64_t session = register_peer(peer);
  wire::RegisterClientRequestHeader header;
  header.client_id_len = 5;
  header.client_uid = 8;
  std::string id = "evil2";
  EXPECT_EQ(peer.send(50, bytes_of(header), std::as_bytes(std::span(id)), UCP_AM_SEND_FLAG_REPLY),
            UCS_OK);
  EXPECT_EQ(peer.send(kPing, ping_of(session)), UCS_OK);
  EXPECT_EQ(answer(peer), Errc::kOk);
  EXPECT_EQ(server.clients(), 2U);
}

TEST_F(Hostile, ATruncatedRegistrationEndsTheConnection) {
  auto bytes = bytes_of(wire::RegisterClientRequestHeader{});
  for (std::size_t size : {std::size_t{0}, std::size_t{8}, bytes.size() - 1}) {
    RawPeer peer(server.address());
    EXPECT_EQ(peer.send(50, std::span(bytes).first(size), {}, UCP_AM_SEND_FLAG_REPLY), UCS_OK);
    EXPECT_TRUE(peer.wait([&] { return peer.is_broken(); })) << size;
  }
  EXPECT_EQ(server.clients(), 1U);
}

TEST_F(Hostile, MessageIdsOfNoOperationAreHarmless) {
  RawPeer peer(server.address());
  std::uint64_t session = register_peer(peer);
  std::vector<std::byte> data(20'000);
  for (unsigned id : {200U, 256U, 1000U, 5000U, 20000U, 40000U, 65534U, 65535U}) {
    EXPECT_EQ(peer.send(id, ping_of(session)), UCS_OK) << id;
    EXPECT_EQ(peer.send(id, ping_of(session), data, UCP_AM_SEND_FLAG_EAGER), UCS_OK) << id;
    EXPECT_EQ(peer.send(id, ping_of(session), data, UCP_AM_SEND_FLAG_RNDV), UCS_OK) << id;
  }
  EXPECT_EQ(peer.send(kPing, ping_of(session)), UCS_OK);
  EXPECT_EQ(answer(peer), Errc::kOk);
}

// --- Peers with another UCX configuration, in separate processes
// ----------------------------------

constexpr const char* kPeerVariable = "BENCHFS_TEST_PEER";  // PORT NAME VALUE

TEST(PeerProcess, DISABLED_ConnectsWithAnotherConfiguration) {
  const char* variable = std::getenv(kPeerVariable);
  if (variable == nullptr) {
    GTEST_SKIP() << "started by WrongConfiguration";
  }
  char name[64] = "";
  char value[64] = "";
  unsigned port = 0;
  int fields = std::sscanf(variable, "%u %63s %63s", &port, name, value);
  ASSERT_GE(fields, 1);
  RawPeer peer(net::make_address("127.0.0.1", static_cast<std::uint16_t>(port)).value(),
               fields == 3 ? name : nullptr,
               value);
  std::vector<std::byte> data(100'000);
  for (unsigned flags : {0U, unsigned{UCP_AM_SEND_FLAG_RNDV}, unsigned{UCP_AM_SEND_FLAG_REPLY}}) {
    (void)peer.send(50, std::span(data).first(88), data, flags);
  }
}

class WrongConfiguration : public Hostile, public ::testing::WithParamInterface<const char*> {};

TEST_P(WrongConfiguration, DoesNotHarmTheServer) {
  std::string setting =
      std::string(kPeerVariable) + "=" + std::to_string(server.address().port()) + " " + GetParam();
  std::vector<char*> environment;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    environment.push_back(*entry);
  }
  environment.push_back(setting.data());
  environment.push_back(nullptr);
  std::string program = std::filesystem::read_symlink("/proc/self/exe");
  std::string filter = "--gtest_filter=PeerProcess.*";
  std::string also = "--gtest_also_run_disabled_tests";
  char* arguments[] = {program.data(), filter.data(), also.data(), nullptr};
  pid_t child = 0;
  ASSERT_EQ(posix_spawn(&child, program.c_str(), nullptr, nullptr, arguments, environment.data()),
            0);
  int status = 0;  // however it ends: UCX may abort it. Its waits are bounded.
  EXPECT_EQ(waitpid(child, &status, 0), child);
}

INSTANTIATE_TEST_SUITE_P(Ucx,
                         WrongConfiguration,
                         ::testing::Values("",
                                           "MM_ERROR_HANDLING y",
                                           "MM_ERROR_HANDLING n",
                                           "RNDV_SCHEME put_zcopy",
                                           "CM_USE_ALL_DEVICES n",
                                           "PROTO_ENABLE y",
                                           "UNIFIED_MODE y",
                                           "MM_FIFO_SIZE 64"));

TEST(Unregistered, WhoSaysNothingIsDropped) {
  ServerThread server(
      {.config = {.run_id = testing::kTestRun, .register_timeout = milliseconds(200)}});
  RawPeer peer(server.address());
  EXPECT_TRUE(peer.wait([&] { return peer.is_broken(); }));
  server.run([](Server& s, net::Worker&) {
    EXPECT_EQ(s.admission().stats().register_timeouts, 1U);
    EXPECT_EQ(s.admission().size(), 0U);
  });
  Client good("good", {server.address()});
  EXPECT_TRUE(good.ping());
}

}  // namespace
}  // namespace benchfs::rpc
