#include "base/pid_file.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>

namespace benchfs {
namespace {

class PidFileTest : public testing::Test {
 protected:
  PidFileTest() {
    std::string name = (std::filesystem::temp_directory_path() / "benchfs_pid_XXXXXX").string();
    directory_ = mkdtemp(name.data());
    path_ = directory_ + "/node_0";
  }
  ~PidFileTest() override { std::filesystem::remove_all(directory_); }

  std::string directory_;
  std::string path_;
};

TEST_F(PidFileTest, NamesItsOwnerAndGoesWithIt) {
  {
    Result<PidFile> file = PidFile::acquire(path_);
    ASSERT_TRUE(file) << file.error().message();
    Result<ProcessRecord> owner = PidFile::read(path_);
    ASSERT_TRUE(owner) << owner.error().message();
    EXPECT_EQ(owner->pid, getpid());
    EXPECT_TRUE(is_running(*owner));
  }
  EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST_F(PidFileTest, LeftBehindItNamesItsFormerOwnerAndIsFree) {
  {
    Result<PidFile> file = PidFile::acquire(path_);
    ASSERT_TRUE(file) << file.error().message();
    file->leave_behind();
  }
  Result<ProcessRecord> owner = PidFile::read(path_);
  ASSERT_TRUE(owner) << owner.error().message();
  EXPECT_EQ(owner->pid, getpid());
  EXPECT_TRUE(PidFile::acquire(path_));
}

TEST_F(PidFileTest, ASecondOwnerIsRefusedAndToldWhoHasIt) {
  Result<PidFile> first = PidFile::acquire(path_);
  ASSERT_TRUE(first);
  Result<PidFile> second = PidFile::acquire(path_);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Errc::kBusy);
  EXPECT_NE(second.error().context.find(fmt::format("process {}", getpid())), std::string::npos);
  EXPECT_TRUE(std::filesystem::exists(path_)) << "the refused one must not remove the file";
}

TEST_F(PidFileTest, ALeftOverFileIsTakenOver) {
  std::ofstream(path_) << "pid=1 start=1 host=elsewhere and some more text\n";
  Result<PidFile> file = PidFile::acquire(path_);
  ASSERT_TRUE(file) << file.error().message();
  EXPECT_EQ(PidFile::read(path_)->pid, getpid());
}

TEST_F(PidFileTest, OtherContentIsNotARecord) {
  std::ofstream(path_) << "12345\n";
  Result<ProcessRecord> record = PidFile::read(path_);
  ASSERT_FALSE(record);
  EXPECT_EQ(record.error().code, Errc::kMalformed);
}

TEST_F(PidFileTest, AProcessRunsOnlyUntilItEndsAndOnlyUnderItsOwnStartTime) {
  pid_t child = fork();
  if (child == 0) {
    pause();
    _exit(0);
  }
  ProcessRecord record = this_process();
  record.pid = child;
  record.start_ticks = process_start_ticks(child);
  EXPECT_TRUE(is_running(record));
  ProcessRecord impostor = record;
  ++impostor.start_ticks;
  EXPECT_FALSE(is_running(impostor));
  ProcessRecord elsewhere = record;
  elsewhere.host += "x";
  EXPECT_FALSE(is_running(elsewhere));
  EXPECT_FALSE(is_stopped(record));
  kill(child, SIGSTOP);
  siginfo_t info{};
  waitid(P_PID, static_cast<id_t>(child), &info, WSTOPPED | WNOWAIT);
  EXPECT_TRUE(is_stopped(record));
  EXPECT_TRUE(is_running(record));
  EXPECT_FALSE(is_stopped(impostor));
  kill(child, SIGKILL);
  waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT);
  EXPECT_FALSE(is_running(record)) << "a zombie does not run";
  waitpid(child, nullptr, 0);
  EXPECT_FALSE(is_running(record));
}

}  // namespace
}  // namespace benchfs
