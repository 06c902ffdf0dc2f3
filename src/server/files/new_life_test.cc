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
  void know_homes(std::uint64_t later = 1000) {
    shard_.peer(1).release(Opcode::kInodeRange);
    shard_.peer(2).release(Opcode::kInodeRange);
    EXPECT_TRUE(shard_.eventually([&] { return query(later).has_value(); }));
  }
  bool is_cut(std::uint64_t counter, std::uint64_t size, std::uint32_t flags = 0) {
    wire::TruncateChunksRequest cut;
    cut.inode = wire::InodeId::make(wire::ShardId{1}, counter).value;
    cut.size = size;
    cut.truncation = 1;
    cut.chunk_bytes = 64U << 10;
    cut.flags = flags;
    return shard_.call(cut).has_value();
  }
  // Shard 1 says that it started again.
  bool home_comes_back(std::uint64_t first_counter) {
    return shard_.call(wire::NewLifeRequest{.life = 2, .first_counter = first_counter, .shard = 1})
        .has_value();
  }
  // What may not take a file of shard 1 for empty, but for reads: the error of one such request.
  static constexpr int kKinds = 5;
  Errc error_of(int kind, std::uint64_t counter) {
    std::uint64_t inode = wire::InodeId::make(wire::ShardId{1}, counter).value;
    auto error = [&](const auto& body) {
      auto reply = shard_.client().call(rpc::make_call(body));
      return reply ? Errc::kOk : reply.error().code;
    };
    switch (kind) {
      case 0:
        return error(wire::QueryChunksRequest{.inode = inode, .chunk_bytes = 64U << 10});
      case 1:
        return error(wire::FsyncChunksRequest{.inode = inode});
      case 2:
        return error(wire::ListChunksRequest{.inode = inode, .max_count = 1});
      case 3:
        return error(wire::LocateChunkRequest{.inode = inode});
      default:
        return error(wire::PunchChunkRequest{.inode = inode, .length = 10});
    }
  }
};

// Whether the bytes of an inode are refused because they may be lost.
Errc read_error(testing::ShardUnderTest& shard, std::uint32_t home, std::uint64_t counter) {
  wire::ReadChunkRequest body;
  body.inode = wire::InodeId::make(wire::ShardId{home}, counter).value;
  std::byte bytes[10] = {};
  body.length = sizeof(bytes);
  rpc::Call call = rpc::make_call(body);
  call.into = bytes;
  auto read = shard.client().call(call);
  return read ? Errc::kOk : read.error().code;
}

TEST_F(LostChunksTest, AFileThatIsOlderThanTheShardIsNotEmpty) {
  EXPECT_FALSE(query(77).has_value());
  know_homes();
  auto lost = query(77);
  ASSERT_FALSE(lost.has_value());
  EXPECT_EQ(lost.error().code, Errc::kDataLost) << lost.error().message();
}

TEST_F(LostChunksTest, NeitherAreFilesOfAnEarlierLifeOfTheirHome) {
  shard_.peer(1).answer<wire::InodeRangeRequest>({.begin = 500, .end = 1000});
  know_homes();
  EXPECT_EQ(read_error(shard_, 1, 77), Errc::kDataLost);
  EXPECT_EQ(read_error(shard_, 1, std::uint64_t{1} << 40), Errc::kDataLost);
  EXPECT_EQ(read_error(shard_, 1, 777), Errc::kDataLost);
  EXPECT_EQ(read_error(shard_, 1, 1000), Errc::kOk);
  ASSERT_TRUE(home_comes_back(500));  // late: of the same life
  EXPECT_EQ(read_error(shard_, 1, 777), Errc::kDataLost);
}

TEST_F(LostChunksTest, NoOperationTakesAFileThatMayBeLostForEmpty) {
  know_homes();
  for (int kind = 0; kind < kKinds; ++kind) {
    EXPECT_EQ(error_of(kind, 77), Errc::kDataLost) << kind;
  }
  std::byte bytes[10] = {};
  wire::WriteChunkRequest write;
  write.inode = wire::InodeId::make(wire::ShardId{1}, 77).value;
  write.length = sizeof(bytes);
  auto written = shard_.call(write, {}, Deadline::after(std::chrono::seconds(10)), bytes);
  ASSERT_FALSE(written.has_value());
  EXPECT_EQ(written.error().code, Errc::kDataLost) << written.error().message();
  wire::BeginFillRequest fill{.inode = write.inode, .length = sizeof(bytes)};
  auto filled = shard_.call(fill);
  ASSERT_FALSE(filled.has_value());
  EXPECT_EQ(filled.error().code, Errc::kDataLost) << filled.error().message();
}

// Its home has told since of all that it made: the answer was about another moment.
TEST_F(LostChunksTest, WhatAHomeSaysCountsThoughItHasStartedAgainMeanwhile) {
  shard_.peer(1).answer<wire::InodeRangeRequest>({.begin = 5000, .end = 5010});
  ASSERT_TRUE(home_comes_back(5000));
  know_homes(5010);
  EXPECT_EQ(read_error(shard_, 1, 5001), Errc::kDataLost);
}

