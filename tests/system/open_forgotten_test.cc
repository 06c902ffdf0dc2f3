// A client has files open while its session is lost: its connections are cut, it stands still, or a
// server does. Every write that returned is seen by everybody, bytes that were cut stay cut, and a
// file that is gone says so at the next use.
#include <fmt/format.h>

#include <cerrno>
#include <csignal>

#include "system/fault_fixture.h"

namespace benchfs::test {
namespace {

constexpr int kFilesOnAll = 6;  // with homes on every daemon
constexpr Nanos kGrace = std::chrono::milliseconds(100);

enum class Loss : std::uint8_t {
  kCut,            // idle while its connections are cut; comes back by itself
  kFrozen,         // stands still and is cut off, longer than the grace
  kServerStopped,  // a server stands still until a call has failed
  kEvicted,        // another client takes its place
};

class OpenForgotten : public FaultFixture, public testing::WithParamInterface<Loss> {
 protected:
  void SetUp() override {
    if (const char* why = off_because()) {
      GTEST_SKIP() << why;
    }
    std::vector<std::string> arguments = {"--set", "clients.grace_ms=100"};
    if (GetParam() == Loss::kEvicted) {
      arguments.insert(arguments.end(),
                       {"--set", "clients.max_clients=8", "--set", "clients.turn_ms=0"});
    }
    ASSERT_NO_FATAL_FAILURE(start_daemons(2, arguments));
    a_ = client(std::chrono::seconds(15));
    b_ = client();
    ASSERT_TRUE(b_->call("mkdir /d").ok());
    for (const std::string& name : names("/d/f", kFilesOnAll)) {
      files_.push_back(a_->call(fmt::format("open {} bc", name)).result);
      ASSERT_GE(files_.back(), 0);
      ASSERT_EQ(write(files_.size() - 1, 0, 100, 'a').result, 100);
    }
  }

  Answer write(std::size_t file, std::int64_t offset, std::int64_t size, char byte) {
    return a_->call(fmt::format("pwrite {} {} {} {}", files_[file], offset, size, byte));
  }
  static std::string name(std::size_t file) { return fmt::format("/d/f{}", file); }

  // Returns when the servers have given up what A has open, or would have.
  void lose_session() {
    switch (GetParam()) {
      case Loss::kCut:
        ASSERT_TRUE(cut_connections(a_->pid()));
        // It is back before that, or the servers have closed its files.
        wait_until([&] { return held().open == 0; }, Deadline::after(kGrace * 5));
        break;
      case Loss::kFrozen:
        a_->stop();
        ASSERT_TRUE(cut_connections(a_->pid()));
        ASSERT_TRUE(wait_until([&] { return held().open == 0; }));
        a_->go_on();
        break;
      case Loss::kServerStopped: {
        stop_daemon(1);
        Answer failed;
        for (int i = 0; i < 20 && failed.result != -ETIMEDOUT; ++i) {
          failed = a_->call(fmt::format("access /nosuch{}", i));
          if (failed.result != -ENOENT) {
            break;
          }
        }
        let_daemon_go_on(1);
        break;
      }
      case Loss::kEvicted:
        for (int i = 0; i < 10; ++i) {
          crowd_.push_back(client());
          crowd_.back()->call("stat /d");
        }
        crowd_.clear();
        break;
    }
  }

