// Copies at the servers: of random ranges of files on several shards, and while a shard is frozen.

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <string>
#include <vector>

#include "base/random.h"
#include "cluster/many_clients.h"
#include "cluster/placement.h"

namespace benchfs {
namespace {

constexpr std::uint32_t kChunk = 256U << 10;
constexpr std::uint64_t kSize = 8 * std::uint64_t{kChunk};

class Copies : public ManyClients {
 protected:
  void start_with(server::Engine engine) {
    start({.servers = 2, .shards = 2, .engine = engine, .chunk_bytes = kChunk}, 2);
  }
  static std::string text_of(std::size_t bytes, std::uint64_t seed) {
    Random random(seed);
    std::string text(bytes, '\0');
    std::ranges::generate(text, [&] { return static_cast<char>('a' + random.below(26)); });
    return text;
  }
  bool write(client::OpenFile& file, std::uint64_t offset, std::string_view text) {
    return at(0).run(fs(0).write(file, offset, std::as_bytes(std::span(text)))).has_value();
  }
  // As another client sees it.
  std::string content(const std::string& path) {
    auto file = open(1, path, wire::kOpenRead);
    std::string text(4 * kSize, '\0');
    auto got = at(1).run(fs(1).read(*file, 0, std::as_writable_bytes(std::span(text))));
    EXPECT_TRUE(got) << got.error().message();
    text.resize(got.value_or(0));
    EXPECT_TRUE(at(1).run(fs(1).close(file)));
    return text;
  }
  Result<std::size_t> copy(client::OpenFile& from,
                           std::uint64_t from_offset,
                           client::OpenFile& to,
                           std::uint64_t to_offset,
                           std::uint64_t length) {
    return at(0).run(fs(0).data().copy(from, from_offset, to, to_offset, length));
  }
  // Requests of this kind that the servers got from clients and each other.
  std::uint64_t requests(std::string_view operation) {
    std::uint64_t count = 0;
    for (std::uint32_t shard = 0; shard < cluster_->shard_count(); ++shard) {
      std::string stats = at(0).run(fs(0).shard_stats(wire::ShardId{shard})).value();
      std::string before = "\"operation\":\"" + std::string(operation) + "\",\"requests\":";
      if (std::size_t found = stats.find(before); found != std::string::npos) {
        count += std::strtoull(stats.c_str() + found + before.size(), nullptr, 10);
      }
    }
    return count;
  }
  void copy_random_ranges(server::Engine engine);
};

// With holes in both files, and ranges within one file.
void Copies::copy_random_ranges(server::Engine engine) {
  start_with(engine);
  std::vector<std::string> expected(3);
  std::vector<std::shared_ptr<client::OpenFile>> files;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    files.push_back(open(0, "/f" + std::to_string(i), kReadWriteCreate));
    for (std::uint64_t begin : {i * 3 * kChunk, 6 * std::uint64_t{kChunk} + i * 1000}) {
      std::string text = text_of(kChunk + i * 777, i + 1);
      ASSERT_TRUE(write(*files[i], begin, text));
      expected[i].resize(std::max(expected[i].size(), begin + text.size()));
      expected[i].replace(begin, text.size(), text);
    }
  }
  Random random(7);
  for (int round = 0; round < 150; ++round) {
    std::size_t from = random.below(files.size());
    std::size_t to = random.below(files.size());
    std::uint64_t length = random.below(round % 3 == 0 ? 1000 : kSize / 2);
    std::uint64_t from_offset = random.below(kSize);
    std::uint64_t to_offset = random.below(kSize);
    if (round % 2 == 0) {  // whole chunks
      from_offset -= from_offset % kChunk;
      to_offset -= to_offset % kChunk;
    }
    Result<std::size_t> copied = copy(*files[from], from_offset, *files[to], to_offset, length);
    std::uint64_t distance = std::max(from_offset, to_offset) - std::min(from_offset, to_offset);
    if (from == to && distance < length) {
      ASSERT_FALSE(copied);
      EXPECT_TRUE(copied.error().is_posix(EINVAL));
      continue;
    }
    ASSERT_TRUE(copied) << copied.error().message();
    std::string text = from_offset < expected[from].size()
                           ? expected[from].substr(from_offset, length)
                           : std::string();
    ASSERT_EQ(*copied, text.size()) << round;
    if (!text.empty()) {
      expected[to].resize(std::max(expected[to].size(), to_offset + text.size()));
      expected[to].replace(to_offset, text.size(), text);
    }
  }
  for (std::size_t i = 0; i < files.size(); ++i) {
    EXPECT_TRUE(content("/f" + std::to_string(i)) == expected[i]) << i;
  }
  EXPECT_GT(requests("copy_chunk"), 100U);
}

TEST_F(Copies, OfRandomRangesInMemory) {
  copy_random_ranges(server::Engine::kMemory);
}

TEST_F(Copies, OfRandomRangesInFiles) {
  copy_random_ranges(server::Engine::kFile);
}

TEST_F(Copies, AreShortWhenTheServersAreFull) {
  start({.servers = 2, .memory_bytes = 8 * std::uint64_t{kChunk}, .chunk_bytes = kChunk}, 1);
  auto from = open(0, "/from", kReadWriteCreate);
  auto to = open(0, "/to", kReadWriteCreate);
  std::string text = text_of(10 * std::size_t{kChunk}, 1);
  ASSERT_TRUE(write(*from, 0, text));
  Result<std::size_t> copied = copy(*from, 0, *to, 0, text.size());
  ASSERT_TRUE(copied) << copied.error().message();
  EXPECT_GT(*copied, 0U);
  EXPECT_LT(*copied, text.size());
  Result<std::size_t> more = copy(*from, *copied, *to, *copied, text.size());
  ASSERT_FALSE(more);
  EXPECT_TRUE(more.error().is_posix(ENOSPC)) << more.error().message();
}

// The call ends, and says which server it waited for; copies between others go on.
TEST_F(Copies, FromAFrozenServerFailAndNameIt) {
  start({.servers = 3, .chunk_bytes = kChunk}, 0);
  add_client(std::chrono::seconds(4));
  auto from = open(0, "/from", kReadWriteCreate);
  auto to = open(0, "/to", kReadWriteCreate);
  std::string text = text_of(6 * std::size_t{kChunk}, 1);
  ASSERT_TRUE(write(*from, 0, text));
  ASSERT_TRUE(write(*to, 0, text));
  wire::ShardId home = to->id().home();
  auto shard_of = [](const auto& file, std::uint64_t index) {
    return cluster::chunk_shard(file->layout(), index);
  };
  // The servers of three chunks in a row are three.
  std::uint64_t frozen = shard_of(from, 0) == home ? 1 : 0;
  wire::ShardId silent = shard_of(from, frozen);
  std::uint64_t target = shard_of(to, 0) == silent ? 1 : 0;
  cluster_->freeze(silent.value);
  Result<std::size_t> copied = copy(*from, frozen * kChunk, *to, target * kChunk, kChunk);
  ASSERT_FALSE(copied);
  EXPECT_TRUE(copied.error().message().contains(fs(0).pool().at(silent).name()))
      << copied.error().message();
  std::uint64_t other = shard_of(from, 0) == silent ? 1 : 0;
  copied = copy(*from, other * kChunk, *to, target * kChunk, kChunk);
  EXPECT_TRUE(copied) << copied.error().message();
  EXPECT_EQ(copied.value_or(0), kChunk);
  cluster_->thaw(silent.value);
  copied = copy(*from, frozen * kChunk, *to, target * kChunk, kChunk);
  EXPECT_TRUE(copied) << copied.error().message();
}

}  // namespace
}  // namespace benchfs
