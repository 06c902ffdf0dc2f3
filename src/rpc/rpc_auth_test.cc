// Registration with a cluster secret: who gets in, who does not, and what they are told.
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <optional>

#include "base/random.h"
#include "net/testing/raw_peer.h"
#include "rpc/testing/rpc_fixture.h"
#include "wire/registration.h"

namespace benchfs::rpc {
namespace {

namespace fs = std::filesystem;
using cluster::Secret;
using net::testing::RawPeer;
using testing::Client;
using testing::ServerThread;
using Registration = wire::RegisterClientRequestHeader;
using Response = wire::RegisterReply;

constexpr std::string_view kClientId = "client_1";

// The secrets of two clusters, in separate directories. Over the network, also where other tests
// use the door.
class Auth : public ::testing::Test {
 protected:
  Auth() : ours_(make("ours")), theirs_(make("theirs")) {
    if (const char* transport = std::getenv("BENCHFS_TRANSPORT")) {
      transport_ = transport;
      ::unsetenv("BENCHFS_TRANSPORT");
    }
  }
  ~Auth() override {
    if (!transport_.empty()) {
      ::setenv("BENCHFS_TRANSPORT", transport_.c_str(), 1);
    }
    fs::remove_all(root_);
  }

  Secret make(const char* name) {
    if (root_.empty()) {
      std::string form = (fs::temp_directory_path() / "benchfs-auth-XXXXXX").string();
      root_ = mkdtemp(form.data());
    }
    fs::create_directory(root_ / name);
    return Secret::read_or_make(root_ / name).value();
  }

  static ServerThread::Options options(std::optional<Secret> secret) {
    ServerThread::Options options;
    options.config.secret = std::move(secret);
    return options;
  }

  static Registration request() {
    Registration request;
    request.client_id_len = kClientId.size();
    request.run_id = testing::kTestRun;
    request.client_uid = 7;
    request.attempt = random_id();
    request.nonce[3] = 9;
    return request;
  }

  // Sends one RegisterClient; nothing when the server does not answer but closes.
  static std::optional<Response> send(RawPeer& peer,
                                      const Registration& request,
                                      std::string_view id = kClientId) {
    peer.messages().clear();
    EXPECT_EQ(peer.send(50,
                        std::as_bytes(std::span(&request, 1)),
                        std::as_bytes(std::span(id)),
                        UCP_AM_SEND_FLAG_REPLY),
              UCS_OK);
    EXPECT_TRUE(peer.wait([&] { return !peer.messages().empty() || peer.is_broken(); }));
    Response response;
    if (peer.messages().empty() ||
        !wire::read_register_reply(peer.messages()[0].header, response)) {
      return std::nullopt;
    }
    EXPECT_EQ(response.attempt, request.attempt);
    return response;
  }
  // Registers up to the challenge.
  static wire::Challenge challenge(RawPeer& peer, const Registration& request) {
    std::optional<Response> response = send(peer, request);
    EXPECT_TRUE(response && response->status == 2 && response->session_id == 0);
    return response ? response->challenge : wire::Challenge{};
  }
  [[nodiscard]] Registration proven(Registration request, const wire::Challenge& challenge) const {
    request.proof = ours_.prove(wire::registration_to_prove(challenge, request, kClientId).bytes());
    return request;
  }
  static void expect_refused(RawPeer& peer, const std::optional<Response>& response) {
    ASSERT_TRUE(response);
    EXPECT_EQ(response->status, 1U);
    EXPECT_EQ(static_cast<Errc>(response->error_code), Errc::kRefused);
    EXPECT_EQ(response->session_id, 0U);
    EXPECT_EQ(response->challenge, wire::Challenge{});
    EXPECT_TRUE(peer.wait([&] { return peer.is_broken(); }));
  }
  static void expect_error(const Status& status, std::initializer_list<std::string> parts) {
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().code, Errc::kRefused);
    for (const std::string& part : parts) {
      EXPECT_NE(status.error().message().find(part), std::string::npos)
          << part << " is not in: " << status.error().message();
    }
  }
  static Admission::Stats stats(ServerThread& server) {
    Admission::Stats stats;
    server.run([&](Server& s, net::Worker&) { stats = s.admission().stats(); });
    return stats;
  }

