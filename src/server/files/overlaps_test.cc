// What is done to a file while something else has begun and not ended: nobody sees the half of it,
// and answers from before count for nothing.
#include "server/files/files.h"
#include "server/testing/files_fixture.h"

namespace benchfs::server {
namespace {

using rpc::testing::Client;
using std::chrono::milliseconds;
using testing::FilesTest;
using testing::kWrite;
using wire::Opcode;

class OverlapsTest : public FilesTest {
 protected:
  // Returns when the shard has begun with it.
  template <typename Request>
  Client::Pending start(const Request& body, Nanos patience = std::chrono::hours(1)) {
    auto pending = shard_.client().start(rpc::make_call(body), Deadline::after(patience));
    pass_time();
    return pending;
  }
  bool ends(const Client::Pending& pending) {
    return shard_.eventually([&] { return pending->has_value(); });
  }
  // A file with bytes on shard 1.
  wire::Attr make_marked(const std::string& name, std::uint64_t number = 1) {
    wire::Attr file = create(name, number);
    EXPECT_TRUE(mark(1, file, 5).has_value());
    return file;
  }

  wire::AppendReply append(wire::Attr file, std::uint64_t length) {
    wire::AppendRequest body;
    body.inode = file.inode;
    body.length = length;
    return shard_.call(body).value_or(wire::AppendReply{});
  }
  // What is left of the range of an append.
  static wire::AppendRequest question(wire::Attr file, const wire::AppendReply& place) {
    wire::AppendRequest body;
    body.inode = file.inode;
    body.length = place.length;
    body.offset = place.offset;
    body.truncation = place.truncation;
    return body;
  }
  wire::AppendReply left_of(wire::Attr file, const wire::AppendReply& place) {
    Result<wire::AppendReply> left = shard_.call(question(file, place));
    EXPECT_TRUE(left.has_value()) << left.error().message();
    return left.value_or(wire::AppendReply{});
  }

