#include "server/names/install_log.h"

#include <gtest/gtest.h>

namespace benchfs::server {
namespace {

using Outcome = InstallLog::Outcome;
constexpr InstallLog::Sender kSender{wire::ShardId{3}, 77};

TEST(InstallTickets, AreNumberedForEachReceiverAndSettledInOrder) {
  InstallTickets tickets;
  EXPECT_EQ(tickets.settled(wire::ShardId{1}), 1U);
  {
    InstallTickets::Ticket first = tickets.take(wire::ShardId{1});
    EXPECT_EQ(tickets.settled(wire::ShardId{1}), first.number());
    {
      InstallTickets::Ticket second = tickets.take(wire::ShardId{1});
      EXPECT_GT(second.number(), first.number());
      EXPECT_EQ(tickets.settled(wire::ShardId{1}), first.number());
      EXPECT_EQ(tickets.take(wire::ShardId{2}).number(), 1U);
    }
    EXPECT_EQ(tickets.settled(wire::ShardId{1}), first.number());
  }
  EXPECT_EQ(tickets.settled(wire::ShardId{1}), 3U);
}

TEST(InstallLog, TellsWhatBecameOfATicket) {
  InstallLog log;
  ASSERT_TRUE(log.begin(kSender, 1, 1));
  ASSERT_TRUE(log.begin(kSender, 2, 1));
  EXPECT_EQ(log.settle(kSender, 1), Outcome::kRunning);
  log.end(kSender, 1, true);
  log.end(kSender, 2, false);
  EXPECT_EQ(log.settle(kSender, 1), Outcome::kInstalled);
  EXPECT_EQ(log.settle(kSender, 2), Outcome::kNotInstalled);
  EXPECT_FALSE(log.begin(kSender, 1, 1));
  EXPECT_FALSE(log.begin(kSender, 2, 1));
}

TEST(InstallLog, AskingAboutATicketThatHasNotArrivedRulesItOut) {
  InstallLog log;
  EXPECT_EQ(log.settle(kSender, 5), Outcome::kNotInstalled);
  EXPECT_FALSE(log.begin(kSender, 5, 1));
  EXPECT_TRUE(log.begin(kSender, 4, 1));
  EXPECT_TRUE(log.begin(kSender, 6, 1));
}

TEST(InstallLog, ForgetsWhatTheSenderNeedsNoMoreAndRefusesIt) {
  InstallLog log;
  for (std::uint64_t ticket = 1; ticket <= 1000; ++ticket) {
    ASSERT_TRUE(log.begin(kSender, ticket, ticket));
    log.end(kSender, ticket, true);
    EXPECT_EQ(log.size(), 1U);
  }
  EXPECT_FALSE(log.begin(kSender, 999, 1));
  EXPECT_EQ(log.settle(kSender, 999), Outcome::kNotInstalled);
  EXPECT_EQ(log.settle(kSender, 1000), Outcome::kInstalled);
  EXPECT_EQ(log.size(), 1U);
}

TEST(InstallLog, AnEndThatNobodyNeedsIsForgotten) {
  InstallLog log;
  ASSERT_TRUE(log.begin(kSender, 1, 1));
  ASSERT_TRUE(log.begin(kSender, 2, 2));  // the first was given up
  log.end(kSender, 1, true);
  EXPECT_EQ(log.size(), 1U);
}

TEST(InstallLog, SendersAndTheirLivesAreApart) {
  InstallLog log;
  InstallLog::Sender other{wire::ShardId{4}, 78};
  InstallLog::Sender restarted{kSender.shard, kSender.life + 1};
  ASSERT_TRUE(log.begin(kSender, 1, 1));
  EXPECT_TRUE(log.begin(other, 1, 1));
  EXPECT_EQ(log.size(), 2U);
  EXPECT_TRUE(log.begin(restarted, 1, 1));
  EXPECT_EQ(log.size(), 2U);
  log.end(kSender, 1, true);  // begun in the life before
  EXPECT_EQ(log.settle(restarted, 1), Outcome::kRunning);
}

TEST(InstallLog, IsBounded) {
  InstallLog log;
  for (std::uint64_t ticket = 1; ticket <= InstallLog::kMaxTickets; ++ticket) {
    ASSERT_TRUE(log.begin(kSender, ticket, 1));
  }
  EXPECT_FALSE(log.begin(kSender, InstallLog::kMaxTickets + 1, 1));
  EXPECT_EQ(log.settle(kSender, InstallLog::kMaxTickets + 1), Outcome::kRunning);
  EXPECT_EQ(log.size(), InstallLog::kMaxTickets);
  EXPECT_TRUE(log.begin(kSender, InstallLog::kMaxTickets + 1, InstallLog::kMaxTickets));
}

}  // namespace
}  // namespace benchfs::server
