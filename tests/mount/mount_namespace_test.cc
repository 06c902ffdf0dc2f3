// benchfs run --mount-namespace: a mount that one program and its children see, and nobody else.
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <string>
#include <vector>

#include "mount/mount_fixture.h"

namespace benchfs::test {
namespace {

class MountNamespace : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    std::filesystem::create_directories(directory_);
  }
  [[nodiscard]] std::vector<std::string> words(const std::string& script) const {
    return {"run",
            "--mount-namespace",
            "--mount",
            directory_,
            "--log",
            path("namespace.log"),
            "--",
            "/bin/sh",
            "-c",
            script};
  }
  // benchfs, started by a shell script that ends with: exec "$@".
  Ended started_by(const std::string& script, const std::vector<std::string>& arguments) {
    std::vector<std::string> all = {"/usr/bin/unshare", "-m", "/bin/sh", "-ec", script, "sh"};
    all.emplace_back(BENCHFS_PROGRAM);
    all.insert(all.end(), arguments.begin(), arguments.end());
    return Process(all, path(".")).wait(patience());
  }
  Ended started_in(const std::string& working_directory,
                   const std::vector<std::string>& arguments) {
    std::vector<std::string> all = {"/bin/sh",
                                    "-ec",
                                    "cd \"$1\"; shift; exec \"$@\"",
                                    "sh",
                                    working_directory,
                                    BENCHFS_PROGRAM,
                                    "--registry-dir",
                                    registry()};
    all.insert(all.end(), arguments.begin(), arguments.end());
    return Process(all, path(".")).wait(patience());
  }
  // Processes that serve the directory, and programs that were started with its name.
  [[nodiscard]] std::vector<pid_t> processes() const {
    std::vector<pid_t> found;
    for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
      pid_t pid = std::atoi(entry.path().filename().c_str());
      if (pid > 0 && pid != ::getpid() &&
          read_file(entry.path() / "cmdline").contains(directory_)) {
        found.push_back(pid);
      }
    }
    return found;
  }
  void expect_nothing_left() {
    for (pid_t pid : processes()) {
      EXPECT_TRUE(wait_for_end(pid, patience())) << pid;
    }
    EXPECT_FALSE(is_mounted(directory_));
  }

  std::string directory_ = path("private");
};

TEST_F(MountNamespace, TheProgramSeesTheFilesAndNobodyElseTheMount) {
  std::string in = directory_;
  Ended ended = benchfs(words("echo text > " + in + "/f && cat " + in + "/f && grep -c ' " + in +
                              " ' /proc/self/mountinfo; id -u; exit 7"));
  EXPECT_EQ(ended.exit_code, 7) << ended.err;
  EXPECT_EQ(ended.out, "text\n1\n" + std::to_string(::getuid()) + "\n");
  EXPECT_EQ(ended.err, "");
  EXPECT_TRUE(std::filesystem::is_empty(in));
  EXPECT_EQ(ok({"cat", "bfs:/f"}), "text\n");
  expect_nothing_left();
}

TEST_F(MountNamespace, ChildrenThatOutliveTheProgramGoOn) {
  std::string in = directory_;
  std::string go_on = path("go-on");
  Ended ended = benchfs(words("(while ! test -e " + go_on + "; do sleep 0.01; done; echo late > " +
                              in + "/late) > /dev/null 2>&1 & exit 0"));
  EXPECT_EQ(ended.exit_code, 0) << ended.err;
  write_file(go_on, "");
  expect_nothing_left();
  EXPECT_EQ(ok({"cat", "bfs:/late"}), "late\n");
}

TEST_F(MountNamespace, WhoReadsTheOutputOfTheProgramSeesItsEnd) {
  std::string go_on = path("go-on");
  std::vector<std::string> all = {
      "/bin/sh", "-c", "\"$@\" | cat", "sh", BENCHFS_PROGRAM, "--registry-dir", registry()};
  std::vector<std::string> with_a_child =
      words("(while ! test -e " + go_on + "; do sleep 0.01; done) > /dev/null 2>&1 & echo text");
  all.insert(all.end(), with_a_child.begin(), with_a_child.end());
  Ended ended = Process(all, path(".")).wait(patience());
  EXPECT_EQ(ended.exit_code, 0);
  EXPECT_EQ(ended.out, "text\n");
  write_file(go_on, "");
  expect_nothing_left();
}

