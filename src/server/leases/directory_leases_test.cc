#include "server/leases/directory_leases.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "rpc/testing/rpc_fixture.h"
#include "rpc/testing/server_test_peer.h"
#include "server/decode.h"
#include "wire/validity.h"

namespace benchfs::server {
namespace {

using rpc::testing::Client;
using rpc::testing::ServerThread;

constexpr Nanos kDay = std::chrono::hours(24);
constexpr Nanos kShortLease = std::chrono::milliseconds(300);

// Lookups grant, rmdir revokes and answers when that is done, everything else is answered.
class LeaseService final : public rpc::Service {
 public:
  explicit LeaseService(DirectoryLeases::Config config) : leases(config) {}

  rt::Task<void> handle(rpc::Request& request) override {
    if (request.opcode() == wire::Opcode::kLookup) {
      wire::LookupRequest body;
      EntryKey key = decode_entry(request, body).value().key();
      leases.grant(key, request.client_uid(), mono_now());
      co_await request.reply(wire::EntryReply{});
      co_return;
    }
    if (request.opcode() == wire::Opcode::kRmdir) {
      wire::RmdirRequest body;
      EntryKey key = decode_entry(request, body).value().key();
      co_await leases.revoke(std::move(key));
    }
    co_await request.reply(wire::NoReply{});
  }
  void on_client_registered(wire::SessionId session, std::uint64_t client_uid) override {
    leases.on_client_registered(session, client_uid);
  }
  void on_client_gone(std::uint64_t client_uid, rpc::Departure departure, pid_t) override {
    if (departure == rpc::Departure::kGoodbye) {
      leases.on_goodbye(client_uid);
    } else {
      leases.on_session_lost(client_uid);
    }
  }
  void on_invalidate_ack(wire::SessionId session, std::uint64_t sequence) override {
    leases.on_acknowledged(session, sequence);
  }

  DirectoryLeases leases;
  rt::CancelSource stopping;
};

// A client that takes part only when it is driven, and counts what it is told.
class Holder final : private rpc::NoticeHandler {
 public:
  Holder(const std::string& id, const ServerThread& server) : client(id, {server.address()}) {
    client.pool().set_notice_handler(this);
  }
  ~Holder() override { client.pool().set_notice_handler(nullptr); }

  void lookup(std::string_view name) {
    wire::LookupRequest body{.parent = 1, .name_bytes = static_cast<std::uint16_t>(name.size())};
    Result<rpc::Reply> reply = client.call(rpc::make_call(body, name));
    EXPECT_TRUE(reply) << reply.error().message();
  }
  bool is_told() {
    return client.eventually([&] { return told == 1; });
  }

  Client client;
  int told = 0;

 private:
  bool on_invalidate(wire::InodeId parent, std::string_view, const rpc::Revocation&) override {
    told += parent.is_valid() ? 1 : 0;
    return true;
  }
};

// A program that looks at validity words, and does nothing by itself.
class Program final : private rpc::NoticeHandler {
 public:
  Program(const ServerThread& server, const rpc::ConnectionPool::Config& config)
      : client_("program", {server.address()}, config) {
    client_.pool().set_notice_handler(this);
  }
  ~Program() override { client_.pool().set_notice_handler(nullptr); }

  void lookup(std::string_view name) {
    wire::LookupRequest body{.parent = 1, .name_bytes = static_cast<std::uint16_t>(name.size())};
    ASSERT_TRUE(client_.call(rpc::make_call(body, name)));
    seen_ = word_of(name);
  }
  // Since the last look-up.
  [[nodiscard]] bool is_shown(std::string_view name) const { return word_of(name) != seen_; }
  // Once it has been driven.
  int told() {
    EXPECT_TRUE(client_.ping());
    return told_;
  }
  Client& client() { return client_; }

 private:
  [[nodiscard]] bool looks_at_words() const override { return true; }
  void on_registered(wire::ShardId shard, rpc::Registered) override {
    words_ = client_.pool().at(shard).link()->validity_words();
  }
  bool on_invalidate(wire::InodeId parent, std::string_view, const rpc::Revocation&) override {
    told_ += parent.is_valid() ? 1 : 0;
    return true;
  }
  [[nodiscard]] std::uint32_t word_of(std::string_view name) const {
    return words_ == nullptr
               ? 0
               : words_->words[wire::validity_word_of({wire::InodeId{1}, name})].load();
  }

