#include "client/io/open_table.h"

#include <gtest/gtest.h>

#include <string>

#include <fmt/format.h>

namespace benchfs::client {
namespace {

constexpr wire::ShardId kOneShard{1};
constexpr wire::ShardId kAnotherShard{0};

// The statement as text: "[1,5) keeps 1 4".
std::vector<std::string> statement(OpenTable& table, wire::ShardId shard) {
  std::vector<std::string> notices;
  table.state(shard, [&](const wire::OpensNotice& notice, std::span<const std::uint64_t> kept) {
    EXPECT_EQ(notice.count, kept.size());
    std::string text = fmt::format("[{},{}) keeps", notice.from, notice.to);
    for (std::uint64_t number : kept) {
      text += fmt::format(" {}", number);
    }
    notices.push_back(text);
  });
  return notices;
}

using Notices = std::vector<std::string>;

TEST(OpenTable, NumbersAreNeverUsedTwice) {
  OpenTable table;
  std::uint64_t first = table.add(kOneShard, 0)->number;
  std::uint64_t second = table.add(kAnotherShard, 0)->number;
  EXPECT_EQ(first, 1U);
  EXPECT_EQ(second, 2U);
}

TEST(OpenTable, AStatementCoversEveryNumberGivenOutAndKeepsWhatIsOpenThere) {
  OpenTable table;
  auto a = table.add(kOneShard, 0);
  auto b = table.add(kOneShard, 0);
  auto elsewhere = table.add(kAnotherShard, 0);
  auto d = table.add(kOneShard, 0);
  EXPECT_EQ(statement(table, kOneShard), Notices{"[1,5) keeps 1 2 4"});
  b.reset();         // its caller gave up
  table.remove(*a);  // closed
  EXPECT_EQ(statement(table, kOneShard), Notices{"[1,5) keeps 4"});
  EXPECT_EQ(statement(table, kAnotherShard), Notices{"[1,5) keeps 3"});
  d.reset();
  EXPECT_EQ(statement(table, kOneShard), Notices{"[1,5) keeps"});
  EXPECT_FALSE(table.has_files(kOneShard));
  EXPECT_TRUE(table.knows(kOneShard));
}

TEST(OpenTable, ALongStatementIsCutWithoutAGap) {
  OpenTable table;
  std::vector<std::shared_ptr<OpenFile>> files;
  for (std::uint32_t i = 0; i < 2 * wire::kMaxOpensInNotice + 1; ++i) {
    files.push_back(table.add(kOneShard, 0));
  }
  std::vector<wire::OpensNotice> notices;
  std::size_t kept = 0;
  table.state(kOneShard,
              [&](const wire::OpensNotice& notice, std::span<const std::uint64_t> numbers) {
                for (std::uint64_t number : numbers) {
                  EXPECT_GE(number, notice.from);
                  EXPECT_LT(number, notice.to);
                }
                EXPECT_LE(numbers.size(), wire::kMaxOpensInNotice);
                kept += numbers.size();
                notices.push_back(notice);
              });
  ASSERT_EQ(notices.size(), 3U);
  EXPECT_EQ(kept, files.size());
  EXPECT_EQ(notices[0].from, 1U);
  EXPECT_EQ(notices[1].from, notices[0].to);
  EXPECT_EQ(notices[2].from, notices[1].to);
  EXPECT_EQ(notices[2].to, files.size() + 1);
}

}  // namespace
}  // namespace benchfs::client
