// Who may do what: the kernel checks owners and modes, and the caller owns what it creates.
#include <fcntl.h>
#include <grp.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <functional>
#include <string>

#include "mount/mount_fixture.h"

namespace benchfs::test {
namespace {

constexpr uid_t kUser = 65533;
constexpr gid_t kGroup = 65532;

class MountAccess : public MountTest {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) {
      GTEST_SKIP() << "needs root to be other users";
    }
    MountTest::SetUp();
  }
  // errno of what it returns, run by another user; 0 for success.
  static int as_user(const std::function<int()>& run) {
    pid_t child = ::fork();
    if (child == 0) {
      bool is_user = ::setgroups(0, nullptr) == 0 && ::setgid(kGroup) == 0 && ::setuid(kUser) == 0;
      _exit(is_user ? error_of(run()) : 255);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  // Other users may pass the test's directory.
  Mounted mount_for_all() {
    ::chmod(path(".").c_str(), 0755);
    Mounted m = mount("mnt", {"--allow-other"});
    EXPECT_EQ(::chmod(m.path.c_str(), 0755), 0);
    return m;
  }
};

TEST_F(MountAccess, TheCallerOwnsWhatItCreatesAndItsUmaskCounts) {
  Mounted m = mount_for_all();
  ASSERT_EQ(::mkdir((m / "d").c_str(), 0777), 0);
  ASSERT_EQ(::chmod((m / "d").c_str(), 0777), 0);
  EXPECT_EQ(as_user([&] {
              ::umask(027);
              int made = ::mkdir((m / "d/sub").c_str(), 0777);
              int file = ::open((m / "d/f").c_str(), O_WRONLY | O_CREAT, 0666);
              int link = ::symlink("f", (m / "d/l").c_str());
              return std::min({made, file, link});
            }),
            0);
  EXPECT_EQ(stat_of(m / "d/sub").st_mode, static_cast<mode_t>(S_IFDIR | 0750));
  EXPECT_EQ(stat_of(m / "d/f").st_mode, static_cast<mode_t>(S_IFREG | 0640));
  for (const char* name : {"d/sub", "d/f", "d/l"}) {
    EXPECT_EQ(stat_of(m / name).st_uid, kUser) << name;
    EXPECT_EQ(stat_of(m / name).st_gid, kGroup) << name;
  }
}

TEST_F(MountAccess, ModesAndOwnersAreChecked) {
  Mounted m = mount_for_all();
  put(m / "secret", "s");
  ASSERT_EQ(::chmod((m / "secret").c_str(), 0600), 0);
  put(m / "public", "p");
  auto open = [&](const char* name, int flags) {
    return as_user([&, name, flags] { return ::open((m / name).c_str(), flags, 0644); });
  };
  EXPECT_EQ(open("secret", O_RDONLY), EACCES);
  EXPECT_EQ(open("public", O_RDONLY), 0);
  EXPECT_EQ(open("public", O_WRONLY), EACCES);
  EXPECT_EQ(open("new", O_WRONLY | O_CREAT), EACCES);
  EXPECT_EQ(as_user([&] { return ::chmod((m / "public").c_str(), 0777); }), EPERM);
  EXPECT_EQ(as_user([&] { return ::chown((m / "public").c_str(), kUser, kGroup); }), EPERM);
  EXPECT_EQ(as_user([&] { return ::unlink((m / "public").c_str()); }), EACCES);
  // The sticky bit.
  ASSERT_EQ(::mkdir((m / "tmp").c_str(), 0777), 0);
  ASSERT_EQ(::chmod((m / "tmp").c_str(), 01777), 0);
  put(m / "tmp/mine", "");
  EXPECT_EQ(as_user([&] { return ::unlink((m / "tmp/mine").c_str()); }), EPERM);
  // What another client changes counts at once.
  auto client = connect();
  wire::SetAttrRequest open_up;
  open_up.mask = wire::kSetMode;
  open_up.mode = 0644;
  ASSERT_TRUE(client->run(client->fs().set_attr("/secret", open_up)));
  EXPECT_EQ(open("secret", O_RDONLY), 0);
}

TEST_F(MountAccess, AWriteByAnotherUserClearsTheSetIdBits) {
  Mounted m = mount_for_all();
  put(m / "program", "x");
  for (auto change : std::vector<std::function<int()>>{
           [&] {
             int file = ::open((m / "program").c_str(), O_WRONLY);
             return file < 0 ? -1 : static_cast<int>(::write(file, "y", 1)) - 1;
           },
           [&] { return ::truncate((m / "program").c_str(), 0); }}) {
    ASSERT_EQ(::chmod((m / "program").c_str(), 06777), 0);
    EXPECT_EQ(stat_of(m / "program").st_mode & 07777U, 06777U);
    EXPECT_EQ(as_user(change), 0);
    EXPECT_EQ(stat_of(m / "program").st_mode & 07777U, 0777U);
  }
}

TEST_F(MountAccess, AMountIsItsUsersOwnUnlessOthersAreAllowed) {
  ::chmod(path(".").c_str(), 0755);
  Mounted m = mount();
  EXPECT_EQ(as_user([&] { return ::access(m.path.c_str(), F_OK); }), EACCES);
}

}  // namespace
}  // namespace benchfs::test
