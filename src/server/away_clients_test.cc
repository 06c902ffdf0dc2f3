#include "server/away_clients.h"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

namespace benchfs::server {
namespace {

using rpc::Departure;
using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;
using Seen = std::vector<std::string>;

class AwayClientsTest : public ::testing::Test, private AwayClients::Ends {
 protected:
  AwayClients with_grace(Nanos grace) {
    return AwayClients(
        {.grace = grace, .has_ended = [this](pid_t process) { return ended_.contains(process); }});
  }
  // What ended since it was asked last.
  Seen expire(AwayClients& clients, Nanos at) {
    seen_.clear();
    clients.expire(start_ + at, *this);
    return seen_;
  }

  MonoTime start_ = mono_now();
  std::set<pid_t> ended_;
  bool may_end_locks_ = true;

 private:
  void on_client_died(std::uint64_t uid) override {
    seen_.push_back("died " + std::to_string(uid));
  }
  bool may_end_locks(std::uint64_t) override { return may_end_locks_; }
  void end_locks(std::uint64_t uid) override { seen_.push_back("locks " + std::to_string(uid)); }
  void end_opens(std::uint64_t uid) override { seen_.push_back("opens " + std::to_string(uid)); }
  Seen seen_;
};

TEST_F(AwayClientsTest, WhatALostClientLeftEndsWithItsGrace) {
  AwayClients clients = with_grace(seconds(30));
  clients.add(1, Departure::kLost, 0, start_);
  EXPECT_EQ(expire(clients, seconds(29)), Seen());
  EXPECT_EQ(expire(clients, seconds(30)), (Seen{"locks 1", "opens 1"}));
  EXPECT_EQ(clients.size(), 0U);
}

TEST_F(AwayClientsTest, OneThatCameBackLosesNothing) {
  AwayClients clients = with_grace(seconds(30));
  clients.add(1, Departure::kLost, 0, start_);
  clients.remove(1);
  EXPECT_EQ(expire(clients, hours(1)), Seen());
}

TEST_F(AwayClientsTest, AnEvictedClientKeepsItsOpensForADay) {
  AwayClients clients = with_grace(seconds(30));
  clients.add(1, Departure::kEvicted, 7, start_);
  EXPECT_EQ(expire(clients, seconds(30)), Seen{"locks 1"});
  EXPECT_EQ(expire(clients, hours(23)), Seen{"locks 1"});
  EXPECT_EQ(expire(clients, hours(24)), (Seen{"locks 1", "opens 1"}));
}

TEST_F(AwayClientsTest, AClientWhoseRequestStillRunsLosesNothing) {
  AwayClients clients = with_grace(seconds(30));
  clients.add(1, Departure::kLost, 0, start_);
  may_end_locks_ = false;
  EXPECT_EQ(expire(clients, hours(1)), Seen());
  may_end_locks_ = true;
  EXPECT_EQ(expire(clients, hours(1)), (Seen{"locks 1", "opens 1"}));
}

TEST_F(AwayClientsTest, AProcessThatHasEndedLeavesItsOpensToItsChildrenForHalfAMinuteAtMost) {
  for (Nanos grace : {Nanos(hours(24)), Nanos(milliseconds(100))}) {
    AwayClients clients = with_grace(grace);
    clients.add(1, Departure::kDied, 7, start_);
    Nanos kept = std::min(grace, Nanos(seconds(30)));
    EXPECT_EQ(expire(clients, kept - milliseconds(1)), Seen{"locks 1"});
    EXPECT_EQ(expire(clients, kept), (Seen{"locks 1", "opens 1"}));
  }
}

TEST_F(AwayClientsTest, TheEndOfAProcessIsNoticedWhileItIsAway) {
  for (Departure how : {Departure::kLost, Departure::kEvicted}) {
    AwayClients clients = with_grace(hours(24));
    ended_.clear();
    clients.add(1, how, 7, start_);
    EXPECT_EQ(expire(clients, hours(2)), Seen());
    ended_.insert(7);
    EXPECT_EQ(expire(clients, hours(3)), (Seen{"died 1", "locks 1"}));
    EXPECT_EQ(expire(clients, hours(3) + seconds(30)), (Seen{"locks 1", "opens 1"}));
  }
}

}  // namespace
}  // namespace benchfs::server
