// Writes whose bytes a program of the node brings by itself: room, the end, and what ends without
// one.
#include <memory>
#include <string>
#include <vector>

#include "server/testing/fills_fixture.h"

namespace benchfs::server {
namespace {

using rpc::testing::Client;
using testing::FillsTest;
using testing::kChunk;

TEST_F(FillsTest, TheBytesAreThereWhenTheEndWasAnswered) {
  fill(room(0, 1000, 1), 'a');
  EXPECT_EQ(content(), "");
  EXPECT_TRUE(end(1).value());
  EXPECT_EQ(content(), "a*1000 ");
  EXPECT_FALSE(end(1).value()) << "it has ended";
}

TEST_F(FillsTest, WhatWasGivenUpStoresNothing) {
  fill(room(0, 1000, 1), 'a');
  EXPECT_FALSE(end(1, 0, wire::kFillGivenUp).value());
  EXPECT_EQ(content(), "");
  fill(room(2000, 1000, 2), 'b');
  EXPECT_TRUE(end(2).value());
  EXPECT_EQ(content(), "0*2000 b*1000 ");
}

TEST_F(FillsTest, OfOnePlaceTheHigherNumberCounts) {
  fill(room(0, 1000, 5), 'a');
  Result<wire::BeginFillReply> late = begin(room(0, 1000, 4));
  ASSERT_TRUE(late);
  EXPECT_EQ(late->slot, wire::kNoSlot) << "given up before";
  EXPECT_FALSE(end(4).value());
  fill(room(2000, 1000, 6), 'b');
  EXPECT_FALSE(end(5).value()) << "its place was used again";
  EXPECT_TRUE(end(6).value());
  EXPECT_EQ(content(), "0*2000 b*1000 ");
}

TEST_F(FillsTest, PlacesStandBesideEachOther) {
  fill(room(0, 1000, 1, 0), 'a');
  fill(room(1000, 1000, 2, wire::kMaxLoans - 1), 'b');
  EXPECT_TRUE(end(2, wire::kMaxLoans - 1).value());
  EXPECT_TRUE(end(1, 0).value());
  EXPECT_EQ(content(), "a*1000 b*1000 ");
  Result<wire::BeginFillReply> beyond = begin(room(0, 10, 3, wire::kMaxLoans));
  ASSERT_TRUE(beyond);
  EXPECT_EQ(beyond->slot, wire::kNoSlot);
  EXPECT_FALSE(end(3, wire::kMaxLoans).value());
}

TEST_F(FillsTest, ACutThatOvertookItWantsTheBytesAgain) {
  fill(room(0, 5000, 1), 'x');
  ASSERT_TRUE(end(1).value());
  fill(room(0, 1000, 2), 'a');
  ASSERT_TRUE(truncate(file_, 0).has_value());
  EXPECT_FALSE(end(2).value());
  EXPECT_EQ(content(), "");
}

TEST_F(FillsTest, AnAppendThatACutOvertookIsRefused) {
  fill(room(0, 5000, 1), 'x');
  ASSERT_TRUE(end(1).value());
  wire::BeginFillRequest append = room(5000, 1000, 2);
  append.truncation = 0;
  fill(append, 'a');
  ASSERT_TRUE(truncate(file_, 100).has_value());
  Result<bool> ended = end(2);
  ASSERT_FALSE(ended);
  EXPECT_TRUE(ended.error().is_posix(EAGAIN)) << ended.error().message();
  EXPECT_EQ(content(), "x*100 ");
}

TEST_F(FillsTest, AFileThatIsGoneTakesNothing) {
  fill(room(0, 1000, 1), 'a');
  ASSERT_TRUE(unlink(name_).has_value());
  ASSERT_TRUE(close(1));
  ASSERT_TRUE(shard_.eventually_in_stats("\"orphans\":0"));
  Result<bool> ended = end(1);
  ASSERT_FALSE(ended);
  EXPECT_TRUE(ended.error().is_posix(ESTALE)) << ended.error().message();
}

TEST_F(FillsTest, ARangeOutsideOfAChunkIsRefused) {
  for (const wire::BeginFillRequest& bad :
       {room(kChunk, 1, 1), room(0, 0, 2), room(1, kChunk, 3)}) {
    EXPECT_FALSE(begin(bad)) << bad.number;
  }
}

TEST_F(FillsTest, AClientOfAnotherNodeHasNoPlaces) {
  Result<wire::BeginFillReply> place = ask(shard_.client(), room(0, 1000, 1));
  ASSERT_TRUE(place) << place.error().message();
  EXPECT_EQ(place->slot, wire::kNoSlot);
  wire::LocateChunkRequest locate;
  locate.inode = file_.inode;
  fill(room(0, 1000, 1), 'a');
  ASSERT_TRUE(end(1).value());
  EXPECT_EQ(ask(shard_.client(), locate)->slot, wire::kNoSlot);
  EXPECT_NE(ask(*program_, locate)->slot, wire::kNoSlot);
}

TEST_F(FillsTest, AChunkIsLocatedUntilItIsCut) {
  fill(room(0, 1000, 1), 'a');
  wire::LocateChunkRequest locate;
  locate.inode = file_.inode;
  EXPECT_EQ(ask(*program_, locate)->slot, wire::kNoSlot) << "nothing is stored yet";
  ASSERT_TRUE(end(1).value());
  wire::LocateChunkReply before = ask(*program_, locate).value();
  std::vector<std::byte> bytes(1000);
  EXPECT_EQ(slots(*program_).read(before.slot, before.generation, 0, bytes), link::SlotCopy::kDone);
  ASSERT_TRUE(truncate(file_, 10).has_value());
  EXPECT_EQ(slots(*program_).read(before.slot, before.generation, 0, std::span(bytes).first(10)),
            link::SlotCopy::kMoved);
  wire::LocateChunkReply after = ask(*program_, locate).value();
  EXPECT_EQ(slots(*program_).read(after.slot, after.generation, 0, std::span(bytes).first(10)),
            link::SlotCopy::kDone);
}

TEST_F(FillsTest, TheEndOfAProgramEndsWhatItFills) {
  auto used = [&] {
    std::string now = shard_.stats();
    return now.substr(now.find("\"free_bytes\""), 30);
  };
  std::string unused = used();
  fill(room(0, kChunk, 1), 'a');
  EXPECT_NE(used(), unused);
  program_.reset();
  EXPECT_TRUE(shard_.eventually([&] { return used() == unused; }));
  EXPECT_EQ(content(), "");
}

}  // namespace
}  // namespace benchfs::server
