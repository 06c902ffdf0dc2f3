// A program that appends to a file, overwrites or reads it by itself, and is killed, or stands
// still while others go on, at each instant of it.
#include <fmt/format.h>

#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "support/client_process.h"
#include "support/temp_dir.h"
#include "system/fault_fixture.h"

namespace benchfs::test {
namespace {

struct Stretch {
  char byte;
  std::int64_t length;
};

// "a*100 0*28"
std::vector<Stretch> parse(const std::string& text) {
  std::vector<Stretch> runs;
  const char* at = text.c_str();
  while (*at != '\0') {
    char* end = nullptr;
    std::int64_t length = std::strtoll(at + 2, &end, 10);
    runs.push_back({.byte = *at, .length = length});
    at = *end == ' ' ? end + 1 : end;
  }
  return runs;
}

// Whether bytes from `begin` to `end` are all of `allowed`.
bool consists_of(const std::string& text,
                 std::int64_t begin,
                 std::int64_t end,
                 const std::string& allowed) {
  std::int64_t at = 0;
  for (const Stretch& run : parse(text)) {
    std::int64_t run_end = at + run.length;
    if (run_end > begin && at < end && allowed.find(run.byte) == std::string::npos) {
      return false;
    }
    at = run_end;
  }
  return at >= end;
}

// Two daemons, so that a file has chunks on its home and elsewhere.
class SlotInstants : public FaultFixture {
 protected:
  SlotInstants() : FaultFixture("auto") { ::setenv("BENCHFS_DOOR_DIR", path("").c_str(), 1); }
  ~SlotInstants() override { ::unsetenv("BENCHFS_DOOR_DIR"); }

  static constexpr std::int64_t kBefore = kChunk / 2 + 100;
  static constexpr std::int64_t kLength = 2 * kChunk;
  // Nobody waits for another program: operations of the others take less by far.
  static constexpr Nanos kOthersPatience = std::chrono::seconds(5);
  static constexpr int kMostInstants = 400;

  void start() {
    start_daemons(2, {"--set", "storage.engine=memory", "--set", "clients.grace_ms=10"});
    near_ = client(kOthersPatience);
    ::setenv("BENCHFS_TRANSPORT", "ucx", 1);
    far_ = client(kOthersPatience);
    ::setenv("BENCHFS_TRANSPORT", "auto", 1);
  }
  static std::int64_t ask(ClientProcess& client, const std::string& operation) {
    Answer answer = client.call(operation);
    EXPECT_TRUE(answer.ok()) << operation << ": " << answer.error;
    return answer.result;
  }
  // What both other clients see of it, once they see the same: what the victim has sent may still
  // be under way.
  std::string content(const std::string& file, std::int64_t number) {
    std::string operation = fmt::format("pread {} 0 {}", number, 8 * kChunk);
    Answer near;
    Answer far;
    EXPECT_TRUE(wait_until([&] {
      near = near_->call(operation);
      far = far_->call(operation);
      return near.ok() && near.details == far.details &&
             near_->call("stat " + file).size() == near.result &&
             far_->call("stat " + file).size() == near.result;
    })) << near.details
        << " and " << far.details;
    return near.details;
  }
  static std::int64_t length_of(const std::string& content) {
    std::int64_t sum = 0;
    for (const Stretch& run : parse(content)) {
      sum += run.length;
    }
    return sum;
  }
  // The servers have heard of its death.
  void await_end_of(std::unique_ptr<ClientProcess> victim, std::int64_t others_open) {
    victim->kill();
    EXPECT_TRUE(wait_until([&] { return held().open == others_open; }))
        << ::testing::PrintToString(held());
  }
  // By both others, who have it under the same number.
  std::int64_t open(const std::string& file) {
    std::int64_t number = ask(*near_, fmt::format("open {} bca", file));
    EXPECT_EQ(ask(*far_, fmt::format("open {} ba", file)), number);
    return number;
  }
  void close_and_remove(const std::string& file, std::int64_t number) {
    for (ClientProcess* one : {near_.get(), far_.get()}) {
      EXPECT_EQ(ask(*one, fmt::format("close {}", number)), 0);
    }
    EXPECT_EQ(ask(*far_, "unlink " + file), 0);
  }
  // The victim does it and gets the signal there. False: it has fewer instants.
  static bool bring_to_instant(ClientProcess& victim,
                               int instant,
                               int signal,
                               const std::string& operation) {
    victim.begin(fmt::format("at-instant {} {} {}", instant, signal, operation));
    if (victim.stops_before_it_answers()) {
      return true;
    }
    std::int64_t result = victim.answer().result;
    EXPECT_EQ(result, signal == SIGKILL && result != -ERANGE ? -EPIPE : -ERANGE);
    return result == -EPIPE;
  }