  Client client_;
  std::shared_ptr<const wire::ValidityWords> words_;
  std::uint32_t seen_ = 0;
  int told_ = 0;
};

// Asks for a revocation, which goes on while the revoker is not driven.
class Revoker {
 public:
  Revoker(const ServerThread& server, std::string name)
      : name_(std::move(name)),
        body_{.parent = 1, .name_bytes = static_cast<std::uint16_t>(name_.size())},
        client_("revoker", {server.address()}) {
    EXPECT_TRUE(client_.ping());
    pending_ = client_.start(rpc::make_call(body_, name_));
    // The request has left when its answer could be there.
    EXPECT_TRUE(client_.eventually([&] { return client_.connection().stats().calls == 2; }));
  }
  bool is_done() {
    return client_.eventually([&] { return pending_->has_value(); }) && pending_->value();
  }
  // A round trip later.
  bool is_done_yet() {
    EXPECT_TRUE(client_.ping());
    return pending_->has_value();
  }

 private:
  std::string name_;
  wire::RmdirRequest body_;
  Client client_;
  Client::Pending pending_;
};

class DirectoryLeasesTest : public testing::Test {
 protected:
  void start(DirectoryLeases::Config config = {.lease = kDay}) {
    server_.reset();
    service_ = std::make_unique<LeaseService>(config);
    server_ = std::make_unique<ServerThread>(
        ServerThread::Options{.service = service_.get(), .door_base = doors_});
    server_->run([&](rpc::Server& server, net::Worker&) {
      service_->leases.attach(server, service_->stopping);
    });
  }
  // The door is there as well.
  void start_with_door() {
    doors_ = ::testing::TempDir() + "doors_XXXXXX";
    ASSERT_NE(::mkdtemp(doors_.data()), nullptr);
    start();
  }
  rpc::ConnectionPool::Config through_the_door() const {
    return {.transport = rpc::Transport::kNode, .door_base = doors_};
  }
  static EntryKey key(const char* name) { return {wire::InodeId{1}, name}; }
  std::size_t leases() {
    std::size_t size = 0;
    server_->run([&](rpc::Server&, net::Worker&) { size = service_->leases.size(); });
    return size;
  }
  void disconnect(const char* client_id) {
    server_->run([&](rpc::Server& server, net::Worker&) {
      rpc::ServerTestPeer::disconnect(server, client_id);
    });
  }
  void stop_waiting() {
    server_->run([&](rpc::Server&, net::Worker&) { service_->stopping.cancel(); });
  }
  // The client exists while a revocation may wait for it.
  void TearDown() override {
    stop_waiting();
    server_->stop();
    if (!doors_.empty()) {
      std::filesystem::remove_all(doors_);
    }
  }

