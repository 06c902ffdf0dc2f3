// Several clients on one file system: what one does, the others see.

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/random.h"
#include "cluster/many_clients.h"
#include "cluster/placement.h"

namespace benchfs {
namespace {

TEST_F(ManyClients, ARenamedDirectoryIsForgottenByClientsThatHadItCached) {
  start({.servers = 2, .shards = 2}, 3);
  ASSERT_TRUE(at(0).run(fs(0).mkdir("/old", 0755)));
  ASSERT_TRUE(at(0).run(fs(0).mkdir("/old/sub", 0755)));
  make_file(0, "/old/sub/f", "data");
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(read_file(i, "/old/sub/f"), "data");  // fills the caches
  }
  ASSERT_TRUE(at(0).run(fs(0).rename("/old", "/new")));
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(stat_errno(i, "/old/sub/f"), ENOENT);
    EXPECT_EQ(read_file(i, "/new/sub/f"), "data");
  }
}

TEST_F(ManyClients, AnEvictedClientDoesNotGoOnUsingWhatItHadCached) {
  start({.servers = 1, .tweak = [](server::ShardConfig& c) { c.rpc.max_clients = 2; }}, 2);
  ASSERT_TRUE(at(0).run(fs(0).mkdir("/old", 0755)));
  make_file(0, "/old/f", "data");
  EXPECT_EQ(read_file(0, "/old/f"), "data");
  EXPECT_EQ(stat_errno(1, "/"), 0);  // younger than client 0, which must give way to the next one
  add_client();
  ASSERT_TRUE(at(2).run(fs(2).rename("/old", "/new")));
  EXPECT_EQ(stat_errno(0, "/old/f"), ENOENT);
  EXPECT_EQ(read_file(0, "/new/f"), "data");
}

TEST_F(ManyClients, ARemovedAndRemadeDirectoryIsNoticed) {
  start({.servers = 3}, 2);
  ASSERT_TRUE(at(0).run(fs(0).mkdir("/d", 0755)));
  make_file(1, "/d/f", "x");  // client 1 caches /d
  ASSERT_TRUE(at(0).run(fs(0).unlink("/d/f")));
  ASSERT_TRUE(at(0).run(fs(0).rmdir("/d")));
  auto gone = at(1).run(fs(1).open("/d/g", kReadWriteCreate, 0644));
  ASSERT_FALSE(gone);
  EXPECT_EQ(gone.error().to_errno(), ENOENT);
  ASSERT_TRUE(at(0).run(fs(0).mkdir("/d", 0755)));
  make_file(1, "/d/g", "y");
  EXPECT_EQ(read_file(0, "/d/g"), "y");
}

TEST_F(ManyClients, SizesAreExactWhileAnotherClientWrites) {
  start({.servers = 3}, 2);
  auto file = open(0, "/f", kReadWriteCreate);
  std::vector<std::byte> block(200'000, std::byte{7});
  std::uint64_t end = 0;
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(at(0).run(fs(0).write(*file, end, block)));
    end += block.size();
    auto attr = at(1).run(fs(1).stat("/f"));
    ASSERT_TRUE(attr);
    EXPECT_EQ(attr->size, end);
  }
  // The other client cuts the file; what the writer wrote before does not come back at its close.
  wire::SetAttrRequest cut;
  cut.mask = wire::kSetSize;
  cut.size = 100;
  ASSERT_TRUE(at(1).run(fs(1).set_attr("/f", cut)));
  ASSERT_TRUE(at(0).run(fs(0).close(file)));
  auto attr = at(1).run(fs(1).stat("/f"));
  ASSERT_TRUE(attr);
  EXPECT_EQ(attr->size, 100U);
  cut.size = 300'000;
  ASSERT_TRUE(at(1).run(fs(1).set_attr("/f", cut)));
  std::string text = read_file(0, "/f");
  ASSERT_EQ(text.size(), 300'000U);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\7'), 100);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\0'), 299'900);
}

