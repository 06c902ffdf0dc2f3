// Renames whose other servers answer late or never, and leases that end meanwhile.

#include "server/names/renames.h"

#include "server/testing/names_fixture.h"

namespace benchfs::server {
namespace {

using testing::ScriptedPeer;
using Kind = OwedCalls::Kind;

using testing::kShort;
// Enough for the call to begin.
constexpr Nanos kSecond = std::chrono::seconds(1);
// Enough for the answer to come.
constexpr Nanos kPatient = std::chrono::seconds(2);

class RenamesTest : public testing::NamesTest {
 protected:
  // The peer neither answers the installation of a new name nor what became of it, and the caller
  // gives up.
  void rename_to_silent_peer() {
    run([&](net::Worker&) { ASSERT_TRUE(service_.store->find(wire::kRootInode, from_)); });
    peer_.set(wire::Opcode::kInstallEntry, ScriptedPeer::Answer::kNever);
    peer_.set(wire::Opcode::kSettleInstall, ScriptedPeer::Answer::kNever);
    EXPECT_NE(rename(from_, to_, kSecond), 0);
    EXPECT_TRUE(server_->eventually([&](rpc::Server&, net::Worker&) {
      std::vector<OwedCalls::Summary> owed = service_.names->owed();
      return owed.size() == 1 && owed[0].counts[static_cast<std::size_t>(Kind::kRename)] == 1;
    }));
  }
  // Nothing is owed any more, and the old name leads to this inode.
  void expect_settled(wire::InodeId inode) {
    Result<wire::EntryReply> found = lookup(from_);
    ASSERT_TRUE(found) << found.error().message();
    EXPECT_EQ(found->attr.id(), inode);
    EXPECT_TRUE(is_paid(Kind::kRename));
  }

