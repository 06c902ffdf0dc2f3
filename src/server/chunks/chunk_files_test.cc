// A chunk shard and the home of a file, which is scripted: no byte is stored that the home does not
// know of, and none comes back that was cut.
#include "server/chunks/chunk_files.h"

#include <gtest/gtest.h>

#include "server/testing/shard_under_test.h"

namespace benchfs::server {
namespace {

constexpr std::uint32_t kChunkBytes = 64U << 10;
constexpr wire::InodeId kFile = wire::InodeId::make(wire::ShardId{1}, 77);
constexpr wire::InodeId kOther = wire::InodeId::make(wire::ShardId{1}, 78);

class ChunkFilesTest : public ::testing::Test {
 protected:
  ChunkFilesTest() { know(0); }

  // The home answers marks with this truncation, and a cut under way if there is one.
  void know(std::uint64_t truncation, std::uint64_t cut_size = wire::MarkReply::kNoCut) {
    wire::MarkReply reply;
    reply.life = life_;
    reply.truncation = truncation;
    reply.cut_size = cut_size;
    reply.chunk_bytes = kChunkBytes;
    home().answer<wire::MarkRequest>(reply);
  }
  testing::ScriptedShard& home() { return shard_.peer(1); }
  std::size_t marks() { return home().count(wire::Opcode::kMark); }

  Result<wire::NoReply> write(wire::InodeId inode = kFile,
                              std::uint64_t index = 0,
                              std::uint64_t truncation = wire::kAnyTruncation,
                              Nanos patience = std::chrono::seconds(10)) {
    wire::WriteChunkRequest body;
    body.inode = inode.value;
    body.index = index;
    body.length = sizeof(bytes_);
    body.truncation = truncation;
    return shard_.call(body, {}, Deadline::after(patience), bytes_);
  }
  Result<wire::NoReply> cut(std::uint64_t truncation, std::uint32_t flags = 0) {
    wire::TruncateChunksRequest body;
    body.inode = kFile.value;
    body.truncation = truncation;
    body.chunk_bytes = kChunkBytes;
    body.flags = flags;
    return shard_.call(body);
  }
  wire::QueryChunksReply query(std::uint32_t flags = 0, wire::InodeId inode = kFile) {
    wire::QueryChunksRequest body;
    body.inode = inode.value;
    body.chunk_bytes = kChunkBytes;
    body.flags = flags;
    auto reply = shard_.call(body);
    EXPECT_TRUE(reply.has_value()) << reply.error().message();
    return reply.value_or(wire::QueryChunksReply{});
  }
  // A write that does not end before the home answers.
  rpc::testing::Client::Pending start_write() {
    pending_.inode = kFile.value;
    pending_.length = sizeof(bytes_);
    rpc::Call call = rpc::make_call(pending_);
    call.data = bytes_;
    return shard_.client().start(call);
  }