  // Until an operation of a victim has no more of them; there are at least `least`. In the end
  // nothing is left of it all.
  void at_each_instant(int least, const std::function<bool(int)>& reaches) {
    Held before = held();
    int instant = 1;
    for (bool is_there = true; is_there && instant < kMostInstants; ++instant) {
      SCOPED_TRACE(fmt::format("instant {}", instant));
      is_there = reaches(instant) && !HasFatalFailure();
    }
    EXPECT_GT(instant, least);
    EXPECT_LT(instant, kMostInstants);
    EXPECT_TRUE(wait_until([&] { return held() == before; })) << ::testing::PrintToString(held());
  }

  std::unique_ptr<ClientProcess> near_;
  std::unique_ptr<ClientProcess> far_;
};

TEST_F(SlotInstants, AnAppendThatIsKilledAtAnyOfThemLeavesWhatWasAcknowledged) {
  start();
  at_each_instant(20, [&](int instant) {
    std::int64_t file = open("/f");
    std::int64_t others_open = held().open;
    std::unique_ptr<ClientProcess> victim = client();
    std::int64_t own = ask(*victim, "open /f ba");
    EXPECT_EQ(ask(*victim, fmt::format("append {} {} a", own, kBefore)), kBefore);
    bool is_there =
        bring_to_instant(*victim, instant, SIGKILL, fmt::format("append {} {} b", own, kLength));
    EXPECT_EQ(ask(*near_, fmt::format("append {} 1000 c", file)), 1000);
    await_end_of(std::move(victim), others_open);

    std::string now = content("/f", file);
    std::int64_t end = length_of(now);
    EXPECT_GE(end, kBefore + 1000);
    EXPECT_LE(end, kBefore + kLength + 1000);
    EXPECT_TRUE(is_there || end == kBefore + kLength + 1000) << now;
    EXPECT_TRUE(consists_of(now, 0, kBefore, "a")) << now;
    EXPECT_TRUE(consists_of(now, kBefore, end, is_there ? "b0c" : "bc")) << now;
    EXPECT_NE(now.find("c*1000"), std::string::npos) << now;
    // What is cut off does not come back.
    ask(*far_, fmt::format("truncate /f {}", kBefore));
    ask(*near_, fmt::format("truncate /f {}", kBefore + kLength));
    EXPECT_EQ(content("/f", file), fmt::format("a*{} 0*{}", kBefore, kLength));
    close_and_remove("/f", file);
    return is_there;
  });
}

// The others cut the file, and give what the append may still fill to another file.
TEST_F(SlotInstants, AnAppendThatStandsStillAtAnyOfThemDelaysNobodyAndDamagesNothing) {
  start();
  at_each_instant(20, [&](int instant) {
    std::int64_t file = open("/f");
    std::int64_t other = open("/other");
    std::unique_ptr<ClientProcess> victim = client();
    std::int64_t own = ask(*victim, "open /f ba");
    EXPECT_EQ(ask(*victim, fmt::format("append {} {} a", own, kBefore)), kBefore);
    bool is_there =
        bring_to_instant(*victim, instant, SIGSTOP, fmt::format("append {} {} b", own, kLength));
    std::string now = content("/f", file);
    EXPECT_TRUE(consists_of(now, 0, kBefore, "a")) << now;
    EXPECT_TRUE(consists_of(now, kBefore, length_of(now), "b0")) << now;
    ask(*near_, "truncate /f 1000");
    EXPECT_EQ(content("/f", file), "a*1000");
    ask(*near_, fmt::format("append {} {} o", other, 3 * kChunk));
    ask(*far_, fmt::format("append {} {} o", other, 3 * kChunk));
    if (is_there) {
      victim->go_on();
      EXPECT_EQ(victim->answer().result, kLength);
    }
    EXPECT_EQ(content("/other", other), fmt::format("o*{}", 6 * kChunk));
    // It was over before the cut, or comes after it as a whole.
    now = content("/f", file);
    std::int64_t end = length_of(now);
    EXPECT_TRUE(consists_of(now, 0, 1000, "a")) << now;
    EXPECT_TRUE(consists_of(now, 1000, end, "b0")) << now;
    EXPECT_TRUE(end == 1000 || consists_of(now, end - kLength, end, "b")) << now;
    victim->kill();
    close_and_remove("/f", file);
    close_and_remove("/other", other);
    return is_there;
  });
}

// Room that was asked for and is given up: the program may not fill it, and sends the bytes.
TEST_F(SlotInstants, RoomIsGivenBackByAProgramThatIsKilledAtAnyOfThem) {
  start();
  at_each_instant(20, [&](int instant) {
    std::int64_t file = open("/f");
    std::int64_t others_open = held().open;
    std::unique_ptr<ClientProcess> victim = client();
    std::int64_t own = ask(*victim, "open /f b");
    ask(*victim, "limit-files 0");
    bool is_there =
        bring_to_instant(*victim, instant, SIGKILL, fmt::format("pwrite {} 0 {} b", own, kLength));
    await_end_of(std::move(victim), others_open);
    std::string now = content("/f", file);
    EXPECT_TRUE(consists_of(now, 0, length_of(now), is_there ? "b0" : "b")) << now;
    EXPECT_TRUE(is_there || length_of(now) == kLength) << now;
    close_and_remove("/f", file);
    return is_there;
  });
}

// What it has in its hands is a loan, and later the slot of another file.
TEST_F(SlotInstants, AnOverwriteAtAnyOfThemTouchesItsFileOnly) {
  start();
  for (int signal : {SIGKILL, SIGSTOP}) {
    SCOPED_TRACE(fmt::format("signal {}", signal));
    at_each_instant(4, [&](int instant) {
      std::int64_t file = open("/f");
      std::int64_t other = open("/other");
      std::unique_ptr<ClientProcess> victim = client();
      std::int64_t own = ask(*victim, "open /f b");
      for (int i = 0; i < 2; ++i) {
        EXPECT_EQ(ask(*victim, fmt::format("pwrite {} 0 {} a", own, kLength)), kLength);
      }
      bool is_there =
          bring_to_instant(*victim, instant, signal, fmt::format("pwrite {} 0 {} b", own, kLength));
      EXPECT_TRUE(consists_of(content("/f", file), 0, kLength, "ab"));
      ask(*far_, "truncate /f 1000");
      ask(*near_, fmt::format("truncate /f {}", kLength));
      ask(*near_, fmt::format("append {} {} o", other, 2 * kChunk));
      if (is_there && signal == SIGSTOP) {
        victim->go_on();
        EXPECT_EQ(victim->answer().result, kLength);
      }
      EXPECT_EQ(content("/other", other), fmt::format("o*{}", 2 * kChunk));
      std::string now = content("/f", file);
      EXPECT_TRUE(consists_of(now, 0, 1000, "ab")) << now;
      EXPECT_TRUE(consists_of(now, 1000, kLength, signal == SIGSTOP ? "b0" : "0")) << now;
      victim->kill();
      close_and_remove("/f", file);
      close_and_remove("/other", other);
      return is_there;
    });
  }
}

TEST_F(SlotInstants, AReadThatStandsStillAtAnyOfThemNeverHasBytesOfAnotherFile) {
  start();
  at_each_instant(2, [&](int instant) {
    std::int64_t file = open("/f");
    std::int64_t other = open("/other");
    ask(*near_, fmt::format("append {} {} a", file, kLength));
    std::unique_ptr<ClientProcess> victim = client();
    std::int64_t own = ask(*victim, "open /f r");
    std::string operation = fmt::format("pread {} 0 {}", own, kLength);
    EXPECT_EQ(victim->call(operation).details, fmt::format("a*{}", kLength));
    bool is_there = bring_to_instant(*victim, instant, SIGSTOP, operation);
    if (is_there) {
      ask(*far_, "truncate /f 0");
      ask(*far_, fmt::format("truncate /f {}", kLength));
      ask(*near_, fmt::format("append {} {} o", other, 8 * kChunk));
      victim->go_on();
      // Of each chunk it sees what was there before the cut, or is after it.
      Answer got = victim->answer();
      EXPECT_EQ(got.result, kLength) << got.error;
      EXPECT_TRUE(consists_of(got.details, 0, got.result, "a0")) << got.details;
    }
    victim->kill();
    close_and_remove("/f", file);
    close_and_remove("/other", other);
    return is_there;
  });
}

// A program that writes anything over all that it shares, while it works itself.
TEST_F(SlotInstants, AProgramThatScribblesOverWhatItSharesHarmsItselfOnly) {
  start();
  Held before = held();
  std::uint64_t seed = test_seed();
  SCOPED_TRACE(fmt::format("BENCHFS_SEED={:#x}", seed));
  std::int64_t file = open("/f");
  for (std::uint64_t round = 0; round < 20; ++round) {
    std::unique_ptr<ClientProcess> scribbler = client();
    std::int64_t own = ask(*scribbler, fmt::format("open /own{} bc", round));
    ask(*scribbler, fmt::format("pwrite {} 0 {} x", own, kLength));
    ask(*scribbler, fmt::format("pwrite {} 0 {} x", own, kLength));
    EXPECT_GE(ask(*scribbler, fmt::format("scribble {}", seed + round)), 2)
        << "a session with each shard";
    scribbler->begin(fmt::format("repeat 1000 pwrite {} 0 {} y", own, kLength));
    for (char byte : {'a', 'b', 'c', 'd', 'e'}) {
      ask(*near_, fmt::format("append {} {} {}", file, kLength, byte));
      EXPECT_EQ(content("/f", file), fmt::format("{}*{}", byte, kLength));
      ask(*far_, "truncate /f 0");
    }
    scribbler->kill();
    ask(*near_, fmt::format("unlink /own{}", round));
  }
  close_and_remove("/f", file);
  EXPECT_TRUE(wait_until([&] { return held() == before; })) << ::testing::PrintToString(held());
}

}  // namespace
}  // namespace benchfs::test
