#include "cluster/placement.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include "base/random.h"
#include "wire/limits.h"

namespace benchfs::cluster {
namespace {

using wire::InodeId;
using wire::kRootInode;
using wire::Layout;
using wire::ShardId;

constexpr std::uint32_t kMiB = 1U << 20;

std::vector<ChunkSpan> spans_of(const Layout& layout,
                                std::uint64_t offset,
                                std::uint64_t length,
                                std::uint32_t max_bytes = ~0U) {
  std::vector<ChunkSpan> spans;
  for (const ChunkSpan& span : ChunkSpans(layout, offset, length, max_bytes)) {
    spans.push_back(span);
  }
  return spans;
}

// Golden vectors. Existing file systems were written with these numbers: if one changes, the code
// is wrong, never the test.
TEST(Placement, EntryShardsAreFrozen) {
  struct Vector {
    InodeId parent;
    std::string name;
    std::uint32_t count;
    std::uint32_t shard;
  };
  const std::vector<Vector> vectors = {
      {kRootInode, "a", 4, 2},
      {kRootInode, "a", 4096, 2535},
      {kRootInode, "file.00000001", 4, 0},
      {kRootInode, "file.00000001", 4096, 746},
      {InodeId::make(ShardId{3}, 12345), "a", 4096, 1438},
      {InodeId::make(ShardId{4095}, (1ULL << 48) - 1), "\xff\xfe", 4096, 3454},
      {kRootInode, std::string(255, 'x'), 4096, 3816},
      {InodeId{0}, "", 4096, 497},
  };
  for (const Vector& v : vectors) {
    EXPECT_EQ(entry_shard(v.parent, v.name, v.count).value, v.shard) << v.name << " " << v.count;
  }
}

TEST(Placement, EntriesOfOneDirectoryAreBalanced) {
  constexpr int kNames = 100'000;
  for (std::uint32_t count : {2U, 3U, 4U, 7U, 8U}) {
    std::vector<int> entries(count);
    for (int i = 0; i < kNames; ++i) {
      ++entries[entry_shard(kRootInode, fmt::format("file.{:08}", i), count).value];
    }
    double mean = static_cast<double>(kNames) / count;
    EXPECT_LT(*std::ranges::max_element(entries) / mean, 1.03) << count;
  }
}

TEST(Placement, OneNameInManyDirectoriesIsBalanced) {
  constexpr int kDirectories = 100'000;
  std::vector<int> entries(4);
  for (std::uint64_t i = 0; i < kDirectories; ++i) {
    ++entries[entry_shard(InodeId::make(ShardId{1}, i), "data", 4).value];
  }
  EXPECT_LT(*std::ranges::max_element(entries) / (kDirectories / 4.0), 1.03);
}

TEST(Placement, ScaledHashesCoverTheRangeAndStayInIt) {
  EXPECT_EQ(scale_hash(0, 7), 0U);
  EXPECT_EQ(scale_hash(~0ULL, 7), 6U);
  EXPECT_EQ(scale_hash(1ULL << 63, 2), 1U);
  EXPECT_EQ(scale_hash((1ULL << 63) - 1, 2), 0U);
  EXPECT_EQ(scale_hash(~0ULL, 1), 0U);
}

TEST(Placement, ChunksGoRoundTheShardsFromTheHome) {
  Layout layout = make_layout(ShardId{2}, 4, 4 * kMiB);
  EXPECT_EQ(layout, (Layout{4 * kMiB, 2, 4}));
  EXPECT_EQ(chunk_shard(layout, 0).value, 2U);
  EXPECT_EQ(chunk_shard(layout, 1).value, 3U);
  EXPECT_EQ(chunk_shard(layout, 2).value, 0U);
  EXPECT_EQ(chunk_shard(layout, 6).value, 0U);
  EXPECT_EQ(chunk_shard(layout, (1ULL << 46) - 1).value, 1U);
  EXPECT_EQ(chunk_shard(make_layout(ShardId{0}, 1, 4 * kMiB), 12345).value, 0U);
  EXPECT_EQ(chunk_shard(make_layout(ShardId{4095}, 4096, 4 * kMiB), 1).value, 0U);
}

TEST(Placement, LayoutsThatNoFileCanHaveAreRecognised) {
  EXPECT_TRUE(is_valid_layout({wire::kMinChunkBytes, 0, 1}));
  EXPECT_TRUE(is_valid_layout({wire::kMaxChunkBytes, 4095, 4096}));
  EXPECT_FALSE(is_valid_layout({0, 0, 1}));
  EXPECT_FALSE(is_valid_layout({wire::kMinChunkBytes / 2, 0, 1}));
  EXPECT_FALSE(is_valid_layout({wire::kMaxChunkBytes * 2, 0, 1}));
  EXPECT_FALSE(is_valid_layout({kMiB + 1, 0, 1}));
  EXPECT_FALSE(is_valid_layout({kMiB, 0, 0}));
  EXPECT_FALSE(is_valid_layout({kMiB, 4, 4}));
  EXPECT_FALSE(is_valid_layout({kMiB, 0, 4097}));
}

TEST(ChunkSpans, AnEmptyRangeHasNoSpan) {
  Layout layout = make_layout(ShardId{0}, 1, kMiB);
  EXPECT_TRUE(spans_of(layout, 0, 0).empty());
  EXPECT_TRUE(spans_of(layout, kMiB, 0).empty());
  EXPECT_TRUE(spans_of(layout, wire::kMaxFileBytes, 0).empty());
}

TEST(ChunkSpans, ARangeIsCutAtChunkBoundaries) {
  Layout layout = make_layout(ShardId{0}, 4, kMiB);
  EXPECT_EQ(spans_of(layout, 0, kMiB), (std::vector<ChunkSpan>{{0, 0, kMiB, 0}}));
  EXPECT_EQ(spans_of(layout, kMiB - 1, 2),
            (std::vector<ChunkSpan>{{0, kMiB - 1, 1, kMiB - 1}, {1, 0, 1, kMiB}}));
  EXPECT_EQ(spans_of(layout, 5, 2 * kMiB),
            (std::vector<ChunkSpan>{
                {0, 5, kMiB - 5, 5}, {1, 0, kMiB, kMiB}, {2, 0, 5, 2 * std::uint64_t{kMiB}}}));
}

TEST(ChunkSpans, ALargeSpanIsCutAtMultiplesOfTheLargestTransfer) {
  Layout layout = make_layout(ShardId{0}, 4, kMiB);
  constexpr std::uint32_t kMax = kMiB / 4;
  EXPECT_EQ(spans_of(layout, 100, kMax, kMax),
            (std::vector<ChunkSpan>{{0, 100, kMax - 100, 100}, {0, kMax, 100, kMax}}));
  EXPECT_EQ(spans_of(layout, 0, kMiB, kMax).size(), 4U);
  // 1 MiB is no multiple of 300000: the last piece of each chunk is shorter.
  auto odd = spans_of(layout, 0, 2 * kMiB, 300'000);
  ASSERT_EQ(odd.size(), 8U);
  EXPECT_EQ(odd[3].length, kMiB - 900'000);
  EXPECT_EQ(odd[4], (ChunkSpan{1, 0, 300'000, kMiB}));
}

TEST(ChunkSpans, TheEndOfTheLargestFileIsReached) {
  for (std::uint32_t chunk = wire::kMinChunkBytes; chunk <= wire::kMaxChunkBytes; chunk *= 2) {
    Layout layout = make_layout(ShardId{0}, 4, chunk);
    EXPECT_EQ(spans_of(layout, wire::kMaxFileBytes - 1, 1),
              (std::vector<ChunkSpan>{
                  {wire::kMaxFileBytes / chunk - 1, chunk - 1, 1, wire::kMaxFileBytes - 1}}));
    EXPECT_EQ(spans_of(layout, wire::kMaxFileBytes - 2ULL * chunk, 2ULL * chunk).size(), 2U);
  }
}

TEST(ChunkSpans, SpansCoverARandomRangeExactlyOnceAndInOrder) {
  const char* text_seed = std::getenv("BENCHFS_SEED");
  std::uint64_t seed = text_seed != nullptr ? std::strtoull(text_seed, nullptr, 0) : random_id();
  SCOPED_TRACE(fmt::format("BENCHFS_SEED={}", seed));
  Random random(seed);
  for (int round = 0; round < 2000; ++round) {
    std::uint32_t chunk = wire::kMinChunkBytes << random.below(11);
    auto max_bytes = static_cast<std::uint32_t>(1 + chunk / 8 + random.below(2ULL * chunk));
    std::uint64_t length = random.below(8ULL * chunk);
    std::uint64_t offset = random.below(wire::kMaxFileBytes - length) >> random.below(62);
    std::uint64_t at = offset;
    for (const ChunkSpan& span :
         ChunkSpans(make_layout(ShardId{0}, 1, chunk), offset, length, max_bytes)) {
      ASSERT_EQ(span.file_offset, at);
      ASSERT_EQ(span.index * chunk + span.offset, at);
      ASSERT_GT(span.length, 0U);
      ASSERT_LE(span.length, max_bytes);
      ASSERT_LE(span.offset + span.length, chunk);
      at += span.length;
    }
    ASSERT_EQ(at, offset + length);
  }
}

TEST(PlacementDeathTest, RangesBeyondTheLargestFileAreRefused) {
  Layout layout = make_layout(ShardId{0}, 1, kMiB);
  EXPECT_DEATH(ChunkSpans(layout, wire::kMaxFileBytes, 1, kMiB), "kMaxFileBytes");
  EXPECT_DEATH(ChunkSpans(layout, 1, ~0ULL, kMiB), "kMaxFileBytes");
  EXPECT_DEATH(ChunkSpans({}, 0, 1, kMiB), "is_valid_layout");
  EXPECT_DEATH(make_layout(ShardId{4}, 4, kMiB), "home");
}

std::vector<std::uint32_t> shards_of(const wire::Layout& layout, std::uint64_t size) {
  std::vector<std::uint32_t> shards;
  for (wire::ShardId shard : LayoutShards(layout, size)) {
    shards.push_back(shard.value);
  }
  return shards;
}

TEST(LayoutShards, AreThoseThatTheChunksReachHomeFirst) {
  constexpr std::uint64_t kChunk = wire::kMinChunkBytes;
  wire::Layout layout = make_layout(wire::ShardId{2}, 4, wire::kMinChunkBytes);
  using Shards = std::vector<std::uint32_t>;
  EXPECT_EQ(shards_of(layout, 0), Shards{});
  EXPECT_EQ(shards_of(layout, 1), Shards{2});
  EXPECT_EQ(shards_of(layout, kChunk), Shards{2});
  EXPECT_EQ(shards_of(layout, kChunk + 1), (Shards{2, 3}));
  EXPECT_EQ(shards_of(layout, 4 * kChunk), (Shards{2, 3, 0, 1}));
  EXPECT_EQ(shards_of(layout, 5 * kChunk), (Shards{2, 3, 0, 1}));
  EXPECT_EQ(shards_of(layout, UINT64_MAX), (Shards{2, 3, 0, 1}));
}

}  // namespace
}  // namespace benchfs::cluster
