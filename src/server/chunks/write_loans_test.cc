// What a program of the node overwrites by itself, while the chunk is cut, removed, settled or lent
// to others: at each instant of its copy.
#include <array>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "door/steps.h"
#include "server/testing/fills_fixture.h"

namespace benchfs::server {
namespace {

using door::Step;
using link::SlotCopy;
using rpc::testing::Client;
using testing::FillsTest;
using testing::kChunk;

constexpr std::array kInstants{Step::kSlotNamed, Step::kSlotOverwriting, Step::kSlotOverwritten};

class WriteLoansTest : public FillsTest {
 protected:
  void SetUp() override {
    FillsTest::SetUp();
    store(file_, 2000, 'a');
  }
  void TearDown() override { door::step_hook = nullptr; }

  // As a client of another node does.
  void store(wire::Attr file, std::uint32_t length, char value, std::uint32_t offset = 0) {
    wire::WriteChunkRequest body;
    body.inode = file.inode;
    body.offset = offset;
    body.length = length;
    std::vector<std::byte> bytes(length, static_cast<std::byte>(value));
    EXPECT_TRUE(shard_.call(body, {}, Deadline::after(std::chrono::seconds(10)), bytes));
  }
  Result<wire::BeginFillReply> ask_loan(std::uint64_t inode,
                                        std::uint32_t offset,
                                        std::uint32_t length,
                                        std::uint32_t loan = 0,
                                        std::uint64_t number = 1) {
    wire::BeginFillRequest request;
    request.inode = inode;
    request.offset = offset;
    request.length = length;
    request.number = number;
    request.place = wire::kNoPlace;
    request.loan = loan;
    return ask(*program_, request);
  }
  link::SlotRight lend(wire::Attr file, std::uint32_t length, std::uint32_t loan = 0) {
    Result<wire::BeginFillReply> reply = ask_loan(file.inode, 0, length, loan);
    EXPECT_TRUE(reply) << reply.error().message();
    EXPECT_NE(reply->loan_ms, 0U);
    return {.slot = reply->slot,
            .place = loan,
            .generation = reply->generation,
            .until = BootTime::max()};
  }
  SlotCopy overwrite(const link::SlotRight& right,
                     char value,
                     std::uint32_t offset = 0,
                     std::uint32_t length = 1000) {
    std::vector<std::byte> bytes(length, static_cast<std::byte>(value));
    return slots(*program_).overwrite(right, offset, bytes);
  }
  // The same; at one of its instants `other` happens.
  SlotCopy overwrite_while(const link::SlotRight& right,
                           Step instant,
                           const std::function<void()>& other) {
    static Step at;
    static const std::function<void()>* what;
    at = instant;
    what = &other;
    door::step_hook = [](Step step) {
      if (step == at) {
        door::step_hook = nullptr;
        (*what)();
      }
    };
    SlotCopy how = overwrite(right, 'X', 0, 2000);
    EXPECT_EQ(door::step_hook.load(), nullptr) << "the instant did not come";
    door::step_hook = nullptr;
    return how;
  }
  std::int64_t mtime(wire::Attr file) {
    auto reply = stat(file);
    EXPECT_TRUE(reply) << reply.error().message();
    return reply ? reply->attr.mtime_ns : -1;
  }
  // What the home asks when nobody has the file open for writing. True: it is at rest.
  bool settle() {
    wire::QueryChunksRequest query;
    query.inode = file_.inode;
    query.chunk_bytes = kChunk;
    query.flags = wire::kQueryClear;
    auto reply = shard_.call(query);
    EXPECT_TRUE(reply) << reply.error().message();
    return reply && reply->stamp != 0;
  }
};

// Two threads of the program: that one has done its copy says nothing of the other.
TEST_F(WriteLoansTest, EachThreadThatCopiesIsSeen) {
  wire::Attr other = create(shard_.local_name("other"), 2);
  store(other, 2000, 'o');
  link::SlotRight right = lend(file_, 2000, 0);
  link::SlotRight second = lend(other, 2000, 1);
  for (Step instant : kInstants) {
    SlotCopy how = overwrite_while(right, instant, [&] {
      EXPECT_EQ(overwrite(second, 'p'), SlotCopy::kDone);
      EXPECT_FALSE(settle()) << "the first is in its copy";
    });
    EXPECT_EQ(how, SlotCopy::kMoved);
    EXPECT_TRUE(shard_.eventually([&] { return settle(); }));
    right = lend(file_, 2000, 0);
  }
}

// The program has given the place to another chunk since, and overwrites that.
TEST_F(WriteLoansTest, ARequestThatWasHeldUpDoesNotTakeThePlaceOfALaterOne) {
  wire::Attr other = create(shard_.local_name("other"), 2);
  store(other, 2000, 'o');
  Result<wire::BeginFillReply> later = ask_loan(file_.inode, 0, 2000, 3, 8);
  ASSERT_TRUE(later);
  ASSERT_NE(later->loan_ms, 0U);
  Result<wire::BeginFillReply> earlier = ask_loan(other.inode, 0, 2000, 3, 7);
  ASSERT_TRUE(earlier);
  EXPECT_EQ(earlier->loan_ms, 0U);
  link::SlotRight right{
      .slot = later->slot, .place = 3, .generation = later->generation, .until = BootTime::max()};
  EXPECT_EQ(overwrite(right, 'b', 0, 2000), SlotCopy::kDone);
  EXPECT_TRUE(settle());
  EXPECT_EQ(overwrite(right, 'c', 0, 2000), SlotCopy::kMoved) << "it was a write under way";
  EXPECT_EQ(content(), "b*2000 ");
}

TEST_F(WriteLoansTest, WhatIsOverwrittenIsReadByAllAndNobodyIsTold) {
  link::SlotRight right = lend(file_, 2000);
  for (char value : {'b', 'c'}) {
    EXPECT_EQ(overwrite(right, value, 500), SlotCopy::kDone);
    EXPECT_EQ(content(), std::string("a*500 ") + value + "*1000 a*500 ");
  }
  EXPECT_EQ(overwrite(right, 'd', 1500), SlotCopy::kShort) << "beyond what is stored";
  store(file_, 500, 'e', 2000);
  EXPECT_EQ(overwrite(right, 'd', 1500), SlotCopy::kDone);
  EXPECT_EQ(content(), "a*500 c*1000 d*1000 ");
  EXPECT_EQ(size(file_), 2500U);
}

TEST_F(WriteLoansTest, OnlyStoredBytesAreLent) {
  EXPECT_EQ(ask_loan(file_.inode, 1500, 501)->loan_ms, 0U);
  EXPECT_EQ(ask_loan(file_.inode, 1500, 501)->slot, wire::kNoSlot);
  wire::BeginFillRequest either = room(1500, 501, 1);
  either.loan = 0;
  EXPECT_EQ(begin(either)->loan_ms, 0U) << "there is room, which is to be filled and ended";
  wire::BeginFillRequest append = room(0, 100, 2);
  append.loan = 0;
  append.truncation = 0;
  EXPECT_EQ(begin(append)->loan_ms, 0U);
  either = room(0, 100, 3);
  either.loan = 0;
  EXPECT_EQ(begin(either)->loan_ms, wire::kLoanForEver) << "its home is this shard";
}

TEST_F(WriteLoansTest, OthersHaveNone) {
  wire::BeginFillRequest request = room(0, 100, 1, wire::kNoPlace);
  request.loan = 0;
  EXPECT_EQ(ask(shard_.client(), request)->slot, wire::kNoSlot) << "a client of another node";
  EXPECT_EQ(ask_loan(file_.inode, 0, 100, wire::kMaxWriteLoans)->slot, wire::kNoSlot);
}

TEST_F(WriteLoansTest, EveryStatShowsWhenSomethingWasOverwritten) {
  link::SlotRight right = lend(file_, 2000);
  std::int64_t before = mtime(file_);
  EXPECT_EQ(mtime(file_), before) << "nothing was yet";
  std::int64_t begun = wall_now_ns();
  EXPECT_EQ(overwrite(right, 'b'), SlotCopy::kDone);
  std::int64_t after = mtime(file_);
  EXPECT_GE(after, begun);
  EXPECT_LE(after, wall_now_ns());
  EXPECT_EQ(mtime(file_), after);
  EXPECT_EQ(overwrite(right, 'c'), SlotCopy::kDone);
  EXPECT_GT(mtime(file_), after);
}

TEST_F(WriteLoansTest, ATimeThatIsSetIsNotUndoneByAnOverwriteFromBefore) {
  link::SlotRight right = lend(file_, 2000);
  EXPECT_EQ(overwrite(right, 'b'), SlotCopy::kDone);
  wire::SetAttrRequest body;
  body.inode = file_.inode;
  body.mask = wire::kSetMtime;
  body.mtime_ns = 1000;
  ASSERT_TRUE(shard_.call(body));
  EXPECT_EQ(mtime(file_), 1000);
  EXPECT_EQ(overwrite(right, 'c'), SlotCopy::kDone);
  EXPECT_GT(mtime(file_), 1000);
}

TEST_F(WriteLoansTest, APlaceThatGoesToAnotherChunkTakesNothingAlong) {
  wire::Attr other = create(shard_.local_name("g"), 2);
  store(other, 1000, 'o');
  link::SlotRight right = lend(file_, 2000);
  EXPECT_EQ(overwrite(right, 'b'), SlotCopy::kDone);
  std::int64_t of_other = mtime(other);
  link::SlotRight next = lend(other, 1000);
  EXPECT_EQ(mtime(other), of_other);
  std::int64_t of_first = mtime(file_);
  EXPECT_EQ(overwrite(next, 'p'), SlotCopy::kDone);
  EXPECT_EQ(mtime(file_), of_first);
  EXPECT_GT(mtime(other), of_other);
  EXPECT_TRUE(settle()) << "the first is not lent any more";
}

TEST_F(WriteLoansTest, AFileThatSettlesIsNotWrittenUnderAnOldLoan) {
  link::SlotRight right = lend(file_, 2000);
  EXPECT_EQ(overwrite(right, 'b'), SlotCopy::kDone);
  std::int64_t written = mtime(file_);
  EXPECT_TRUE(settle());
  EXPECT_EQ(overwrite(right, 'c'), SlotCopy::kMoved);
  EXPECT_EQ(content(), "b*1000 a*1000 ");
  EXPECT_EQ(mtime(file_), written);
  EXPECT_EQ(overwrite(lend(file_, 2000), 'c'), SlotCopy::kDone);
}

TEST_F(WriteLoansTest, TheLastCloseTakesThemBackAndTheTimeStays) {
  link::SlotRight right = lend(file_, 2000);
  EXPECT_EQ(overwrite(right, 'b'), SlotCopy::kDone);
  std::int64_t written = mtime(file_);
  ASSERT_TRUE(close(1));
  EXPECT_TRUE(shard_.eventually([&] { return overwrite(right, 'b', 0, 1) == SlotCopy::kMoved; }));
  EXPECT_GE(mtime(file_), written);
}

// It is late: until it is seen outside, bytes may change that nobody is told of.
TEST_F(WriteLoansTest, AProgramInTheMiddleOfACopyKeepsTheFileFromComingToRest) {
  for (Step instant : kInstants) {
    link::SlotRight right = lend(file_, 2000);
    SlotCopy how = overwrite_while(right, instant, [&] { EXPECT_FALSE(settle()); });
    EXPECT_EQ(how, SlotCopy::kMoved) << "it has not returned, and is repeated";
    EXPECT_TRUE(settle());
    store(file_, 2000, 'a');
  }
}

TEST_F(WriteLoansTest, ACutDuringTheCopyLeavesWhatComesAfterItAlone) {
  for (Step instant : kInstants) {
    link::SlotRight right = lend(file_, 2000);
    SlotCopy how = overwrite_while(right, instant, [&] {
      ASSERT_TRUE(truncate(file_, 1000));
      store(file_, 500, 'c', 1500);
      EXPECT_EQ(content().substr(content().find(' ') + 1), "0*500 c*500 ");
    });
    EXPECT_EQ(how, SlotCopy::kMoved);
    std::string now = content();
    EXPECT_TRUE(now == "a*1000 0*500 c*500 " || now == "X*1000 0*500 c*500 ") << now;
    store(file_, 2000, 'a');
  }
}

TEST_F(WriteLoansTest, ARemovalDuringTheCopyLeavesOtherFilesAlone) {
  for (Step instant : kInstants) {
    std::string name = shard_.local_name("removed");
    wire::Attr removed = create(name, 10);
    store(removed, 2000, 'r');
    link::SlotRight right = lend(removed, 2000);
    wire::Attr other;
    SlotCopy how = overwrite_while(right, instant, [&] {
      ASSERT_TRUE(unlink(name));
      ASSERT_TRUE(close(10));
      ASSERT_TRUE(shard_.eventually_in_stats("\"orphans\":0"));
      other = create(shard_.local_name("other"), 11);
      store(other, 2000, 'o');
    });
    EXPECT_EQ(how, SlotCopy::kMoved);
    std::swap(file_, other);
    EXPECT_EQ(content(), "o*2000 ");
    std::swap(file_, other);
  }
}

TEST_F(WriteLoansTest, APlaceWhoseProgramIsInACopyIsNotGivenAgain) {
  link::SlotRight right = lend(file_, 2000);
  (void)overwrite_while(right, Step::kSlotOverwriting, [&] {
    EXPECT_FALSE(settle());
    EXPECT_EQ(ask_loan(file_.inode, 0, 2000)->slot, wire::kNoSlot);
    EXPECT_NE(ask_loan(file_.inode, 0, 2000, 1)->slot, wire::kNoSlot);
  });
  EXPECT_NE(ask_loan(file_.inode, 0, 2000)->slot, wire::kNoSlot);
}

TEST_F(WriteLoansTest, TheEndOfAProgramEndsThemAndTheTimeStays) {
  link::SlotRight right = lend(file_, 2000);
  EXPECT_EQ(overwrite(right, 'b'), SlotCopy::kDone);
  std::int64_t written = mtime(file_);
  program_.reset();
  EXPECT_TRUE(shard_.eventually_in_stats("\"programs\":0"));
  EXPECT_EQ(mtime(file_), written);
  EXPECT_EQ(content(), "b*1000 a*1000 ");
}

TEST_F(WriteLoansTest, WhatProgramsSayThatTheyCopiedIsCounted) {
  link::SlotRight right = lend(file_, 2000);
  EXPECT_EQ(overwrite(right, 'b'), SlotCopy::kDone);
  std::vector<std::byte> bytes(500);
  ASSERT_EQ(slots(*program_).read(right.slot, right.generation, 0, bytes), SlotCopy::kDone);
  std::string counted =
      "\"direct_reads\":1,\"direct_bytes_out\":500,\"direct_overwrites\":1,"
      "\"direct_bytes_in\":1000";
  EXPECT_NE(shard_.stats().find(counted), std::string::npos) << shard_.stats();
  program_.reset();
  ASSERT_TRUE(shard_.eventually_in_stats("\"programs\":0"));
  EXPECT_NE(shard_.stats().find(counted), std::string::npos) << "also of those that have left";
}

TEST_F(WriteLoansTest, AFileThatIsGoneIsNotLent) {
  ASSERT_TRUE(unlink(name_));
  ASSERT_TRUE(close(1));
  ASSERT_TRUE(shard_.eventually_in_stats("\"orphans\":0"));
  Result<wire::BeginFillReply> reply = ask_loan(file_.inode, 0, 100);
  EXPECT_TRUE(!reply || reply->slot == wire::kNoSlot);
}

// The home may tell others that a file is gone when it has not heard of this shard for some time.
TEST_F(WriteLoansTest, OfAFileOfAnotherShardTheyEndWithTheTrustInItsHome) {
  wire::MarkReply mark;
  mark.life = 1;
  mark.chunk_bytes = kChunk;
  shard_.peer(1).answer<wire::MarkRequest>(mark);
  wire::Attr far = file_;
  far.inode = wire::InodeId::make(wire::ShardId{1}, 77).value;
  store(far, 1000, 'f');
  Result<wire::BeginFillReply> reply = ask_loan(far.inode, 0, 1000);
  ASSERT_TRUE(reply);
  EXPECT_GT(reply->loan_ms, 0U);
  EXPECT_LE(reply->loan_ms, 10'000U);
  link::SlotRight right{.slot = reply->slot, .place = 0, .generation = reply->generation};
  right.until = boot_now() + std::chrono::minutes(1);
  EXPECT_EQ(overwrite(right, 'g', 0, 1000), SlotCopy::kDone);
  right.until = boot_now();
  EXPECT_EQ(overwrite(right, 'g', 0, 1000), SlotCopy::kMoved);
}

}  // namespace
}  // namespace benchfs::server