  std::string from_ = name_on(testing::kSelf, "from");
  std::string to_ = name_on(testing::kPeer, "to");
  wire::InodeId moved_ = wire::InodeId::make(testing::kPeer, 9);
};

TEST_F(RenamesTest, TheOldNameIsLockedUntilTheOtherShardHasSaidThatTheNewOneIsThere) {
  start();
  put(from_, moved_, S_IFREG);
  rename_to_silent_peer();
  EXPECT_NE(lookup(from_, kShort).error().to_errno(), ENOENT);
  peer_.set_installed(true);
  peer_.set(wire::Opcode::kSettleInstall, ScriptedPeer::Answer::kOk);
  EXPECT_EQ(lookup(from_).error().to_errno(), ENOENT);
  EXPECT_TRUE(is_paid(Kind::kRename));
}

// As from all others: the client does not know any more that it is to forget them.
TEST_F(RenamesTest, WhatItsClientMayUseIsCalledBackIfItGoesOnAfterItsAnswer) {
  start();
  put(from_, moved_, S_IFREG);
  wire::LookupRequest look_up{.parent = wire::kRootInode.value,
                              .name_bytes = static_cast<std::uint16_t>(from_.size()),
                              .flags = wire::kLookupLease};
  ASSERT_EQ(call(look_up, from_).value().as<wire::EntryReply>()->flags & wire::kEntryLeased,
            wire::kEntryLeased);
  rename_to_silent_peer();
  peer_.set_installed(true);
  peer_.set(wire::Opcode::kSettleInstall, ScriptedPeer::Answer::kOk);
  EXPECT_EQ(lookup(from_).error().to_errno(), ENOENT);
  run([&](net::Worker&) { EXPECT_EQ(service_.names->lease_stats(LeaseKind::kName).recalled, 1U); });
}

TEST_F(RenamesTest, AWaitForTheOldNameNamesWhoDoesNotAnswer) {
  start();
  put(from_, moved_, S_IFREG);
  rename_to_silent_peer();
  Result<wire::EntryReply> waits = lookup(from_, kPatient);
  ASSERT_FALSE(waits);
  EXPECT_TRUE(waits.error().message().contains("waits for node_1")) << waits.error().message();
  peer_.set(wire::Opcode::kSettleInstall, ScriptedPeer::Answer::kOk);
  EXPECT_TRUE(is_paid(Kind::kRename));
}

TEST_F(RenamesTest, TheOldNameStaysWhenTheOtherShardHasSaidThatTheNewOneIsNotThere) {
  start();
  put(from_, moved_, S_IFREG);
  rename_to_silent_peer();
  EXPECT_FALSE(lookup(from_, kShort));
  peer_.set_installed(false);
  peer_.set(wire::Opcode::kSettleInstall, ScriptedPeer::Answer::kOk);
  expect_settled(moved_);
}

TEST_F(RenamesTest, TheQuestionWhatBecameOfItIsRepeated) {
  start();
  put(from_, moved_, S_IFREG);
  peer_.set(wire::Opcode::kInstallEntry, ScriptedPeer::Answer::kNever);
  peer_.set(wire::Opcode::kSettleInstall, ScriptedPeer::Answer::kNotReady);
  EXPECT_NE(rename(from_, to_, kSecond), 0);
  EXPECT_TRUE(
      peer_.eventually([&] { return peer_.received_now(wire::Opcode::kSettleInstall) > 3; }));
  peer_.set_installed(true);
  peer_.set(wire::Opcode::kSettleInstall, ScriptedPeer::Answer::kOk);
  EXPECT_EQ(lookup(from_).error().to_errno(), ENOENT);
}

TEST_F(RenamesTest, EveryOperationOnTheOldNameWaitsUntilItIsKnownWhatBecameOfIt) {
  start();
  put(from_, moved_, S_IFREG);
  rename_to_silent_peer();
  std::uint64_t root = wire::kRootInode.value;
  auto bytes = static_cast<std::uint16_t>(from_.size());
  auto other = static_cast<std::uint16_t>(to_.size());
  std::vector<Result<rpc::Reply>> replies;
  auto ask = [&](const auto& body, std::string_view second = {}) {
    replies.push_back(call(body, from_, second, kShort));
  };
  ask(wire::LookupRequest{.parent = root, .name_bytes = bytes});
  ask(wire::OpenRequest{
      .parent = root, .flags = wire::kOpenCreate, .name_bytes = bytes, .open_number = 1});
  ask(wire::MkdirRequest{.parent = root, .name_bytes = bytes});
  ask(wire::UnlinkRequest{.parent = root, .name_bytes = bytes});
  ask(wire::RmdirRequest{.parent = root, .name_bytes = bytes});
  ask(
      wire::RenameRequest{
          .old_parent = root, .new_parent = root, .old_name_bytes = bytes, .new_name_bytes = other},
      to_);
  for (const Result<rpc::Reply>& reply : replies) {
    ASSERT_FALSE(reply);
    EXPECT_EQ(reply.error().code, Errc::kDeadline) << reply.error().message();
  }
  peer_.set_installed(true);
  peer_.set(wire::Opcode::kSettleInstall, ScriptedPeer::Answer::kOk);
  EXPECT_EQ(lookup(from_).error().to_errno(), ENOENT);
}

// --- Exchanges -----------------------------------------------------------------------------------

class ExchangesTest : public RenamesTest {
 protected:
  // Both names lead to files of the peer; the exchange gets no answer.
  rpc::testing::Client::Pending start_unanswered() {
    put(from_, moved_, S_IFREG);
    peer_.set_other(other_, S_IFREG);
    peer_.set(wire::Opcode::kInstallEntry, ScriptedPeer::Answer::kNever);
    peer_.set(wire::Opcode::kSettleInstall, ScriptedPeer::Answer::kNever);
    request_ = rename_request(from_, to_);
    request_.flags = wire::kRenameExchange;
    auto pending = client_->start(rpc::make_call(request_, from_, to_), Deadline::after(kSecond));
    EXPECT_TRUE(is_done(pending));
    EXPECT_FALSE(**pending);
    return pending;
  }

