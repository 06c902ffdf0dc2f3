// Locks against a scripted home.
#include "client/io/file_locks.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <vector>

#include "client/testing/scripted_shard.h"

namespace benchfs::client {
namespace {

using testing::ClientUnderTest;
using testing::entry;
using testing::fail_with;
using testing::file_attr;
using testing::kFile;
using testing::reply;
using testing::ScriptedShard;
using wire::LockMode;
using wire::Opcode;

constexpr LockOwner kOwner{.number = 7};
constexpr FileLocks::Wanted kExclusive{.mode = LockMode::kExclusive};
constexpr wire::LockReply kDone{};
constexpr wire::LockReply kInTheWay{.begin = 1, .end = 2, .mode = 2, .pid = 3};

class FileLocksTest : public ::testing::Test {
 protected:
  FileLocksTest() {
    shard_.script(Opcode::kOpenInode, {entry(file_attr(kFile))});
    shard_.script(Opcode::kInodeRange, {reply(wire::InodeRangeReply{1, 1000})});
    shard_.script(Opcode::kLock, {reply(kDone)});
  }
  LockMode lock(ClientUnderTest& client, FileLocks::Wanted wanted, LockOwner owner = kOwner) {
    auto done = client.run(client.fs().locks().lock(kFile, owner, wanted, false));
    EXPECT_TRUE(done) << done.error().message();
    return done ? static_cast<LockMode>(done->mode) : LockMode::kNone;
  }
  std::size_t requests() { return shard_.requests<wire::LockRequest>().size(); }

