// The home of a file and its chunk shards, which are scripted: sizes, truncations, the end of
// files, opens.
#include "server/files/files.h"

#include "server/testing/files_fixture.h"

namespace benchfs::server {
namespace {

using std::chrono::milliseconds;
using testing::FilesTest;
using testing::kWrite;
using wire::Opcode;

TEST_F(FilesTest, TheSizeIsAskedOfMarkedShardsOnly) {
  wire::Attr file = create(shard_.local_name("f"), 1);
  EXPECT_EQ(size(file), 0U);
  EXPECT_EQ(shard_.requests_to_peers(), 0U);
  ASSERT_TRUE(mark(1, file, 5).has_value());
  stores(1, 100'000);
  EXPECT_EQ(size(file), 100'000U);
  EXPECT_EQ(queries(1), 1U);
  EXPECT_EQ(queries(2), 0U);
}

// Nothing that happens to one small file may cost more with more servers.
TEST(FilesCount, ASmallFileCostsItsServersNothing) {
  for (std::uint32_t peers : {1U, 6U}) {
    testing::ShardUnderTest shard({.peers = peers, .tweak = {}});
    std::string name = shard.local_name("small");
    wire::OpenRequest open;
    open.parent = wire::kRootInode.value;
    open.flags = kWrite;
    open.mode = 0644;
    open.name_bytes = static_cast<std::uint16_t>(name.size());
    open.open_number = 1;
    auto file = shard.call(open, name);
    ASSERT_TRUE(file.has_value()) << file.error().message();
    std::byte bytes[10] = {};
    wire::WriteChunkRequest write;
    write.inode = file->attr.inode;
    write.length = sizeof(bytes);
    ASSERT_TRUE(
        shard.call(write, {}, Deadline::after(std::chrono::seconds(10)), bytes).has_value());
    wire::GetAttrRequest stat;
    stat.inode = file->attr.inode;
    EXPECT_EQ(shard.call(stat).value().attr.size, sizeof(bytes));
    wire::FsyncRequest fsync;
    fsync.inode = file->attr.inode;
    EXPECT_EQ(shard.call(fsync).value().attr.size, sizeof(bytes));
    wire::SetAttrRequest set;
    set.inode = file->attr.inode;
    set.mask = wire::kSetSize | wire::kSetMode | wire::kSetMtimeNow;
    set.size = 5;
    set.mode = 0600;
    auto changed = shard.call(set);
    ASSERT_TRUE(changed.has_value());
    EXPECT_EQ(changed->attr.size, 5U);
    EXPECT_EQ(changed->attr.mode & 07777, 0600U);
    wire::CloseNotice close;
    close.open_number = 1;
    ASSERT_TRUE(shard.notify(close));
    EXPECT_EQ(shard.call(stat).value().attr.size, 5U);
    wire::UnlinkRequest unlink;
    unlink.parent = wire::kRootInode.value;
    unlink.name_bytes = open.name_bytes;
    ASSERT_TRUE(shard.call(unlink, name).has_value());
    EXPECT_TRUE(shard.eventually_in_stats("\"inodes\":1,"));
    EXPECT_EQ(shard.requests_to_peers(), 0U);
  }
}

TEST_F(FilesTest, ASizeThatIsKnownHereIsToldWithTheBytes) {
  wire::Attr file = create(shard_.local_name("f"), 1);
  std::byte bytes[10] = {};
  wire::WriteChunkRequest write;
  write.inode = file.inode;
  write.length = sizeof(bytes);
  ASSERT_TRUE(shard_.call(write, {}, Deadline::after(std::chrono::seconds(10)), bytes));
  auto told = [&](std::uint64_t inode, std::uint32_t length) {
    std::vector<std::byte> into(length);
    wire::ReadChunkRequest request{.inode = inode, .length = length};
    rpc::Call call = rpc::make_call(request);
    call.into = into;
    Result<rpc::Reply> reply = shard_.client().call(call);
    EXPECT_TRUE(reply) << reply.error().message();
    return reply->as<wire::ReadChunkReply>()->file_size;
  };
  EXPECT_EQ(told(file.inode, 11), 10U) << "marked here";
  EXPECT_EQ(told(file.inode, 10), wire::kSizeUntold) << "nothing is missing";
  EXPECT_EQ(told(wire::InodeId::make(wire::ShardId{1}, 77).value, 11), wire::kSizeUntold)
      << "of another home";
  ASSERT_TRUE(mark(1, file, 5).has_value());
  EXPECT_EQ(told(file.inode, 11), wire::kSizeUntold) << "another shard would have to be asked";
  EXPECT_EQ(queries(1), 0U);
  wire::Attr empty = create(shard_.local_name("g"), 2);
  EXPECT_EQ(told(empty.inode, 11), 0U) << "at rest";
}

// I1: the mark goes only if its stamp is the answered one.
TEST_F(FilesTest, AMarkThatCameAfterTheAnswerStays) {
  wire::Attr file = create(shard_.local_name("f"), 1);
  ASSERT_TRUE(mark(1, file, 5).has_value());
  stores(1, 100, 4);
  ASSERT_TRUE(close(1));
  ASSERT_TRUE(shard_.eventually([&] { return queries(1) >= 1; }));
  ASSERT_TRUE(shard_.eventually_in_stats("\"sizes_to_settle\":1"));
  stores(1, 200, 5);
  EXPECT_EQ(size(file), 200U);  // still marked: the shard is asked
  ASSERT_TRUE(shard_.eventually_in_stats("\"sizes_to_settle\":0"));
  std::size_t before = queries(1);
  EXPECT_EQ(size(file), 200U);
  EXPECT_EQ(queries(1), before);
}

// Writers that keep it open mark it again with their next write, which takes the lease back.
TEST_F(FilesTest, AFileThatIsOpenForWritingIsBroughtToRestForAReader) {
  wire::Attr file = create(shard_.local_name("f"), 1);
  ASSERT_TRUE(mark(1, file, 5).has_value());
  stores(1, 100, 5);
  auto lease = [&](std::uint32_t more) {
    wire::GetAttrRequest body{.inode = file.inode, .flags = wire::kGetAttrLease | more};
    auto reply = shard_.call(body);
    EXPECT_TRUE(reply.has_value());
    EXPECT_EQ(reply->attr.size, 100U);
    return (reply->flags & wire::kAttrLeased) != 0 ? reply->attr.content_version() : 0U;
  };
  EXPECT_EQ(lease(0), 0U);
  EXPECT_TRUE(shard_.eventually_in_stats("\"sizes_to_settle\":0"));
  EXPECT_EQ(lease(0), 0U);
  EXPECT_EQ(lease(wire::kGetAttrRest), 0U);
  EXPECT_TRUE(shard_.eventually([&] { return lease(0) != 0; }));
  std::uint64_t version = lease(0);
  ASSERT_TRUE(mark(1, file, 6).has_value());
  stores(1, 100, 6);
  EXPECT_EQ(lease(wire::kGetAttrRest), 0U);
  EXPECT_TRUE(shard_.eventually([&] { return lease(0) > version; }));
}

// I5 and kind 2: when a shard does not answer the question, nothing has happened.
TEST_F(FilesTest, ATruncationBesideASilentShardFailsWhole) {
  wire::Attr file = create(shard_.local_name("f"), 1);
  ASSERT_TRUE(mark(1, file, 5).has_value());
  ASSERT_TRUE(mark(2, file, 5).has_value());
  stores(1, 100);
  stores(2, 200);
  shard_.peer(2).hold(Opcode::kQueryChunks);
  EXPECT_FALSE(truncate(file, 10, milliseconds(300)).has_value());
  EXPECT_EQ(cuts(1), 0U);
  shard_.peer(2).release(Opcode::kQueryChunks);
  EXPECT_EQ(size(file), 200U);
}

// Else the healthy node that was asked would be the only one that the error names.
TEST_F(FilesTest, ASizeThatIsNotKnownInTimeNamesWhoDidNotAnswer) {
  wire::Attr file = create(shard_.local_name("f"), 1);
  ASSERT_TRUE(mark(1, file, 5).has_value());
  ASSERT_TRUE(mark(2, file, 5).has_value());
  shard_.peer(2).hold(Opcode::kQueryChunks);
  auto waits = stat(file, milliseconds(2000));
  ASSERT_FALSE(waits.has_value());
  EXPECT_TRUE(waits.error().message().contains("waits for node_2")) << waits.error().message();
  EXPECT_FALSE(waits.error().message().contains("node_1")) << waits.error().message();
  shard_.peer(2).release(Opcode::kQueryChunks);
  EXPECT_TRUE(stat(file).has_value());
}

TEST_F(FilesTest, AChangeOfAttributesThatIsNotAnsweredHasNotHappened) {
  wire::Attr file = create(shard_.local_name("f"), 1);
  ASSERT_TRUE(mark(1, file, 5).has_value());
  wire::SetAttrRequest chmod;
  chmod.inode = file.inode;
  chmod.mask = wire::kSetMode;
  chmod.mode = 0600;
  shard_.peer(1).answer_error(Opcode::kQueryChunks, Error{Errc::kDataLost, 0, {}});
  EXPECT_EQ(shard_.call(chmod).error().code, Errc::kDataLost);
  stores(1, 100);
  EXPECT_EQ(stat(file).value().attr.mode & 07777, 0644U);
  shard_.peer(1).hold(Opcode::kQueryChunks);
  EXPECT_FALSE(shard_.call(chmod, {}, Deadline::after(milliseconds(500))).has_value());
  shard_.peer(1).release(Opcode::kQueryChunks);
  EXPECT_EQ(stat(file).value().attr.mode & 07777, 0644U);
  auto changed = shard_.call(chmod);
  ASSERT_TRUE(changed.has_value());
  EXPECT_EQ(changed->attr.mode & 07777, 0600U);
  EXPECT_EQ(changed->attr.size, 100U);
}

TEST_F(FilesTest, ATruncationThatHasHappenedIsAnsweredSo) {
  wire::Attr file = create(shard_.local_name("f"), 1);
  ASSERT_TRUE(mark(1, file, 5).has_value());
  shard_.peer(1).answer_error(Opcode::kQueryChunks, Error{Errc::kDataLost, 0, {}});
  wire::SetAttrRequest cut;
  cut.inode = file.inode;
  cut.mask = wire::kSetSize | wire::kSetMode;
  cut.mode = 0600;
  auto changed = shard_.call(cut);
  ASSERT_TRUE(changed.has_value()) << changed.error().message();
  EXPECT_EQ(changed->attr.size, 0U);
  EXPECT_EQ(changed->attr.mode & 07777, 0600U);
}

TEST_F(FilesTest, ATruncationThatHasBegunIsOwed) {
  wire::Attr file = create(shard_.local_name("f"), 1);
  ASSERT_TRUE(mark(1, file, 5).has_value());
  ASSERT_TRUE(mark(2, file, 5).has_value());
  stores(1, 100);
  stores(2, 200);
  shard_.peer(2).hold(Opcode::kTruncateChunks);
  begin_truncation(file, 10);
  EXPECT_EQ(shard_.peer(1).received<wire::TruncateChunksRequest>().at(0).truncation, 1U);
  EXPECT_TRUE(shard_.eventually_in_stats("\"truncations\":1"));
  // Nobody sees the half of it.
  EXPECT_FALSE(stat(file, milliseconds(300)).has_value());
  // Rule 6: who marks meanwhile cuts first.
  auto late = mark(1, file, 6);
  ASSERT_TRUE(late.has_value());
  EXPECT_EQ(late->truncation, 1U);
  EXPECT_EQ(late->cut_size, 10U);
  stores(1, 10);
  stores(2, 0);
  shard_.peer(2).release(Opcode::kTruncateChunks);
  EXPECT_EQ(size(file), 10U);
  EXPECT_TRUE(shard_.eventually_in_stats("\"truncations\":0"));
  EXPECT_EQ(stat(file).value().attr.truncation, 1U);
}

TEST_F(FilesTest, MakingAFileLongerIsNoTruncation) {
  wire::Attr file = create(shard_.local_name("f"), 1);
  ASSERT_TRUE(mark(1, file, 5).has_value());
  stores(1, 100);
  auto longer = truncate(file, 5000);
  ASSERT_TRUE(longer.has_value());
  EXPECT_EQ(longer->attr.size, 5000U);
  EXPECT_EQ(longer->attr.truncation, 0U);
  EXPECT_EQ(cuts(1), 0U);
}

// I6: unlink is done when the name is, and the space comes back when the shard does.
TEST_F(FilesTest, ChunksOfAnUnlinkedFileAreOwed) {
  std::string name = shard_.local_name("f");
  wire::Attr file = create(name, 1);
  ASSERT_TRUE(mark(1, file, 5).has_value());
  ASSERT_TRUE(close(1));
  shard_.peer(1).answer_error(Opcode::kQueryChunks, Error{Errc::kInternal, 0, {}});
  shard_.peer(1).hold(Opcode::kTruncateChunks);
  ASSERT_TRUE(unlink(name).has_value());
  EXPECT_TRUE(shard_.eventually_in_stats("\"files_to_free\":1"));
  ASSERT_TRUE(shard_.eventually([&] { return cuts(1) >= 1; }));
  EXPECT_EQ(shard_.peer(1).received<wire::TruncateChunksRequest>().at(0).flags,
            wire::kTruncateGone);
  auto late = mark(1, file, 6);
  ASSERT_FALSE(late.has_value());
  EXPECT_TRUE(late.error().is_posix(ESTALE));
  shard_.peer(1).release(Opcode::kTruncateChunks);
  EXPECT_TRUE(shard_.eventually_in_stats("\"files_to_free\":0"));
  EXPECT_TRUE(shard_.eventually_in_stats("\"inodes\":1,"));
}

TEST_F(FilesTest, TheLastCloseFreesAFileWithoutAName) {
  std::string name = shard_.local_name("f");
  wire::Attr file = create(name, 1);
  ASSERT_TRUE(mark(1, file, 5).has_value());
  stores(1, 70);
  ASSERT_TRUE(unlink(name).has_value());
  auto still = stat(file);
  ASSERT_TRUE(still.has_value());
  EXPECT_EQ(still->attr.nlink, 0U);
  EXPECT_EQ(still->attr.size, 70U);
  EXPECT_EQ(cuts(1), 0U);
  ASSERT_TRUE(close(1));
  ASSERT_TRUE(shard_.eventually([&] { return cuts(1) == 1; }));
  EXPECT_TRUE(shard_.eventually_in_stats("\"inodes\":1,"));
}

// I7.
TEST_F(FilesTest, ARepeatedOpenIsTheSameOpen) {
  std::string name = shard_.local_name("f");
  wire::Attr file = create(name, 1);
  wire::OpenInodeRequest again;
  again.inode = file.inode;
  again.flags = wire::kOpenWrite;
  again.open_number = 1;
  ASSERT_TRUE(shard_.call(again).has_value());
  EXPECT_TRUE(shard_.eventually_in_stats("\"open\":1,"));
  ASSERT_TRUE(close(1));
  ASSERT_TRUE(close(1));
  EXPECT_TRUE(shard_.eventually_in_stats("\"open\":0,"));
}

TEST_F(FilesTest, OpensThatTheClientDoesNotNameAreClosed) {
  std::string name = shard_.local_name("f");
  wire::Attr file = create(name, 1);
  for (std::uint64_t number = 2; number <= 5; ++number) {
    ASSERT_TRUE(open(name, number).has_value());
  }
  ASSERT_TRUE(unlink(name).has_value());
  wire::OpensNotice opens;
  opens.from = 1;
  opens.to = 6;
  opens.count = 1;
  std::uint64_t kept = 3;
  ASSERT_TRUE(shard_.notify(opens, std::as_bytes(std::span(&kept, 1))));
  EXPECT_TRUE(shard_.eventually_in_stats("\"open\":1,"));
  ASSERT_TRUE(stat(file).has_value());
  opens.count = 0;
  ASSERT_TRUE(shard_.notify(opens));
  EXPECT_TRUE(shard_.eventually_in_stats("\"inodes\":1,"));
}

// A close that overtakes its open, because the caller gave up: the open must not happen any more.
TEST_F(FilesTest, AnOpenThatWasGivenUpDoesNotHappen) {
  std::string name = shard_.local_name("f");
  create(name, 1);
  ASSERT_TRUE(close(7));
  EXPECT_FALSE(open(name, 7).has_value());
  EXPECT_TRUE(shard_.eventually_in_stats("\"open\":1,"));
}

TEST_F(FilesTest, OpensThatWereGivenUpAreForgottenAfterManyLaterOnes) {
  constexpr std::uint64_t kMany = 16 * 1024;
  std::string name = shard_.local_name("f");
  create(name, 1);
  for (std::uint64_t number = 7; number <= 7 + kMany; ++number) {
    ASSERT_TRUE(close(number));
    if (number % 1024 == 0) {
      shard_.stats();  // they are sent
    }
  }
  EXPECT_FALSE(open(name, 8).has_value());
  EXPECT_TRUE(open(name, 7).has_value());
}

TEST_F(FilesTest, OpeningForReadingCanTruncate) {
  std::string name = shard_.local_name("f");
  wire::Attr file = create(name, 1);
  ASSERT_TRUE(mark(1, file, 5).has_value());
  stores(1, 70);
  shard_.peer(1).hold(Opcode::kTruncateChunks);
  wire::OpenInodeRequest body;
  body.inode = file.inode;
  body.flags = wire::kOpenRead | wire::kOpenTruncate;
  body.open_number = 2;
  do {
    EXPECT_FALSE(shard_.call(body, {}, Deadline::after(milliseconds(300))).has_value());
  } while (cuts(1) == 0 && !HasFailure());
  stores(1, 0);
  shard_.peer(1).release(Opcode::kTruncateChunks);
  EXPECT_EQ(size(file), 0U);
  EXPECT_TRUE(shard_.eventually_in_stats("\"open\":1,"));
  body.inode = wire::kRootInode.value;
  auto directory = shard_.call(body);
  ASSERT_FALSE(directory.has_value());
  EXPECT_TRUE(directory.error().is_posix(EISDIR)) << directory.error().message();
}

TEST_F(FilesTest, TimesThatWereSetAreNotUndoneByEarlierWrites) {
  wire::Attr file = create(shard_.local_name("f"), 1);
  ASSERT_TRUE(mark(1, file, 5).has_value());
  wire::QueryChunksReply ahead;  // a clock that is an hour ahead
  ahead.end = 10;
  ahead.mtime_ns = wall_now_ns() + 3'600'000'000'000;
  shard_.peer(1).answer<wire::QueryChunksRequest>(ahead);
  wire::SetAttrRequest set;
  set.inode = file.inode;
  set.mask = wire::kSetMtime;
  set.mtime_ns = 1234;
  ASSERT_TRUE(shard_.call(set).has_value());
  EXPECT_EQ(stat(file).value().attr.mtime_ns, 1234);
  EXPECT_EQ(size(file), 10U);
}

TEST_F(FilesTest, SpecialFilesAreNotOpenedByTheirInode) {
  std::string name = shard_.local_name("s");
  wire::MakeSpecialRequest make;
  make.parent = wire::kRootInode.value;
  make.mode = S_IFIFO | 0600;
  make.name_bytes = static_cast<std::uint16_t>(name.size());
  auto made = shard_.call(make, name);
  ASSERT_TRUE(made.has_value()) << made.error().message();
  wire::OpenInodeRequest open;
  open.inode = made->attr.inode;
  open.flags = wire::kOpenWrite | wire::kOpenTruncate;
  open.open_number = 1;
  EXPECT_TRUE(shard_.call(open).error().is_posix(ENXIO));
}

TEST_F(FilesTest, AppendsAskOnlyWhenOthersWritePlainly) {
  wire::Attr file = create(shard_.local_name("f"), 1);
  wire::AppendRequest append;
  append.inode = file.inode;
  append.length = 10;
  EXPECT_EQ(shard_.call(append).value().offset, 0U);
  ASSERT_TRUE(mark(1, file, 5, wire::kMarkAppend).has_value());
  EXPECT_EQ(shard_.call(append).value().offset, 10U);
  EXPECT_EQ(queries(1), 0U);
  ASSERT_TRUE(mark(1, file, 6).has_value());
  stores(1, 500);
  EXPECT_EQ(shard_.call(append).value().offset, 500U);
}

// Names here whose inodes live on shard 1.
class RemoteInodeTest : public FilesTest {
 protected:
  std::string install(const std::string& prefix, std::uint64_t number) {
    std::string name = shard_.local_name(prefix);
    wire::InstallEntryRequest body;
    body.parent = wire::kRootInode.value;
    body.inode = wire::InodeId::make(wire::ShardId{1}, number).value;
    body.type = S_IFREG;
    body.ticket = number;
    body.settled = number;
    body.sender = 2;
    body.name_bytes = static_cast<std::uint16_t>(name.size());
    EXPECT_TRUE(shard_.call(body, name).has_value());
    return name;
  }
  // Whether the call is answered only after shard 1, asked to forget an inode, has answered.
  bool waits_for_the_home(const rpc::Call& call) {
    shard_.peer(1).hold(Opcode::kForgetInode);
    rpc::testing::Client::Pending reply = shard_.client().start(call);
    bool asked = shard_.eventually([&] { return shard_.peer(1).count(Opcode::kForgetInode) > 0; });
    pass_time();
    bool waits = !reply->has_value();
    shard_.peer(1).release(Opcode::kForgetInode);
    bool answered = shard_.eventually([&] { return reply->has_value(); });
    return asked && waits && answered && (**reply).has_value();
  }
};

// Nobody waits for a home that is known as silent.
TEST_F(RemoteInodeTest, ASilentHomeIsNotWaitedFor) {
  std::string first = install("f", 9);
  std::string second = install("g", 10);
  shard_.peer(1).answer_error(Opcode::kForgetInode, Error{Errc::kInternal, 0, {}});
  ASSERT_TRUE(unlink(first).has_value());
  ASSERT_TRUE(shard_.eventually_in_stats("\"silent\":[{\"node_id\":\"node_1\""));
  shard_.peer(1).hold(Opcode::kForgetInode);
  wire::UnlinkRequest body;
  body.parent = wire::kRootInode.value;
  body.name_bytes = static_cast<std::uint16_t>(second.size());
  auto pending =
      shard_.client().start(rpc::make_call(body, second), Deadline::after(std::chrono::hours(1)));
  pass_time();
  ASSERT_TRUE(pending->has_value());
  EXPECT_TRUE((**pending).has_value());
  EXPECT_TRUE(shard_.stats().contains("\"names\":2"));
}

// Else fstat of an open file shows a name that it has lost.
TEST_F(RemoteInodeTest, ItsHomeHasForgottenItWhenAnUnlinkIsAnswered) {
  std::string name = install("f", 9);
  wire::UnlinkRequest body;
  body.parent = wire::kRootInode.value;
  body.name_bytes = static_cast<std::uint16_t>(name.size());
  EXPECT_TRUE(waits_for_the_home(rpc::make_call(body, name)));
}

TEST_F(RemoteInodeTest, ItsHomeHasForgottenItWhenARenameOverItIsAnswered) {
  std::string to = install("f", 9);
  std::string from = install("g", 10);
  wire::RenameRequest body;
  body.old_parent = body.new_parent = wire::kRootInode.value;
  body.old_name_bytes = static_cast<std::uint16_t>(from.size());
  body.new_name_bytes = static_cast<std::uint16_t>(to.size());
  EXPECT_TRUE(waits_for_the_home(rpc::make_call(body, from, to)));
}

TEST_F(RemoteInodeTest, AHomeThatDoesNotForgetIsAskedUntilItHas) {
  std::string name = install("f", 9);
  shard_.peer(1).answer_error(Opcode::kForgetInode, Error::from_errno(EIO));
  wire::UnlinkRequest body;
  body.parent = wire::kRootInode.value;
  body.name_bytes = static_cast<std::uint16_t>(name.size());
  auto unlinked =
      shard_.client().start(rpc::make_call(body, name), Deadline::after(std::chrono::hours(1)));
  ASSERT_TRUE(shard_.eventually([&] { return unlinked->has_value(); }));
  EXPECT_TRUE((**unlinked).has_value());
  EXPECT_TRUE(shard_.eventually_in_stats("\"names\":1"));
  shard_.peer(1).answer<wire::ForgetInodeRequest>({});
  EXPECT_TRUE(shard_.eventually_in_stats("\"names\":0"));
}

// A shard that is silent for longer than marks are trusted still has to drop what it stores for the
// earlier life.
TEST(FilesRestarted, ItsNewLifeIsToldUntilEachShardHasHeardOfIt) {
  testing::ShardUnderTest shard(
      {.peers = 1,
       .tweak = [](ShardConfig& config) { config.mark_times.forgotten = milliseconds(100); },
       .is_back = true,
       .prepare = [](testing::ScriptedShard& peer) { peer.hold(Opcode::kNewLife); }});
  wire::GetAttrRequest root;
  root.inode = wire::kRootInode.value;
  ASSERT_TRUE(shard.call(root).has_value());  // served, since nobody trusts an old mark any more
  std::size_t told = shard.peer(1).count(Opcode::kNewLife);
  EXPECT_TRUE(shard.eventually([&] { return shard.peer(1).count(Opcode::kNewLife) > told; }));
  shard.peer(1).release(Opcode::kNewLife);
}

class FilesForgottenTest : public FilesTest {
 protected:
  static void SetUpTestSuite() { forgotten_ = milliseconds(100); }
  static void TearDownTestSuite() { forgotten_ = std::chrono::hours(24); }
};

// Rule 10: no shard trusts an old mark any more, so it may be told.
TEST_F(FilesForgottenTest, AFileIsToldAsGoneThoughItsChunksAreStillOwed) {
  std::string name = shard_.local_name("f");
  wire::Attr file = create(name, 1);
  ASSERT_TRUE(mark(1, file, 5).has_value());
  shard_.peer(1).hold(Opcode::kTruncateChunks);
  ASSERT_TRUE(unlink(name).has_value());
  ASSERT_TRUE(close(1));
  auto gone = stat(file);
  ASSERT_FALSE(gone.has_value());
  EXPECT_TRUE(gone.error().is_posix(ENOENT)) << gone.error().message();
  EXPECT_TRUE(shard_.eventually_in_stats("\"files_to_free\":1"));
  shard_.peer(1).release(Opcode::kTruncateChunks);
  EXPECT_TRUE(shard_.eventually_in_stats("\"files_to_free\":0"));
}

}  // namespace
}  // namespace benchfs::server