TEST_F(LostChunksTest, TheAnswerOfAnEarlierLifeOfAHomeCountsForNothing) {
  know_homes();
  constexpr std::uint64_t kFar = std::uint64_t{1} << 40;
  shard_.peer(1).answer<wire::InodeRangeRequest>({.begin = 0, .end = kFar + 1});
  std::size_t asked = shard_.peer(1).count(Opcode::kInodeRange);
  shard_.peer(1).delay_next(Opcode::kInodeRange);
  wire::FsyncChunksRequest fsync{.inode = wire::InodeId::make(wire::ShardId{1}, kFar).value};
  auto pending = shard_.client().start(rpc::make_call(fsync));
  ASSERT_TRUE(shard_.eventually([&] { return shard_.peer(1).count(Opcode::kInodeRange) > asked; }));
  ASSERT_TRUE(home_comes_back(5000));
  shard_.peer(1).answer<wire::InodeRangeRequest>({.begin = 5000, .end = 5010});
  shard_.peer(1).let_go(Opcode::kInodeRange);
  ASSERT_TRUE(shard_.eventually([&] { return pending->has_value(); }));
  EXPECT_EQ(read_error(shard_, 1, 77), Errc::kDataLost);
  EXPECT_EQ(read_error(shard_, 1, 5001), Errc::kOk);
}

// Nobody is told that a file is lost of which that is not known.
TEST_F(LostChunksTest, AHomeThatDoesNotAnswerIsAskedAgain) {
  shard_.peer(1).answer_error(Opcode::kInodeRange, Error{Errc::kInternal, 0, {}});
  shard_.peer(1).release(Opcode::kInodeRange);
  shard_.peer(2).release(Opcode::kInodeRange);
  EXPECT_TRUE(shard_.eventually([&] { return shard_.peer(1).count(Opcode::kInodeRange) > 2; }));
  auto waits = query(77);
  ASSERT_FALSE(waits.has_value());
  EXPECT_NE(waits.error().code, Errc::kDataLost) << waits.error().message();
  shard_.peer(1).answer<wire::InodeRangeRequest>({.begin = 0, .end = 1000});
  know_homes();
  shard_.peer(1).answer_error(Opcode::kInodeRange, Error{Errc::kInternal, 0, {}});
  waits = query(std::uint64_t{1} << 40);
  ASSERT_FALSE(waits.has_value());
  EXPECT_NE(waits.error().code, Errc::kDataLost) << waits.error().message();
}

TEST_F(LostChunksTest, NeitherAreThoseThatTheShardMadeInItsEarlierLife) {
  know_homes();
  EXPECT_EQ(read_error(shard_, 0, 77), Errc::kDataLost);
  wire::Attr made = create("new", 1);
  EXPECT_EQ(read_error(shard_, 0, wire::InodeId{made.inode}.counter()), Errc::kOk);
}

// However many files the home has made since.
TEST_F(LostChunksTest, AFileFarBehindThoseKnownIsAskedAbout) {
  know_homes();
  constexpr std::uint64_t kFar = std::uint64_t{1} << 40;
  ASSERT_EQ(read_error(shard_, 1, kFar), Errc::kDataLost);
  shard_.peer(1).answer<wire::InodeRangeRequest>({.begin = 0, .end = kFar + 1});
  EXPECT_EQ(read_error(shard_, 1, kFar), Errc::kOk);
  EXPECT_EQ(read_error(shard_, 1, 77), Errc::kDataLost);
  for (int kind = 0; kind < kKinds; ++kind) {
    std::uint64_t farther = (static_cast<std::uint64_t>(kind) + 2) * kFar;
    EXPECT_EQ(error_of(kind, farther), Errc::kDataLost) << kind;
    shard_.peer(1).answer<wire::InodeRangeRequest>({.begin = 0, .end = farther + 1});
    EXPECT_NE(error_of(kind, farther), Errc::kDataLost) << kind;
  }
}

// The home started again and could not say so yet: this shard has lost nothing of its files.
TEST_F(LostChunksTest, AFileOfALaterLifeOfItsHomeIsNotOlder) {
  know_homes();
  constexpr std::uint64_t kLater = std::uint64_t{1} << 40;
  shard_.peer(1).answer<wire::InodeRangeRequest>({.begin = kLater, .end = kLater + 10});
  EXPECT_EQ(read_error(shard_, 1, kLater + 5), Errc::kOk);
  EXPECT_EQ(read_error(shard_, 1, 1000), Errc::kDataLost);
}

TEST_F(LostChunksTest, AHomeThatDoesNotKnowTheFileRefusesTheWriteItself) {
  know_homes();
  wire::WriteChunkRequest body;
  body.inode = wire::InodeId::make(wire::ShardId{1}, std::uint64_t{1} << 40).value;
  std::byte bytes[10] = {};
  body.length = sizeof(bytes);
  auto written = shard_.call(body, {}, Deadline::after(std::chrono::seconds(10)), bytes);
  ASSERT_FALSE(written.has_value());
  EXPECT_TRUE(written.error().is_posix(ESTALE)) << written.error().message();
}

