// Removing directories beside a shard that answers late or never.

#include "server/names/rmdir.h"

#include "server/testing/names_fixture.h"

namespace benchfs::server {
namespace {

using testing::ScriptedPeer;
using Kind = OwedCalls::Kind;

using testing::kShort;

class DirectoryRemovalTest : public testing::NamesTest {
 protected:
  std::string name_ = name_on(testing::kSelf, "d");
};

TEST_F(DirectoryRemovalTest, IsDoneWhenTheNameIsGoneAndTheRestIsOwed) {
  start();
  ASSERT_TRUE(mkdir(name_));
  peer_.set(wire::Opcode::kThawDirectory, ScriptedPeer::Answer::kNever);
  EXPECT_EQ(rmdir(name_), 0);
  EXPECT_EQ(lookup(name_).error().to_errno(), ENOENT);
  EXPECT_EQ(owed(Kind::kThaw), 1U);
  peer_.set(wire::Opcode::kThawDirectory, ScriptedPeer::Answer::kOk);
  EXPECT_TRUE(is_paid(Kind::kThaw));
}

TEST_F(DirectoryRemovalTest, AThawIsRepeatedUntilItIsAnswered) {
  start();
  ASSERT_TRUE(mkdir(name_));
  peer_.set(wire::Opcode::kThawDirectory, ScriptedPeer::Answer::kNotReady);
  EXPECT_EQ(rmdir(name_), 0);
  EXPECT_TRUE(
      peer_.eventually([&] { return peer_.received_now(wire::Opcode::kThawDirectory) > 3; }));
  EXPECT_EQ(owed(Kind::kThaw), 1U);
  peer_.set(wire::Opcode::kThawDirectory, ScriptedPeer::Answer::kOk);
  EXPECT_TRUE(is_paid(Kind::kThaw));
}

TEST_F(DirectoryRemovalTest, ARemovalThatFailsOwesAThawToWhoMayHaveFrozen) {
  start();
  Result<wire::InodeId> directory = mkdir(name_);
  ASSERT_TRUE(directory);
  peer_.set(wire::Opcode::kFreezeDirectory, ScriptedPeer::Answer::kNever);
  wire::RmdirRequest body{.parent = wire::kRootInode.value,
                          .name_bytes = static_cast<std::uint16_t>(name_.size())};
  EXPECT_FALSE(call(body, name_, {}, std::chrono::seconds(1)));
  EXPECT_TRUE(
      peer_.eventually([&] { return peer_.received_now(wire::Opcode::kThawDirectory) >= 1; }));
  EXPECT_TRUE(lookup(name_));
  EXPECT_TRUE(mkdir("a", *directory));
}

// The freeze of a coordinator that does not come back to it for long.
TEST_F(DirectoryRemovalTest, AFreezeLastsUntilTheThaw) {
  start();
  Result<wire::InodeId> directory = mkdir(name_);
  ASSERT_TRUE(directory);
  wire::FreezeDirectoryRequest freeze;
  freeze.directory = directory->value;
  freeze.owner = 7;
  ASSERT_TRUE(call(freeze));
  EXPECT_FALSE(mkdir("a", *directory, kShort));
  run([&](net::Worker&) {
    meta::MetaStore& store = *service_.store;
    MonoTime in_a_day = mono_now() + std::chrono::hours(24);
    Status put =
        store.apply(meta::PutEntry{*directory, "b", {wire::InodeId{1}, S_IFREG}, 1, in_a_day});
    ASSERT_FALSE(put);
    EXPECT_EQ(put.error().code, Errc::kBusy);
  });
  wire::ThawDirectoryRequest thaw;
  thaw.directory = directory->value;
  thaw.owner = 7;
  ASSERT_TRUE(call(thaw));
  EXPECT_TRUE(mkdir("a", *directory));
}

// A client may still know the directory by a name that leads to another one now, with other
// entries.
TEST_F(DirectoryRemovalTest, NoNameIsMissingInADirectoryBeforeItIsKnownWhetherItWasRemoved) {
  start();
  Result<wire::InodeId> directory = mkdir(name_);
  ASSERT_TRUE(directory);
  ASSERT_TRUE(call(wire::FreezeDirectoryRequest{.directory = directory->value, .owner = 7}));
  auto requests = [&](Nanos patience) {
    std::uint64_t parent = directory->value;
    std::vector<Result<rpc::Reply>> replies;
    replies.push_back(
        call(wire::LookupRequest{.parent = parent, .name_bytes = 1}, "a", {}, patience));
    replies.push_back(call(
        wire::OpenRequest{.parent = parent, .name_bytes = 1, .open_number = 1}, "a", {}, patience));
    replies.push_back(
        call(wire::UnlinkRequest{.parent = parent, .name_bytes = 1}, "a", {}, patience));
    replies.push_back(
        call(wire::RmdirRequest{.parent = parent, .name_bytes = 1}, "a", {}, patience));
    replies.push_back(call(wire::RenameRequest{.old_parent = parent,
                                               .new_parent = wire::kRootInode.value,
                                               .old_name_bytes = 1,
                                               .new_name_bytes = 1},
                           "a",
                           "b",
                           patience));
    return replies;
  };
  for (const Result<rpc::Reply>& reply : requests(kShort)) {
    EXPECT_NE(errno_of(reply), ENOENT);
  }
  ASSERT_TRUE(
      call(wire::ThawDirectoryRequest{.directory = directory->value, .owner = 7, .removed = 1}));
  for (const Result<rpc::Reply>& reply : requests(std::chrono::seconds(10))) {
    EXPECT_EQ(errno_of(reply), ESTALE);
  }
}

TEST_F(DirectoryRemovalTest, NothingIsMadeInARemovedDirectoryAnywhere) {
  start();
  Result<wire::InodeId> directory = mkdir(name_);
  ASSERT_TRUE(directory);
  ASSERT_EQ(rmdir(name_), 0);
  EXPECT_EQ(mkdir("a", *directory).error().to_errno(), ESTALE);
  ASSERT_TRUE(is_paid(Kind::kThaw));
  EXPECT_EQ(peer_.removals(), 1U);
}

// A later directory of the same name would be removed in its place.
TEST_F(DirectoryRemovalTest, ADirectoryIsNotRenamedWhileItIsRemoved) {
  start();
  ASSERT_TRUE(mkdir(name_));
  peer_.set(wire::Opcode::kFreezeDirectory, ScriptedPeer::Answer::kNever);
  wire::RmdirRequest body{.parent = wire::kRootInode.value,
                          .name_bytes = static_cast<std::uint16_t>(name_.size())};
  auto removal = start_call(body, name_);
  EXPECT_NE(rename(name_, name_on(testing::kSelf, "other"), kShort), 0);
  peer_.set(wire::Opcode::kFreezeDirectory, ScriptedPeer::Answer::kOk);
  ASSERT_TRUE(is_done(removal));
  EXPECT_EQ(errno_of(**removal), 0);
  EXPECT_EQ(lookup(name_).error().to_errno(), ENOENT);
  EXPECT_EQ(lookup(name_on(testing::kSelf, "other")).error().to_errno(), ENOENT);
}

TEST_F(DirectoryRemovalTest, AWaitForItNamesWhoDoesNotAnswer) {
  start();
  ASSERT_TRUE(mkdir(name_));
  peer_.set(wire::Opcode::kFreezeDirectory, ScriptedPeer::Answer::kNever);
  wire::RmdirRequest body{.parent = wire::kRootInode.value,
                          .name_bytes = static_cast<std::uint16_t>(name_.size())};
  auto removal = start_call(body, name_);
  Result<wire::EntryReply> waits = lookup(name_, std::chrono::seconds(2));
  ASSERT_FALSE(waits);
  EXPECT_TRUE(waits.error().message().contains("waits for node_1")) << waits.error().message();
  peer_.set(wire::Opcode::kFreezeDirectory, ScriptedPeer::Answer::kOk);
  ASSERT_TRUE(is_done(removal));
}

class FrozenDirectoryTest : public DirectoryRemovalTest {
 protected:
  static constexpr Nanos kPatient = std::chrono::seconds(2);

