// What Linux has beyond POSIX and programs use: exchanges of names, holes, extended attributes and
// copies, against clusters of several shards.

#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "model/fixture.h"

namespace benchfs::test {
namespace {

constexpr std::int64_t kChunk = 64 << 10;

class PosixExtra : public ::testing::Test {
 protected:
  void start(ClusterConfig config = {.servers = 4}) {
    BENCHFS_TEST_ASSIGN(cluster, Cluster::start(config));
    cluster_ = std::move(cluster);
    benchfs_options_t options{};
    options.struct_size = sizeof(options);
    options.registry_dir = cluster_->registry_dir().c_str();
    options.connect_timeout_ms = 60'000;
    options.chunk_size = kChunk;
    context_.reset(benchfs_connect(&options));
    ASSERT_NE(context_, nullptr) << benchfs_get_error();
  }
  benchfs_context_t* fs() { return context_.get(); }
  benchfs_file_t* open(const std::string& path, int flags = O_CREAT | O_RDWR) {
    benchfs_file_t* file = benchfs_open(fs(), path.c_str(), flags, 0644);
    EXPECT_NE(file, nullptr) << benchfs_get_error();
    return file;
  }
  void put(const std::string& path, std::string_view text) {
    benchfs_file_t* file = open(path, O_CREAT | O_TRUNC | O_WRONLY);
    EXPECT_EQ(benchfs_write(file, text.data(), text.size()), static_cast<ssize_t>(text.size()));
    EXPECT_EQ(benchfs_close(file), 0);
  }
  std::string get(const std::string& path) {
    benchfs_file_t* file = open(path, O_RDONLY);
    std::string text(100, '\0');
    ssize_t bytes = benchfs_read(file, text.data(), text.size());
    EXPECT_GE(bytes, 0) << benchfs_get_error();
    EXPECT_EQ(benchfs_close(file), 0);
    text.resize(bytes > 0 ? static_cast<std::size_t>(bytes) : 0);
    return text;
  }
  benchfs_stat_t look(const std::string& path) {
    benchfs_stat_t stat{};
    EXPECT_EQ(benchfs_lstat(fs(), path.c_str(), &stat), 0) << benchfs_get_error();
    return stat;
  }
  int exchange(const std::string& from, const std::string& to) {
    return benchfs_rename2(fs(), from.c_str(), to.c_str(), RENAME_EXCHANGE);
  }
  std::int64_t size(const std::string& path) { return benchfs_get_file_size(fs(), path.c_str()); }

