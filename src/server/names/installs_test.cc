// Entries that another shard has installed here.
#include "server/names/installs.h"

#include "server/testing/names_fixture.h"

namespace benchfs::server {
namespace {

using testing::ScriptedPeer;

class InstallsTest : public testing::NamesTest {
 protected:
  // As the peer would ask.
  wire::InstallEntryRequest install(const std::string& name, std::uint32_t type) {
    return {.parent = wire::kRootInode.value,
            .inode = wire::InodeId::make(testing::kPeer, 10).value,
            .type = type,
            .ticket = 1,
            .settled = 1,
            .life = kLife,
            .sender = testing::kPeer.value,
            .name_bytes = static_cast<std::uint16_t>(name.size())};
  }
  Result<rpc::Reply> settle(Nanos patience = std::chrono::seconds(10)) {
    return call(
        wire::SettleInstallRequest{.ticket = 1, .life = kLife, .sender = testing::kPeer.value},
        {},
        {},
        patience);
  }

  static constexpr std::uint64_t kLife = 5;
  std::string name_ = name_on(testing::kSelf, "name");
};

// It would wait for a lock of this shard while the sender holds one of its own.
TEST_F(InstallsTest, AnInstallationDoesNotWaitForALock) {
  start();
  put(name_, wire::InodeId::make(testing::kPeer, 9), S_IFREG);
  peer_.set(wire::Opcode::kInstallEntry, ScriptedPeer::Answer::kNever);
  std::string to = name_on(testing::kPeer, "to");
  wire::RenameRequest rename = rename_request(name_, to);
  auto pending = start_call(rename, name_, to);
  EXPECT_TRUE(
      peer_.eventually([&] { return peer_.unanswered_now(wire::Opcode::kInstallEntry) == 1; }));
  Result<rpc::Reply> busy = call(install(name_, S_IFREG), name_);
  EXPECT_EQ(errno_of(busy), EBUSY);
  EXPECT_TRUE(busy.error().message().contains("waits for node_1")) << busy.error().message();
  EXPECT_FALSE(pending->has_value());
}

TEST_F(InstallsTest, TheQuestionWhatBecameOfOneWaitsForItsEnd) {
  start();
  put(name_, wire::InodeId::make(testing::kPeer, 9), S_IFDIR);
  peer_.set(wire::Opcode::kFreezeDirectory, ScriptedPeer::Answer::kNever);
  wire::InstallEntryRequest body = install(name_, S_IFDIR);
  auto pending = start_call(body, name_);
  EXPECT_TRUE(
      peer_.eventually([&] { return peer_.unanswered_now(wire::Opcode::kFreezeDirectory) == 1; }));
  EXPECT_FALSE(settle(std::chrono::milliseconds(300)));
  peer_.set(wire::Opcode::kFreezeDirectory, ScriptedPeer::Answer::kOk);
  Result<rpc::Reply> settled = settle();
  ASSERT_TRUE(settled) << settled.error().message();
  EXPECT_EQ(settled->as<wire::SettleInstallReply>()->installed, 1U);
  ASSERT_TRUE(is_done(pending));
  EXPECT_TRUE(**pending);
}

TEST_F(InstallsTest, OneThatWasAskedAboutBeforeItCameDoesNotHappen) {
  start();
  Result<rpc::Reply> settled = settle();
  ASSERT_TRUE(settled);
  EXPECT_EQ(settled->as<wire::SettleInstallReply>()->installed, 0U);
  EXPECT_EQ(errno_of(call(install(name_, S_IFREG), name_)), EBUSY);
  EXPECT_EQ(lookup(name_).error().to_errno(), ENOENT);
}

// It has lost the old name, and its client may have given the new one to another file since.
TEST_F(InstallsTest, ALateInstallationOfAShardThatStartedAgainDoesNotHappen) {
  start();
  std::string late_name = name_on(testing::kSelf, "late");
  ASSERT_TRUE(call(install(name_, S_IFREG), name_));
  wire::InstallEntryRequest late = install(late_name, S_IFREG);
  late.life = kLife - 1;
  late.ticket = late.settled = 9;
  EXPECT_EQ(errno_of(call(late, late_name)), EBUSY);
  EXPECT_EQ(lookup(late_name).error().to_errno(), ENOENT);
  Result<rpc::Reply> settled = settle();
  ASSERT_TRUE(settled);
  EXPECT_EQ(settled->as<wire::SettleInstallReply>()->installed, 1U);
}

// A directory must not move when the lease of its sender has ended.
TEST_F(InstallsTest, AnInstallationThatComesAfterItsDeadlineDoesNotHappen) {
  start();
  EXPECT_FALSE(lookup(name_));  // registers the client
  wire::RequestHeader header{};
  header.session_id = client_->connection().grant().session_id;
  header.request_id = wire::RequestId::make(0, self_, 1'000'000).value;
  header.deadline_ms = 0;
  wire::HeaderBuffer<> message;
  message.append(header);
  message.append(install(name_, S_IFREG));
  message.append_text(name_);
  client_->connection().link()->send_and_forget(
      static_cast<std::uint16_t>(wire::Opcode::kInstallEntry), std::as_const(message).bytes());
  EXPECT_EQ(lookup(name_).error().to_errno(), ENOENT);
  Result<rpc::Reply> settled = settle();
  ASSERT_TRUE(settled);
  EXPECT_EQ(settled->as<wire::SettleInstallReply>()->installed, 0U);
}

// --- Exchanges -----------------------------------------------------------------------------------

class ExchangeInstallsTest : public InstallsTest {
 protected:
  wire::InstallEntryRequest exchange(std::uint32_t type, wire::InodeId expected) {
    wire::InstallEntryRequest body = install(name_, type);
    body.flags = wire::kRenameExchange;
    body.expected = expected.value;
    body.ticket = body.settled = ++ticket_;
    return body;
  }
  wire::InodeId there_ = wire::InodeId::make(testing::kPeer, 9);
  wire::InodeId new_ = wire::InodeId::make(testing::kPeer, 10);