TEST_F(ManyClients, WritesBesideATruncationOfTheSameClientAreNotForgottenAtClose) {
  start({.servers = 2}, 1);
  std::vector<std::byte> data(100, std::byte{1});
  wire::SetAttrRequest cut;
  cut.mask = wire::kSetSize;
  for (int round = 0; round < 300; ++round) {
    auto file = open(0, "/f", kReadWriteCreate);
    ASSERT_NE(file, nullptr);
    std::thread cutter([&] {
      for (int i = 0; i < 3; ++i) {
        EXPECT_TRUE(at(0).run(fs(0).set_attr(*file, cut)));
      }
    });
    for (int i = 0; i < 8; ++i) {
      EXPECT_TRUE(at(0).run(fs(0).write(*file, 0, data)));
    }
    cutter.join();
    std::uint64_t open_size = at(0).run(fs(0).fstat(*file)).value().size;
    ASSERT_TRUE(at(0).run(fs(0).close(file)));
    ASSERT_EQ(at(0).run(fs(0).stat("/f")).value().size, open_size) << "round " << round;
  }
}

TEST_F(ManyClients, ALargeTransferMayTakeLongerThanOneOperation) {
  start({.servers = 1}, 1);
  constexpr Nanos kTimeout = std::chrono::seconds(1);
  add_client(kTimeout);
  auto file = open(1, "/f", kReadWriteCreate);
  ASSERT_NE(file, nullptr);
  std::vector<std::byte> data(128U << 20, std::byte{1});
  Status written;
  std::atomic<bool> done{false};
  std::thread thread([&] {
    written = at(1).run(fs(1).write(*file, 0, data));
    done = true;
  });
  // The server stands still three times, and serves many parts in between.
  for (int i = 0; i < 3; ++i) {
    auto free_bytes = [&] { return at(0).run(fs(0).statfs()).value().free_bytes; };
    std::uint64_t before = free_bytes();
    while (!done && free_bytes() + (4U << 20) > before) {
    }
    EXPECT_FALSE(done) << "too fast to tell";
    cluster_->freeze(0);
    std::this_thread::sleep_for(kTimeout * 2 / 5);  // lint: allow sleep it stands still
    cluster_->thaw(0);
  }
  thread.join();
  EXPECT_TRUE(written) << written.error().message();
  EXPECT_TRUE(at(1).run(fs(1).close(file)));
}

// Its size was another one when it was opened.
TEST_F(ManyClients, AFileThatHasGrownIsReadWholeIntoALongBuffer) {
  start({.servers = 2}, 2);
  auto reader = open(0, "/f", kReadWriteCreate);
  auto writer = open(1, "/f", wire::kOpenWrite);
  ASSERT_TRUE(reader != nullptr && writer != nullptr);
  std::vector<std::byte> written(std::size_t{20} << 20);
  for (std::size_t i = 0; i < written.size(); i += 4096) {
    written[i] = std::byte(i >> 12);
  }
  EXPECT_TRUE(at(1).run(fs(1).write(*writer, 0, written)));
  std::vector<std::byte> read(written.size() + (std::size_t{8} << 20));
  EXPECT_EQ(at(0).run(fs(0).read(*reader, 0, read)).value_or(0), written.size());
  read.resize(written.size());
  EXPECT_TRUE(read == written);
  EXPECT_TRUE(at(0).run(fs(0).close(reader)));
  EXPECT_TRUE(at(1).run(fs(1).close(writer)));
}

TEST_F(ManyClients, AnOpenThatFailsLeavesNothingOpen) {
  start({.servers = 2}, 1);
  add_client(std::chrono::milliseconds(500));
  std::string name = "f";
  while (cluster::entry_shard(wire::kRootInode, name, 2).value != 0) {
    name += "f";
  }
  auto writer = open(0, "/" + name, kReadWriteCreate);
  ASSERT_NE(writer, nullptr);
  // The size is asked of a shard that holds bytes and does not answer: that of the second chunk.
  std::byte byte{};
  ASSERT_TRUE(at(0).run(fs(0).write(*writer, 64U << 10, std::span(&byte, 1))));
  cluster_->freeze(1);
  EXPECT_FALSE(at(1).run(fs(1).open("/" + name, wire::kOpenRead, 0)));
  cluster_->thaw(1);
  ASSERT_TRUE(at(0).run(fs(0).close(writer)));
  auto has_none_open = [&] {
    auto stats = at(0).run(fs(0).shard_stats(wire::ShardId{0}));
    return stats && stats->find("\"open\":0,") != std::string::npos;
  };
  Deadline deadline = Deadline::after(std::chrono::seconds(10));
  while (!has_none_open() && !deadline.passed()) {
    std::this_thread::yield();
  }
  EXPECT_TRUE(has_none_open());
}