  std::unique_ptr<Cluster> cluster_;
  ContextPtr context_;
};

// --- Exchanges -----------------------------------------------------------------------------------

TEST_F(PosixExtra, AnExchangeOfFilesKeepsBothWhateverShardsTheirNamesAreOn) {
  start();
  for (int i = 0; i < 16; ++i) {
    std::string a = "/a" + std::to_string(i);
    std::string b = "/b" + std::to_string(i);
    put(a, "a");
    put(b, "b");
    ASSERT_EQ(exchange(a, b), 0) << benchfs_get_error();
    EXPECT_EQ(get(a), "b");
    EXPECT_EQ(get(b), "a");
    EXPECT_EQ(look(a).st_nlink, 1U);
    EXPECT_EQ(look(b).st_nlink, 1U);
    EXPECT_EQ(benchfs_unlink(fs(), a.c_str()), 0);
    EXPECT_EQ(get(b), "a");
  }
}

TEST_F(PosixExtra, AnExchangeOfFilesAndDirectories) {
  start();
  for (int i = 0; i < 8; ++i) {
    std::string d = "/d" + std::to_string(i);
    std::string e = "/e" + std::to_string(i);
    for (const std::string& path : {d, e, d + "/sub", e + "/sub", e + "/sub/x"}) {
      ASSERT_EQ(benchfs_mkdir(fs(), path.c_str(), 0755), 0);
    }
    put(d + "/sub/f", "d");
    put(e + "/sub/f", "e");
    put(d + "/file", "file");
    ASSERT_EQ(exchange(d + "/sub", e + "/sub"), 0) << benchfs_get_error();
    EXPECT_EQ(get(d + "/sub/f"), "e");
    EXPECT_EQ(get(e + "/sub/f"), "d");
    EXPECT_EQ(get(d + "/sub/x/../../sub/f"), "e");
    EXPECT_EQ(look(d).st_nlink, 3U);
    ASSERT_EQ(exchange(d + "/file", e + "/sub"), 0) << benchfs_get_error();
    EXPECT_EQ(get(d + "/file/f"), "d");
    EXPECT_EQ(get(e + "/sub"), "file");
    EXPECT_EQ(look(d).st_nlink, 4U);
    EXPECT_EQ(look(e).st_nlink, 2U);
    // What moved knows its new parent: neither goes below itself.
    EXPECT_EQ(exchange(d, d + "/sub/x"), -EINVAL);
    EXPECT_EQ(exchange(d + "/sub/x", d), -EINVAL);
    EXPECT_EQ(benchfs_rename(fs(), d.c_str(), (d + "/file/g").c_str()), -EINVAL);
    EXPECT_EQ(benchfs_rmdir(fs(), (d + "/sub").c_str()), -ENOTEMPTY);
  }
}

TEST_F(PosixExtra, AnExchangeNeedsTwoNames) {
  start();
  put("/a", "a");
  ASSERT_EQ(benchfs_link(fs(), "/a", "/link"), 0);
  EXPECT_EQ(exchange("/a", "/none"), -ENOENT);
  EXPECT_EQ(exchange("/none", "/a"), -ENOENT);
  EXPECT_EQ(exchange("/a", "/a"), 0);
  EXPECT_EQ(exchange("/a", "/link"), 0);  // of one inode
  EXPECT_EQ(look("/a").st_nlink, 2U);
  EXPECT_EQ(exchange("/a", "/"), -EBUSY);
  EXPECT_EQ(exchange("/a/", "/link"), -ENOTDIR);
  EXPECT_EQ(exchange("/a", "/link/"), -ENOTDIR);
  EXPECT_EQ(benchfs_rename2(fs(), "/a", "/b", RENAME_EXCHANGE | RENAME_NOREPLACE), -EINVAL);
  EXPECT_EQ(benchfs_rename2(fs(), "/a", "/b", RENAME_WHITEOUT), -EINVAL);
  EXPECT_EQ(get("/a"), "a");
}

// Three clients exchange three names in a circle: at every moment each leads to something, and none
// gets lost.
TEST_F(PosixExtra, ExchangesAreOneStepForEverybody) {
  start();
  const std::vector<std::string> names = {"/one", "/two", "/three"};
  std::set<std::uint64_t> inodes;
  for (const std::string& name : names) {
    put(name, name);
    inodes.insert(look(name).st_ino);
  }
  std::vector<ContextPtr> contexts;
  for (int i = 0; i < 4; ++i) {
    contexts.push_back(connect(*cluster_));
    ASSERT_NE(contexts.back(), nullptr);
  }
  std::atomic<int> busy = 3;
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < 3; ++i) {
    threads.emplace_back([&, i] {
      for (int round = 0; round < 100; ++round) {
        EXPECT_EQ(
            benchfs_rename2(
                contexts[i].get(), names[i].c_str(), names[(i + 1) % 3].c_str(), RENAME_EXCHANGE),
            0)
            << benchfs_get_error();
      }
      --busy;
    });
  }
  std::uint64_t looks = 0;
  while (busy > 0) {
    for (const std::string& name : names) {
      benchfs_stat_t stat{};
      EXPECT_EQ(benchfs_stat(contexts[3].get(), name.c_str(), &stat), 0) << benchfs_get_error();
      EXPECT_TRUE(inodes.contains(stat.st_ino));
      ++looks;
    }
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_GT(looks, 0U);
  std::set<std::uint64_t> left;
  for (const std::string& name : names) {
    left.insert(look(name).st_ino);
    EXPECT_EQ(look(name).st_nlink, 1U);
  }
  EXPECT_EQ(left, inodes);
}

// A client that knows a directory by its old name does not act on what has that name now.
TEST_F(PosixExtra, ACachedDirectoryThatWasExchangedIsForgotten) {
  start();
  ContextPtr other = connect(*cluster_);
  for (int i = 0; i < 6; ++i) {
    std::string d = "/d" + std::to_string(i);
    std::string e = "/e" + std::to_string(i);
    ASSERT_EQ(benchfs_mkdir(fs(), d.c_str(), 0755), 0);
    ASSERT_EQ(benchfs_mkdir(fs(), e.c_str(), 0755), 0);
    put(d + "/d", "d");
    put(e + "/e", "e");
    benchfs_stat_t stat;
    ASSERT_EQ(benchfs_stat(other.get(), (d + "/d").c_str(), &stat), 0);  // cached
    ASSERT_EQ(benchfs_stat(other.get(), (e + "/e").c_str(), &stat), 0);
    ASSERT_EQ(exchange(d, e), 0) << benchfs_get_error();
    EXPECT_EQ(benchfs_stat(other.get(), (d + "/d").c_str(), &stat), -ENOENT);
    EXPECT_EQ(benchfs_stat(other.get(), (e + "/e").c_str(), &stat), -ENOENT);
    EXPECT_EQ(benchfs_stat(other.get(), (d + "/e").c_str(), &stat), 0);
    EXPECT_EQ(benchfs_stat(other.get(), (e + "/d").c_str(), &stat), 0);
  }
}

// --- Holes ---------------------------------------------------------------------------------------

TEST_F(PosixExtra, FallocateMakesFilesLongerAndNeverShorter) {
  start();
  benchfs_file_t* file = open("/f");
  EXPECT_EQ(benchfs_pwrite(file, "abc", 3, 3 * kChunk), 3);
  EXPECT_EQ(benchfs_fallocate(file, 0, 0, 100), 0) << benchfs_get_error();
  EXPECT_EQ(size("/f"), 3 * kChunk + 3);
  EXPECT_EQ(benchfs_fallocate(file, 0, 4 * kChunk, 10), 0);
  EXPECT_EQ(size("/f"), 4 * kChunk + 10);
  EXPECT_EQ(benchfs_fallocate(file, FALLOC_FL_KEEP_SIZE, 0, 100 * kChunk), 0);
  EXPECT_EQ(size("/f"), 4 * kChunk + 10);
  char bytes[4] = {};
  EXPECT_EQ(benchfs_pread(file, bytes, 4, 3 * kChunk), 4);
  EXPECT_EQ(std::string_view(bytes, 4), std::string_view("abc\0", 4));
  EXPECT_EQ(benchfs_fallocate(file, 0, 0, 0), -EINVAL);
  EXPECT_EQ(benchfs_fallocate(file, 0, -1, 5), -EINVAL);
  EXPECT_EQ(benchfs_fallocate(file, 0, INT64_MAX, 5), -EFBIG);
  EXPECT_EQ(benchfs_fallocate(file, FALLOC_FL_PUNCH_HOLE, 0, 5), -EOPNOTSUPP);
  EXPECT_EQ(benchfs_fallocate(file, FALLOC_FL_COLLAPSE_RANGE, 0, kChunk), -EOPNOTSUPP);
  EXPECT_EQ(benchfs_close(file), 0);
  file = open("/f", O_RDONLY);
  EXPECT_EQ(benchfs_fallocate(file, 0, 0, 5), -EBADF);
  EXPECT_EQ(benchfs_close(file), 0);
}

TEST_F(PosixExtra, PunchedAndZeroedRangesReadAsZerosForEverybody) {
  start();
  ContextPtr other = connect(*cluster_);
  constexpr std::int64_t kSize = 6 * kChunk + 1000;
  std::vector<char> expected(kSize, 'x');
  benchfs_file_t* file = open("/f");
  ASSERT_EQ(benchfs_write(file, expected.data(), expected.size()), kSize);
  auto change = [&](int mode, std::int64_t offset, std::int64_t length) {
    EXPECT_EQ(benchfs_fallocate(file, mode, offset, length), 0) << benchfs_get_error();
    if (offset + length > static_cast<std::int64_t>(expected.size()) &&
        (mode & FALLOC_FL_KEEP_SIZE) == 0) {
      expected.resize(static_cast<std::size_t>(offset + length));
    }
    auto end = std::min<std::int64_t>(offset + length, static_cast<std::int64_t>(expected.size()));
    std::fill(expected.begin() + offset, expected.begin() + end, '\0');
  };
  constexpr int kPunch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
  change(kPunch, 100, 200);
  change(kPunch, kChunk - 10, 2 * kChunk);
  change(kPunch, 6 * kChunk + 500, 10 * kChunk);
  change(FALLOC_FL_ZERO_RANGE, 4 * kChunk, 10);
  change(FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 5 * kChunk, 100 * kChunk);
  EXPECT_EQ(size("/f"), kSize);
  change(FALLOC_FL_ZERO_RANGE, 6 * kChunk, 2 * kChunk);
  EXPECT_EQ(size("/f"), 8 * kChunk);
  benchfs_file_t* reader = benchfs_open(other.get(), "/f", O_RDONLY, 0);
  ASSERT_NE(reader, nullptr);
  std::vector<char> read(expected.size());
  EXPECT_EQ(benchfs_read(reader, read.data(), read.size()), static_cast<ssize_t>(read.size()));
  EXPECT_EQ(read, expected);
  EXPECT_EQ(benchfs_close(reader), 0);
  EXPECT_EQ(benchfs_close(file), 0);
}

TEST_F(PosixExtra, APunchShowsInTheTimesOfTheFile) {
  start();
  benchfs_file_t* file = open("/f");
  ASSERT_EQ(benchfs_write(file, "abc", 3), 3);
  timespec long_ago[2] = {{1, 0}, {1, 0}};
  ASSERT_EQ(benchfs_futimens(file, long_ago), 0);
  EXPECT_EQ(benchfs_fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 2), 0);
  EXPECT_GT(look("/f").st_mtim.tv_sec, 1);
  ASSERT_EQ(benchfs_futimens(file, long_ago), 0);
  EXPECT_EQ(benchfs_fallocate(file, 0, 0, 2), 0);  // changes nothing
  EXPECT_EQ(look("/f").st_mtim.tv_sec, 1);
  EXPECT_EQ(benchfs_close(file), 0);
}

TEST_F(PosixExtra, SeekFindsDataAndHolesByChunk) {
  start();
  benchfs_file_t* file = open("/f");
  EXPECT_EQ(benchfs_lseek(file, 0, SEEK_DATA), -ENXIO);
  EXPECT_EQ(benchfs_lseek(file, 0, SEEK_HOLE), -ENXIO);
  std::vector<char> chunk(kChunk, 'x');
  for (std::int64_t index : {2, 3, 7}) {
    ASSERT_EQ(benchfs_pwrite(file, chunk.data(), chunk.size(), index * kChunk), kChunk);
  }
  ASSERT_EQ(benchfs_pwrite(file, "abc", 3, 9 * kChunk), 3);
  ASSERT_EQ(benchfs_ftruncate(file, 20 * kChunk), 0);
  auto data = [&](std::int64_t from) { return benchfs_lseek(file, from, SEEK_DATA); };
  auto hole = [&](std::int64_t from) { return benchfs_lseek(file, from, SEEK_HOLE); };
  EXPECT_EQ(data(0), 2 * kChunk) << benchfs_get_error();
  EXPECT_EQ(data(2 * kChunk + 5), 2 * kChunk + 5);
  EXPECT_EQ(data(4 * kChunk), 7 * kChunk);
  EXPECT_EQ(data(8 * kChunk), 9 * kChunk);
  EXPECT_EQ(data(9 * kChunk + 3), -ENXIO);
  EXPECT_EQ(data(20 * kChunk), -ENXIO);
  EXPECT_EQ(data(-1), -ENXIO);
  EXPECT_EQ(hole(0), 0);
  EXPECT_EQ(hole(2 * kChunk), 4 * kChunk);
  EXPECT_EQ(hole(3 * kChunk + 1), 4 * kChunk);
  EXPECT_EQ(hole(5 * kChunk), 5 * kChunk);
  EXPECT_EQ(hole(7 * kChunk), 8 * kChunk);
  EXPECT_EQ(hole(9 * kChunk), 9 * kChunk + 3);
  EXPECT_EQ(hole(20 * kChunk), -ENXIO);
  EXPECT_EQ(benchfs_lseek(file, 0, SEEK_CUR), 9 * kChunk + 3);
  ASSERT_EQ(benchfs_pwrite(file, "abc", 3, 20 * kChunk - 3), 3);
  EXPECT_EQ(hole(19 * kChunk), 20 * kChunk);  // the end is one
  EXPECT_EQ(benchfs_close(file), 0);
}

// --- Extended attributes -------------------------------------------------------------------------

TEST_F(PosixExtra, ExtendedAttributesOfFilesAndDirectories) {
  start();
  put("/f", "f");
  ASSERT_EQ(benchfs_mkdir(fs(), "/d", 0755), 0);
  ASSERT_EQ(benchfs_symlink(fs(), "f", "/l"), 0);
  char room[200] = {};
  for (const char* path : {"/f", "/d", "/l"}) {
    EXPECT_EQ(benchfs_getxattr(fs(), path, "user.a", room, sizeof room), -ENODATA);
    EXPECT_EQ(benchfs_setxattr(fs(), path, "user.a", "1", 1, XATTR_REPLACE), -ENODATA);
    EXPECT_EQ(benchfs_setxattr(fs(), path, "user.a", "123", 3, XATTR_CREATE), 0)
        << benchfs_get_error();
    EXPECT_EQ(benchfs_setxattr(fs(), path, "user.a", "1", 1, XATTR_CREATE), -EEXIST);
    EXPECT_EQ(benchfs_setxattr(fs(), path, "user.empty", nullptr, 0, 0), 0);
    EXPECT_EQ(benchfs_getxattr(fs(), path, "user.a", nullptr, 0), 3);
    EXPECT_EQ(benchfs_getxattr(fs(), path, "user.a", room, 2), -ERANGE);
    EXPECT_EQ(benchfs_getxattr(fs(), path, "user.a", room, sizeof room), 3);
    EXPECT_EQ(std::string_view(room, 3), "123");
    EXPECT_EQ(benchfs_getxattr(fs(), path, "user.empty", room, sizeof room), 0);
    EXPECT_EQ(benchfs_listxattr(fs(), path, room, 5), -ERANGE);
    EXPECT_EQ(benchfs_listxattr(fs(), path, room, sizeof room), 18);
    EXPECT_EQ(std::string_view(room, 18), std::string_view("user.a\0user.empty\0", 18));
    EXPECT_EQ(benchfs_removexattr(fs(), path, "user.a"), 0);
    EXPECT_EQ(benchfs_removexattr(fs(), path, "user.a"), -ENODATA);
    EXPECT_EQ(benchfs_removexattr(fs(), path, "user.empty"), 0);
    EXPECT_EQ(benchfs_listxattr(fs(), path, room, sizeof room), 0);
  }
  EXPECT_EQ(benchfs_lsetxattr(fs(), "/l", "user.a", "1", 1, 0), -EPERM);
  EXPECT_EQ(benchfs_lgetxattr(fs(), "/l", "user.a", room, sizeof room), -ENODATA);
  EXPECT_EQ(benchfs_llistxattr(fs(), "/l", room, sizeof room), 0);
  EXPECT_EQ(benchfs_getxattr(fs(), "/none", "user.a", room, sizeof room), -ENOENT);
  for (const char* name : {"security.capability", "system.posix_acl_access", "trusted.x", "x"}) {
    EXPECT_EQ(benchfs_setxattr(fs(), "/f", name, "1", 1, 0), -EOPNOTSUPP) << name;
    EXPECT_EQ(benchfs_getxattr(fs(), "/f", name, room, sizeof room), -EOPNOTSUPP) << name;
  }
  EXPECT_EQ(benchfs_setxattr(fs(), "/f", "user.", "1", 1, 0), -EINVAL);
  EXPECT_EQ(benchfs_setxattr(fs(), "/f", "", "1", 1, 0), -ERANGE);
  EXPECT_EQ(benchfs_setxattr(fs(), "/f", nullptr, "1", 1, 0), -EINVAL);
  EXPECT_EQ(benchfs_setxattr(fs(), "/f", "user.a", "1", 1, 77), -EINVAL);
}

TEST_F(PosixExtra, LimitsOfExtendedAttributes) {
  start();
  ContextPtr other = connect(*cluster_);
  put("/f", "f");
  std::string longest = "user." + std::string(250, 'n');
  std::string large(64 << 10, 'v');
  EXPECT_EQ(benchfs_setxattr(fs(), "/f", (longest + "n").c_str(), "1", 1, 0), -ERANGE);
  EXPECT_EQ(benchfs_setxattr(fs(), "/f", longest.c_str(), large.data(), large.size() + 1, 0),
            -E2BIG);
  ASSERT_EQ(benchfs_setxattr(fs(), "/f", longest.c_str(), large.data(), large.size(), 0), 0)
      << benchfs_get_error();
  EXPECT_EQ(benchfs_setxattr(fs(), "/f", "user.b", large.data(), large.size(), 0), -ENOSPC);
  std::string read(large.size(), '\0');
  EXPECT_EQ(benchfs_getxattr(other.get(), "/f", longest.c_str(), read.data(), read.size()),
            static_cast<ssize_t>(large.size()));
  EXPECT_EQ(read, large);
}

TEST_F(PosixExtra, ExtendedAttributesFollowTheOpenFileAndItsNames) {
  start();
  benchfs_file_t* file = open("/f");
  char room[10] = {};
  ASSERT_EQ(benchfs_fsetxattr(file, "user.a", "1", 1, 0), 0) << benchfs_get_error();
  ASSERT_EQ(benchfs_rename(fs(), "/f", "/g"), 0);
  ASSERT_EQ(benchfs_link(fs(), "/g", "/h"), 0);
  EXPECT_EQ(benchfs_getxattr(fs(), "/h", "user.a", room, sizeof room), 1);
  ASSERT_EQ(benchfs_unlink(fs(), "/g"), 0);
  ASSERT_EQ(benchfs_unlink(fs(), "/h"), 0);
  EXPECT_EQ(benchfs_fgetxattr(file, "user.a", room, sizeof room), 1);
  EXPECT_EQ(benchfs_flistxattr(file, room, sizeof room), 7);
  EXPECT_EQ(benchfs_fremovexattr(file, "user.a"), 0);
  EXPECT_EQ(benchfs_fgetxattr(file, "user.a", room, sizeof room), -ENODATA);
  EXPECT_EQ(benchfs_close(file), 0);
  EXPECT_EQ(benchfs_fgetxattr(nullptr, "user.a", room, sizeof room), -EBADF);
}

// --- Copies --------------------------------------------------------------------------------------

TEST_F(PosixExtra, CopiesBetweenOpenFiles) {
  start();
  constexpr std::int64_t kSize = 10 * kChunk + 77;
  std::vector<char> bytes(kSize);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<char>('a' + i % 23);
  }
  benchfs_file_t* from = open("/from");
  benchfs_file_t* to = open("/to");
  ASSERT_EQ(benchfs_write(from, bytes.data(), bytes.size()), kSize);
  EXPECT_EQ(benchfs_copy_file_range(from, 0, to, 0, kSize + 1000), kSize) << benchfs_get_error();
  std::vector<char> read(bytes.size() + 10);
  EXPECT_EQ(benchfs_pread(to, read.data(), read.size(), 0), kSize);
  read.resize(bytes.size());
  EXPECT_EQ(read, bytes);
  EXPECT_EQ(benchfs_copy_file_range(from, kSize, to, 0, 10), 0);
  EXPECT_EQ(benchfs_copy_file_range(from, 5, to, 2 * kChunk - 1, 3), 3);
  char three[3] = {};
  EXPECT_EQ(benchfs_pread(to, three, 3, 2 * kChunk - 1), 3);
  EXPECT_EQ(std::string_view(three, 3), "fgh");
  EXPECT_EQ(benchfs_copy_file_range(from, 0, from, 10, 11), -EINVAL);
  EXPECT_EQ(benchfs_copy_file_range(from, 0, from, 10, 10), 10);
  EXPECT_EQ(benchfs_copy_file_range(from, -1, to, 0, 1), -EINVAL);
  EXPECT_EQ(benchfs_set_append(to, 1), 0);
  EXPECT_EQ(benchfs_copy_file_range(from, 0, to, 0, 1), -EBADF);
  EXPECT_EQ(benchfs_close(to), 0);
  to = open("/to", O_RDONLY);
  EXPECT_EQ(benchfs_copy_file_range(from, 0, to, 0, 1), -EBADF);
  EXPECT_EQ(benchfs_close(to), 0);
  EXPECT_EQ(benchfs_close(from), 0);
}

