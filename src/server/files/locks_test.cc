// Locks of files at their home.
#include <cerrno>
#include <memory>

#include "server/files/file_locks.h"
#include "server/testing/files_fixture.h"

namespace benchfs::server {
namespace {

using std::chrono::seconds;
using testing::kWrite;
using wire::LockMode;
using wire::Opcode;

constexpr auto kNone = static_cast<std::uint32_t>(LockMode::kNone);
constexpr auto kExclusive = static_cast<std::uint32_t>(LockMode::kExclusive);

class LocksTest : public testing::FilesTest {
 protected:
  static wire::LockRequest wanted(wire::Attr file, std::uint64_t owner, LockMode mode) {
    wire::LockRequest body;
    body.inode = file.inode;
    body.owner = owner;
    body.mode = static_cast<std::uint32_t>(mode);
    body.pid = static_cast<std::uint32_t>(1000 + owner);
    return body;
  }
  // What is in the way.
  std::uint32_t lock(const wire::LockRequest& body) {
    auto reply = shard_.call(body);
    EXPECT_TRUE(reply.has_value()) << reply.error().message();
    return reply.value_or(wire::LockReply{.mode = UINT32_MAX}).mode;
  }
  rpc::testing::Client::Pending start(const wire::LockRequest& body) {
    return shard_.client().start(rpc::make_call(body), Deadline::after(seconds(10)));
  }
  bool is_waiting() { return shard_.eventually_in_stats(R"("waiting":1)"); }
  std::uint32_t answer(const rpc::testing::Client::Pending& pending) {
    EXPECT_TRUE(shard_.eventually([&] { return pending->has_value(); }));
    Result<wire::LockReply> reply = (**pending)->as<wire::LockReply>();
    EXPECT_TRUE(reply);
    return reply ? reply->mode : UINT32_MAX;
  }
  std::unique_ptr<rpc::testing::Client> another_client() {
    return std::make_unique<rpc::testing::Client>(
        "another", std::vector<net::SocketAddress>{shard_.address()});
  }