TEST_F(ManyClients, ExclusiveCreationHasExactlyOneWinner) {
  start({.servers = 2}, 4);
  for (int round = 0; round < 20; ++round) {
    std::atomic<int> winners{0};
    std::atomic<int> losers{0};
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < 4; ++i) {
      threads.emplace_back([&, i] {
        auto file = at(i).run(fs(i).open(
            "/x" + std::to_string(round), kReadWriteCreate | wire::kOpenExclusive, 0600));
        if (file) {
          ++winners;
          EXPECT_TRUE(at(i).run(fs(i).close(*file)));
        } else if (file.error().to_errno() == EEXIST) {
          ++losers;
        }
      });
    }
    for (std::thread& thread : threads) {
      thread.join();
    }
    EXPECT_EQ(winners, 1);
    EXPECT_EQ(losers, 3);
  }
}

TEST_F(ManyClients, AppendsFromManyClientsNeverOverlap) {
  start({.servers = 3}, 4);
  constexpr std::size_t kRecord = 1000;
  constexpr int kEach = 50;
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      auto file = open(i, "/log", kReadWriteCreate | wire::kOpenAppend);
      ASSERT_NE(file, nullptr);
      std::vector<std::byte> record(kRecord, std::byte(i + 1));
      for (int k = 0; k < kEach; ++k) {
        auto appended = at(i).run(fs(i).append(*file, record));
        ASSERT_TRUE(appended) << appended.error().message();
        EXPECT_EQ(appended->offset % kRecord, 0U);
        EXPECT_EQ(appended->bytes, kRecord);
      }
      EXPECT_TRUE(at(i).run(fs(i).close(file)));
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  std::string text = read_file(0, "/log");
  ASSERT_EQ(text.size(), 4 * kEach * kRecord);
  std::vector<int> records(5);
  for (std::size_t at = 0; at < text.size(); at += kRecord) {
    EXPECT_EQ(static_cast<std::size_t>(std::count(text.begin() + static_cast<long>(at),
                                                  text.begin() + static_cast<long>(at + kRecord),
                                                  text[at])),
              kRecord);
    ++records[static_cast<std::size_t>(text[at])];
  }
  EXPECT_EQ(records, (std::vector<int>{0, kEach, kEach, kEach, kEach}));
}

TEST_F(ManyClients, CrossedRenamesNeitherHangNorLoseAName) {
  start({.servers = 4}, 2);
  constexpr int kRounds = 200;
  make_file(0, "/a", "A");
  make_file(0, "/b", "B");
  auto swap_names = [&](std::size_t i, const std::string& from, const std::string& to) {
    for (int k = 0; k < kRounds; ++k) {
      auto done = at(i).run(fs(i).rename(from, to, wire::kRenameNoReplace));
      if (!done) {
        EXPECT_TRUE(done.error().to_errno() == EEXIST || done.error().to_errno() == ENOENT)
            << done.error().message();
      }
    }
  };
  std::thread other([&] { swap_names(1, "/b", "/c"); });
  swap_names(0, "/c", "/b");
  other.join();
  EXPECT_EQ(read_file(0, "/a"), "A");
  // Exactly one of the two names is left, with the data.
  bool at_b = stat_errno(0, "/b") == 0;
  bool at_c = stat_errno(0, "/c") == 0;
  EXPECT_NE(at_b, at_c);
  EXPECT_EQ(read_file(1, at_b ? "/b" : "/c"), "B");
}