// --- Files without a name ------------------------------------------------------------------------

class UnnamedFiles : public PosixExtra {
 protected:
  benchfs_file_t* make(const std::string& directory, int flags = 0) {
    benchfs_file_t* file = benchfs_open(fs(), directory.c_str(), O_TMPFILE | O_RDWR | flags, 0640);
    EXPECT_NE(file, nullptr) << benchfs_get_error();
    return file;
  }
  int name_it(benchfs_file_t* file, const std::string& path) {
    return benchfs_linkat(file, "", file, path.c_str(), AT_EMPTY_PATH);
  }
  static benchfs_stat_t look_at(benchfs_file_t* file) {
    benchfs_stat_t stat{};
    EXPECT_EQ(benchfs_fstat(file, &stat), 0) << benchfs_get_error();
    return stat;
  }
  benchfs_statfs_t whole() {
    benchfs_statfs_t statfs{};
    EXPECT_EQ(benchfs_statfs(fs(), &statfs), 0) << benchfs_get_error();
    return statfs;
  }
};

TEST_F(UnnamedFiles, OneExistsWhileItIsOpenAndGivesItsSpaceBack) {
  start();
  ASSERT_EQ(benchfs_mkdir(fs(), "/d", 02755), 0);
  ASSERT_EQ(benchfs_chown(fs(), "/d", static_cast<uid_t>(-1), 4242), 0);
  benchfs_statfs_t before = whole();
  std::vector<benchfs_file_t*> files;
  const std::string data(3 * kChunk, 'u');
  for (int i = 0; i < 12; ++i) {  // on all shards
    files.push_back(make("/d"));
    ASSERT_NE(files.back(), nullptr);
    EXPECT_EQ(benchfs_pwrite(files.back(), data.data(), data.size(), 0),
              static_cast<ssize_t>(data.size()));
    benchfs_stat_t stat = look_at(files.back());
    EXPECT_EQ(stat.st_nlink, 0U);
    EXPECT_EQ(stat.st_mode, std::uint32_t{S_IFREG | 0640});
    EXPECT_EQ(stat.st_gid, 4242U) << "of a set-gid directory";
    EXPECT_EQ(stat.st_size, 3 * kChunk);
  }
  EXPECT_EQ(whole().f_files, before.f_files + 12);
  EXPECT_EQ(
      benchfs_readdir(
          fs(), "/d", [](void*, const char*, std::uint32_t, std::uint64_t) { return 0; }, this),
      0);
  EXPECT_EQ(benchfs_rmdir(fs(), "/d"), 0) << "there is nothing in it";
  std::string back(data.size(), '\0');
  EXPECT_EQ(benchfs_pread(files[5], back.data(), back.size(), 0),
            static_cast<ssize_t>(back.size()));
  EXPECT_EQ(back, data);
  for (benchfs_file_t* file : files) {
    EXPECT_EQ(benchfs_close(file), 0);
  }
  Deadline end = Deadline::after(std::chrono::seconds(60));
  while ((whole().f_files != before.f_files - 1 || whole().f_bfree != before.f_bfree) &&
         !end.passed()) {
    std::this_thread::yield();
  }
  EXPECT_EQ(whole().f_files, before.f_files - 1);
  EXPECT_EQ(whole().f_bfree, before.f_bfree);
}

