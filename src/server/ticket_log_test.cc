#include "server/ticket_log.h"

#include <gtest/gtest.h>

namespace benchfs::server {
namespace {

using Outcome = TicketLog::Outcome;
using Begun = TicketLog::Begun;
constexpr TicketLog::Sender kSender{wire::ShardId{3}, 77};

TEST(Tickets, AreNumberedForEachReceiverAndSettledInOrder) {
  Tickets tickets;
  EXPECT_EQ(tickets.settled(wire::ShardId{1}), 1U);
  {
    Tickets::Ticket first = tickets.take(wire::ShardId{1});
    EXPECT_EQ(tickets.settled(wire::ShardId{1}), first.number());
    {
      Tickets::Ticket second = tickets.take(wire::ShardId{1});
      EXPECT_GT(second.number(), first.number());
      EXPECT_EQ(tickets.settled(wire::ShardId{1}), first.number());
      EXPECT_EQ(tickets.take(wire::ShardId{2}).number(), 1U);
    }
    EXPECT_EQ(tickets.settled(wire::ShardId{1}), first.number());
  }
  EXPECT_EQ(tickets.settled(wire::ShardId{1}), 3U);
}

TEST(TicketLog, TellsWhatBecameOfATicket) {
  TicketLog log;
  ASSERT_EQ(log.begin(kSender, 1, 1), Begun::kNew);
  ASSERT_EQ(log.begin(kSender, 2, 1), Begun::kNew);
  EXPECT_EQ(log.settle(kSender, 1), Outcome::kRunning);
  log.end(kSender, 1, true);
  log.end(kSender, 2, false);
  EXPECT_EQ(log.settle(kSender, 1), Outcome::kDone);
  EXPECT_EQ(log.settle(kSender, 2), Outcome::kNotDone);
  EXPECT_EQ(log.begin(kSender, 1, 1), Begun::kKnown);
  EXPECT_EQ(log.begin(kSender, 2, 1), Begun::kKnown);
}

TEST(TicketLog, AskingAboutATicketThatHasNotArrivedRulesItOut) {
  TicketLog log;
  EXPECT_EQ(log.settle(kSender, 5), Outcome::kNotDone);
  EXPECT_EQ(log.begin(kSender, 5, 1), Begun::kKnown);
  EXPECT_EQ(log.begin(kSender, 4, 1), Begun::kNew);
  EXPECT_EQ(log.begin(kSender, 6, 1), Begun::kNew);
}

TEST(TicketLog, WhatIsUndoneWasDoneOnceOrNeverWillBe) {
  TicketLog log;
  ASSERT_EQ(log.begin(kSender, 1, 1), Begun::kNew);
  log.end(kSender, 1, true);
  EXPECT_EQ(log.undo(kSender, 1, 1), Begun::kNew);
  EXPECT_EQ(log.undo(kSender, 1, 1), Begun::kKnown);
  EXPECT_EQ(log.settle(kSender, 1), Outcome::kNotDone);
  EXPECT_EQ(log.undo(kSender, 2, 1), Begun::kKnown);
  EXPECT_EQ(log.begin(kSender, 2, 1), Begun::kKnown);
  EXPECT_EQ(log.undo(kSender, 2, 3), Begun::kKnown);
  EXPECT_EQ(log.size(), 0U);
}

TEST(TicketLog, ForgetsWhatTheSenderNeedsNoMoreAndRefusesIt) {
  TicketLog log;
  for (std::uint64_t ticket = 1; ticket <= 1000; ++ticket) {
    ASSERT_EQ(log.begin(kSender, ticket, ticket), Begun::kNew);
    log.end(kSender, ticket, true);
    EXPECT_EQ(log.size(), 1U);
  }
  EXPECT_EQ(log.begin(kSender, 999, 1), Begun::kKnown);
  EXPECT_EQ(log.settle(kSender, 999), Outcome::kNotDone);
  EXPECT_EQ(log.settle(kSender, 1000), Outcome::kDone);
  EXPECT_EQ(log.size(), 1U);
}

TEST(TicketLog, AnEndThatNobodyNeedsIsForgotten) {
  TicketLog log;
  ASSERT_EQ(log.begin(kSender, 1, 1), Begun::kNew);
  ASSERT_EQ(log.begin(kSender, 2, 2), Begun::kNew);  // the first was given up
  log.end(kSender, 1, true);
  EXPECT_EQ(log.size(), 1U);
}

TEST(TicketLog, SendersAndTheirLivesAreApart) {
  TicketLog log;
  TicketLog::Sender other{wire::ShardId{4}, 78};
  TicketLog::Sender restarted{kSender.shard, kSender.life + 1};
  ASSERT_EQ(log.begin(kSender, 1, 1), Begun::kNew);
  EXPECT_EQ(log.begin(other, 1, 1), Begun::kNew);
  EXPECT_EQ(log.size(), 2U);
  EXPECT_EQ(log.begin(restarted, 1, 1), Begun::kNew);
  EXPECT_EQ(log.size(), 2U);
  log.end(kSender, 1, true);  // begun in the life before
  EXPECT_EQ(log.settle(restarted, 1), Outcome::kRunning);
}

TEST(TicketLog, WhatALifeThatIsOverSentCountsForNothing) {
  TicketLog log;
  TicketLog::Sender later{kSender.shard, kSender.life + 1};
  ASSERT_EQ(log.begin(kSender, 7, 1), Begun::kNew);
  ASSERT_EQ(log.begin(later, 1, 1), Begun::kNew);
  log.end(later, 1, true);
  EXPECT_EQ(log.begin(kSender, 8, 1), Begun::kKnown);
  EXPECT_EQ(log.undo(kSender, 1, 1), Begun::kKnown);
  EXPECT_EQ(log.settle(kSender, 1), Outcome::kNotDone);
  EXPECT_EQ(log.begin(kSender, 9, 9), Begun::kKnown);  // which says nothing about the later one
  EXPECT_EQ(log.settle(later, 1), Outcome::kDone);
  EXPECT_EQ(log.size(), 1U);
}

TEST(TicketLog, ALifeIsOverWhenALaterOneIsHeardOf) {
  TicketLog log;
  log.on_new_life(kSender);
  TicketLog::Sender earlier{kSender.shard, kSender.life - 1};
  EXPECT_EQ(log.begin(earlier, 1, 1), Begun::kKnown);
  log.on_new_life(earlier);  // late
  EXPECT_EQ(log.begin(earlier, 1, 1), Begun::kKnown);
  EXPECT_EQ(log.begin(kSender, 1, 1), Begun::kNew);
}

TEST(TicketLog, IsBounded) {
  TicketLog log;
  for (std::uint64_t ticket = 1; ticket <= TicketLog::kMaxTickets; ++ticket) {
    ASSERT_EQ(log.begin(kSender, ticket, 1), Begun::kNew);
  }
  EXPECT_EQ(log.begin(kSender, TicketLog::kMaxTickets + 1, 1), Begun::kFull);
  EXPECT_EQ(log.begin(kSender, 1, 1), Begun::kKnown);
  EXPECT_EQ(log.undo(kSender, TicketLog::kMaxTickets + 1, 1), Begun::kFull);
  EXPECT_EQ(log.settle(kSender, TicketLog::kMaxTickets + 1), Outcome::kRunning);
  EXPECT_EQ(log.size(), TicketLog::kMaxTickets);
  EXPECT_EQ(log.begin(kSender, TicketLog::kMaxTickets + 1, TicketLog::kMaxTickets), Begun::kNew);
}

}  // namespace
}  // namespace benchfs::server