  std::uint64_t life_ = 5;  // of the home
  std::byte bytes_[100] = {};
  wire::WriteChunkRequest pending_;
  testing::ShardUnderTest shard_{{.peers = 1, .tweak = [](ShardConfig& config) {
                                    config.mark_times.trust = trust_;
                                    config.mark_times.renew = renew_;
                                  }}};
  static inline Nanos trust_ = std::chrono::hours(1);
  static inline Nanos renew_ = std::chrono::hours(1);
};

TEST_F(ChunkFilesTest, NoByteIsStoredBeforeTheHomeKnows) {
  home().hold(wire::Opcode::kMark);
  auto waits = write(kFile, 0, wire::kAnyTruncation, std::chrono::milliseconds(300));
  ASSERT_FALSE(waits.has_value());
  EXPECT_EQ(query().end, 0U);
  home().release(wire::Opcode::kMark);
  EXPECT_TRUE(write().has_value());
  EXPECT_EQ(query().end, sizeof(bytes_));
}

TEST_F(ChunkFilesTest, AWriteThatWaitsForTheHomeNamesIt) {
  home().hold(wire::Opcode::kMark);
  auto waits = write(kFile, 0, wire::kAnyTruncation, std::chrono::seconds(2));
  ASSERT_FALSE(waits.has_value());
  EXPECT_TRUE(waits.error().message().contains("waiting until node_1")) << waits.error().message();
  home().release(wire::Opcode::kMark);
}

TEST_F(ChunkFilesTest, OneMarkServesAllWritesOfAFile) {
  for (std::uint64_t index = 0; index < 10; ++index) {
    ASSERT_TRUE(write(kFile, index).has_value());
  }
  EXPECT_EQ(marks(), 1U);
  ASSERT_TRUE(write(kOther).has_value());
  EXPECT_EQ(marks(), 2U);
}

TEST_F(ChunkFilesTest, OneMarkOfAFileIsUnderWay) {
  home().hold(wire::Opcode::kMark);
  auto first = start_write();
  ASSERT_TRUE(shard_.eventually([&] { return marks() == 1; }));
  auto waits = write(kFile, 1, wire::kAnyTruncation, std::chrono::milliseconds(300));
  EXPECT_FALSE(waits.has_value());
  EXPECT_EQ(marks(), 1U);
  home().release(wire::Opcode::kMark);
  ASSERT_TRUE(shard_.eventually([&] { return first->has_value(); }));
  EXPECT_TRUE((*first)->has_value());
  EXPECT_EQ(marks(), 1U);
}

TEST_F(ChunkFilesTest, AppendsAndPlainWritesAreMarkedApart) {
  ASSERT_TRUE(write(kFile, 0, 0).has_value());
  ASSERT_TRUE(write(kFile, 1, 0).has_value());
  ASSERT_EQ(marks(), 1U);
  EXPECT_EQ(home().received<wire::MarkRequest>()[0].flags, wire::kMarkAppend);
  ASSERT_TRUE(write(kFile, 2).has_value());
  ASSERT_EQ(marks(), 2U);
  EXPECT_EQ(home().received<wire::MarkRequest>()[1].flags, 0U);
}

// Rules 1 and 2: the write is sent again, and the answer from before the cut counts for nothing.
TEST_F(ChunkFilesTest, ACutOvertakesAWriteThatWaits) {
  home().hold(wire::Opcode::kMark);
  auto pending = start_write();
  ASSERT_TRUE(shard_.eventually([&] { return marks() == 1; }));
  ASSERT_TRUE(cut(1).has_value());
  know(1);
  home().release(wire::Opcode::kMark);
  ASSERT_TRUE(shard_.eventually([&] { return pending->has_value(); }));
  EXPECT_TRUE((*pending)->has_value());
  EXPECT_EQ(marks(), 2U);
  EXPECT_EQ(query().end, sizeof(bytes_));
}

// Rule 3.
TEST_F(ChunkFilesTest, TheAnswerToAMarkBringsACutUnderWay) {
  ASSERT_TRUE(write(kFile, 0).has_value());
  ASSERT_GT(query(wire::kQueryClear).stamp, 0U);
  know(1, 0);
  ASSERT_TRUE(write(kFile, 1).has_value());
  EXPECT_EQ(query().chunk_count, 1U);
  EXPECT_EQ(query().end, kChunkBytes + sizeof(bytes_));
}

// Rule 4.
TEST_F(ChunkFilesTest, ALateCopyOfACutDoesNotCutNewBytes) {
  ASSERT_TRUE(write().has_value());
  ASSERT_TRUE(cut(2).has_value());
  EXPECT_EQ(query().end, 0U);
  know(2);
  ASSERT_TRUE(write().has_value());
  ASSERT_TRUE(cut(2).has_value());
  ASSERT_TRUE(cut(1).has_value());
  EXPECT_EQ(query().end, sizeof(bytes_));
  ASSERT_TRUE(cut(3).has_value());
  EXPECT_EQ(query().end, 0U);
}

// The mark is settled, and the bytes lie here.
TEST_F(ChunkFilesTest, TheNumberOfTheLastCutIsKeptWithTheChunks) {
  know(2);
  ASSERT_TRUE(write().has_value());
  ASSERT_GT(query(wire::kQueryClear).stamp, 0U);
  ASSERT_TRUE(cut(2).has_value());
  EXPECT_EQ(query().end, sizeof(bytes_));
}

TEST_F(ChunkFilesTest, AnAppendFromBeforeACutIsRefused) {
  know(3);
  auto refused = write(kFile, 0, 2);
  ASSERT_FALSE(refused.has_value());
  EXPECT_TRUE(refused.error().is_posix(EAGAIN)) << refused.error().message();
  EXPECT_TRUE(write(kFile, 0, 3).has_value());
}

// The home said what the cut leaves of it before this shard had heard of the cut.
TEST_F(ChunkFilesTest, WhatACutHasLeftOfAnAppendMayComeBeforeTheCut) {
  ASSERT_TRUE(write(kFile, 0, 0).has_value());
  ASSERT_TRUE(write(kFile, 1, 0).has_value());
  ASSERT_TRUE(write(kFile, 0, 1).has_value());
  wire::TruncateChunksRequest body{
      .inode = kFile.value, .size = sizeof(bytes_), .truncation = 1, .chunk_bytes = kChunkBytes};
  ASSERT_TRUE(shard_.call(body).has_value());
  EXPECT_EQ(query().end, sizeof(bytes_));
  EXPECT_TRUE(write(kFile, 1, 0).error().is_posix(EAGAIN));
}

TEST_F(ChunkFilesTest, AFileThatIsGoneTakesNoBytes) {
  ASSERT_TRUE(write().has_value());
  ASSERT_TRUE(cut(0, wire::kTruncateGone).has_value());
  home().answer_error(wire::Opcode::kMark, Error::from_errno(ESTALE));
  auto refused = write();
  ASSERT_FALSE(refused.has_value());
  EXPECT_TRUE(refused.error().is_posix(ESTALE)) << refused.error().message();
  EXPECT_EQ(query().chunk_count, 0U);
}

// Rule 5; the second query is that of a home that lost the answer to the first.
TEST_F(ChunkFilesTest, AClearedMarkIsAskedForAnew) {
  ASSERT_TRUE(write().has_value());
  std::uint64_t sent = home().received<wire::MarkRequest>().at(0).stamp;
  EXPECT_EQ(query().stamp, 0U);
  EXPECT_GE(query(wire::kQueryClear).stamp, sent);
  EXPECT_GE(query(wire::kQueryClear).stamp, sent);
  ASSERT_TRUE(write().has_value());
  ASSERT_EQ(marks(), 2U);
  EXPECT_GT(home().received<wire::MarkRequest>().at(1).stamp, sent);
}

TEST_F(ChunkFilesTest, AMarkIsNotClearedWhileAWriteIsUnderWay) {
  home().hold(wire::Opcode::kMark);
  auto pending = start_write();
  ASSERT_TRUE(shard_.eventually([&] { return marks() == 1; }));
  EXPECT_EQ(query(wire::kQueryClear).stamp, 0U);
  home().release(wire::Opcode::kMark);
  ASSERT_TRUE(shard_.eventually([&] { return pending->has_value(); }));
  EXPECT_EQ(marks(), 1U);
}

TEST_F(ChunkFilesTest, ANewLifeOfTheHomeEndsWhatItHadBefore) {
  ASSERT_TRUE(write(kFile).has_value());
  ASSERT_TRUE(write(kOther).has_value());
  wire::NewLifeRequest life;
  life.life = 5;
  life.shard = 1;
  ASSERT_TRUE(shard_.call(life).has_value());  // known
  EXPECT_EQ(query().end, sizeof(bytes_));
  life.life = 6;
  ASSERT_TRUE(shard_.call(life).has_value());
  EXPECT_TRUE(shard_.eventually([&] { return query().chunk_count == 0; }));
  EXPECT_TRUE(shard_.eventually([&] { return query(0, kOther).chunk_count == 0; }));
}

// The home settled the file after it had taken the mark.
TEST_F(ChunkFilesTest, TheAnswerToAMarkThatWasClearedMeanwhileCountsForNothing) {
  home().hold(wire::Opcode::kMark);
  EXPECT_FALSE(write(kFile, 0, wire::kAnyTruncation, std::chrono::milliseconds(300)).has_value());
  ASSERT_TRUE(shard_.eventually([&] { return query(wire::kQueryClear).stamp > 0; }));
  home().release(wire::Opcode::kMark);
  ASSERT_TRUE(write().has_value());
  EXPECT_EQ(marks(), 2U);
}

TEST_F(ChunkFilesTest, AnAnswerOfAnEarlierLifeOfTheHomeCountsForNothing) {
  ASSERT_TRUE(write(kOther).has_value());
  wire::NewLifeRequest life;
  life.life = 6;
  life.shard = 1;
  ASSERT_TRUE(shard_.call(life).has_value());
  auto pending = start_write();
  ASSERT_TRUE(shard_.eventually([&] { return marks() > 3; }));
  EXPECT_FALSE(pending->has_value());
  life_ = 6;
  know(0);
  ASSERT_TRUE(shard_.eventually([&] { return pending->has_value(); }));
  EXPECT_TRUE((*pending)->has_value());
}

class ChunkFilesRenewTest : public ChunkFilesTest {
 protected:
  static void SetUpTestSuite() { renew_ = Nanos::zero(); }
  static void TearDownTestSuite() { renew_ = std::chrono::hours(1); }
};

TEST_F(ChunkFilesRenewTest, AMarkIsRenewedWhileTheOldAnswerIsTrusted) {
  ASSERT_TRUE(write().has_value());
  home().hold(wire::Opcode::kMark);
  EXPECT_TRUE(write().has_value());
  EXPECT_TRUE(shard_.eventually([&] { return marks() == 2; }));
}

class ChunkFilesTrustTest : public ChunkFilesTest {
 protected:
  static void SetUpTestSuite() { trust_ = std::chrono::milliseconds(50); }
  static void TearDownTestSuite() { trust_ = std::chrono::hours(1); }
};

TEST_F(ChunkFilesTrustTest, AnAnswerIsTrustedFromWhenItWasAskedFor) {
  home().hold(wire::Opcode::kMark);
  auto pending = start_write();
  ASSERT_TRUE(shard_.eventually([&] { return marks() == 1; }));
  BootTime asked = boot_now();
  ASSERT_TRUE(shard_.eventually([&] { return boot_now() - asked > 2 * trust_; }));
  home().release(wire::Opcode::kMark);
  ASSERT_TRUE(shard_.eventually([&] { return pending->has_value(); }));
  EXPECT_TRUE((*pending)->has_value());
  EXPECT_GE(marks(), 2U);
}

// I4: a home that cannot be asked any more may have told somebody that the file is gone.
TEST_F(ChunkFilesTrustTest, AnOldAnswerIsNotTrusted) {
  ASSERT_TRUE(write().has_value());
  home().hold(wire::Opcode::kMark);
  BootTime written = boot_now();
  ASSERT_TRUE(shard_.eventually([&] { return boot_now() - written > 2 * trust_; }));
  auto waits = write(kFile, 1, wire::kAnyTruncation, std::chrono::milliseconds(300));
  EXPECT_FALSE(waits.has_value());
  home().release(wire::Opcode::kMark);
  EXPECT_TRUE(write(kFile, 1).has_value());
}

}  // namespace
}  // namespace benchfs::server