TEST_F(UnnamedFiles, ALinkNamesOneWhateverShardsItAndTheNameAreOn) {
  start();
  ContextPtr other = connect(*cluster_);
  for (int i = 0; i < 16; ++i) {
    std::string first = "/first" + std::to_string(i);
    std::string second = "/second" + std::to_string(i);
    benchfs_file_t* file = make("/");
    ASSERT_NE(file, nullptr);
    EXPECT_EQ(benchfs_write(file, "text", 4), 4);
    put(second, "there");
    EXPECT_EQ(name_it(file, second), -EEXIST);
    EXPECT_EQ(name_it(file, "/none/f"), -ENOENT);
    EXPECT_EQ(look_at(file).st_nlink, 0U);
    ASSERT_EQ(name_it(file, first), 0) << benchfs_get_error();
    EXPECT_EQ(look_at(file).st_nlink, 1U);
    EXPECT_EQ(benchfs_unlink(fs(), second.c_str()), 0);
    EXPECT_EQ(name_it(file, second), 0) << benchfs_get_error();
    EXPECT_EQ(look_at(file).st_nlink, 2U);
    EXPECT_EQ(benchfs_close(file), 0);
    EXPECT_EQ(get(first), "text");
    benchfs_stat_t stat{};
    EXPECT_EQ(benchfs_stat(other.get(), second.c_str(), &stat), 0) << benchfs_get_error();
    EXPECT_EQ(stat.st_nlink, 2U);
    EXPECT_EQ(benchfs_unlink(fs(), first.c_str()), 0);
    EXPECT_EQ(get(second), "text");
    EXPECT_EQ(benchfs_unlink(fs(), second.c_str()), 0);
  }
  EXPECT_EQ(whole().f_files, 1U);
}

