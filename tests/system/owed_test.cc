// A server stands still while something is removed, cut or closed: either it has not happened, or
// it is finished when the server goes on, without anybody asking again. Nobody sees it half done.
#include <fmt/format.h>

#include <cerrno>
#include <csignal>

#include "system/fault_fixture.h"

namespace benchfs::test {
namespace {

constexpr int kFiles = 4;
constexpr std::int64_t kSize = std::int64_t{2} << 20;  // chunks on every daemon
// Space is given in whole chunks.
constexpr std::int64_t kRounding = kFiles * (std::int64_t{64} << 10);
constexpr Nanos kShort = std::chrono::seconds(3);

class Owed : public FaultFixture {
 protected:
  void SetUp() override {
    if (const char* why = off_because()) {
      GTEST_SKIP() << why;
    }
    ASSERT_NO_FATAL_FAILURE(start_daemons(2, {"--set", "clients.grace_ms=200"}));
    a_ = client(kShort);
    b_ = client();
    for (const std::string& name : names("/f", kFiles)) {
      ASSERT_NO_FATAL_FAILURE(make(name, kSize, 'x'));
    }
  }
  void make(const std::string& name, std::int64_t size, char byte) {
    std::int64_t file = a_->call(fmt::format("open {} bc", name)).result;
    ASSERT_GE(file, 0);
    ASSERT_EQ(a_->call(fmt::format("pwrite {} 0 {} {}", file, size, byte)).result, size);
    ASSERT_TRUE(a_->call(fmt::format("close {}", file)).ok());
  }
  std::int64_t used() { return b_->call("statfs").size(); }

  // Each file is gone, or there with its old bytes, or with `size`; and the space of what is gone
  // is free.
  void expect_all_finished(std::int64_t size) {
    EXPECT_TRUE(wait_until([&] {
      std::int64_t held = 0;
      for (const std::string& name : names("/f", kFiles)) {
        Answer found = b_->call("stat " + name);
        held += found.ok() ? found.size() : 0;
      }
      return used() <= held + kRounding;
    })) << "space that nobody has: "
        << used();
    for (const std::string& name : names("/f", kFiles)) {
      Answer found = b_->call("stat " + name);
      if (!found.ok()) {
        EXPECT_EQ(found.result, -ENOENT) << found.error;
        continue;
      }
      EXPECT_TRUE(found.size() == kSize || found.size() == size) << name << ": " << found.size();
      std::int64_t file = b_->call(fmt::format("open {} r", name)).result;
      if (found.size() > 0) {
        EXPECT_EQ(b_->call(fmt::format("pread {} 0 {}", file, 2 * kSize)).details,
                  fmt::format("x*{}", found.size()))
            << name;
      }
    }
  }