  wire::Attr file_ = create(shard_.local_name("f"), 1);
};

TEST_F(LocksTest, WhoComesSecondIsToldWhatIsInTheWay) {
  wire::LockRequest first = wanted(file_, 1, LockMode::kExclusive);
  first.begin = 10;
  first.end = 20;
  EXPECT_EQ(lock(first), kNone);
  wire::LockRequest second = wanted(file_, 2, LockMode::kShared);
  second.flags = wire::kLockTest;
  auto reply = shard_.call(second);
  ASSERT_TRUE(reply.has_value());
  EXPECT_EQ(reply->mode, kExclusive);
  EXPECT_EQ(reply->begin, 10U);
  EXPECT_EQ(reply->end, 20U);
  EXPECT_EQ(reply->pid, 1001U);
  second.flags = 0;
  EXPECT_EQ(lock(second), kExclusive);
  second.begin = 20;
  EXPECT_EQ(lock(second), kNone);
}

TEST_F(LocksTest, ATestLocksNothing) {
  wire::LockRequest test = wanted(file_, 1, LockMode::kExclusive);
  test.flags = wire::kLockTest;
  EXPECT_EQ(lock(test), kNone);
  EXPECT_EQ(lock(wanted(file_, 2, LockMode::kExclusive)), kNone);
}

TEST_F(LocksTest, LocksOfFlockAndOfFcntlDoNotSeeEachOther) {
  wire::LockRequest whole = wanted(file_, 1, LockMode::kExclusive);
  whole.flags = wire::kLockWholeFile;
  EXPECT_EQ(lock(whole), kNone);
  EXPECT_EQ(lock(wanted(file_, 2, LockMode::kExclusive)), kNone);
  whole.owner = 3;
  EXPECT_EQ(lock(whole), kExclusive);
}

TEST_F(LocksTest, WhoWaitsGetsTheLockWhenItEnds) {
  EXPECT_EQ(lock(wanted(file_, 1, LockMode::kExclusive)), kNone);
  wire::LockRequest second = wanted(file_, 2, LockMode::kExclusive);
  second.flags = wire::kLockWait;
  auto pending = start(second);
  ASSERT_TRUE(is_waiting());
  EXPECT_EQ(lock(wanted(file_, 1, LockMode::kNone)), kNone);
  EXPECT_EQ(answer(pending), kNone);
  EXPECT_EQ(lock(wanted(file_, 1, LockMode::kShared)), kExclusive);
}

TEST_F(LocksTest, AReaderThatWaitsGetsTheLockWhenItBecomesShared) {
  EXPECT_EQ(lock(wanted(file_, 1, LockMode::kExclusive)), kNone);
  wire::LockRequest second = wanted(file_, 2, LockMode::kShared);
  second.flags = wire::kLockWait;
  auto pending = start(second);
  ASSERT_TRUE(is_waiting());
  EXPECT_EQ(lock(wanted(file_, 1, LockMode::kShared)), kNone);
  EXPECT_EQ(answer(pending), kNone);
}

TEST_F(LocksTest, AWaitEndsAfterAWhile) {
  EXPECT_EQ(lock(wanted(file_, 1, LockMode::kExclusive)), kNone);
  wire::LockRequest second = wanted(file_, 2, LockMode::kShared);
  second.flags = wire::kLockWait;
  EXPECT_EQ(lock(second), kExclusive);
  EXPECT_TRUE(shard_.eventually_in_stats(R"("held":1,"waiting":0)"));
}

TEST_F(LocksTest, TheLocksOfAClientThatLeavesEnd) {
  auto other = another_client();
  wire::LockRequest body = wanted(file_, 1, LockMode::kExclusive);
  ASSERT_TRUE(other->call(rpc::make_call(body)));
  EXPECT_EQ(lock(body), kExclusive) << "an owner's number is the client's";
  body.flags = wire::kLockWait;
  auto pending = start(body);
  ASSERT_TRUE(is_waiting());
  other.reset();
  EXPECT_EQ(answer(pending), kNone);
}

// Nobody would ever unlock it.
TEST_F(LocksTest, AClientThatLeftWhileItWaitedGetsNoLock) {
  EXPECT_EQ(lock(wanted(file_, 1, LockMode::kExclusive)), kNone);
  wire::LockRequest body = wanted(file_, 1, LockMode::kExclusive);
  body.flags = wire::kLockWait;
  rpc::Call call = rpc::make_call(body);
  auto other = another_client();
  auto pending = other->start(call);
  ASSERT_TRUE(other->eventually(
      [&] { return shard_.stats().find(R"("held":1,"waiting":1)") != std::string::npos; }));
  other.reset();
  EXPECT_EQ(lock(wanted(file_, 1, LockMode::kNone)), kNone);
  EXPECT_TRUE(shard_.eventually_in_stats(R"("held":0,"waiting":0)"));
  EXPECT_EQ(lock(wanted(file_, 2, LockMode::kExclusive)), kNone);
}

// An open file that clients share: number 1 of shard_.client(), which opened it.
class SharedOpenFile : public LocksTest {
 protected:
  wire::LockRequest shared(LockMode mode, std::uint32_t flags = 0) {
    wire::LockRequest body = wanted(file_, 1, mode);
    body.flags = wire::kLockWholeFile | wire::kLockShared | flags;
    body.opener_uid = opener_uid_;
    return body;
  }
  // What is in the way of a client that does not share it.
  std::uint32_t others_see() {
    wire::LockRequest body = wanted(file_, 9, LockMode::kExclusive);
    body.flags = wire::kLockWholeFile | wire::kLockTest;
    return lock(body);
  }
  static void ask(rpc::testing::Client& client, const wire::LockRequest& body) {
    auto reply = client.call(rpc::make_call(body));
    ASSERT_TRUE(reply.has_value()) << reply.error().message();
    auto answer = reply->as<wire::LockReply>();
    ASSERT_TRUE(answer.has_value());
    EXPECT_EQ(answer->mode, kNone);
  }