TEST_F(MountNamespace, TheProgramHasNoChildren) {
  Ended ended = benchfs(words("read children < /proc/$$/task/$$/children; echo \"[$children]\""));
  EXPECT_EQ(ended.out, "[]\n") << ended.err;
  expect_nothing_left();
}

TEST_F(MountNamespace, AWorkingDirectoryBelowIsThatOfTheMount) {
  std::string sub = directory_ + "/sub";
  std::filesystem::create_directories(sub);
  Ended ended = started_in(directory_, words("echo here > f; mkdir sub; cat " + directory_ + "/f"));
  EXPECT_EQ(ended.out, "here\n") << ended.err;
  ended = started_in(sub, words("echo there > f; cat " + sub + "/f"));
  EXPECT_EQ(ended.out, "there\n") << ended.err;
  EXPECT_FALSE(std::filesystem::exists(directory_ + "/f"));
  EXPECT_TRUE(std::filesystem::is_empty(sub));
  expect_nothing_left();
}

TEST_F(MountNamespace, AWorkingDirectoryThatTheMountDoesNotHaveIsNotThatOfTheDisk) {
  std::string sub = directory_ + "/sub";
  std::filesystem::create_directories(sub);
  Ended ended = started_in(sub, words("echo lost > f"));
  EXPECT_EQ(ended.exit_code, 1);
  EXPECT_EQ(ended.err,
            "benchfs run: " + sub +
                ": No such file or directory; the working directory is not in the cluster\n");
  EXPECT_TRUE(std::filesystem::is_empty(sub));
  expect_nothing_left();
}

TEST_F(MountNamespace, TheProgramGetsItsSignalsItself) {
  std::vector<std::string> all = words(
      "trap 'exit 3' TERM; echo ready >&2; while :; do sleep 0.01; "
      "done");
  all.insert(all.begin(), {BENCHFS_PROGRAM, "--registry-dir", registry()});
  Process trapped(all, path("."));
  ASSERT_TRUE(trapped.wait_for_line("ready", patience())) << trapped.err();
  trapped.signal(SIGTERM);
  EXPECT_EQ(trapped.wait(patience()).exit_code, 3);
  expect_nothing_left();
  Process killed(all, path("."));
  ASSERT_TRUE(killed.wait_for_line("ready", patience())) << killed.err();
  killed.signal(SIGKILL);
  EXPECT_EQ(killed.wait(patience()).signal, SIGKILL);
  expect_nothing_left();
}

TEST_F(MountNamespace, AProgramThatIsNotThereLeavesNothing) {
  std::vector<std::string> all = words("");
  all.resize(all.size() - 3);
  all.emplace_back("/no/such/program");
  EXPECT_EQ(benchfs(all).exit_code, 127);
  expect_nothing_left();
}

TEST_F(MountNamespace, WhatIsMissingIsNamed) {
  fails({"run", "--mount-namespace", "--mount", path("none"), "--", "true"},
        "benchfs run: " + path("none") +
            ": No such file or directory; make a directory to mount on, and name it with "
            "--mount\n");
  std::vector<std::string> down = words("true");
  down.insert(down.begin(), {BENCHFS_PROGRAM, "--registry-dir", path("nobody")});
  Ended ended = Process(down, path(".")).wait(patience());
  EXPECT_EQ(ended.exit_code, 1);
  EXPECT_TRUE(ended.err.starts_with("benchfs run: server list " + path("nobody"))) << ended.err;
  expect_nothing_left();
}

class MountNamespaceAsRoot : public MountNamespace {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) {
      GTEST_SKIP() << "needs root to take things away";
    }
    MountNamespace::SetUp();
  }
};

TEST_F(MountNamespaceAsRoot, WhereMountsAreSharedNobodyElseSeesIt) {
  std::vector<std::string> all = words("grep -c ' " + directory_ + " ' /proc/self/mountinfo");
  all.insert(all.begin(), {"--registry-dir", registry()});
  Ended ended = started_by("mount --make-rshared /; \"$@\"; grep -c ' " + directory_ +
                               " ' /proc/self/mountinfo || exit 0",
                           all);
  EXPECT_EQ(ended.exit_code, 0) << ended.err;
  EXPECT_EQ(ended.out, "1\n0\n");
  expect_nothing_left();
}