  std::unique_ptr<ClientProcess> a_;
  std::unique_ptr<ClientProcess> b_;
};

TEST_F(Owed, UnlinkIsDoneWhenTheNameIsAndTheSpaceFollows) {
  stop_daemon(1);
  for (const std::string& name : names("/f", kFiles)) {
    a_->call("unlink " + name);  // fails where the name is on the server that stands still
  }
  let_daemon_go_on(1);
  expect_all_finished(0);
}

TEST_F(Owed, UnlinkBesideAServerThatStopsInTheMiddle) {
  for (const std::string& name : names("/f", kFiles)) {
    a_->begin("unlink " + name);
    stop_daemon(1);
    a_->answer();
    let_daemon_go_on(1);
  }
  expect_all_finished(0);
}

TEST_F(Owed, UnlinkBeforeAServerStops) {
  for (const std::string& name : names("/f", kFiles)) {
    ASSERT_TRUE(a_->call("unlink " + name).ok());
    stop_daemon(1);
    let_daemon_go_on(1);
  }
  expect_all_finished(0);
}

TEST_F(Owed, RenameOverFreesWhatItReplaces) {
  for (const std::string& name : names("/g", kFiles)) {
    ASSERT_NO_FATAL_FAILURE(make(name, kSize, 'x'));
  }
  stop_daemon(1);
  for (int i = 0; i < kFiles; ++i) {
    a_->call(fmt::format("rename /g{} /f{}", i, i));
  }
  let_daemon_go_on(1);
  // Exactly one of the two names is left of each that was renamed.
  EXPECT_TRUE(wait_until([&] {
    std::int64_t held = 0;
    for (int i = 0; i < kFiles; ++i) {
      Answer old = b_->call(fmt::format("stat /g{}", i));
      Answer replaced = b_->call(fmt::format("stat /f{}", i));
      EXPECT_TRUE(replaced.ok()) << "a replaced name is there at every moment";
      held += (old.ok() ? kSize : 0) + kSize;
    }
    return used() <= held + kRounding;
  })) << used();
}

// The count is that of the names, whatever became of the calls, and no name leads to nothing.
TEST_F(Owed, ALinkThatAServerDidNotAnswerIsThereOrNotCounted) {
  for (const char* how : {"before", "in the middle"}) {
    SCOPED_TRACE(how);
    bool before = std::string(how) == "before";
    for (int i = 0; i < kFiles; ++i) {
      if (before) {
        stop_daemon(1);
      }
      a_->begin(fmt::format("link /f{} /l{}", i, i));
      if (!before) {
        stop_daemon(1);
      }
      a_->answer();
      let_daemon_go_on(1);
    }
    for (int i = 0; i < kFiles; ++i) {
      EXPECT_TRUE(wait_until([&] {
        std::int64_t links = b_->call(fmt::format("links /l{}", i)).result;
        return b_->call(fmt::format("links /f{}", i)).result == (links < 0 ? 1 : 2) &&
               (links == 2 || links == -ENOENT);
      })) << i;
    }
    for (const std::string& name : names("/l", kFiles)) {
      b_->call("unlink " + name);
    }
    for (const std::string& name : names("/f", kFiles)) {
      EXPECT_TRUE(wait_until([&] { return b_->call("links " + name).result == 1; })) << name;
      EXPECT_EQ(b_->call("stat " + name).size(), kSize);
    }
  }
}

TEST_F(Owed, ANameThatGoesBesideAServerThatStandsStillIsCountedOnce) {
  for (int i = 0; i < kFiles; ++i) {
    for (int link = 0; link < 4; ++link) {
      ASSERT_TRUE(a_->call(fmt::format("link /f{} /l{}_{}", i, i, link)).ok());
    }
  }
  stop_daemon(1);
  for (int i = 0; i < kFiles; ++i) {
    a_->call(fmt::format("unlink /l{}_0", i));
    a_->call(fmt::format("rename /l{}_1 /l{}_2", i, i));  // names of one inode: nothing happens
  }
  let_daemon_go_on(1);
  for (int i = 0; i < kFiles; ++i) {
    std::int64_t names = 1;
    for (int link = 0; link < 4; ++link) {
      names += b_->call(fmt::format("stat /l{}_{}", i, link)).ok() ? 1 : 0;
    }
    EXPECT_TRUE(wait_until([&] { return b_->call(fmt::format("links /f{}", i)).result == names; }))
        << i << " has " << names << " names";
    for (int link = 0; link < 4; ++link) {
      b_->call(fmt::format("unlink /l{}_{}", i, link));
    }
    EXPECT_TRUE(wait_until([&] { return b_->call(fmt::format("links /f{}", i)).result == 1; }))
        << i;
    EXPECT_TRUE(b_->call(fmt::format("unlink /f{}", i)).ok());
  }
  EXPECT_TRUE(wait_until([&] { return used() <= kRounding; })) << used();
}

TEST_F(Owed, ATruncatedFileIsWholeOrCut) {
  constexpr std::int64_t kCut = kSize / 2 + 1000;
  for (const char* how : {"before", "in the middle", "afterwards"}) {
    SCOPED_TRACE(how);
    bool before = std::string(how) == "before";
    bool in_the_middle = std::string(how) == "in the middle";
    for (const std::string& name : names("/f", kFiles)) {
      if (before) {
        stop_daemon(1);
      }
      a_->begin(fmt::format("truncate {} {}", name, kCut));
      if (in_the_middle) {
        stop_daemon(1);
      }
      Answer cut = a_->answer();
      if (!before && !in_the_middle) {
        EXPECT_TRUE(cut.ok()) << cut.error;
        stop_daemon(1);
      }
      let_daemon_go_on(1);
    }
    expect_all_finished(kCut);
    for (const std::string& name : names("/f", kFiles)) {
      ASSERT_NO_FATAL_FAILURE(make(name, kSize, 'x'));
    }
  }
}

TEST_F(Owed, AnOpenThatTruncatesLeavesTheFileWholeOrEmpty) {
  stop_daemon(1);
  for (const std::string& name : names("/f", kFiles)) {
    a_->call(fmt::format("open {} wt", name));
  }
  let_daemon_go_on(1);
  expect_all_finished(0);
}

TEST_F(Owed, TheSizeOfAKilledWritersFilesIsWhatWasAcknowledged) {
  auto writer = client();
  for (const std::string& name : names("/k", kFiles)) {
    std::int64_t file = writer->call(fmt::format("open {} bc", name)).result;
    ASSERT_EQ(writer->call(fmt::format("pwrite {} 0 {} d", file, kSize)).result, kSize);
  }
  stop_daemon(1);
  writer->kill();
  // Longer than the grace: the server that runs has tried to settle the sizes, in vain.
  a_->call("stat /k0");
  let_daemon_go_on(1);
  for (const std::string& name : names("/k", kFiles)) {
    EXPECT_EQ(b_->call("stat " + name).size(), kSize) << name;
    std::int64_t file = b_->call(fmt::format("open {} r", name)).result;
    EXPECT_EQ(b_->call(fmt::format("pread {} 0 {}", file, 2 * kSize)).details,
              fmt::format("d*{}", kSize));
    EXPECT_TRUE(b_->call(fmt::format("close {}", file)).ok());
  }
  EXPECT_TRUE(wait_until([&] { return held().open == 0; }));
}

TEST_F(Owed, AFailedWriteAndCloseLeaveWhatWasAcknowledgedBefore) {
  for (int stopped : {0, 1}) {
    for (int i = 0; i < 3; ++i) {
      std::string name = fmt::format("/c{}_{}", stopped, i);
      std::int64_t file = a_->call(fmt::format("open {} bc", name)).result;
      ASSERT_GE(file, 0);
      ASSERT_EQ(a_->call(fmt::format("pwrite {} 0 {} k", file, kSize)).result, kSize);
      stop_daemon(static_cast<std::size_t>(stopped));
      a_->call(fmt::format("pwrite {} 0 200000 x", file));
      a_->call(fmt::format("close {}", file));
      let_daemon_go_on(static_cast<std::size_t>(stopped));
      Answer found = b_->call("stat " + name);
      EXPECT_EQ(found.size(), kSize) << name << " " << found.error;
    }
  }
  EXPECT_TRUE(wait_until([&] { return held().open == 0; }));
}

TEST_F(Owed, AnUnlinkedOpenFileIsFreedAlthoughAServerStoodStillAtItsClose) {
  std::vector<std::int64_t> files;
  for (const std::string& name : names("/f", kFiles)) {
    files.push_back(a_->call(fmt::format("open {} b", name)).result);
    ASSERT_TRUE(a_->call("unlink " + name).ok());
  }
  stop_daemon(1);
  for (std::int64_t file : files) {
    a_->call(fmt::format("close {}", file));
  }
  let_daemon_go_on(1);
  expect_all_finished(0);
  EXPECT_TRUE(wait_until([&] { return held().orphans == 0; }));
}

}  // namespace
}  // namespace benchfs::test