  // Of two clients that evict each other.
  Admission::Stats stats_of_six_registrations() {
    ServerThread::Options small = options(ours_);
    small.config.max_clients = 1;
    ServerThread server(std::move(small));
    Client first("client_1", {server.address()}, {}, testing::kTestRun, ours_);
    Client second("client_2", {server.address()}, {}, testing::kTestRun, ours_);
    for (int i = 0; i < 3; ++i) {
      EXPECT_TRUE(first.ping());
      EXPECT_TRUE(second.ping());
    }
    return stats(server);
  }

  fs::path root_;
  Secret ours_;
  Secret theirs_;
  std::string transport_;
};

// --- BenchFS clients -----------------------------------------------------------------------------

TEST_F(Auth, WhoKnowsTheSecretIsServed) {
  ServerThread server(options(ours_));
  Client client("client_1", {server.address()}, {}, testing::kTestRun, ours_);
  Status pong = client.ping();
  EXPECT_TRUE(pong) << pong.error().message();
  EXPECT_EQ(stats(server).challenged, 1U);
  EXPECT_EQ(stats(server).wrong_proofs, 0U);
  EXPECT_EQ(server.clients(), 1U);
}

TEST_F(Auth, EveryConnectionIsChallengedAnew) {
  EXPECT_EQ(stats_of_six_registrations().challenged, 6U);
}

TEST_F(Auth, WithoutAServerSecretNobodyIsAsked) {
  ServerThread server(options(std::nullopt));
  Client knows("client_1", {server.address()}, {}, testing::kTestRun, ours_);
  Client does_not("client_2", {server.address()});
  EXPECT_TRUE(knows.ping());
  EXPECT_TRUE(does_not.ping());
  EXPECT_EQ(stats(server).challenged, 0U);
}

TEST_F(Auth, AWrongSecretIsRefusedOnceAndTheErrorNamesTheFile) {
  ServerThread server(options(ours_));
  Client client("client_1", {server.address()}, {}, testing::kTestRun, theirs_);
  expect_error(client.ping(),
               {"node_0 at ",
                "refused the registration of client_1",
                theirs_.path(),
                "start the servers again"});
  EXPECT_EQ(stats(server).wrong_proofs, 1U);  // it is not tried again
  EXPECT_EQ(server.clients(), 0U);
}

TEST_F(Auth, AMissingSecretIsAnErrorThatSaysWhy) {
  ServerThread server(options(ours_));
  Client client("client_1", {server.address()});
  expect_error(client.ping(),
               {"node_0 at ", "wants proof of the cluster secret", "this client has no cluster"});
  EXPECT_EQ(stats(server).wrong_proofs, 0U);
  EXPECT_TRUE(client.eventually([&] {  // the server has forgotten it
    std::size_t left = 0;
    server.run([&](Server& s, net::Worker&) { left = s.admission().size() + s.link_count(); });
    return left == 0;
  }));
}

// --- Through the door, whose answer brings the challenge -----------------------------------------

class AuthAtTheDoor : public Auth {
 protected:
  AuthAtTheDoor() { ::setenv("BENCHFS_TRANSPORT", "auto", 1); }
  ~AuthAtTheDoor() override { ::unsetenv("BENCHFS_TRANSPORT"); }
};

TEST_F(AuthAtTheDoor, OneMessageRegisters) {
  Admission::Stats seen = stats_of_six_registrations();
  EXPECT_EQ(seen.accepted, 6U);
  EXPECT_EQ(seen.challenged, 0U);
  EXPECT_EQ(seen.wrong_proofs, 0U);
}

TEST_F(AuthAtTheDoor, AWrongSecretIsRefused) {
  ServerThread server(options(ours_));
  Client client("client_1", {server.address()}, {}, testing::kTestRun, theirs_);
  expect_error(client.ping(), {"refused the registration of client_1", theirs_.path()});
  EXPECT_EQ(stats(server).challenged, 0U);
  EXPECT_EQ(stats(server).wrong_proofs, 1U);
  EXPECT_EQ(server.clients(), 0U);
}

TEST_F(AuthAtTheDoor, WhoHasNoSecretIsAskedForIt) {
  ServerThread server(options(ours_));
  Client client("client_1", {server.address()});
  expect_error(client.ping(), {"wants proof of the cluster secret", "this client has no cluster"});
  EXPECT_EQ(stats(server).challenged, 1U);
  EXPECT_EQ(server.clients(), 0U);
}

// --- Others --------------------------------------------------------------------------------------

TEST_F(Auth, ARightProofByHandIsAccepted) {
  ServerThread server(options(ours_));
  RawPeer peer(server.address());
  Registration mine = request();
  std::optional<Response> granted = send(peer, proven(mine, challenge(peer, mine)));
  ASSERT_TRUE(granted);
  EXPECT_EQ(granted->status, 0U);
  EXPECT_NE(granted->session_id, 0U);
}

TEST_F(Auth, ARecordedProofIsWorthNothing) {
  ServerThread server(options(ours_));
  RawPeer first(server.address());
  Registration mine = request();
  Registration recorded = proven(mine, challenge(first, mine));
  ASSERT_EQ(send(first, recorded)->status, 0U);
  // Sent at once, it is answered with a challenge of its own; sent again, it is wrong.
  RawPeer second(server.address());
  std::optional<Response> response = send(second, recorded);
  ASSERT_TRUE(response);
  EXPECT_EQ(response->status, 2U);
  expect_refused(second, send(second, recorded));
  EXPECT_EQ(server.clients(), 1U);
  EXPECT_EQ(stats(server).wrong_proofs, 1U);
}

TEST_F(Auth, AProofIsGoodForItsConnectionOnly) {
  ServerThread server(options(ours_));
  RawPeer one(server.address());
  RawPeer two(server.address());
  Registration mine = request();
  wire::Challenge of_one = challenge(one, mine);
  wire::Challenge of_two = challenge(two, mine);
  EXPECT_NE(of_one, of_two);
  expect_refused(one, send(one, proven(mine, of_two)));
}

TEST_F(Auth, AProofCoversEverythingInTheRegistration) {
  ServerThread server(options(ours_));
  const std::vector<void (*)(Registration&)> changes = {
      [](Registration& r) { r.client_uid ^= 1; },
      [](Registration& r) { r.run_id = 0; },
      [](Registration& r) { r.attempt ^= 1; },
      [](Registration& r) { r.flags ^= 1; },
      [](Registration& r) { r.nonce[15] ^= 1; },
      [](Registration& r) { r.proof[31] ^= std::byte{1}; },
      [](Registration& r) { r.proof = {}; },
  };
  for (std::size_t i = 0; i < changes.size(); ++i) {
    SCOPED_TRACE(i);
    RawPeer peer(server.address());
    Registration mine = request();
    Registration changed = proven(mine, challenge(peer, mine));
    changes[i](changed);
    expect_refused(peer, send(peer, changed));
  }
  RawPeer peer(server.address());
  Registration mine = request();
  expect_refused(peer, send(peer, proven(mine, challenge(peer, mine)), "client_2"));
  EXPECT_EQ(server.clients(), 0U);
}

TEST_F(Auth, AnUnprovenPeerCannotCall) {
  ServerThread server(options(ours_));
  RawPeer peer(server.address());
  (void)challenge(peer, request());
  wire::RequestHeader header;
  EXPECT_EQ(peer.send(30, std::as_bytes(std::span(&header, 1)), {}, UCP_AM_SEND_FLAG_REPLY),
            UCS_OK);
  EXPECT_TRUE(peer.wait([&] { return peer.is_broken(); }));
  EXPECT_EQ(server.service().handled, 0U);
}

TEST_F(Auth, AnotherVersionIsToldSoBeforeAnythingElse) {
  ServerThread server(options(ours_));
  // Headers of other versions may be longer, or shorter down to the fixed fields.
  for (std::size_t size :
       {wire::kRegisterFixedBytes, sizeof(Registration), sizeof(Registration) + 100}) {
    RawPeer peer(server.address());
    Registration other = request();
    other.version = wire::kProtocolVersion + 1;
    std::vector<std::byte> bytes(size);
    std::memcpy(bytes.data(), &other, std::min(size, sizeof other));
    EXPECT_EQ(peer.send(50, bytes, std::as_bytes(std::span(kClientId)), UCP_AM_SEND_FLAG_REPLY),
              UCS_OK);
    ASSERT_TRUE(peer.wait([&] { return !peer.messages().empty(); })) << size;
    Response response;
    ASSERT_TRUE(wire::read_register_reply(peer.messages()[0].header, response));
    EXPECT_EQ(static_cast<Errc>(response.error_code), Errc::kVersion);
    EXPECT_EQ(response.version, wire::kProtocolVersion);
    EXPECT_EQ(response.attempt, other.attempt);
  }
  EXPECT_EQ(stats(server).challenged, 0U);
}

}  // namespace
}  // namespace benchfs::rpc