TEST_F(MountNamespaceAsRoot, OtherUsersInTheNamespaceSeeItToo) {
  ::chmod(path(".").c_str(), 0755);
  Ended ended = benchfs(words("echo text > " + directory_ +
                              "/f; exec setpriv --reuid=65533 --regid=65532 --clear-groups cat " +
                              directory_ + "/f"));
  EXPECT_EQ(ended.out, "text\n") << ended.err;
  expect_nothing_left();
}

TEST_F(MountNamespaceAsRoot, WithoutTheDeviceItSaysSo) {
  Ended ended = started_by("mount -t tmpfs none /dev; mknod -m 666 /dev/null c 1 3; exec \"$@\"",
                           words("true"));
  EXPECT_EQ(ended.exit_code, 1);
  EXPECT_TRUE(ended.err.contains("/dev/fuse: this container was started without the device"))
      << ended.err;
  expect_nothing_left();
}

TEST_F(MountNamespaceAsRoot, WithoutNamespacesItSaysSo) {
  // Without capabilities root is nobody special, and the limit holds for this user namespace only.
  Ended ended = started_by(
      "exec unshare -Ur /bin/sh -ec 'echo 0 > /proc/sys/user/max_user_namespaces; exec setpriv "
      "--bounding-set=-all --inh-caps=-all \"$@\"' sh \"$@\"",
      words("true"));
  EXPECT_EQ(ended.exit_code, 1);
  EXPECT_TRUE(ended.err.contains("user namespaces are not to be had")) << ended.err;
  EXPECT_TRUE(ended.err.contains("sysctl user.max_user_namespaces")) << ended.err;
  expect_nothing_left();
}

// With a cluster, a directory and a device that the user may use.
TEST_F(MountNamespaceAsRoot, AnOrdinaryUserNeedsNoPrivileges) {
  std::string home = path("home");
  std::filesystem::create_directories(home + "/mnt");
  std::filesystem::create_directories(home + "/registry");
  for (const char* below : {"", "/mnt", "/registry"}) {
    ASSERT_EQ(::chown((home + below).c_str(), 65533, 65532), 0);
  }
  ::chmod(path(".").c_str(), 0755);
  directory_ = home + "/mnt";
  std::string script = home + "/script";
  write_file(script,
             "set -eu\n"
             "export BENCHFS_REGISTRY_DIR=" +
                 home + "/registry HOME=" + home +
                 "\n"
                 "cd " +
                 home +
                 "\n"
                 "$1 up --servers 2 --engine memory > up.log 2>&1 || { cat up.log; exit 1; }\n"
                 "trap '$1 down > /dev/null' EXIT\n"
                 "$1 run --mount-namespace --mount " +
                 directory_ + " -- /bin/sh -c 'echo mine > " + directory_ +
                 "/f; id -u; id -g; stat -c %u:%g " + directory_ + "/f; cat " + directory_ +
                 "/f; mkdir " + directory_ + "/d; mv " + directory_ + "/f " + directory_ +
                 "/d; exit 5' && exit 1\n"
                 "echo $?\n"
                 "$1 cat bfs:/d/f\n"
                 "test -z \"$(ls mnt)\"\n");
  Ended ended =
      Process({"/usr/bin/unshare",
               "-m",
               "/bin/sh",
               "-ec",
               "mknod -m 666 " + path("fuse") + " c 10 229; mount --bind " + path("fuse") +
                   " /dev/fuse; exec setpriv --reuid=65533 --regid=65532 --clear-groups "
                   "/bin/sh " +
                   script + " \"$1\"",
               "sh",
               BENCHFS_PROGRAM},
              path("."))
          .wait(Deadline::after(std::chrono::seconds(60)));
  EXPECT_EQ(ended.exit_code, 0) << ended.out << ended.err;
  EXPECT_EQ(ended.out, "65533\n65532\n65533:65532\nmine\n5\nmine\n");
  expect_nothing_left();
}

}  // namespace
}  // namespace benchfs::test