  std::uint64_t opener_uid_ = shard_.client().pool().identity().uid;
};

TEST_F(SharedOpenFile, IsLockedOnceForAll) {
  auto other = another_client();
  ask(*other, shared(LockMode::kExclusive));
  EXPECT_EQ(others_see(), kExclusive);
  ask(shard_.client(), shared(LockMode::kExclusive));
  ask(*other, shared(LockMode::kShared));
  ask(shard_.client(), shared(LockMode::kNone));
  EXPECT_EQ(others_see(), kNone);
}

TEST_F(SharedOpenFile, StaysLockedForWhoOpenedIt) {
  auto other = another_client();
  ask(*other, shared(LockMode::kExclusive));
  other.reset();
  EXPECT_EQ(others_see(), kExclusive);
  ASSERT_TRUE(close(1));
  EXPECT_TRUE(shard_.eventually_in_stats(R"("held":0,"waiting":0)"));
}

TEST_F(SharedOpenFile, StaysLockedUntilTheLastHasLeft) {
  auto locker = another_client();
  auto heir = std::make_unique<rpc::testing::Client>(
      "heir", std::vector<net::SocketAddress>{shard_.address()});
  ask(*locker, shared(LockMode::kExclusive));
  ask(*heir, shared(LockMode::kNone, wire::kLockJoin));
  ask(shard_.client(), shared(LockMode::kNone, wire::kLockLeave));
  ask(*locker, shared(LockMode::kNone, wire::kLockLeave));
  EXPECT_EQ(others_see(), kExclusive);
  heir.reset();
  EXPECT_TRUE(shard_.eventually_in_stats(R"("held":0,"waiting":0)"));
  EXPECT_EQ(others_see(), kNone);
}

TEST_F(SharedOpenFile, IsLeftByTheClientThatAProcessWasBefore) {
  auto locker = another_client();
  auto later = std::make_unique<rpc::testing::Client>(
      "later", std::vector<net::SocketAddress>{shard_.address()});
  ask(*locker, shared(LockMode::kExclusive));
  ask(shard_.client(), shared(LockMode::kNone, wire::kLockLeave));
  wire::LockRequest join = shared(LockMode::kNone, wire::kLockJoin);
  join.former_uid = locker->pool().identity().uid;
  ask(*later, join);
  ask(*later, shared(LockMode::kNone, wire::kLockLeave));
  EXPECT_EQ(others_see(), kNone);
}

// Nobody would say that it has closed it.
TEST_F(SharedOpenFile, IsNotSharedByAClientThatDoesNotHaveItOpen) {
  auto other = another_client();
  wire::LockRequest lie = shared(LockMode::kExclusive);
  lie.owner = 77;
  ask(*other, lie);
  other.reset();
  EXPECT_TRUE(shard_.eventually_in_stats(R"("held":0,"waiting":0)"));
}

TEST_F(SharedOpenFile, EndsWhenItsOpenerSaysThatItHasItNoMore) {
  auto other = another_client();
  ask(*other, shared(LockMode::kExclusive));
  other.reset();
  EXPECT_EQ(others_see(), kExclusive);
  wire::OpensNotice opens;
  opens.from = 1;
  opens.to = 2;
  ASSERT_TRUE(shard_.notify(opens));
  EXPECT_TRUE(shard_.eventually_in_stats(R"("held":0,"waiting":0)"));
}

TEST_F(SharedOpenFile, EndsWithTheFile) {
  auto other = another_client();
  ask(*other, shared(LockMode::kExclusive));
  ASSERT_TRUE(unlink(shard_.local_name("f")).has_value());
  ASSERT_TRUE(close(1));
  EXPECT_TRUE(shard_.eventually_in_stats(R"("held":0,"waiting":0)"));
}

class LocksOfAClientThatIsAway : public LocksTest {
 protected:
  static void SetUpTestSuite() { client_grace_ = std::chrono::milliseconds(300); }
  static void TearDownTestSuite() { client_grace_ = std::chrono::seconds(30); }
  void set_capacity(std::uint32_t clients) {
    wire::SetCapacityRequest body;
    body.max_clients = clients;
    ASSERT_TRUE(shard_.call(body).has_value());
  }
};

// An evicted client keeps what it has open for a day, but others may wait for its locks.
TEST_F(LocksOfAClientThatIsAway, EndAndItIsToldWhenItComesBack) {
  auto other = another_client();
  wire::LockRequest body = wanted(file_, 1, LockMode::kExclusive);
  rpc::Call call = rpc::make_call(body);
  ASSERT_TRUE(other->call(call));
  set_capacity(1);
  EXPECT_TRUE(shard_.eventually_in_stats(R"("held":0,"waiting":0)"));
  EXPECT_EQ(lock(body), kNone);
  set_capacity(2);
  ASSERT_TRUE(other->ping());
  EXPECT_EQ(other->connection().grant().flags & wire::kRegisterRemembered, 0U);
}

TEST_F(LocksTest, TheLocksOfAClientThatComesBackInTimeStay) {
  auto other = another_client();
  wire::LockRequest body = wanted(file_, 1, LockMode::kExclusive);
  rpc::Call call = rpc::make_call(body);
  ASSERT_TRUE(other->call(call));
  wire::SetCapacityRequest capacity;
  capacity.max_clients = 1;
  ASSERT_TRUE(shard_.call(capacity).has_value());
  capacity.max_clients = 2;
  ASSERT_TRUE(shard_.call(capacity).has_value());
  ASSERT_TRUE(other->ping());
  EXPECT_NE(other->connection().grant().flags & wire::kRegisterRemembered, 0U);
  EXPECT_EQ(lock(body), kExclusive);
}

TEST_F(LocksTest, AFileThatEndsTakesItsLocksAlong) {
  EXPECT_EQ(lock(wanted(file_, 1, LockMode::kExclusive)), kNone);
  ASSERT_TRUE(unlink(shard_.local_name("f")).has_value());
  EXPECT_EQ(lock(wanted(file_, 1, LockMode::kShared)), kNone) << "it is still open";
  ASSERT_TRUE(close(1));
  EXPECT_TRUE(shard_.eventually_in_stats(R"("held":0,"waiting":0)"));
  auto gone = shard_.call(wanted(file_, 1, LockMode::kShared));
  ASSERT_FALSE(gone.has_value());
  EXPECT_EQ(gone.error().to_errno(), ENOENT);
}

TEST_F(LocksTest, ARequestThatLiesIsRefused) {
  wire::LockRequest good = wanted(file_, 1, LockMode::kShared);
  for (auto lie :
       {+[](wire::LockRequest& body) { body.end = body.begin; },
        +[](wire::LockRequest& body) { body.begin = body.end; },
        +[](wire::LockRequest& body) { body.mode = 3; },
        +[](wire::LockRequest& body) { body.flags = 64; },
        +[](wire::LockRequest& body) { body.flags = wire::kLockJoin; },
        +[](wire::LockRequest& body) { body.flags = wire::kLockShared | wire::kLockLeave; },
        +[](wire::LockRequest& body) {
          body.flags = wire::kLockShared | wire::kLockJoin | wire::kLockLeave;
          body.mode = 0;
        }}) {
    wire::LockRequest body = good;
    lie(body);
    auto refused = shard_.call(body);
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().code, Errc::kMalformed);
  }
  EXPECT_EQ(lock(good), kNone);
}

TEST_F(LocksTest, ThereIsABound) {
  FileLocks locks;
  wire::LockRequest body = wanted(file_, 1, LockMode::kExclusive);
  for (std::uint64_t i = 0; i < FileLocks::kMaxLocks; ++i) {
    body.inode = 100 + i / 64;
    body.begin = 2 * (i % 64);
    body.end = body.begin + 1;
    auto done = locks.carry_out(body, 1);
    if (!done) {
      EXPECT_TRUE(done.error().is_posix(ENOLCK));
      break;
    }
  }
  EXPECT_GE(locks.stats().held, FileLocks::kMaxLocks - 2);
  EXPECT_LE(locks.stats().held, FileLocks::kMaxLocks);
  EXPECT_FALSE(locks.carry_out(wanted(file_, 2, LockMode::kShared), 1));
  locks.drop_client(1);
  EXPECT_EQ(locks.stats().held, 0U);
  body.flags = wire::kLockShared | wire::kLockJoin;
  body.mode = kNone;
  for (std::uint64_t i = 0; i < FileLocks::kMaxLocks; ++i) {
    body.inode = 100 + i / 64;
    body.owner = i;
    ASSERT_TRUE(locks.carry_out(body, 1));
  }
  ++body.owner;
  EXPECT_FALSE(locks.carry_out(body, 1)) << "there is a bound of sharers, too";
  locks.drop_client(1);
  EXPECT_TRUE(locks.carry_out(wanted(file_, 2, LockMode::kShared), 1));
}

}  // namespace
}  // namespace benchfs::server