  ScriptedShard shard_;
};

TEST_F(FileLocksTest, WhoHasNoneAsksNobodyToUnlock) {
  ClientUnderTest client({&shard_});
  EXPECT_EQ(lock(client, {}), LockMode::kNone);
  client.run(client.fs().locks().release(kFile, kOwner));
  EXPECT_EQ(requests(), 0U);
}

TEST_F(FileLocksTest, AReleaseUnlocksEverythingOnce) {
  ClientUnderTest client({&shard_});
  EXPECT_EQ(lock(client, kExclusive), LockMode::kNone);
  EXPECT_TRUE(client.fs().locks().may_hold(kFile, kOwner));
  EXPECT_FALSE(client.fs().locks().may_hold(kFile, {.number = 7, .is_whole_file = true}));
  client.run(client.fs().locks().release(kFile, kOwner));
  client.run(client.fs().locks().release(kFile, kOwner));
  auto asked = shard_.requests<wire::LockRequest>();
  ASSERT_EQ(asked.size(), 2U);
  EXPECT_EQ(asked[1].mode, 0U);
  EXPECT_EQ(asked[1].begin, 0U);
  EXPECT_EQ(asked[1].end, wire::kLockToEnd);
  EXPECT_FALSE(client.fs().locks().may_hold(kFile, kOwner));
}

// It would end while the program computes, and another client would get it.
TEST_F(FileLocksTest, NothingIsLockedThatNobodyCanKeep) {
  shard_.script(Opcode::kLock, {reply(kDone)});
  ClientUnderTest client({&shard_});
  int attempts = 0;
  client.fs().on_kept_driven(
      [&]() -> Status { return ++attempts == 1 ? fail_system(EAGAIN, "no thread") : Status{}; });
  auto refused = client.run(client.fs().locks().lock(kFile, kOwner, kExclusive, false));
  EXPECT_TRUE(refused.error().is_posix(ENOLCK)) << refused.error().message();
  EXPECT_EQ(requests(), 0U);
  EXPECT_EQ(lock(client, kExclusive), LockMode::kNone);
  EXPECT_EQ(lock(client, kExclusive), LockMode::kNone);
  EXPECT_EQ(attempts, 2);
}

TEST_F(FileLocksTest, ALockThatIsInTheWayLeavesNothingBehind) {
  shard_.script(Opcode::kLock, {reply(kInTheWay)});
  ClientUnderTest client({&shard_});
  EXPECT_EQ(lock(client, kExclusive), LockMode::kExclusive);
  EXPECT_FALSE(client.fs().locks().may_hold(kFile, kOwner));
}

// Another client may have locked for it.
TEST_F(FileLocksTest, ASharedOpenFileIsUnlockedAndLeftByWhoHasNotLockedIt) {
  constexpr LockOwner kShared{.number = 7, .opener_uid = 9};
  ClientUnderTest client({&shard_});
  EXPECT_EQ(lock(client, {}, kShared), LockMode::kNone);
  ASSERT_TRUE(client.run(client.fs().locks().join(kFile, kShared, 5)));
  client.run(client.fs().locks().release(kFile, kShared));
  client.run(client.fs().locks().release(kFile, kShared));
  auto asked = shard_.requests<wire::LockRequest>();
  ASSERT_EQ(asked.size(), 4U);
  EXPECT_EQ(asked[0].flags, wire::kLockShared);
  EXPECT_EQ(asked[0].opener_uid, 9U);
  EXPECT_EQ(asked[1].flags, wire::kLockShared | wire::kLockJoin);
  EXPECT_EQ(asked[1].former_uid, 5U);
  EXPECT_EQ(asked[2].flags, wire::kLockShared | wire::kLockLeave);
  EXPECT_EQ(asked[3].flags, wire::kLockShared | wire::kLockLeave);
}

// A door may use the number of an owner again at once.
TEST_F(FileLocksTest, WhatIsOwedEndsBeforeTheOwnerLocksAgain) {
  shard_.script(Opcode::kLock, {reply(kDone), fail_with(Errc::kInternal), reply(kDone)});
  ClientUnderTest client({&shard_}, Timeouts::all(std::chrono::milliseconds(300)));
  EXPECT_EQ(lock(client, kExclusive), LockMode::kNone);
  client.run(client.fs().locks().release(kFile, kOwner));
  EXPECT_EQ(lock(client, kExclusive), LockMode::kNone);
  auto asked = shard_.requests<wire::LockRequest>();
  ASSERT_GE(asked.size(), 4U);
  EXPECT_EQ(asked.back().mode, 2U);
  EXPECT_EQ(asked[asked.size() - 2].mode, 0U);
  EXPECT_TRUE(client.fs().locks().may_hold(kFile, kOwner));
}

// The home grants it after it has executed the release; the answers may arrive in any order.
TEST_F(FileLocksTest, WhatIsLockedDuringAReleaseIsReleasedLater) {
  shard_.script(Opcode::kLock,
                {reply(kDone), shard_.late(reply(kDone)), shard_.late(reply(kDone)), reply(kDone)});
  ClientUnderTest client({&shard_});
  EXPECT_EQ(lock(client, kExclusive), LockMode::kNone);
  auto granted = client.start(client.fs().locks().lock(kFile, kOwner, kExclusive, true));
  ASSERT_TRUE(client.eventually([&] { return requests() == 2; }));
  auto pending = client.start([](FileLocks& locks) -> rt::Task<int> {
    co_await locks.release(kFile, kOwner);
    co_return 0;
  }(client.fs().locks()));
  ASSERT_TRUE(client.eventually([&] { return requests() == 3; }));
  shard_.release();
  ASSERT_TRUE(client.eventually([&] { return granted->has_value() && pending->has_value(); }));
  EXPECT_TRUE(client.fs().locks().may_hold(kFile, kOwner));
  client.run(client.fs().locks().release(kFile, kOwner));
  EXPECT_EQ(requests(), 4U);
  EXPECT_FALSE(client.fs().locks().may_hold(kFile, kOwner));
}

TEST_F(FileLocksTest, AFewRequestsWaitAtTheServerTheOthersAskAgain) {
  shard_.script(Opcode::kLock, {shard_.late(reply(kDone))});
  ClientUnderTest client({&shard_});
  std::vector<std::shared_ptr<std::optional<Result<wire::LockReply>>>> calls;
  for (std::uint64_t i = 0; i < 12; ++i) {
    calls.push_back(client.start(client.fs().locks().lock(kFile, {.number = i}, kExclusive, true)));
  }
  ASSERT_TRUE(client.eventually([&] { return requests() == 12; }));
  shard_.release();
  for (const auto& call : calls) {
    EXPECT_TRUE(client.eventually([&] { return call->has_value(); }));
  }
  auto asked = shard_.requests<wire::LockRequest>();
  EXPECT_EQ(std::ranges::count(asked, std::uint32_t{wire::kLockWait}, &wire::LockRequest::flags),
            8);
}

// Another program may have had the lock meanwhile, and changed what it protects.
TEST_F(FileLocksTest, AHomeThatForgotTheClientMakesLockedFilesStale) {
  ClientUnderTest client({&shard_});
  auto open = client.run(client.fs().open(kFile, wire::kOpenRead));
  auto other = client.run(client.fs().open(kFile, wire::kOpenRead));
  ASSERT_TRUE(open && other);
  EXPECT_EQ(lock(client, kExclusive), LockMode::kNone);
  shard_.forget_client();
  ASSERT_TRUE(client.eventually([&] { return shard_.count("registered") == 2; }));
  for (const auto& file : {*open, *other}) {
    auto read = client.run(client.fs().fstat(*file));
    ASSERT_FALSE(read);
    EXPECT_EQ(read.error().to_errno(), EIO);
    EXPECT_NE(read.error().message().find("locks"), std::string::npos) << read.error().message();
  }
}

// Its grace for locks is short, whatever it is for opens.
TEST_F(FileLocksTest, AHomeThatEvictedTheClientIsConnectedAgain) {
  ClientUnderTest client({&shard_});
  EXPECT_EQ(lock(client, kExclusive), LockMode::kNone);
  shard_.evict();
  EXPECT_TRUE(client.eventually([&] { return shard_.count("registered") == 2; }));
}

TEST_F(FileLocksTest, AHomeThatForgotTheClientLeavesUnlockedFilesAlone) {
  shard_.script(Opcode::kLock, {reply(kDone), reply(kDone), reply(kInTheWay)});
  shard_.script(Opcode::kGetAttr, {entry(file_attr(kFile))});
  ClientUnderTest client({&shard_});
  auto open = client.run(client.fs().open(kFile, wire::kOpenRead));
  ASSERT_TRUE(open);
  EXPECT_EQ(lock(client, kExclusive), LockMode::kNone);
  EXPECT_EQ(lock(client, {}), LockMode::kNone);
  EXPECT_EQ(lock(client, kExclusive), LockMode::kExclusive);
  shard_.forget_client();
  ASSERT_TRUE(client.eventually([&] { return shard_.count("registered") == 2; }));
  EXPECT_TRUE(client.run(client.fs().fstat(**open)));
}

}  // namespace
}  // namespace benchfs::client