  wire::InodeId other_ = wire::InodeId::make(testing::kPeer, 10);
  wire::RenameRequest request_;
};

TEST_F(ExchangesTest, TheOldNameGetsWhatTheNewOneHadWhenTheOtherShardHasSaidThatItWasDone) {
  start();
  start_unanswered();
  EXPECT_NE(lookup(from_, kShort).error().to_errno(), ENOENT);
  peer_.set_installed(true);
  peer_.set(wire::Opcode::kSettleInstall, ScriptedPeer::Answer::kOk);
  expect_settled(other_);
  std::vector<wire::InodeId> dropped;
  run([&](net::Worker&) { dropped = service_.door->dropped; });
  EXPECT_TRUE(dropped.empty());
}

TEST_F(ExchangesTest, TheOldNameStaysWhenTheOtherShardHasSaidThatItWasNotDone) {
  start();
  start_unanswered();
  peer_.set_installed(false);
  peer_.set(wire::Opcode::kSettleInstall, ScriptedPeer::Answer::kOk);
  expect_settled(moved_);
}

TEST_F(ExchangesTest, BothFlagsAtOnceAreRefused) {
  start();
  put(from_, moved_, S_IFREG);
  peer_.set_other(other_, S_IFREG);
  wire::RenameRequest body = rename_request(from_, to_);
  body.flags = wire::kRenameExchange | wire::kRenameNoReplace;
  Result<rpc::Reply> refused = call(body, from_, to_);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::kMalformed);
  EXPECT_EQ(peer_.received(wire::Opcode::kInstallEntry), 0U);
}

// Its new place may be below what takes its old one.
TEST_F(ExchangesTest, NeitherDirectoryMovesBelowItself) {
  start();
  from_ = name_on(testing::kSelf, "d");
  Result<wire::InodeId> directory = mkdir(from_);
  ASSERT_TRUE(directory);
  to_ = name_on(testing::kSelf, "below", *directory);
  Result<wire::InodeId> below = mkdir(to_, *directory);
  ASSERT_TRUE(below);
  wire::RenameRequest down = rename_request(from_, to_, *directory);
  down.flags = wire::kRenameExchange;
  EXPECT_EQ(errno_of(call(down, from_, to_)), EINVAL);
  wire::RenameRequest up = rename_request(to_, from_);
  up.old_parent = directory->value;
  up.flags = wire::kRenameExchange;
  EXPECT_EQ(errno_of(call(up, to_, from_)), EINVAL);
  EXPECT_EQ(lookup(from_)->attr.id(), *directory);
}

// --- Directories ---------------------------------------------------------------------------------

class DirectoryRenamesTest : public RenamesTest {
 protected:
  // A directory whose home is the peer is about to be moved into another one of this shard.
  void make_directories() {
    put(from_, moved_, S_IFDIR);
    Result<wire::InodeId> made = mkdir(name_on(self_, "parent"));
    ASSERT_TRUE(made);
    parent_ = *made;
    to_ = name_on(self_, "new", parent_);
  }
  // Returns when the new name is there; what follows may take longer.
  void start_rename() {
    request_ = rename_request(from_, to_, parent_);
    pending_ = client_->start(rpc::make_call(request_, from_, to_));
    EXPECT_FALSE(lookup(name_on(testing::kSelf, "absent")));  // the request has left
    EXPECT_TRUE(server_->eventually([&](rpc::Server&, net::Worker&) {
      return service_.store->find(parent_, to_).has_value();
    }));
  }
  bool is_done() { return NamesTest::is_done(pending_) && pending_->value(); }
  wire::InodeId parent_of(wire::InodeId directory) {
    wire::InodeId parent;
    run([&](net::Worker&) {
      parent = wire::InodeId{service_.store->attr(directory).value().parent};
    });
    return parent;
  }

