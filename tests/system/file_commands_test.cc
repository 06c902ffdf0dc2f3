// benchfs ls, tree, stat, cat, cp, mv, rm, mkdir, rmdir, touch, truncate, df, du, as a user runs
// them.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <map>

#include "system/system_test.h"

namespace benchfs::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// A path's type, mode, modification time and content, as one line.
std::string describe(const fs::path& path) {
  struct stat found{};
  if (lstat(path.c_str(), &found) != 0) {
    return "missing";
  }
  std::string content;
  if (S_ISREG(found.st_mode)) {
    content = fmt::format("{:x}", std::hash<std::string>()(read_file(path)));
  } else if (S_ISLNK(found.st_mode)) {
    content = fs::read_symlink(path);
  }
  return fmt::format("{:o} {}.{} {} {}",
                     found.st_mode,
                     found.st_mtim.tv_sec,
                     found.st_mtim.tv_nsec,
                     S_ISDIR(found.st_mode) ? 0 : found.st_size,
                     content);
}

std::map<std::string, std::string> describe_tree(const std::string& root) {
  std::map<std::string, std::string> found{{".", describe(root)}};
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(root)) {
    found[entry.path().lexically_relative(root)] = describe(entry.path());
  }
  return found;
}

void set_mtime(const std::string& path, std::int64_t seconds, int flags = 0) {
  timespec times[2] = {{seconds, 5}, {seconds, 123'456'789}};
  ASSERT_EQ(utimensat(AT_FDCWD, path.c_str(), times, flags), 0);
}

class FileCommands : public SystemTest {
 protected:
  void SetUp() override { up({"--servers", "2"}); }

  // A local file with this text.
  std::string local(const std::string& name, const std::string& text) {
    write_file(path(name), text);
    return path(name);
  }
};

TEST_F(FileCommands, SourcesOfOneNameDoNotOverwriteEachOther) {
  for (const char* path : {"bfs:/a", "bfs:/b", "bfs:/t"}) {
    ASSERT_EQ(benchfs({"mkdir", path}).exit_code, 0);
  }
  ASSERT_EQ(benchfs({"touch", "bfs:/a/f", "bfs:/b/f"}).exit_code, 0);
  Ended ended = benchfs({"cp", "bfs:/a/f", "bfs:/b/f", "bfs:/t"});
  EXPECT_EQ(ended.exit_code, 1);
  EXPECT_NE(ended.err.find("bfs:/b/f: another source has just been copied to bfs:/t/f"),
            std::string::npos)
      << ended.err;
  ended = benchfs({"mv", "bfs:/a/f", "bfs:/b/f", "bfs:/t"});
  EXPECT_EQ(ended.exit_code, 1);
  EXPECT_EQ(benchfs({"ls", "bfs:/b"}).out, "f\n");
  EXPECT_EQ(benchfs({"ls", "bfs:/a"}).out, "");
}

TEST_F(FileCommands, ATreeComesBackAsItWentIn) {
  std::string tree = path("tree");
  fs::create_directories(tree + "/a/b/empty");
  fs::create_directories(tree + "/read only");
  std::vector<std::byte> large = pattern(11'000'001, 7);  // several parts
  write_file(tree + "/large",
             std::string(reinterpret_cast<const char*>(large.data()), large.size()));
  write_file(tree + "/a/small", "small");
  write_file(tree + "/a/b/nothing", "");
  write_file(tree + "/a/\xff\xfe name", "odd");
  write_file(tree + "/read only/script", "#!");
  write_file(tree + "/sparse", "begin");
  fs::resize_file(tree + "/sparse", 20'000'000);
  fs::create_symlink("small", tree + "/a/link");
  fs::create_symlink("/nowhere", tree + "/dangling");
  fs::create_symlink("a", tree + "/to directory");
  chmod((tree + "/a/small").c_str(), 0640);
  chmod((tree + "/read only/script").c_str(), 0755);
  set_mtime(tree + "/a/small", 1'000'000);
  set_mtime(tree + "/a/link", 2'000'000, AT_SYMLINK_NOFOLLOW);
  chmod((tree + "/read only").c_str(), 0555);
  set_mtime(tree + "/read only", 3'000'000);
  set_mtime(tree + "/a", 4'000'000);

  ok({"cp", "-r", tree, "bfs:/copy"});
  ok({"cp", "-r", "bfs:/copy", "bfs:/second"});
  ok({"cp", "-r", "-j", "1", "bfs:/second", path("back")});
  EXPECT_EQ(describe_tree(path("back")), describe_tree(tree));
  // Into a directory that is there: below its own name.
  ok({"cp", "-r", tree + "/a", "bfs:/copy/a/b"});
  EXPECT_EQ(ok({"cat", "bfs:/copy/a/b/a/small"}), "small");
  // Lets them be removed without privileges.
  chmod((tree + "/read only").c_str(), 0755);
  chmod((path("back") + "/read only").c_str(), 0755);
}

