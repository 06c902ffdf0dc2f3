// benchfs chmod, chown, ln, readlink, find, help and completion, as a user runs them.
#include <filesystem>

#include "system/system_test.h"

namespace benchfs::test {
namespace {

class MoreCommands : public SystemTest {
 protected:
  void SetUp() override { up({"--servers", "2", "--engine", "memory"}); }

  nlohmann::json attributes(const std::string& argument) {
    return nlohmann::json::parse(ok({"stat", "--json", argument}), nullptr, false)[0];
  }
  std::string mode_of(const std::string& argument) {
    return attributes(argument)["mode"].get<std::string>();
  }
  // /d/a.dat, /d/e/B.DAT, /d/e/c (5 MiB), /d/l -> a.dat
  void make_tree() {
    ok({"mkdir", "-p", "bfs:/d/e"});
    ok({"touch", "bfs:/d/a.dat", "bfs:/d/e/B.DAT", "bfs:/d/e/c"});
    ok({"truncate", "-s", "5M", "bfs:/d/e/c"});
    ok({"ln", "-s", "a.dat", "bfs:/d/l"});
  }
};

TEST_F(MoreCommands, ModesAreChanged) {
  make_tree();
  ok({"chmod", "640", "bfs:/d/a.dat"});
  EXPECT_EQ(mode_of("bfs:/d/a.dat"), "0640");
  ok({"chmod", "u+x,go=", "bfs:/d/l"});  // what it leads to
  EXPECT_EQ(mode_of("bfs:/d/a.dat"), "0700");
  ok({"chmod", "-R", "a=rX", "bfs:/d"});
  EXPECT_EQ(mode_of("bfs:/d"), "0555");
  EXPECT_EQ(mode_of("bfs:/d/e"), "0555");
  EXPECT_EQ(mode_of("bfs:/d/e/c"), "0444");
  EXPECT_EQ(mode_of("bfs:/d/a.dat"), "0555");
  EXPECT_EQ(mode_of("bfs:/d/l"), "0777");
  fails({"chmod", "999", "bfs:/d"},
        "benchfs chmod: 999: not a mode: write 644, u+x, go-w or a=rX\n",
        2);
  fails({"chmod", "644", "bfs:/none"}, "benchfs chmod: bfs:/none: No such file or directory\n");
}

TEST_F(MoreCommands, OwnersAreChanged) {
  make_tree();
  ok({"chown", "7:8", "bfs:/d/l"});
  EXPECT_EQ(attributes("bfs:/d/a.dat")["uid"], 7);
  EXPECT_EQ(attributes("bfs:/d/a.dat")["gid"], 8);
  ok({"chown", "-h", "9", "bfs:/d/l"});
  EXPECT_EQ(attributes("bfs:/d/l")["uid"], 9);
  EXPECT_EQ(attributes("bfs:/d/a.dat")["uid"], 7);
  ok({"chown", "-R", ":5", "bfs:/d"});
  EXPECT_EQ(attributes("bfs:/d/e/c")["gid"], 5);
  EXPECT_EQ(attributes("bfs:/d/a.dat")["uid"], 7);
  EXPECT_EQ(attributes("bfs:/d/a.dat")["gid"], 5);
  ok({"chown", "root:", "bfs:/d/a.dat"});
  EXPECT_EQ(attributes("bfs:/d/a.dat")["gid"], 0);
  fails({"chown", "no-such-user", "bfs:/d"},
        "benchfs chown: no-such-user: no user has the name 'no-such-user'\n",
        2);
}

TEST_F(MoreCommands, LinksAreMadeReplacedAndRead) {
  make_tree();
  EXPECT_EQ(ok({"readlink", "bfs:/d/l"}), "a.dat\n");
  fails({"ln", "-s", "x", "bfs:/d/l"}, "benchfs ln: bfs:/d/l: File exists\n");
  ok({"ln", "-sf", "e/c", "bfs:/d/l"});
  EXPECT_EQ(ok({"readlink", "bfs:/d/l"}), "e/c\n");
  ok({"ln", "-s", "bfs:/d/e/c", "bfs:/d"});  // into the directory
  EXPECT_EQ(ok({"readlink", "bfs:/d/c"}), "/d/e/c\n");
  EXPECT_EQ(ok({"ls", "bfs:/d"}), "a.dat\nc\ne\nl\n");
  fails({"readlink", "bfs:/d"}, "benchfs readlink: bfs:/d: not a symbolic link\n");

  ok({"ln", "bfs:/d/a.dat", "bfs:/d/second"});
  EXPECT_EQ(attributes("bfs:/d/second")["inode"], attributes("bfs:/d/a.dat")["inode"]);
  EXPECT_EQ(attributes("bfs:/d/a.dat")["nlink"], 2);
  fails({"ln", "bfs:/d/e/c", "bfs:/d/second"}, "benchfs ln: bfs:/d/second: File exists\n");
  ok({"ln", "-f", "bfs:/d/e/c", "bfs:/d/second"});
  EXPECT_EQ(attributes("bfs:/d/a.dat")["nlink"], 1);
  fails({"ln", "a.dat", "bfs:/d/third"},
        "benchfs ln: a.dat: not in BenchFS: write bfs:/…, or -s for a symbolic link\n",
        2);
}

TEST_F(MoreCommands, TreesAreSearched) {
  make_tree();
  EXPECT_EQ(ok({"find"}),
            "bfs:/\nbfs:/d\nbfs:/d/a.dat\nbfs:/d/e\nbfs:/d/e/B.DAT\nbfs:/d/e/c\nbfs:/d/l\n");
  EXPECT_EQ(ok({"find", "bfs:/d", "-n", "*.dat"}), "bfs:/d/a.dat\n");
  EXPECT_EQ(ok({"find", "bfs:/d", "-n", "*.dat", "-i"}), "bfs:/d/a.dat\nbfs:/d/e/B.DAT\n");
  EXPECT_EQ(ok({"find", "-n", "c", "-n", "l"}), "bfs:/d/e/c\nbfs:/d/l\n");
  EXPECT_EQ(ok({"find", "-t", "dl"}), "bfs:/\nbfs:/d\nbfs:/d/e\nbfs:/d/l\n");
  EXPECT_EQ(ok({"find", "-s", "+1M"}), "bfs:/d/e/c\n");
  EXPECT_EQ(ok({"find", "-s", "5242880"}), "bfs:/d/e/c\n");
  EXPECT_EQ(ok({"find", "-s", "-1", "-c"}), "2\n");
  EXPECT_EQ(ok({"find", "-d", "1"}), "bfs:/\nbfs:/d\n");
  EXPECT_EQ(ok({"find", "bfs:/d", "--min-depth", "2"}), "bfs:/d/e/B.DAT\nbfs:/d/e/c\n");
  ok({"touch", "-d", "2001-01-01", "bfs:/d/a.dat"});
  EXPECT_EQ(ok({"find", "bfs:/d", "-m", "+7"}), "bfs:/d/a.dat\n");
  EXPECT_EQ(ok({"find", "bfs:/d", "-t", "f", "--newer", "bfs:/d/a.dat"}),
            "bfs:/d/e/B.DAT\nbfs:/d/e/c\n");
  EXPECT_EQ(ok({"find", "bfs:/d/e", "-0", "-t", "f"}),
            std::string("bfs:/d/e/B.DAT\0bfs:/d/e/c\0", 26));
  fails({"find", "-s", "big"}, "benchfs find: big: not a size: write +1GiB, -4096 or 0\n", 2);
  fails({"find", "-m", "x"}, "benchfs find: x: not a number of days: write +7, -1 or 0\n", 2);
  fails({"find", "bfs:/none"}, "benchfs find: bfs:/none: No such file or directory\n");
}

TEST_F(MoreCommands, EveryCommandHasHelpAndAPage) {
  EXPECT_EQ(ok({"help", "bench", "io"}), ok({"bench", "io", "--help"}));
  fails(
      {"help", "nosuch"}, "benchfs help: nosuch: no such command; 'benchfs help' lists them\n", 2);
  ok({"help", "--man-directory", path("man")});
  std::size_t pages = 0;
  for (const auto& page : std::filesystem::directory_iterator(path("man"))) {
    std::string text = read_file(page.path());
    EXPECT_TRUE(text.starts_with(".TH benchfs")) << page.path();
    EXPECT_NE(text.find(".SH OPTIONS"), std::string::npos) << page.path();
    ++pages;
  }
  EXPECT_GT(pages, 30U);
  EXPECT_NE(read_file(path("man/benchfs-bench-io.1")).find("\\-\\-clients"), std::string::npos);
}

TEST_F(MoreCommands, BashCompletesCommandsOptionsAndPaths) {
  make_tree();
  std::string script = R"(
    export BENCHFS_REGISTRY_DIR=$2
    source <("$1" completion bash)
    complete_line() {
      COMP_LINE=$1 COMP_POINT=${#1} COMP_WORDS=("$program")
      _benchfs; echo "${COMPREPLY[*]}"
    }
    program=$1
    complete_line 'benchfs tr'
    complete_line 'benchfs bench io --req'
    complete_line 'benchfs --timeout 3 cp --rec'
    complete_line 'benchfs ls bfs:/d/e/'
    complete_line 'benchfs ls bfs:/d/a'
    complete_line 'benchfs cp /etc/hostn')";
  Ended ended =
      Process({"/bin/bash", "-c", script, "bash", BENCHFS_PROGRAM, registry()}, registry())
          .wait(patience());
  EXPECT_EQ(ended.exit_code, 0);
  EXPECT_EQ(ended.out,
            "tree truncate\n--request\n--recursive\n/d/e/B.DAT /d/e/c\n/d/a.dat\n/etc/hostname\n")
      << ended.err;
}

}  // namespace
}  // namespace benchfs::test
