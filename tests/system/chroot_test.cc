// A program that changes its root directory after it has connected goes on, also to servers that it
// has not talked to before.
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <string>
#include <vector>

#include "support/client_process.h"
#include "system/daemon_fixture.h"

namespace benchfs::test {
namespace {

class Chroot : public DaemonFixture {
 protected:
  static constexpr int kServers = 3;

  void SetUp() override {
    if (geteuid() != 0) {
      GTEST_SKIP() << "only root may change its root directory";
    }
    for (int i = 0; i < kServers; ++i) {
      daemons_.push_back(std::make_unique<Process>(start_node(fmt::format("n{}", i), kServers)));
    }
    client_ = std::make_unique<ClientProcess>(TEST_CLIENT_PROGRAM, registry(), kPatience);
    ASSERT_TRUE(client_->connected().ok()) << client_->connected().error;
  }
  std::int64_t call(const std::string& operation) {
    Answer answer = client_->call(operation);
    EXPECT_TRUE(answer.ok()) << operation << ": " << answer.error;
    return answer.result;
  }
  // Files on every server, from making them to removing them.
  void use_files(const std::string& stem) {
    for (int i = 0; i < 3 * kServers; ++i) {
      std::string path = fmt::format("/{}{}", stem, i);
      std::int64_t file = call(fmt::format("open {} bc", path));
      EXPECT_EQ(call(fmt::format("pwrite {} 0 300000 a", file)), 300000);
      EXPECT_EQ(call(fmt::format("pread {} 0 300000", file)), 300000);
      call(fmt::format("close {}", file));
      call(fmt::format("stat {}", path));
      call(fmt::format("unlink {}", path));
    }
  }

  std::vector<std::unique_ptr<Process>> daemons_;
  std::unique_ptr<ClientProcess> client_;
};

TEST_F(Chroot, BeforeMostServersAreConnected) {
  call("chroot " + path("."));
  use_files("f");
}

TEST_F(Chroot, BetweenUses) {
  use_files("before");
  call("chroot " + path("."));
  use_files("after");
}

// The list of servers cannot be read again there: the error names the server that is lost.
TEST_F(Chroot, AServerThatDiesThenIsNamed) {
  use_files("before");
  call("chroot " + path("."));
  daemons_[1]->signal(SIGKILL);
  daemons_[1]->wait(patience());
  bool is_named = false;
  for (int i = 0; i < 3 * kServers; ++i) {
    Answer answer = client_->call(fmt::format("stat /name{}", i));
    ASSERT_FALSE(answer.ok());
    if (answer.result != -ENOENT) {
      EXPECT_NE(answer.error.find("n1"), std::string::npos) << answer.error;
      is_named = true;
    }
  }
  EXPECT_TRUE(is_named);
}

}  // namespace
}  // namespace benchfs::test