 private:
  std::uint64_t ticket_ = 0;
};

TEST_F(ExchangeInstallsTest, OneThatExpectsAnotherInodeDoesNothingAndSaysWhatIsThere) {
  start();
  EXPECT_EQ(errno_of(call(exchange(S_IFREG, {}), name_)), ENOENT);
  put(name_, there_, S_IFDIR);
  for (wire::InodeId expected : {wire::InodeId{}, wire::InodeId::make(testing::kPeer, 11)}) {
    Result<rpc::Reply> reply = call(exchange(S_IFREG, expected), name_);
    ASSERT_TRUE(reply) << reply.error().message();
    auto other = reply->as<wire::InstallEntryReply>();
    EXPECT_EQ(other->flags, wire::kInstallOther);
    EXPECT_EQ(other->replaced, there_.value);
    EXPECT_EQ(other->type, unsigned{S_IFDIR});
    EXPECT_EQ(lookup(name_)->attr.id(), there_);
  }
  ASSERT_TRUE(call(exchange(S_IFREG, there_), name_));
  EXPECT_EQ(lookup(name_)->attr.id(), new_);
  std::vector<wire::InodeId> dropped;
  run([&](net::Worker&) { dropped = service_.door->dropped; });
  EXPECT_TRUE(dropped.empty());
}

TEST_F(ExchangeInstallsTest, AClientThatHasTheDirectoryCachedIsWaitedFor) {
  start({.directory_lease = std::chrono::hours(24)});
  put(name_, there_, S_IFDIR);
  rpc::testing::Client holder("holder", addresses());
  wire::LookupRequest body{.parent = wire::kRootInode.value,
                           .name_bytes = static_cast<std::uint16_t>(name_.size())};
  ASSERT_TRUE(holder.call(rpc::make_call(body, name_)));
  wire::InstallEntryRequest request = exchange(S_IFREG, there_);
  auto pending = start_call(request, name_);
  EXPECT_NE(lookup(name_, std::chrono::milliseconds(100)).error().to_errno(), ENOENT);
  EXPECT_FALSE(pending->has_value());
  Deadline end = Deadline::after(std::chrono::seconds(10));
  while (!pending->has_value() && !end.passed()) {
    (void)holder.ping();  // it reads the notice when that has come, and acknowledges
    (void)client_->ping();
  }
  ASSERT_TRUE(is_done(pending));
  EXPECT_EQ(lookup(name_)->attr.id(), new_);
}

}  // namespace
}  // namespace benchfs::server
