// Renames whose other servers answer late or never, and leases that end meanwhile.

#include "server/names/renames.h"

#include "server/testing/names_fixture.h"

namespace benchfs::server {
namespace {

using testing::ScriptedPeer;
using Kind = OwedCalls::Kind;

constexpr Nanos kShort = std::chrono::milliseconds(100);
// Enough for the call to begin.
constexpr Nanos kSecond = std::chrono::seconds(1);

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

TEST_F(RenamesTest, TheOldNameStaysWhenTheOtherShardHasSaidThatTheNewOneIsNotThere) {
  start();
  put(from_, moved_, S_IFREG);
  rename_to_silent_peer();
  EXPECT_FALSE(lookup(from_, kShort));
  peer_.set_installed(false);
  peer_.set(wire::Opcode::kSettleInstall, ScriptedPeer::Answer::kOk);
  Result<wire::EntryReply> found = lookup(from_);
  ASSERT_TRUE(found) << found.error().message();
  EXPECT_EQ(found->attr.id(), moved_);
  EXPECT_TRUE(is_paid(Kind::kRename));
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

// --- Directories ---------------------------------------------------------------------------------

class DirectoryRenamesTest : public RenamesTest {
 protected:
  // A directory whose home is the peer is about to be moved into another one of this shard.
  void make_directories() {
    put(from_, moved_, S_IFDIR);
    Result<wire::InodeId> made = mkdir(name_on(testing::kSelf, "parent"));
    ASSERT_TRUE(made);
    parent_ = *made;
    to_ = "new";
    while (cluster::entry_shard(parent_, to_, 2) != testing::kSelf) {
      to_ += "x";
    }
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
  bool is_done() {
    return client_->eventually([&] { return pending_->has_value(); }) && pending_->value();
  }
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

// No other directory moves while the home of one does not know where it is.
TEST_F(DirectoryRenamesTest, TheLeaseIsExtendedUntilTheHomeOfTheDirectoryKnows) {
  constexpr Nanos kLease = std::chrono::milliseconds(300);
  start({.rename_lease = kLease});
  make_directories();
  peer_.set(wire::Opcode::kSetParent, ScriptedPeer::Answer::kNever);
  start_rename();
  Deadline deadline = Deadline::after(3 * kLease);
  while (!deadline.passed()) {
    ASSERT_FALSE(lock_renames());
  }
  peer_.set(wire::Opcode::kSetParent, ScriptedPeer::Answer::kOk);
  EXPECT_TRUE(is_done());
  Deadline end = Deadline::after(std::chrono::seconds(10));
  while (!lock_renames() && !end.passed()) {
  }
  EXPECT_FALSE(end.passed());
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
  constexpr Nanos kDay = std::chrono::hours(24);
  start({.directory_lease = kDay});
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

}  // namespace
}  // namespace benchfs::server