TEST_F(UnnamedFiles, WhatGetsNoName) {
  start();
  benchfs_file_t* exclusive = make("/", O_EXCL);
  EXPECT_EQ(name_it(exclusive, "/f"), -ENOENT);
  benchfs_file_t* file = make("/");
  EXPECT_EQ(name_it(file, "/f"), 0) << benchfs_get_error();
  EXPECT_EQ(benchfs_unlink(fs(), "/f"), 0);
  EXPECT_EQ(name_it(file, "/f"), -ENOENT) << "it has lost its name";
  EXPECT_EQ(benchfs_close(file), 0);
  EXPECT_EQ(benchfs_close(exclusive), 0);
  file = open("/named");
  EXPECT_EQ(benchfs_unlink(fs(), "/named"), 0);
  EXPECT_EQ(name_it(file, "/named"), -ENOENT);
  EXPECT_EQ(benchfs_close(file), 0);
}

TEST_F(UnnamedFiles, WhereTheyCanBeMade) {
  start();
  put("/f", "");
  ASSERT_EQ(benchfs_symlink(fs(), "/", "/link"), 0);
  auto error = [&](const char* path, int flags) {
    errno = 0;
    benchfs_file_t* file = benchfs_open(fs(), path, O_TMPFILE | flags, 0600);
    int why = errno;
    benchfs_close(file);
    return file != nullptr ? 0 : why;
  };
  EXPECT_EQ(error("/f", O_RDWR), ENOTDIR);
  EXPECT_EQ(error("/none", O_RDWR), ENOENT);
  EXPECT_EQ(error("/", O_RDONLY), EINVAL);
  EXPECT_EQ(error("/", O_RDWR | O_CREAT), EINVAL);
  EXPECT_EQ(error("/link", O_WRONLY), 0);
  EXPECT_EQ(error("/link", O_WRONLY | O_NOFOLLOW), ENOTDIR);
}