  void make() {
    start();
    Result<wire::InodeId> made = mkdir(name_);
    ASSERT_TRUE(made);
    directory_ = *made;
    put(file_, wire::InodeId::make(testing::kPeer, 9), S_IFREG);
    put(other_, wire::InodeId::make(testing::kPeer, 10), S_IFDIR);
  }
  // All that somebody may want of the directory while it is being removed.
  std::vector<Result<rpc::Reply>> requests() {
    std::uint64_t parent = directory_.value;
    std::string in_it = name_on(testing::kSelf, "a", directory_);
    auto bytes = static_cast<std::uint16_t>(in_it.size());
    std::vector<Result<rpc::Reply>> replies;
    auto ask = [&](const auto& body, std::string_view name, std::string_view second = {}) {
      replies.push_back(call(body, name, second, kPatient));
    };
    ask(wire::LookupRequest{.parent = parent, .name_bytes = bytes}, in_it);
    ask(wire::MkdirRequest{.parent = parent, .mode = 0755, .name_bytes = bytes}, in_it);
    ask(
        wire::OpenRequest{
            .parent = parent, .flags = wire::kOpenCreate, .name_bytes = bytes, .open_number = 1},
        in_it);
    ask(wire::LinkRequest{.inode = wire::InodeId::make(testing::kPeer, 9).value,
                          .parent = parent,
                          .name_bytes = bytes},
        in_it);
    ask(rename_request(file_, in_it, directory_), file_, in_it);
    return replies;
  }
  void name_the_peer(const Result<rpc::Reply>& reply) {
    ASSERT_FALSE(reply);
    EXPECT_EQ(reply.error().code, Errc::kDeadline);
    EXPECT_TRUE(reply.error().message().contains("waits for node_1")) << reply.error().message();
  }

