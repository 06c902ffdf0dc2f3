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

class PidFileTest : public ::testing::Test {
 protected:
  PidFileTest() {
    std::string name = (std::filesystem::temp_directory_path() / "benchfs_pid_XXXXXX").string();
    directory_ = mkdtemp(name.data());
    path_ = directory_ + "/node_0";
  }
  ~PidFileTest() override { std::filesystem::remove_all(directory_); }

  [[nodiscard]] SafeDir dir() const { return SafeDir::open(directory_).value(); }

  static constexpr const char* kName = "node_0";
  std::string directory_;
  std::string path_;
};

TEST_F(PidFileTest, NamesItsOwnerAndGoesWithIt) {
  {
    Result<PidFile> file = PidFile::acquire(dir(), kName);
    ASSERT_TRUE(file) << file.error().message();
    Result<PidFile::Content> owner = PidFile::read(dir(), kName);
    ASSERT_TRUE(owner) << owner.error().message();
    EXPECT_EQ(owner->process.pid, getpid());
    EXPECT_TRUE(is_running(owner->process));
  }
  EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST_F(PidFileTest, LeftBehindItNamesItsFormerOwnerAndIsFree) {
  {
    Result<PidFile> file = PidFile::acquire(dir(), kName);
    ASSERT_TRUE(file) << file.error().message();
    file->leave_behind();
  }
  Result<PidFile::Content> owner = PidFile::read(dir(), kName);
  ASSERT_TRUE(owner) << owner.error().message();
  EXPECT_EQ(owner->process.pid, getpid());
  EXPECT_TRUE(PidFile::acquire(dir(), kName));
}

TEST_F(PidFileTest, ASecondOwnerIsRefusedAndToldWhoHasIt) {
  Result<PidFile> first = PidFile::acquire(dir(), kName);
  ASSERT_TRUE(first);
  Result<PidFile> second = PidFile::acquire(dir(), kName);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Errc::kBusy);
  EXPECT_NE(second.error().context.find(fmt::format("process {}", getpid())), std::string::npos);
  EXPECT_TRUE(std::filesystem::exists(path_)) << "the refused one must not remove the file";
}

TEST_F(PidFileTest, ALeftOverFileIsTakenOver) {
  std::ofstream(path_) << "pid=1 start=1 host=elsewhere and some more text\n";
  Result<PidFile> file = PidFile::acquire(dir(), kName);
  ASSERT_TRUE(file) << file.error().message();
  EXPECT_EQ(PidFile::read(dir(), kName)->process.pid, getpid());
}

TEST_F(PidFileTest, NotesAreKept) {
  std::vector<std::string> notes = {"/data/node_0.0", "/data/node_0.1"};
  Result<PidFile> file = PidFile::acquire(dir(), kName, notes);
  ASSERT_TRUE(file);
  EXPECT_EQ(PidFile::read(dir(), kName)->notes, notes);
}

// Asked by another process, because the one that asks opens the file, too.
bool ask_in_child(const SafeDir& dir, const std::string& name, const ProcessRecord& process) {
  pid_t child = fork();
  if (child == 0) {
    _exit(PidFile::is_owned_by(dir, name, process) ? 1 : 0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WEXITSTATUS(status) == 1;
}

TEST_F(PidFileTest, OnlyAProcessThatHasThisVeryFileOpenOwnsIt) {
  Result<PidFile> file = PidFile::acquire(dir(), kName);
  ASSERT_TRUE(file);
  EXPECT_TRUE(ask_in_child(dir(), kName, this_process()));
  std::filesystem::copy_file(path_, directory_ + "/copy");
  EXPECT_FALSE(ask_in_child(dir(), "copy", this_process()));
  ProcessRecord impostor = this_process();
  ++impostor.start_ticks;
  EXPECT_FALSE(ask_in_child(dir(), kName, impostor));
  file->leave_behind();
  EXPECT_FALSE(ask_in_child(dir(), kName, this_process()));
}

TEST_F(PidFileTest, OtherContentIsNotARecord) {
  std::ofstream(path_) << "12345\n";
  Result<PidFile::Content> record = PidFile::read(dir(), kName);
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
  EXPECT_FALSE(has_ended(child));
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
  EXPECT_TRUE(has_ended(child)) << "and has ended";
  waitpid(child, nullptr, 0);
  EXPECT_FALSE(is_running(record));
}

}  // namespace
}  // namespace benchfs