// They are copied many at a time, those of up to 32 KiB.
TEST_F(FileCommands, ManySmallFilesComeBackAsTheyWentIn) {
  std::string tree = path("tree");
  fs::create_directories(tree + "/below");
  for (unsigned i = 0; i < 100; ++i) {
    std::vector<std::byte> data = pattern(i % 2 == 0 ? 37 * i : 32'767 + i % 4, i);
    std::string name = fmt::format("{}/{}{}", tree, i % 3 == 0 ? "below/" : "", i);
    write_file(name, std::string(reinterpret_cast<const char*>(data.data()), data.size()));
    chmod(name.c_str(), 0600 + i % 0100);
    set_mtime(name, 1'000'000 + i);
  }
  fs::create_symlink("loop", tree + "/loop");
  ok({"cp", "-r", tree, "bfs:/copy"});
  ok({"cp", "-r", "-j", "2", "bfs:/copy", path("back")});
  EXPECT_EQ(describe_tree(path("back")), describe_tree(tree));

  // Those that fail are named and keep no other from it.
  fs::remove(tree + "/1");
  fs::create_directory(tree + "/1");
  ok({"rm", "bfs:/copy/2"});
  ok({"mkdir", "bfs:/copy/2"});
  write_file(tree + "/3", "new");
  fails({"cp", tree + "/1", tree + "/2", tree + "/3", "bfs:/copy"},
        fmt::format("benchfs cp: {}/1: is a directory, left out (-r copies directories)\n"
                    "benchfs cp: bfs:/copy/2: Is a directory\n",
                    tree));
  EXPECT_EQ(ok({"cat", "bfs:/copy/3"}), "new");
  // Files in /proc have a size of 0 whatever is in them.
  ok({"cp", "/proc/version", "bfs:/version"});
  EXPECT_EQ(ok({"cat", "bfs:/version"}), read_file("/proc/version"));
}

TEST_F(FileCommands, WhatCannotBeCopiedIsNamedAndTheRestCopied) {
  std::string good = local("good", "good");
  ok({"mkdir", "bfs:/d"});
  fails({"cp", path("missing"), good, "bfs:/none", "bfs:/d"},
        fmt::format("benchfs cp: {}: No such file or directory\n"
                    "benchfs cp: bfs:/none: No such file or directory\n",
                    path("missing")));
  EXPECT_EQ(ok({"cat", "bfs:/d/good"}), "good");

  fails({"cp", "bfs:/d", path("x")},
        "benchfs cp: bfs:/d: is a directory, left out (-r copies directories)\n");
  fails({"cp", good, "bfs:/d/good", "bfs:/new"},
        "benchfs cp: bfs:/new: No such file or directory\n");
  fails({"cp", good, "bfs:/d/good", "bfs:/d/good"}, "benchfs cp: bfs:/d/good: Not a directory\n");
  fails({"cp", "bfs:/d/good", "bfs:/d/good"},
        "benchfs cp: bfs:/d/good: the same file as bfs:/d/good\n");
  fails({"cp", good, path("other")},
        fmt::format("benchfs cp: {}: neither this nor the target is in BenchFS (bfs:/…)\n", good));
  fails({"cp", "-r", "bfs:/d", "bfs:/d/inside"},
        "benchfs cp: bfs:/d/inside: cannot be copied into itself; left out\n");
  EXPECT_EQ(ok({"cat", "bfs:/d/inside/good"}), "good");
}

TEST_F(FileCommands, AnInterruptedCopyEndsSoonAndSaysSo) {
  write_file(path("endless"), "");
  fs::resize_file(path("endless"), std::uintmax_t{1} << 40);
  Process copy({BENCHFS_PROGRAM,
                "--registry-dir",
                registry(),
                "cp",
                "--progress",
                path("endless"),
                "bfs:/endless"},
               path("."));
  ASSERT_TRUE(copy.wait_for_line("0/1 files", patience())) << copy.err();
  copy.signal(SIGINT);
  Ended ended = copy.wait(patience());
  EXPECT_EQ(ended.exit_code, 130) << ended.err;
  EXPECT_NE(ended.err.find("benchfs cp: interrupted after 0 files\n"), std::string::npos)
      << ended.err;
}

TEST_F(FileCommands, ListingsShowNamesAttributesAndProblems) {
  ok({"mkdir", "-m", "750", "bfs:/d"});
  ok({"cp", local("f", "12345"), "bfs:/d/file"});
  ok({"touch", "bfs:/d/.hidden"});
  ok({"mkdir", "bfs:/d/sub"});
  ok({"touch", "-d", "2001-02-03 04:05:06", "bfs:/d/file"});
  EXPECT_EQ(ok({"ls"}), "d\n");
  EXPECT_EQ(ok({"ls", "bfs:/d"}), "file\nsub\n");
  EXPECT_EQ(ok({"ls", "-a", "bfs:/d"}), ".\n..\n.hidden\nfile\nsub\n");
  EXPECT_EQ(ok({"ls", "-d", "bfs:/d"}), "bfs:/d\n");
  EXPECT_EQ(ok({"ls", "-R", "-1", "bfs:/"}), "bfs:/:\nd\n\nbfs:/d:\nfile\nsub\n\nbfs:/d/sub:\n");
  std::string line = ok({"ls", "-lh", "bfs:/d/file"});
  EXPECT_TRUE(line.starts_with("-rw-r")) << line;
  EXPECT_NE(line.find(" 5 Feb  3  2001 bfs:/d/file\n"), std::string::npos) << line;
  EXPECT_TRUE(ok({"ls", "-ld", "bfs:/d"}).starts_with("drwxr-x---"));

  json listed = json::parse(ok({"ls", "-R", "--json", "bfs:/"}), nullptr, false);
  ASSERT_EQ(listed.size(), 3U);
  EXPECT_EQ(listed[1]["name"], "bfs:/d/file");
  EXPECT_EQ(listed[1]["size"], 5);
  json shown = json::parse(ok({"stat", "--json", "bfs:/d", "bfs:/d/file"}), nullptr, false);
  ASSERT_EQ(shown.size(), 2U);
  EXPECT_EQ(shown[0]["type"], "directory");
  EXPECT_EQ(shown[0]["mode"], "0750");
  EXPECT_EQ(shown[1]["inode"], listed[1]["inode"]);
  EXPECT_NE(ok({"stat", "bfs:/d/file"}).find("regular file"), std::string::npos);
  EXPECT_EQ(ok({"tree", "bfs:/d"}), "bfs:/d\n├── file\n└── sub\n\n1 directory, 1 file\n");

  fails({"ls", "bfs:/x"}, "benchfs ls: bfs:/x: No such file or directory\n");
  fails({"ls", "bfs:/d/file/x"}, "benchfs ls: bfs:/d/file/x: Not a directory\n");
  fails({"ls", "/etc"}, "benchfs ls: /etc: a local path; in BenchFS it would be bfs:/etc\n");
  Ended both = benchfs({"ls", "bfs:/x", "bfs:/d"});
  EXPECT_EQ(both.exit_code, 1);
  EXPECT_EQ(both.out, "bfs:/d:\nfile\nsub\n");
}

TEST_F(FileCommands, CatPrintsFilesInOrderAndGoesOnAfterAMissingOne) {
  ok({"cp", local("a", "first\n"), local("b", "second\n"), "bfs:/"});
  Ended ended = benchfs({"cat", "bfs:/a", "bfs:/x", "bfs:/b"});
  EXPECT_EQ(ended.exit_code, 1);
  EXPECT_EQ(ended.out, "first\nsecond\n");
  EXPECT_EQ(ended.err, "benchfs cat: bfs:/x: No such file or directory\n");
  fails({"cat", "bfs:/"}, "benchfs cat: bfs:/: Is a directory\n");
}

TEST_F(FileCommands, MovingRenamesAndReplaces) {
  ok({"cp", local("a", "a"), local("b", "b"), "bfs:/"});
  ok({"mkdir", "bfs:/d"});
  fails({"mv", "-n", "bfs:/a", "bfs:/b"}, "benchfs mv: bfs:/b: File exists\n");
  ok({"mv", "bfs:/a", "bfs:/b"});
  EXPECT_EQ(ok({"cat", "bfs:/b"}), "a");
  ok({"mv", "bfs:/b", "bfs:/d"});
  ok({"mv", "bfs:/d", "bfs:/e"});
  EXPECT_EQ(ok({"ls", "bfs:/e"}), "b\n");
  fails({"mv", "bfs:/x", "bfs:/y"}, "benchfs mv: bfs:/x: No such file or directory\n");
  fails({"mv", "bfs:/e", "bfs:/e/in"}, "benchfs mv: bfs:/e: cannot be moved into itself\n");
  fails({"mv", path("a"), "bfs:/"},
        fmt::format("benchfs mv: {}: a local path; use 'benchfs cp' and remove the source\n",
                    path("a")),
        2);
}

TEST_F(FileCommands, RemovingTakesFilesAndWithRTrees) {
  ok({"mkdir", "-p", "bfs:/d/e/f", "bfs:/d/g"});
  ok({"touch", "bfs:/d/1", "bfs:/d/e/2", "bfs:/d/e/f/3", "bfs:/4"});
  fails({"rm", "bfs:/d"}, "benchfs rm: bfs:/d: is a directory (-r removes directories)\n");
  fails({"rm", "bfs:/x", "bfs:/4"}, "benchfs rm: bfs:/x: No such file or directory\n");
  fails({"rmdir", "bfs:/d"}, "benchfs rmdir: bfs:/d: Directory not empty\n");
  ok({"rmdir", "bfs:/d/g"});
  ok({"rm", "-f", "bfs:/x"});
  fails({"rm", "-r", "bfs:/"}, "benchfs rm: bfs:/: refusing to remove '/', '.' or '..'\n");
  ok({"rm", "-r", "bfs:/d"});
  EXPECT_EQ(ok({"ls"}), "");
}

TEST_F(FileCommands, TwoRemovalsOfOneTreeBothSucceed) {
  std::string tree = path("tree");
  for (int directory = 0; directory < 40; ++directory) {
    std::string below = fmt::format("{}/{}/below", tree, directory);
    fs::create_directories(below);
    for (int file = 0; file < 5; ++file) {
      write_file(fmt::format("{}/{}", below, file), "");
      write_file(fmt::format("{}/{}/{}", tree, directory, file), "");
    }
  }
  for (int round = 0; round < 3; ++round) {
    ok({"cp", "-r", tree, "bfs:/tree"});
    std::vector<std::string> arguments = {
        BENCHFS_PROGRAM, "--registry-dir", registry(), "rm", "-r", "bfs:/tree"};
    Process first(arguments, path("."));
    Process second(arguments, path("."));
    for (Process* removal : {&first, &second}) {
      Ended ended = removal->wait(patience());
      bool came_late = ended.err == "benchfs rm: bfs:/tree: No such file or directory\n";
      EXPECT_TRUE(came_late || (ended.exit_code == 0 && ended.err.empty())) << ended.err;
    }
    EXPECT_EQ(ok({"ls"}), "");
  }
}

TEST_F(FileCommands, DirectoriesAreMadeWithWhatIsMissingAbove) {
  fails({"mkdir", "bfs:/a/b"}, "benchfs mkdir: bfs:/a/b: No such file or directory\n");
  ok({"mkdir", "-p", "bfs:/a//b/c/"});
  ok({"mkdir", "-p", "bfs:/a/b"});
  fails({"mkdir", "bfs:/a"}, "benchfs mkdir: bfs:/a: File exists\n");
  ok({"touch", "bfs:/file"});
  fails({"mkdir", "-p", "bfs:/file"}, "benchfs mkdir: bfs:/file: File exists\n");
  fails({"mkdir", "-p", "bfs:/file/x"}, "benchfs mkdir: bfs:/file/x: Not a directory\n");
  fails({"mkdir", "-m", "9", "bfs:/x"},
        "benchfs mkdir: 9: not a mode: write it as an octal number, such as 755\n",
        2);
}

TEST_F(FileCommands, TimesAndSizesAreSet) {
  ok({"touch", "-c", "bfs:/none"});
  EXPECT_EQ(ok({"ls"}), "");
  auto attribute = [&](const char* name) {
    return json::parse(ok({"stat", "--json", "bfs:/f"}), nullptr, false)[0][name];
  };
  ok({"touch", "-d", "@1000.5", "bfs:/f"});
  EXPECT_EQ(attribute("mtime_ns"), 1'000'500'000'000);
  EXPECT_EQ(attribute("atime_ns"), 1'000'500'000'000);
  ok({"touch", "-m", "-d", "@2000", "bfs:/f"});
  EXPECT_EQ(attribute("mtime_ns"), 2'000'000'000'000);
  EXPECT_EQ(attribute("atime_ns"), 1'000'500'000'000);
  fails({"touch", "-d", "soon", "bfs:/f"},
        "benchfs touch: soon: not a date: write YYYY-MM-DD hh:mm:ss or @SECONDS\n",
        2);

  ok({"truncate", "-s", "10K", "bfs:/f"});
  EXPECT_EQ(attribute("size"), 10'240);
  ok({"truncate", "-s", "+1MiB", "bfs:/f"});
  EXPECT_EQ(attribute("size"), 10'240 + (1 << 20));
  ok({"truncate", "-s", "-1M", "bfs:/f"});
  EXPECT_EQ(attribute("size"), 10'240);
  ok({"truncate", "-s", "-1G", "bfs:/f"});
  EXPECT_EQ(attribute("size"), 0);
  ok({"truncate", "-c", "-s", "1", "bfs:/none"});
  fails({"truncate", "-s", "1", "bfs:/"}, "benchfs truncate: bfs:/: Is a directory\n");
  fails({"truncate", "-s", "much", "bfs:/f"},
        "benchfs truncate: much: not a size: write 4096, 64K, 1GiB, +1M or -512\n",
        2);
}

TEST_F(FileCommands, SpaceIsShown) {
  json whole = json::parse(ok({"df", "--json"}), nullptr, false);
  EXPECT_GT(whole["total_bytes"].get<std::uint64_t>(), 0U);
  EXPECT_EQ(whole["shards"], 2);
  EXPECT_NE(ok({"df", "-h"}).find("bfs:/"), std::string::npos);
}

TEST_F(FileCommands, DirectoriesAreSummedUpWithAllBelowThem) {
  ok({"mkdir", "-p", "bfs:/d/e/f"});
  ok({"truncate", "-s", "1500", "bfs:/d/a"});
  ok({"truncate", "-s", "1M", "bfs:/d/e/b"});
  ok({"truncate", "-s", "1", "bfs:/d/e/f/c"});
  EXPECT_EQ(ok({"du", "bfs:/d"}), "1\tbfs:/d/e/f\n1025\tbfs:/d/e\n1026\tbfs:/d\n");
  EXPECT_EQ(ok({"du", "-d", "1", "bfs:/d"}), "1025\tbfs:/d/e\n1026\tbfs:/d\n");
  EXPECT_EQ(ok({"du", "-d1"}), "1026\tbfs:/d\n1026\tbfs:/\n");
  EXPECT_EQ(ok({"du", "-sh", "bfs:/d", "bfs:/d/a"}), "1.1M\tbfs:/d\n1.5K\tbfs:/d/a\n");
  EXPECT_EQ(ok({"du", "-sb", "bfs:/d"}), "1050077\tbfs:/d\n");
  EXPECT_EQ(ok({"du", "-ab", "-d", "1", "bfs:/d/e"}),
            "1048576\tbfs:/d/e/b\n1\tbfs:/d/e/f\n1048577\tbfs:/d/e\n");
  fails({"du", "bfs:/x"}, "benchfs du: bfs:/x: No such file or directory\n");
  EXPECT_EQ(benchfs({"du", "-s", "-d", "1"}).exit_code, 2);
}

TEST_F(FileCommands, OutputThatDoesNotArriveIsAFailureUnlessItsReaderHasSeenEnough) {
  std::vector<std::string> touch = {"touch"};
  for (int i = 0; i < 40; ++i) {  // more than stdio keeps back
    touch.push_back(fmt::format("bfs:/{}{}", std::string(200, 'f'), i));
  }
  ok(touch);
  ok({"truncate", "-s", "1M", "bfs:/large"});
  auto shell = [this](const char* before, const std::string& command, const char* output) {
    std::string line = fmt::format(
        "{} {} --registry-dir {} {} {}", before, BENCHFS_PROGRAM, registry(), command, output);
    return Process({"/bin/bash", "-c", line}, path("")).wait(patience());
  };
  for (const char* command : {"ls", "tree", "du -a", "ls -R --json", "df", "cat bfs:/large"}) {
    Ended full = shell("", command, ">/dev/full");
    EXPECT_EQ(full.exit_code, 1) << command << full.err;
    EXPECT_NE(full.err.find("standard output: No space left on device\n"), std::string::npos)
        << command << full.err;
    // A pipe whose reader has ended.
    Ended gone = shell("exec 3> >(:); wait $!;", command, ">&3");
    EXPECT_EQ(gone.exit_code, 141) << command << gone.err;
    EXPECT_EQ(gone.err, "") << command;
  }
}

TEST_F(FileCommands, AWrongUsageNamesTheMistakeAndTheHelp) {
  fails({"cpp", "a", "bfs:/b"}, "benchfs: unknown command 'cpp'\nTry: benchfs --help\n", 2);
  fails({"cp"}, "benchfs cp: PATH is required\nTry: benchfs cp --help\n", 2);
}

TEST_F(FileCommands, WithoutAClusterTheMessageNamesTheRegistry) {
  benchfs({"down"});
  Ended ended = benchfs({"ls", "--timeout", "1"});
  EXPECT_EQ(ended.exit_code, 1);
  EXPECT_TRUE(ended.err.starts_with("benchfs ls: ")) << ended.err;
  EXPECT_NE(ended.err.find(registry()), std::string::npos) << ended.err;
}

class SmallCluster : public SystemTest {
 protected:
  void SetUp() override { up({"--servers", "1", "--engine", "memory", "--memory", "8MiB"}); }
};

TEST_F(SmallCluster, ACopyThatFillsItStopsOnceAndLeavesCompleteFilesOnly) {
  std::string tree = path("tree");
  fs::create_directory(tree);
  for (unsigned i = 0; i < 500; ++i) {
    std::vector<std::byte> data = pattern(30'000, i);
    write_file(fmt::format("{}/{}", tree, i),
               std::string(reinterpret_cast<const char*>(data.data()), data.size()));
  }
  Ended ended = benchfs({"cp", "-r", tree, "bfs:/copy"});
  EXPECT_EQ(ended.exit_code, 1);
  EXPECT_NE(ended.err.find(": No space left on device; stopped after "), std::string::npos)
      << ended.err;
  EXPECT_EQ(std::ranges::count(ended.err, '\n'), 1) << ended.err;
  ok({"cp", "-r", "bfs:/copy", path("back")});
  std::map<std::string, std::string> sent = describe_tree(tree);
  std::map<std::string, std::string> back = describe_tree(path("back"));
  EXPECT_GT(back.size(), 50U);
  for (const auto& [name, described] : back) {
    EXPECT_EQ(described, sent[name]) << name;
  }
}

TEST_F(SmallCluster, ACopyThatFillsItLeavesOlderFilesThatItDidNotReach) {
  constexpr unsigned kFiles = 300;
  std::string older = path("older");
  std::string tree = path("tree");
  fs::create_directory(older);
  fs::create_directory(tree);
  for (unsigned i = 0; i < kFiles; ++i) {
    write_file(fmt::format("{}/{}", older, i), "older");
    write_file(fmt::format("{}/{}", tree, i), std::string(30'000, 'n'));
  }
  ok({"cp", "-r", older, "bfs:/copy"});
  Ended ended = benchfs({"cp", "-r", "-j", "2", tree + "/.", "bfs:/copy"});
  EXPECT_EQ(ended.exit_code, 1);
  EXPECT_NE(ended.err.find(": No space left on device"), std::string::npos) << ended.err;
  ok({"cp", "-r", "bfs:/copy", path("back")});
  std::map<std::string, std::string> before = describe_tree(older);
  std::map<std::string, std::string> sent = describe_tree(tree);
  std::map<std::string, std::string> back = describe_tree(path("back"));
  std::size_t lost = 0;
  std::size_t kept = 0;
  for (const auto& [name, described] : before) {
    lost += back[name] != described && back[name] != sent[name];
    kept += back[name] == described;
  }
  EXPECT_LE(lost, 2U) << "one for each worker";
  EXPECT_GT(kept, 20U);
}

}  // namespace
}  // namespace benchfs::test