  std::unique_ptr<ClientProcess> a_;
  std::unique_ptr<ClientProcess> b_;
  std::vector<std::unique_ptr<ClientProcess>> crowd_;
  std::vector<std::int64_t> files_;
};

TEST_P(OpenForgotten, AWriteThatReturnedIsSeenByEverybody) {
  ASSERT_NO_FATAL_FAILURE(lose_session());
  for (std::size_t i = 0; i < files_.size(); ++i) {
    // In the first chunk, in one on each server, and behind a hole.
    for (std::int64_t offset : {std::int64_t{200}, kChunk, 2 * kChunk, 9 * kChunk}) {
      Answer written = write(i, offset, 100, 'b');
      ASSERT_EQ(written.result, 100) << "a file that has a name stays open: " << written.error;
      EXPECT_EQ(b_->call("stat " + name(i)).size(), offset + 100) << name(i);
    }
    EXPECT_EQ(a_->call(fmt::format("fstat {}", files_[i])).size(), 9 * kChunk + 100);
    Answer closed = a_->call(fmt::format("close {}", files_[i]));
    EXPECT_TRUE(closed.ok()) << closed.error;
    EXPECT_EQ(b_->call("stat " + name(i)).size(), 9 * kChunk + 100);
  }
  EXPECT_TRUE(wait_until([&] { return held().open == 0; }));
}

TEST_P(OpenForgotten, BytesThatSomebodyCutsStayCut) {
  ASSERT_NO_FATAL_FAILURE(lose_session());
  for (std::size_t i = 0; i < files_.size(); ++i) {
    ASSERT_EQ(write(i, 5 * kChunk, 2 * kChunk, 'b').result, 2 * kChunk);
    ASSERT_TRUE(b_->call(fmt::format("truncate {} 0", name(i))).ok());
    ASSERT_TRUE(b_->call(fmt::format("truncate {} {}", name(i), 8 * kChunk)).ok());
    std::int64_t file = b_->call(fmt::format("open {} r", name(i))).result;
    EXPECT_EQ(b_->call(fmt::format("pread {} 0 {}", file, 8 * kChunk)).details,
              fmt::format("0*{}", 8 * kChunk));
    // Bytes that are written after the cut stay.
    ASSERT_EQ(write(i, 3 * kChunk, 10, 'c').result, 10);
    EXPECT_EQ(b_->call(fmt::format("pread {} {} 12", file, 3 * kChunk)).details, "c*10 0*2");
  }
}

TEST_P(OpenForgotten, AppendsGoToTheEnd) {
  std::vector<std::int64_t> appending;
  for (std::size_t i = 0; i < files_.size(); ++i) {
    appending.push_back(a_->call(fmt::format("open {} wa", name(i))).result);
    ASSERT_GE(appending.back(), 0);
  }
  ASSERT_NO_FATAL_FAILURE(lose_session());
  for (std::size_t i = 0; i < files_.size(); ++i) {
    ASSERT_EQ(write(i, kChunk, 50, 'b').result, 50);
    Answer appended = a_->call(fmt::format("append {} 25 c", appending[i]));
    ASSERT_EQ(appended.result, 25) << appended.error;
    EXPECT_EQ(b_->call("stat " + name(i)).size(), kChunk + 75);
    std::int64_t file = b_->call(fmt::format("open {} r", name(i))).result;
    EXPECT_EQ(b_->call(fmt::format("pread {} {} 100", file, kChunk)).details, "b*50 c*25");
  }
}

TEST_P(OpenForgotten, AnUnlinkedFileServesOnOrSaysThatItIsGone) {
  for (std::size_t i = 0; i < files_.size(); ++i) {
    ASSERT_TRUE(b_->call("unlink " + name(i)).ok());
  }
  ASSERT_NO_FATAL_FAILURE(lose_session());
  for (std::size_t i = 0; i < files_.size(); ++i) {
    Answer written = write(i, kChunk, 100, 'b');
    if (written.ok()) {
      Answer read = a_->call(fmt::format("pread {} {} 200", files_[i], kChunk));
      // It may be given up between the two, but then says so.
      EXPECT_TRUE(read.details == "b*100" || read.result == -ESTALE) << read.details << read.error;
    } else {
      EXPECT_EQ(written.result, -ESTALE) << written.error;
      EXPECT_EQ(write(i, 0, 1, 'c').result, -ESTALE);
      EXPECT_EQ(a_->call(fmt::format("pread {} 0 10", files_[i])).result, -ESTALE);
      EXPECT_EQ(a_->call(fmt::format("fsync {}", files_[i])).result, -ESTALE);
      EXPECT_EQ(a_->call(fmt::format("fstat {}", files_[i])).result, -ESTALE);
    }
    Answer closed = a_->call(fmt::format("close {}", files_[i]));
    EXPECT_TRUE(closed.ok()) << closed.error;
  }
  EXPECT_TRUE(wait_until([&] { return b_->call("statfs").size() == 0; })) << "the space leaks";
  EXPECT_TRUE(wait_until([&] { return held().open == 0 && held().orphans == 0; }));
}

INSTANTIATE_TEST_SUITE_P(
    Session,
    OpenForgotten,
    testing::Values(Loss::kCut, Loss::kFrozen, Loss::kServerStopped, Loss::kEvicted),
    [](const auto& loss) {
      switch (loss.param) {
        case Loss::kCut:
          return "Cut";
        case Loss::kFrozen:
          return "Frozen";
        case Loss::kServerStopped:
          return "ServerStopped";
        case Loss::kEvicted:
          return "Evicted";
      }
      return "";
    });

// A file without a name belongs to the client that has it open alone.
class UnnamedFilesOfAKilledClient : public FaultFixture,
                                    public testing::WithParamInterface<const char*> {
 public:
  UnnamedFilesOfAKilledClient() : FaultFixture(GetParam()) {}
};

TEST_P(UnnamedFilesOfAKilledClient, GiveTheirSpaceBack) {
  ASSERT_NO_FATAL_FAILURE(start_daemons(2, {"--set", "clients.grace_ms=100"}));
  std::unique_ptr<ClientProcess> a = client();
  std::unique_ptr<ClientProcess> b = client();
  ASSERT_TRUE(b->call("mkdir /d").ok());
  for (int i = 0; i < 8; ++i) {  // with homes on both
    std::int64_t file = a->call("open /d bu").result;
    ASSERT_GE(file, 0);
    ASSERT_EQ(a->call(fmt::format("pwrite {} 0 {} a", file, 3 * kChunk)).result, 3 * kChunk);
  }
  ASSERT_TRUE(wait_until([&] { return held().orphans == 8 && held().open == 8; }));
  EXPECT_GE(b->call("statfs").size(), 8 * 3 * kChunk);
  a->kill();
  EXPECT_TRUE(wait_until([&] { return held().open == 0 && held().orphans == 0; }));
  EXPECT_TRUE(wait_until([&] { return b->call("statfs").size() == 0; })) << "the space leaks";
}

INSTANTIATE_TEST_SUITE_P(Transport, UnnamedFilesOfAKilledClient, testing::Values("ucx", "auto"));

}  // namespace
}  // namespace benchfs::test
