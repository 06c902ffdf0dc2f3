// The home of open files dies and starts again without them: each use of such a file says so, and
// nothing is acknowledged that nobody will ever see.
#include <fmt/format.h>

#include <cerrno>
#include <csignal>

#include "system/fault_fixture.h"

namespace benchfs::test {
namespace {

constexpr int kFilesOnBoth = 8;  // homes on both daemons

class HomeLost : public FaultFixture {
 protected:
  void SetUp() override {
    if (const char* why = off_because()) {
      GTEST_SKIP() << why;
    }
    ASSERT_NO_FATAL_FAILURE(start_daemons(2));
    a_ = client();
    b_ = client();
    for (const std::string& name : names("/f", kFilesOnBoth)) {
      files_.push_back(a_->call(fmt::format("open {} bc", name)).result);
      ASSERT_GE(files_.back(), 0);
      ASSERT_EQ(a_->call(fmt::format("pwrite {} 0 {} a", files_.back(), kChunk)).result, kChunk);
    }
    daemon(1).signal(SIGKILL);
    daemon(1).wait(patience());
    ASSERT_NO_FATAL_FAILURE(start_daemon_again(1));
  }
  // The file still has its name, so that its home lives.
  bool has_name(std::size_t file) {
    return b_->call(fmt::format("stat /f{}", file)).result != -ENOENT;
  }

  std::unique_ptr<ClientProcess> a_;
  std::unique_ptr<ClientProcess> b_;
  std::vector<std::int64_t> files_;
};

TEST_F(HomeLost, AWriteIntoAFileThatIsGoneFails) {
  int gone = 0;
  for (std::size_t i = 0; i < files_.size(); ++i) {
    Answer written = a_->call(fmt::format("pwrite {} {} {} b", files_[i], 2 * kChunk, 3 * kChunk));
    if (has_name(i)) {
      if (written.ok()) {
        Answer found = b_->call(fmt::format("stat /f{}", i));
        EXPECT_TRUE(found.size() == 5 * kChunk || found.result == -EIO)
            << found.size() << found.error;
      }
      continue;
    }
    ++gone;
    EXPECT_EQ(written.result, -EIO) << written.error;
    for (const char* later : {"pread {} 0 100", "fsync {}", "fstat {}", "ftruncate {} 0"}) {
      Answer answer = a_->call(fmt::format(fmt::runtime(later), files_[i]));
      EXPECT_EQ(answer.result, -EIO) << later << answer.error;
    }
    EXPECT_TRUE(a_->call(fmt::format("close {}", files_[i])).ok());
  }
  EXPECT_GT(gone, 0);
}

TEST_F(HomeLost, AReadNeverShowsZerosInPlaceOfData) {
  for (std::size_t i = 0; i < files_.size(); ++i) {
    Answer read = a_->call(fmt::format("pread {} 0 {}", files_[i], kChunk));
    EXPECT_TRUE(read.details == fmt::format("a*{}", kChunk) || read.result == -EIO ||
                read.result == -ESTALE)
        << read.details << read.error;
  }
}

TEST_F(HomeLost, NothingOfTheFilesThatAreGoneStays) {
  for (std::size_t i = 0; i < files_.size(); ++i) {
    a_->call(fmt::format("pwrite {} {} {} b", files_[i], kChunk, 2 * kChunk));
  }
  for (std::size_t i = 0; i < files_.size(); ++i) {
    a_->call(fmt::format("close {}", files_[i]));
    b_->call(fmt::format("unlink /f{}", i));
  }
  EXPECT_TRUE(wait_until([&] { return b_->call("statfs").size() == 0; }))
      << b_->call("statfs").size() << " bytes leak";
  EXPECT_TRUE(wait_until([&] { return held().open == 0; }));
}

}  // namespace
}  // namespace benchfs::test
