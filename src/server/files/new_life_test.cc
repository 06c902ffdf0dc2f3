// A shard that starts again: what it may not tell before the others know of its new life, and what
// it has lost.
#include "server/testing/files_fixture.h"

namespace benchfs::server {
namespace {

using std::chrono::milliseconds;
using testing::FilesTest;
using wire::Opcode;

constexpr Nanos kShort = milliseconds(300);

class NewLifeTest : public FilesTest {
 protected:
  static void SetUpTestSuite() {
    options_.is_back = true;
    options_.prepare = [](testing::ScriptedShard& peer) { peer.hold(Opcode::kNewLife); };
  }
  static void TearDownTestSuite() { options_ = {}; }

  Result<wire::EntryReply> stat_root(Nanos patience = std::chrono::seconds(10)) {
    return stat({.inode = wire::kRootInode.value}, patience);
  }
  Result<wire::NoReply> write(wire::InodeId inode, Nanos patience) {
    std::byte bytes[10] = {};
    wire::WriteChunkRequest body;
    body.inode = inode.value;
    body.length = sizeof(bytes);
    return shard_.call(body, {}, Deadline::after(patience), bytes);
  }
  void let_go() {
    shard_.peer(1).release(Opcode::kNewLife);
    shard_.peer(2).release(Opcode::kNewLife);
  }
};

TEST_F(NewLifeTest, NothingIsToldOfInodesBeforeTheOthersKnow) {
  wire::InodeId earlier = wire::InodeId::make(wire::ShardId{0}, 7);
  EXPECT_FALSE(stat_root(kShort).has_value());
  auto gone = stat({.inode = earlier.value}, kShort);
  ASSERT_FALSE(gone.has_value());
  EXPECT_EQ(gone.error().code, Errc::kDeadline) << gone.error().message();
  auto written = write(earlier, kShort);
  ASSERT_FALSE(written.has_value());
  EXPECT_EQ(written.error().code, Errc::kDeadline) << written.error().message();
  shard_.peer(1).release(Opcode::kNewLife);
  EXPECT_FALSE(stat_root(kShort).has_value());
  let_go();
  EXPECT_TRUE(stat_root().has_value());
  EXPECT_TRUE(write(earlier, std::chrono::seconds(10)).error().is_posix(ESTALE));
}

TEST_F(NewLifeTest, ThoseThatDoNotAnswerAreToldAgain) {
  shard_.peer(1).answer_error(Opcode::kNewLife, Error{Errc::kInternal, 0, {}});
  let_go();
  EXPECT_TRUE(shard_.eventually([&] { return shard_.peer(1).count(Opcode::kNewLife) > 3; }));
  EXPECT_FALSE(stat_root(kShort).has_value());
  shard_.peer(1).answer<wire::NewLifeRequest>({});
  EXPECT_TRUE(stat_root().has_value());
}

class NewLifeForgottenTest : public NewLifeTest {
 protected:
  static void SetUpTestSuite() {
    NewLifeTest::SetUpTestSuite();
    forgotten_ = milliseconds(100);
  }
  static void TearDownTestSuite() {
    NewLifeTest::TearDownTestSuite();
    forgotten_ = std::chrono::hours(24);
  }
};

TEST_F(NewLifeForgottenTest, NobodyWaitsLongerThanOldMarksAreTrusted) {
  EXPECT_TRUE(stat_root().has_value());
}

class LostChunksTest : public FilesTest {
 protected:
  static void SetUpTestSuite() {
    options_.is_back = true;
    options_.prepare = [](testing::ScriptedShard& peer) {
      peer.answer<wire::InodeRangeRequest>({.begin = 0, .end = 1000});
      peer.hold(Opcode::kInodeRange);
    };
  }
  static void TearDownTestSuite() { options_ = {}; }

  Result<wire::QueryChunksReply> query(std::uint64_t counter) {
    wire::QueryChunksRequest body;
    body.inode = wire::InodeId::make(wire::ShardId{1}, counter).value;
    body.chunk_bytes = 64U << 10;
    return shard_.call(body, {}, Deadline::after(kShort));
  }
};

TEST_F(LostChunksTest, AFileThatIsOlderThanTheShardIsNotEmpty) {
  EXPECT_FALSE(query(77).has_value());
  shard_.peer(1).release(Opcode::kInodeRange);
  shard_.peer(2).release(Opcode::kInodeRange);
  EXPECT_TRUE(shard_.eventually([&] { return query(1000).has_value(); }));
  auto lost = query(77);
  ASSERT_FALSE(lost.has_value());
  EXPECT_EQ(lost.error().code, Errc::kDataLost) << lost.error().message();
}

}  // namespace
}  // namespace benchfs::server