// A second handle by inode keeps it alive, as another process does that was given the descriptor.
TEST_F(UnnamedFiles, OneIsOpenedAgainByInodeWhileItIsOpen) {
  start();
  ContextPtr other = connect(*cluster_);
  benchfs_file_t* file = make("/");
  EXPECT_EQ(benchfs_write(file, "text", 4), 4);
  std::uint64_t inode = look_at(file).st_ino;
  benchfs_file_t* again = benchfs_open_inode(other.get(), inode, O_RDONLY);
  ASSERT_NE(again, nullptr) << benchfs_get_error();
  EXPECT_EQ(benchfs_close(file), 0);
  char text[4] = {};
  EXPECT_EQ(benchfs_read(again, text, 4), 4) << benchfs_get_error();
  EXPECT_EQ(std::string_view(text, 4), "text");
  EXPECT_EQ(benchfs_close(again), 0);
  while (whole().f_files != 1) {
    std::this_thread::yield();
  }
  EXPECT_EQ(benchfs_open_inode(other.get(), inode, O_RDONLY), nullptr);
}

// --- Paths in an open directory ------------------------------------------------------------------

class OpenDirectories : public PosixExtra {
 protected:
  benchfs_file_t* directory(const std::string& path) { return open(path, O_RDONLY | O_DIRECTORY); }
  static void write_in(benchfs_file_t* at, const std::string& path, std::string_view text) {
    benchfs_file_t* file = benchfs_openat(at, path.c_str(), O_CREAT | O_WRONLY, 0644);
    ASSERT_NE(file, nullptr) << benchfs_get_error();
    EXPECT_EQ(benchfs_write(file, text.data(), text.size()), static_cast<ssize_t>(text.size()));
    EXPECT_EQ(benchfs_close(file), 0);
  }
  static std::string read_in(benchfs_file_t* at, const std::string& path) {
    benchfs_file_t* file = benchfs_openat(at, path.c_str(), O_RDONLY, 0);
    if (file == nullptr) {
      return benchfs_get_error();
    }
    std::string text(100, '\0');
    ssize_t bytes = benchfs_read(file, text.data(), text.size());
    EXPECT_EQ(benchfs_close(file), 0);
    text.resize(bytes > 0 ? static_cast<std::size_t>(bytes) : 0);
    return text;
  }
  static benchfs_stat_t look_in(benchfs_file_t* at, const std::string& path, int flags = 0) {
    benchfs_stat_t stat{};
    EXPECT_EQ(benchfs_fstatat(at, path.c_str(), &stat, flags), 0) << benchfs_get_error();
    return stat;
  }
};