  std::string doors_;
  std::unique_ptr<LeaseService> service_;
  std::unique_ptr<ServerThread> server_;
};

TEST_F(DirectoryLeasesTest, AllHoldersAreToldAtOnceAndWaitedForTogether) {
  start();
  Holder silent("silent", *server_);
  Holder second("second", *server_);
  Holder third("third", *server_);
  for (Holder* holder : {&silent, &second, &third}) {
    holder->lookup("d");
    holder->lookup("d");
  }
  EXPECT_EQ(leases(), 3U);
  Revoker revoker(*server_, "d");
  EXPECT_TRUE(third.is_told());
  EXPECT_TRUE(second.is_told());
  EXPECT_TRUE(server_->eventually(
      [&](rpc::Server&, net::Worker&) { return service_->leases.size() == 1; }));
  EXPECT_FALSE(revoker.is_done_yet());
  EXPECT_TRUE(silent.is_told());
  EXPECT_TRUE(revoker.is_done());
  EXPECT_EQ(leases(), 0U);
}

TEST_F(DirectoryLeasesTest, OnlyHoldersOfTheEntryAreTold) {
  start();
  Holder holder("holder", *server_);
  Holder other("other", *server_);
  holder.lookup("d");
  other.lookup("e");
  Revoker revoker(*server_, "d");
  EXPECT_TRUE(holder.is_told());
  EXPECT_TRUE(revoker.is_done());
  EXPECT_TRUE(other.client.ping());
  EXPECT_EQ(other.told, 0);
  EXPECT_EQ(leases(), 1U);
}

TEST_F(DirectoryLeasesTest, AGoodbyeGivesEverythingBack) {
  start();
  auto leaving = std::make_unique<Holder>("leaving", *server_);
  Holder staying("staying", *server_);
  leaving->lookup("d");
  leaving->lookup("e");
  staying.lookup("e");
  Revoker revoker(*server_, "d");
  EXPECT_FALSE(revoker.is_done_yet());
  leaving.reset();
  EXPECT_TRUE(revoker.is_done());
  EXPECT_EQ(leases(), 1U);
}

TEST_F(DirectoryLeasesTest, ALostSessionLeavesItsLeases) {
  start();
  Holder silent("silent", *server_);
  silent.lookup("d");
  disconnect("silent");
  EXPECT_EQ(leases(), 1U);
  Revoker revoker(*server_, "d");
  EXPECT_FALSE(revoker.is_done_yet());
  // The client registers again and is told.
  EXPECT_TRUE(silent.client.ping());
  EXPECT_TRUE(silent.is_told());
  EXPECT_TRUE(revoker.is_done());
  EXPECT_EQ(leases(), 0U);
}

TEST_F(DirectoryLeasesTest, ANewSessionIsToldWhatTheLostOneMayNotHaveRead) {
  start();
  Holder silent("silent", *server_);
  silent.lookup("d");
  Revoker revoker(*server_, "d");
  EXPECT_FALSE(revoker.is_done_yet());
  disconnect("silent");
  EXPECT_FALSE(revoker.is_done_yet());
  EXPECT_TRUE(silent.client.ping());
  EXPECT_TRUE(silent.client.eventually([&] { return silent.told >= 1; }));
  EXPECT_TRUE(revoker.is_done());
}

TEST_F(DirectoryLeasesTest, TheEndOfTheLeaseOfALostSessionEndsTheWait) {
  start({.lease = kShortLease});
  Holder silent("silent", *server_);
  MonoTime before = mono_now();
  silent.lookup("d");
  disconnect("silent");
  Revoker revoker(*server_, "d");
  EXPECT_TRUE(revoker.is_done());
  EXPECT_GE(mono_now() - before, kShortLease);
}

// Its reply may be kept for the next session.
TEST_F(DirectoryLeasesTest, ALeaseCanBeGrantedToALostSession) {
  start();
  Holder silent("silent", *server_);
  silent.lookup("d");
  disconnect("silent");
  server_->run([&](rpc::Server&, net::Worker&) {
    service_->leases.grant(key("e"), silent.client.pool().identity().uid, mono_now());
  });
  EXPECT_EQ(leases(), 2U);
}

TEST_F(DirectoryLeasesTest, ALateAcknowledgementDoesNotReleaseALeaseGrantedAgain) {
  start();
  Holder silent("silent", *server_);
  silent.lookup("d");
  Revoker revoker(*server_, "d");
  EXPECT_FALSE(revoker.is_done_yet());
  wire::SessionId session{silent.client.connection().grant().session_id};
  server_->run([&](rpc::Server&, net::Worker&) {
    service_->leases.grant(key("d"), silent.client.pool().identity().uid, mono_now());
    service_->leases.on_acknowledged(session, 1);
  });
  EXPECT_EQ(leases(), 1U);
  EXPECT_FALSE(revoker.is_done_yet());
  EXPECT_TRUE(silent.client.eventually([&] { return silent.told == 2; }));
  EXPECT_TRUE(revoker.is_done());
}

TEST_F(DirectoryLeasesTest, AfterARestartARevocationWaitsForWhatTheEarlierLifeGranted) {
  start({.lease = kShortLease});
  MonoTime before = mono_now();
  server_->run([&](rpc::Server&, net::Worker&) { service_->leases.assume_all_granted(before); });
  Revoker revoker(*server_, "d");
  EXPECT_TRUE(revoker.is_done());
  EXPECT_GE(mono_now() - before, kShortLease);
}

TEST_F(DirectoryLeasesTest, TheEndOfTheLeaseEndsTheWait) {
  start({.lease = kShortLease});
  Holder silent("silent", *server_);
  MonoTime before = mono_now();
  silent.lookup("d");
  Revoker revoker(*server_, "d");
  EXPECT_TRUE(revoker.is_done());
  EXPECT_GE(mono_now() - before, kShortLease);
  EXPECT_EQ(silent.told, 0);
  EXPECT_EQ(leases(), 0U);
}

TEST_F(DirectoryLeasesTest, AnotherClientCannotAcknowledge) {
  start();
  Holder silent("silent", *server_);
  silent.lookup("d");
  Revoker revoker(*server_, "d");
  EXPECT_FALSE(revoker.is_done_yet());
  Client stranger("stranger", {server_->address()});
  ASSERT_TRUE(stranger.ping());
  for (std::uint64_t sequence = 0; sequence < 10; ++sequence) {
    wire::InvalidateAckHeader ack{sequence, stranger.connection().grant().session_id};
    stranger.connection().link()->send_and_forget(
        static_cast<std::uint16_t>(wire::Opcode::kInvalidateAck),
        std::as_bytes(std::span(&ack, 1)));
  }
  ASSERT_TRUE(stranger.ping());
  EXPECT_EQ(leases(), 1U);
  EXPECT_FALSE(revoker.is_done_yet());
}

TEST_F(DirectoryLeasesTest, BeyondTheBoundARevocationWaitsUntilNobodyCanUseTheEntry) {
  constexpr Nanos kLong = std::chrono::seconds(1);
  start({.lease = kLong, .max_leases = 2});
  Holder holder("holder", *server_);
  holder.lookup("a");
  holder.lookup("b");
  holder.lookup("b");  // is kept already
  MonoTime before = mono_now();
  holder.lookup("c");  // the last: when it has ended, the others have
  EXPECT_EQ(leases(), 2U);
  Revoker unknown(*server_, "c");
  EXPECT_TRUE(unknown.is_done());
  EXPECT_GE(mono_now() - before, kLong);
  EXPECT_EQ(holder.told, 0);
  // What has expired makes room.
  holder.lookup("d");
  EXPECT_EQ(leases(), 1U);
}

TEST_F(DirectoryLeasesTest, AProgramOfThisNodeSeesItAndIsNeitherToldNorWaitedFor) {
  start_with_door();
  Program program(*server_, through_the_door());
  program.lookup("d");
  EXPECT_EQ(leases(), 0U);
  EXPECT_FALSE(program.is_shown("d"));
  Revoker revoker(*server_, "d");
  EXPECT_TRUE(revoker.is_done());
  EXPECT_TRUE(program.is_shown("d"));
  EXPECT_FALSE(program.is_shown("e"));
  EXPECT_EQ(program.told(), 0);
}

TEST_F(DirectoryLeasesTest, AProgramOfAnotherNodeSeesItAndTheShardThereIsWaitedFor) {
  start();
  rpc::testing::NearShard near({server_->address()});
  rpc::ConnectionPool::Config config{.silence_limit = kDay};
  near.use_in(config);
  Program program(*server_, config);
  program.lookup("d");
  EXPECT_EQ(leases(), 1U);
  near.thread().freeze();
  Revoker revoker(*server_, "d");
  EXPECT_FALSE(revoker.is_done_yet());
  near.thread().thaw();
  EXPECT_TRUE(revoker.is_done());
  EXPECT_TRUE(program.is_shown("d"));
  EXPECT_FALSE(program.is_shown("e"));
  EXPECT_EQ(leases(), 0U);
  EXPECT_EQ(program.told(), 0);
}

// Granted while it had no session; it may get the reply in the one that it has now.
TEST_F(DirectoryLeasesTest, AProgramThatComesBackIsShownWhatWasRevokedMeanwhile) {
  start_with_door();
  Program program(*server_, through_the_door());
  program.lookup("d");
  disconnect("program");
  server_->run([&](rpc::Server&, net::Worker&) {
    service_->leases.grant(key("d"), program.client().pool().identity().uid, mono_now());
  });
  EXPECT_EQ(leases(), 1U);
  Revoker revoker(*server_, "d");
  EXPECT_FALSE(revoker.is_done_yet());
  EXPECT_TRUE(program.client().ping());
  EXPECT_TRUE(revoker.is_done());
  EXPECT_EQ(program.told(), 0);
}

TEST_F(DirectoryLeasesTest, AClientWithoutWordsIsToldWhateverItSays) {
  if (rpc::testing::is_through_door() || rpc::testing::is_forwarded()) {
    GTEST_SKIP() << "clients have words";
  }
  start();
  Holder silent("silent", *server_);
  ASSERT_TRUE(silent.client.ping());
  server_->run([&](rpc::Server& server, net::Worker&) {
    rpc::Session* session = server.registry().find("silent");
    session->looks_at_words = true;
    service_->leases.on_client_registered(session->id, session->client_uid);
  });
  silent.lookup("d");
  Revoker revoker(*server_, "d");
  EXPECT_FALSE(revoker.is_done_yet());
  EXPECT_TRUE(silent.is_told());
  EXPECT_TRUE(revoker.is_done());
}

TEST_F(DirectoryLeasesTest, NobodyIsWaitedForWhenTheServerStops) {
  start();
  Holder silent("silent", *server_);
  silent.lookup("d");
  Revoker revoker(*server_, "d");
  EXPECT_FALSE(revoker.is_done_yet());
  stop_waiting();
  EXPECT_TRUE(revoker.is_done());
}

}  // namespace
}  // namespace benchfs::server
