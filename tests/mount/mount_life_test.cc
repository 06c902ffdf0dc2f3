// Mounting, unmounting, and what goes wrong with both.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <string>
#include <utility>

#include "base/fd.h"
#include "mount/mount_fixture.h"

namespace benchfs::test {
namespace {

class MountLife : public MountTest {};

TEST_F(MountLife, ForegroundEndsWithASignalAndWithUmount) {
  std::string directory = path("mnt");
  std::filesystem::create_directory(directory);
  ::setenv("LSAN_OPTIONS", leak_options_.c_str(), 1);
  for (int number : {SIGTERM, SIGINT, SIGHUP, 0}) {
    Process process(
        {BENCHFS_PROGRAM, "--registry-dir", registry(), "mount", "--foreground", directory},
        path("."));
    while (!is_mounted(directory) && runs(process.pid())) {
      ::usleep(1000);  // lint: allow sleep a mount cannot be waited for
    }
    put(directory + "/f", "x");
    if (number != 0) {
      process.signal(number);
    } else {
      Ended ended = benchfs({"umount", directory});
      EXPECT_EQ(ended.exit_code, 0) << ended.err;
    }
    Ended ended = process.wait(patience());
    EXPECT_EQ(ended.exit_code, 0) << number << ended.err;
    EXPECT_FALSE(is_mounted(directory));
  }
}

TEST_F(MountLife, ASignalWritesBackWhatMappingsHold) {
  Mounted m = mount();
  Fd file(::open((m / "f").c_str(), O_RDWR | O_CREAT, 0644));
  ASSERT_EQ(::ftruncate(file.get(), 4096), 0);
  void* memory = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  ASSERT_NE(memory, MAP_FAILED);
  std::strcpy(static_cast<char*>(memory), "dirty");
  ASSERT_EQ(::kill(m.process, SIGTERM), 0);
  EXPECT_TRUE(wait_for_end(m.process, patience()));
  EXPECT_FALSE(is_mounted(m.path));
  ::munmap(memory, 4096);
  auto client = connect();
  Result<std::vector<std::byte>> whole = read_whole(*client, "/f");
  ASSERT_TRUE(whole) << message(whole);
  EXPECT_STREQ(reinterpret_cast<const char*>(whole->data()), "dirty");
}

TEST_F(MountLife, ABusyMountIsTakenAwayLazily) {
  Mounted m = mount();
  put(m / "f", "still here");
  Fd file(::open((m / "f").c_str(), O_RDONLY));
  Ended ended = benchfs({"umount", m.path});
  EXPECT_EQ(ended.exit_code, 1);
  EXPECT_NE(ended.err.find("--lazy"), std::string::npos) << ended.err;
  ended = benchfs({"umount", "--lazy", m.path});
  EXPECT_EQ(ended.exit_code, 0) << ended.err;
  EXPECT_FALSE(is_mounted(m.path));
  std::array<char, 16> text{};
  EXPECT_EQ(::read(file.get(), text.data(), text.size()), 10);
  file.reset();
  EXPECT_TRUE(wait_for_end(m.process, patience()));
}

TEST_F(MountLife, AKilledMountIsTakenOver) {
  Mounted m = mount();
  put(m / "f", "kept");
  ASSERT_EQ(::kill(m.process, SIGKILL), 0);
  ASSERT_TRUE(wait_for_end(m.process, patience()));
  EXPECT_EQ(error_of(::access((m / "f").c_str(), F_OK)), ENOTCONN);
  Ended ended = benchfs({"mount", m.path});
  EXPECT_EQ(ended.exit_code, 0) << ended.err;
  EXPECT_NE(ended.err.find("taking it over"), std::string::npos) << ended.err;
  EXPECT_EQ(get(m / "f"), "kept");
  ended = benchfs({"umount", m.path});
  EXPECT_EQ(ended.exit_code, 0) << ended.err;
  EXPECT_FALSE(is_mounted(m.path));
}

TEST_F(MountLife, AKilledMountIsUnmounted) {
  Mounted m = mount();
  ASSERT_EQ(::kill(m.process, SIGKILL), 0);
  ASSERT_TRUE(wait_for_end(m.process, patience()));
  Ended ended = benchfs({"umount", m.path});
  EXPECT_EQ(ended.exit_code, 0) << ended.err;
  EXPECT_FALSE(is_mounted(m.path));
}

TEST_F(MountLife, AStoppedMountIsNamedAndTakenAway) {
  Mounted m = mount();
  ASSERT_EQ(::kill(m.process, SIGSTOP), 0);
  Ended ended = benchfs({"mount", m.path});
  EXPECT_EQ(ended.exit_code, 1);
  EXPECT_NE(ended.err.find("does not answer"), std::string::npos) << ended.err;
  ended = benchfs({"umount", m.path});
  EXPECT_EQ(ended.exit_code, 0) << ended.err;
  EXPECT_FALSE(is_mounted(m.path));
}

TEST_F(MountLife, WrongMountPointsAreNamed) {
  Mounted m = mount();
  put(path("file"), "");
  struct Case {
    std::vector<std::string> words;
    std::string reason;
  };
  for (const Case& one : {
           Case{{"mount", path("missing")}, "No such file or directory"},
           Case{{"mount", path("file")}, "Not a directory"},
           Case{{"mount", m.path}, "mounted there already"},
           Case{{"mount", m.path + "/"}, "mounted there already"},
           Case{{"mount", "/proc"}, "type proc"},
           Case{{"umount", path("missing")}, "No such file or directory"},
           Case{{"umount", path("registry")}, "nothing is mounted there"},
           Case{{"umount", "/proc"}, "not BenchFS"},
       }) {
    Ended ended = benchfs(one.words);
    EXPECT_EQ(ended.exit_code, 1) << one.words[1];
    EXPECT_NE(ended.err.find(one.reason), std::string::npos) << ended.err;
  }
}

TEST_F(MountLife, AMountNeedsACluster) {
  std::string directory = path("mnt");
  std::filesystem::create_directory(directory);
  Ended ended =
      Process({BENCHFS_PROGRAM, "--registry-dir", path("none"), "mount", directory}, path("."))
          .wait(patience());
  EXPECT_EQ(ended.exit_code, 1);
  EXPECT_NE(ended.err.find("benchfs up"), std::string::npos) << ended.err;
  // With a list of servers that are all dead.
  for (std::size_t i = 0; i < 2; ++i) {
    ASSERT_EQ(::kill(pid_of(cluster_, i), SIGKILL), 0);
  }
  ended = benchfs({"mount", directory});
  EXPECT_EQ(ended.exit_code, 1);
  EXPECT_NE(ended.err.find("benchfs status"), std::string::npos) << ended.err;
  EXPECT_FALSE(is_mounted(directory));
}

// As the user that every system has, with a device that all may open: in namespaces of its own, for
// the device of this machine may be root's.
TEST_F(MountLife, AnOrdinaryUserMountsWithFusermount) {
  if (::geteuid() != 0) {
    GTEST_SKIP() << "needs root, which becomes an ordinary user";
  }
  std::string script = R"(set -eu
    cd "$3"
    mkdir dev && mount -t tmpfs none dev && mknod dev/fuse c 10 229 && chmod "$2" dev/fuse
    mount --bind dev/fuse /dev/fuse
    mkdir bin && mount --bind "${1%/*}" bin
    chmod 711 .. && mkdir user && chown nobody user && cd user
    exec setpriv --reuid nobody --clear-groups sh -c 'set -eu
      mkdir registry && chmod 700 registry && mkdir mnt
      export BENCHFS_REGISTRY_DIR=$PWD/registry
      "$1" up --servers 1 --engine memory >&2
      trap "$1 down >&2" EXIT
      "$1" mount mnt >&2
      echo text > mnt/f && cat mnt/f && chmod 600 mnt/f && stat -c %U:%a mnt/f
      (cd mnt && ! "$1" umount ../mnt)
      "$1" umount mnt && ! "$1" umount mnt && echo done
    ' sh "$PWD/../bin/benchfs"
  )";
  for (auto [mode, exit_code] : {std::pair{"0666", 0}, {"0600", 1}}) {
    std::string place = path(std::string("place-") + mode);
    std::filesystem::create_directory(place);
    Ended ended =
        Process({"/usr/bin/unshare", "-m", "sh", "-c", script, "sh", BENCHFS_PROGRAM, mode, place},
                place)
            .wait(patience());
    EXPECT_EQ(ended.exit_code, exit_code) << ended.out << ended.err;
    if (exit_code == 0) {
      EXPECT_EQ(ended.out, "text\nnobody:600\ndone\n");
      EXPECT_NE(ended.err.find("programs are using it"), std::string::npos) << ended.err;
    } else {
      EXPECT_NE(ended.err.find("chmod 0666 /dev/fuse"), std::string::npos) << ended.err;
    }
  }
}

TEST_F(MountLife, TheHelpTeaches) {
  Ended ended = benchfs({"mount", "--help"});
  EXPECT_EQ(ended.exit_code, 0);
  for (const char* word : {"--foreground", "--allow-other", "--page-cache", "benchfs umount"}) {
    EXPECT_NE(ended.out.find(word), std::string::npos) << word;
  }
}

}  // namespace
}  // namespace benchfs::test