  wire::InodeId parent_;
  wire::RenameRequest request_;
  rpc::testing::Client::Pending pending_;
};

TEST_F(DirectoryRenamesTest, TheHomeOfADirectoryIsToldUntilItHasAnsweredThatItMoved) {
  start();
  make_directories();
  peer_.set(wire::Opcode::kSetParent, ScriptedPeer::Answer::kNotReady);
  start_rename();
  EXPECT_TRUE(peer_.eventually([&] { return peer_.received_now(wire::Opcode::kSetParent) > 3; }));
  EXPECT_EQ(owed(Kind::kParent), 1U);
  peer_.set(wire::Opcode::kSetParent, ScriptedPeer::Answer::kOk);
  EXPECT_TRUE(is_paid(Kind::kParent));
  EXPECT_TRUE(is_done());
  EXPECT_EQ(lookup(from_).error().to_errno(), ENOENT);
}

// Shard 0 would keep all directories where they are until the lease ends.
TEST_F(RenamesTest, TheEndOfALeaseIsOwedToShardZero) {
  self_ = testing::kPeer;
  start();
  from_ = name_on(self_, "from");
  to_ = name_on(self_, "to");
  put(from_, moved_, S_IFDIR);
  peer_.set(wire::Opcode::kUnlockRenames, ScriptedPeer::Answer::kNotReady);
  EXPECT_EQ(rename(from_, to_), 0);
  EXPECT_TRUE(
      peer_.eventually([&] { return peer_.received_now(wire::Opcode::kUnlockRenames) > 3; }));
  EXPECT_EQ(owed(Kind::kRename), 1U);
  peer_.set(wire::Opcode::kUnlockRenames, ScriptedPeer::Answer::kOk);
  EXPECT_TRUE(is_paid(Kind::kRename));
}

TEST_F(DirectoryRenamesTest, ALaterOwnerOfTheLeaseGetsAHigherNumber) {
  start();
  std::uint64_t last = 0;
  for (std::uint64_t owner : {7U, 8U, 7U}) {
    Result<rpc::Reply> reply = call(wire::LockRenamesRequest{.owner = owner, .lease_ms = 0});
    ASSERT_TRUE(reply);
    std::uint64_t move = reply->as<wire::LockRenamesReply>()->move;
    EXPECT_GT(move, last);
    reply = call(wire::LockRenamesRequest{.owner = owner, .lease_ms = 0});
    EXPECT_EQ(reply->as<wire::LockRenamesReply>()->move, move);  // extended
    last = move;
  }
}

TEST_F(DirectoryRenamesTest, ALaterLifeOfShardZeroGoesOnWithHigherNumbers) {
  auto before = static_cast<std::uint64_t>(wall_now_ns());
  start();
  Result<rpc::Reply> reply = call(wire::LockRenamesRequest{.owner = 7, .lease_ms = 0});
  ASSERT_TRUE(reply);
  EXPECT_GE(reply->as<wire::LockRenamesReply>()->move, before);
}

TEST_F(DirectoryRenamesTest, TheLeaseIsGivenBackWhenTheDirectoryHasMoved) {
  start({.rename_lease = std::chrono::hours(24)});
  make_directories();
  EXPECT_EQ(rename(from_, to_, std::chrono::seconds(10), parent_), 0);
  EXPECT_TRUE(lock_renames());
}

TEST_F(DirectoryRenamesTest, NobodyElseEndsALease) {
  constexpr std::uint32_t kHourMs = 3'600'000;
  start();
  ASSERT_TRUE(call(wire::LockRenamesRequest{.owner = 7, .lease_ms = kHourMs}));
  ASSERT_TRUE(call(wire::UnlockRenamesRequest{.owner = 8}));
  EXPECT_FALSE(lock_renames(9));
  ASSERT_TRUE(call(wire::UnlockRenamesRequest{.owner = 7}));
  EXPECT_TRUE(lock_renames(9));
}

TEST_F(DirectoryRenamesTest, AWaitForTheLeaseNamesWhoHasIt) {
  constexpr std::uint32_t kHourMs = 3'600'000;
  start();
  put(from_, moved_, S_IFDIR);
  to_ = name_on(testing::kSelf, "new");
  ASSERT_TRUE(call(
      wire::LockRenamesRequest{.owner = 7, .lease_ms = kHourMs, .shard = testing::kPeer.value}));
  Result<rpc::Reply> waits = call(rename_request(from_, to_), from_, to_, kPatient);
  ASSERT_FALSE(waits);
  EXPECT_EQ(waits.error().code, Errc::kDeadline);
  EXPECT_TRUE(waits.error().message().contains("waits for a directory rename of node_1"))
      << waits.error().message();
  Result<rpc::Reply> by_another =
      call(wire::LockRenamesRequest{.owner = 9, .lease_ms = 1, .shard = testing::kSelf.value});
  ASSERT_FALSE(by_another);
  EXPECT_TRUE(by_another.error().message().contains("node_1")) << by_another.error().message();
  EXPECT_EQ(call(wire::LockRenamesRequest{.owner = 9, .lease_ms = 1, .shard = 2}).error().code,
            Errc::kMalformed);
  ASSERT_TRUE(call(wire::UnlockRenamesRequest{.owner = 7}));
  EXPECT_EQ(rename(from_, to_), 0);
}

TEST_F(DirectoryRenamesTest, ADirectoryDoesNotMoveBelowItself) {
  start();
  from_ = name_on(testing::kSelf, "d");
  Result<wire::InodeId> directory = mkdir(from_);
  ASSERT_TRUE(directory);
  Result<wire::InodeId> below = mkdir(name_on(testing::kSelf, "below", *directory), *directory);
  ASSERT_TRUE(below);
  to_ = name_on(testing::kSelf, "new", *below);
  EXPECT_EQ(rename(from_, to_, std::chrono::seconds(10), *below), EINVAL);
  EXPECT_TRUE(lookup(from_));
}

// Others may move directories afterwards, and what was checked would not hold.
TEST_F(DirectoryRenamesTest, TheStepThatMovesIsGivenUpBeforeTheLeaseEnds) {
  start({.rename_lease = kSecond});
  put(from_, moved_, S_IFDIR);
  peer_.set(wire::Opcode::kInstallEntry, ScriptedPeer::Answer::kNever);
  peer_.set(wire::Opcode::kSettleInstall, ScriptedPeer::Answer::kNever);
  request_ = rename_request(from_, to_);
  pending_ = start_call(request_, from_, to_);
  EXPECT_TRUE(
      peer_.eventually([&] { return peer_.received_now(wire::Opcode::kSettleInstall) > 0; }));
  peer_.set_installed(true);
  peer_.set(wire::Opcode::kSettleInstall, ScriptedPeer::Answer::kOk);
  EXPECT_TRUE(is_done());
}

TEST_F(DirectoryRenamesTest, AWaitForTheOldNameNamesWhoDoesNotSayWhereTheNewPlaceIs) {
  start();
  put(from_, moved_, S_IFDIR);
  parent_ = wire::InodeId::make(testing::kPeer, 77);
  to_ = name_on(testing::kSelf, "new", parent_);
  peer_.set(wire::Opcode::kGetAttr, ScriptedPeer::Answer::kNever);
  request_ = rename_request(from_, to_, parent_);
  pending_ = start_call(request_, from_, to_);
  EXPECT_TRUE(peer_.eventually([&] { return peer_.unanswered_now(wire::Opcode::kGetAttr) == 1; }));
  Result<wire::EntryReply> waits = lookup(from_, kPatient);
  ASSERT_FALSE(waits);
  EXPECT_TRUE(waits.error().message().contains("waits for node_1")) << waits.error().message();
  peer_.set(wire::Opcode::kGetAttr, ScriptedPeer::Answer::kStale);
  ASSERT_TRUE(NamesTest::is_done(pending_));
  EXPECT_EQ(errno_of(**pending_), ESTALE);
}

TEST_F(DirectoryRenamesTest, AWaitForTheOldNameNamesTheHomeThatDoesNotKnowOfTheMove) {
  start();
  make_directories();
  peer_.set(wire::Opcode::kSetParent, ScriptedPeer::Answer::kNever);
  start_rename();
  EXPECT_TRUE(
      peer_.eventually([&] { return peer_.unanswered_now(wire::Opcode::kSetParent) == 1; }));
  Result<wire::EntryReply> waits = lookup(from_, kPatient);
  ASSERT_FALSE(waits);
  EXPECT_TRUE(waits.error().message().contains("waits for node_1")) << waits.error().message();
  peer_.set(wire::Opcode::kSetParent, ScriptedPeer::Answer::kOk);
  EXPECT_TRUE(is_done());
}

TEST_F(DirectoryRenamesTest, ALateMessageAboutAnEarlierMoveDoesNotCount) {
  start();
  Result<wire::InodeId> directory = mkdir(name_on(testing::kSelf, "d"));
  ASSERT_TRUE(directory);
  wire::SetParentRequest later;
  later.inode = directory->value;
  later.parent = 1001;
  later.move = 2;
  wire::SetParentRequest earlier = later;
  earlier.parent = 1000;
  earlier.move = 1;
  ASSERT_TRUE(call(later));
  ASSERT_TRUE(call(earlier));
  EXPECT_EQ(parent_of(*directory), wire::InodeId{1001});
}

TEST_F(DirectoryRenamesTest, AClientWithALeaseOnTheOldNameIsWaitedFor) {
  constexpr Nanos kLongLease = std::chrono::hours(24);
  start({.directory_lease = kLongLease});
  make_directories();
  rpc::testing::Client holder("holder", addresses());
  wire::LookupRequest body{.parent = wire::kRootInode.value,
                           .name_bytes = static_cast<std::uint16_t>(from_.size())};
  ASSERT_TRUE(holder.call(rpc::make_call(body, from_)));
  start_rename();
  EXPECT_NE(lookup(from_, kShort).error().to_errno(), ENOENT);
  Deadline end = Deadline::after(std::chrono::seconds(10));
  while (!pending_->has_value() && !end.passed()) {
    (void)holder.ping();  // it reads the notice when that has come, and acknowledges
    (void)client_->ping();
  }
  EXPECT_TRUE(is_done());
  EXPECT_EQ(lookup(from_).error().to_errno(), ENOENT);
}

TEST_F(DirectoryRenamesTest, WaitForWhatAnEarlierLifeOfTheShardGranted) {
  constexpr Nanos kLease = std::chrono::milliseconds(500);
  MonoTime before = mono_now();
  start({.rename_lease = kLease, .directory_lease = 2 * kLease, .had_earlier_life = true});
  make_directories();
  EXPECT_EQ(rename(from_, to_, std::chrono::seconds(10), parent_), 0);
  EXPECT_GE(mono_now() - before, 2 * kLease);
}

TEST_F(DirectoryRenamesTest, TheLeaseOnRenamesOfAnEarlierLifeRunsOutFirst) {
  constexpr Nanos kLease = std::chrono::milliseconds(500);
  MonoTime before = mono_now();
  start({.rename_lease = kLease, .had_earlier_life = true});
  Deadline end = Deadline::after(std::chrono::seconds(10));
  while (!lock_renames() && !end.passed()) {
  }
  EXPECT_GE(mono_now() - before, kLease);
}

// --- Directories, with the peer as shard 0 -------------------------------------------------------

class LeaseFromPeerTest : public DirectoryRenamesTest {
 protected:
  // A rename of a directory waits for the lease.
  void start_without_lease(Nanos lease) {
    self_ = testing::kPeer;
    start({.rename_lease = lease});
    from_ = name_on(self_, "from");
    moved_ = wire::InodeId::make(testing::kSelf, 9);
    make_directories();
    peer_.set(wire::Opcode::kLockRenames, ScriptedPeer::Answer::kNever);
    request_ = rename_request(from_, to_, parent_);
    pending_ = start_call(request_, from_, to_);
    EXPECT_TRUE(
        peer_.eventually([&] { return peer_.unanswered_now(wire::Opcode::kLockRenames) == 1; }));
  }
  void grant() { peer_.set(wire::Opcode::kLockRenames, ScriptedPeer::Answer::kOk); }
  // When most of a second is over since the question.
  void grant_late() {
    BootTime late = boot_now() + kSecond * 4 / 5;
    EXPECT_TRUE(client_->eventually([&] { return boot_now() >= late; }));
    grant();
  }
};

// Shard 0 answers late: what is left does not do for the step, and the lease is extended first.
TEST_F(LeaseFromPeerTest, IsCountedFromBeforeItWasAskedFor) {
  start_without_lease(kSecond);
  grant_late();
  EXPECT_TRUE(is_done());
  EXPECT_GE(peer_.received(wire::Opcode::kLockRenames), 2U);
}

// It ended, another owner had it, and the extension is a new one.
TEST_F(LeaseFromPeerTest, ThatBeganAnewIsNotTheOneUnderWhichWasChecked) {
  peer_.number_leases();
  start_without_lease(kSecond);
  grant_late();
  EXPECT_TRUE(is_done());
  EXPECT_GE(peer_.received(wire::Opcode::kLockRenames), 3U);
}

// No other directory moves while the home of one does not know where it is.
TEST_F(LeaseFromPeerTest, IsExtendedUntilTheHomeOfTheDirectoryKnows) {
  start_without_lease(3 * kSecond);
  peer_.set(wire::Opcode::kSetParent, ScriptedPeer::Answer::kNever);
  grant();
  EXPECT_TRUE(
      peer_.eventually([&] { return peer_.unanswered_now(wire::Opcode::kSetParent) == 1; }));
  std::size_t before = peer_.received(wire::Opcode::kLockRenames);
  EXPECT_TRUE(peer_.eventually(
      [&] { return peer_.received_now(wire::Opcode::kLockRenames) >= before + 2; }));
  EXPECT_EQ(peer_.received(wire::Opcode::kUnlockRenames), 0U);
  peer_.set(wire::Opcode::kSetParent, ScriptedPeer::Answer::kOk);
  EXPECT_TRUE(is_done());
  EXPECT_TRUE(
      peer_.eventually([&] { return peer_.received_now(wire::Opcode::kUnlockRenames) > 0; }));
}

// The other operation may wait for long, and no other directory could be renamed.
TEST_F(LeaseFromPeerTest, NobodyWaitsForAnEntryWithTheLease) {
  start_without_lease(std::chrono::hours(24));
  peer_.set(wire::Opcode::kFreezeDirectory, ScriptedPeer::Answer::kNever);
  wire::RmdirRequest body{.parent = wire::kRootInode.value,
                          .name_bytes = static_cast<std::uint16_t>(from_.size())};
  auto removal = start_call(body, from_);
  EXPECT_TRUE(
      peer_.eventually([&] { return peer_.unanswered_now(wire::Opcode::kFreezeDirectory) == 1; }));
  grant();
  EXPECT_TRUE(
      peer_.eventually([&] { return peer_.received_now(wire::Opcode::kUnlockRenames) > 0; }));
  EXPECT_FALSE(removal->has_value());
  peer_.set(wire::Opcode::kFreezeDirectory, ScriptedPeer::Answer::kOk);
  ASSERT_TRUE(NamesTest::is_done(removal));
  EXPECT_EQ(errno_of(**removal), 0);
  ASSERT_TRUE(NamesTest::is_done(pending_));
  EXPECT_EQ(errno_of(**pending_), ENOENT);
}

TEST_F(LeaseFromPeerTest, AnEntryThatChangedMeanwhileMovesAsWhatItIs) {
  start_without_lease(std::chrono::hours(24));
  put(from_, wire::InodeId::make(testing::kSelf, 10), S_IFREG);
  grant();
  EXPECT_TRUE(is_done());
  EXPECT_EQ(peer_.received(wire::Opcode::kSetParent), 0U);
}

}  // namespace
}  // namespace benchfs::server