  std::string file_ = name_on(testing::kSelf, "file");
  std::string other_ = name_on(testing::kSelf, "other");
  wire::InodeId directory_;
};

TEST_F(FrozenDirectoryTest, AWaitInItNamesWhoDoesNotAnswerItsRemoval) {
  make();
  peer_.set(wire::Opcode::kFreezeDirectory, ScriptedPeer::Answer::kNever);
  wire::RmdirRequest body{.parent = wire::kRootInode.value,
                          .name_bytes = static_cast<std::uint16_t>(name_.size())};
  auto removal = start_call(body, name_);
  for (const Result<rpc::Reply>& reply : requests()) {
    name_the_peer(reply);
  }
  name_the_peer(call(rename_request(other_, name_), other_, name_, kPatient));
  peer_.set(wire::Opcode::kFreezeDirectory, ScriptedPeer::Answer::kOk);
  ASSERT_TRUE(is_done(removal));
}

TEST_F(FrozenDirectoryTest, AWaitInItNamesWhoRemovesIt) {
  make();
  wire::FreezeDirectoryRequest freeze{
      .directory = directory_.value, .owner = 7, .shard = testing::kPeer.value};
  ASSERT_TRUE(call(freeze));
  for (const Result<rpc::Reply>& reply : requests()) {
    name_the_peer(reply);
  }
  // The same of another removal.
  name_the_peer(call(rename_request(other_, name_), other_, name_, kPatient));
  ASSERT_TRUE(call(wire::ThawDirectoryRequest{.directory = directory_.value, .owner = 7}));
  EXPECT_TRUE(mkdir("a", directory_));
}

TEST_F(FrozenDirectoryTest, NobodyRemovesItForAShardThatDoesNotExist) {
  make();
  EXPECT_FALSE(
      call(wire::FreezeDirectoryRequest{.directory = directory_.value, .owner = 7, .shard = 2}));
  EXPECT_TRUE(mkdir("a", directory_));
}

TEST_F(DirectoryRemovalTest, ADirectoryThatItsHomeLostCanBeRemoved) {
  start();
  put(name_, wire::InodeId::make(testing::kPeer, 9), S_IFDIR);
  peer_.set(wire::Opcode::kFreezeDirectory, ScriptedPeer::Answer::kStale);
  EXPECT_EQ(rmdir(name_), 0);
  EXPECT_EQ(lookup(name_).error().to_errno(), ENOENT);
}

TEST_F(DirectoryRemovalTest, ADirectoryThatAnotherShardDoesNotFreezeStays) {
  start();
  ASSERT_TRUE(mkdir(name_));  // whose home is this shard
  peer_.set(wire::Opcode::kFreezeDirectory, ScriptedPeer::Answer::kStale);
  EXPECT_NE(rmdir(name_), 0);
  EXPECT_TRUE(lookup(name_));
}

// It has forgotten the freeze, and may have made entries since.
TEST_F(DirectoryRemovalTest, AShardThatStartsAgainMeanwhileIsAskedAgain) {
  start();
  ASSERT_TRUE(mkdir(name_));
  peer_.set(wire::Opcode::kFreezeDirectory, ScriptedPeer::Answer::kNever);
  wire::RmdirRequest body{.parent = wire::kRootInode.value,
                          .name_bytes = static_cast<std::uint16_t>(name_.size())};
  auto pending = client_->start(rpc::make_call(body, name_));
  EXPECT_TRUE(
      client_->eventually([&] { return peer_.unanswered(wire::Opcode::kFreezeDirectory) == 1; }));
  run([&](net::Worker&) { service_.names->on_new_life({testing::kPeer, 2}); });
  peer_.set(wire::Opcode::kFreezeDirectory, ScriptedPeer::Answer::kOk);
  EXPECT_TRUE(client_->eventually([&] { return pending->has_value(); }));
  EXPECT_EQ(errno_of(pending->value()), 0);
  EXPECT_EQ(peer_.received(wire::Opcode::kFreezeDirectory), 2U);
}

TEST_F(DirectoryRemovalTest, ADirectoryWithEntriesHereIsRefusedWithoutAskingOthers) {
  start();
  Result<wire::InodeId> directory = mkdir(name_);
  ASSERT_TRUE(directory);
  ASSERT_TRUE(mkdir("a", *directory));
  EXPECT_EQ(rmdir(name_), ENOTEMPTY);
  EXPECT_EQ(peer_.received(wire::Opcode::kFreezeDirectory), 0U);
}

TEST_F(DirectoryRemovalTest, OneCallAtATimeProbesAShardThatDoesNotAnswer) {
  constexpr int kDirectories = 5;
  start();
  std::vector<std::string> names;
  for (int i = 0; i < kDirectories; ++i) {
    names.push_back(name_on(testing::kSelf, "d" + std::to_string(i)));
    ASSERT_TRUE(mkdir(names.back()));
  }
  peer_.set(wire::Opcode::kThawDirectory, ScriptedPeer::Answer::kNotReady);
  EXPECT_EQ(rmdir(names[0]), 0);
  EXPECT_TRUE(server_->eventually([&](rpc::Server&, net::Worker&) {
    std::vector<OwedCalls::Summary> owed = service_.names->owed();
    return !owed.empty() && owed[0].is_silent;
  }));
  peer_.set(wire::Opcode::kThawDirectory, ScriptedPeer::Answer::kNever);
  for (int i = 1; i < kDirectories; ++i) {
    EXPECT_EQ(rmdir(names[static_cast<std::size_t>(i)]), 0);
  }
  EXPECT_TRUE(server_->eventually(
      [&](rpc::Server&, net::Worker&) { return owed_now(Kind::kThaw) == kDirectories; }));
  // The freezes of the later ones came behind the thaws of the earlier ones, if those were sent.
  EXPECT_LE(peer_.most_unanswered(wire::Opcode::kThawDirectory), 1U);
  peer_.set(wire::Opcode::kThawDirectory, ScriptedPeer::Answer::kOk);
  EXPECT_TRUE(is_paid(Kind::kThaw));
}

}  // namespace
}  // namespace benchfs::server
