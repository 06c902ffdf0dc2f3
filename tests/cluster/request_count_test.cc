// The number of requests that an operation on a small file sends, including those between servers,
// does not grow with the number of servers.

#include <gtest/gtest.h>

#include <cstdlib>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "cluster/many_clients.h"

namespace benchfs {
namespace {

constexpr int kFiles = 24;
constexpr std::uint32_t kMany = 16;

using Counts = std::map<std::string, std::uint64_t>;  // by operation of the protocol

class RequestCount : public ManyClients {
 protected:
  // Requests that all servers got so far. Notices, which nobody waits for, are not requests.
  Counts requests() {
    Counts counts;
    for (std::uint32_t shard = 0; shard < cluster_->shard_count(); ++shard) {
      std::string stats = at(0).run(fs(0).shard_stats(wire::ShardId{shard})).value();
      const std::string before = "\"operation\":\"";
      const std::string between = "\",\"requests\":";
      for (std::size_t found = stats.find(before); found != std::string::npos;
           found = stats.find(before, found + 1)) {
        std::size_t begin = found + before.size();
        std::size_t end = stats.find(between, begin);
        if (end != std::string::npos) {
          counts[stats.substr(begin, end - begin)] +=
              std::strtoull(stats.c_str() + end + between.size(), nullptr, 10);
        }
      }
    }
    for (const char* other : {"stats", "ping", "register", "close_notice", "opens_notice"}) {
      counts.erase(other);
    }
    return counts;
  }

  struct Step {
    const char* what;
    std::function<void(const std::string& path)> run;
  };
  std::vector<Step> steps() {
    auto use = [this](const std::string& path, std::uint32_t flags, auto what) {
      auto file = open(0, path, flags);
      ASSERT_NE(file, nullptr);
      what(*file);
      EXPECT_TRUE(at(0).run(fs(0).close(file)));
    };
    auto change = [this](const std::string& path, std::uint32_t mask) {
      wire::SetAttrRequest request;
      request.mask = mask;
      request.mode = 0600;
      request.size = 1;
      EXPECT_TRUE(at(0).run(fs(0).set_attr(path, request)));
    };
    auto nothing = [](client::OpenFile&) {};
    return {
        {"create and close", [=](auto& path) { use(path, kReadWriteCreate, nothing); }},
        {"write, fsync and close",
         [=, this](auto& path) {
           use(path, wire::kOpenWrite, [this](client::OpenFile& file) {
             std::vector<std::byte> bytes(100);
             EXPECT_TRUE(at(0).run(fs(0).write(file, 0, bytes)));
             EXPECT_TRUE(at(0).run(fs(0).fsync(file)));
           });
         }},
        {"append and close",
         [=, this](auto& path) {
           use(path, wire::kOpenWrite | wire::kOpenAppend, [this](client::OpenFile& file) {
             std::vector<std::byte> bytes(100);
             EXPECT_TRUE(at(0).run(fs(0).append(file, bytes)));
           });
         }},
        {"open, read and close",
         [=, this](auto& path) {
           use(path, wire::kOpenRead, [this](client::OpenFile& file) {
             std::vector<std::byte> bytes(200);
             EXPECT_EQ(at(0).run(fs(0).read(file, 0, bytes)).value_or(0), 200U);
           });
         }},
        {"stat", [=, this](auto& path) { EXPECT_EQ(stat_errno(0, path), 0); }},
        {"chmod", [=](auto& path) { change(path, wire::kSetMode); }},
        {"utimens", [=](auto& path) { change(path, wire::kSetMtimeNow); }},
        {"truncate", [=](auto& path) { change(path, wire::kSetSize); }},
        {"open with O_TRUNC and close",
         [=](auto& path) { use(path, wire::kOpenWrite | wire::kOpenTruncate, nothing); }},
        {"unlink", [=, this](auto& path) { EXPECT_TRUE(at(0).run(fs(0).unlink(path))); }},
    };
  }

  // Returns the requests that each step sends with this many servers.
  std::map<std::string, Counts> measure(std::uint32_t servers) {
    start({.servers = servers,
           .tweak =
               [](server::ShardConfig& config) { config.directory_lease = std::chrono::hours(1); }},
          1);
    EXPECT_TRUE(at(0).run(fs(0).mkdir("/d", 0755)));
    std::vector<std::string> paths;
    for (int i = 0; i < kFiles; ++i) {
      paths.push_back((i % 2 == 0 ? "/f" : "/d/f") + std::to_string(i));
      make_file(0, paths.back() + "-first", "");  // what is asked only once has been asked
    }
    // Each server has told the home of each directory that it changes it.
    for (const char* directory : {"/", "/d/"}) {
      for (int i = 0; i < 200; ++i) {
        make_file(0, directory + ("told" + std::to_string(i)), "");
      }
    }
    std::map<std::string, Counts> sent;
    for (const Step& step : steps()) {
      Counts before = requests();
      for (const std::string& path : paths) {
        step.run(path);
      }
      for (const auto& [operation, count] : requests()) {
        if (count > before[operation]) {
          sent[step.what][operation] = count - before[operation];
        }
      }
    }
    TearDown();
    cluster_.reset();
    return sent;
  }
};

TEST_F(RequestCount, OfAnOperationOnASmallFileDoesNotGrowWithTheServers) {
  std::map<std::string, Counts> with_one = measure(1);
  std::map<std::string, Counts> with_many = measure(kMany);
  ASSERT_EQ(with_one.size(), steps().size());
  for (const auto& [step, counts] : with_many) {
    EXPECT_EQ(counts, with_one[step]) << step;
  }
  EXPECT_EQ(with_many["create and close"], (Counts{{"open", kFiles}}));
  EXPECT_EQ(with_many["unlink"], (Counts{{"unlink", kFiles}}));
  EXPECT_EQ(with_many["stat"], (Counts{{"lookup", kFiles}}));
}

}  // namespace
}  // namespace benchfs
