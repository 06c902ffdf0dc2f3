// A chunk server starts again without what it held, while the names live on at another server:
// nobody reads zeros in place of data.
#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <optional>

#include "cluster/placement.h"
#include "system/system_test.h"

namespace benchfs::test {
namespace {

constexpr wire::ShardId kHome{0};
constexpr std::size_t kChunk = wire::kDefaultChunkBytes;
// Chunk 0 is on the home, chunk 1 on the server that is lost.
constexpr std::size_t kBoth = 2 * kChunk;

class LostChunks : public SystemTest {
 protected:
  void SetUp() override {
    ASSERT_TRUE(home_.wait_for_line("is ready", patience())) << home_.err();
    ASSERT_TRUE(lost_->wait_for_line("is ready", patience())) << lost_->err();
  }
  // The second server is killed, and there again.
  void lose_chunks() {
    lost_->signal(SIGKILL);
    ASSERT_EQ(lost_->wait(patience()).signal, SIGKILL);
    lost_.emplace(start_node("node_1", 2));
    ASSERT_TRUE(lost_->wait_for_line("is ready", patience())) << lost_->err();
  }
  // A name whose inode gets its home on the first server.
  std::string name(client::Client& client, std::string_view stem) {
    wire::InodeId root = client.run(client.fs().stat("/")).value().id();
    for (int i = 0;; ++i) {
      std::string name = fmt::format("{}_{}", stem, i);
      if (cluster::entry_shard(root, name, client.fs().shard_count()) == kHome) {
        return "/" + name;
      }
    }
  }
  static Status make_sparse(client::Client& client, const std::string& path) {
    BENCHFS_TRY_VOID(write_whole(client, path, pattern(1, 1)));
    wire::SetAttrRequest size;
    size.mask = wire::kSetSize;
    size.size = kBoth;
    BENCHFS_TRY_VOID(client.run(client.fs().set_attr(path, size)));
    return {};
  }
  static void expect_lost(const Error& error) {
    EXPECT_EQ(error.to_errno(), EIO) << error.message();
    EXPECT_NE(error.message().find("node_1"), std::string::npos) << error.message();
    EXPECT_NE(error.message().find("started again after the file was made; remove the file"),
              std::string::npos)
        << error.message();
  }

  Process home_ = start_node("node_0", 2);
  std::optional<Process> lost_{start_node("node_1", 2)};
};

TEST_F(LostChunks, AreAnErrorThatNamesTheServerAndNeverZeros) {
  auto before = connect();
  ASSERT_NE(before, nullptr);
  std::string wide = name(*before, "wide");
  std::string small = name(*before, "small");
  std::vector<std::byte> data = pattern(kBoth, 7);
  std::vector<std::byte> few = pattern(1000, 8);
  ASSERT_TRUE(write_whole(*before, wide, data));
  ASSERT_TRUE(write_whole(*before, small, few));
  ASSERT_NO_FATAL_FAILURE(lose_chunks());

  auto after = connect();
  ASSERT_NE(after, nullptr);
  for (client::Client* client : {before.get(), after.get()}) {
    Result<std::vector<std::byte>> read = read_whole(*client, wide);
    ASSERT_FALSE(read) << "zeros in place of data";
    expect_lost(read.error());
    // Files on the other server are still there.
    EXPECT_EQ(read_whole(*client, small).value_or(std::vector<std::byte>{}), few);
  }
  EXPECT_TRUE(after->run(after->fs().unlink(wide)));
}

TEST_F(LostChunks, AreNotedByWhoWritesTheFileAndByOthersMeanwhile) {
  auto writer = connect();
  ASSERT_NE(writer, nullptr);
  std::string path = name(*writer, "open");
  auto file = writer->run(
      writer->fs().open(path, wire::kOpenRead | wire::kOpenWrite | wire::kOpenCreate, 0644));
  ASSERT_TRUE(file) << message(file);
  ASSERT_TRUE(writer->run(writer->fs().write(**file, 0, pattern(kBoth, 7))));
  ASSERT_NO_FATAL_FAILURE(lose_chunks());

  Status written = writer->run(writer->fs().write(**file, kChunk + 100, pattern(1000, 8)));
  ASSERT_FALSE(written);
  expect_lost(written.error());
  Status synced = writer->run(writer->fs().fsync(**file));
  ASSERT_FALSE(synced);
  expect_lost(synced.error());
  // No server knows the size of the file.
  auto reader = connect();
  ASSERT_NE(reader, nullptr);
  Result<std::vector<std::byte>> read = read_whole(*reader, path);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().to_errno(), EIO) << message(read);
  EXPECT_NE(read.error().message().find("another server, which held parts of it, started again"),
            std::string::npos)
      << message(read);
  Status closed = writer->run(writer->fs().close(*file));
  EXPECT_TRUE(closed) << message(closed);
  read = read_whole(*reader, path);
  ASSERT_FALSE(read);
  expect_lost(read.error());
  EXPECT_TRUE(reader->run(reader->fs().unlink(path)));
}

TEST_F(LostChunks, HolesAndFilesMadeAfterwardsAreWhatTheyAlwaysWere) {
  auto client = connect();
  ASSERT_NE(client, nullptr);
  const std::vector<std::byte> zeros(kBoth - 1);
  auto is_sparse = [&](const std::string& path) {
    Status made = make_sparse(*client, path);
    ASSERT_TRUE(made) << message(made);
    Result<std::vector<std::byte>> read = read_whole(*client, path);
    ASSERT_TRUE(read) << message(read);
    ASSERT_EQ(read->size(), kBoth);
    EXPECT_TRUE(std::equal(zeros.begin(), zeros.end(), read->begin() + 1));
  };
  is_sparse(name(*client, "sparse_before"));
  ASSERT_NO_FATAL_FAILURE(lose_chunks());
  is_sparse(name(*client, "sparse_after"));
  std::string fresh = name(*client, "fresh");
  std::vector<std::byte> data = pattern(kBoth, 9);
  Status written = write_whole(*client, fresh, data);
  ASSERT_TRUE(written) << message(written);
  EXPECT_EQ(read_whole(*client, fresh).value_or(std::vector<std::byte>{}), data);
}

}  // namespace
}  // namespace benchfs::test
