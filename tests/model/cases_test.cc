// Tests cases that random operations do not reach: limits, threads, several contexts, servers that
// do not answer.

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <thread>

#include "base/random.h"
#include "model/fixture.h"

namespace benchfs::test {
namespace {

constexpr std::int64_t kLargestFile = std::int64_t{1} << 62;

std::string pattern(std::size_t size, std::uint64_t seed) {
  Random random(seed);
  std::string bytes(size, '\0');
  for (std::size_t at = 0; at < size; at += 8) {
    std::uint64_t word = random.next();
    std::memcpy(bytes.data() + at, &word, std::min<std::size_t>(8, size - at));
  }
  return bytes;
}

std::string read_all(benchfs_context_t* fs, const std::string& path, std::size_t size) {
  benchfs_file_t* file = benchfs_open(fs, path.c_str(), O_RDONLY, 0);
  EXPECT_NE(file, nullptr) << benchfs_get_error();
  std::string bytes(size + 1, '?');
  ssize_t count = benchfs_pread(file, bytes.data(), bytes.size(), 0);
  EXPECT_GE(count, 0) << benchfs_get_error();
  bytes.resize(static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
  EXPECT_EQ(benchfs_close(file), 0);
  return bytes;
}

class Cases : public ::testing::Test {
 protected:
  void start(ClusterConfig config) {
    BENCHFS_TEST_ASSIGN(cluster, Cluster::start(config));
    cluster_ = std::move(cluster);
    context_ = connect(*cluster_);
    ASSERT_NE(context_, nullptr);
  }
  benchfs_context_t* fs() { return context_.get(); }
  benchfs_file_t* open(const std::string& path, int flags = O_CREAT | O_RDWR) {
    benchfs_file_t* file = benchfs_open(fs(), path.c_str(), flags, 0644);
    EXPECT_NE(file, nullptr) << benchfs_get_error();
    return file;
  }

  std::unique_ptr<Cluster> cluster_;
  ContextPtr context_;
};

TEST_F(Cases, NothingIsWrittenBeyondTheLargestFile) {
  start({.servers = 2});
  benchfs_file_t* file = open("/f");
  char byte = 'x';
  EXPECT_EQ(benchfs_pwrite(file, &byte, 1, kLargestFile), -EFBIG);
  EXPECT_EQ(benchfs_pwrite(file, &byte, 1, INT64_MAX), -EFBIG);
  std::string two = "ab";
  EXPECT_EQ(benchfs_pwrite(file, two.data(), 2, kLargestFile - 1), -EFBIG);
  EXPECT_EQ(benchfs_ftruncate(file, kLargestFile + 1), -EFBIG);
  EXPECT_EQ(benchfs_truncate(fs(), "/f", INT64_MAX), -EFBIG);
  EXPECT_EQ(benchfs_get_file_size(fs(), "/f"), 0);

  EXPECT_EQ(benchfs_pwrite(file, &byte, 1, kLargestFile - 1), 1) << benchfs_get_error();
  EXPECT_EQ(benchfs_get_file_size(fs(), "/f"), kLargestFile);
  EXPECT_EQ(benchfs_pread(file, &byte, 1, kLargestFile), 0);
  EXPECT_EQ(benchfs_pread(file, two.data(), 2, kLargestFile - 2), 2);
  EXPECT_EQ(two, std::string("\0x", 2));
  EXPECT_EQ(benchfs_lseek(file, INT64_MAX, SEEK_END), -EOVERFLOW);
  EXPECT_EQ(benchfs_close(file), 0);
  EXPECT_EQ(benchfs_unlink(fs(), "/f"), 0);
}

TEST_F(Cases, AFullFileSystemSaysSoAndGoesOn) {
  start({.servers = 1, .memory_bytes = std::uint64_t{4} << 20});
  std::string small = pattern(100'000, 1);
  benchfs_file_t* kept = open("/kept");
  ASSERT_EQ(benchfs_pwrite(kept, small.data(), small.size(), 0), 100'000);
  ASSERT_EQ(benchfs_close(kept), 0);

  benchfs_file_t* file = open("/large");
  std::string large = pattern(std::size_t{16} << 20, 2);
  ssize_t written = benchfs_pwrite(file, large.data(), large.size(), 0);
  ASSERT_GT(written, 0) << benchfs_get_error();  // what was stored before the space ran out
  EXPECT_LT(written, static_cast<ssize_t>(large.size()));
  EXPECT_EQ(benchfs_pwrite(file, large.data(), large.size(), written), -ENOSPC)
      << benchfs_get_error();
  EXPECT_EQ(benchfs_close(file), 0) << benchfs_get_error();
  EXPECT_EQ(read_all(fs(), "/kept", small.size()), small);
  EXPECT_EQ(benchfs_unlink(fs(), "/large"), 0) << benchfs_get_error();

  benchfs_file_t* again = open("/again");
  EXPECT_EQ(benchfs_pwrite(again, small.data(), small.size(), 0), 100'000) << benchfs_get_error();
  EXPECT_EQ(benchfs_close(again), 0);
  EXPECT_EQ(read_all(fs(), "/again", small.size()), small);
}

TEST_F(Cases, EightThreadsShareOneContext) {
  start({.servers = 2, .shards = 2});
  constexpr int kThreads = 8;
  constexpr int kRounds = 12;
  constexpr std::size_t kBytes = 150'000;  // over several chunks
  benchfs_file_t* shared = open("/shared");
  benchfs_file_t* log = open("/log", O_CREAT | O_WRONLY | O_APPEND);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      std::string directory = fmt::format("/{}", t);
      EXPECT_EQ(benchfs_mkdir(fs(), directory.c_str(), 0755), 0) << benchfs_get_error();
      for (int round = 0; round < kRounds; ++round) {
        auto seed = static_cast<std::uint64_t>(t * 1000 + round);
        std::string bytes = pattern(kBytes, seed);
        std::string path = fmt::format("{}/{}", directory, round);
        benchfs_file_t* own = open(path);
        EXPECT_EQ(benchfs_write(own, bytes.data(), bytes.size()), static_cast<ssize_t>(kBytes));
        EXPECT_EQ(benchfs_close(own), 0);
        EXPECT_EQ(read_all(fs(), path, kBytes), bytes);
        auto place = static_cast<std::int64_t>((t * kRounds + round) * static_cast<int>(kBytes));
        EXPECT_EQ(benchfs_pwrite(shared, bytes.data(), kBytes, place),
                  static_cast<ssize_t>(kBytes));
        std::string record(100, static_cast<char>('a' + t));
        EXPECT_EQ(benchfs_write(log, record.data(), record.size()), 100) << benchfs_get_error();
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(benchfs_close(shared), 0);
  EXPECT_EQ(benchfs_close(log), 0);

  std::string all = read_all(fs(), "/shared", kThreads * kRounds * kBytes);
  ASSERT_EQ(all.size(), kThreads * kRounds * kBytes);
  for (int i = 0; i < kThreads * kRounds; ++i) {
    auto seed = static_cast<std::uint64_t>(i / kRounds * 1000 + i % kRounds);
    EXPECT_TRUE(all.compare(static_cast<std::size_t>(i) * kBytes, kBytes, pattern(kBytes, seed)) ==
                0)
        << "part " << i;
  }
  std::string records = read_all(fs(), "/log", kThreads * kRounds * 100);
  ASSERT_EQ(records.size(), static_cast<std::size_t>(kThreads * kRounds * 100));
  for (std::size_t at = 0; at < records.size(); at += 100) {
    EXPECT_EQ(records.substr(at, 100), std::string(100, records[at])) << "record at " << at;
  }
}

TEST_F(Cases, ExactlyOneOfManyCreatesExclusively) {
  start({.servers = 2});
  constexpr int kThreads = 6;
  std::vector<ContextPtr> contexts;
  for (int i = 0; i < kThreads; ++i) {
    contexts.push_back(connect(*cluster_));
    ASSERT_NE(contexts.back(), nullptr);
  }
  for (int round = 0; round < 20; ++round) {
    std::string path = fmt::format("/{}", round);
    std::atomic<int> winners{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < kThreads; ++i) {
      threads.emplace_back([&, i] {
        benchfs_file_t* file = benchfs_open(contexts[static_cast<std::size_t>(i)].get(),
                                            path.c_str(),
                                            O_CREAT | O_EXCL | O_WRONLY,
                                            0644);
        if (file != nullptr) {
          winners += 1;
          EXPECT_EQ(benchfs_close(file), 0);
        } else {
          EXPECT_EQ(errno, EEXIST) << benchfs_get_error();
        }
      });
    }
    for (std::thread& thread : threads) {
      thread.join();
    }
    EXPECT_EQ(winners, 1) << path;
  }
}

TEST_F(Cases, ContextsAreIndependentAndSeeEachOthersWrites) {
  start({.servers = 2});
  ContextPtr other = connect(*cluster_);
  ASSERT_NE(other, nullptr);
  benchfs_file_t* file = open("/f");
  std::string bytes = pattern(200'000, 3);
  ASSERT_EQ(benchfs_pwrite(file, bytes.data(), bytes.size(), 0), 200'000);
  // Open and not closed: size and bytes are there for others all the same.
  EXPECT_EQ(benchfs_get_file_size(other.get(), "/f"), 200'000);
  EXPECT_EQ(read_all(other.get(), "/f", bytes.size()), bytes);
  context_.reset();  // closes the file too
  EXPECT_EQ(read_all(other.get(), "/f", bytes.size()), bytes);
}

// Found by the model test: the file was emptied before it was refused.
TEST_F(Cases, OpeningAFileAsADirectoryDoesNotTruncateIt) {
  start({.servers = 2});
  benchfs_file_t* file = open("/f");
  ASSERT_EQ(benchfs_write(file, "content", 7), 7);
  ASSERT_EQ(benchfs_close(file), 0);
  EXPECT_EQ(benchfs_open(fs(), "/f", O_WRONLY | O_TRUNC | O_DIRECTORY, 0), nullptr);
  EXPECT_EQ(errno, ENOTDIR);
  EXPECT_EQ(benchfs_open(fs(), "/f/", O_WRONLY | O_TRUNC, 0), nullptr);
  EXPECT_EQ(errno, ENOTDIR);
  EXPECT_EQ(benchfs_get_file_size(fs(), "/f"), 7);
}

// Found by the model test: chunk servers remember a later write.
TEST_F(Cases, TimesThatWereSetHoldWhileTheFileIsOpenForWriting) {
  start({.servers = 2});
  ContextPtr other = connect(*cluster_);
  benchfs_file_t* file = open("/f");
  ASSERT_EQ(benchfs_write(file, "content", 7), 7);
  timespec times[2] = {{1000, 0}, {2000, 0}};
  ASSERT_EQ(benchfs_utimens(other.get(), "/f", times), 0);
  benchfs_stat_t stat;
  ASSERT_EQ(benchfs_stat(other.get(), "/f", &stat), 0);
  EXPECT_EQ(stat.st_mtim.tv_sec, 2000);
  EXPECT_EQ(benchfs_close(file), 0);
  ASSERT_EQ(benchfs_stat(other.get(), "/f", &stat), 0);
  EXPECT_EQ(stat.st_mtim.tv_sec, 2000);
}

// Found by the model test: the other client still knows the directory that was there before.
TEST_F(Cases, ADirectoryReplacedByAnotherClientIsFoundAgain) {
  start({.servers = 2});
  ContextPtr other = connect(*cluster_);
  benchfs_stat_t stat;
  for (const char* directory : {"/d", "/e", "/moved", "/moved2"}) {
    ASSERT_EQ(benchfs_mkdir(fs(), directory, 0755), 0);
  }
  EXPECT_EQ(benchfs_stat(other.get(), "/d/x", &stat), -ENOENT);
  EXPECT_EQ(benchfs_stat(other.get(), "/e/x", &stat), -ENOENT);
  ASSERT_EQ(benchfs_rename(fs(), "/moved", "/d"), 0);
  ASSERT_EQ(benchfs_rmdir(fs(), "/e"), 0);
  EXPECT_EQ(benchfs_rename(other.get(), "/moved2", "/d/in"), 0) << benchfs_get_error();
  EXPECT_EQ(benchfs_stat(other.get(), "/e/..", &stat), -ENOENT);
  EXPECT_EQ(benchfs_stat(other.get(), "/d/in/..", &stat), 0);
}

TEST_F(Cases, TwoClustersInOneProcessDoNotMix) {
  start({.servers = 1});
  BENCHFS_TEST_ASSIGN(second, Cluster::start({.servers = 1}));
  ContextPtr other = connect(*second);
  ASSERT_NE(other, nullptr);
  EXPECT_EQ(benchfs_mkdir(fs(), "/only_here", 0755), 0);
  benchfs_stat_t stat;
  EXPECT_EQ(benchfs_stat(fs(), "/only_here", &stat), 0);
  EXPECT_EQ(benchfs_stat(other.get(), "/only_here", &stat), -ENOENT);
}

// The deadline, or the connection that had to be closed to get the buffer back.
bool gave_up(ssize_t result) {
  return result == -ETIMEDOUT || result == -ECONNRESET;
}

// The server takes nothing more while parts of the write are on their way to it; the caller gives
// up, and its buffer goes away at once.
TEST_F(Cases, ABufferMayBeFreedOnceALargeWriteHasTimedOut) {
  start({.servers = 2});
  ContextPtr hasty = connect(*cluster_, 400);
  ASSERT_NE(hasty, nullptr);
  benchfs_file_t* file = benchfs_open(hasty.get(), "/f", O_CREAT | O_RDWR, 0644);
  ASSERT_NE(file, nullptr) << benchfs_get_error();
  std::string warm = pattern(1 << 20, 4);
  ASSERT_EQ(benchfs_pwrite(file, warm.data(), warm.size(), 0), 1 << 20) << benchfs_get_error();

  cluster_->freeze(1);
  {
    auto doomed = std::make_unique<std::string>(pattern(std::size_t{8} << 20, 5));
    ssize_t written = benchfs_pwrite(file, doomed->data(), doomed->size(), 0);
    EXPECT_TRUE(gave_up(written)) << written << ": " << benchfs_get_error();
    EXPECT_NE(std::string(benchfs_get_error()).find("node_1"), std::string::npos)
        << benchfs_get_error();
  }
  {
    auto doomed = std::make_unique<std::string>(std::size_t{8} << 20, '\0');
    ssize_t count = benchfs_pread(file, doomed->data(), doomed->size(), 0);
    EXPECT_TRUE(gave_up(count)) << count << ": " << benchfs_get_error();
  }
  cluster_->thaw(1);

  // Replies that arrive late belong to the abandoned requests, not to these.
  std::string bytes = pattern(std::size_t{2} << 20, 6);
  ssize_t written = -1;
  for (int i = 0; i < 50 && written < 0; ++i) {
    written = benchfs_pwrite(file, bytes.data(), bytes.size(), 0);
  }
  EXPECT_EQ(written, 2 << 20) << benchfs_get_error();
  EXPECT_EQ(benchfs_close(file), 0) << benchfs_get_error();
  hasty.reset();
  EXPECT_EQ(read_all(fs(), "/f", std::size_t{8} << 20).substr(0, bytes.size()), bytes);
}

TEST_F(Cases, AListingOfManyEntriesIsCompleteAndOrdered) {
  start({.servers = 2, .shards = 2});
  constexpr int kEntries = 5000;  // more than a page
  ASSERT_EQ(benchfs_mkdir(fs(), "/d", 0755), 0);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = t; i < kEntries; i += 4) {
        benchfs_file_t* file = open(fmt::format("/d/{:05}", i));
        EXPECT_EQ(benchfs_close(file), 0);
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  std::vector<std::string> names;
  auto fill = [](void* arg, const char* name, std::uint32_t type, std::uint64_t ino) {
    EXPECT_EQ(type, std::uint32_t{S_IFREG});
    EXPECT_NE(ino, 0U);
    static_cast<std::vector<std::string>*>(arg)->emplace_back(name);
    return 0;
  };
  EXPECT_EQ(benchfs_readdir(fs(), "/d", fill, &names), kEntries) << benchfs_get_error();
  ASSERT_EQ(names.size(), static_cast<std::size_t>(kEntries));
  for (int i = 0; i < kEntries; ++i) {
    EXPECT_EQ(names[static_cast<std::size_t>(i)], fmt::format("{:05}", i));
  }
  int count = 0;
  auto stop_at_three = [](void* arg, const char*, std::uint32_t, std::uint64_t) {
    return ++*static_cast<int*>(arg) == 3 ? 1 : 0;
  };
  EXPECT_EQ(benchfs_readdir(fs(), "/d", stop_at_three, &count), 3);
}

}  // namespace
}  // namespace benchfs::test