TEST_F(OpenDirectories, PathsBeginInOne) {
  start();
  for (const char* path : {"/a", "/a/b", "/a/b/c", "/x"}) {
    ASSERT_EQ(benchfs_mkdir(fs(), path, 0755), 0);
  }
  put("/a/up", "up");
  put("/top", "top");
  benchfs_file_t* b = directory("/a/b");
  write_in(b, "f", "f");
  write_in(b, "c/g", "g");
  EXPECT_EQ(get("/a/b/f"), "f");
  EXPECT_EQ(read_in(b, "c/../f"), "f");
  EXPECT_EQ(read_in(b, "../up"), "up");
  EXPECT_EQ(read_in(b, "./c/../../up"), "up");
  EXPECT_EQ(read_in(b, "../../top"), "top");
  EXPECT_EQ(read_in(b, "../../../../top"), "top") << "the root is its own parent";
  EXPECT_EQ(read_in(b, "/top"), "top");
  EXPECT_EQ(look_in(b, ".").st_ino, look("/a/b").st_ino);
  EXPECT_EQ(look_in(b, "..").st_ino, look("/a").st_ino);
  EXPECT_EQ(look_in(b, "../..").st_ino, look("/").st_ino);
  EXPECT_EQ(look_in(b, "", AT_EMPTY_PATH).st_ino, look("/a/b").st_ino);
  benchfs_stat_t stat;
  EXPECT_EQ(benchfs_fstatat(b, "", &stat, 0), -ENOENT);
  EXPECT_EQ(benchfs_fstatat(b, "f", &stat, AT_REMOVEDIR), -EINVAL);
  EXPECT_EQ(benchfs_close(b), 0);
}

TEST_F(OpenDirectories, OneIsMeantWhateverItsNameIsByNow) {
  start();
  for (const char* path : {"/a", "/a/b", "/new"}) {
    ASSERT_EQ(benchfs_mkdir(fs(), path, 0755), 0);
  }
  put("/new/f", "new");
  benchfs_file_t* b = directory("/a/b");
  write_in(b, "f", "b");
  EXPECT_EQ(read_in(b, "../b/f"), "b");
  ASSERT_EQ(benchfs_rename(fs(), "/a/b", "/new/b"), 0);
  ASSERT_EQ(benchfs_mkdir(fs(), "/a/b", 0755), 0);
  EXPECT_EQ(read_in(b, "f"), "b");
  EXPECT_EQ(read_in(b, "../f"), "new");
  EXPECT_EQ(benchfs_unlinkat(b, "f", 0), 0);
  ASSERT_EQ(benchfs_rmdir(fs(), "/new/b"), 0);
  benchfs_stat_t stat;
  EXPECT_EQ(benchfs_fstatat(b, "f", &stat, 0), -ENOENT);
  EXPECT_EQ(benchfs_openat(b, "f", O_CREAT | O_WRONLY, 0644), nullptr);
  EXPECT_EQ(errno, ENOENT);
  EXPECT_EQ(benchfs_mkdirat(b, "d", 0755), -ENOENT);
  EXPECT_EQ(benchfs_close(b), 0);
}

