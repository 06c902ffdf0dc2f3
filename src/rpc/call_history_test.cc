// The checker of histories finds what is wrong with each bad one, and nothing wrong with good ones.
#include "rpc/testing/call_history.h"

#include <gtest/gtest.h>

#include <cerrno>

namespace benchfs::rpc::testing {
namespace {

using Kind = Operation::Kind;

const Operation kCreate{.kind = Kind::kCreate, .name = "a", .to = {}};
const Operation kRename{.kind = Kind::kRename, .name = "a", .to = "b"};
const Operation kAppend;

class HistoryChecker : public ::testing::Test {
 protected:
  // Executed as the server does.
  Outcome execute(std::uint64_t call, const Operation& operation) {
    Outcome outcome = left_.apply(call, operation);
    history_.executed(call, outcome);
    return outcome;
  }
  void call(std::uint64_t call, const Operation& operation) {
    history_.begun(call, operation);
    history_.answered(call, execute(call, operation));
  }
  // All complaints, one a line.
  std::string complaints() {
    std::string text;
    for (const std::string& complaint : check_history(history_.events(), left_)) {
      text += complaint + "\n";
    }
    return text;
  }

  CallHistory history_;
  Names left_;
};

TEST_F(HistoryChecker, HasNothingToSayOfCallsExecutedOnce) {
  call(1, kCreate);
  call(2, kCreate);  // EEXIST
  call(3, kRename);
  call(4, kRename);  // EEXIST
  call(5, kAppend);
  call(6, kAppend);
  EXPECT_EQ(complaints(), "");
  EXPECT_EQ(history_.count(Event::Kind::kAnswered), 6U);
}

TEST_F(HistoryChecker, AllowsCallsGivenUpToHaveBeenExecutedOrNot) {
  history_.begun(1, kAppend);
  history_.given_up(1);
  history_.begun(2, kAppend);
  execute(2, kAppend);
  history_.given_up(2);
  history_.begun(3, kAppend);
  history_.given_up(3);
  execute(3, kAppend);
  call(4, kAppend);
  EXPECT_EQ(complaints(), "");
}

TEST_F(HistoryChecker, AllowsCallsToOverlap) {
  history_.begun(1, kCreate);
  history_.begun(2, kCreate);
  Outcome second = execute(2, kCreate);
  Outcome first = execute(1, kCreate);
  EXPECT_EQ(first.error, EEXIST);
  history_.answered(1, first);
  history_.answered(2, second);
  EXPECT_EQ(complaints(), "");
}

TEST_F(HistoryChecker, SeesASecondExecution) {
  history_.begun(1, kAppend);
  execute(1, kAppend);
  history_.answered(1, Outcome{});
  EXPECT_EQ(complaints(), "");
  execute(1, kAppend);
  EXPECT_EQ(complaints(), "call 0x1 was executed twice\ncall 0x1 was executed after its answer\n");
}

TEST_F(HistoryChecker, SeesASecondExecutionOfACallThatWasGivenUp) {
  history_.begun(1, kAppend);
  execute(1, kAppend);
  execute(1, kAppend);
  history_.given_up(1);
  EXPECT_EQ(complaints(), "call 0x1 was executed twice\n");
}

TEST_F(HistoryChecker, SeesASuccessThatNeverHappened) {
  history_.begun(1, kAppend);
  history_.answered(1, Outcome{});
  EXPECT_EQ(complaints(), "call 0x1 was answered without having been executed\n");
}

TEST_F(HistoryChecker, SeesAnExecutionAfterTheAnswer) {
  history_.begun(1, kAppend);
  history_.answered(1, Outcome{});
  execute(1, kAppend);
  EXPECT_EQ(complaints(),
            "call 0x1 was answered without having been executed\n"
            "call 0x1 was executed after its answer\n");
}

TEST_F(HistoryChecker, SeesAnAnswerThatIsNotTheFirst) {
  history_.begun(1, kCreate);
  execute(1, kCreate);
  history_.answered(1, {.error = EEXIST, .value = 0});  // what executing it again would give
  EXPECT_EQ(complaints(), "call 0x1 was given another answer than its first\n");
}

TEST_F(HistoryChecker, SeesTheAnswerOfAnotherCall) {
  history_.begun(1, kAppend);
  history_.begun(2, kAppend);
  history_.answered(2, execute(1, kAppend));
  history_.answered(1, execute(2, kAppend));
  EXPECT_NE(complaints(), "");
}

TEST_F(HistoryChecker, SeesASuccessThatIsLost) {
  call(1, kAppend);
  call(2, kCreate);
  left_ = Names();
  EXPECT_EQ(complaints(), "what was executed does not leave behind what is there\n");
}

TEST_F(HistoryChecker, SeesWhatIsThereWithoutHavingBeenExecuted) {
  call(1, kCreate);
  left_.apply(1, {.kind = Kind::kCreate, .name = "z", .to = {}});
  EXPECT_EQ(complaints(), "what was executed does not leave behind what is there\n");
}

TEST_F(HistoryChecker, SeesOutcomesThatTheOrderDoesNotAllow) {
  call(1, kCreate);
  history_.begun(2, kCreate);
  history_.executed(2, {.error = 0, .value = 2});  // a second success with the same name
  history_.answered(2, {.error = 0, .value = 2});
  EXPECT_EQ(complaints(), "call 0x2 came out otherwise than the calls before it allow\n");
}

TEST_F(HistoryChecker, SeesCallsThatNeverEndOrEndTwiceOrCameFromNowhere) {
  history_.begun(1, kAppend);
  EXPECT_EQ(complaints(), "call 0x1 never ended\n");
  history_.given_up(1);
  history_.given_up(1);
  EXPECT_EQ(complaints(), "call 0x1 ended twice\n");
  history_.begun(1, kAppend);
  EXPECT_EQ(complaints(), "call 0x1 ended twice\ncall 0x1 was begun twice\n");
}

TEST_F(HistoryChecker, SeesExecutionsThatNobodyAskedFor) {
  history_.executed(7, Outcome{});
  EXPECT_NE(complaints().find("call 0x7 was executed or ended before it was begun"),
            std::string::npos);
}

}  // namespace
}  // namespace benchfs::rpc::testing
