#include "rpc/reply_history.h"

#include <gtest/gtest.h>

#include "rpc/testing/unserved_request.h"

namespace benchfs::rpc {
namespace {

wire::RequestId id_of(std::uint32_t slot, std::uint64_t sequence) {
  return wire::RequestId::make(slot, wire::ShardId{3}, sequence);
}

std::vector<std::byte> reply_of(int value) {
  return std::vector<std::byte>(20, static_cast<std::byte>(value));
}

class History : public ::testing::Test {
 protected:
  using Verdict = ReplyHistory::Verdict;

  testing::UnservedRequest unserved_;
  Request& request_ = unserved_.request;
  ReplyHistory history_;

  ReplyHistory::Slot& take(std::uint32_t slot, std::uint64_t sequence) {
    ReplyHistory::Lookup found = history_.find(id_of(slot, sequence));
    EXPECT_EQ(found.verdict, Verdict::kNew);
    found.slot->running = &request_;
    return *found.slot;
  }
};

TEST_F(History, ARequestIsNewOnceThenRunningThenAnswered) {
  ReplyHistory::Slot& slot = take(5, 100);
  EXPECT_EQ(history_.find(id_of(5, 100)).verdict, Verdict::kRunning);
  EXPECT_TRUE(history_.is_running());
  ReplyHistory::answer(slot, reply_of(7));
  EXPECT_FALSE(history_.is_running());
  ReplyHistory::Lookup found = history_.find(id_of(5, 100));
  ASSERT_EQ(found.verdict, Verdict::kAnswered);
  EXPECT_EQ(found.slot->reply_bytes, 20U);
  EXPECT_EQ(found.slot->reply[19], std::byte{7});
}

TEST_F(History, WhatWasNotExecutedIsNewAgain) {
  ReplyHistory::Slot& slot = take(0, 1);
  ReplyHistory::forget(slot);
  EXPECT_EQ(history_.find(id_of(0, 1)).verdict, Verdict::kNew);
}

TEST_F(History, ACallThatHasEndedIsStale) {
  ReplyHistory::answer(take(0, 1), reply_of(1));
  ReplyHistory::answer(take(0, 2), reply_of(2));
  EXPECT_EQ(history_.find(id_of(0, 1)).verdict, Verdict::kStale);
  EXPECT_EQ(history_.find(id_of(0, 2)).verdict, Verdict::kAnswered);
}

TEST_F(History, ANewCallTakesTheSlotOfOneThatWasGivenUp) {
  take(0, 1);
  ReplyHistory::answer(take(0, 2), reply_of(2));
  EXPECT_EQ(history_.find(id_of(0, 1)).verdict, Verdict::kStale);
  EXPECT_EQ(history_.find(id_of(0, 2)).verdict, Verdict::kAnswered);
}

TEST_F(History, SlotsAreApart) {
  ReplyHistory::answer(take(0, 9), reply_of(1));
  ReplyHistory::answer(take(wire::kMaxWindow - 1, 3), reply_of(2));
  EXPECT_EQ(history_.find(id_of(0, 9)).slot->reply[0], std::byte{1});
  EXPECT_EQ(history_.find(id_of(wire::kMaxWindow - 1, 3)).slot->reply[0], std::byte{2});
}

TEST(Histories, AClientThatComesBackIsKnown) {
  ReplyHistories histories(10);
  MonoTime now = mono_now();
  EXPECT_FALSE(histories.join(1, now).is_known);
  histories.leave(1, false, now);
  EXPECT_TRUE(histories.join(1, now).is_known);
  histories.leave(1, true, now);
  EXPECT_FALSE(histories.join(1, now).is_known);
}

TEST(Histories, ForgetThoseThatStayAway) {
  ReplyHistories histories(10);
  MonoTime now = mono_now();
  histories.join(1, now);
  histories.join(2, now);
  histories.leave(1, false, now);
  histories.expire(now);
  EXPECT_EQ(histories.size(), 2U);
  histories.expire(now + std::chrono::seconds(1));
  EXPECT_EQ(histories.size(), 1U);  // the second is there
}

TEST(Histories, AreBoundedAndTheLongestAwayGoesFirst) {
  ReplyHistories histories(3);
  MonoTime now = mono_now();
  for (std::uint64_t uid : {2U, 1U, 3U}) {
    histories.join(uid, now);
    histories.leave(uid, false, now);
  }
  histories.join(4, now);
  EXPECT_EQ(histories.size(), 3U);
  EXPECT_TRUE(histories.join(1, now).is_known);
  EXPECT_TRUE(histories.join(3, now).is_known);
  EXPECT_FALSE(histories.join(2, now).is_known);
}

TEST(Histories, OfAClientWhoseRequestStillRunsStays) {
  ReplyHistories histories(2);
  MonoTime now = mono_now();
  testing::UnservedRequest unserved;
  Request& request = unserved.request;
  ReplyHistory::Slot& slot = *histories.join(1, now).history->find(id_of(0, 1)).slot;
  slot.running = &request;
  histories.leave(1, false, now);
  histories.join(2, now);
  histories.leave(2, false, now);
  histories.join(3, now);
  histories.leave(3, false, now);
  histories.expire(now + std::chrono::seconds(1));
  EXPECT_EQ(histories.size(), 1U);
  EXPECT_TRUE(histories.join(1, now).is_known);
  histories.leave(1, true, now);
  EXPECT_EQ(histories.size(), 1U);
  ReplyHistory::answer(slot, reply_of(1));
  histories.expire(now);
  EXPECT_EQ(histories.size(), 0U);
}

TEST(Histories, FollowALimitThatChanges) {
  ReplyHistories histories(2);
  MonoTime now = mono_now();
  histories.set_limit(4, now);
  for (std::uint64_t uid = 1; uid <= 5; ++uid) {
    histories.join(uid, now);
    histories.leave(uid, false, now);
  }
  EXPECT_EQ(histories.size(), 4U);
  EXPECT_TRUE(histories.join(2, now).is_known);
  histories.set_limit(1, now);
  EXPECT_EQ(histories.size(), 1U);
  EXPECT_TRUE(histories.join(2, now).is_known) << "it has a session";
}

// All that are away have requests that run: the limit is exceeded, and reached again later.
TEST(Histories, AreFewAgainWhenWhatRanHasEnded) {
  ReplyHistories histories(2);
  MonoTime now = mono_now();
  testing::UnservedRequest unserved;
  Request& request = unserved.request;
  std::vector<ReplyHistory::Slot*> running;
  for (std::uint64_t uid = 1; uid <= 6; ++uid) {
    running.push_back(histories.join(uid, now).history->find(id_of(0, 1)).slot);
    running.back()->running = &request;
    histories.leave(uid, false, now);
  }
  EXPECT_EQ(histories.size(), 6U);
  for (ReplyHistory::Slot* slot : running) {
    ReplyHistory::forget(*slot);
  }
  for (std::uint64_t uid = 7; uid <= 8; ++uid) {
    histories.join(uid, now);
    histories.leave(uid, false, now);
  }
  EXPECT_EQ(histories.size(), 2U);
}

TEST(Histories, AClientIsForgottenWhenItHasNoSessionAndNothingRuns) {
  testing::UnservedRequest unserved;
  ReplyHistories histories(10);
  EXPECT_TRUE(histories.forget(1));
  ReplyHistory& history = *histories.join(1, MonoTime()).history;
  EXPECT_FALSE(histories.forget(1));
  ReplyHistory::Slot& slot = *history.find(id_of(0, 1)).slot;
  slot.running = &unserved.request;
  histories.leave(1, false, MonoTime());
  EXPECT_FALSE(histories.forget(1));
  ReplyHistory::answer(slot, reply_of(1));
  EXPECT_TRUE(histories.forget(1));
  EXPECT_EQ(histories.size(), 0U);
  EXPECT_FALSE(histories.join(1, MonoTime()).is_known);
}

}  // namespace
}  // namespace benchfs::rpc