// A new version of many files at once, as checkpoints are written: the name is on one shard, the
// inode that is replaced on the other, with chunks on both, and there are more than a window of
// them.
TEST_F(ManyClients, RenamesOverFilesOfAnotherShardDoNotWaitForEachOther) {
  start({.servers = 2}, 0);
  for (int i = 0; i < 3; ++i) {
    add_client(std::chrono::seconds(20));
  }
  constexpr std::size_t kFiles = 150;
  auto names_on = [](std::uint32_t shard, const std::string& prefix) {
    std::vector<std::string> names;
    for (int i = 0; names.size() < kFiles; ++i) {
      std::string name = prefix + std::to_string(i);
      if (cluster::entry_shard(wire::kRootInode, name, 2).value == shard) {
        names.push_back("/" + name);
      }
    }
    return names;
  };
  std::vector<std::string> from = names_on(0, "new");
  std::vector<std::string> to = names_on(1, "file");
  std::string text(128U << 10, 'x');
  for (std::size_t i = 0; i < kFiles; ++i) {
    make_file(0, from[i], text);
    ASSERT_TRUE(at(0).run(fs(0).rename(from[i], to[i])));
    make_file(0, from[i], text);
  }
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < kFiles; ++i) {
    threads.emplace_back([&, i] {
      Status done = at(i % 3).run(fs(i % 3).rename(from[i], to[i]));
      EXPECT_TRUE(done) << done.error().message();
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  for (std::size_t i = 0; i < kFiles; ++i) {
    EXPECT_EQ(stat_errno(0, from[i]), ENOENT) << from[i];
    EXPECT_EQ(stat_errno(0, to[i]), 0) << to[i];
  }
}

TEST_F(ManyClients, CrossedDirectoryMovesDoNotBuildALoop) {
  start({.servers = 4}, 2);
  for (int round = 0; round < 20; ++round) {
    std::string p = "/p" + std::to_string(round);
    std::string q = "/q" + std::to_string(round);
    ASSERT_TRUE(at(0).run(fs(0).mkdir(p, 0755)));
    ASSERT_TRUE(at(0).run(fs(0).mkdir(q, 0755)));
    Status first;
    Status second;
    std::thread other([&] { second = at(1).run(fs(1).rename(q, p + "/in")); });
    first = at(0).run(fs(0).rename(p, q + "/in"));
    other.join();
    // One moves below the other, and the other fails: its source is gone or it would make a loop.
    EXPECT_NE(first.has_value(), second.has_value());
    EXPECT_EQ(stat_errno(0, first ? q + "/in" : p + "/in"), 0);
  }
}

TEST_F(ManyClients, AListingOfADirectoryThatGoesAwayEnds) {
  start({.servers = 3}, 2);
  wire::Attr made = at(0).run(fs(0).mkdir("/gone", 0755)).value();
  auto file = at(0).run(fs(0).open("/gone/f", kReadWriteCreate, 0644));
  ASSERT_TRUE(file) << file.error().message();
  ASSERT_TRUE(at(0).run(fs(0).close(*file)));
  auto page = at(0).run(fs(0).list(made.id(), "", 10));
  ASSERT_TRUE(page) << page.error().message();
  ASSERT_EQ(page->size(), 1U);
  ASSERT_TRUE(at(1).run(fs(1).unlink("/gone/f")));
  ASSERT_TRUE(at(1).run(fs(1).rmdir("/gone")));
  page = at(0).run(fs(0).list(made.id(), "f", 10));
  ASSERT_TRUE(page) << page.error().message();
  EXPECT_TRUE(page->empty());
  auto by_name = at(0).run(fs(0).list("/gone", "", 10));
  EXPECT_TRUE(!by_name && by_name.error().is_posix(ENOENT));
}

TEST_F(ManyClients, AnUnlinkedFileLivesUntilItsLastUserClosesIt) {
  start({.servers = 3}, 2);
  std::vector<std::byte> data(500'000, std::byte{3});
  auto file = open(0, "/f", kReadWriteCreate);
  ASSERT_TRUE(at(0).run(fs(0).write(*file, 0, data)));
  ASSERT_TRUE(at(1).run(fs(1).unlink("/f")));
  EXPECT_EQ(stat_errno(0, "/f"), ENOENT);
  std::vector<std::byte> back(data.size());
  auto got = at(0).run(fs(0).read(*file, 0, back));
  ASSERT_TRUE(got);
  EXPECT_EQ(*got, data.size());
  EXPECT_EQ(back, data);
  std::uint64_t before = at(1).run(fs(1).statfs())->free_bytes;
  ASSERT_TRUE(at(0).run(fs(0).close(file)));
  // A close is a notice, and the space is freed behind it.
  Deadline deadline = Deadline::after(std::chrono::seconds(30));
  while (at(1).run(fs(1).statfs())->free_bytes <= before && !deadline.passed()) {
    std::this_thread::yield();
  }
  EXPECT_GT(at(1).run(fs(1).statfs())->free_bytes, before);
}

TEST_F(ManyClients, AClientThatLeavesReleasesWhatItHadOpen) {
  start({.servers = 2}, 2);
  auto file = open(1, "/f", kReadWriteCreate);
  std::vector<std::byte> data(300'000, std::byte{1});
  ASSERT_TRUE(at(1).run(fs(1).write(*file, 0, data)));
  std::uint64_t free_before = at(0).run(fs(0).statfs())->free_bytes;
  ASSERT_TRUE(at(0).run(fs(0).unlink("/f")));
  file.reset();
  clients_.pop_back();  // says goodbye without closing
  Deadline deadline = Deadline::after(std::chrono::seconds(10));
  while (at(0).run(fs(0).statfs())->free_bytes <= free_before && !deadline.passed()) {
    std::this_thread::yield();
  }
  EXPECT_GT(at(0).run(fs(0).statfs())->free_bytes, free_before);
}

TEST_F(ManyClients, MoreActiveClientsThanTheRegistryHoldsAllGetTheirWorkDone) {
  start({.servers = 1, .tweak = [](server::ShardConfig& c) { c.rpc.max_clients = 2; }}, 4);
  for (int round = 0; round < 10; ++round) {
    for (std::size_t i = 0; i < 4; ++i) {
      std::string path = "/c" + std::to_string(i) + "-" + std::to_string(round);
      make_file(i, path, path);
      EXPECT_EQ(read_file((i + 1) % 4, path), path);
    }
  }
}

// A daemon that starts again has no inodes, but clients and other daemons remember its numbers.
TEST_F(ManyClients, InodeNumbersOfAnEarlierLifeAreNotGivenOutAgain) {
  std::set<std::uint64_t> seen;
  for (int life = 0; life < 3; ++life) {
    start({.servers = 2}, 1);
    for (const char* path : {"/a", "/b", "/c", "/d"}) {
      make_file(0, path, "x");
      EXPECT_TRUE(seen.insert(at(0).run(fs(0).stat(path)).value().inode).second) << path;
    }
    clients_.clear();
    ASSERT_TRUE(cluster_->stop());
  }
}

TEST_F(ManyClients, AListingUnderChangeShowsWhatStaysExactlyOnce) {
  start({.servers = 3}, 2);
  ASSERT_TRUE(at(0).run(fs(0).mkdir("/d", 0755)));
  std::set<std::string> stable;
  for (int i = 0; i < 300; ++i) {
    std::string name = "stay" + std::to_string(i);
    make_file(0, "/d/" + name, "");
    stable.insert(name);
  }
  std::atomic<bool> stop{false};
  std::thread changer([&] {
    for (int i = 0; !stop; ++i) {
      std::string path = "/d/come" + std::to_string(i % 50);
      auto file = at(1).run(fs(1).open(path, kReadWriteCreate, 0644));
      if (file) {
        (void)at(1).run(fs(1).close(*file));
      }
      (void)at(1).run(fs(1).unlink(path));
    }
  });
  for (int round = 0; round < 5; ++round) {
    std::multiset<std::string> seen;
    std::string cursor;
    for (;;) {
      auto page = at(0).run(fs(0).list("/d", cursor, 37));
      ASSERT_TRUE(page) << page.error().message();
      if (page->empty()) {
        break;
      }
      for (const client::DirEntry& entry : *page) {
        EXPECT_GT(entry.name, cursor);
        cursor = entry.name;
        seen.insert(entry.name);
      }
    }
    for (const std::string& name : stable) {
      EXPECT_EQ(seen.count(name), 1U) << name;
    }
  }
  stop = true;
  changer.join();
}

TEST_F(ManyClients, ThreadsOfOneClientDoNotDisturbEachOther) {
  start({.servers = 2}, 1);
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 20; ++i) {
        std::string path = "/t" + std::to_string(t) + "-" + std::to_string(i);
        std::string text(static_cast<std::size_t>(t * 997 + i * 131 + 1),
                         static_cast<char>('a' + t));
        make_file(0, path, text);
        EXPECT_EQ(read_file(0, path), text);
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
}

}  // namespace
}  // namespace benchfs