TEST_F(OpenDirectories, EachFunction) {
  start();
  ASSERT_EQ(benchfs_mkdir(fs(), "/d", 0755), 0);
  ASSERT_EQ(benchfs_mkdir(fs(), "/e", 0755), 0);
  benchfs_file_t* d = directory("/d");
  benchfs_file_t* e = directory("/e");
  write_in(d, "f", "f");
  EXPECT_EQ(benchfs_mkdirat(d, "sub", 0700), 0);
  EXPECT_EQ(benchfs_mkdirat(d, "sub", 0700), -EEXIST);
  EXPECT_EQ(look("/d/sub").st_mode, std::uint32_t{S_IFDIR | 0700});
  EXPECT_EQ(benchfs_symlinkat("f", d, "link"), 0);
  char target[8] = {};
  EXPECT_EQ(benchfs_readlinkat(d, "link", target, sizeof target), 1);
  EXPECT_EQ(target[0], 'f');
  EXPECT_EQ(benchfs_readlinkat(d, "f", target, sizeof target), -EINVAL);
  EXPECT_EQ(look_in(d, "link").st_ino, look("/d/f").st_ino);
  EXPECT_EQ(look_in(d, "link", AT_SYMLINK_NOFOLLOW).st_mode & S_IFMT, std::uint32_t{S_IFLNK});

  EXPECT_EQ(benchfs_linkat(d, "link", e, "same link", 0), 0);
  EXPECT_EQ(look("/e/same link").st_ino, look("/d/link").st_ino);
  EXPECT_EQ(benchfs_linkat(d, "link", e, "same file", AT_SYMLINK_FOLLOW), 0);
  EXPECT_EQ(look("/e/same file").st_ino, look("/d/f").st_ino);
  EXPECT_EQ(benchfs_linkat(d, "", e, "directory", AT_EMPTY_PATH), -EPERM);
  EXPECT_EQ(benchfs_linkat(d, "f", e, "x", AT_REMOVEDIR), -EINVAL);

  EXPECT_EQ(benchfs_renameat2(d, "f", e, "same file", RENAME_NOREPLACE), -EEXIST);
  EXPECT_EQ(benchfs_renameat2(d, "f", e, "g", RENAME_NOREPLACE), 0);
  EXPECT_EQ(get("/e/g"), "f");
  EXPECT_EQ(benchfs_renameat2(e, "g", d, "sub", RENAME_EXCHANGE), 0);
  EXPECT_EQ(get("/d/sub"), "f");
  EXPECT_EQ(look("/e/g").st_mode & S_IFMT, std::uint32_t{S_IFDIR});

  EXPECT_EQ(benchfs_fchmodat(d, "sub", 0601, 0), 0);
  EXPECT_EQ(look("/d/sub").st_mode, std::uint32_t{S_IFREG | 0601});
  EXPECT_EQ(benchfs_fchmodat(d, "", 0711, AT_EMPTY_PATH), 0);
  EXPECT_EQ(look("/d").st_mode, std::uint32_t{S_IFDIR | 0711});
  EXPECT_EQ(benchfs_fchmodat(d, "link", 0600, AT_SYMLINK_NOFOLLOW), -EOPNOTSUPP);
  EXPECT_EQ(benchfs_fchownat(d, "link", 7, 8, AT_SYMLINK_NOFOLLOW), 0);
  EXPECT_EQ(look("/d/link").st_uid, 7U);
  EXPECT_EQ(look("/d/sub").st_uid, look("/e").st_uid);
  timespec times[2] = {{.tv_sec = 5, .tv_nsec = 6}, {.tv_sec = 7, .tv_nsec = 8}};
  EXPECT_EQ(benchfs_utimensat(d, "link", times, AT_SYMLINK_NOFOLLOW), 0);
  EXPECT_EQ(look("/d/link").st_mtim.tv_nsec, 8);
  EXPECT_EQ(benchfs_utimensat(e, "", times, AT_EMPTY_PATH), 0);
  EXPECT_EQ(look("/e").st_mtim.tv_sec, 7);

  EXPECT_EQ(benchfs_unlinkat(e, "g", 0), -EISDIR);
  EXPECT_EQ(benchfs_unlinkat(e, "g", AT_REMOVEDIR), 0);
  EXPECT_EQ(benchfs_unlinkat(d, "sub", AT_REMOVEDIR), -ENOTDIR);
  EXPECT_EQ(benchfs_unlinkat(d, "sub", 0), 0);
  EXPECT_EQ(benchfs_unlinkat(d, "sub", AT_EMPTY_PATH), -EINVAL);

  benchfs_file_t* unnamed = benchfs_openat(d, ".", O_TMPFILE | O_RDWR, 0600);
  ASSERT_NE(unnamed, nullptr) << benchfs_get_error();
  EXPECT_EQ(benchfs_linkat(unnamed, "", d, "named", AT_EMPTY_PATH), 0) << benchfs_get_error();
  EXPECT_EQ(look("/d/named").st_nlink, 1U);
  EXPECT_EQ(benchfs_close(unnamed), 0);
  EXPECT_EQ(benchfs_close(d), 0);
  EXPECT_EQ(benchfs_close(e), 0);
}

TEST_F(OpenDirectories, WhatIsNoDirectory) {
  start();
  put("/f", "f");
  benchfs_file_t* file = open("/f", O_RDONLY);
  benchfs_stat_t stat;
  EXPECT_EQ(benchfs_fstatat(file, "x", &stat, 0), -ENOTDIR);
  EXPECT_EQ(benchfs_openat(file, "x", O_CREAT | O_WRONLY, 0644), nullptr);
  EXPECT_EQ(errno, ENOTDIR);
  EXPECT_EQ(benchfs_fstatat(file, "/f", &stat, 0), 0) << "an absolute path needs none";
  EXPECT_EQ(benchfs_fstatat(nullptr, "/f", &stat, 0), -EBADF);
  EXPECT_EQ(benchfs_fstatat(file, nullptr, &stat, 0), -EINVAL);
  ContextPtr other = connect(*cluster_);
  benchfs_file_t* elsewhere = benchfs_open(other.get(), "/", O_RDONLY, 0);
  EXPECT_EQ(benchfs_renameat2(file, "/f", elsewhere, "g", 0), -EXDEV);
  EXPECT_EQ(benchfs_close(elsewhere), 0);
  EXPECT_EQ(benchfs_close(file), 0);
}

}  // namespace
}  // namespace benchfs::test