  std::string name_ = shard_.local_name("f");
};

// --- Beside a truncation -------------------------------------------------------------------------

// An append and a truncation wait for each other: each of them is first once.
TEST_F(OverlapsTest, NothingIsSeenOfAFileAndNobodyIsAskedWhileItIsCut) {
  for (std::uint64_t number : {1U, 2U}) {
    wire::Attr file = create(shard_.local_name("f" + std::to_string(number) + "_"), number);
    ASSERT_TRUE(mark(1, file, 5, wire::kMarkAppend).has_value());  // appends ask nobody
    stores(1, 100);
    shard_.peer(1).hold(Opcode::kTruncateChunks);
    begin_truncation(file, 10);
    std::vector<Client::Pending> calls;
    std::size_t before = queries(1);
    wire::GetAttrRequest stat{.inode = file.inode};
    wire::FsyncRequest fsync{.inode = file.inode};
    wire::AppendRequest append{.inode = file.inode, .length = 10};
    wire::SetAttrRequest other_cut{.inode = file.inode, .size = 20, .mask = wire::kSetSize};
    wire::OpenInodeRequest open{
        .inode = file.inode, .flags = wire::kOpenRead, .open_number = number + 10};
    calls.push_back(start(stat));
    calls.push_back(start(fsync));
    calls.push_back(number == 1 ? start(append) : start(other_cut));
    calls.push_back(number == 1 ? start(other_cut) : start(append));
    calls.push_back(start(open));
    for (const Client::Pending& call : calls) {
      EXPECT_FALSE(call->has_value());
    }
    EXPECT_EQ(queries(1), before);
    stores(1, 10);
    shard_.peer(1).release(Opcode::kTruncateChunks);
    for (const Client::Pending& call : calls) {
      ASSERT_TRUE(ends(call));
      EXPECT_TRUE((**call).has_value());
    }
  }
}

TEST_F(OverlapsTest, ATruncationThatOvertookAnAppendSaysWhatItLeftOfIt) {
  wire::Attr file = create(name_, 1);
  wire::AppendReply first = append(file, 100);
  wire::AppendReply second = append(file, 50);
  EXPECT_EQ(second.offset, 100U);
  EXPECT_EQ(left_of(file, second).length, 50U);
  ASSERT_TRUE(truncate(file, 120).has_value());
  EXPECT_EQ(left_of(file, first).length, 100U);
  wire::AppendReply left = left_of(file, second);
  EXPECT_EQ(left.offset, 100U);
  EXPECT_EQ(left.length, 20U);
  EXPECT_GT(left.truncation, second.truncation);
  EXPECT_EQ(left_of(file, left).length, 20U);
  ASSERT_TRUE(truncate(file, 10).has_value());
  wire::AppendReply third = append(file, 1000);
  EXPECT_EQ(third.offset, 10U);
  ASSERT_TRUE(truncate(file, 500).has_value());
  ASSERT_TRUE(truncate(file, 5000).has_value());  // longer
  EXPECT_EQ(left_of(file, first).length, 10U);
  EXPECT_EQ(left_of(file, second).length, 0U);
  EXPECT_EQ(left_of(file, third).length, 490U);
}

TEST_F(OverlapsTest, WhatATruncationLeavesOfAnAppendIsSaidBeforeItHasEnded) {
  wire::Attr file = make_marked(name_);
  stores(1, 0);
  wire::AppendReply first = append(file, 100);
  shard_.peer(1).hold(Opcode::kTruncateChunks);
  begin_truncation(file, 30);
  wire::AppendReply left = left_of(file, first);
  EXPECT_EQ(left.length, 30U);
  EXPECT_EQ(left.truncation, first.truncation + 1);
  shard_.peer(1).release(Opcode::kTruncateChunks);
}

// The mark before its bytes would come too late: the range counts as soon as it is reserved.
TEST_F(OverlapsTest, NobodyHasTheSizeCachedWhenAnAppendIsReserved) {
  wire::Attr file = create(name_, 1);
  wire::AppendRequest append{.inode = file.inode, .length = 10};
  EXPECT_TRUE(waits_for_a_holder(file, rpc::make_call(append)));
  EXPECT_EQ(size(file), 10U);
}

// Not known any more: a guess would lose bytes, or bring them back.
TEST_F(OverlapsTest, WhatIsLeftOfAnAppendIsNotGuessedWhenNobodyWrites) {
  wire::Attr file = create(name_, 1);
  wire::AppendReply first = append(file, 100);
  ASSERT_TRUE(truncate(file, 30).has_value());
  ASSERT_TRUE(close(1));
  ASSERT_TRUE(open(name_, 2).has_value());
  ASSERT_TRUE(truncate(file, 20).has_value());
  Result<wire::AppendReply> left = shard_.call(question(file, first));
  ASSERT_FALSE(left.has_value());
  EXPECT_TRUE(left.error().is_posix(EIO)) << left.error().message();
  first.truncation = 3;  // which has not been
  left = shard_.call(question(file, first));
  ASSERT_FALSE(left.has_value());
  EXPECT_EQ(left.error().code, Errc::kMalformed) << left.error().message();
}

// As a chunk shard that has forgotten what was cut, since nothing of the file is left there.
TEST_F(OverlapsTest, TheHomeItselfRefusesAnAppendFromBeforeATruncation) {
  wire::Attr file = create(name_, 1);
  std::byte bytes[10] = {};
  wire::AppendReply place = append(file, sizeof(bytes));
  ASSERT_TRUE(truncate(file, 5).has_value());
  wire::WriteChunkRequest write;
  write.inode = file.inode;
  write.length = sizeof(bytes);
  write.truncation = place.truncation;
  auto refused = shard_.call(write, {}, Deadline::after(std::chrono::seconds(10)), bytes);
  ASSERT_FALSE(refused.has_value());
  EXPECT_TRUE(refused.error().is_posix(EAGAIN)) << refused.error().message();
  EXPECT_EQ(size(file), 5U);
}

TEST_F(OverlapsTest, AnAnswerFromBeforeATruncationIsNotTheSize) {
  wire::Attr file = make_marked(name_);
  wire::GetAttrRequest stat{.inode = file.inode};
  wire::FsyncRequest fsync{.inode = file.inode};
  for (const rpc::Call& call : {rpc::make_call(stat), rpc::make_call(fsync)}) {
    stores(1, 100);
    ASSERT_TRUE(truncate(file, 100).has_value());
    std::size_t asked = queries(1);
    std::size_t cut = cuts(1);
    shard_.peer(1).delay_next(Opcode::kQueryChunks);
    auto pending = shard_.client().start(call);
    ASSERT_TRUE(shard_.eventually([&] { return queries(1) > asked; }));
    wire::SetAttrRequest body{.inode = file.inode, .size = 10, .mask = wire::kSetSize};
    auto truncation = start(body);
    ASSERT_TRUE(shard_.eventually([&] { return cuts(1) > cut; }));
    ASSERT_TRUE(shard_.eventually_in_stats("\"truncations\":0"));
    stores(1, 10);
    shard_.peer(1).let_go(Opcode::kQueryChunks);
    ASSERT_TRUE(ends(truncation));
    ASSERT_TRUE(ends(pending));
    ASSERT_TRUE((**pending).has_value());
    EXPECT_EQ((**pending)->as<wire::EntryReply>()->attr.size, 10U);
  }
}

TEST_F(OverlapsTest, AnAnswerFromBeforeATruncationSettlesNothing) {
  wire::Attr file = make_marked(name_);
  stores(1, 100, 5);
  shard_.peer(1).delay_next(Opcode::kQueryChunks);
  ASSERT_TRUE(close(1));
  ASSERT_TRUE(shard_.eventually([&] { return queries(1) == 1; }));
  ASSERT_TRUE(truncate(file, 10).has_value());
  stores(1, 10, 5);
  shard_.peer(1).let_go(Opcode::kQueryChunks);
  ASSERT_TRUE(shard_.eventually_in_stats("\"sizes_to_settle\":0"));
  EXPECT_EQ(size(file), 10U);
}

TEST_F(OverlapsTest, AFileThatEndsWhileItsShardsAreAskedIsNotCut) {
  wire::Attr file = make_marked(name_);
  stores(1, 100);
  shard_.peer(1).hold(Opcode::kTruncateChunks);
  shard_.peer(1).delay_next(Opcode::kQueryChunks);
  wire::SetAttrRequest cut{.inode = file.inode, .size = 10, .mask = wire::kSetSize};
  auto pending = start(cut);
  ASSERT_TRUE(shard_.eventually([&] { return queries(1) == 1; }));
  ASSERT_TRUE(unlink(name_).has_value());
  ASSERT_TRUE(close(1));
  ASSERT_TRUE(shard_.eventually_in_stats("\"files_to_free\":1"));
  shard_.peer(1).let_go(Opcode::kQueryChunks);
  pass_time();
  EXPECT_FALSE(pending->has_value());
  shard_.peer(1).release(Opcode::kTruncateChunks);
  ASSERT_TRUE(ends(pending));
  EXPECT_FALSE((**pending).has_value());
  for (const auto& freed : shard_.peer(1).received<wire::TruncateChunksRequest>()) {
    EXPECT_EQ(freed.flags, wire::kTruncateGone);
  }
}

// --- Rounds of queries ---------------------------------------------------------------------------

TEST_F(OverlapsTest, ThoseWhoComeLaterShareTheNextRoundUntilTheLastOfThemGivesUp) {
  wire::Attr file = make_marked(name_);
  stores(1, 100);
  wire::GetAttrRequest stat{.inode = file.inode};
  shard_.peer(1).delay_next(Opcode::kQueryChunks);
  auto first = start(stat);
  ASSERT_TRUE(shard_.eventually([&] { return queries(1) == 1; }));
  auto impatient = start(stat, milliseconds(500));
  std::vector<Client::Pending> others{start(stat), start(stat), start(stat)};
  EXPECT_EQ(queries(1), 1U);
  shard_.peer(1).let_go(Opcode::kQueryChunks);
  shard_.peer(1).hold(Opcode::kQueryChunks);
  ASSERT_TRUE(ends(first));
  EXPECT_TRUE((**first).has_value());
  ASSERT_TRUE(ends(impatient));
  pass_time();
  for (const Client::Pending& other : others) {
    EXPECT_FALSE(other->has_value());
  }
  shard_.peer(1).release(Opcode::kQueryChunks);
  for (const Client::Pending& other : others) {
    ASSERT_TRUE(ends(other));
    EXPECT_TRUE((**other).has_value());
  }
  EXPECT_EQ(queries(1), 2U);
}

// --- Waiting for a lock --------------------------------------------------------------------------

// The error of an operation that waits for another one names the shard for which that one waits.
TEST_F(OverlapsTest, AWaitForATruncationOrAnAppendNamesWhoDoesNotAnswer) {
  wire::Attr file = make_marked(name_);
  ASSERT_TRUE(mark(2, file, 5).has_value());
  shard_.peer(2).hold(Opcode::kQueryChunks);
  wire::SetAttrRequest cut;
  cut.inode = file.inode;
  cut.mask = wire::kSetSize;
  wire::AppendRequest append;
  append.inode = file.inode;
  append.length = 10;
  auto expect_named = [&] {
    auto waits = shard_.call(append, {}, Deadline::after(milliseconds(2000)));
    ASSERT_FALSE(waits.has_value());
    EXPECT_TRUE(waits.error().message().contains("waits for node_2")) << waits.error().message();
    EXPECT_FALSE(waits.error().message().contains("node_1")) << waits.error().message();
  };
  std::size_t asked = queries(1);
  auto truncation = start(cut);
  ASSERT_TRUE(shard_.eventually([&] { return queries(1) > asked; }));
  expect_named();
  shard_.peer(2).release(Opcode::kQueryChunks);
  ASSERT_TRUE(ends(truncation));
  shard_.peer(2).hold(Opcode::kQueryChunks);
  ASSERT_TRUE(mark(1, file, 7).has_value());
  ASSERT_TRUE(mark(2, file, 7).has_value());
  asked = queries(1);
  auto first = start(append);
  ASSERT_TRUE(shard_.eventually([&] { return queries(1) > asked; }));
  expect_named();
  shard_.peer(2).release(Opcode::kQueryChunks);
  ASSERT_TRUE(ends(first));
}

TEST_F(OverlapsTest, AWaitForAFileThatIsCutNamesWhoHasNotCut) {
  wire::Attr file = make_marked(name_);
  ASSERT_TRUE(mark(2, file, 5).has_value());
  stores(1, 100);
  stores(2, 200);
  auto expect_named = [&](const auto& answer) {
    ASSERT_FALSE(answer.has_value());
    EXPECT_TRUE(answer.error().message().contains("waits for node_2")) << answer.error().message();
    EXPECT_FALSE(answer.error().message().contains("node_1")) << answer.error().message();
  };
  shard_.peer(2).hold(Opcode::kTruncateChunks);
  wire::SetAttrRequest cut{.inode = file.inode, .size = 150, .mask = wire::kSetSize};
  auto truncation = start(cut);
  ASSERT_TRUE(shard_.eventually([&] { return cuts(1) == 1 && cuts(2) == 1; }));
  wire::AppendRequest append{.inode = file.inode, .length = 10};
  expect_named(shard_.call(append, {}, Deadline::after(milliseconds(2000))));
  expect_named(stat(file, milliseconds(2000)));
  shard_.peer(2).release(Opcode::kTruncateChunks);
  ASSERT_TRUE(ends(truncation));
  shard_.peer(2).hold(Opcode::kTruncateChunks);
  expect_named(truncate(file, 120, milliseconds(2000)));
  shard_.peer(2).release(Opcode::kTruncateChunks);
}

TEST_F(OverlapsTest, AWaitForADirectoryThatIsRemovedNamesOnlyWhoHasNotAnswered) {
  std::string name = shard_.local_name("d");
  auto bytes = static_cast<std::uint16_t>(name.size());
  wire::MkdirRequest make{.parent = wire::kRootInode.value, .mode = 0755, .name_bytes = bytes};
  ASSERT_TRUE(shard_.call(make, name).has_value());
  shard_.peer(2).hold(Opcode::kFreezeDirectory);
  wire::RmdirRequest remove{.parent = wire::kRootInode.value, .name_bytes = bytes};
  auto removal =
      shard_.client().start(rpc::make_call(remove, name), Deadline::after(std::chrono::hours(1)));
  ASSERT_TRUE(shard_.eventually([&] {
    return shard_.peer(1).count(Opcode::kFreezeDirectory) == 1 &&
           shard_.peer(2).count(Opcode::kFreezeDirectory) == 1;
  }));
  wire::LookupRequest lookup{.parent = wire::kRootInode.value, .name_bytes = bytes};
  auto waits = shard_.call(lookup, name, Deadline::after(milliseconds(2000)));
  ASSERT_FALSE(waits.has_value());
  EXPECT_TRUE(waits.error().message().contains("waits for node_2")) << waits.error().message();
  EXPECT_FALSE(waits.error().message().contains("node_1")) << waits.error().message();
  shard_.peer(2).release(Opcode::kFreezeDirectory);
  ASSERT_TRUE(ends(removal));
  EXPECT_TRUE((**removal).has_value());
}

// --- Settling ------------------------------------------------------------------------------------

TEST_F(OverlapsTest, AFileThatIsWrittenAgainIsSettledByItsLastClose) {
  wire::Attr file = make_marked(name_);
  stores(1, 100, 4);
  shard_.peer(1).delay_next(Opcode::kQueryChunks);
  ASSERT_TRUE(close(1));
  ASSERT_TRUE(shard_.eventually([&] { return queries(1) == 1; }));
  stores(1, 100, 5);
  ASSERT_TRUE(open(name_, 2).has_value());
  ASSERT_EQ(queries(1), 2U);
  shard_.peer(1).let_go(Opcode::kQueryChunks);  // its stamp is an earlier one
  ASSERT_TRUE(shard_.eventually_in_stats("\"sizes_to_settle\":0"));
  EXPECT_EQ(queries(1), 2U);
  ASSERT_TRUE(close(2));
  ASSERT_TRUE(shard_.eventually([&] { return queries(1) == 3; }));
  EXPECT_TRUE(shard_.eventually_in_stats("\"sizes_to_settle\":0"));
  EXPECT_EQ(size(file), 100U);
  EXPECT_EQ(queries(1), 3U);
}

TEST_F(OverlapsTest, AFileThatIsClosedWhileItIsCutIsSettledWhenItHasBeen) {
  wire::Attr file = make_marked(name_);
  stores(1, 100, 5);
  shard_.peer(1).hold(Opcode::kTruncateChunks);
  begin_truncation(file, 10);
  ASSERT_TRUE(close(1));
  pass_time();
  stores(1, 10, 5);
  std::size_t asked = queries(1);
  shard_.peer(1).release(Opcode::kTruncateChunks);
  EXPECT_TRUE(shard_.eventually([&] { return queries(1) > asked; }));
  EXPECT_TRUE(shard_.eventually_in_stats("\"sizes_to_settle\":0"));
  asked = queries(1);
  EXPECT_EQ(size(file), 10U);
  EXPECT_EQ(queries(1), asked);
}

TEST_F(OverlapsTest, AFileOfWhichAShardLostItsPartStaysMarked) {
  wire::Attr file = make_marked(name_);
  shard_.peer(1).answer_error(Opcode::kQueryChunks, Error{Errc::kDataLost, 0, {}});
  ASSERT_TRUE(close(1));
  ASSERT_TRUE(shard_.eventually([&] { return queries(1) == 1; }));
  ASSERT_TRUE(shard_.eventually_in_stats("\"sizes_to_settle\":0"));
  auto lost = stat(file);
  ASSERT_FALSE(lost.has_value());
  EXPECT_EQ(lost.error().code, Errc::kDataLost);
}

// It may have been of any size.
TEST_F(OverlapsTest, AFileOfWhichAShardLostItsPartIsNotSyncedAndIsCutToAnySize) {
  wire::Attr file = make_marked(name_);
  shard_.peer(1).answer_error(Opcode::kQueryChunks, Error{Errc::kDataLost, 0, {}});
  auto synced = shard_.call(wire::FsyncRequest{.inode = file.inode});
  ASSERT_FALSE(synced.has_value());
  EXPECT_EQ(synced.error().code, Errc::kDataLost);
  ASSERT_TRUE(truncate(file, 5000).has_value());
  EXPECT_EQ(cuts(1), 1U);
  stores(1, 0);
  EXPECT_EQ(size(file), 5000U);
}

// --- Opens ---------------------------------------------------------------------------------------

TEST_F(OverlapsTest, AnOpenWhoseSessionEndedDoesNotHappen) {
  wire::Attr file = make_marked(name_);
  stores(1, 100);
  shard_.peer(1).hold(Opcode::kQueryChunks);
  wire::OpenInodeRequest open{.inode = file.inode, .flags = wire::kOpenRead, .open_number = 1};
  {
    Client other("other", {shard_.address()});
    auto pending = other.start(rpc::make_call(open));
    ASSERT_TRUE(other.eventually([&] { return queries(1) == 1; }));
    EXPECT_TRUE(shard_.eventually_in_stats("\"open\":2,"));
  }
  EXPECT_TRUE(shard_.eventually_in_stats("\"open\":1,"));
  shard_.peer(1).release(Opcode::kQueryChunks);
  EXPECT_EQ(size(file), 100U);  // asked after the open
  EXPECT_TRUE(shard_.stats().contains("\"open\":1,"));
}

// The client registered again, and had no answer yet: it did not name the open.
TEST_F(OverlapsTest, AnOpenThatWasNotNamedIsOpenWhenItIsAnswered) {
  wire::Attr file = make_marked(name_);
  stores(1, 100);
  shard_.peer(1).hold(Opcode::kQueryChunks);
  wire::OpenInodeRequest open{.inode = file.inode, .flags = wire::kOpenRead, .open_number = 2};
  auto pending = start(open);
  ASSERT_TRUE(shard_.eventually_in_stats("\"open\":2,"));
  wire::OpensNotice opens;
  opens.from = 1;
  opens.to = 3;
  opens.count = 1;
  std::uint64_t kept = 1;
  ASSERT_TRUE(shard_.notify(opens, std::as_bytes(std::span(&kept, 1))));
  ASSERT_TRUE(shard_.eventually_in_stats("\"open\":1,"));
  shard_.peer(1).release(Opcode::kQueryChunks);
  ASSERT_TRUE(ends(pending));
  EXPECT_TRUE((**pending).has_value());
  EXPECT_TRUE(shard_.eventually_in_stats("\"open\":2,"));
}

TEST_F(OverlapsTest, ARepeatedOpenTruncatesOnce) {
  wire::Attr file = create(name_, 1);
  ASSERT_TRUE(truncate(file, 50).has_value());
  wire::OpenInodeRequest open{
      .inode = file.inode, .flags = wire::kOpenWrite | wire::kOpenTruncate, .open_number = 2};
  EXPECT_EQ(shard_.call(open).value().attr.size, 0U);
  ASSERT_TRUE(truncate(file, 100).has_value());
  EXPECT_EQ(shard_.call(open).value().attr.size, 100U);
}

TEST_F(OverlapsTest, ARepeatedOpenOfANameThatIsGoneIsTheSameOpen) {
  wire::Attr file = create(name_, 1);
  ASSERT_TRUE(unlink(name_).has_value());
  auto again = open(name_, 1);
  ASSERT_TRUE(again.has_value()) << again.error().message();
  EXPECT_EQ(again->attr.inode, file.inode);
  EXPECT_EQ(again->attr.nlink, 0U);
}

// --- The end of files ----------------------------------------------------------------------------

TEST_F(OverlapsTest, NobodyIsToldThatAFileIsGoneWhileAShardMayTrustItsMark) {
  wire::Attr file = make_marked(name_);
  wire::AppendRequest overtaken = question(file, append(file, 10));
  stores(1, 100, 5);
  shard_.peer(1).hold(Opcode::kTruncateChunks);
  ASSERT_TRUE(unlink(name_).has_value());
  ASSERT_TRUE(close(1));
  auto waits = stat(file, std::chrono::seconds(2));  // twice as long as between housekeepings
  ASSERT_FALSE(waits.has_value());
  EXPECT_FALSE(waits.error().is_posix(ENOENT));
  wire::OpenInodeRequest open{.inode = file.inode, .flags = wire::kOpenRead, .open_number = 2};
  auto opened = start(open);
  auto left = start(overtaken);
  EXPECT_TRUE(shard_.stats().contains("\"open\":0,"));
  EXPECT_FALSE(opened->has_value());
  EXPECT_FALSE(left->has_value());
  shard_.peer(1).release(Opcode::kTruncateChunks);
  auto gone = stat(file);
  ASSERT_FALSE(gone.has_value());
  EXPECT_TRUE(gone.error().is_posix(ENOENT)) << gone.error().message();
  ASSERT_TRUE(ends(opened));
  EXPECT_FALSE((**opened).has_value());
  ASSERT_TRUE(ends(left));
  ASSERT_FALSE((**left).has_value());
  EXPECT_TRUE((**left).error().is_posix(ENOENT)) << (**left).error().message();
}

// --- What is owed --------------------------------------------------------------------------------

TEST_F(OverlapsTest, ASilentShardIsTriedByOneWorkAtATimeAndHoldsUpNoOther) {
  constexpr std::uint32_t kFiles = 10;
  auto name = [&](std::uint32_t i) { return shard_.local_name("f" + std::to_string(i) + "_"); };
  for (std::uint32_t i = 0; i < kFiles; ++i) {
    make_marked(name(i), i + 1);
  }
  std::string other = shard_.local_name("other");
  ASSERT_TRUE(mark(2, create(other, kFiles + 1), 5).has_value());
  auto end = [&](const std::string& of, std::uint64_t number) {
    EXPECT_TRUE(unlink(of).has_value());
    EXPECT_TRUE(close(number));
  };
  shard_.peer(1).answer_error(Opcode::kTruncateChunks, Error{Errc::kInternal, 0, {}});
  end(name(0), 1);
  ASSERT_TRUE(shard_.eventually_in_stats("\"silent\":[{\"node_id\":\"node_1\""));
  std::size_t before = cuts(1);
  shard_.peer(1).delay_next(Opcode::kTruncateChunks);
  ASSERT_TRUE(shard_.eventually([&] { return cuts(1) > before; }));
  for (std::uint32_t i = 1; i < kFiles; ++i) {
    end(name(i), i + 1);
  }
  end(other, kFiles + 1);
  EXPECT_TRUE(shard_.eventually([&] { return cuts(2) == 1; }));
  EXPECT_TRUE(shard_.eventually_in_stats("\"files_to_free\":10"));
  EXPECT_LE(cuts(1), before + 2);  // one may have come before it was to be delayed
  shard_.peer(1).answer<wire::TruncateChunksRequest>({});
  shard_.peer(1).let_go(Opcode::kTruncateChunks);
  EXPECT_TRUE(shard_.eventually_in_stats("\"files_to_free\":0"));
}

}  // namespace
}  // namespace benchfs::server
