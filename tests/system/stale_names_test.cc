// A client's knowledge of names is never older than what others were told: a name that is being
// replaced exists at every moment, and a directory that was renamed while a client was cut off is
// not used under its old name.
#include <fmt/format.h>

#include <cerrno>
#include <csignal>

#include "system/fault_fixture.h"

namespace benchfs::test {
namespace {

class ReplacedName : public FaultFixture {
 protected:
  void SetUp() override {
    if (const char* why = off_because()) {
      GTEST_SKIP() << why;
    }
    ASSERT_NO_FATAL_FAILURE(start_daemons(3));
  }
};

// The number of times that each operation is tried while a client replaces the name without a
// pause.
constexpr int kRounds = 120;

TEST_F(ReplacedName, IsThereAtEveryMomentWhateverIsAskedOfIt) {
  auto replacing = client();
  auto asking = client();
  ASSERT_TRUE(asking->call("mkdir /r").ok());
  ASSERT_TRUE(replacing->call("replace /r name 1").ok());
  struct Operation {
    const char* text;
    const char* expected;
  };
  const std::vector<Operation> operations = {
      {"open /r/name r", "0"},
      {"open /r/name b", "0"},
      {"open /r/name bc", "0"},
      {"stat /r/name", "0"},
      {"access /r/name", "0"},
      {"chmod /r/name", "0"},
      {"utimens /r/name", "0"},
      {"truncate /r/name 8", "0"},
      {"open /r/name bcx", "-17"},
  };
  for (const Operation& operation : operations) {
    replacing->begin(fmt::format("replace /r name {}", kRounds));
    Answer counted = asking->call(fmt::format("repeat {} {}", kRounds, operation.text));
    EXPECT_EQ(counted.details, fmt::format("{}:{} ", operation.expected, kRounds))
        << operation.text;
    Answer replaced = replacing->answer();
    EXPECT_EQ(replaced.result, kRounds) << replaced.error;
  }
}

TEST_F(ReplacedName, KeepsItsBytes) {
  auto replacing = client();
  auto asking = client();
  ASSERT_TRUE(asking->call("mkdir /r").ok());
  ASSERT_TRUE(replacing->call("replace /r name 1").ok());
  replacing->begin(fmt::format("replace /r name {}", kRounds));
  for (int i = 0; i < kRounds / 4; ++i) {
    Answer opened = asking->call("open /r/name r");
    ASSERT_TRUE(opened.ok()) << opened.error;
    Answer read = asking->call(fmt::format("pread {} 0 16", opened.result));
    EXPECT_EQ(read.result, 8) << "a file that was replaced stays whole for those who have it open: "
                              << read.error;
    EXPECT_TRUE(asking->call(fmt::format("close {}", opened.result)).ok());
  }
  EXPECT_EQ(replacing->answer().result, kRounds);
  EXPECT_TRUE(wait_until([&] { return held().open == 0 && held().orphans == 0; }));
}

// A knows /d0 and is cut off; B renames it to /d1 and makes another /d0. The later operations of A
// by that path take effect in the new directory.
class StaleDirectory : public FaultFixture {
 protected:
  void SetUp() override {
    if (const char* why = off_because()) {
      GTEST_SKIP() << why;
    }
    ASSERT_NO_FATAL_FAILURE(start_daemons(2, {"--set", "clients.directory_lease_ms=1000"}));
    a_ = client();
    b_ = client();
  }
  void swap_directories(bool is_stopped) {
    for (const char* name : {"b", "c"}) {
      ASSERT_TRUE(a_->call("mkdir /d0").ok() || std::string(name) == "c");
      make(fmt::format("/d0/{}", name), 10);
    }
    ASSERT_EQ(a_->call("stat /d0/b").size(), 10);
    ASSERT_EQ(a_->call("access /d0/nosuch").result, -ENOENT);
    if (is_stopped) {
      a_->stop();
    }
    ASSERT_TRUE(cut_connections(a_->pid()));
    Answer renamed = b_->call("rename /d0 /d1");
    ASSERT_TRUE(renamed.ok()) << renamed.error;
    ASSERT_TRUE(b_->call("mkdir /d0").ok());
    make("/d0/b", 20);
    if (is_stopped) {
      a_->go_on();
    }
  }
  void make(const std::string& path, int size) {
    Answer opened = b_->call(fmt::format("open {} bc", path));
    ASSERT_TRUE(opened.ok()) << opened.error;
    ASSERT_EQ(b_->call(fmt::format("pwrite {} 0 {} x", opened.result, size)).result, size);
    ASSERT_TRUE(b_->call(fmt::format("close {}", opened.result)).ok());
  }
  void expect_the_other_directory_untouched() {
    EXPECT_EQ(b_->call("list /d1").details, "b c ");
    EXPECT_EQ(b_->call("stat /d1/b").size(), 10);
    EXPECT_EQ(b_->call("stat /d1/c").size(), 10);
  }
  std::unique_ptr<ClientProcess> a_;
  std::unique_ptr<ClientProcess> b_;
};

TEST_F(StaleDirectory, IsNotUsedByAClientThatWasCutOff) {
  ASSERT_NO_FATAL_FAILURE(swap_directories(false));
  EXPECT_EQ(a_->call("stat /d0/b").size(), 20);
  EXPECT_EQ(a_->call("stat /d0/c").result, -ENOENT);
  EXPECT_TRUE(a_->call("unlink /d0/b").ok());
  EXPECT_EQ(a_->call("unlink /d0/c").result, -ENOENT);
  EXPECT_EQ(b_->call("list /d0").details, "");
  expect_the_other_directory_untouched();
}

TEST_F(StaleDirectory, IsNotUsedByAClientThatStoodStill) {
  ASSERT_NO_FATAL_FAILURE(swap_directories(true));
  Answer removed = a_->call("unlink /d0/b");
  EXPECT_TRUE(removed.ok()) << removed.error;
  EXPECT_EQ(b_->call("list /d0").details, "");
  expect_the_other_directory_untouched();
}

TEST_F(StaleDirectory, GetsNoNewNames) {
  ASSERT_NO_FATAL_FAILURE(swap_directories(true));
  EXPECT_TRUE(a_->call("open /d0/new bcx").ok());
  EXPECT_TRUE(a_->call("mkdir /d0/sub").ok());
  EXPECT_TRUE(a_->call("rename /d0/b /d0/renamed").ok());
  EXPECT_EQ(b_->call("list /d0").details, "new renamed sub ");
  expect_the_other_directory_untouched();
}

TEST_F(StaleDirectory, IsNotTheTargetOfARename) {
  ASSERT_NO_FATAL_FAILURE(swap_directories(true));
  make("/other", 30);
  EXPECT_TRUE(a_->call("rename /other /d0/b").ok());
  EXPECT_EQ(b_->call("stat /d0/b").size(), 30);
  expect_the_other_directory_untouched();
}

TEST_F(StaleDirectory, IsNotCutByAnOpenThatTruncates) {
  ASSERT_NO_FATAL_FAILURE(swap_directories(true));
  EXPECT_TRUE(a_->call("open /d0/b bt").ok());
  EXPECT_TRUE(a_->call("open /d0/c bct").ok());
  EXPECT_EQ(b_->call("stat /d0/b").size(), 0);
  EXPECT_EQ(b_->call("stat /d0/c").size(), 0);
  expect_the_other_directory_untouched();
}

}  // namespace
}  // namespace benchfs::test
