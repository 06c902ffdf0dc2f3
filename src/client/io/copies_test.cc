// Copies from file to file, as a client asks a scripted shard for them.

#include <gtest/gtest.h>

#include <cerrno>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "client/testing/scripted_shard.h"

namespace benchfs::client {
namespace {

using testing::Answer;
using testing::ClientUnderTest;
using testing::done;
using testing::entry;
using testing::fail_with;
using testing::file_attr;
using testing::kFile;
using testing::kOtherFile;
using testing::reply;
using testing::ScriptedShard;
using wire::Opcode;

constexpr std::uint32_t kBytesOfChunk = 1U << 20;
constexpr std::uint64_t kBytesOfFile = 20 * std::uint64_t{kBytesOfChunk};

class CopiesTest : public ::testing::Test {
 protected:
  CopiesTest() {
    size(kBytesOfFile);
    shard_.script(Opcode::kWriteChunk, {done()});
  }
  void size(std::uint64_t bytes) { shard_.script(Opcode::kGetAttr, {entry(attr(kFile, bytes))}); }
  static wire::Attr attr(wire::InodeId inode, std::uint64_t bytes) {
    wire::Attr attr = file_attr(inode, bytes);
    attr.layout.chunk_bytes = kBytesOfChunk;
    return attr;
  }
  // Both files; the client believes that the source is long.
  void open(ClientUnderTest& client) {
    shard_.script(Opcode::kOpen, {entry(attr(kFile, kBytesOfFile)), entry(attr(kOtherFile, 0))});
    from_ = client.run(client.fs().open("/from", wire::kOpenRead, 0)).value();
    to_ = client.run(client.fs().open("/to", wire::kOpenWrite, 0)).value();
  }
  // Copies of chunks: `first` for the first one, `others` for the others.
  static Answer by_index(Answer first, Answer others) {
    return [first, others](rpc::Request& request) -> rt::Task<void> {
      wire::CopyChunkRequest body;
      request.reader().read(body);
      co_await (body.index == 0 ? first : others)(request);
    };
  }
  ScriptedShard shard_;
  std::shared_ptr<OpenFile> from_;
  std::shared_ptr<OpenFile> to_;
};

// Far more parts than the window has slots.
TEST_F(CopiesTest, OtherRequestsGoOnWhileCopiesAreHeldUp) {
  shard_.script(Opcode::kCopyChunk, {shard_.late(reply(wire::CopyChunkReply{kBytesOfChunk}))});
  ClientUnderTest client({&shard_});
  open(client);
  std::vector<std::shared_ptr<std::optional<Result<std::size_t>>>> copies;
  for (int i = 0; i < 6; ++i) {
    copies.push_back(
        client.start([&] { return client.fs().data().copy(*from_, 0, *to_, 0, kBytesOfFile); }));
  }
  ASSERT_TRUE(
      client.eventually([&] { return !shard_.requests<wire::CopyChunkRequest>().empty(); }));
  Result<wire::Attr> known = client.run(client.fs().fstat(*from_));
  EXPECT_TRUE(known) << known.error().message();
  shard_.release();
  for (auto& copy : copies) {
    ASSERT_TRUE(client.eventually([&] { return copy->has_value(); }));
    EXPECT_EQ((*copy)->value_or(0), kBytesOfFile);
  }
}

TEST_F(CopiesTest, PartsBehindTheEndDoNotFailACopy) {
  size(1000);
  shard_.script(Opcode::kCopyChunk, {by_index(reply(wire::CopyChunkReply{1000}), fail_with(EIO))});
  shard_.script(Opcode::kReadChunk, {reply(wire::ReadChunkReply{})});
  ClientUnderTest client({&shard_});
  open(client);
  Result<std::size_t> copied =
      client.run(client.fs().data().copy(*from_, 0, *to_, 0, kBytesOfFile));
  ASSERT_TRUE(copied) << copied.error().message();
  EXPECT_EQ(*copied, 1000U);
}

TEST_F(CopiesTest, AnErrorTellsWhichFileItIsOf) {
  auto fails_for_source = [&] {
    ClientUnderTest client({&shard_});
    open(client);
    bool source_failed = false;
    EXPECT_FALSE(
        client.run(client.fs().data().copy(*from_, 0, *to_, 0, kBytesOfFile, &source_failed)));
    return source_failed;
  };
  shard_.script(Opcode::kCopyChunk, {reply(wire::CopyChunkReply{})});
  shard_.script(Opcode::kReadChunk, {fail_with(EIO)});
  EXPECT_TRUE(fails_for_source());
  shard_.script(Opcode::kReadChunk, {reply(wire::ReadChunkReply{})});
  shard_.script(Opcode::kWriteChunk, {fail_with(EIO)});
  EXPECT_FALSE(fails_for_source());
  shard_.script(Opcode::kCopyChunk, {fail_with(EIO)});
  EXPECT_FALSE(fails_for_source());
}

}  // namespace
}  // namespace benchfs::client