TEST_F(LostChunksTest, AFileThatWasCutToNothingMissesNothing) {
  ASSERT_TRUE(is_cut(76, 0));  // its home has not told yet which files are older
  know_homes();
  ASSERT_TRUE(is_cut(77, 0));
  ASSERT_TRUE(is_cut(78, 1));
  EXPECT_EQ(read_error(shard_, 1, 76), Errc::kOk);
  EXPECT_EQ(read_error(shard_, 1, 77), Errc::kOk);
  EXPECT_EQ(read_error(shard_, 1, 78), Errc::kDataLost);
  EXPECT_EQ(read_error(shard_, 1, 79), Errc::kDataLost);
  // Until the file is gone, or its home has lost it.
  ASSERT_TRUE(is_cut(76, 0, wire::kTruncateGone));
  EXPECT_EQ(read_error(shard_, 1, 76), Errc::kDataLost);
  shard_.peer(1).answer<wire::InodeRangeRequest>({.begin = 5000, .end = 5010});
  ASSERT_TRUE(home_comes_back(5000));
  EXPECT_EQ(read_error(shard_, 1, 77), Errc::kDataLost);
}

// The shard itself has always been there.
class HomeThatCameBackTest : public FilesTest {
 protected:
  void come_back(std::uint64_t life, std::uint64_t first_counter) {
    wire::NewLifeRequest body;
    body.life = life;
    body.first_counter = first_counter;
    body.shard = 1;
    EXPECT_TRUE(shard_.call(body).has_value());
  }
  Result<wire::NoReply> write(std::uint64_t counter) {
    std::byte bytes[10] = {};
    wire::WriteChunkRequest body;
    body.inode = wire::InodeId::make(wire::ShardId{1}, counter).value;
    body.length = sizeof(bytes);
    return shard_.call(body, {}, Deadline::after(std::chrono::seconds(10)), bytes);
  }
};

TEST_F(HomeThatCameBackTest, ItsEarlierFilesAreNotEmpty) {
  EXPECT_EQ(read_error(shard_, 1, 77), Errc::kOk);
  shard_.peer(1).answer<wire::InodeRangeRequest>({.begin = 5000, .end = 5000});
  come_back(2, 5000);
  EXPECT_EQ(read_error(shard_, 1, 77), Errc::kDataLost);
  EXPECT_EQ(read_error(shard_, 1, 5000), Errc::kOk);
  EXPECT_EQ(read_error(shard_, 2, 77), Errc::kOk);
  come_back(1, 0);  // late
  EXPECT_EQ(read_error(shard_, 1, 77), Errc::kDataLost);
}

// Its names are gone, and it may have sent this before it had told anybody anything in that life.
TEST_F(HomeThatCameBackTest, WhatItSentInAnEarlierLifeAboutNamesCountsForNothing) {
  wire::Attr file = create(shard_.local_name("f"), 1);
  come_back(5, 5000);
  wire::LinkInodeRequest link;
  link.inode = file.inode;
  link.change = {.life = 4, .ticket = 1, .settled = 1, .shard = 1};
  EXPECT_TRUE(shard_.call(link).error().is_posix(ESTALE));
  wire::ForgetInodeRequest forget;
  forget.inode = file.inode;
  forget.change = {.life = 4, .ticket = 2, .settled = 1, .shard = 1};
  EXPECT_TRUE(shard_.call(forget).has_value());
  auto found = stat(file);
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->attr.nlink, 1U);
  std::string name = shard_.local_name("g");
  wire::InstallEntryRequest install;
  install.parent = wire::kRootInode.value;
  install.inode = file.inode;
  install.type = S_IFREG;
  install.ticket = install.settled = 1;
  install.sender = 1;
  install.name_bytes = static_cast<std::uint16_t>(name.size());
  install.life = 4;
  EXPECT_TRUE(shard_.call(install, name).error().is_posix(EBUSY));
  install.life = 5;
  EXPECT_TRUE(shard_.call(install, name).has_value());
}

TEST_F(HomeThatCameBackTest, NorAreTheyWhenAMarkSaysSoFirst) {
  auto answer_marks = [&](std::uint64_t life) {
    wire::MarkReply reply;
    reply.life = life;
    reply.cut_size = wire::MarkReply::kNoCut;
    reply.chunk_bytes = 64U << 10;
    shard_.peer(1).answer<wire::MarkRequest>(reply);
  };
  answer_marks(1);
  ASSERT_TRUE(write(77).has_value());
  answer_marks(2);
  shard_.peer(1).answer<wire::InodeRangeRequest>({.begin = 5000, .end = 5010});
  ASSERT_TRUE(write(5001).has_value());
  EXPECT_EQ(read_error(shard_, 1, 77), Errc::kDataLost);
  EXPECT_EQ(read_error(shard_, 1, 5001), Errc::kOk);
}

}  // namespace
}  // namespace benchfs::server
