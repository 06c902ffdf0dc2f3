#include "rpc/heartbeat.h"

#include <gtest/gtest.h>

namespace benchfs::rpc {
namespace {

using std::chrono::milliseconds;

constexpr Nanos kLimit = milliseconds(2000);
constexpr Nanos kStep = milliseconds(5);

class HeartbeatTest : public ::testing::Test {
 protected:
  using Verdict = Heartbeat::Verdict;

  HeartbeatTest() { heartbeat.begin(now); }
  // Checks every kStep until the verdict is not kAlive or `span` is over; returns the last one.
  Verdict check_for(Nanos span) {
    Verdict verdict = Verdict::kAlive;
    for (Nanos passed{}; passed < span && verdict == Verdict::kAlive; passed += kStep) {
      now += kStep;
      verdict = heartbeat.check(now);
    }
    return verdict;
  }
  MonoTime begin{std::chrono::hours(1)};
  MonoTime now = begin;
  Heartbeat heartbeat{kLimit};
};

TEST_F(HeartbeatTest, ASilentPeerIsAskedOnceAndThenDead) {
  EXPECT_EQ(check_for(kLimit), Verdict::kSendHeartbeat);
  EXPECT_EQ(now - begin, kLimit / 4);
  EXPECT_TRUE(heartbeat.is_doubtful());
  EXPECT_EQ(check_for(kLimit), Verdict::kDead);
  EXPECT_EQ(now - begin, kLimit);
}

TEST_F(HeartbeatTest, APeerThatAnswersLivesForEverAndIsAskedAgain) {
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(check_for(kLimit), Verdict::kSendHeartbeat) << i;
    heartbeat.heard();
    EXPECT_FALSE(heartbeat.is_doubtful());
  }
  EXPECT_GT(now - begin, 10 * kLimit);
}

TEST_F(HeartbeatTest, AnAnswerAtTheLastMomentCounts) {
  EXPECT_EQ(check_for(kLimit), Verdict::kSendHeartbeat);
  EXPECT_EQ(check_for(kLimit - kLimit / 4 - kStep), Verdict::kAlive);
  heartbeat.heard();
  EXPECT_EQ(check_for(kStep), Verdict::kAlive);
  EXPECT_EQ(heartbeat.silence(), Nanos::zero());
}

TEST_F(HeartbeatTest, TimeInWhichThisProcessWasStoppedDoesNotCount) {
  EXPECT_EQ(check_for(kLimit), Verdict::kSendHeartbeat);
  EXPECT_EQ(check_for(kLimit - kLimit / 4 - kStep), Verdict::kAlive);
  now += std::chrono::hours(1);
  MonoTime continued = now;
  EXPECT_EQ(heartbeat.check(now), Verdict::kAlive);
  EXPECT_EQ(check_for(kLimit), Verdict::kSendHeartbeat) << "it is asked again first";
  EXPECT_EQ(check_for(kLimit), Verdict::kDead);
  EXPECT_EQ(now - continued, kLimit);
}

TEST_F(HeartbeatTest, IdleTimeDoesNotCount) {
  EXPECT_EQ(check_for(kLimit / 4 - kStep), Verdict::kAlive);
  now += milliseconds(100);  // nobody waited: no checks
  heartbeat.begin(now);
  EXPECT_EQ(check_for(kLimit / 4 - kStep), Verdict::kAlive);
}

}  // namespace
}  // namespace benchfs::rpc
